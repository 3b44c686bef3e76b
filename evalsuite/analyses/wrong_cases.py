"""Which cases were decided wrongly, of how many that could be, by how much, and which nearly were."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from evalsuite.analyses.classes import ClassPopulation
from evalsuite.analyses.population import Bools, Floats, Ints, Population
from evalsuite.protocol.schema import OperatingPoint, StudyProtocol
from evalsuite.types import CaseStatus

FALSE_NEGATIVE, FALSE_POSITIVE = "false negative", "false positive"
WRONG_ANSWER, NO_OUTPUT = "wrong answer", "no output"
#: Right, and within the declared band of being wrong.
NEARLY = "nearly wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One way of being wrong: the cases that could be (`eligible`) and those that were (`wrong`), (n,) each."""

    kind: str
    metric: str
    eligible: Bools
    wrong: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongCases:
    """All n cases, in lock order, as right or wrong at one operating point.

    `questions` do not overlap; a case without an established reference belongs to none of them, one without output to
    the last alone. `score` is what the device said (several classes: the output of the class it named), `distance` how
    far a case lies from being decided otherwise, positive where it is wrong; both NaN where there is none. `doubt` is
    the probability left for the reference's answer, NaN where there is none.
    """

    case_id: tuple[str, ...]
    patient_index: Ints
    status: tuple[CaseStatus, ...]
    reference: tuple[str, ...]
    called: tuple[str, ...]
    score: Floats
    distance: Floats
    doubt: Floats
    questions: tuple[Question, ...]
    point: OperatingPoint | None

    @property
    def n(self) -> int:
        return len(self.case_id)

    @property
    def kind(self) -> tuple[str, ...]:
        """What became of each case: a kind of failure, or nothing."""
        said = [""] * self.n
        for question in self.questions:
            for i in np.flatnonzero(question.wrong):
                said[i] = question.kind
        return tuple(said)


def operating_point(protocol: StudyProtocol, name: str | None) -> OperatingPoint:
    """The operating point of this name; the first one declared where none is named."""
    return protocol.operating_points[0] if name is None else protocol.operating_point(name)


def wrong_cases(protocol: StudyProtocol, population: Population | ClassPopulation, at: str | None) -> WrongCases:
    """Every case of a population as right or wrong, `at` an operating point where the task has such."""
    if isinstance(population, ClassPopulation):
        return _of_classes(population)
    return _of_two(population, operating_point(protocol, at))


def _of_two(p: Population, point: OperatingPoint) -> WrongCases:
    called = (p.score > point.threshold) if point.comparison == ">" else (p.score >= point.threshold)
    settled = p.has_output & p.has_reference
    miss = settled & p.positive & ~called
    alarm = settled & ~p.positive & called
    beyond = np.abs(p.score - point.threshold)
    doubt = np.where(p.positive, p.score, 1.0 - p.score) if p.is_probability else np.full(p.n, np.nan)
    return WrongCases(
        case_id=p.case_id,
        patient_index=p.patient_index,
        status=p.status,
        reference=p.reference_class,
        called=tuple(_called(p.has_output, called)),
        score=p.score,
        distance=np.where(settled, np.where(miss | alarm, beyond, -beyond), np.nan),
        doubt=np.where(settled, doubt, np.nan),
        questions=(
            Question(kind=FALSE_NEGATIVE, metric="false_negative_rate", eligible=settled & p.positive, wrong=miss),
            Question(kind=FALSE_POSITIVE, metric="false_positive_rate", eligible=settled & ~p.positive, wrong=alarm),
            _without_output(p.has_output, p.has_reference),
        ),
        point=point,
    )


def _called(has_output: Bools, positive: Bools) -> Iterator[str]:
    for there, yes in zip(has_output, positive, strict=True):
        yield ("positive" if yes else "negative") if there else ""


def _without_output(has_output: Bools, has_reference: Bools) -> Question:
    return Question(kind=NO_OUTPUT, metric="no_output_rate", eligible=has_reference, wrong=has_reference & ~has_output)


def _of_classes(p: ClassPopulation) -> WrongCases:
    settled = p.has_output & p.has_reference
    wrong = settled & (p.predicted != p.reference)
    score, distance, doubt = (np.full(p.n, np.nan) for _ in range(3))
    rows = np.arange(p.n)
    if p.score is not None:
        score = np.where(p.has_output, p.score[rows, p.predicted], np.nan)
        true = p.score[rows, np.where(p.has_reference, p.reference, 0)]
        others = p.score.copy()
        others[rows, np.where(p.has_output, p.predicted, 0)] = -np.inf
        second = others.max(axis=1)
        distance = np.where(settled, np.where(wrong, score - true, second - score), np.nan)
        if p.is_probability:
            doubt = np.where(settled, true, np.nan)
    else:
        away = np.abs(p.predicted - p.reference).astype(np.float64)
        distance = np.where(wrong, away, np.nan)
        score = np.where(p.has_output, p.predicted.astype(np.float64), np.nan)
    return WrongCases(
        case_id=p.case_id,
        patient_index=p.patient_index,
        status=p.status,
        reference=tuple(_named(p, p.reference, p.has_reference, p.reference_class)),
        called=tuple(_named(p, p.predicted, p.has_output, ("",) * p.n)),
        score=score,
        distance=distance,
        doubt=doubt,
        questions=(
            Question(kind=WRONG_ANSWER, metric="error_rate", eligible=settled, wrong=wrong),
            _without_output(p.has_output, p.has_reference),
        ),
        point=None,
    )


def _named(p: ClassPopulation, classes: Ints, there: Bools, otherwise: tuple[str, ...]) -> Iterator[str]:
    for index, known, words in zip(classes, there, otherwise, strict=True):
        yield p.names[index] if known else words if words in ("equivocal", "missing") else ""

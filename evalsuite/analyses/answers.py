"""What the device answered and how sure it was, in one shape for two classes, several classes and grades."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evalsuite.analyses.classes import ClassPopulation
from evalsuite.analyses.population import Bools, Floats, Ints, Population, matches
from evalsuite.analyses.wrong_cases import wrong_cases
from evalsuite.errors import InputError
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.protocol.uncertainty import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """All n cases in lock order.

    `settled` marks cases with an output and an established reference; `wrong`, `probability (n, k)` and `reference`
    (the place of the right answer among `names`) mean something only there (`probability` wherever there is an output).
    `sure (n,)` is the device's own confidence: the distance of the score from the threshold, or the output of the class
    called; NaN where there is none.
    """

    case_id: tuple[str, ...]
    patient_id: tuple[str, ...]
    patient_index: Ints
    names: tuple[str, ...]
    has_output: Bools
    settled: Bools
    wrong: Bools
    sure: Floats
    probability: Floats | None
    reference: Ints
    point: str | None

    @property
    def n(self) -> int:
        return len(self.case_id)


def answers_of(
    protocol: StudyProtocol, population: Population | ClassPopulation, patient_id: tuple[str, ...], at: str | None
) -> Answers:
    """The answers of a population, two classes at the operating point `at` (the first one where not named)."""
    p = population
    settled = np.asarray(p.has_output & p.has_reference)
    if isinstance(p, Population) and not protocol.operating_points:
        wrong, sure, point = np.zeros(p.n, dtype=bool), np.full(p.n, np.nan), None
    else:
        found = wrong_cases(protocol, p, at)
        wrong = np.zeros(p.n, dtype=bool)
        for question in found.questions[:-1]:  # the last one is about cases without output
            wrong |= question.wrong
        sure = np.abs(found.distance) if isinstance(p, Population) else found.score
        point = None if found.point is None else found.point.name
    if isinstance(p, Population):
        names: tuple[str, ...] = ("negative", "positive")
        reference = p.positive.astype(np.int64)
        score = np.clip(p.score, 0.0, 1.0)
        table = np.stack([1.0 - score, score], axis=1) if p.is_probability else None
    else:
        names, reference = p.names, p.reference
        table = p.score if p.is_probability else None
        sure = sure if p.score is not None else np.full(p.n, np.nan)
    return Answers(
        case_id=p.case_id,
        patient_id=patient_id,
        patient_index=p.patient_index,
        names=names,
        has_output=p.has_output,
        settled=settled,
        wrong=wrong,
        sure=sure,
        probability=table,
        reference=reference,
        point=point,
    )


def output_columns(predictions: pd.DataFrame, names: list[str], key: str) -> tuple[tuple[str, ...], Floats]:
    """Names and values `(n, d)` of the outputs named, `emb_*` standing for all that begin so, in the file's order.

    Raises
    ------
    InputError
        If a name stands for no output of the predictions.
    """
    known = [str(c) for c in predictions.columns if c not in ("case_id", "rater", "condition", "status", "reason")]
    found: list[str] = []
    absent: list[str] = []
    for name in names:
        hits = [c for c in known if c.startswith(name[:-1])] if name.endswith("*") else [c for c in known if c == name]
        found += [c for c in hits if c not in found]
        absent += [] if hits else [name]
    if absent:
        raise InputError(
            f"{key} names outputs that the predictions do not have: {', '.join(absent)}.",
            hint=f"They have: {', '.join(known[:20])}{', …' if len(known) > 20 else ''}.",
        )
    return tuple(found), predictions[found].to_numpy(dtype=np.float64, na_value=np.nan)


def set_apart(part: Part, key: str, answers: Answers, frame: pd.DataFrame, seed: int, among: Bools) -> Bools:
    """(n,) cases whose patients are set apart, of those `among`.

    A draw depends on the seed and the patients' ids alone, so neither on the order of the table nor on their scores.

    Raises
    ------
    InputError
        If the column is not in the set, names no case, or a patient has cases in both parts.
    """
    patients = np.array(answers.patient_id, dtype=object)
    if part.column is None:
        names = sorted(set(patients[among]), key=lambda p: hashlib.sha256(f"{seed}:{key}:{p}".encode()).hexdigest())
        chosen = set(names[: max(1, round(part.share * len(names)))] if len(names) > 1 else [])
        return np.array([p in chosen for p in patients], dtype=bool) & among
    if part.column not in frame.columns:
        raise InputError(
            f"{key} names the column '{part.column}', which the locked set does not have.",
            hint="Lock the set again with this column.",
        )
    assert part.value is not None, "the protocol's loader requires a value with a column"
    said = np.array([matches(str(cell), part.value) for cell in frame[part.column]], dtype=bool)
    if not (said & among).any() or not (~said & among).any():
        raise InputError(
            f"{key}: column '{part.column}' puts every usable case into one of the two parts.",
            hint=f"Cells that say {part.value} are set apart; there must be some, and others.",
        )
    both = set(patients[said & among]) & set(patients[~said & among])
    if both:
        raise InputError(
            f"{key}: {len(both)} patients have cases in both parts, which would make the two alike.",
            hint=f"Give all cases of a patient the same cell in '{part.column}'.",
        )
    return said & among

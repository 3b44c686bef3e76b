"""Who is analysed and as what where a case has one of several classes or grades, and what is assumed where it is not
known.

Worst case: a case without output counts as called wrong with the reference class ranked last; a case without reference
has the class that its output finds least likely (of grades, the farthest). Best case is the reverse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd

from evalsuite.analyses.population import (
    Bools,
    Floats,
    Ints,
    OutputPolicy,
    Population,
    ReferencePolicy,
    _is_number,
    matches,
)
from evalsuite.errors import InputError, Problem
from evalsuite.protocol.expression import compile_score
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.protocol.several import outputs as output_names
from evalsuite.protocol.several import targets
from evalsuite.stats.multiclass import predicted_class
from evalsuite.types import CaseStatus, ReferenceClass

# Rounded to three decimals, as in many tables, class probabilities still sum to 1 within this.
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassPopulation:
    """All n cases of the set in lock order.

    `reference` and `predicted` are classes 0 … k − 1, −1 where unknown. `score (n, k)` is one number per class, NaN
    exactly where `has_output` is False; None where the device gives a grade alone. `value (n,)` is the place on an
    ordered scale (the grade given, or the expected one), None for classes without order.
    """

    case_id: tuple[str, ...]
    patient_index: Ints
    n_patients: int
    names: tuple[str, ...]
    reference: Ints
    has_reference: Bools
    reference_class: tuple[ReferenceClass, ...]
    predicted: Ints
    has_output: Bools
    status: tuple[CaseStatus, ...]
    score: Floats | None
    value: Floats | None
    is_probability: bool
    ordered: bool
    n_tied: int

    @property
    def n(self) -> int:
        return len(self.case_id)

    @property
    def k(self) -> int:
        return len(self.names)

    @property
    def clustered(self) -> bool:
        """Whether some patient has several cases."""
        return self.n_patients < self.n

    def against_rest(self, target: int, *, called: bool) -> Population:
        """One class against the others: ranked by its own score, or with the call itself as score (1 or 0)."""
        hit = (self.predicted == target).astype(np.float64)
        score = hit if called or self.score is None else self.score[:, target]
        return Population(
            case_id=self.case_id,
            patient_index=self.patient_index,
            n_patients=self.n_patients,
            positive=np.asarray(self.has_reference & (self.reference == target)),
            has_reference=self.has_reference,
            reference_class=self.reference_class,
            has_output=self.has_output,
            status=self.status,
            score=np.where(self.has_output, score, np.nan),
            is_probability=self.is_probability and not called,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScenario:
    """The population under one assumption about what is missing; arrays of all n cases, `include` says who counts."""

    reference: Ints
    predicted: Ints
    score: Floats | None
    probability: Floats | None
    value: Floats | None
    include: Bools
    unresolved: int


def build_class_population(
    protocol: StudyProtocol,
    *,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
) -> ClassPopulation:
    """Join outputs to the reference standard of a multiclass or ordinal task, case by case.

    Raises InputError where the reference is none of the declared classes, or an output is not one the model gives.
    """
    if [str(c) for c in predictions["case_id"]] != list(case_id):
        raise InputError("The predictions are not those of this test set: their cases differ.")
    names = targets(protocol)
    ordered = protocol.task.kind == "ordinal"
    reference, classes = _references(protocol, frame, names, case_id)
    status = [str(s) for s in predictions["status"]]
    table = _outputs(protocol, predictions)
    said_ok = np.array([s == "ok" for s in status], dtype=bool)
    score: Floats | None = None
    value: Floats | None = None
    if table.shape[1] == 1:
        value, predicted, usable = _grades(table[:, 0], names)
    else:
        usable = np.asarray(np.isfinite(table).all(axis=1))
        score = np.where(usable[:, None], table, 0.0)
        predicted = predicted_class(score)
    has_output = said_ok & usable
    is_probability = False
    n_tied = 0
    if score is not None:
        given = score[has_output]
        n_tied = int(((given == given.max(axis=1, keepdims=True)).sum(axis=1) > 1).sum()) if len(given) else 0
        is_probability = protocol.task.probability and _probabilities(given)
        if ordered:
            # Where outputs are no probabilities there is no expected grade; the grade called stands for it.
            total = score.sum(axis=1)
            expected = (score * np.arange(len(names))).sum(axis=1)
            value = (
                np.divide(expected, total, out=np.zeros(len(total)), where=total > 0)
                if is_probability
                else (predicted.astype(np.float64))
            )
        score = np.where(has_output[:, None], score, np.nan)
    if value is not None:
        value = np.where(has_output, value, np.nan)
    patients = {p: i for i, p in enumerate(dict.fromkeys(patient_id))}
    return ClassPopulation(
        case_id=case_id,
        patient_index=np.array([patients[p] for p in patient_id], dtype=np.int64),
        n_patients=len(patients),
        names=names,
        reference=reference,
        has_reference=np.array([c == "known" for c in classes], dtype=bool),
        reference_class=classes,
        predicted=np.where(has_output, predicted, -1),
        has_output=has_output,
        status=tuple(_final(s, c, bool(bad)) for s, c, bad in zip(status, classes, said_ok & ~usable, strict=True)),
        score=score,
        value=value,
        is_probability=is_probability,
        ordered=ordered,
        n_tied=n_tied,
    )


def _final(status: str, reference: ReferenceClass, unusable: bool) -> CaseStatus:
    if unusable:
        return "failed"
    if status != "ok":
        return cast(CaseStatus, status)
    if reference == "missing":
        return "reference_missing"
    return "reference_equivocal" if reference == "equivocal" else "ok"


def _references(
    protocol: StudyProtocol, frame: pd.DataFrame, names: tuple[str, ...], case_id: tuple[str, ...]
) -> tuple[Ints, tuple[ReferenceClass, ...]]:
    column = str(protocol.task.reference)
    if column not in frame.columns:
        raise InputError(
            f"The locked test set has no reference column '{column}'.",
            hint=f"Sealed columns: {', '.join(map(str, frame.columns))}. Correct task.reference or lock the set again.",
        )
    texts = [str(c) for c in frame[column]]
    flags = [str(s) for s in frame["reference_status"]] if "reference_status" in frame.columns else [""] * len(texts)
    place = {text: _place(text, names) for text in set(texts) if text.strip()}
    reference = np.full(len(texts), -1, dtype=np.int64)
    classes: list[ReferenceClass] = []
    strange: list[str] = []
    for i, (name, text, flag) in enumerate(zip(case_id, texts, flags, strict=True)):
        if flag == "equivocal":
            classes.append("equivocal")
        elif flag == "missing" or not text.strip():
            classes.append("missing")
        elif place[text] is None:
            strange.append(name)
            classes.append("missing")
        else:
            reference[i] = cast(int, place[text])
            classes.append("known")
    if strange:
        raise InputError(
            f"{len(strange)} cases have a reference standard in '{column}' that is none of the declared classes.",
            problems=[Problem("none of task.classes", f"case {c}") for c in strange[:20]],
            hint="List every value in task.classes; leave a cell empty, or use a reference_status column, where the "
            "reference standard is missing or equivocal.",
        )
    return reference, tuple(classes)


def _place(text: str, names: tuple[str, ...]) -> int | None:
    exact = [i for i, name in enumerate(names) if text.strip() == name]
    if exact:
        return exact[0]
    return next((i for i, name in enumerate(names) if _is_number(name) and matches(text, float(name))), None)


def _outputs(protocol: StudyProtocol, predictions: pd.DataFrame) -> Floats:
    """`(n, k)` outputs in the order of the classes, or `(n, 1)` where the device gives a grade."""
    formula = compile_score(protocol.task.score)  # a list of outputs, or a formula for the grade alone
    wanted = formula.names if isinstance(protocol.task.score, str) else output_names(protocol)
    given = {str(c) for c in predictions.columns} - {"case_id", "rater", "condition", "status", "reason"}
    absent = [name for name in wanted if name not in given]
    if absent:
        raise InputError(
            f"The protocol's score needs outputs the model does not give: {', '.join(absent)}.",
            hint=f"The model gives: {', '.join(sorted(given)) or 'none'}. Correct task.score or the contract.",
        )
    columns = {name: predictions[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in wanted}
    if isinstance(protocol.task.score, str):
        return np.asarray(formula.evaluate(columns), dtype=np.float64)[:, None]
    return np.stack([columns[name] for name in wanted], axis=1)


def _grades(output: Floats, names: tuple[str, ...]) -> tuple[Floats, Ints, Bools]:
    """Place on the scale, nearest grade and whether the output lies on the scale at all.

    Grades that are numbers are met in their own units, others by place (0 for the lowest). A number half-way belongs to
    the higher grade. More than one grade beyond either end is not a grade: such an output is not usable.
    """
    marks = np.arange(len(names), dtype=np.float64)
    if all(_is_number(name) for name in names):
        own = np.array([float(name) for name in names])
        if bool((np.diff(own) > 0).all()):
            marks = own
    finite = np.isfinite(output)
    safe = np.where(finite, output, marks[0])
    nearest = np.searchsorted((marks[1:] + marks[:-1]) / 2.0, safe, side="right").astype(np.int64)
    first, last = marks[1] - marks[0], marks[-1] - marks[-2]
    usable = finite & (safe > marks[0] - first) & (safe < marks[-1] + last)
    return safe, nearest, usable


def _probabilities(table: Floats) -> bool:
    if not len(table):
        return False
    inside = bool(((table >= -1e-6) & (table <= 1.0 + 1e-6)).all())
    return inside and bool((np.abs(table.sum(axis=1) - 1.0) <= _SUM_TOLERANCE).all())


def class_scenario(population: ClassPopulation, *, outputs: OutputPolicy, references: ReferencePolicy) -> ClassScenario:
    """The population as figures of the whole classification see it under one policy for each kind of missing.

    Of several wrong classes a case without output gets the most common one, which lowers agreement beyond chance the
    most; of grades the farthest. `unresolved` counts included cases whose reference had to be assumed.
    """
    p = population
    reference, predicted = p.reference.copy(), p.predicted.copy()
    include = np.ones(p.n, dtype=bool)
    if outputs == "exclude":
        include &= p.has_output
    if references == "exclude":
        include &= p.has_reference
    score = None if p.score is None else np.where(p.has_output[:, None], p.score, 0.0)
    value = None if p.value is None else np.where(p.has_output, p.value, 0.0)
    common = np.argsort(-np.bincount(p.reference[p.has_reference], minlength=p.k), kind="stable")
    unresolved = include & ~p.has_reference
    for i in np.flatnonzero(unresolved):
        if not p.has_output[i]:
            reference[i] = 0 if p.ordered else common[0]
        elif references == "best_case":
            reference[i] = predicted[i]
        elif p.ordered:
            reference[i] = 0 if predicted[i] > (p.k - 1) / 2.0 else p.k - 1
        elif score is not None:
            reference[i] = int(score[i].argmin())
    for i in np.flatnonzero(include & ~p.has_output):
        own = int(reference[i])
        right = outputs == "best_case"
        if right:
            predicted[i] = own
        elif p.ordered:
            predicted[i] = 0 if own > (p.k - 1) / 2.0 else p.k - 1
        else:
            predicted[i] = common[0] if common[0] != own else common[1]
        if score is not None:
            score[i] = -np.inf if right else np.inf
            score[i, own] = np.inf if right else -np.inf
        if value is not None:
            value[i] = _scale(p, int(predicted[i])) if right else (-np.inf if predicted[i] == 0 else np.inf)
    probability = None
    if p.is_probability and score is not None:
        certain = np.eye(p.k)[np.clip(predicted, 0, None)]
        probability = np.where(p.has_output[:, None], np.clip(score, 0.0, 1.0), certain)
    # An excluded case keeps a harmless placeholder: it never enters a sum.
    return ClassScenario(
        reference=np.where(include, reference, 0),
        predicted=np.where(include, predicted, 0),
        score=None if score is None else np.where(include[:, None], score, 0.0),
        probability=None if probability is None else np.where(include[:, None], probability, np.eye(p.k)[0]),
        value=None if value is None else np.where(include, value, 0.0),
        include=include,
        unresolved=int(unresolved.sum()),
    )


def _scale(p: ClassPopulation, grade: int) -> float:
    """Where cases of a grade lie on the scale of the outputs: the middle of those that were given it."""
    assert p.value is not None
    given = p.value[p.has_output & (p.predicted == grade)]
    return float(np.median(given)) if given.size else float(grade)

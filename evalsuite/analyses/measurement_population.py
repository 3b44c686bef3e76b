"""Who is measured and how far off: the n cases of a measurement task, and the error assumed where one is not known.

Worst case: a case without output or reference is as far off as the endpoint's `maximum`, to the side that its criterion
guards against. Best case: it is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import pandas as pd

from evalsuite.analyses.population import Bools, Floats, Ints, OutputPolicy, ReferencePolicy
from evalsuite.errors import InputError, Problem
from evalsuite.protocol.expression import compile_score
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.types import CaseStatus, ReferenceClass

Direction = Literal["above", "below"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementPopulation:
    """All n cases of the set in lock order: `device` and `reference` are NaN exactly where they are not known."""

    case_id: tuple[str, ...]
    patient_index: Ints
    n_patients: int
    reference: Floats
    device: Floats
    reference_class: tuple[ReferenceClass, ...]
    status: tuple[CaseStatus, ...]

    @property
    def n(self) -> int:
        return len(self.case_id)

    @property
    def has_reference(self) -> Bools:
        return np.isfinite(self.reference)

    @property
    def has_output(self) -> Bools:
        return np.isfinite(self.device)

    @property
    def both(self) -> Bools:
        """Cases with output and reference."""
        return self.has_output & self.has_reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The population under one assumption: (n,) pairs without gaps, who counts, and how many of them are assumed."""

    device: Floats
    reference: Floats
    include: Bools
    assumed: Bools


def _number(text: str) -> float:
    """The cell as a finite number, NaN if it is none."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def build_measurement_population(
    protocol: StudyProtocol,
    *,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
) -> MeasurementPopulation:
    """Join measurements to the reference, case by case.

    Raises InputError where a reference is no number, or the score names an output the model does not give.
    """
    if [str(c) for c in predictions["case_id"]] != list(case_id):
        raise InputError("The predictions are not those of this test set: their cases differ.")
    reference, classes = measured_references(protocol, frame, case_id)
    status = [str(s) for s in predictions["status"]]
    expression = compile_score(protocol.task.score)
    outputs = {str(c) for c in predictions.columns} - {"case_id", "rater", "condition", "status", "reason"}
    absent = [name for name in expression.names if name not in outputs]
    if absent:
        raise InputError(
            f"The protocol's score needs outputs the model does not give: {', '.join(absent)}.",
            hint=f"The model gives: {', '.join(sorted(outputs)) or 'none'}. Correct task.score or the contract.",
        )
    columns = {name: predictions[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in expression.names}
    device = np.asarray(expression.evaluate(columns), dtype=np.float64)
    said_ok = np.array([s == "ok" for s in status], dtype=bool)
    unusable = said_ok & ~np.isfinite(device)
    patients = {p: i for i, p in enumerate(dict.fromkeys(patient_id))}
    final: list[CaseStatus] = []
    for out, cls, bad in zip(status, classes, unusable, strict=True):
        if bad:
            final.append("failed")
        elif out != "ok":
            final.append(cast(CaseStatus, out))
        else:
            final.append("ok" if cls == "known" else cast(CaseStatus, f"reference_{cls}"))
    return MeasurementPopulation(
        case_id=case_id,
        patient_index=np.array([patients[p] for p in patient_id], dtype=np.int64),
        n_patients=len(patients),
        reference=reference,
        device=np.where(said_ok & ~unusable, device, np.nan),
        reference_class=classes,
        status=tuple(final),
    )


def measured_references(
    protocol: StudyProtocol, frame: pd.DataFrame, case_id: tuple[str, ...]
) -> tuple[Floats, tuple[ReferenceClass, ...]]:
    """The column `task.reference` as numbers (n,), NaN where missing or equivocal. InputError for any other cell."""
    column = str(protocol.task.reference)
    if column not in frame.columns:
        raise InputError(
            f"The locked test set has no reference column '{column}'.",
            hint=f"Sealed columns: {', '.join(map(str, frame.columns))}. Correct task.reference or lock the set again.",
        )
    texts = [str(c) for c in frame[column]]
    flags = [str(s) for s in frame["reference_status"]] if "reference_status" in frame.columns else [""] * len(texts)
    values = np.full(len(texts), np.nan)
    classes: list[ReferenceClass] = []
    strange: list[str] = []
    for i, (name, text, flag) in enumerate(zip(case_id, texts, flags, strict=True)):
        if flag == "equivocal":
            classes.append("equivocal")
        elif flag == "missing" or not text.strip():
            classes.append("missing")
        else:
            values[i] = _number(text)
            classes.append("known")
            if math.isnan(values[i]):
                strange.append(name)
    if strange:
        raise InputError(
            f"{len(strange)} cases have a reference in '{column}' that is not a finite number.",
            problems=[Problem("not a finite number", f"case {c}") for c in strange[:20]],
            hint="Write numbers with a decimal point and without a unit; leave a cell empty, or use a "
            "reference_status column, where the reference is missing or equivocal.",
        )
    return values, tuple(classes)


def measured(
    population: MeasurementPopulation,
    *,
    outputs: OutputPolicy,
    references: ReferencePolicy,
    maximum: float | None,
    direction: Direction,
) -> Measured:
    """The pairs of all cases under one policy for missing outputs and one for missing references.

    A case that lacks either is `maximum` off (worst case; 0 where `maximum` is None, and then it must not be used) or
    exact (best case). Lacking both, the policy for outputs says.
    """
    p = population
    include = np.ones(p.n, dtype=bool)
    if outputs == "exclude":
        include &= p.has_output
    if references == "exclude":
        include &= p.has_reference
    size = (maximum or 0.0) * (1.0 if direction == "above" else -1.0)
    policy_of_case = np.where(~p.has_output, outputs == "worst_case", references == "worst_case")
    error = np.where(policy_of_case, size, 0.0)
    # What is known stays; the other of the two is put at the assumed distance from it.
    reference = np.where(p.has_reference, p.reference, np.where(p.has_output, p.device - error, 0.0))
    device = np.where(p.has_output, p.device, reference + error)
    return Measured(
        device=np.where(include, device, 0.0),
        reference=np.where(include, reference, 0.0),
        include=include,
        assumed=include & ~p.both,
    )

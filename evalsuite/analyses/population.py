"""Who is analysed and as what: outputs and reference side by side, and what is assumed where either is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evalsuite.errors import InputError, Problem
from evalsuite.protocol.expression import compile_score
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.types import CaseStatus, ReferenceClass

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OutputPolicy = Literal["worst_case", "best_case", "exclude", "as_negative", "as_positive"]
ReferencePolicy = Literal["worst_case", "best_case", "exclude"]

#: What has to be assumed about a case depends on what the metric looks at: the call, the rank of the score, or the
#: probability. "fit" metrics (calibration) have no worst case at all.
Looks = Literal["positives", "negatives", "call", "rank", "probability", "fit"]

# Words that people write into a reference column for "we do not know": read as a negative they would be a silent error.
_UNSETTLED = {"unknown", "na", "n/a", "nan", "none", "null", "equivocal", "indeterminate", "uncertain", "missing", "?"}
# Sums of float32 probabilities exceed 1 by rounding; anything further out is not a probability.
_PROBABILITY_SLACK = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """All n cases of the set in lock order: nothing has been excluded yet.

    `score` is NaN exactly where `has_output` is False; `positive` is meaningful only where `has_reference`.
    `is_probability` is False where the protocol says so or a score leaves [0, 1]. `weight`, only in audits whose labels
    were sampled: each case's sampling weight as a part of the largest there can be.
    """

    case_id: tuple[str, ...]
    patient_index: Ints
    n_patients: int
    positive: Bools
    has_reference: Bools
    reference_class: tuple[ReferenceClass, ...]
    has_output: Bools
    status: tuple[CaseStatus, ...]
    score: Floats
    is_probability: bool
    weight: Floats | None = None

    @property
    def n(self) -> int:
        return len(self.case_id)

    @property
    def clustered(self) -> bool:
        """Whether some patient has several cases."""
        return self.n_patients < self.n


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The population under one assumption about what is missing; arrays of all n cases, `include` says who counts."""

    reference: Bools
    score: Floats
    call: Bools | None
    probability: Floats | None
    include: Bools
    undefined: str | None = None
    weight: Floats | None = None


def matches(text: str, value: int | float | str | bool) -> bool:
    """Whether a cell's text says what a protocol's value says: `1`, `1.0` and `true` may be the same."""
    if isinstance(value, bool):
        return text.strip().lower() == str(value).lower() or text.strip() == str(int(value))
    if text.strip() == str(value):
        return True
    try:
        return float(text) == float(value)
    except ValueError:
        return False


def reference_classes(
    frame: pd.DataFrame, protocol: StudyProtocol, case_id: tuple[str, ...]
) -> tuple[Bools, tuple[ReferenceClass, ...]]:
    """Reference class of each case. InputError where a cell is neither positive, negative nor empty."""
    task = protocol.task
    column = str(task.reference)
    if column not in frame.columns:
        raise InputError(
            f"The locked test set has no reference column '{column}'.",
            hint=f"Sealed columns: {', '.join(map(str, frame.columns))}. Correct task.reference or lock the set again.",
        )
    cells = [str(c) for c in frame[column]]
    status = [str(s) for s in frame["reference_status"]] if "reference_status" in frame.columns else [""] * len(cells)
    wanted = task.positive if isinstance(task.positive, list) else [task.positive]
    verdict_of = {
        text: "positive"
        if any(matches(text, v) for v in wanted)
        else "negative"
        if task.negative is None or any(matches(text, v) for v in task.negative)
        else "neither"
        for text in set(cells)
        if text.strip()
    }
    if task.negative is None:
        numeric_positive = not isinstance(task.positive, list) and _is_number(str(task.positive))
        others = [t for t, c in verdict_of.items() if c == "negative"]
        numbers = {float(t) for t in others if _is_number(t)}
        # With a numeric code for "positive" there is one code for "negative" (0 where it occurs), and no third.
        code = 0.0 if 0.0 in numbers else next(iter(numbers)) if len(numbers) == 1 else None
        for text in others:
            foreign = numeric_positive and not (_is_number(text) and float(text) == code)
            if text.strip().lower() in _UNSETTLED or foreign:
                verdict_of[text] = "neither"
    classes: list[ReferenceClass] = []
    strange: list[str] = []
    for name, text, flag in zip(case_id, cells, status, strict=True):
        if flag == "equivocal":
            classes.append("equivocal")
        elif flag == "missing" or not text.strip():
            classes.append("missing")
        elif verdict_of[text] == "neither":
            strange.append(name)
            classes.append("missing")
        else:
            classes.append("positive" if verdict_of[text] == "positive" else "negative")
    if strange:
        raise InputError(
            f"{len(strange)} cases have a reference standard in '{column}' that is neither positive nor negative.",
            problems=[Problem("neither positive nor negative", f"case {c}") for c in strange[:20]],
            hint="Declare every negative value in task.negative; leave a cell empty, or use a reference_status column, "
            "where the reference standard is missing or equivocal.",
        )
    return np.array([c == "positive" for c in classes], dtype=bool), tuple(classes)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def build_population(
    protocol: StudyProtocol,
    *,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
) -> Population:
    """Join outputs to the reference standard, case by case.

    `frame` holds the opened reference in lock order; `predictions` has one row per case of rater "device" in the same
    order. Raises InputError where the score names an output the model does not have, or the reference is ambiguous.
    """
    if [str(c) for c in predictions["case_id"]] != list(case_id):
        raise InputError("The predictions are not those of this test set: their cases differ.")
    positive, classes = reference_classes(frame, protocol, case_id)
    status = [str(s) for s in predictions["status"]]
    has_output = np.array([s == "ok" for s in status], dtype=bool)
    expression = compile_score(protocol.task.score)
    outputs = {str(c) for c in predictions.columns} - {"case_id", "rater", "condition", "status", "reason"}
    absent = [name for name in expression.names if name not in outputs]
    if absent:
        raise InputError(
            f"The protocol's score needs outputs the model does not give: {', '.join(absent)}.",
            hint=f"The model gives: {', '.join(sorted(outputs)) or 'none'}. Correct task.score or the contract.",
        )
    columns = {name: predictions[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in expression.names}
    score = np.asarray(expression.evaluate(columns), dtype=np.float64)
    score = np.where(has_output, score, np.nan)
    unusable = has_output & ~np.isfinite(score)
    has_output = has_output & ~unusable
    score[unusable] = np.nan
    given = score[has_output]
    is_probability = protocol.task.probability and bool(
        np.all((given >= -_PROBABILITY_SLACK) & (given <= 1.0 + _PROBABILITY_SLACK))
    )
    patients = {p: i for i, p in enumerate(dict.fromkeys(patient_id))}
    final: list[CaseStatus] = []
    for out, cls, bad in zip(status, classes, unusable, strict=True):
        if bad:
            final.append("failed")
        elif out != "ok":
            final.append(cast(CaseStatus, out))
        elif cls == "missing":
            final.append("reference_missing")
        elif cls == "equivocal":
            final.append("reference_equivocal")
        else:
            final.append("ok")
    return Population(
        case_id=case_id,
        patient_index=np.array([patients[p] for p in patient_id], dtype=np.int64),
        n_patients=len(patients),
        positive=positive,
        has_reference=np.array([c in ("positive", "negative") for c in classes], dtype=bool),
        reference_class=classes,
        has_output=has_output,
        status=tuple(final),
        score=score,
        is_probability=is_probability,
        weight=sampling_weights(protocol, frame),
    )


def sampling_weights(protocol: StudyProtocol, frame: pd.DataFrame) -> Floats | None:
    """(n,) weights as parts of the largest; None where an audit does not ask for them or the cases have none."""
    asked = protocol.analyses.drift
    if asked is None or asked.largest_weight is None or WEIGHT not in frame.columns:
        return None
    return np.array([float(str(w)) for w in frame[WEIGHT]], dtype=np.float64) / asked.largest_weight


#: Column of sampling weights.
WEIGHT = "sample_weight"


class Accountable(Protocol):
    """A population whose cases can be counted by status and class of the reference standard."""

    @property
    def n(self) -> int: ...
    @property
    def case_id(self) -> tuple[str, ...]: ...
    @property
    def patient_index(self) -> Ints: ...
    @property
    def status(self) -> tuple[CaseStatus, ...]: ...
    @property
    def reference_class(self) -> tuple[ReferenceClass, ...]: ...


def accounting(
    population: Accountable, strata: Mapping[str, Any]
) -> list[tuple[CaseStatus, ReferenceClass, Any, int, int]]:
    """Counts by status × reference class × stratum cell; every case is in the whole set's rows exactly once."""
    rows: list[tuple[CaseStatus, ReferenceClass, Any, int, int]] = []
    status = np.array(population.status)
    classes = np.array(population.reference_class)
    cells: list[tuple[dict[str, str], Bools]] = [({}, np.ones(population.n, dtype=bool))]
    for labels in strata.values():
        cells += [(labels.as_stratum(i), labels.mask(i)) for i in range(len(labels.levels))]
    for stratum, mask in cells:
        for s in ("ok", "rejected", "failed", "indeterminate", "reference_equivocal", "reference_missing"):
            for c in ("positive", "negative", "known", "equivocal", "missing"):
                chosen = mask & (status == s) & (classes == c)
                if chosen.any():
                    patients = len(np.unique(population.patient_index[chosen]))
                    rows.append((s, c, stratum, int(chosen.sum()), patients))
    return rows


def scenario(
    population: Population,
    *,
    looks: Looks,
    threshold: float | None,
    strict: bool,
    outputs: OutputPolicy,
    references: ReferencePolicy,
    within: Bools | None = None,
) -> Scenario:
    """The population as one metric sees it under one policy for missing outputs and one for missing references.

    Worst case (contracts, "The verdict"): a positive without output counts as called negative with the lowest score, a
    negative as called positive with the highest; a case without reference is given the class that makes it wrong.
    Best case is the reverse. `strict` means `score > threshold` is positive rather than `>=`. `within` limits the
    search for the worst allocation of missing references to the stratum under study.
    """
    p = population
    positive = p.positive.copy()
    include = np.ones(p.n, dtype=bool) if within is None else within.copy()
    score = p.score.copy()
    lost_output = ~p.has_output
    lost_reference = ~p.has_reference

    if (
        looks == "fit"
        and (include & (lost_output | lost_reference)).any()
        and (
            (outputs != "exclude" and (include & lost_output).any())
            or (references != "exclude" and (include & lost_reference).any())
        )
    ):
        k = int((include & (lost_output | lost_reference)).sum())
        reason = f"{k} cases lack an output or a reference, for which this figure of calibration has no worst case"
        return Scenario(
            reference=positive,
            score=score,
            call=None,
            probability=np.clip(np.where(p.has_output, score, 0.0), 0.0, 1.0) if p.is_probability else None,
            include=include & p.has_output,
            undefined=reason,
        )

    if references == "exclude":
        include &= ~lost_reference
    if outputs == "exclude":
        include &= ~lost_output

    # 1. Cases with a reference but no output: the call and rank that the policy assumes.
    # 2. Cases with neither: a positive for what is measured in positives, else a negative; then as 1.
    positive[include & lost_reference & lost_output] = looks != "negatives"
    gone = include & lost_output
    if gone.any():
        if outputs == "worst_case":
            called = ~positive
        elif outputs == "best_case":
            called = positive
        else:
            called = np.full(p.n, outputs == "as_positive")
        score[gone] = np.where(called[gone], np.inf, -np.inf)
    # 3. Cases with an output but no reference: the class that makes the output wrong (or right).
    todo = include & lost_reference & ~lost_output
    if todo.any():
        wrong = references == "worst_case"
        if looks == "rank":
            settled = include & ~todo
            positive[todo] = _extreme_allocation(
                np.sort(score[settled & positive]),
                np.sort(score[settled & ~positive]),
                score[todo],
                low_is_positive=wrong,
            )
        else:
            cut = threshold if threshold is not None else 0.5
            called = (score > cut) if strict else (score >= cut)
            positive[todo] = ~called[todo] if wrong else called[todo]
    call: Bools | None = None
    if threshold is not None:
        call = (score > threshold) if strict else (score >= threshold)
    probability = np.clip(score, 0.0, 1.0) if p.is_probability else None
    # An excluded case keeps a harmless finite placeholder: it never enters a sum, and NaN must not travel.
    score = np.where(include, score, 0.0)
    if probability is not None:
        probability = np.where(include, probability, 0.0)
    return Scenario(
        reference=positive, score=score, call=call, probability=probability, include=include, weight=p.weight
    )


def _extreme_allocation(pos: Floats, neg: Floats, unknown: Floats, *, low_is_positive: bool) -> Bools:
    """Classes for cases without reference that make the AUROC smallest (or largest).

    `pos`, `neg` are the sorted scores of the settled cases. The extreme allocation is a cut: all unknown scores below
    it go to one class, the others to the other (exchanging two unknowns across the cut can only move the sum of pair
    comparisons back). All cuts are tried.
    """
    order = np.argsort(unknown, kind="stable")
    s = unknown[order]
    m = len(s)

    def wins(a: Floats, b: Floats) -> Floats:
        """For each a: number of b below it, ties one half."""
        return (np.searchsorted(b, a, side="left") + np.searchsorted(b, a, side="right")) / 2.0

    as_positive = wins(s, neg)  # pairs this case wins as a positive
    as_negative = len(pos) - wins(s, pos)  # pairs won against it as a negative
    base = float(wins(pos, neg).sum())
    best_value, best_cut = None, 0
    for cut in range(m + 1):
        low, high = slice(0, cut), slice(cut, m)
        up, down = (low, high) if low_is_positive else (high, low)
        pairs = base + as_positive[up].sum() + as_negative[down].sum() + wins(s[up], s[down]).sum()
        n_pos, n_neg = len(pos) + len(s[up]), len(neg) + len(s[down])
        if n_pos == 0 or n_neg == 0:
            continue
        value = pairs / (n_pos * n_neg)
        better = best_value is None or (value < best_value if low_is_positive else value > best_value)
        if better:
            best_value, best_cut = value, cut
    sorted_class = np.zeros(m, dtype=bool)
    sorted_class[slice(0, best_cut) if low_is_positive else slice(best_cut, m)] = True
    result = np.empty(m, dtype=bool)
    result[order] = sorted_class
    return result

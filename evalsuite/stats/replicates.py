"""The engine of the bootstrap: every metric in every stratum and resample of patients, from one draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from evalsuite.stats._binary_inputs import BoolArray, FloatArray, IntArray, as_probabilities, as_reference, as_scores
from evalsuite.stats._binary_metrics import (
    RANK_METRICS,
    Sums,
    check_metrics,
    evaluate,
    folded_error,
    proportion_counts,
    undefined_reason,
)
from evalsuite.stats._blocks import Counts, each_block
from evalsuite.stats._jackknife import jackknife
from evalsuite.stats._stratum_plan import (
    CaseArrays,
    StratumPlan,
    build_plan,
    case_log_loss,
    rank_values,
    sums_of,
    weighted_sums,
)
from evalsuite.stats.bins import BinScheme, bin_index
from evalsuite.stats.draw import PatientDraw

FOLDED = ("ece", "mce")
"""Absolute values, which resampling inflates (a replicate's bins are noisier than the data's): `folded_interval`."""
ERROR = " error"
SUMS_BYTES = 64_000_000
"""Sums of replicates held at once, over strata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicateTable:
    """Values of every metric in every stratum: on the data, in each replicate, with each patient left out.

    `point (s, m)` and `values (s, m, r)` hold NaN where a metric does not exist; `reasons[s][m]` says why for the data.
    `jackknife[s][m]` is `(p,)` over `patients[s]` (codes of the draw), or None where BCa was not asked for.
    `errors[metric] (s, r)`, for ECE and MCE: the size of the change that a replicate makes to the unfolded gaps.
    Replicate `r` is the same resample of patients everywhere, so differences of two columns are paired.
    """

    metrics: tuple[str, ...]
    point: FloatArray
    values: FloatArray
    reasons: tuple[tuple[str | None, ...], ...]
    jackknife: tuple[tuple[FloatArray | None, ...], ...]
    patients: tuple[IntArray, ...]
    n_cases: tuple[int, ...]
    n_positive: tuple[int, ...]
    proportions: tuple[tuple[tuple[float, float] | None, ...], ...]
    errors: Mapping[str, FloatArray]
    stratified: bool = False


def binary_replicates(
    draw: PatientDraw,
    *,
    reference: npt.ArrayLike,
    metrics: Sequence[str],
    masks: npt.ArrayLike | None = None,
    score: npt.ArrayLike | None = None,
    call: npt.ArrayLike | None = None,
    probability: npt.ArrayLike | None = None,
    bins: int = 10,
    scheme: BinScheme = "equal_width",
    prevalence: float | None = None,
    threads: int | None = None,
    with_jackknife: bool = True,
) -> ReplicateTable:
    """Value of every metric in every stratum and replicate; arguments as in `binary_bootstrap`."""
    names = check_metrics(metrics, call=call is not None, score=score is not None, probability=probability is not None)
    if prevalence is not None and not 0.0 < prevalence < 1.0:
        raise ValueError(f"prevalence lies strictly between 0 and 1, got {prevalence!r}")
    chosen = np.ones((1, draw.n), dtype=np.bool_) if masks is None else np.asarray(masks)
    if chosen.dtype != np.bool_ or chosen.ndim != 2 or chosen.shape[1] != draw.n:
        raise ValueError(f"masks must be bool of shape (strata, {draw.n}), got {chosen.dtype} {chosen.shape}")
    cases = _case_arrays(draw, np.logical_or.reduce(chosen, axis=0), reference, score, call, probability, bins, scheme)
    plans = [build_plan(cases, mask, names) for mask in chosen]
    every = (*names, *(m + ERROR for m in names if m in FOLDED))
    values = np.full((len(plans), len(every), draw.replicates), np.nan)
    # As many strata at a time as leave room for their sums; the next ones see the same counts, drawn again.
    room = max(1, SUMS_BYTES // (8 * draw.replicates * max(1, max((p.features.shape[1] for p in plans), default=1))))
    for first in range(0, len(plans), room):
        group = plans[first : first + room]
        for s, made in enumerate(_made(draw, group, names, threads), start=first):
            values[s] = _evaluate(plans[s], made, every, prevalence)
    errors = {m.removesuffix(ERROR): values[:, k] for k, m in enumerate(every) if m.endswith(ERROR)}
    table = _table(plans, names, cases, chosen, values[:, : len(names)], errors, with_jackknife, prevalence)
    return replace(table, stratified=draw.stratified)


def replicate_values(
    draw: PatientDraw,
    *,
    reference: npt.ArrayLike,
    metrics: Sequence[str],
    masks: npt.ArrayLike | None = None,
    score: npt.ArrayLike | None = None,
    call: npt.ArrayLike | None = None,
    probability: npt.ArrayLike | None = None,
    bins: int = 10,
    scheme: BinScheme = "equal_width",
    prevalence: float | None = None,
    threads: int | None = None,
) -> FloatArray:
    """`(strata, metrics, replicates)` raw replicate values, NaN where undefined, for differences.

    Two calls with the same draw are paired replicate by replicate.
    """
    return binary_replicates(
        draw,
        reference=reference,
        metrics=metrics,
        masks=masks,
        score=score,
        call=call,
        probability=probability,
        bins=bins,
        scheme=scheme,
        prevalence=prevalence,
        threads=threads,
        with_jackknife=False,
    ).values


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """What the metrics of one stratum are formulas of, a replicate per row: sums `(r, f)`, rank statistics `(r,)`."""

    fixed: FloatArray
    ranked: Mapping[str, FloatArray]


def _made(draw: PatientDraw, plans: list[StratumPlan], metrics: Sequence[str], threads: int | None) -> list[_Made]:
    """Sums and rank statistics of every replicate."""
    ranked = [m for m in RANK_METRICS if m in metrics]
    summed = any(m not in RANK_METRICS for m in metrics)
    out = [
        _Made(
            fixed=np.empty((draw.replicates, plan.features.shape[1] if summed else 0)),
            ranked={m: np.empty(draw.replicates) for m in ranked} if plan.rank is not None else {},
        )
        for plan in plans
    ]

    def fill(part: slice, counts: Counts) -> None:
        for plan, made in zip(plans, out, strict=True):
            mine = counts if plan.patients.size == draw.n_patients else np.take(counts, plan.patients, axis=1)
            if summed:
                made.fixed[part] = weighted_sums(mine, plan.features)
            if plan.rank is not None:
                for metric, column in rank_values(plan.rank, mine, ranked).items():
                    made.ranked[metric][part] = column

    each_block(draw, fill, cases=sum(plan.n_cases for plan in plans), threads=threads)
    return out


def _case_arrays(
    draw: PatientDraw,
    used: BoolArray,
    reference: npt.ArrayLike,
    score: npt.ArrayLike | None,
    call: npt.ArrayLike | None,
    probability: npt.ArrayLike | None,
    bins: int,
    scheme: BinScheme,
) -> CaseArrays:
    truth = as_reference(reference)
    n = int(truth.size)
    if draw.n != n:
        raise ValueError(f"the draw was made for {draw.n} cases, reference has {n}")
    calls: BoolArray | None = None
    if call is not None:
        calls = as_reference(call)
        if calls.size != n:
            raise ValueError(f"call must have shape ({n},) like reference, got {calls.shape}")
    # A case outside every stratum takes no part, so it may lack a score or probability.
    p = None if probability is None else as_probabilities(_used(probability, used), n)
    return CaseArrays(
        reference=truth,
        patient=draw.patient,
        n_patients=draw.n_patients,
        score=None if score is None else as_scores(_used(score, used), n),
        call=calls,
        probability=p,
        bin_index=None if p is None else _bins_of_used(p, used, bins, scheme),
        n_bins=bins,
    )


def _used(values: npt.ArrayLike, used: BoolArray) -> npt.ArrayLike:
    array = np.asarray(values, dtype=np.float64)
    return np.where(used, array, 0.0) if array.shape == used.shape else array


def _bins_of_used(probability: FloatArray, used: BoolArray, bins: int, scheme: BinScheme) -> IntArray:
    index = np.zeros(probability.size, dtype=np.int64)
    index[used] = bin_index(probability[used], bins=bins, scheme=scheme)
    return index


def _evaluate(plan: StratumPlan, made: _Made, metrics: tuple[str, ...], prevalence: float | None) -> list[FloatArray]:
    nothing = np.full(made.fixed.shape[0], np.nan)
    sums = sums_of(plan, made.fixed) if made.fixed.shape[1] else None
    out = []
    for metric in metrics:
        if metric in RANK_METRICS:
            out.append(made.ranked.get(metric, nothing))
        elif metric == "log_loss" and plan.infinite_log_loss:
            out.append(nothing)
        elif metric.endswith(ERROR):
            assert sums is not None
            data = sums_of(plan, plan.features.sum(axis=0, keepdims=True))
            out.append(folded_error(metric.removesuffix(ERROR), sums, data) if plan.n_cases else nothing)
        else:
            assert sums is not None
            out.append(evaluate(metric, sums, prevalence=prevalence))
    return out


def _table(
    plans: list[StratumPlan],
    names: tuple[str, ...],
    cases: CaseArrays,
    masks: BoolArray,
    values: FloatArray,
    errors: Mapping[str, FloatArray],
    with_jackknife: bool,
    prevalence: float | None,
) -> ReplicateTable:
    point = np.full((len(plans), len(names)), np.nan)
    reasons: list[tuple[str | None, ...]] = []
    left_out: list[tuple[FloatArray | None, ...]] = []
    proportions: list[tuple[tuple[float, float] | None, ...]] = []
    for s, plan in enumerate(plans):
        once = np.ones((1, plan.patients.size), dtype=np.uint8)
        ranked = rank_values(plan.rank, once, names) if plan.rank is not None else {}
        whole = _Made(fixed=plan.features.sum(axis=0, keepdims=True), ranked=ranked)
        exact = sums_of(plan, whole.fixed)
        point[s] = [column[0] for column in _evaluate(plan, whole, names, prevalence)]
        reasons.append(
            tuple(
                undefined_reason(m, exact, prevalence=prevalence) if np.isnan(point[s, k]) else None
                for k, m in enumerate(names)
            )
        )
        refined = _plain_values(cases, masks[s], names, exact)
        point[s] = [refined.get(m, point[s, k]) for k, m in enumerate(names)]
        left_out.append(
            tuple(
                jackknife(plan, m, prevalence=prevalence)
                if with_jackknife and reasons[s][k] is None and m not in FOLDED
                else None
                for k, m in enumerate(names)
            )
        )
        proportions.append(
            tuple(
                None if prevalence is not None and m in ("ppv", "npv") else proportion_counts(m, exact) for m in names
            )
        )
    return ReplicateTable(
        metrics=names,
        point=point,
        values=values,
        errors=errors,
        reasons=tuple(reasons),
        jackknife=tuple(left_out),
        patients=tuple(plan.patients for plan in plans),
        n_cases=tuple(plan.n_cases for plan in plans),
        n_positive=tuple(int(cases.reference[mask].sum()) for mask in masks),
        proportions=tuple(proportions),
    )


def _plain_values(cases: CaseArrays, mask: BoolArray, names: tuple[str, ...], exact: Sums) -> dict[str, float]:
    """Means of losses in full float64: replicates use fixed point (error below 1e-10), the reported value does not."""
    if cases.probability is None or float(exact.n[0]) == 0.0:
        return {}
    y, p = cases.reference[mask], cases.probability[mask]
    out: dict[str, float] = {}
    if "brier" in names:
        out["brier"] = float(((p - y) ** 2).mean())
    if "log_loss" in names and exact.log_loss is not None:
        loss = float(case_log_loss(y, p).mean())
        out["log_loss"] = loss if np.isfinite(loss) else np.nan
    if "observed_expected" in names and float(p.sum()) > 0.0:
        out["observed_expected"] = float(y.sum() / p.sum())
    if cases.bin_index is not None and ("ece" in names or "mce" in names):
        index = cases.bin_index[mask]
        size = np.bincount(index, minlength=cases.n_bins)
        gap = np.abs(np.bincount(index, weights=y - p, minlength=cases.n_bins))
        out["ece"] = float(gap.sum() / y.size)
        out["mce"] = float((gap[size > 0] / size[size > 0]).max())
    return out

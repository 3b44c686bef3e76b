"""Any statistic made of sums over cases and of rankings, resampled by patient: one draw for all of them and all strata.

A statistic is a formula of weighted sums (`Parts.sums`) and of areas under ranking curves (`Parts.auroc`,
`Parts.average_precision`). The data, every replicate and every sample with a patient left out go through it alike.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from evalsuite.stats._binary_inputs import BoolArray, FloatArray, IntArray, check_level
from evalsuite.stats._jackknife import auroc_jackknife, average_precision_jackknife
from evalsuite.stats._stratum_plan import RankPlan, _fixed_point, _rank_plan, rank_values
from evalsuite.stats.bootstrap_interval import TITLES, BootstrapMethod, bootstrap_interval, check_method
from evalsuite.stats.draw import BLOCK_BYTES, PatientDraw
from evalsuite.types import Estimate, Unit

RANKS = ("auroc", "average_precision")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One ranking: `reference (m,)`, `score (m,)` and `case (m,)`, the index of the case each item belongs to."""

    reference: BoolArray
    score: FloatArray
    case: IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What formulas see: sums `(r, w)` by name, areas `(r, c)` by name of a group of rankings; NaN where undefined."""

    sums: Mapping[str, FloatArray]
    auroc: Mapping[str, FloatArray]
    average_precision: Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """A formula `(r,)` of the parts, and why it has no value where it is NaN on the data.

    `inflated` marks statistics that resampling makes larger than the data's (calibration errors): they get the basic
    interval, extended to the estimate.
    """

    value: Callable[[Parts], FloatArray]
    reason: Callable[[Parts], str]
    bounds: tuple[float, float] = (0.0, 1.0)
    inflated: bool = False
    counts: Callable[[Parts], tuple[float, float]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What statistics are made of: per case `(n, w)` columns to be summed, and groups of rankings."""

    sums: Mapping[str, FloatArray] = field(default_factory=dict)
    ranked: Mapping[str, Sequence[Ranked]] = field(default_factory=dict)
    ranks: tuple[str, ...] = RANKS


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    n_cases: int
    patients: IntArray
    fixed: FloatArray
    scale: FloatArray
    plain: FloatArray
    columns: Mapping[str, slice]
    ranked: Mapping[str, tuple[RankPlan | None, ...]]
    ranks: tuple[str, ...]


def resampled(
    draw: PatientDraw,
    material: Material,
    statistics: Sequence[Statistic],
    *,
    masks: npt.ArrayLike | None = None,
    level: float = 0.95,
    method: BootstrapMethod = "bca",
    unit: Unit = "case",
    threads: int | None = None,
) -> list[list[Estimate]]:
    """Estimates with patient-bootstrap intervals, `[stratum][statistic]`.

    Parameters
    ----------
    masks
        `(s, n)` bool, one row per stratum; None for the whole set only.
    threads
        Worker threads; the numbers do not depend on it.

    Raises
    ------
    ValueError
        If shapes do not fit the draw, or the method or level is unknown.
    """
    check_method(method)
    level = check_level(level)
    chosen = np.ones((1, draw.n), dtype=np.bool_) if masks is None else np.asarray(masks)
    if chosen.dtype != np.bool_ or chosen.ndim != 2 or chosen.shape[1] != draw.n:
        raise ValueError(f"masks must be bool of shape (strata, {draw.n}), got {chosen.dtype} {chosen.shape}")
    for name, columns in material.sums.items():
        if columns.ndim != 2 or columns.shape[0] != draw.n:
            raise ValueError(f"{name} must have shape ({draw.n}, w), got {columns.shape}")
    plans = [_plan(draw, material, mask) for mask in chosen]
    values = np.full((len(plans), len(statistics), draw.replicates), np.nan)

    def fill(span: tuple[int, int]) -> None:
        counts = draw.counts(*span)
        for s, plan in enumerate(plans):
            if plan.n_cases == 0:
                continue
            mine = counts if plan.patients.size == draw.n_patients else np.take(counts, plan.patients, axis=1)
            parts = _parts(plan, (mine.astype(np.float64) @ plan.fixed) * plan.scale, mine)
            for m, statistic in enumerate(statistics):
                values[s, m, span[0] : span[1]] = statistic.value(parts)

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    workers = min(8, cores) if threads is None else max(1, threads)
    size = max(1, min(BLOCK_BYTES // max(1, 8 * draw.n_patients), -(-draw.replicates // (4 * workers))))
    spans = list(draw.spans(size=size))
    if workers == 1 or len(spans) == 1:
        for span in spans:
            fill(span)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(fill, spans))
    return [
        _estimates(plan, statistics, values[s], level=level, method=method, unit=unit) for s, plan in enumerate(plans)
    ]


def _plan(draw: PatientDraw, material: Material, mask: BoolArray) -> _Plan:
    index = np.flatnonzero(mask)
    patients, local = np.unique(draw.patient[index], return_inverse=True)
    local = local.reshape(-1)
    columns: dict[str, slice] = {}
    width = 0
    for name, table in material.sums.items():
        columns[name] = slice(width, width + table.shape[1])
        width += table.shape[1]
    stacked = np.concatenate([t[index] for t in material.sums.values()] or [np.zeros((index.size, 0))], axis=1)
    per_patient = np.zeros((patients.size, width))
    if index.size:
        order = np.argsort(local, kind="stable")
        starts = np.searchsorted(local[order], np.arange(patients.size))
        per_patient = np.add.reduceat(stacked[order], starts, axis=0)
    fixed, scale = _fixed_point(per_patient, draw.n_patients) if width else (per_patient, np.ones(0))
    ranked: dict[str, tuple[RankPlan | None, ...]] = {}
    for name, group in material.ranked.items():
        ranked[name] = tuple(_rank(draw, item, mask, patients) for item in group)
    return _Plan(
        n_cases=int(index.size),
        patients=patients,
        fixed=fixed,
        scale=scale,
        plain=stacked.sum(axis=0, keepdims=True),
        columns=columns,
        ranked=ranked,
        ranks=material.ranks,
    )


def _rank(draw: PatientDraw, item: Ranked, mask: BoolArray, patients: IntArray) -> RankPlan | None:
    kept = mask[item.case]
    reference = item.reference[kept]
    if not 0 < int(reference.sum()) < reference.size:
        return None
    local = np.searchsorted(patients, draw.patient[item.case[kept]])
    return _rank_plan(reference, item.score[kept], local, patients.size)


def _parts(plan: _Plan, sums: FloatArray, counts: npt.NDArray[np.int32]) -> Parts:
    found: dict[str, dict[str, FloatArray]] = {rank: {} for rank in RANKS}
    rows = counts.shape[0]
    for name, group in plan.ranked.items():
        columns = [{} if p is None else rank_values(p, counts, plan.ranks) for p in group]
        for rank in plan.ranks:
            nothing = np.full(rows, np.nan)
            found[rank][name] = np.stack([c.get(rank, nothing) for c in columns], axis=1)
    return _named(plan, sums, found)


def _left_out(plan: _Plan) -> Parts:
    """Every patient of the stratum left out in turn."""
    people = plan.patients.size
    functions = {"auroc": auroc_jackknife, "average_precision": average_precision_jackknife}
    found: dict[str, dict[str, FloatArray]] = {rank: {} for rank in RANKS}
    for name, group in plan.ranked.items():
        for rank in plan.ranks:
            found[rank][name] = np.stack(
                [np.full(people, np.nan) if p is None else functions[rank](p, people) for p in group], axis=1
            )
    return _named(plan, (plan.fixed.sum(axis=0) - plan.fixed) * plan.scale, found)


def _named(plan: _Plan, sums: FloatArray, found: Mapping[str, Mapping[str, FloatArray]]) -> Parts:
    return Parts(
        sums={name: sums[:, where] for name, where in plan.columns.items()},
        auroc=found["auroc"],
        average_precision=found["average_precision"],
    )


def _estimates(
    plan: _Plan,
    statistics: Sequence[Statistic],
    values: FloatArray,
    *,
    level: float,
    method: BootstrapMethod,
    unit: Unit,
) -> list[Estimate]:
    common: dict[str, Any] = {"n": plan.n_cases, "unit": unit, "level": level, "n_patients": int(plan.patients.size)}
    if plan.n_cases == 0:
        return [Estimate.not_estimable("no cases", **common) for _ in statistics]
    data = _parts(plan, plan.plain, np.ones((1, plan.patients.size), dtype=np.int32))
    needs_jackknife = method == "bca" and any(not s.inflated for s in statistics)
    left_out = _left_out(plan) if needs_jackknife else None
    out = []
    for statistic, replicates in zip(statistics, values, strict=True):
        used: BootstrapMethod = "basic" if statistic.inflated else method
        made = int(replicates.size)
        title = f"patient bootstrap, {TITLES[used]}, B={made}"
        point = float(statistic.value(data)[0])
        fields = {
            **common,
            "replicates": made,
            "replicates_undefined": int((~np.isfinite(replicates)).sum()),
        }
        if not np.isfinite(point):
            out.append(Estimate.not_estimable(statistic.reason(data), method=title, **fields))
            continue
        interval = bootstrap_interval(
            replicates,
            point,
            method=used,
            level=level,
            jackknife=statistic.value(left_out) if used == "bca" and left_out is not None else None,
            bounds=statistic.bounds,
        )
        low, high, absent = interval.low, interval.high, interval.undefined
        if plan.patients.size == 1 and absent is not None:
            absent = "one patient only: resampling patients cannot show any variation"
        if statistic.inflated and low is not None and high is not None:
            title += ", extended to the estimate"
            low, high = min(low, point), max(high, point)
        if statistic.counts is not None:
            numerator, denominator = statistic.counts(data)
            fields |= {"numerator": numerator, "denominator": denominator}
        out.append(Estimate(value=point, low=low, high=high, interval_undefined=absent, method=title, **fields))
    return out

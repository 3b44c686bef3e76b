"""Any statistic made of sums over cases and of rankings, resampled by patient: one draw for all of them and all strata.

A statistic is a formula of weighted sums (`Parts.sums`) and of areas under ranking curves (`Parts.auroc`,
`Parts.average_precision`). The data, every replicate and every sample with a patient left out go through it alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from evalsuite.stats._binary_inputs import BoolArray, FloatArray, IntArray, check_level
from evalsuite.stats._blocks import Counts, each_block
from evalsuite.stats._jackknife import auroc_jackknife, average_precision_jackknife
from evalsuite.stats._stratum_plan import (
    RankPlan,
    _fixed_point,
    _rank_plan,
    rank_values,
    weighted_sums,
)
from evalsuite.stats.bootstrap_interval import (
    FOLDED_TITLE,
    TITLES,
    BootstrapMethod,
    bootstrap_interval,
    check_method,
    folded_interval,
)
from evalsuite.stats.draw import PatientDraw
from evalsuite.types import Estimate, Unit

RANKS = ("auroc", "average_precision")
COUNTS_HELD = 4_000_000
"""Counts of left-out patients made at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One ranking: `reference (m,)`, `score (m,)` and `case (m,)`, the index of the case each item belongs to."""

    reference: BoolArray
    score: FloatArray
    case: IntArray


Counted = Callable[[BoolArray, IntArray], Callable[[Counts], FloatArray]]
"""A statistic of its own kind: from the cases `(n,)` of a stratum and its patients' codes `(p,)` to a function that
gives `(r, k)` values for counts `(r, p)` of these patients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What formulas see: sums `(r, w)` by name, areas `(r, c)` by name of a group of rankings, and `(r, k)` values of
    what is counted in its own way; NaN where undefined."""

    sums: Mapping[str, FloatArray]
    auroc: Mapping[str, FloatArray]
    average_precision: Mapping[str, FloatArray]
    counted: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """A formula `(r,)` of the parts, and why it has no value where it is NaN on the data.

    `change` belongs to means of absolute values, which resampling makes larger than the data's (calibration errors):
    the size `(r,)` of what replicates change in the values themselves, for `folded_interval`.
    """

    value: Callable[[Parts], FloatArray]
    reason: Callable[[Parts], str]
    bounds: tuple[float, float] = (0.0, 1.0)
    change: Callable[[Parts, Parts], FloatArray] | None = None
    counts: Callable[[Parts], tuple[float, float]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What statistics are made of: per case `(n, w)` columns to be summed, groups of rankings, and anything else that
    can be computed from how often each patient is drawn."""

    sums: Mapping[str, FloatArray] = field(default_factory=dict)
    ranked: Mapping[str, Sequence[Ranked]] = field(default_factory=dict)
    counted: Mapping[str, Counted] = field(default_factory=dict)
    ranks: tuple[str, ...] = RANKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicated:
    """Every statistic in every stratum: on the data, in each replicate, with each patient left out; read at any level.

    `point (s, m)` and `values (s, m, r)` hold NaN where a statistic does not exist; `reasons[s][m]` says why for the
    data. `errors[m] (s, r)` are the changes of statistic m, where it has them. `jackknife[s][m]` is `(p,)` over
    `patients[s]` (codes of the draw), None where it was not asked for. Replicate `r` is the same resample of patients
    everywhere, so differences of two columns are paired.
    """

    statistics: tuple[Statistic, ...]
    point: FloatArray
    values: FloatArray
    errors: Mapping[int, FloatArray]
    reasons: tuple[tuple[str | None, ...], ...]
    jackknife: tuple[tuple[FloatArray | None, ...], ...]
    proportions: tuple[tuple[tuple[float, float] | None, ...], ...]
    patients: tuple[IntArray, ...]
    n_cases: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    n_cases: int
    patients: IntArray
    fixed: FloatArray
    scale: FloatArray
    plain: FloatArray
    columns: Mapping[str, slice]
    ranked: Mapping[str, tuple[RankPlan | None, ...]]
    counted: Mapping[str, Callable[[Counts], FloatArray]]
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
    check_level(level)
    table = replicated(draw, material, statistics, masks=masks, with_jackknife=method == "bca", threads=threads)
    return read(table, level=level, method=method, unit=unit)


def replicated(
    draw: PatientDraw,
    material: Material,
    statistics: Sequence[Statistic],
    *,
    masks: npt.ArrayLike | None = None,
    with_jackknife: bool = True,
    threads: int | None = None,
) -> Replicated:
    """The replicates themselves, arguments as in `resampled`; BCa intervals need `with_jackknife`."""
    chosen = np.ones((1, draw.n), dtype=np.bool_) if masks is None else np.asarray(masks)
    if chosen.dtype != np.bool_ or chosen.ndim != 2 or chosen.shape[1] != draw.n:
        raise ValueError(f"masks must be bool of shape (strata, {draw.n}), got {chosen.dtype} {chosen.shape}")
    for name, columns in material.sums.items():
        if columns.ndim != 2 or columns.shape[0] != draw.n:
            raise ValueError(f"{name} must have shape ({draw.n}, w), got {columns.shape}")
    plans = [_plan(draw, material, mask) for mask in chosen]
    values = np.full((len(plans), len(statistics), draw.replicates), np.nan)
    errors = {m: np.full((len(plans), draw.replicates), np.nan) for m, s in enumerate(statistics) if s.change}
    data = [_of_data(plan) if errors and plan.n_cases else None for plan in plans]

    def fill(part: slice, counts: Counts) -> None:
        for s, plan in enumerate(plans):
            if plan.n_cases == 0:
                continue
            mine = counts if plan.patients.size == draw.n_patients else np.take(counts, plan.patients, axis=1)
            parts = _parts(plan, weighted_sums(mine, plan.fixed) * plan.scale, mine)
            for m, statistic in enumerate(statistics):
                values[s, m, part] = statistic.value(parts)
                whole = data[s]
                if statistic.change is not None and whole is not None:
                    errors[m][s, part] = statistic.change(parts, whole)

    each_block(draw, fill, cases=int(np.count_nonzero(chosen)), threads=threads)
    rows = [_on_the_data(plan, statistics, with_jackknife=with_jackknife) for plan in plans]
    return Replicated(
        statistics=tuple(statistics),
        point=np.array([row.point for row in rows]).reshape(len(plans), len(statistics)),
        values=values,
        errors=errors,
        reasons=tuple(row.reasons for row in rows),
        jackknife=tuple(row.jackknife for row in rows),
        proportions=tuple(row.proportions for row in rows),
        patients=tuple(plan.patients for plan in plans),
        n_cases=tuple(plan.n_cases for plan in plans),
    )


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
        counted={name: prepare(mask, patients) for name, prepare in material.counted.items() if index.size},
        ranks=material.ranks,
    )


def _rank(draw: PatientDraw, item: Ranked, mask: BoolArray, patients: IntArray) -> RankPlan | None:
    kept = mask[item.case]
    reference = item.reference[kept]
    if not 0 < int(reference.sum()) < reference.size:
        return None
    local = np.searchsorted(patients, draw.patient[item.case[kept]])
    return _rank_plan(reference, item.score[kept], local, patients.size)


def _parts(plan: _Plan, sums: FloatArray, counts: Counts) -> Parts:
    found: dict[str, dict[str, FloatArray]] = {rank: {} for rank in RANKS}
    rows = counts.shape[0]
    for name, group in plan.ranked.items():
        columns = [{} if p is None else rank_values(p, counts, plan.ranks) for p in group]
        for rank in plan.ranks:
            nothing = np.full(rows, np.nan)
            found[rank][name] = np.stack([c.get(rank, nothing) for c in columns], axis=1)
    return _named(plan, sums, found, {name: of_counts(counts) for name, of_counts in plan.counted.items()})


def _of_data(plan: _Plan) -> Parts:
    return _parts(plan, plan.plain, np.ones((1, plan.patients.size), dtype=np.int32))


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
    counted = {name: _without_each(of_counts, people) for name, of_counts in plan.counted.items()}
    return _named(plan, (plan.fixed.sum(axis=0) - plan.fixed) * plan.scale, found, counted)


def _without_each(of_counts: Callable[[Counts], FloatArray], people: int) -> FloatArray:
    """`(people, k)`, some hundred rows of counts at a time."""
    rows = max(1, COUNTS_HELD // max(1, people))
    out = []
    for start in range(0, people, rows):
        counts = np.ones((min(rows, people - start), people), dtype=np.int32)
        counts[np.arange(len(counts)), start + np.arange(len(counts))] = 0
        out.append(of_counts(counts))
    return np.concatenate(out)


def _named(
    plan: _Plan,
    sums: FloatArray,
    found: Mapping[str, Mapping[str, FloatArray]],
    counted: Mapping[str, FloatArray],
) -> Parts:
    return Parts(
        sums={name: sums[:, where] for name, where in plan.columns.items()},
        auroc=found["auroc"],
        average_precision=found["average_precision"],
        counted=counted,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One stratum on the data: values, why there is none, left-one-out values and counts, per statistic."""

    point: tuple[float, ...]
    reasons: tuple[str | None, ...]
    jackknife: tuple[FloatArray | None, ...]
    proportions: tuple[tuple[float, float] | None, ...]


def _on_the_data(plan: _Plan, statistics: Sequence[Statistic], *, with_jackknife: bool) -> _Row:
    many = len(statistics)
    if plan.n_cases == 0:
        nothing = (None,) * many
        return _Row(point=(np.nan,) * many, reasons=("no cases",) * many, jackknife=nothing, proportions=nothing)
    data = _of_data(plan)
    point = tuple(float(s.value(data)[0]) for s in statistics)
    needed = with_jackknife and any(s.change is None for s in statistics)
    left_out = _left_out(plan) if needed else None
    return _Row(
        point=point,
        reasons=tuple(None if np.isfinite(v) else s.reason(data) for s, v in zip(statistics, point, strict=True)),
        jackknife=tuple(None if left_out is None or s.change is not None else s.value(left_out) for s in statistics),
        proportions=tuple(
            s.counts(data) if s.counts is not None and np.isfinite(v) else None
            for s, v in zip(statistics, point, strict=True)
        ),
    )


def read(
    table: Replicated, *, level: float = 0.95, method: BootstrapMethod = "bca", unit: Unit = "case"
) -> list[list[Estimate]]:
    """Estimates with intervals at one level, `[stratum][statistic]`."""
    check_method(method)
    level = check_level(level)
    return [
        [_estimate(table, s, m, level=level, method=method, unit=unit) for m in range(len(table.statistics))]
        for s in range(len(table.n_cases))
    ]


def _estimate(table: Replicated, s: int, m: int, *, level: float, method: BootstrapMethod, unit: Unit) -> Estimate:
    statistic, replicates = table.statistics[m], table.values[s, m]
    common: dict[str, Any] = {
        "n": table.n_cases[s],
        "unit": unit,
        "level": level,
        "n_patients": int(table.patients[s].size),
    }
    reason = table.reasons[s][m]
    if table.n_cases[s] == 0:
        return Estimate.not_estimable(reason or "no cases", **common)
    title = f"patient bootstrap, {TITLES[method]}, B={replicates.size}"
    if statistic.change is not None:
        title = FOLDED_TITLE.format(replicates=replicates.size)
    common |= {
        "replicates": int(replicates.size),
        "replicates_undefined": int((~np.isfinite(replicates)).sum()),
    }
    if reason is not None:
        return Estimate.not_estimable(reason, method=title, **common)
    point = float(table.point[s, m])
    if statistic.change is not None:
        interval = folded_interval(replicates, table.errors[m][s], point, level=level, highest=statistic.bounds[1])
    else:
        interval = bootstrap_interval(
            replicates, point, method=method, level=level, jackknife=table.jackknife[s][m], bounds=statistic.bounds
        )
    low, high, absent = interval.low, interval.high, interval.undefined
    if table.patients[s].size == 1 and absent is not None:
        absent = "one patient only: resampling patients cannot show any variation"
    counts = table.proportions[s][m]
    if counts is not None:
        common |= {"numerator": counts[0], "denominator": counts[1]}
    return Estimate(value=point, low=low, high=high, interval_undefined=absent, method=title, **common)

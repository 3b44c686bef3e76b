"""Bootstrap over patients: one draw gives every two-class metric, in every stratum, its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from evalsuite.stats._binary_inputs import FloatArray, IntArray, check_level
from evalsuite.stats._binary_metrics import METRICS
from evalsuite.stats._resampled import Replicated, read
from evalsuite.stats.bins import BinScheme
from evalsuite.stats.bootstrap_interval import (
    FOLDED_TITLE,
    TITLES,
    BootstrapInterval,
    BootstrapMethod,
    bootstrap_interval,
    check_method,
    folded_interval,
)
from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.replicates import FOLDED, ReplicateTable, binary_replicates, replicate_values
from evalsuite.types import Estimate, Unit

__all__ = [
    "FOLDED",
    "METRICS",
    "BootstrapInterval",
    "BootstrapMethod",
    "PatientDraw",
    "ReplicateTable",
    "Replicated",
    "binary_bootstrap",
    "binary_replicates",
    "bootstrap_interval",
    "difference_estimate",
    "estimates",
    "read",
    "replicate_values",
]

BOUNDS: dict[str, tuple[float, float]] = {
    "mcc": (-1.0, 1.0),
    "kappa": (-1.0, 1.0),
    "youden": (-1.0, 1.0),
    "lr_positive": (0.0, np.inf),
    "lr_negative": (0.0, np.inf),
    "log_loss": (0.0, np.inf),
    "observed_expected": (0.0, np.inf),
}


def binary_bootstrap(
    draw: PatientDraw,
    *,
    reference: npt.ArrayLike,
    metrics: Sequence[str],
    masks: npt.ArrayLike | None = None,
    score: npt.ArrayLike | None = None,
    call: npt.ArrayLike | None = None,
    probability: npt.ArrayLike | None = None,
    level: float = 0.95,
    method: BootstrapMethod = "bca",
    bins: int = 10,
    scheme: BinScheme = "equal_width",
    prevalence: float | None = None,
    unit: Unit = "case",
    threads: int | None = None,
) -> list[list[Estimate]]:
    """Estimate with bootstrap interval of every metric in every stratum, from one draw of patients.

    Parameters
    ----------
    draw
        The resampling; `draw.cluster` must have one entry per case.
    reference
        `(n,)` bool.
    metrics
        Names out of `METRICS`.
    prevalence
        Declared prevalence: PPV and NPV are then those of a population with it (Bayes' rule).
    masks
        `(s, n)` bool, one row per stratum; None for the whole set only.
    score, call, probability
        `(n,)`; None where no requested metric needs them.
    method
        `bca`, `percentile` or `basic`. ECE and MCE always get `folded_interval`: they are inflated by resampling, so
        the others would sit above the truth.
    threads
        Worker threads; the numbers do not depend on it. None: two at most, one for
        small studies.

    Returns
    -------
    list (strata) of list (metrics) of Estimate
        Not estimable with a reason where the metric does not exist in the stratum. `replicates` and
        `replicates_undefined` are always filled; `n` is the metric's own denominator for proportions, else the cases.

    Raises
    ------
    ValueError
        For unknown metrics, missing inputs, NaN, wrong shapes, an unknown method.
    """
    check_method(method)
    table = binary_replicates(
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
        with_jackknife=method == "bca",
    )
    return estimates(table, method=method, level=level, unit=unit)


def estimates(
    table: ReplicateTable, *, method: BootstrapMethod = "bca", level: float = 0.95, unit: Unit = "case"
) -> list[list[Estimate]]:
    """Turn a table of replicates into estimates, `[stratum][metric]`."""
    check_method(method)
    level = check_level(level)
    return [
        [_estimate(table, s, m, method=method, level=level, unit=unit) for m in range(len(table.metrics))]
        for s in range(len(table.n_cases))
    ]


def method_title(method: BootstrapMethod, replicates: int, *, stratified: bool = False) -> str:
    """How the report names the interval."""
    return f"patient bootstrap, {TITLES[method]}, B={replicates}{', stratified' if stratified else ''}"


def _estimate(table: ReplicateTable, s: int, m: int, *, method: BootstrapMethod, level: float, unit: Unit) -> Estimate:
    metric = table.metrics[m]
    replicates = table.values[s, m]
    common: dict[str, Any] = {
        "unit": unit,
        "level": level,
        "n_positive": table.n_positive[s],
        "n_negative": table.n_cases[s] - table.n_positive[s],
        "n_patients": int(table.patients[s].size),
        "replicates": int(replicates.size),
        "replicates_undefined": int(np.isnan(replicates).sum()),
    }
    title = method_title(method, int(replicates.size), stratified=table.stratified)
    if metric in FOLDED:
        title = FOLDED_TITLE.format(replicates=int(replicates.size)) + (", stratified" if table.stratified else "")
    reason = table.reasons[s][m]
    if reason is not None:
        return Estimate.not_estimable(reason, n=table.n_cases[s], method=title, **common)
    point = float(table.point[s, m])
    if metric in FOLDED:
        interval = folded_interval(replicates, table.errors[metric][s], point, level=level)
    else:
        interval = bootstrap_interval(
            replicates,
            point,
            method=method,
            level=level,
            jackknife=table.jackknife[s][m],
            bounds=BOUNDS.get(metric, (0.0, 1.0)),
        )
    low, high, absent = interval.low, interval.high, interval.undefined
    if table.patients[s].size == 1 and absent is not None:
        absent = "one patient only: resampling patients cannot show any variation"
    proportion = table.proportions[s][m]
    if proportion is not None:
        common |= {"numerator": proportion[0], "denominator": proportion[1]}
        common["design_effect"] = _design_effect(table, s, replicates, point, proportion[1])
    n = int(proportion[1]) if proportion is not None else table.n_cases[s]
    return Estimate(value=point, low=low, high=high, interval_undefined=absent, method=title, n=n, **common)


def _design_effect(
    table: ReplicateTable, s: int, replicates: FloatArray, point: float, denominator: float
) -> float | None:
    """Bootstrap variance over the binomial one, where patients have several cases and the latter is not 0."""
    if table.patients[s].size == table.n_cases[s] or not 0.0 < point < 1.0:
        return None
    defined = replicates[np.isfinite(replicates)]
    if defined.size < 2:
        return None
    return float(defined.var(ddof=1)) * denominator / (point * (1.0 - point))


def difference_estimate(
    first: tuple[ReplicateTable | Replicated, int, int],
    second: tuple[ReplicateTable | Replicated, int, int],
    *,
    level: float = 0.95,
    method: BootstrapMethod = "percentile",
    unit: Unit = "case",
) -> Estimate:
    """First minus second, each `(table, stratum, metric)` of the same draw: paired by construction.

    For BCa the jackknife runs over the patients of both; a patient in only one of them leaves the other unchanged.
    """
    (a, s, m), (b, t, k) = first, second
    replicates = a.values[s, m] - b.values[t, k]
    n = a.n_cases[s] if a is b and s == t else a.n_cases[s] + b.n_cases[t]
    everyone = np.union1d(a.patients[s], b.patients[t])
    stratified = isinstance(a, ReplicateTable) and a.stratified
    title = f"{method_title(method, int(replicates.size), stratified=stratified)}, paired difference"
    common: dict[str, Any] = {
        "unit": unit,
        "level": check_level(level),
        "n": n,
        "n_patients": int(everyone.size),
        "replicates": int(replicates.size),
        "replicates_undefined": int((~np.isfinite(replicates)).sum()),
        "method": title,
    }
    for reason in (a.reasons[s][m], b.reasons[t][k]):
        if reason is not None:
            return Estimate.not_estimable(reason, **common)
    point = float(a.point[s, m] - b.point[t, k])
    left_out: FloatArray | None = None
    if method == "bca":
        left_out = _expand(a, s, m, everyone) - _expand(b, t, k, everyone)
    interval = bootstrap_interval(replicates, point, method=method, level=level, jackknife=left_out)
    return Estimate(value=point, low=interval.low, high=interval.high, interval_undefined=interval.undefined, **common)


def _expand(table: ReplicateTable | Replicated, s: int, m: int, everyone: IntArray) -> FloatArray:
    values = table.jackknife[s][m]
    if values is None:
        raise ValueError("a BCa difference needs tables made with_jackknife=True")
    out = np.full(everyone.size, float(table.point[s, m]))
    out[np.searchsorted(everyone, table.patients[s])] = values
    return out

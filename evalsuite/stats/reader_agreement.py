"""How far readers agree with each other, whatever the truth: kappa of their calls, alpha of their ratings."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from evalsuite.stats._binary_inputs import FloatArray, IntArray, as_clusters
from evalsuite.stats._normal import t_two_sided
from evalsuite.types import Estimate

_ONE = "all readings are one value: nothing to agree on beyond chance"
_NOBODY = "no case was read by two readers"


def fleiss_kappa(call: ArrayLike, *, cluster: ArrayLike | None = None, level: float = 0.95) -> Estimate:
    """Fleiss' kappa of calls `(readers, cases)`, NaN where a reader did not read; any number of categories.

    Cases read by fewer than two readers do not enter. With unequal numbers of readings per case each case's agreement
    is over its own pairs and weighs the same. Interval: jackknife over patients, Student t, cut at −1 and 1.

    References
    ----------
    Fleiss, Psychological Bulletin 76:378-382 (1971).
    """
    table = _table(call)
    categories = np.unique(table[~np.isnan(table)])
    counts = (table[:, :, None] == categories).sum(axis=0).astype(np.float64)
    n = counts.sum(axis=1)
    used = n >= 2
    with np.errstate(divide="ignore", invalid="ignore"):
        agreed = np.where(used, ((counts**2).sum(axis=1) - n) / (n * (n - 1.0)), 0.0)
    parts = np.column_stack([used, agreed, np.where(used[:, None], counts, 0.0)])

    def value(total: FloatArray) -> FloatArray:
        cases, observed = total[..., 0], total[..., 1] / total[..., 0]
        share = total[..., 2:] / total[..., 2:].sum(axis=-1, keepdims=True)
        by_chance = (share**2).sum(axis=-1)
        return np.where(cases > 0, (observed - by_chance) / (1.0 - by_chance), np.nan)

    return _jackknifed(parts, value, used, cluster, level, "Fleiss' kappa, jackknife over patients")


def krippendorff_alpha(rating: ArrayLike, *, cluster: ArrayLike | None = None, level: float = 0.95) -> Estimate:
    """Krippendorff's alpha of ratings `(readers, cases)` on an interval scale, NaN where a reader did not read.

    One less the ratio of the mean squared difference within cases to that between any two readings. Cases read by fewer
    than two readers do not enter. Interval: jackknife over patients, Student t, cut at −1 and 1.

    References
    ----------
    Krippendorff, Content Analysis (2004), ch. 11; "Computing Krippendorff's alpha-reliability" (2011).
    """
    table = _table(rating)
    read = ~np.isnan(table)
    n = read.sum(axis=0).astype(np.float64)
    used = n >= 2
    # Alpha does not change when all ratings move: near 0, sums of squares lose nothing.
    centred = table - (np.nanmean(table) if read.any() else 0.0)
    total = np.where(read, centred, 0.0).sum(axis=0)
    squares = np.where(read, centred**2, 0.0).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        within = np.where(used, (n * squares - total**2) / (n - 1.0), 0.0)
    parts = np.column_stack([np.where(used, v, 0.0) for v in (n, within, total, squares)])

    def value(sums: FloatArray) -> FloatArray:
        n, within, total, squares = (sums[..., i] for i in range(4))
        return 1.0 - within * (n - 1.0) / (n * squares - total**2)

    return _jackknifed(parts, value, used, cluster, level, "Krippendorff's alpha (interval), jackknife over patients")


def _table(values: ArrayLike) -> FloatArray:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"readings must have shape (readers, cases), got {table.shape}")
    if np.isinf(table).any():
        raise ValueError("readings must be finite: agreement on ratings is about their distances")
    return table


def _jackknifed(
    parts: FloatArray, value: Callable[[FloatArray], FloatArray], used: np.ndarray, cluster: ArrayLike | None,
    level: float, method: str,
) -> Estimate:  # fmt: skip
    """The statistic of the sums of `parts (cases, p)`, and its interval from leaving out one patient at a time."""
    codes = as_clusters(cluster, used.size)
    patient: IntArray = np.arange(used.size, dtype=np.int64) if codes is None else codes
    entering = np.unique(patient[used])
    counts: dict[str, Any] = {"n": int(used.sum()), "n_patients": int(entering.size), "level": level, "method": method}
    if not used.any():
        return Estimate.not_estimable(_NOBODY, n=0, level=level, method=method)
    sums = np.zeros((int(patient.max()) + 1, parts.shape[1]))
    np.add.at(sums, patient, parts)
    total = parts.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        whole, without = float(value(total)), value(total - sums[entering])
    if not math.isfinite(whole):
        return Estimate.not_estimable(_ONE, n=counts["n"], level=level, method=method)
    m = entering.size
    if m < 2:
        return Estimate(value=whole, interval_undefined="all cases come from one patient", **counts)
    if not np.isfinite(without).all():
        return Estimate(value=whole, interval_undefined="all that varies comes from one patient", **counts)
    variance = (m - 1) / m * float(((without - without.mean()) ** 2).sum())
    if variance == 0.0:
        return Estimate(value=whole, interval_undefined="no variation between patients was seen", **counts)
    half = t_two_sided(level, m - 1) * math.sqrt(variance)
    return Estimate(value=whole, low=max(whole - half, -1.0), high=min(whole + half, 1.0), **counts)

"""How well a score separates the classes in the population a test set was drawn from: AUROC with sampling weights."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalsuite.stats._binary_inputs import as_reference, as_scores
from evalsuite.stats._design import (
    Design,
    class_fields,
    design,
    kish_effective_n,
    linearised_variance,
    one_class_reason,
)
from evalsuite.stats._means import Floats
from evalsuite.stats._normal import check_level, expit, z_two_sided
from evalsuite.stats._rank import newcombe_interval
from evalsuite.stats.bootstrap_interval import TITLES, BootstrapMethod, bootstrap_interval
from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.roc import auroc
from evalsuite.types import Estimate, Unit

Bools = NDArray[np.bool_]

_BLOCK_ELEMENTS = 2_000_000


def _placements(values: Floats, others: Floats, weight: Floats) -> Floats:
    """For each value the weighted share of `others` below it, equal ones counting one half."""
    order = np.argsort(others, kind="stable")
    ordered, below = others[order], np.append(0.0, np.cumsum(weight[order]))
    left, right = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return np.asarray((below[left] + below[right]) / (2.0 * below[-1]))


def _auroc_parts(y: Bools, s: Floats, w: Floats) -> tuple[float, Floats, Floats]:
    """Weighted AUROC, and the influence (n,) of each positive and of each negative (0 for the other class)."""
    v10 = _placements(s[y], s[~y], w[~y])
    v01 = 1.0 - _placements(s[~y], s[y], w[y])
    area = float(w[y] @ v10) / float(w[y].sum())
    # A perfect score is exactly 1: rounding would otherwise give it a variance of 1e-32, and an interval to match.
    area = 1.0 if float(s[y].min()) > float(s[~y].max()) else 0.0 if float(s[y].max()) < float(s[~y].min()) else area
    of_positive, of_negative = np.zeros(y.size), np.zeros(y.size)
    of_positive[y] = w[y] * _deviation(v10, area) / w[y].sum()
    of_negative[~y] = w[~y] * _deviation(v01, area) / w[~y].sum()
    return area, of_positive, of_negative


def _deviation(placement: Floats, area: float) -> Floats:
    gap = placement - area
    gap[np.abs(gap) < 1e-12] = 0.0
    return gap


def _auroc_variance(y: Bools, of_positive: Floats, of_negative: Floats, d: Design) -> float | str:
    """Obuchowski's variance with weighted placements; with strata, the linearised one."""
    if d.stratum_of_patient is not None:
        return linearised_variance(of_positive + of_negative, d)
    m = d.n_patients
    with_positive, with_negative = np.unique(d.patient[y]).size, np.unique(d.patient[~y]).size
    for count, which in ((with_positive, "positive"), (with_negative, "negative")):
        if count < 2:
            return f"all {which} cases come from one patient, so variation between patients cannot be estimated"
    a, b = np.bincount(d.patient, of_positive, minlength=m), np.bincount(d.patient, of_negative, minlength=m)
    return (
        with_positive / (with_positive - 1.0) * float(a @ a)
        + with_negative / (with_negative - 1.0) * float(b @ b)
        + 2.0 * m / (m - 1.0) * float(a @ b)
    )


def weighted_auroc(
    reference: ArrayLike,
    score: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    stratum: ArrayLike | None = None,
    level: float = 0.95,
    unit: Unit = "case",
) -> Estimate:
    """Chance that a positive outranks a negative when both are drawn by their weights; logit interval, linearised.

    With equal weights it is `roc.auroc`. The variance is Obuchowski's with weighted placements (DeLong's with one case
    per patient); with sampling strata, that of the influences within them. An area of 0 or 1 gets Newcombe's method 5
    at Kish's effective numbers of patients.

    Raises
    ------
    ValueError
        If shapes differ, a score is NaN, a weight is not positive, or a patient lies in two strata.

    References
    ----------
    Obuchowski, Biometrics 53:567-578 (1997); Yao, Li & Graubard, Stat Med 34:1437-1457 (2015).
    """
    y = as_reference(reference)
    s = as_scores(score, y.size)
    d = design(y.size, weight, patient, stratum)
    level = check_level(level)
    if d.plain:
        return auroc(y, s, level=level, cluster=None if patient is None else d.patient, unit=unit)
    label = "logit, linearised with sampling weights" + (" and strata" if d.stratum_of_patient is not None else "")
    fields = class_fields(y, d, level, unit)
    reason = one_class_reason(y)
    if reason is not None:
        return Estimate.not_estimable(reason, method=label, **fields)
    area, of_positive, of_negative = _auroc_parts(y, s, d.weight)
    variance = _auroc_variance(y, of_positive, of_negative, d)
    if area in (0.0, 1.0) or (not isinstance(variance, str) and variance <= 0.0):
        # A hair below a whole number is that number: the scale of the weights must not decide.
        sizes = [max(1, math.floor(_effective_patients(d, chosen) + 1e-9)) for chosen in (y, ~y)]
        low, high = newcombe_interval(area, sizes[0], sizes[1], level)
        label = "Newcombe (2006) method 5, n = effective patients"
        return Estimate(value=area, low=low, high=high, method=label, **fields)
    if isinstance(variance, str):
        return Estimate(value=area, interval_undefined=variance, method=label, **fields)
    centre = math.log(area / (1.0 - area))
    half = z_two_sided(level) * math.sqrt(variance) / (area * (1.0 - area))
    return Estimate(value=area, low=expit(centre - half), high=expit(centre + half), method=label, **fields)


def _effective_patients(d: Design, chosen: Bools) -> float:
    """Kish's number of patients among the chosen cases, each with its mean weight."""
    index = np.unique(d.patient[chosen], return_inverse=True)[1].reshape(-1)
    return kish_effective_n(np.bincount(index, d.weight[chosen]) / np.bincount(index))


def weighted_auroc_bootstrap(
    draw: PatientDraw,
    reference: ArrayLike,
    score: ArrayLike,
    weight: ArrayLike,
    *,
    level: float = 0.95,
    method: BootstrapMethod = "percentile",
    unit: Unit = "case",
) -> Estimate:
    """The weighted AUROC with an interval from resampled patients; `draw` may keep sampling strata apart.

    Percentile or basic (no jackknife of weights is made for BCa). Replicates with one class are counted as undefined.
    """
    if method not in ("percentile", "basic"):
        raise ValueError(f"method is percentile or basic, got {method!r}")
    y = as_reference(reference)
    s = as_scores(score, y.size)
    d = design(y.size, weight, None, None)
    if draw.n != y.size:
        raise ValueError(f"the draw was made for {draw.n} cases, reference has {y.size}")
    fields = {**class_fields(y, d, check_level(level), unit), "n_patients": draw.n_patients}
    title = f"patient bootstrap with sampling weights, {TITLES[method]}, B={draw.replicates}"
    reason = one_class_reason(y)
    if reason is not None:
        return Estimate.not_estimable(reason, method=title, **fields)
    values = np.full(draw.replicates, np.nan)
    # Sorted once: each replicate is two cumulative sums.
    order = np.argsort(s, kind="stable")
    yo, wo, who = y[order], d.weight[order], draw.patient[order]
    last = np.flatnonzero(np.append(s[order][1:] != s[order][:-1], True))
    for start, counts in draw.blocks(size=max(1, _BLOCK_ELEMENTS // y.size)):
        w = wo * counts[:, who]
        positive, negative = (
            np.pad(np.cumsum(np.where(c, w, 0.0), axis=1)[:, last], ((0, 0), (1, 0))) for c in (yo, ~yo)
        )
        wins = (np.diff(positive, axis=1) * (negative[:, 1:] + negative[:, :-1])).sum(axis=1) / 2.0
        pairs = positive[:, -1] * negative[:, -1]
        values[start : start + len(counts)] = np.divide(wins, pairs, out=np.full(len(counts), np.nan), where=pairs > 0)
    area = _auroc_parts(y, s, d.weight)[0]
    i = bootstrap_interval(values, area, method=method, level=level, bounds=(0.0, 1.0))
    return Estimate(
        value=area,
        low=i.low,
        high=i.high,
        interval_undefined=i.undefined,
        replicates=i.replicates,
        replicates_undefined=i.replicates_undefined,
        method=title,
        **fields,
    )

"""The straight line between two measurements that both carry error: Deming and Passing-Bablok regression.

Slope 1 and intercept 0 are agreement; a slope apart from 1 is proportional, an intercept apart from 0 constant bias.
The line is device = intercept + slope · reference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalsuite.stats._means import Floats, paired, patient_index
from evalsuite.stats._normal import check_level, t_two_sided, z_two_sided
from evalsuite.types import Estimate, Unit

LARGEST_N = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Slope and intercept of a fitted line."""

    slope: Estimate
    intercept: Estimate


def _none(reason: str, fields: dict[str, Any]) -> Line:
    e = Estimate.not_estimable(reason, **fields)
    return Line(slope=e, intercept=e)


def _deming_fit(sums: NDArray[np.float64], variance_ratio: float, smallest: float) -> tuple[Floats, Floats]:
    """Slopes and intercepts from rows of (n, Σx, Σy, Σx², Σy², Σxy) about a common origin.

    NaN where the sum of products is at most `smallest`: what rounding leaves of 0 must not decide on a slope.
    """
    n, sx, sy, sxx, syy, sxy = sums.T
    cxx, cyy, cxy = sxx - sx * sx / n, syy - sy * sy / n, sxy - sx * sy / n
    cxy = np.where(np.abs(cxy) <= smallest, np.nan, cxy)
    gap = cyy - variance_ratio * cxx
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(gap * gap + 4.0 * variance_ratio * cxy * cxy)
        # The two forms are the same number; each is used where it does not cancel.
        slope = np.where(gap >= 0, (gap + root) / (2.0 * cxy), 2.0 * variance_ratio * cxy / (root - gap))
        intercept = sy / n - slope * sx / n
    return slope, intercept


def deming(
    device: ArrayLike,
    reference: ArrayLike,
    *,
    variance_ratio: float = 1.0,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    unit: Unit = "case",
) -> Line:
    """Deming regression with jackknife intervals.

    Parameters
    ----------
    variance_ratio
        Error variance of the device over that of the reference; 1 is orthogonal regression.
    patient
        (n,) patient of each case; patients, not cases, are then left out in turn.

    Returns
    -------
    Line
        Student t on patients - 2 degrees of freedom (cases - 2 without `patient`). Not estimable with fewer than 3
        patients, or where the measurements do not vary together.

    Raises
    ------
    ValueError
        If the variance ratio is not a positive number.

    References
    ----------
    Deming, Statistical Adjustment of Data (1943); Linnet, Stat Med 9:1463-1473 (1990) and Clin Chem 39:424-432 (1993).
    """
    y, x = paired(device, reference)
    level = check_level(level)
    if not (0.0 < variance_ratio < math.inf):
        raise ValueError(f"variance_ratio is a positive number, got {variance_ratio!r}")
    index = patient_index(patient, x.size)
    m = int(index.max()) + 1 if x.size else 0
    fields: dict[str, Any] = {
        "n": x.size,
        "n_patients": m,
        "level": level,
        "unit": unit,
        "method": "jackknife over patients, Student t",
    }
    if m < 3:
        return _none("fewer than 3 patients", fields)
    # A common origin keeps the sums of squares small beside the deviations they are made of.
    origin = float(x.mean()), float(y.mean())
    u, v = x - origin[0], y - origin[1]
    each = np.stack([np.bincount(index, w, minlength=m) for w in (np.ones_like(u), u, v, u * u, v * v, u * v)], axis=1)
    total = each.sum(axis=0)
    cxx, cyy, cxy = total[3], total[4], total[5]
    smallest = 1e-12 * math.sqrt(cxx * cyy)
    if cxx == 0 or cyy == 0 or abs(cxy) <= smallest:
        return _none("the two measurements do not vary together", fields)
    slope_all, intercept_all = _deming_fit(total[None, :], variance_ratio, smallest)
    slope = float(slope_all[0])
    intercept = float(intercept_all[0]) + origin[1] - slope * origin[0]
    slopes, at_origin = _deming_fit(total - each, variance_ratio, smallest)
    intercepts = at_origin + origin[1] - slopes * origin[0]
    if not np.isfinite(slopes).all():
        reason = "without one patient the line is not defined"
        return Line(
            slope=Estimate(value=slope, interval_undefined=reason, **fields),
            intercept=Estimate(value=intercept, interval_undefined=reason, **fields),
        )

    def made(value: float, left_out: Floats) -> Estimate:
        pseudo = m * value - (m - 1) * left_out
        se = math.sqrt(float(pseudo.var(ddof=1)) / m)
        if se <= 1e-12 * max(1.0, abs(value)):
            return Estimate(value=value, interval_undefined="the points lie on a line", **fields)
        half = t_two_sided(level, m - 2) * se
        centre = value
        return Estimate(value=value, low=centre - half, high=centre + half, **fields)

    return Line(slope=made(slope, slopes), intercept=made(intercept, intercepts))


def passing_bablok(device: ArrayLike, reference: ArrayLike, *, level: float = 0.95, unit: Unit = "case") -> Line:
    """Passing-Bablok regression: the shifted median of all pairwise slopes, robust to outliers.

    Pairs of identical points and slopes of exactly -1 are left out; the median is shifted by the number of slopes
    below -1. The intercept is the median residual, its limits those of the opposite limits of the slope. One case per
    patient; measurements must be positively correlated.

    Returns
    -------
    Line
        Not estimable with fewer than 3 cases or without a usable slope; without an interval where n is too small for
        `level`.

    Raises
    ------
    ValueError
        Above 20,000 cases: the method looks at every pair.

    References
    ----------
    Passing & Bablok, J Clin Chem Clin Biochem 21:709-720 (1983).
    """
    y, x = paired(device, reference)
    level = check_level(level)
    n = x.size
    fields: dict[str, Any] = {"n": n, "level": level, "unit": unit, "method": "Passing-Bablok"}
    if n > LARGEST_N:
        raise ValueError(f"Passing-Bablok compares every pair and takes at most {LARGEST_N} cases, got {n}")
    if n < 3:
        return _none("fewer than 3 cases", fields)
    slopes = _pairwise_slopes(x, y)
    count = slopes.size
    if count == 0:
        return _none("the cases have no two different points", fields)
    slopes.sort()
    shift = int(np.searchsorted(slopes, -1.0, side="left"))

    def ordered(rank: int) -> float | None:
        """The slope of 1-based rank, shifted; None outside or infinite."""
        at = rank + shift - 1
        return float(slopes[at]) if 0 <= at < count and math.isfinite(slopes[at]) else None

    if count % 2:
        slope = ordered((count + 1) // 2)
    else:
        left, right = ordered(count // 2), ordered(count // 2 + 1)
        slope = None if left is None or right is None else (left + right) / 2.0
    if slope is None:
        return _none("the measurements are not positively correlated", fields)
    intercept = float(np.median(y - slope * x))
    reach = z_two_sided(level) * math.sqrt(n * (n - 1) * (2 * n + 5) / 18.0)
    first = round((count - reach) / 2.0)
    low, high = (ordered(first), ordered(count - first + 1)) if first >= 1 else (None, None)
    if low is None or high is None:
        reason = "too few cases for an interval at this level"
        return Line(
            slope=Estimate(value=slope, interval_undefined=reason, **fields),
            intercept=Estimate(value=intercept, interval_undefined=reason, **fields),
        )
    if low == high:
        reason = "the points lie on a line"
        return Line(
            slope=Estimate(value=slope, interval_undefined=reason, **fields),
            intercept=Estimate(value=intercept, interval_undefined=reason, **fields),
        )
    ends = sorted((float(np.median(y - high * x)), float(np.median(y - low * x))))
    slope_estimate = Estimate(value=slope, low=min(low, slope), high=max(high, slope), **fields)
    if ends[0] == ends[1]:
        why = "the median residual is the same at both limits of the slope"
        return Line(slope=slope_estimate, intercept=Estimate(value=intercept, interval_undefined=why, **fields))
    return Line(
        slope=slope_estimate,
        intercept=Estimate(value=intercept, low=min(ends[0], intercept), high=max(ends[1], intercept), **fields),
    )


def _pairwise_slopes(x: Floats, y: Floats) -> Floats:
    """Slopes of all pairs but identical points and slopes of -1; ±inf for equal x, by the sign of the gap in y."""
    parts = []
    for i in range(x.size - 1):
        dx, dy = x[i + 1 :] - x[i], y[i + 1 :] - y[i]
        used = ((dx != 0) | (dy != 0)) & (dx != -dy)
        dx, dy = dx[used], dy[used]
        with np.errstate(divide="ignore"):
            parts.append(np.where(dx == 0, np.copysign(np.inf, dy), dy / np.where(dx == 0, 1.0, dx)))
    return np.concatenate(parts) if parts else np.zeros(0)

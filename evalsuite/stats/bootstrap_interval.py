"""From bootstrap replicates to an interval, or to the reason why there is none: percentile, basic, BCa."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri

from evalsuite.stats._binary_inputs import FloatArray

BootstrapMethod = Literal["percentile", "basic", "bca"]

MAX_UNDEFINED_SHARE = 0.05
"""With a larger share of replicates in which the statistic does not exist, no interval is given."""
TITLES = {"percentile": "percentile", "basic": "basic", "bca": "BCa"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapInterval:
    """Ends of the interval, or why it does not exist; always how many replicates were made and how many undefined."""

    low: float | None
    high: float | None
    undefined: str | None
    replicates: int
    replicates_undefined: int


def check_method(method: str) -> None:
    """Raise `ValueError` for an unknown interval method."""
    if method not in TITLES:
        raise ValueError(f"bootstrap method is percentile, basic or bca, got {method!r}")


def bootstrap_interval(
    replicates: FloatArray,
    point: float,
    *,
    method: BootstrapMethod = "bca",
    level: float = 0.95,
    jackknife: FloatArray | None = None,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    holding: bool = True,
) -> BootstrapInterval:
    """Interval of a statistic from its replicates.

    Parameters
    ----------
    replicates
        `(r,)` values; NaN or infinite where the statistic does not exist. They are counted; above
        `MAX_UNDEFINED_SHARE` of them there is no interval, below it the defined ones are used.
    point
        The statistic on the data.
    jackknife
        `(p,)` values with each patient left out, needed for BCa. Undefined ones are left out of the acceleration.
    bounds
        Range of the statistic; a basic interval is clipped to it.
    holding
        Give no interval that misses the point itself: at the end of its range every replicate may lie to one side.

    Notes
    -----
    BCa follows Efron & Tibshirani (1993), ch. 14: bias correction z0 from the share of replicates below the point
    (those equal to it count one half, as scipy does), acceleration from the skewness of the jackknife. Where |z0| is at
    least the normal quantile of the level, the corrected percentiles run off the end of the replicates and the interval
    would miss the estimate: there is none, and the reason says so. Equal replicates never give a zero-width interval.
    """
    check_method(method)
    made = int(replicates.size)
    defined = replicates[np.isfinite(replicates)]
    missing = made - int(defined.size)

    def absent(reason: str) -> BootstrapInterval:
        return BootstrapInterval(low=None, high=None, undefined=reason, replicates=made, replicates_undefined=missing)

    if missing > MAX_UNDEFINED_SHARE * made:
        return absent(f"undefined in {missing} of {made} bootstrap replicates (more than {MAX_UNDEFINED_SHARE:.0%})")
    if defined.size < 2:
        return absent("fewer than two bootstrap replicates")
    spread = float(defined.max() - defined.min())
    if spread <= 1e-12 * max(1.0, abs(point)):
        return absent(f"all replicates equal: resampling patients never changes the value {point:.6g}")
    tail = 0.5 - level / 2.0
    lower, upper = tail, 1.0 - tail
    if method == "bca":
        corrected = _corrected(defined, point, jackknife, level, spread)
        if isinstance(corrected, str):
            return absent(corrected)
        lower, upper = corrected
    low, high = (float(q) for q in np.quantile(defined, [lower, upper]))
    if method == "basic":
        low, high = 2.0 * point - high, 2.0 * point - low
    low, high = max(low, bounds[0]), min(high, bounds[1])
    if high - low <= 1e-12 * max(1.0, abs(point)):
        return absent("so many replicates are equal that the interval would have no width")
    slack = 1e-9 * max(1.0, abs(point))
    if holding and not low - slack <= point <= high + slack:
        return absent(f"the replicates lie so far to one side that a {TITLES[method]} interval would miss the estimate")
    return BootstrapInterval(low=low, high=high, undefined=None, replicates=made, replicates_undefined=missing)


FOLDED_TITLE = "patient bootstrap, upper limit basic, lower limit by the size of the error, B={replicates}"
SMOOTH_TITLE = (
    "patient bootstrap, upper limit basic or percentile, the larger, lower limit by the size of the error, "
    "B={replicates}"
)


def folded_interval(
    replicates: FloatArray,
    errors: FloatArray,
    point: float,
    *,
    level: float = 0.95,
    highest: float = 1.0,
    smooth: bool = False,
) -> BootstrapInterval:
    """Interval of a mean (or maximum) of absolute values, such as ECE, whose replicates are inflated by noise.

    Lower limit: the point less the upper percentile of `errors (r,)`, the same norm of what each replicate adds to the
    unfolded values. Since | |a| − |b| | ≤ |a − b|, the truth is below it no more often than the errors exceed that
    percentile, also where the truth is 0. Upper limit: that of the basic interval, or the point where that is larger;
    for figures of a `smooth` curve, whose basic limit was found too low, the percentile of the inflated replicates
    where that is larger still.
    """
    basic = bootstrap_interval(replicates, point, method="basic", level=level, bounds=(0.0, highest), holding=False)
    if basic.high is None:
        return basic
    known = errors[np.isfinite(errors)]
    low = max(0.0, point - float(np.quantile(known, 0.5 + level / 2.0)))
    top = basic.high
    if smooth:
        top = max(top, float(np.quantile(replicates[np.isfinite(replicates)], 0.5 + level / 2.0)))
    high = min(highest, max(top, point))
    if high - low <= 1e-12 * max(1.0, abs(point)):
        reason = "so many replicates are equal that the interval would have no width"
        return replace(basic, low=None, high=None, undefined=reason)
    return BootstrapInterval(
        low=low,
        high=high,
        undefined=None,
        replicates=basic.replicates,
        replicates_undefined=basic.replicates_undefined,
    )


def _corrected(
    defined: FloatArray, point: float, jackknife: FloatArray | None, level: float, spread: float
) -> tuple[float, float] | str:
    """Percentiles of the BCa interval, or the reason why it does not exist."""
    if jackknife is None:
        raise ValueError("a BCa interval needs the jackknife values")
    # Replicates identical to the data may differ from the point in the last digit; they are ties, not "below".
    noise = 1e-9 * spread
    below, tied = float((defined < point - noise).sum()), float((np.abs(defined - point) <= noise).sum())
    share = (below + tied / 2.0) / defined.size
    z = float(ndtri(0.5 + level / 2.0))
    if not 0.0 < share < 1.0 or abs(z0 := float(ndtri(share))) >= z:
        side = "above" if share < 0.5 else "below"
        return f"{max(share, 1.0 - share):.1%} of the replicates lie {side} the estimate, too biased for a BCa interval"
    kept = jackknife[np.isfinite(jackknife)]
    a = acceleration(kept)
    ends = []
    for side_z in (-z, z):
        scale = 1.0 - a * (z0 + side_z)
        if scale <= 0.0:
            return f"the BCa acceleration of {a:.3g} is too large for a correction"
        ends.append(float(ndtr(z0 + (z0 + side_z) / scale)))
    return ends[0], ends[1]


def acceleration(jackknife: FloatArray) -> float:
    """Skewness of the jackknife over six (Efron & Tibshirani 1993, eq. 14.15); 0 where it does not vary."""
    if jackknife.size < 2:
        return 0.0
    deviation = jackknife.mean() - jackknife
    largest = float(np.abs(deviation).max())
    if largest <= 1e-14 * max(1.0, float(np.abs(jackknife).max())):
        return 0.0
    deviation = deviation / largest
    return float((deviation**3).sum() / (6.0 * (deviation**2).sum() ** 1.5))

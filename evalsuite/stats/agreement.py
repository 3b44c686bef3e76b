"""How far a device's measurements are from the reference's: bias, typical error, limits of agreement.

Differences are device minus reference, in the unit of the measurement. With `patient`, patients (not cases) are the
independent units. Change over time (disease monitoring) is the same analysis on the changes: pass the device's change
and the reference's change of each case.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from evalsuite.stats._means import Floats, Mean, clustered_mean, differences, paired, patient_index
from evalsuite.stats._normal import check_level, t_two_sided, z_two_sided
from evalsuite.types import Estimate, Unit

LimitsMethod = Literal["exact", "mover", "bland-altman"]

_LIMIT_NAMES = {
    "exact": "exact (non-central t)",
    "mover": "MOVER",
    "bland-altman": "Bland-Altman approximation",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BlandAltman:
    """Agreement of two measurements: bias, spread, the two limits, and whether the difference grows with the size.

    `proportional_bias` is the slope of the difference on the mean of both methods (0 is none); `spread_trend` the
    slope of the absolute residual on it (0 is a constant spread, which the limits assume).
    """

    bias: Estimate
    sd: Estimate
    lower_limit: Estimate
    upper_limit: Estimate
    proportional_bias: Estimate
    spread_trend: Estimate
    coverage: float


def _estimate_mean(mean: Mean, level: float, method: str, unit: Unit, **more: Any) -> Estimate:
    fields: dict[str, Any] = {
        "value": mean.value,
        "level": level,
        "method": method,
        "n": mean.n,
        "n_patients": mean.n_patients,
        "unit": unit,
        "design_effect": mean.design_effect,
        **more,
    }
    limits = mean.limits(level)
    if limits is None:
        return Estimate(interval_undefined=mean.why_no_limits, **fields)
    return Estimate(low=limits[0], high=limits[1], **fields)


def _t_name(clustered: bool) -> str:
    return "Student t, patients as clusters" if clustered else "Student t"


def bias(
    device: ArrayLike,
    reference: ArrayLike,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    unit: Unit = "case",
) -> Estimate:
    """Mean difference, device minus reference, with a t interval on patients - 1 degrees of freedom."""
    return _mean_of("bias", device, reference, patient, level, unit)


def mean_absolute_error(
    device: ArrayLike,
    reference: ArrayLike,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    unit: Unit = "case",
) -> Estimate:
    """Mean absolute difference, with a t interval cut off at 0."""
    return _mean_of("mae", device, reference, patient, level, unit)


def root_mean_square_error(
    device: ArrayLike,
    reference: ArrayLike,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    unit: Unit = "case",
) -> Estimate:
    """Root of the mean squared difference; interval by the delta method on the logarithm of the mean square."""
    return _mean_of("rmse", device, reference, patient, level, unit)


def _mean_of(
    what: str, device: ArrayLike, reference: ArrayLike, patient: ArrayLike | None, level: float, unit: Unit
) -> Estimate:
    a, b = paired(device, reference)
    level = check_level(level)
    index = patient_index(patient, a.size)
    name = _t_name(bool(index.size) and int(index.max()) + 1 < a.size)
    if a.size == 0:
        return Estimate.not_estimable("no cases", n=0, n_patients=0, level=level, unit=unit, method=name)
    d = differences(a, b)
    if what == "bias":
        return _estimate_mean(clustered_mean(d, index), level, name, unit)
    if what == "mae":
        e = _estimate_mean(clustered_mean(np.abs(d), index), level, name, unit)
        if e.low is None or e.low >= 0:
            return e
        return Estimate.from_json({**e.to_json(), "low": 0.0})
    mean = clustered_mean(d * d, index)
    fields: dict[str, Any] = {
        "value": math.sqrt(mean.value),
        "n": mean.n,
        "n_patients": mean.n_patients,
        "design_effect": mean.design_effect,
        "level": level,
        "unit": unit,
        "method": "delta method on the log mean square" + (", patients as clusters" if "patients" in name else ""),
    }
    if not mean.standard_error:
        return Estimate(interval_undefined=mean.why_no_limits, **fields)
    half = t_two_sided(level, mean.df) * mean.standard_error / mean.value / 2.0
    root = math.sqrt(mean.value)
    return Estimate(low=root * math.exp(-half), high=root * math.exp(half), **fields)


def _slope(y: Floats, x: Floats, index: NDArray[np.intp], level: float, unit: Unit) -> Estimate:
    """Least-squares slope of y on x; t interval, with the cluster-robust variance where patients repeat."""
    n, m = y.size, int(index.max()) + 1
    clustered = m < n
    name = "least squares, cluster-robust (CR1) t" if clustered else "least squares, Student t"
    fields: dict[str, Any] = {"n": n, "n_patients": m, "level": level, "unit": unit, "method": name}
    u = x - x.mean()
    sxx = float(u @ u)
    if n < 3 or sxx <= 1e-24 * max(1.0, float(x @ x)):
        reason = "fewer than 3 cases" if n < 3 else "all cases measure the same"
        return Estimate.not_estimable(reason, **fields)
    slope = float(u @ y) / sxx
    residual = y - y.mean() - slope * u
    if clustered:
        if m < 3:
            return Estimate(value=slope, interval_undefined="fewer than 3 patients", **fields)
        score = np.bincount(index, u * residual, minlength=m)
        variance = m / (m - 1.0) * (n - 1.0) / (n - 2.0) * float(score @ score) / sxx**2
        df = m - 1
    else:
        variance = float(residual @ residual) / (n - 2) / sxx
        df = n - 2
    # What rounding leaves of no residual at all is no variation.
    if variance <= 1e-24 * max(1.0, slope * slope):
        return Estimate(value=slope, interval_undefined="the points lie on a line", **fields)
    half = t_two_sided(level, df) * math.sqrt(variance)
    return Estimate(value=slope, low=slope - half, high=slope + half, **fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spread:
    """Bias, total variance, and their sampling variation, with one or several pairs per patient."""

    centre: float
    centre_variance: float
    total: float
    below: float  # distance of the variance's lower limit from `total`
    above: float
    df: int
    n_patients: int


def _chi2(df: float, p: float) -> float:
    return float(special.chdtri(df, 1.0 - p))


def _spread(d: Floats, index: NDArray[np.intp], level: float) -> _Spread | None:
    """Variance components of the differences (true value varies within a patient), or None with one patient."""
    m = int(index.max()) + 1
    if m < 2:
        return None
    tail = (1.0 - level) / 2.0
    size = np.bincount(index, minlength=m).astype(np.float64)
    means = np.bincount(index, d, minlength=m) / size
    between = float(means.var(ddof=1))
    df_within = d.size - m
    share = 1.0 - float((1.0 / size).mean())  # 1 - 1/m_H, 0 with one pair each
    deviation = d - means[index]
    within = float(deviation @ deviation) / df_within if df_within else 0.0
    total = between + share * within
    below = above = 0.0
    for part, df in ((between, m - 1), (share * within, df_within)):
        if df and part > 0:
            below += (part * (1.0 - df / _chi2(df, 1.0 - tail))) ** 2
            above += (part * (df / _chi2(df, tail) - 1.0)) ** 2
    return _Spread(
        centre=float(means.mean()),
        centre_variance=between / m,
        total=total,
        below=math.sqrt(below),
        above=math.sqrt(above),
        df=m - 1,
        n_patients=m,
    )


def _limit_intervals(
    s: _Spread, n: int, level: float, z: float, method: LimitsMethod
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Confidence limits of the lower and the upper limit of agreement."""
    sd = math.sqrt(s.total)
    tail = (1.0 - level) / 2.0
    if method == "exact":
        # sqrt(n) (mu + z sigma - mean) / s follows a non-central t with ncp z sqrt(n).
        k_low, k_high = (float(special.nctdtrit(n - 1, math.sqrt(n) * z, q)) / math.sqrt(n) for q in (tail, 1.0 - tail))
        return (s.centre - k_high * sd, s.centre - k_low * sd), (s.centre + k_low * sd, s.centre + k_high * sd)
    if method == "bland-altman":
        half = t_two_sided(level, n - 1) * sd * math.sqrt(1.0 / n + z * z / (2.0 * (n - 1)))
        low, high = s.centre - z * sd, s.centre + z * sd
        return (low - half, low + half), (high - half, high + half)
    mean_half = t_two_sided(level, s.df) * math.sqrt(s.centre_variance)
    sd_low, sd_high = math.sqrt(max(0.0, s.total - s.below)), math.sqrt(s.total + s.above)
    outer = math.hypot(mean_half, z * (sd_high - sd))
    inner = math.hypot(mean_half, z * (sd - sd_low))
    low, high = s.centre - z * sd, s.centre + z * sd
    return (low - outer, low + inner), (high - inner, high + outer)


def bland_altman(
    device: ArrayLike,
    reference: ArrayLike,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    coverage: float = 0.95,
    method: LimitsMethod = "exact",
    unit: Unit = "case",
) -> BlandAltman:
    """Bias and limits of agreement, each with its interval, and checks of the assumptions behind them.

    Parameters
    ----------
    device, reference
        (n,) measurements of the same cases in the same unit.
    patient
        (n,) patient of each case; the limits are then those of a single new pair, from the variance between and within
        patients (true value varying), with MOVER intervals whatever `method` says.
    coverage
        Share of differences between the limits, 0.95 for the usual ±1.96 SD.
    method
        "exact": non-central t, each limit on its own; "mover": from the limits of mean and variance; "bland-altman":
        the original approximation.

    Returns
    -------
    BlandAltman
        Not estimable without cases; without intervals where there is one patient or the differences do not vary. With
        several cases per patient the bias weighs patients equally.

    References
    ----------
    Bland & Altman, Lancet 327:307-310 (1986), Stat Methods Med Res 8:135-160 (1999) and J Biopharm Stat 17:571-582
    (2007); Carkeet, Optom Vis Sci 92:e71-e80 (2015); Zou, Stat Methods Med Res 22:630-642 (2013).
    """
    if method not in get_args(LimitsMethod):
        raise ValueError(f"method is one of {', '.join(get_args(LimitsMethod))}; got {method!r}")
    a, b = paired(device, reference)
    level, z = check_level(level), z_two_sided(check_level(coverage))
    n = a.size
    index = patient_index(patient, n)
    if n == 0:
        none = Estimate.not_estimable("no cases", n=0, n_patients=0, level=level, unit=unit)
        return BlandAltman(
            bias=none,
            sd=none,
            lower_limit=none,
            upper_limit=none,
            proportional_bias=none,
            spread_trend=none,
            coverage=coverage,
        )
    d, size = differences(a, b), (a + b) / 2.0
    m = int(index.max()) + 1
    clustered = m < n
    used: LimitsMethod = "mover" if clustered else method
    label = f"mean ± {z:.3f} SD, {_LIMIT_NAMES[used]}" + (", between- and within-patient variance" if clustered else "")
    fields: dict[str, Any] = {"n": n, "n_patients": m, "level": level, "unit": unit}
    slope = _slope(d, size, index, level, unit)
    trend = _spread_trend(d, size, slope, index, level, unit)
    s = _spread(d, index, level)
    if s is None or s.total <= 1e-30 * max(1.0, float(np.abs(d).max()) ** 2):
        reason = (
            "one case" if n == 1 else "all cases come from one patient" if m == 1 else "the differences do not vary"
        )
        bare = Estimate(value=float(d.mean()), interval_undefined=reason, method=_t_name(clustered), **fields)
        no_spread = Estimate.not_estimable(reason, method=label, **fields)
        return BlandAltman(
            bias=bare,
            sd=no_spread,
            lower_limit=no_spread,
            upper_limit=no_spread,
            proportional_bias=slope,
            spread_trend=trend,
            coverage=coverage,
        )
    sd = math.sqrt(s.total)
    half = t_two_sided(level, s.df) * math.sqrt(s.centre_variance)
    (ll, lh), (ul, uh) = _limit_intervals(s, n, level, z, used)
    name = "Student t on patient means" if clustered else "Student t"
    if half <= 1e-12 * sd:
        why = "the patients' mean differences do not vary"
        centre = Estimate(value=s.centre, interval_undefined=why, method=name, **fields)
    else:
        centre = Estimate(value=s.centre, low=s.centre - half, high=s.centre + half, method=name, **fields)
    return BlandAltman(
        bias=centre,
        sd=Estimate(
            value=sd,
            low=math.sqrt(max(0.0, s.total - s.below)),
            high=math.sqrt(s.total + s.above),
            method="MOVER of variance components" if clustered else "chi-square",
            **fields,
        ),
        lower_limit=Estimate(value=s.centre - z * sd, low=ll, high=lh, method=label, **fields),
        upper_limit=Estimate(value=s.centre + z * sd, low=ul, high=uh, method=label, **fields),
        proportional_bias=slope,
        spread_trend=trend,
        coverage=coverage,
    )


def _spread_trend(
    d: Floats, size: Floats, slope: Estimate, index: NDArray[np.intp], level: float, unit: Unit
) -> Estimate:
    if slope.value is None:
        return slope
    residual = d - d.mean() - slope.value * (size - size.mean())
    return _slope(np.abs(residual), size, index, level, unit)

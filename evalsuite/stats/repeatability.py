"""How well measurements repeat and concord: within-subject spread, intraclass and concordance correlation."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from evalsuite.stats._means import Floats, paired
from evalsuite.stats._normal import check_level, f_quantile, z_two_sided
from evalsuite.types import Estimate, Unit

IccKind = Literal["icc(2,1)", "icc(3,1)"]
CvMethod = Literal["rms", "log"]

__all__ = [
    "CvMethod",
    "IccKind",
    "concordance",
    "icc",
    "repeatability_coefficient",
    "within_subject_cv",
    "within_subject_sd",
]


def concordance(
    device: ArrayLike, reference: ArrayLike, *, level: float = 0.95, unit: Unit = "case", **counts: Any
) -> Estimate:
    """Lin's concordance correlation: 2 s_xy / (s_x² + s_y² + (mean_x - mean_y)²), moments with divisor n.

    Interval by Fisher's z with Lin's corrected variance. Not estimable with fewer than 3 cases or where neither
    measurement varies; at exactly 1 or -1 there is no interval, and the reason says so.

    References
    ----------
    Lin, Biometrics 45:255-268 (1989), with the correction in Biometrics 56:324-325 (2000).
    """
    x, y = paired(device, reference)
    level = check_level(level)
    n = x.size
    fields: dict[str, Any] = {"n": n, "level": level, "unit": unit, "method": "Lin, Fisher z", **counts}
    if n < 3:
        return Estimate.not_estimable("fewer than 3 cases", **fields)
    vx, vy = float(x.var()), float(y.var())
    gap = float(y.mean() - x.mean())
    spread = vx + vy + gap * gap
    if np.ptp(x) == 0 and np.ptp(y) == 0:
        return Estimate.not_estimable("neither measurement varies", **fields)
    cov = float(((x - x.mean()) * (y - y.mean())).mean())
    value = 2.0 * cov / spread
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return Estimate(value=0.0, interval_undefined="one of the two measurements does not vary", **fields)
    if 1.0 - abs(value) < 1e-14:
        reason = f"all cases lie on the line of {'identity' if value > 0 else 'reversal'}"
        return Estimate(value=math.copysign(1.0, value), interval_undefined=reason, **fields)
    r = max(-1.0, min(1.0, cov / math.sqrt(vx * vy)))
    accuracy = 2.0 * math.sqrt(vx * vy) / spread
    u2 = gap * gap / math.sqrt(vx * vy)
    # Lin (2000), written with accuracy = value / r so that it holds for r = 0 too.
    variance = (
        (1.0 - r * r) * accuracy**2 * (1.0 - value**2)
        + 2.0 * accuracy * value**2 * (1.0 - value) * u2
        - accuracy**2 * value**2 * u2 * u2 / 2.0
    ) / (n - 2)
    if variance <= 1e-24:
        return Estimate(value=value, interval_undefined="the large-sample variance is 0", **fields)
    half = z_two_sided(level) * math.sqrt(variance) / (1.0 - value * value)
    centre = math.atanh(value)
    return Estimate(value=value, low=math.tanh(centre - half), high=math.tanh(centre + half), **fields)


def _ratings(ratings: ArrayLike) -> Floats:
    values = np.asarray(ratings, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 2:
        raise ValueError(f"ratings are (n subjects, k >= 2 raters), got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("ratings are finite numbers; leave out and account for incomplete subjects first")
    return values


def icc(
    ratings: ArrayLike, kind: IccKind = "icc(2,1)", *, level: float = 0.95, unit: Unit = "case", **counts: Any
) -> Estimate:
    """Intraclass correlation of single measurements, two-way model, every subject rated once by every rater.

    "icc(2,1)": absolute agreement, raters random; "icc(3,1)": consistency, raters fixed. Intervals from the F
    distribution, exact for the latter, with Satterthwaite degrees of freedom for the former.

    Parameters
    ----------
    ratings
        (n, k) measurements, one row per subject, one column per rater, method or device.

    Returns
    -------
    Estimate
        `n` is subjects. Not estimable with fewer than 2 subjects or where all ratings are alike; without an interval
        where raters never differ beyond a constant.

    References
    ----------
    Shrout & Fleiss, Psychol Bull 86:420-428 (1979); McGraw & Wong, Psychol Methods 1:30-46 (1996), with corrections
    p. 390.
    """
    if kind not in get_args(IccKind):
        raise ValueError(f"kind is 'icc(2,1)' or 'icc(3,1)', got {kind!r}")
    x = _ratings(ratings)
    level = check_level(level)
    n, k = x.shape
    label = "F, Satterthwaite degrees of freedom" if kind == "icc(2,1)" else "exact F"
    fields: dict[str, Any] = {"n": n, "level": level, "unit": unit, "method": label, **counts}
    if n < 2:
        return Estimate.not_estimable("fewer than 2 subjects", **fields)
    if np.ptp(x) == 0:
        return Estimate.not_estimable("the ratings do not vary", **fields)
    grand = x.mean()
    rows, columns = x.mean(axis=1) - grand, x.mean(axis=0) - grand
    residual = x - grand - rows[:, None] - columns[None, :]
    df_e = (n - 1) * (k - 1)
    scale = float(((x - grand) ** 2).sum())
    msr = k * float(rows @ rows) / (n - 1)
    msc = n * float(columns @ columns) / (k - 1)
    mse = float((residual**2).sum())
    mse = 0.0 if mse < 1e-24 * scale else mse / df_e
    if kind == "icc(3,1)":
        if msr + (k - 1) * mse == 0:
            return Estimate.not_estimable("subjects do not differ", **fields)
        value = (msr - mse) / (msr + (k - 1) * mse)
    else:
        below = msr + (k - 1) * mse + k * (msc - mse) / n
        if below <= 0:
            return Estimate.not_estimable("subjects do not differ", **fields)
        value = (msr - mse) / below
    if mse == 0.0:
        return Estimate(value=value, interval_undefined="raters never differ beyond a constant", **fields)
    if msr <= 1e-24 * scale:
        return Estimate(value=value, interval_undefined="the subjects' means do not differ", **fields)
    tail = (1.0 - level) / 2.0
    if kind == "icc(3,1)":
        f = msr / mse
        f_low, f_high = f / f_quantile(1.0 - tail, n - 1, df_e), f * f_quantile(1.0 - tail, df_e, n - 1)
        low, high = ((v - 1.0) / (v + k - 1.0) for v in (f_low, f_high))
        return Estimate(value=value, low=low, high=high, **fields)
    fj = msc / mse
    a = k * value * fj + n * (1.0 + (k - 1) * value) - k * value
    spread_df = (n - 1) * k * k * value * value * fj * fj + (a - k * value * fj) ** 2
    v = (k - 1) * (n - 1) * a * a / spread_df if spread_df > 0 else 0.0
    if v < 1.0:
        reason = "too little information: Satterthwaite's degrees of freedom are below 1"
        return Estimate(value=value, interval_undefined=reason, **fields)
    q_low, q_high = f_quantile(1.0 - tail, n - 1, v), f_quantile(1.0 - tail, v, n - 1)
    spread = k * msc + (k * n - k - n) * mse
    low = n * (msr - q_low * mse) / (q_low * spread + n * msr)
    high = n * (q_high * msr - mse) / (spread + n * q_high * msr)
    return Estimate(value=value, low=min(low, value), high=max(high, value), **fields)


def _within(values: ArrayLike, subject: ArrayLike) -> tuple[Floats, Floats, Floats, int]:
    """Per subject with at least two measurements: size, mean, sum of squares; and how many subjects there are."""
    x, labels = np.asarray(values, dtype=np.float64), np.asarray(subject)
    if x.ndim != 1 or labels.shape != x.shape:
        raise ValueError(f"values and subject hold one entry per measurement, got shapes {x.shape} and {labels.shape}")
    if not np.isfinite(x).all():
        raise ValueError("measurements are finite numbers; leave out and account for missing ones first")
    if x.size == 0:
        return np.zeros(0), np.zeros(0), np.zeros(0), 0
    index = np.unique(labels, return_inverse=True)[1].reshape(-1)
    size = np.bincount(index).astype(np.float64)
    mean = np.bincount(index, x) / size
    squares = np.bincount(index, (x - mean[index]) ** 2)
    repeated = size >= 2
    return size[repeated], mean[repeated], np.asarray(squares[repeated], dtype=np.float64), int(repeated.sum())


def _chi_limits(value: float, df: float, level: float) -> tuple[float, float]:
    """Limits of a root mean square on `df` degrees of freedom."""
    tail = (1.0 - level) / 2.0
    # chdtri takes the upper tail.
    low, high = float(special.chdtri(df, tail)), float(special.chdtri(df, 1.0 - tail))
    return value * math.sqrt(df / low), value * math.sqrt(df / high)


def _spread_estimate(
    root_mean_square: float, df: float, factor: float, level: float, fields: dict[str, Any]
) -> Estimate:
    value = factor * root_mean_square
    if root_mean_square == 0.0:
        return Estimate(value=0.0, interval_undefined="repeated measurements never differ", **fields)
    low, high = _chi_limits(value, df, level)
    return Estimate(value=value, low=low, high=high, **fields)


def within_subject_sd(
    values: ArrayLike, subject: ArrayLike, *, level: float = 0.95, unit: Unit = "case", **counts: Any
) -> Estimate:
    """Standard deviation of repeated measurements of one subject, pooled over subjects, with chi-square limits.

    Parameters
    ----------
    values, subject
        (n,) measurements and the subject of each; subjects measured once carry no information and are left out.

    Returns
    -------
    Estimate
        `n` is subjects measured more than once. Not estimable without any.

    References
    ----------
    Bland & Altman, Stat Methods Med Res 8:135-160 (1999); Raunig et al., Stat Methods Med Res 24:27-67 (2015).
    """
    return _repeatability(values, subject, 1.0, level, unit, "chi-square", counts)


def repeatability_coefficient(
    values: ArrayLike, subject: ArrayLike, *, level: float = 0.95, unit: Unit = "case", **counts: Any
) -> Estimate:
    """Difference that two measurements of one subject exceed 5 times in 100: 1.96·√2 times the within-subject SD.

    References
    ----------
    Bland & Altman, Lancet 327:307-310 (1986); Raunig et al., Stat Methods Med Res 24:27-67 (2015).
    """
    return _repeatability(
        values, subject, z_two_sided(0.95) * math.sqrt(2.0), level, unit, "2.77 within-subject SD, chi-square", counts
    )


def _repeatability(
    values: ArrayLike,
    subject: ArrayLike,
    factor: float,
    level: float,
    unit: Unit,
    method: str,
    counts: dict[str, Any],
) -> Estimate:
    level = check_level(level)
    size, _, squares, m = _within(values, subject)
    fields: dict[str, Any] = {"n": m, "level": level, "unit": unit, "method": method, **counts}
    if m == 0:
        return Estimate.not_estimable("no subject was measured more than once", **fields)
    df = float((size - 1.0).sum())
    return _spread_estimate(math.sqrt(float(squares.sum()) / df), df, factor, level, fields)


def within_subject_cv(
    values: ArrayLike,
    subject: ArrayLike,
    *,
    level: float = 0.95,
    method: CvMethod = "rms",
    unit: Unit = "case",
    **counts: Any,
) -> Estimate:
    """Within-subject coefficient of variation: spread of repeated measurements relative to the subject's mean.

    "rms": root of the pooled squared CVs of the subjects; "log": √(exp(s²) - 1), s the within-subject SD of logarithms.
    Chi-square limits on the pooled degrees of freedom. Not estimable where a mean (for "log", a measurement) is not
    above 0.

    References
    ----------
    Obuchowski & Bullen, Stat Methods Med Res 27:3139-3150 (2018); Raunig et al., Stat Methods Med Res 24:27-67 (2015).
    """
    if method not in get_args(CvMethod):
        raise ValueError(f"method is 'rms' or 'log', got {method!r}")
    level = check_level(level)
    size, mean, squares, m = _within(values, subject)
    label = "root mean square, chi-square" if method == "rms" else "log-normal, chi-square"
    fields: dict[str, Any] = {"n": m, "level": level, "unit": unit, "method": label, **counts}
    if m == 0:
        return Estimate.not_estimable("no subject was measured more than once", **fields)
    positive = (mean > 0).all() if method == "rms" else (np.asarray(values, dtype=np.float64) > 0).all()
    if not positive:
        return Estimate.not_estimable("a coefficient of variation needs values above 0", **fields)
    df = float((size - 1.0).sum())
    if method == "rms":
        return _spread_estimate(math.sqrt(float((squares / mean**2).sum()) / df), df, 1.0, level, fields)
    size, _, squares, _ = _within(np.log(np.asarray(values, dtype=np.float64)), subject)
    e = _spread_estimate(math.sqrt(float(squares.sum()) / df), df, 1.0, level, fields)
    if e.low is None or e.high is None or e.value is None:
        return e
    value, low, high = (math.sqrt(math.expm1(s * s)) for s in (e.value, e.low, e.high))
    return Estimate(value=value, low=low, high=high, **fields)

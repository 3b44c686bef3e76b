"""Quantiles and small checks shared by the interval methods: normal, Student t, beta, F and chi-square."""

from __future__ import annotations

import math
import operator

from scipy import special


def check_level(level: float) -> float:
    """`level` as a float strictly between 0 and 1, or ValueError."""
    level = float(level)
    if not 0.0 < level < 1.0:
        raise ValueError(f"level lies strictly between 0 and 1, got {level!r}")
    return level


def check_count(name: str, value: int) -> int:
    """`value` as a non-negative int (NumPy integers too), or ValueError."""
    try:
        count = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} is a whole number of cases, got {value!r}") from None
    if count < 0:
        raise ValueError(f"{name} is not negative, got {count}")
    return count


def z_two_sided(level: float) -> float:
    """Standard normal quantile of a two-sided interval (1.959964 for 0.95)."""
    # ndtri of the small tail keeps its digits where the level is close to 1.
    return -float(special.ndtri((1.0 - level) / 2.0))


def t_two_sided(level: float, df: float) -> float:
    """Student t quantile of a two-sided interval."""
    return -float(special.stdtrit(df, (1.0 - level) / 2.0))


def normal_two_sided_p(z: float) -> float:
    """Two-sided p-value of a standard normal statistic."""
    return float(min(1.0, 2.0 * special.ndtr(-abs(z))))


def chi2_upper_p(statistic: float, df: float) -> float:
    """Upper tail of a chi-square distribution."""
    return float(special.chdtrc(df, max(statistic, 0.0)))


def f_quantile(p: float, df1: float, df2: float) -> float:
    """Quantile of the F distribution; `df2` may be fractional."""
    return float(special.fdtri(df1, df2, p))


def logit(p: float) -> float:
    """Log odds of a probability strictly between 0 and 1."""
    return math.log(p) - math.log1p(-p)


def expit(x: float) -> float:
    """Probability with log odds `x`."""
    return float(special.expit(x))

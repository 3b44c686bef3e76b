"""The sum of a normal error of known size and one estimated from very few readers: Behrens and Fisher's distribution.

A difference of readers' means errs over cases, by an amount the many cases tell well, and over readers, by an amount
that two or three readers hardly tell. Satterthwaite's degrees of freedom take such a sum for one t distribution, and
are liberal when the second part has one or two degrees of freedom. Here both parts keep their own distribution.

References
----------
Fisher, Annals of Eugenics 6:391-398 (1935); Robinson, Annals of Statistics 4:963-971 (1976): tests by it do not exceed
their level.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri
from scipy.stats import t as student

from evalsuite.stats._binary_inputs import FloatArray

_Z = np.arange(-180, 181) * 0.05
_S = np.arange(-4000, 4001) * 0.01
_KNOTS = 129


def two_sided_p(distance: float, *, known: float, estimated: float, df: float) -> float:
    """Chance that `known`·Z + `estimated`·T is `distance` or more from 0, Z standard normal and T Student's with `df`.

    Both scales are standard errors, at least one above 0; the sums are accurate to about 1e-12.

    Raises
    ------
    ValueError
        If both scales are 0, or one is below 0.
    """
    if min(known, estimated) < 0.0 or max(known, estimated) <= 0.0:
        raise ValueError(f"two standard errors of which one is above 0, got {known} and {estimated}")
    d = abs(distance)
    if estimated >= known:
        weight = np.exp(-(_Z**2) / 2.0)
        tail = student.sf((d - known * _Z) / estimated, df) + student.sf((d + known * _Z) / estimated, df)
    else:
        weight = np.cosh(_S) ** -df
        t = math.sqrt(df) * np.sinh(_S)
        tail = ndtr((estimated * t - d) / known) + ndtr((-estimated * t - d) / known)
    return min(float(weight @ tail / weight.sum()), 1.0)


def half_width(*, known: float, estimated: float, df: float, level: float) -> float:
    """Half the width of the two-sided interval of `level` around 0 of the same sum."""
    normal, wide = float(ndtri(0.5 + level / 2.0)), float(student.ppf(0.5 + level / 2.0, df))
    if estimated == 0.0:
        return normal * known
    if known == 0.0:
        return wide * estimated
    whole = math.hypot(known, estimated)

    def missed(c: float) -> float:
        return two_sided_p(c * whole, known=known, estimated=estimated, df=df) - (1.0 - level)

    return whole * float(brentq(missed, 0.9 * normal, 1.1 * wide, xtol=1e-12, rtol=1e-12))


@lru_cache(maxsize=32)
def _critical(df: float, level: float) -> CubicSpline:
    """Half-width in total standard errors over the angle whose tangent is estimated / known."""
    angle = np.linspace(0.0, math.pi / 2.0, _KNOTS)
    value = [
        half_width(known=max(math.cos(a), 0.0), estimated=math.sin(a), df=df, level=level)
        for a in (*angle[:-1], math.pi / 2.0)
    ]
    return CubicSpline(angle, value)


def half_widths(*, known: FloatArray, estimated: FloatArray, df: float, level: float) -> FloatArray:
    """`half_width` of many pairs at once, interpolated; to about 1e-4 of it."""
    width: FloatArray = np.hypot(known, estimated) * _critical(df, level)(np.arctan2(estimated, known))
    return width

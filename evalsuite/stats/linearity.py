"""Whether a measurement grows in proportion over its range, and from which size on it is precise enough to be used.

Known sizes (phantoms, dilutions) are measured several times. A straight line and a third-order polynomial are fitted to
device against reference: the difference of the two curves is the deviation from linearity. The limit of quantitation is
the smallest level from which on every level is measured with the precision asked for.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from evalsuite.stats._means import Floats, paired
from evalsuite.stats._normal import check_level, t_two_sided
from evalsuite.stats.repeatability import within_subject_cv
from evalsuite.types import Estimate, TestOutcome, Unit

__all__ = ["Linearity", "Quantitation", "limit_of_quantitation", "linearity"]

_MOST_LEVELS = 20
_NAMES = {2: "quadratic", 3: "cubic"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Linearity:
    """Deviation from linearity at each level, and the largest of them.

    `deviations[i]` is the cubic less the line at `levels[i]`, in the unit of the device; the intervals hold together at
    the stated level. `largest` is the largest absolute deviation. `tests` are those of the nonlinear coefficients of
    the quadratic and the cubic; `best_order` is 1 where none of them is significant, else that of the two curves with
    the smaller residual spread.
    """

    levels: tuple[float, ...]
    deviations: tuple[Estimate, ...]
    largest: Estimate
    slope: Estimate
    tests: tuple[TestOutcome, ...]
    best_order: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantitation:
    """Precision of each level, and the smallest level from which on it suffices.

    `precision[i]` is the coefficient of variation at `levels[i]`. `limit` goes by these estimates, `assured` by their
    upper confidence limits. Both are levels of the study: the true limit lies between two of them.
    """

    levels: tuple[float, ...]
    precision: tuple[Estimate, ...]
    limit: Estimate
    assured: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    """A polynomial of device on reference, the reference in units of its largest absolute value."""

    coefficient: Floats
    standard_error: Floats
    sigma: float
    df: int
    solve: Floats


def _powers(x: Floats, order: int) -> Floats:
    return np.vander(x, order + 1, increasing=True)


def _fit(x: Floats, y: Floats, order: int) -> _Fit:
    design = _powers(x, order)
    solve: Floats = np.asarray(np.linalg.pinv(design), dtype=np.float64)
    coefficient = solve @ y
    residual = y - design @ coefficient
    df = y.size - order - 1
    # Rounding must not pass for a residual.
    noise = 1e-13 * float(np.abs(y).max()) * math.sqrt(y.size)
    spread = float(np.linalg.norm(residual))
    sigma = spread / math.sqrt(df) if df > 0 and spread > noise else 0.0
    error = sigma * np.sqrt((solve**2).sum(axis=1))
    return _Fit(coefficient=coefficient, standard_error=error, sigma=sigma, df=df, solve=solve)


def linearity(
    device: ArrayLike,
    reference: ArrayLike,
    *,
    levels: ArrayLike | None = None,
    level: float = 0.95,
    unit: Unit = "case",
) -> Linearity:
    """Deviation of a measurement from linearity, by polynomial regression on the reference.

    Parameters
    ----------
    device, reference
        (n,) measurements and known sizes; repeated measurements of one size are taken as independent.
    levels
        Sizes at which the deviation is estimated; the distinct reference values unless given.

    Returns
    -------
    Linearity
        Deviations are those of the cubic, whatever the tests say: choosing the curve by looking would make their
        intervals too narrow. They are t intervals with Bonferroni's factor for the number of levels; `largest` then
        lies between the largest lower and the largest upper limit of the absolute deviations. Not estimable with fewer
        than 4 distinct reference values or 6 measurements, with more than 20 levels or one outside the reference
        values; without an interval where the cubic fits exactly.

    Raises
    ------
    ValueError
        If shapes differ or a value is not finite.

    References
    ----------
    Emancipator & Kroll, Clin Chem 39:405-413 (1993); CLSI EP06-A (2003), section 5, and EP06 2nd ed. (2020), which
    judges the deviation at each level against an allowable one.
    """
    y, raw = paired(device, reference)
    level = check_level(level)
    fields: dict[str, Any] = {"n": y.size, "level": level, "unit": unit}
    distinct = np.unique(raw)
    at = distinct if levels is None else np.unique(np.asarray(levels, dtype=np.float64))
    why = _unfit(y.size, distinct, at)
    if why is not None:
        none = Estimate.not_estimable(why, method="cubic less line", **fields)
        return Linearity(levels=(), deviations=(), largest=none, slope=none, tests=(), best_order=None)
    scale = float(np.abs(raw).max())
    x = raw / scale
    fits = {order: _fit(x, y, order) for order in (1, 2, 3)}
    form = _powers(at / scale, 3) @ fits[3].solve - _powers(at / scale, 1) @ fits[1].solve
    value, error = form @ y, fits[3].sigma * np.sqrt((form**2).sum(axis=1))
    name = f"cubic less line, t on {fits[3].df} df, Bonferroni over {at.size} levels"
    half = t_two_sided(1.0 - (1.0 - level) / at.size, fits[3].df) * error
    deviations = tuple(
        Estimate(value=float(v), low=float(v - h), high=float(v + h), method=name, **fields)
        if h > 0
        else Estimate(value=float(v), interval_undefined="the cubic fits exactly", method=name, **fields)
        for v, h in zip(value, half, strict=True)
    )
    tests = tuple(_tests(fits))
    bent = any(t.p_value is not None and t.p_value < 1.0 - level for t in tests)
    best = (2 if fits[2].sigma <= fits[3].sigma else 3) if bent else 1
    line = fits[1]
    reach = t_two_sided(level, line.df) * float(line.standard_error[1]) / scale
    slope = float(line.coefficient[1]) / scale
    return Linearity(
        levels=tuple(float(v) for v in at),
        deviations=deviations,
        largest=_largest(deviations, name, fields),
        slope=Estimate(value=slope, low=slope - reach, high=slope + reach, method=f"t on {line.df} df", **fields)
        if reach > 0
        else Estimate(value=slope, interval_undefined="all measurements lie on the line", method="line", **fields),
        tests=tests,
        best_order=best,
    )


def _unfit(n: int, distinct: Floats, at: Floats) -> str | None:
    if distinct.size < 4:
        return f"{distinct.size} distinct reference values; a bend needs at least 4"
    if n < 6:
        return f"{n} measurements; a cubic needs at least 6"
    if at.size > _MOST_LEVELS:
        return f"{at.size} levels, more than {_MOST_LEVELS}: name those at which the deviation is asked for"
    if at[0] < distinct[0] or at[-1] > distinct[-1]:
        return f"a level lies outside the reference values of these cases, {distinct[0]:g} to {distinct[-1]:g}"
    return None


def _largest(deviations: tuple[Estimate, ...], method: str, fields: dict[str, Any]) -> Estimate:
    """The largest |deviation|: every interval holds at once, so that the largest lies between the largest limits."""
    value = max(abs(e.value or 0.0) for e in deviations)
    if any(e.low is None for e in deviations):
        return Estimate(value=value, interval_undefined="the cubic fits exactly", method=method, **fields)
    ends = [(e.low or 0.0, e.high or 0.0) for e in deviations]
    low = max(0.0 if a <= 0.0 <= b else min(abs(a), abs(b)) for a, b in ends)
    high = max(max(abs(a), abs(b)) for a, b in ends)
    return Estimate(value=value, low=low, high=high, method=f"largest absolute deviation, {method}", **fields)


def _tests(fits: dict[int, _Fit]) -> list[TestOutcome]:
    """t tests of the coefficients above the first, in the quadratic and in the cubic."""
    made = []
    for order, power in ((2, 2), (3, 2), (3, 3)):
        fit = fits[order]
        name = f"{_NAMES[power]} coefficient of the {_NAMES[order]} curve is 0"
        method = f"polynomial regression, t on {fit.df} df"
        if fit.df < 1 or fit.sigma == 0.0:
            why = "too few measurements" if fit.df < 1 else "the curve fits exactly"
            made.append(TestOutcome(name=name, statistic=None, p_value=None, method=method, undefined=why))
            continue
        t = float(fit.coefficient[power] / fit.standard_error[power])
        p = float(2.0 * special.stdtr(fit.df, -abs(t)))
        made.append(TestOutcome(name=name, statistic=t, p_value=p, method=method))
    return made


def limit_of_quantitation(
    device: ArrayLike, reference: ArrayLike, goal: float, *, level: float = 0.95, unit: Unit = "case"
) -> Quantitation:
    """The smallest level from which on the coefficient of variation stays within `goal`, a share (0.2 is 20 %).

    Parameters
    ----------
    device, reference
        (n,) measurements; those with the same reference value are repeated measurements of one level.

    Returns
    -------
    Quantitation
        Levels measured once have no precision and are left out. Not estimable without a level measured repeatedly, and
        where even the largest level misses the goal. The limits have no interval: they are levels of the study.

    Raises
    ------
    ValueError
        If shapes differ, a value is not finite, or the goal is not above 0.

    References
    ----------
    CLSI EP17-A2 (2012), section 6 (precision goal at each level); chi-square limits of the coefficient of variation as
    `repeatability.within_subject_cv`.
    """
    y, x = paired(device, reference)
    level = check_level(level)
    if not (math.isfinite(goal) and goal > 0):
        raise ValueError(f"the goal is a coefficient of variation above 0, got {goal!r}")
    values, index, size = np.unique(x, return_inverse=True, return_counts=True)
    seen = [j for j in range(values.size) if size[j] > 1]
    precision = []
    for j in seen:
        of_level = y[index.reshape(-1) == j]
        cv = within_subject_cv(of_level, np.zeros(of_level.size), level=level, unit=unit)
        precision.append(replace(cv, n=int(of_level.size)))
    levels = tuple(float(values[j]) for j in seen)
    fields: dict[str, Any] = {"n": int(sum(size[j] for j in seen)), "level": level, "unit": unit}

    def smallest(ends: list[float | None], method: str) -> Estimate:
        if not seen:
            return Estimate.not_estimable("no level was measured more than once", method=method, **fields)
        good = list(itertools.takewhile(lambda e: e is not None and e <= goal, reversed(ends)))
        if not good:
            why = f"the largest level, {levels[-1]:g}, misses it or has no limit"
            return Estimate.not_estimable(why, method=method, **fields)
        why = "a level of the study; the limit lies between it and the next smaller one"
        if len(good) == len(ends):
            why = "the smallest level of the study; the limit may lie below"
        return Estimate(value=levels[len(ends) - len(good)], interval_undefined=why, method=method, **fields)

    said = f"coefficient of variation within {goal:g} from there on"
    return Quantitation(
        levels=levels,
        precision=tuple(precision),
        limit=smallest([e.value for e in precision], said),
        assured=smallest([e.high for e in precision], f"upper confidence limit of the {said}"),
    )

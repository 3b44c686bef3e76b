"""How far apart two proportions are, and how sure that is: independent groups (a subgroup gap) and paired cases (two
devices).

Differences and ratios are first minus second, first over second. Intervals from scores or hybrids keep a width where a
group is 0/n or n/n. Sources at each function.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from evalsuite.stats._normal import check_count, check_level, normal_two_sided_p, z_two_sided
from evalsuite.stats._score import difference_limits, difference_score, ratio_limits, root
from evalsuite.stats.contingency import McNemarMethod as McNemarMethod
from evalsuite.stats.contingency import mcnemar as mcnemar
from evalsuite.stats.proportions import Alternative, proportion_interval
from evalsuite.types import Estimate, TestOutcome, Unit

DifferenceMethod = Literal["newcombe", "miettinen-nurminen", "mee"]
RatioMethod = Literal["koopman", "katz"]
PairedMethod = Literal["tango", "newcombe"]

_DIFFERENCE_NAMES = {
    "newcombe": "Newcombe hybrid score",
    "miettinen-nurminen": "Miettinen-Nurminen score",
    "mee": "Mee score",
}


def _groups(x1: int, n1: int, x2: int, n2: int) -> tuple[int, int, int, int]:
    x1, n1, x2, n2 = (check_count(k, v) for k, v in (("x1", x1), ("n1", n1), ("x2", x2), ("n2", n2)))
    if x1 > n1 or x2 > n2:
        raise ValueError(f"successes exceed the group: {x1} of {n1}, {x2} of {n2}")
    return x1, n1, x2, n2


def _empty_group(n1: int, n2: int) -> str | None:
    if n1 == 0 or n2 == 0:
        return "no cases in the " + ("first" if n1 == 0 else "second") + " group"
    return None


def difference(
    x1: int,
    n1: int,
    x2: int,
    n2: int,
    *,
    level: float = 0.95,
    method: DifferenceMethod = "newcombe",
    unit: Unit = "case",
    **counts: Any,
) -> Estimate:
    """x1/n1 - x2/n2 of two independent groups.

    Parameters
    ----------
    method
        "newcombe": square-and-add of Wilson limits (method 10); "miettinen-nurminen": score with variance N/(N-1);
        "mee": score without that factor.

    Returns
    -------
    Estimate
        `n` is both groups together. Not estimable where a group is empty.

    References
    ----------
    Newcombe, Stat Med 17:873-890 (1998); Miettinen & Nurminen, Stat Med 4:213-226 (1985); Mee, Biometrics 40:1175-1176
    (1984).

    Examples
    --------
    >>> e = difference(56, 70, 48, 80)
    >>> round(e.value, 4), round(e.low, 4), round(e.high, 4)
    (0.2, 0.0524, 0.3339)
    """
    if method not in _DIFFERENCE_NAMES:
        raise ValueError(f"method is one of {', '.join(_DIFFERENCE_NAMES)}; got {method!r}")
    level = check_level(level)
    x1, n1, x2, n2 = _groups(x1, n1, x2, n2)
    fields: dict[str, Any] = {
        "n": n1 + n2,
        "level": level,
        "unit": unit,
        "method": _DIFFERENCE_NAMES[method],
        **counts,
    }
    empty = _empty_group(n1, n2)
    if empty is not None:
        return Estimate.not_estimable(empty, **fields)
    p1, p2 = x1 / n1, x2 / n2
    if method == "newcombe":
        low, high = _square_and_add(p1, p2, _wilson(x1, n1, level), _wilson(x2, n2, level), 0.0)
    else:
        z = z_two_sided(level)
        low, high = difference_limits(x1, n1, x2, n2, z, finite_n=method == "miettinen-nurminen")
    return Estimate(value=p1 - p2, low=low, high=high, **fields)


def _wilson(x: float, n: float, level: float) -> tuple[float, float]:
    return proportion_interval(x, n, level=level, method="wilson")


def _square_and_add(
    p1: float, p2: float, first: tuple[float, float], second: tuple[float, float], correlation: float
) -> tuple[float, float]:
    """Limits of p1 - p2 from the limits of each (Newcombe; MOVER), clipped to [-1, 1]."""
    (l1, u1), (l2, u2) = first, second
    below = (p1 - l1) ** 2 - 2.0 * correlation * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2
    above = (u1 - p1) ** 2 - 2.0 * correlation * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2
    gap = p1 - p2
    return max(-1.0, gap - math.sqrt(max(below, 0.0))), min(1.0, gap + math.sqrt(max(above, 0.0)))


def mover_difference(first: Estimate, second: Estimate) -> Estimate:
    """first - second of two independent estimates of any kind, from their own limits (MOVER, square and add).

    With Wilson limits it is Newcombe's interval; with cluster-adjusted limits it is the gap between two groups of
    patients who contribute several cases each. Not estimable where either is not; without an interval where either
    has none.

    Raises
    ------
    ValueError
        If the two levels differ.

    References
    ----------
    Zou & Donner, Stat Med 27:1693-1702 (2008).
    """
    if first.level != second.level:
        raise ValueError(f"both estimates need one level, got {first.level!r} and {second.level!r}")
    patients = None if first.n_patients is None or second.n_patients is None else first.n_patients + second.n_patients
    fields: dict[str, Any] = {
        "n": first.n + second.n,
        "n_patients": patients,
        "level": first.level,
        "unit": first.unit,
        "method": f"square-and-add of limits ({first.method}; {second.method})"
        if first.method != second.method
        else f"square-and-add of limits ({first.method})",
    }
    for which, e in (("first", first), ("second", second)):
        if e.value is None:
            return Estimate.not_estimable(f"{which} estimate: {e.undefined}", **fields)
    assert first.value is not None
    assert second.value is not None
    gap = first.value - second.value
    if first.low is None or first.high is None or second.low is None or second.high is None:
        why = first.interval_undefined if first.low is None else second.interval_undefined
        return Estimate(value=gap, interval_undefined=why or "one of the two has no interval", **fields)
    low = gap - math.hypot(first.value - first.low, second.high - second.value)
    high = gap + math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value=gap, low=low, high=high, **fields)


def ratio(
    x1: int,
    n1: int,
    x2: int,
    n2: int,
    *,
    level: float = 0.95,
    method: RatioMethod = "koopman",
    unit: Unit = "case",
    **counts: Any,
) -> Estimate:
    """(x1/n1) / (x2/n2) of two independent groups.

    "koopman" is the score interval, defined whenever x2 > 0; "katz" is the log interval and needs both counts above 0
    and not both groups complete: elsewhere Koopman's limits take its place and the method says so. Not estimable with
    x2 = 0 (the ratio is unbounded; the reason gives its lower limit) or an empty group.

    References
    ----------
    Koopman, Biometrics 40:513-517 (1984); Katz et al., Biometrics 34:469-474 (1978).
    """
    if method not in get_args(RatioMethod):
        raise ValueError(f"method is 'koopman' or 'katz', got {method!r}")
    level = check_level(level)
    x1, n1, x2, n2 = _groups(x1, n1, x2, n2)
    fields: dict[str, Any] = {"n": n1 + n2, "level": level, "unit": unit, **counts}
    name = "Koopman score" if method == "koopman" else "Katz log"
    empty = _empty_group(n1, n2)
    if empty is None and x1 == 0 and x2 == 0:
        empty = "both proportions are 0"
    if empty is not None:
        return Estimate.not_estimable(empty, method=name, **fields)
    z = z_two_sided(level)
    if x2 == 0:
        low, _ = ratio_limits(x1, n1, x2, n2, z)
        reason = f"the second proportion is 0: the ratio is unbounded; its lower {level:.4g} score limit is {low:.4g}"
        return Estimate.not_estimable(reason, method="Koopman score", **fields)
    value = (x1 / n1) / (x2 / n2)
    if method == "katz" and x1 > 0 and (x1 < n1 or x2 < n2):
        half = z * math.sqrt(1.0 / x1 - 1.0 / n1 + 1.0 / x2 - 1.0 / n2)
        return Estimate(value=value, low=value * math.exp(-half), high=value * math.exp(half), method=name, **fields)
    if method == "katz":
        name = "Koopman score (the log method has no variance here)"
    low, high = ratio_limits(x1, n1, x2, n2, z)
    assert high is not None  # x2 > 0
    return Estimate(value=value, low=min(low, value), high=max(high, value), method=name, **fields)


def _p_value(z: float, alternative: Alternative) -> float:
    if alternative not in get_args(Alternative):
        raise ValueError(f"alternative is one of {', '.join(get_args(Alternative))}; got {alternative!r}")
    if alternative == "two-sided":
        return normal_two_sided_p(z)
    return float(special.ndtr(-z if alternative == "greater" else z))


def difference_test(
    x1: int,
    n1: int,
    x2: int,
    n2: int,
    *,
    null: float = 0.0,
    alternative: Alternative = "two-sided",
    finite_n: bool = True,
    name: str = "difference of independent proportions",
    endpoint: str | None = None,
) -> TestOutcome:
    """Score test of p1 - p2 against `null`; "greater" with `null = -margin` is non-inferiority of the first group.

    `finite_n` is Miettinen & Nurminen's N/(N-1); without it the test is Farrington & Manning's. It agrees with the
    interval of `difference`: the two-sided p is below 1 - level exactly where `null` lies outside.
    """
    x1, n1, x2, n2 = _groups(x1, n1, x2, n2)
    if not -1.0 < null < 1.0:
        raise ValueError(f"null lies strictly between -1 and 1, got {null!r}")
    label = "Miettinen-Nurminen score" if finite_n else "Farrington-Manning score"
    empty = _empty_group(n1, n2)
    if empty is not None:
        _p_value(0.0, alternative)
        return TestOutcome(name=name, statistic=None, p_value=None, method=label, endpoint=endpoint, undefined=empty)
    z = difference_score(x1, n1, x2, n2, null, finite_n=finite_n)
    return TestOutcome(name=name, statistic=z, p_value=_p_value(z, alternative), method=label, endpoint=endpoint)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedCounts:
    """Cases on which both, only the first, only the second, or neither of two sets of calls was right.

    Raises
    ------
    ValueError
        If a count is negative or no whole number.
    """

    both: int
    first_only: int
    second_only: int
    neither: int

    def __post_init__(self) -> None:
        for name in ("both", "first_only", "second_only", "neither"):
            check_count(name, getattr(self, name))

    @property
    def n(self) -> int:
        return self.both + self.first_only + self.second_only + self.neither


def paired_counts(first: ArrayLike, second: ArrayLike) -> PairedCounts:
    """Counts from two (n,) bool arrays over the same cases in the same order.

    Raises
    ------
    ValueError
        If shapes differ or an entry is neither true nor false.
    """
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"both arrays hold one value per case, got shapes {a.shape} and {b.shape}")
    for values in (a, b):
        if not np.isin(values, (0, 1)).all():
            raise ValueError("calls hold only true and false")
    a, b = a.astype(bool), b.astype(bool)
    return PairedCounts(
        both=int((a & b).sum()),
        first_only=int((a & ~b).sum()),
        second_only=int((~a & b).sum()),
        neither=int((~a & ~b).sum()),
    )


def tango_score(b: float, c: float, n: float, delta: float) -> float:
    """Signed score of the paired difference against `delta` (Tango 1998, eq. 8, restricted estimate of eq. 6)."""
    linear = -b - c + (2.0 * n - b + c) * delta
    constant = -c * delta * (1.0 - delta)
    p21 = (math.sqrt(max(0.0, linear * linear - 8.0 * n * constant)) - linear) / (4.0 * n)
    variance = n * (2.0 * p21 + delta * (1.0 - delta))
    gap = b - c - n * delta
    if abs(gap) < 1e-12 * n:
        return 0.0
    return math.copysign(1e8, gap) if variance <= 1e-300 else gap / math.sqrt(variance)


def tango_limits(b: float, c: float, n: float, z: float) -> tuple[float, float]:
    """Tango's limits from discordant counts `b` and `c` of `n`; all three may be fractional (effective counts)."""
    seen = (b - c) / n

    def off(target: float) -> Callable[[float], float]:
        return lambda delta: tango_score(b, c, n, delta) - target

    low = -1.0 if seen <= -1.0 else root(off(z), -1.0, seen)
    high = 1.0 if seen >= 1.0 else root(off(-z), seen, 1.0)
    return low, high


def _paired_correlation(c: PairedCounts) -> float:
    """Phi of the paired table with Newcombe's continuity correction (method 10); 0 where a margin is empty."""
    margins = (
        float(c.both + c.first_only)
        * (c.second_only + c.neither)
        * (c.both + c.second_only)
        * (c.first_only + c.neither)
    )
    if margins == 0:
        return 0.0
    cross = float(c.both * c.neither - c.first_only * c.second_only)
    if cross > 0:
        cross = max(cross - c.n / 2.0, 0.0)
    return cross / math.sqrt(margins)


def paired_difference(
    counts: PairedCounts,
    *,
    level: float = 0.95,
    method: PairedMethod = "tango",
    unit: Unit = "case",
    **fields: Any,
) -> Estimate:
    """Proportion right with the first less proportion right with the second, over the same cases.

    "tango" is the score interval, "newcombe" the square-and-add of Wilson limits with the correlation between the two
    (method 10). Not estimable without cases. With no discordant pair the value is 0 and the interval still has a width.

    References
    ----------
    Tango, Stat Med 17:891-908 (1998); Newcombe, Stat Med 17:2635-2650 (1998).
    """
    if method not in get_args(PairedMethod):
        raise ValueError(f"method is 'tango' or 'newcombe', got {method!r}")
    level = check_level(level)
    n, b, c = counts.n, counts.first_only, counts.second_only
    label = "Tango score" if method == "tango" else "Newcombe square-and-add (paired)"
    made: dict[str, Any] = {"n": n, "level": level, "unit": unit, "method": label, **fields}
    if n == 0:
        return Estimate.not_estimable("no cases", **made)
    if method == "tango":
        low, high = tango_limits(b, c, n, z_two_sided(level))
    else:
        x1, x2 = counts.both + b, counts.both + c
        first, second = _wilson(x1, n, level), _wilson(x2, n, level)
        low, high = _square_and_add(x1 / n, x2 / n, first, second, _paired_correlation(counts))
    return Estimate(value=(b - c) / n, low=low, high=high, **made)


def nam_test(
    counts: PairedCounts,
    *,
    null: float = 0.0,
    alternative: Alternative = "greater",
    name: str = "paired difference",
    endpoint: str | None = None,
) -> TestOutcome:
    """Nam's score test of the paired difference against `null`; "greater" with `null = -margin` is non-inferiority.

    It inverts Tango's interval: the one-sided p is below 0.025 exactly where the 95 % interval lies above `null`.
    With `null = 0`, two-sided, it is McNemar's asymptotic test. Undefined without cases, and against 0 without
    discordant pairs.

    References
    ----------
    Nam, Biometrics 53:1422-1430 (1997); Tango, Stat Med 17:891-908 (1998).
    """
    if not -1.0 < null < 1.0:
        raise ValueError(f"null lies strictly between -1 and 1, got {null!r}")
    n, b, c = counts.n, counts.first_only, counts.second_only
    undefined = "no cases" if n == 0 else "no discordant pairs" if null == 0.0 and b + c == 0 else None
    _p_value(0.0, alternative)
    if undefined is not None:
        return TestOutcome(
            name=name, statistic=None, p_value=None, method="Nam score", endpoint=endpoint, undefined=undefined
        )
    z = tango_score(b, c, n, null)
    return TestOutcome(name=name, statistic=z, p_value=_p_value(z, alternative), method="Nam score", endpoint=endpoint)

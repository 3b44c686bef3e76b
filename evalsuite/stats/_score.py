"""Score statistics for two independent proportions: how far the data are from an assumed difference or ratio.

Constrained maximum likelihood: Miettinen & Nurminen, Stat Med 4:213-226 (1985); Farrington & Manning, Stat Med
9:1447-1454 (1990); Koopman, Biometrics 40:513-517 (1984); Gart & Nam, Biometrics 44:323-338 (1988).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.optimize import brentq

_TOLERANCE = 1e-14


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """The zero of a function that changes sign between `low` and `high`; an end where it is already 0 is the zero."""
    at_low, at_high = function(low), function(high)
    if at_low == 0.0:
        return low
    if at_high == 0.0:
        return high
    if (at_low > 0) == (at_high > 0):
        raise ArithmeticError(f"no change of sign between {low!r} and {high!r}")
    return float(brentq(function, low, high, xtol=_TOLERANCE, rtol=8.9e-16, maxiter=500))


def constrained_difference(x1: float, n1: float, x2: float, n2: float, delta: float) -> tuple[float, float]:
    """Maximum likelihood of (p1, p2) given p1 - p2 = delta: the closed-form root of the cubic."""
    if delta < 0.0:
        # Exchange the groups: the root sought is then the small one, which keeps its digits.
        p2, p1 = constrained_difference(x2, n2, x1, n1, -delta)
        return p1, p2
    n = n1 + n2
    # Likelihood equation in p2: l3 p^3 + l2 p^2 + l1 p + l0 = 0 (Miettinen & Nurminen, appendix).
    l3 = n
    l2 = (n1 + 2.0 * n2) * delta - n - (x1 + x2)
    l1 = (n2 * delta - n - 2.0 * x2) * delta + (x1 + x2)
    l0 = x2 * delta * (1.0 - delta)
    q = (l2 / (3.0 * l3)) ** 3 - l1 * l2 / (6.0 * l3 * l3) + l0 / (2.0 * l3)
    inner = (l2 / (3.0 * l3)) ** 2 - l1 / (3.0 * l3)
    p = math.copysign(math.sqrt(max(inner, 0.0)), q)
    ratio = 0.0 if p == 0.0 else max(-1.0, min(1.0, q / p**3))
    angle = (math.pi + math.acos(ratio)) / 3.0
    p2 = 2.0 * p * math.cos(angle) - l2 / (3.0 * l3)
    # Small roots lose digits in the closed form: polish on the cubic itself.
    for _ in range(3):
        value = ((l3 * p2 + l2) * p2 + l1) * p2 + l0
        steepness = (3.0 * l3 * p2 + 2.0 * l2) * p2 + l1
        if steepness == 0.0 or abs(value) > abs(steepness) * 1e-4:
            break
        p2 -= value / steepness
    p2 = min(max(p2, max(0.0, -delta)), min(1.0, 1.0 - delta))
    return p2 + delta, p2


def difference_score(x1: float, n1: float, x2: float, n2: float, delta: float, *, finite_n: bool = True) -> float:
    """Signed score of p1 - p2 against `delta`; `finite_n` applies Miettinen & Nurminen's N/(N-1)."""
    gap = x1 / n1 - x2 / n2 - delta
    p1, p2 = constrained_difference(x1, n1, x2, n2, delta)
    variance = p1 * (1.0 - p1) / n1 + p2 * (1.0 - p2) / n2
    if finite_n:
        variance *= (n1 + n2) / (n1 + n2 - 1.0)
    if variance <= 1e-300 or abs(gap) < 1e-15:
        return 0.0 if abs(gap) < 1e-15 else math.copysign(1e8, gap)
    return gap / math.sqrt(variance)


def difference_limits(
    x1: float, n1: float, x2: float, n2: float, z: float, *, finite_n: bool = True
) -> tuple[float, float]:
    """Differences whose score is at most `z` away."""
    seen = x1 / n1 - x2 / n2

    def off(target: float) -> Callable[[float], float]:
        return lambda delta: difference_score(x1, n1, x2, n2, delta, finite_n=finite_n) - target

    low = -1.0 if seen <= -1.0 else root(off(z), -1.0, seen)
    high = 1.0 if seen >= 1.0 else root(off(-z), seen, 1.0)
    return low, high


def ratio_score(x1: float, n1: float, x2: float, n2: float, theta: float) -> float:
    """Signed score of p1 / p2 against `theta` > 0 (Koopman's chi-square is its square)."""
    b = n1 * theta + x1 + n2 + x2 * theta
    # Discriminant of (n1 + n2) theta p2² - b p2 + (x1 + x2), written so that it does not cancel near n/n; smaller root.
    apart = theta * (n1 + x2) - (x1 + n2)
    p2 = 2.0 * (x1 + x2) / (b + math.sqrt(apart * apart + 4.0 * theta * (n1 - x1) * (n2 - x2)))
    p2 = min(p2, 1.0, 1.0 / theta)
    p1 = theta * p2
    gap = x1 / n1 - theta * x2 / n2
    variance = p1 * (1.0 - p1) / n1 + theta * theta * p2 * (1.0 - p2) / n2
    if gap == 0.0:
        return 0.0
    return math.copysign(1e8, gap) if variance <= 1e-300 else gap / math.sqrt(variance)


def ratio_limits(x1: float, n1: float, x2: float, n2: float, z: float) -> tuple[float, float | None]:
    """Ratios whose score is at most `z` away; no upper limit (None) where x2 is 0. x1 = x2 = 0 is a ValueError."""
    if x1 <= 0 and x2 <= 0:
        raise ValueError("the ratio of two proportions of 0 is undefined")

    def off(target: float) -> Callable[[float], float]:
        return lambda log_theta: ratio_score(x1, n1, x2, n2, math.exp(log_theta)) - target

    start = 0.0 if x1 <= 0 or x2 <= 0 else math.log(x1 / n1 / (x2 / n2))
    low, high = 0.0, None
    if x1 > 0:
        low = math.exp(_walk(off(z), start, -1.0))
    if x2 > 0:
        high = math.exp(_walk(off(-z), start, 1.0))
    return low, high


def _walk(function: Callable[[float], float], start: float, step: float) -> float:
    """Root of a decreasing function: from `start` back until the sign is right, then forth by doubling."""
    near = start
    while (function(near) <= 0) if step > 0 else (function(near) >= 0):
        near -= step
    far, width = near + step, step
    while (function(far) > 0) if step > 0 else (function(far) < 0):
        width *= 2.0
        far += width
    return root(function, min(near, far), max(near, far))

"""How sure a proportion is: Clopper-Pearson, Wilson, Agresti-Coull and Jeffreys intervals, and the exact binomial test.

Every interval is two-sided at `level`; one end of a 95 % interval is a one-sided 97.5 % bound. Sources: Clopper &
Pearson, Biometrika 26:404-413 (1934); Wilson, J Am Stat Assoc 22:209-212 (1927); Newcombe, Stat Med 17:857-872
(1998), methods 3, 4 and 5; Agresti & Coull, Am Stat 52:119-126 (1998); Brown, Cai & DasGupta, Stat Sci 16:101-133
(2001).
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

from scipy import special

from evalsuite.stats._normal import check_count, check_level, z_two_sided
from evalsuite.types import Estimate, Unit

ProportionMethod = Literal["clopper-pearson", "wilson", "wilson-cc", "agresti-coull", "jeffreys"]
Alternative = Literal["two-sided", "greater", "less"]

METHOD_NAMES: dict[str, str] = {
    "clopper-pearson": "Clopper-Pearson",
    "wilson": "Wilson",
    "wilson-cc": "Wilson with continuity correction",
    "agresti-coull": "Agresti-Coull",
    "jeffreys": "Jeffreys",
}


def clopper_pearson(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Exact limits; real `successes` and `n` (an effective n) are allowed, as in Korn & Graubard (1998)."""
    tail = (1.0 - level) / 2.0
    failures = n - successes
    low = 0.0 if successes <= 0 else float(special.betaincinv(successes, failures + 1.0, tail))
    high = 1.0 if failures <= 0 else float(special.betainccinv(successes + 1.0, failures, tail))
    return low, high


def wilson(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Score limits without continuity correction (Newcombe's method 3)."""
    z = z_two_sided(level)
    p = successes / n
    centre = (p + z * z / (2.0 * n)) / (1.0 + z * z / n)
    half = z / (1.0 + z * z / n) * math.sqrt(p * (1.0 - p) / n + z * z / (4.0 * n * n))
    # At 0 and n the algebra gives exactly 0 and 1; rounding must not.
    low = 0.0 if successes <= 0 else max(0.0, centre - half)
    high = 1.0 if successes >= n else min(1.0, centre + half)
    return low, high


def wilson_continuity(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Score limits with continuity correction (Newcombe's method 4)."""
    z = z_two_sided(level)
    p = successes / n

    def limit(shifted: float, sign: float) -> float:
        spread = math.sqrt(max(0.0, shifted * (1.0 - shifted) / n + z * z / (4.0 * n * n)))
        return (shifted + z * z / (2.0 * n) + sign * z * spread) / (1.0 + z * z / n)

    low = 0.0 if successes <= 0.5 else max(0.0, limit(p - 0.5 / n, -1.0))
    high = 1.0 if successes >= n - 0.5 else min(1.0, limit(p + 0.5 / n, 1.0))
    return low, high


def agresti_coull(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Wald limits around the Wilson midpoint, clipped to [0, 1]."""
    z = z_two_sided(level)
    n_tilde = n + z * z
    p_tilde = (successes + z * z / 2.0) / n_tilde
    half = z * math.sqrt(p_tilde * (1.0 - p_tilde) / n_tilde)
    return max(0.0, p_tilde - half), min(1.0, p_tilde + half)


def jeffreys(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Equal-tailed posterior limits under the Beta(1/2, 1/2) prior.

    At 0/n the lower limit is slightly above 0, at n/n the upper one slightly below 1 (the posterior is continuous).
    """
    tail = (1.0 - level) / 2.0
    a, b = successes + 0.5, n - successes + 0.5
    return float(special.betaincinv(a, b, tail)), float(special.betainccinv(a, b, tail))


_INTERVALS = {
    "clopper-pearson": clopper_pearson,
    "wilson": wilson,
    "wilson-cc": wilson_continuity,
    "agresti-coull": agresti_coull,
    "jeffreys": jeffreys,
}


def check_method(method: str) -> str:
    """The method's name in a report, or ValueError naming the choices."""
    if method not in _INTERVALS:
        raise ValueError(f"interval method is one of {', '.join(get_args(ProportionMethod))}; got {method!r}")
    return METHOD_NAMES[method]


def proportion_interval(
    successes: float, n: float, *, level: float = 0.95, method: ProportionMethod = "clopper-pearson"
) -> tuple[float, float]:
    """Limits of `successes` out of `n`, `0 <= successes <= n`, `n > 0`; both may be fractional (effective counts).

    Raises
    ------
    ValueError
        If the counts are out of range or the method is unknown.
    """
    check_method(method)
    level = check_level(level)
    if not (n > 0 and 0 <= successes <= n and math.isfinite(n)):
        raise ValueError(f"a proportion needs 0 <= successes <= n and n > 0, got {successes!r} of {n!r}")
    return _INTERVALS[method](successes, n, level)


def proportion(
    numerator: int,
    denominator: int,
    *,
    level: float = 0.95,
    method: ProportionMethod = "clopper-pearson",
    unit: Unit = "case",
    **counts: Any,
) -> Estimate:
    """A proportion of independent units with its interval.

    Parameters
    ----------
    numerator, denominator
        Counts. A denominator of 0 is not estimable, with the reason.
    level
        Two-sided confidence level, between 0 and 1.
    method
        "clopper-pearson" (exact, never covers less than `level`; the default for acceptance criteria), "wilson",
        "wilson-cc", "agresti-coull" (clipped to [0, 1]) or "jeffreys".
    counts
        Further fields of the estimate: n_positive, n_negative, n_patients, and `n` where it is not the denominator.

    Raises
    ------
    ValueError
        If a count is negative or no whole number, or the numerator exceeds the denominator.

    References
    ----------
    Clopper & Pearson, Biometrika 26:404-413 (1934); Newcombe, Stat Med 17:857-872 (1998).

    Examples
    --------
    >>> s = proportion(27, 30)
    >>> round(s.value, 3), round(s.low, 3), round(s.high, 3), s.n
    (0.9, 0.735, 0.979, 30)
    """
    name = check_method(method)
    level = check_level(level)
    x, n = check_count("numerator", numerator), check_count("denominator", denominator)
    if x > n:
        raise ValueError(f"the numerator ({x}) exceeds the denominator ({n})")
    fields: dict[str, Any] = {"n": n, "numerator": float(x), "denominator": float(n), **counts}
    if n == 0:
        return Estimate.not_estimable("no cases in the denominator", level=level, unit=unit, method=name, **fields)
    low, high = proportion_interval(x, n, level=level, method=method)
    return Estimate(value=x / n, low=low, high=high, level=level, method=name, unit=unit, **fields)


def exact_binomial_test(x: int, n: int, goal: float, alternative: Alternative = "greater") -> float:
    """p-value of the exact binomial test of `x` successes in `n` against the proportion `goal`.

    "greater" asks whether the true proportion exceeds the goal; "two-sided" adds the probabilities of all outcomes no
    more likely than the one seen (as R's binom.test). With n = 0 there is nothing to reject with: 1.0.

    Raises
    ------
    ValueError
        If counts are invalid, `goal` is outside [0, 1] or the alternative is unknown.
    """
    x, n = check_count("x", x), check_count("n", n)
    if x > n:
        raise ValueError(f"x ({x}) exceeds n ({n})")
    if not 0.0 <= goal <= 1.0:
        raise ValueError(f"goal lies between 0 and 1, got {goal!r}")
    if alternative not in get_args(Alternative):
        raise ValueError(f"alternative is one of {', '.join(get_args(Alternative))}; got {alternative!r}")
    if n == 0:
        return 1.0
    from scipy.stats import binomtest  # heavy to import, and rarely needed

    return float(binomtest(x, n, goal, alternative=alternative).pvalue)

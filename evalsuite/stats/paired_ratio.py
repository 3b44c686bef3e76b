"""The ratio of two proportions on the same cases: how many times as often one device succeeds as the other."""

from __future__ import annotations

import math
from typing import Any

from evalsuite.stats._normal import check_level, z_two_sided
from evalsuite.stats._score import root
from evalsuite.stats.differences import PairedCounts
from evalsuite.types import Estimate, Unit

METHOD = "Tang, Tang & Chan (2003) score, paired"
_FARTHEST = 60.0


def paired_ratio_score(counts: PairedCounts, ratio: float) -> float:
    """Score statistic of the hypothesis that the first share is `ratio` times the second; falls as `ratio` grows.

    (x₁ − ratio · x₂) over its standard error at the maximum likelihood under the hypothesis, x the successes of each.
    """
    a, b, c = float(counts.both), float(counts.first_only), float(counts.second_only)
    n = a + b + c + float(counts.neither)
    # The quadratic of the share that succeeds with the second alone.
    square = n * (1.0 + ratio)
    linear = (a + c) * ratio * ratio - (a + b + 2.0 * c)
    constant = c * (1.0 - ratio) * (a + b + c) / n
    second_only = (-linear + math.sqrt(max(0.0, linear * linear - 4.0 * square * constant))) / (2.0 * square)
    variance = n * (1.0 + ratio) * second_only + (a + b + c) * (ratio - 1.0)
    gap = (a + b) - (a + c) * ratio
    if variance <= 1e-12 * max(1.0, n):
        return 0.0 if abs(gap) <= 1e-9 * max(1.0, n) else math.copysign(math.inf, gap)
    return gap / math.sqrt(variance)


def paired_ratio(counts: PairedCounts, *, level: float = 0.95, unit: Unit = "case", **more: Any) -> Estimate:
    """First share over second share on the same independent cases, with score limits.

    Returns
    -------
    Estimate
        The limits are all ratios that the score does not reject. A ratio of 0 has the lower limit 0. Where the second
        never succeeds the ratio is unbounded: not estimable, and the reason gives the lower limit.

    References
    ----------
    Tang, Tang & Chan, Stat Med 22:1217-1233 (2003). Fagerland, Lydersen & Laake, Statistical Analysis of Contingency
    Tables (2017), section 8.7.
    """
    level = check_level(level)
    first, second = counts.both + counts.first_only, counts.both + counts.second_only
    n = first + counts.second_only + counts.neither
    fields: dict[str, Any] = {"n": int(n), "level": level, "unit": unit, "method": METHOD, **more}
    if n == 0:
        return Estimate.not_estimable("no cases", **fields)
    if first == 0 and second == 0:
        return Estimate.not_estimable("neither ever succeeds, so the ratio is undefined", **fields)
    z = z_two_sided(level)

    def end(sign: float) -> float:
        return math.exp(root(lambda t: paired_ratio_score(counts, math.exp(t)) - sign * z, -_FARTHEST, _FARTHEST))

    if second == 0:
        return Estimate.not_estimable(
            f"the second never succeeds, so the ratio is unbounded; its lower {level:.4g} limit is {end(1.0):.4g}",
            **fields,
        )
    low = 0.0 if first == 0 else end(1.0)
    return Estimate(value=first / second, low=low, high=end(-1.0), **fields)

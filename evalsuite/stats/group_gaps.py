"""How far groups of patients lie apart: gaps with intervals, a test that all are equal, and what chance alone would do.

Where all groups are equal, the largest difference between any two of them is never 0 and its resampling interval cannot
hold 0; the range that chance alone gives is what an observed range has to be read against.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import chdtrc, ndtr, ndtri

from evalsuite.stats._normal import check_level
from evalsuite.stats.group_figures import Floats, GroupFigure
from evalsuite.stats.multiplicity import simultaneous_level
from evalsuite.stats.planning import minimal_detectable_gap
from evalsuite.stats.proportions import proportion_interval
from evalsuite.types import Estimate, TestOutcome, Unit

_Z_MOST = 8.2
_EXACT_CELLS = 160_000
#: From so many cases on the normal approximation of the power is within a hundredth of the gap.
_LARGE = 300
NAMES = {
    "Wilson": "Newcombe hybrid score",
    "DeLong": "DeLong, independent samples",
    "Obuchowski": "Obuchowski, independent samples of patients",
}


def correlation(first: GroupFigure, second: GroupFigure) -> float:
    """Correlation of two figures through patients who have cases in both; 0 where nobody has or it cannot be told."""
    a, b = first.influence, second.influence
    if a is None or b is None:
        return 0.0
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return 0.0 if scale <= 1e-300 else max(-1.0, min(1.0, float(a @ b) / scale))


def _reach(first: GroupFigure, second: GroupFigure, r: float, level: float) -> tuple[float, float]:
    """How far below and above the gap its interval extends (square and add, Zou & Donner 2008)."""
    assert first.limits is not None
    assert second.limits is not None
    (l1, u1), (l2, u2) = first.limits(level), second.limits(level)
    a, b, c, d = first.value - l1, u2 - second.value, u1 - first.value, second.value - l2
    below, above = a * a - 2.0 * r * a * b + b * b, c * c - 2.0 * r * c * d + d * d
    return math.sqrt(max(0.0, below)), math.sqrt(max(0.0, above))


def gap(
    first: GroupFigure, second: GroupFigure, *, level: float = 0.95, unit: Unit = "case", **counts: Any
) -> Estimate:
    """First less second, from the limits of each, with their correlation where they share patients.

    With one case per patient it is Newcombe's hybrid score interval for shares and DeLong's for AUROCs of independent
    samples.

    References
    ----------
    Newcombe, Stat Med 17:873-890 (1998), method 10; Zou & Donner, Stat Med 27:1693-1702 (2008).

    Examples
    --------
    >>> from evalsuite.stats.group_figures import share_figure
    >>> one, other = (share_figure(np.arange(n) < x, np.arange(n)) for x, n in ((56, 70), (48, 80)))
    >>> e = gap(one, other)
    >>> round(e.value, 4), round(e.low, 4), round(e.high, 4)
    (0.2, 0.0524, 0.3339)
    """
    level = check_level(level)
    value = first.value - second.value
    r = correlation(first, second)
    fields: dict[str, Any] = {
        "n": first.n + second.n,
        "n_patients": first.n_patients + second.n_patients if first.influence is None else _together(first, second),
        "level": level,
        "unit": unit,
        "method": _title(first, second),
        **counts,
    }
    if first.limits is None or second.limits is None:
        return Estimate(value=value, interval_undefined=first.no_interval or second.no_interval, **fields)
    below, above = _reach(first, second, r, level)
    low, high = first.bounds
    return Estimate(value=value, low=max(low, value - below), high=min(high, value + above), **fields)


def _together(first: GroupFigure, second: GroupFigure) -> int | None:
    """Patients of both groups; None where some have cases in both, so that no sum is their number."""
    assert first.influence is not None
    assert second.influence is not None
    shared = bool(((first.influence != 0.0) & (second.influence != 0.0)).any())
    return None if shared else first.n_patients + second.n_patients


def _title(first: GroupFigure, second: GroupFigure) -> str:
    shared = first.influence is not None and second.influence is not None and _together(first, second) is None
    if first.method == second.method and not shared:
        return NAMES.get(first.method, f"square-and-add of limits ({first.method})")
    methods = " and ".join(dict.fromkeys((first.method, second.method)))
    return f"square-and-add of limits ({methods})" + (", patients with cases in both allowed for" if shared else "")


def gap_p(first: GroupFigure, second: GroupFigure) -> tuple[float | None, float | None]:
    """z and two-sided p of "no gap", by inverting the interval: p is below 1 - level exactly where it leaves out 0.

    None where there is no interval. p is not below 2e-16.
    """
    if first.limits is None or second.limits is None:
        return None, None
    value, r = first.value - second.value, correlation(first, second)
    if value == 0.0:
        return 0.0, 1.0

    def left(z: float) -> float:
        below, above = _reach(first, second, r, float(2.0 * ndtr(z) - 1.0))
        return abs(value) - (below if value > 0.0 else above)

    if left(_Z_MOST) > 0.0:
        z = _Z_MOST
    elif left(1e-6) <= 0.0:
        z = 0.0
    else:
        z = float(brentq(left, 1e-6, _Z_MOST, xtol=1e-10))
    return math.copysign(z, value), float(2.0 * ndtr(-z))


def holm_levels(p: Sequence[float | None], alpha: float) -> list[float]:
    """Error rate at which each member's interval is read so that it leaves out 0 exactly where Holm rejects.

    The k-th smallest p (from 0) of m is read at alpha / (m - k); from the first that fails on, all at its level. A test
    that could not be made counts as 1.
    """
    m = len(p)
    values = np.array([1.0 if v is None else v for v in p])
    levels = [alpha] * m
    stopped: float | None = None
    for k, i in enumerate(np.argsort(values, kind="stable")):
        levels[int(i)] = stopped if stopped is not None else alpha / (m - k)
        if stopped is None and values[i] > alpha / (m - k):
            stopped = levels[int(i)]
    return levels


# --- several groups at once -----------------------------------------------------------------------------------------


def covariance(figures: Sequence[GroupFigure], *, null: bool = False) -> Floats | None:
    """(k, k) covariance of the groups' figures; None where one of them has no interval.

    `null`: of shares, as if all groups had the pooled share, with the design effect each shows.
    """
    variances = np.empty(len(figures))
    pooled = _pooled(figures) if null and all(f.effective_n is not None for f in figures) else None
    for i, f in enumerate(figures):
        se = f.standard_error
        if se is None:
            return None
        variances[i] = se * se if pooled is None else pooled * (1.0 - pooled) / float(f.effective_n or 1.0)
    c = np.diag(variances)
    for i, j in combinations(range(len(figures)), 2):
        if figures[i].influence is not None:
            c[i, j] = c[j, i] = correlation(figures[i], figures[j]) * math.sqrt(variances[i] * variances[j])
    return c


def _pooled(figures: Sequence[GroupFigure]) -> float:
    n = np.array([f.n for f in figures], dtype=np.float64)
    return float(n @ np.array([f.value for f in figures]) / n.sum())


def omnibus(figures: Sequence[GroupFigure], *, name: str, endpoint: str | None = None) -> TestOutcome:
    """Whether all groups have the same figure: one test, before any pair is looked at.

    Shares of independent cases: Pearson's chi-square. Shares with several cases per patient: the same with each group's
    effective number of cases (Rao & Scott 1992). Other figures: Wald's chi-square on their standard errors. Patients in
    several groups are allowed for.
    """
    k = len(figures)
    shares = all(f.effective_n is not None for f in figures)
    plain = all(f.counts is not None for f in figures)
    method = (
        "Pearson's chi-square" if plain else "chi-square on effective numbers of cases" if shares else "Wald chi-square"
    )
    made: dict[str, Any] = {"name": name, "method": method, "endpoint": endpoint}
    if k < 2:
        return TestOutcome(statistic=None, p_value=None, undefined="fewer than two groups can be assessed", **made)
    c = covariance(figures, null=shares)
    values = np.array([f.value for f in figures])
    if c is None:
        why = next(f.no_interval for f in figures if f.limits is None)
        return TestOutcome(statistic=None, p_value=None, undefined=why, **made)
    if float(np.ptp(values)) == 0.0:
        return TestOutcome(statistic=0.0, p_value=1.0, **made)
    contrast = np.hstack([np.eye(k - 1), -np.ones((k - 1, 1))])
    gaps = contrast @ values
    spread = contrast @ c @ contrast.T
    statistic = float(gaps @ np.linalg.pinv(spread, hermitian=True) @ gaps)
    return TestOutcome(statistic=statistic, p_value=float(chdtrc(k - 1, statistic)), **made)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """What chance alone does where all groups are equal: the largest difference between two, and the lowest and highest
    group's distance from the average; each as mean and central 95 % range, and how often the first is at least what was
    seen. `spreads` are the draws of the first.
    """

    spread: tuple[float, float, float]
    lowest: tuple[float, float, float]
    highest: tuple[float, float, float]
    p_spread: float
    replicates: int
    spreads: Floats


def under_equality(figures: Sequence[GroupFigure], *, seed: Sequence[int], replicates: int = 4000) -> Chance | None:
    """The same groups drawn again and again under equality; None where a group has no interval.

    Shares of independent cases: the outcomes seen are dealt to groups of these sizes anew (permutation). Anything else:
    normal with the groups' covariance under equality.
    """
    rng = np.random.default_rng(list(seed))
    values = np.array([f.value for f in figures])
    if all(f.counts is not None for f in figures):
        n = np.array([f.counts[1] for f in figures if f.counts is not None])
        x = sum(f.counts[0] for f in figures if f.counts is not None)
        drawn = _dealt(rng, n, x, replicates) / n - x / n.sum()
    else:
        c = covariance(figures, null=True)
        if c is None:
            return None
        eigen, vectors = np.linalg.eigh(c)
        root = vectors * np.sqrt(np.maximum(eigen, 0.0))
        drawn = rng.standard_normal((replicates, len(figures))) @ root.T
    spread = drawn.max(axis=1) - drawn.min(axis=1)
    more = int((spread >= float(np.ptp(values)) - 1e-12).sum())

    def told(sample: Floats) -> tuple[float, float, float]:
        low, high = np.quantile(sample, [0.025, 0.975])
        return float(sample.mean()), float(low), float(high)

    return Chance(
        spread=told(spread),
        lowest=told(drawn.min(axis=1)),
        highest=told(drawn.max(axis=1)),
        p_spread=(more + 1) / (replicates + 1),
        replicates=replicates,
        spreads=spread,
    )


def _dealt(rng: np.random.Generator, n: Any, x: int, replicates: int) -> Floats:
    """(replicates, k) successes of groups of sizes `n` when x successes are dealt to all cases at random."""
    out = np.empty((replicates, len(n)))
    left_x = np.full(replicates, x, dtype=np.int64)
    left_n = int(n.sum())
    for i, size in enumerate(n):
        left_n -= int(size)
        got = rng.hypergeometric(left_x, left_n + int(size) - left_x, int(size)) if left_n else left_x
        out[:, i] = got
        left_x = left_x - got
    return out


def largest_gap(figures: Sequence[GroupFigure], *, level: float = 0.95, unit: Unit = "case", **counts: Any) -> Estimate:
    """The largest less the smallest figure of several groups, with an interval that may hold 0.

    All pairs get intervals that hold together (Bonferroni over pairs); the largest absolute gap then lies between the
    largest of their distances from 0 and of their far ends. Conservative. A percentile interval of resampled
    differences is not given: with equal groups it almost never holds the true 0.
    """
    level = check_level(level)
    fields: dict[str, Any] = {
        "n": sum(f.n for f in figures),
        "level": level,
        "unit": unit,
        "method": "simultaneous intervals of all pairs (Bonferroni)",
        **counts,
    }
    if len(figures) < 2:
        return Estimate.not_estimable("fewer than two groups can be assessed", **fields)
    value = max(f.value for f in figures) - min(f.value for f in figures)
    if any(f.limits is None for f in figures):
        return Estimate(
            value=value, interval_undefined=next(f.no_interval for f in figures if f.limits is None), **fields
        )
    pairs = list(combinations(figures, 2))
    each = simultaneous_level(level, len(pairs))
    ends = [f.limits(each) for f in figures if f.limits is not None]
    low, high = 0.0, 0.0
    top = figures[0].bounds[1]
    for (a, (l1, u1)), (b, (l2, u2)) in combinations(zip(figures, ends, strict=True), 2):
        r, seen = correlation(a, b), a.value - b.value
        below = math.sqrt(max(0.0, (a.value - l1) ** 2 - 2 * r * (a.value - l1) * (u2 - b.value) + (u2 - b.value) ** 2))
        above = math.sqrt(max(0.0, (u1 - a.value) ** 2 - 2 * r * (u1 - a.value) * (b.value - l2) + (b.value - l2) ** 2))
        low = max(low, seen - below, -(seen + above))
        high = max(high, seen + above, -(seen - below))
    return Estimate(value=value, low=min(low, value), high=min(top, max(high, value)), **fields)


def detectable_gap(
    reference: GroupFigure, group: GroupFigure, *, power: float = 0.8, level: float = 0.95
) -> float | None:
    """Smallest shortfall of the group that the interval of the gap would find with `power`; None where none can be.

    Shares: exact power of Newcombe's interval on the (effective) numbers of cases, its normal approximation where both
    are large. Other figures: (z + z_power) times the standard error of the gap.
    """
    if reference.effective_n is not None and group.effective_n is not None:
        many, few = max(1, round(reference.effective_n)), max(1, round(group.effective_n))
        if (many + 1) * (few + 1) > _EXACT_CELLS:
            if min(many, few) >= _LARGE:
                return _by_normal(many, reference.value, few, power, level)
            # So much larger than the other that what it has beyond this number adds nothing.
            cap = _EXACT_CELLS // min(many, few) - 1
            many, few = min(many, cap), min(few, cap)
        return minimal_detectable_gap(many, reference.value, few, power=power, level=level)
    a, b = reference.standard_error, group.standard_error
    if a is None or b is None:
        return None
    r = correlation(reference, group)
    z = float(ndtri(0.5 + level / 2.0) + ndtri(power))
    return z * math.sqrt(max(0.0, a * a + b * b - 2.0 * r * a * b))


def _by_normal(many: int, p: float, few: int, power: float, level: float) -> float | None:
    z = float(ndtri(power))

    def left(d: float) -> float:
        q = p - d
        low = p - proportion_interval(p * many, many, level=level, method="wilson")[0]
        high = proportion_interval(q * few, few, level=level, method="wilson")[1] - q
        return d - math.hypot(low, high) - z * math.sqrt(p * (1.0 - p) / many + q * (1.0 - q) / few)

    return None if p <= 0.0 or left(p) < 0.0 else float(brentq(left, 0.0, p))

"""Tests when one patient contributes several cases: a proportion against a goal, and two devices on the same cases.

Each is the test whose interval `clustered_proportion` or `clustered_paired_difference` reports: p is the level at
which the interval on the effective number of cases just touches the null. With one case per patient they are the
exact binomial test and Nam's score test.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special
from scipy.optimize import brentq

from evalsuite.stats._means import patient_index
from evalsuite.stats._normal import check_level, chi2_upper_p, t_two_sided, z_two_sided
from evalsuite.stats.clustered import cluster_variance
from evalsuite.stats.differences import nam_test, paired_counts, paired_difference, tango_limits, tango_score
from evalsuite.stats.proportions import exact_binomial_test
from evalsuite.types import Estimate, TestOutcome, Unit

Side = Literal["greater", "less"]

_SMALLEST_P = 1e-15


def _t_ratio(tail: float, n: int, m: int) -> float:
    """Squared ratio of the t quantiles of n and m units at a one-sided tail, below 1/2."""
    tail = min(tail, 0.4999)
    return float(special.stdtrit(n - 1, tail) / special.stdtrit(m - 1, tail)) ** 2


def _touching(tail_at: Callable[[float], float]) -> float:
    """The one-sided p at which `tail_at(p)`, which falls as p grows, equals p."""
    if tail_at(0.5) >= 0.5:
        return min(1.0, tail_at(0.5))
    if tail_at(_SMALLEST_P) <= _SMALLEST_P:
        return _SMALLEST_P
    log_p = brentq(lambda v: math.log(max(tail_at(math.exp(v)), 1e-300)) - v, math.log(_SMALLEST_P), math.log(0.5))
    return math.exp(float(log_p))


def _check_side(alternative: str) -> None:
    if alternative not in ("greater", "less"):
        raise ValueError(f"alternative is 'greater' or 'less', got {alternative!r}")


def clustered_goal_test(
    success: ArrayLike,
    cluster: ArrayLike,
    *,
    goal: float,
    alternative: Side = "greater",
    name: str = "proportion against a goal",
    endpoint: str | None = None,
) -> TestOutcome:
    """Exact binomial test of a proportion against `goal` on the effective number of cases.

    p is below α exactly where the 1 - 2α interval of `clustered_proportion` (Clopper-Pearson) lies on the side of the
    alternative. `statistic` is the observed number of successes. Not below 1e-15.

    Parameters
    ----------
    success, cluster
        (n,) outcomes and the patient of each case.

    Returns
    -------
    TestOutcome
        Undefined without cases, and where one patient contributes several and no other any.

    References
    ----------
    Korn & Graubard, Surv Methodol 24:193-201 (1998), inverted.
    """
    _check_side(alternative)
    if not 0.0 <= goal <= 1.0:
        raise ValueError(f"goal lies between 0 and 1, got {goal!r}")
    y = np.asarray(success)
    made: dict[str, Any] = {"name": name, "endpoint": endpoint, "method": "exact binomial, one-sided"}
    if y.shape == (0,):
        return TestOutcome(statistic=None, p_value=None, undefined="no cases", **made)
    seen = cluster_variance(y, cluster)
    x = round(seen.value * seen.n)
    if seen.independent:
        return TestOutcome(statistic=float(x), p_value=exact_binomial_test(x, seen.n, goal, alternative), **made)
    made["method"] = "exact binomial on the effective number of cases (patients as clusters), one-sided"
    if seen.variance is None:
        return TestOutcome(statistic=None, p_value=None, undefined="all cases come from one patient", **made)
    n, m = seen.n, seen.n_clusters
    p_hat, target = (seen.value, goal) if alternative == "greater" else (1.0 - seen.value, 1.0 - goal)

    def tail(n_eff: float) -> float:
        if p_hat <= 0.0:
            return 1.0
        return float(special.betainc(p_hat * n_eff, n_eff - p_hat * n_eff + 1.0, target))

    if not seen.variance or seen.design_effect is None:
        p = tail(float(m))
    else:
        base = n / max(1.0, seen.design_effect)
        p = _touching(lambda a: tail(base * min(1.0, _t_ratio(a, n, m))))
    return TestOutcome(statistic=float(x), p_value=p, **made)


def _paired_effect(first: ArrayLike, second: ArrayLike, cluster: ArrayLike) -> tuple[Any, int, float | None]:
    """Counts, number of patients, and the design effect of the paired difference (None where it has no variance)."""
    counts = paired_counts(first, second)
    index = patient_index(np.asarray(cluster), counts.n)
    if counts.n == 0:
        return counts, 0, None
    d = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    m = int(index.max()) + 1
    if m < 2 or np.ptp(d) == 0:
        return counts, m, None
    z = np.bincount(index, d - d.mean(), minlength=m)
    z[np.abs(z) < 1e-12 * counts.n] = 0.0
    variance = m / (m - 1.0) * float(z @ z) / counts.n**2
    return counts, m, variance / (float(d.var()) / counts.n)


def clustered_paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    cluster: ArrayLike,
    *,
    level: float = 0.95,
    unit: Unit = "case",
    **counts: Any,
) -> Estimate:
    """Proportion right with the first less that with the second over the same cases, several cases per patient.

    Tango's interval at n_eff = n / deff · (t_{n-1} / t_{m-1})², deff the design effect of the paired difference
    floored at 1, m patients; where no variance between patients is seen, n_eff is m. With one case per patient it is
    exactly `paired_difference`.

    Parameters
    ----------
    first, second, cluster
        (n,) bool, whether each was right, and the patient of each case.

    Returns
    -------
    Estimate
        `design_effect` is the floored one. Not estimable without cases; one patient with several cases: no interval.

    References
    ----------
    Tango, Stat Med 17:891-908 (1998) at the effective n of Korn & Graubard (1998); variance as Obuchowski, Stat Med
    17:1495-1507 (1998).
    """
    level = check_level(level)
    table, m, deff = _paired_effect(first, second, cluster)
    n = table.n
    if m == n:
        extra = {"n_patients": m, **({"design_effect": 1.0} if n else {}), **counts}
        return paired_difference(table, level=level, unit=unit, **extra)
    fields: dict[str, Any] = {
        "n": n,
        "n_patients": m,
        "level": level,
        "unit": unit,
        "method": "Tango score on the effective number of cases (patients as clusters)",
        **counts,
    }
    value = (table.first_only - table.second_only) / n
    if m < 2:
        reason = "all cases come from one patient, so variation between patients cannot be seen"
        return Estimate(value=value, interval_undefined=reason, **fields)
    if not deff:
        n_eff, deff = float(m), n / m
    else:
        deff = max(1.0, deff)
        n_eff = n / deff * min(1.0, (t_two_sided(level, n - 1) / t_two_sided(level, m - 1)) ** 2)
    share = n_eff / n
    low, high = tango_limits(table.first_only * share, table.second_only * share, n_eff, z_two_sided(level))
    return Estimate(value=value, low=low, high=high, design_effect=deff, **fields)


def clustered_nam_test(
    first: ArrayLike,
    second: ArrayLike,
    cluster: ArrayLike,
    *,
    null: float = 0.0,
    alternative: Side = "greater",
    name: str = "paired difference",
    endpoint: str | None = None,
) -> TestOutcome:
    """Score test of the paired difference against `null`, several cases per patient; `null = -margin`: non-inferiority.

    p is below α exactly where the 1 - 2α interval of `clustered_paired_difference` lies on the side of the alternative.
    Undefined without cases, with one patient who has several, and against 0 where the two never differ.

    References
    ----------
    Nam, Biometrics 53:1422-1430 (1997), at the effective number of cases.
    """
    _check_side(alternative)
    table, m, deff = _paired_effect(first, second, cluster)
    n = table.n
    if m == n:
        return nam_test(table, null=null, alternative=alternative, name=name, endpoint=endpoint)
    if not -1.0 < null < 1.0:
        raise ValueError(f"null lies strictly between -1 and 1, got {null!r}")
    made: dict[str, Any] = {
        "name": name,
        "endpoint": endpoint,
        "method": "Nam score on the effective number of cases (patients as clusters)",
    }
    discordant = table.first_only + table.second_only
    if m < 2 or (null == 0.0 and discordant == 0):
        reason = "all cases come from one patient" if m < 2 else "no discordant pairs"
        return TestOutcome(statistic=None, p_value=None, undefined=reason, **made)
    z = tango_score(table.first_only, table.second_only, n, null)
    towards = z if alternative == "greater" else -z
    # Every count scales with n_eff, and the score with its root.
    if not deff:
        scale = math.sqrt(m / n)
        p = float(special.ndtr(-towards * scale))
    else:
        scale = math.sqrt(1.0 / max(1.0, deff))
        p = _touching(lambda a: float(special.ndtr(-towards * scale * math.sqrt(min(1.0, _t_ratio(a, n, m))))))
    return TestOutcome(statistic=z * scale, p_value=p, **made)


def clustered_stuart_maxwell(
    first: ArrayLike,
    second: ArrayLike,
    cluster: ArrayLike,
    n_categories: int,
    *,
    name: str = "Stuart-Maxwell",
    endpoint: str | None = None,
) -> TestOutcome:
    """Whether two paired sets of calls use the categories equally often, patients as clusters.

    The gaps between the two marginal counts are summed per patient, and their covariance is that of these sums. With
    one case per patient it is `contingency.stuart_maxwell`; with two categories Durkalski's test.

    Parameters
    ----------
    first, second
        (n,) categories 0 to `n_categories` - 1.
    cluster
        (n,) patient of each case.

    Returns
    -------
    TestOutcome
        Undefined where no patient's gaps differ from 0, and where fewer patients than degrees of freedom plus one do:
        the covariance is then not known.

    Raises
    ------
    ValueError
        If shapes differ or a category is out of range.

    References
    ----------
    Stuart, Biometrika 42:412-416 (1955); Durkalski, Palesch, Lipsitz & Rust, Stat Med 22:2417-2428 (2003).
    """
    a, b = np.asarray(first), np.asarray(second)
    if a.ndim != 1 or b.shape != a.shape:
        raise ValueError(f"first and second hold one category per case, got shapes {a.shape} and {b.shape}")
    if a.size and (min(a.min(), b.min()) < 0 or max(a.max(), b.max()) >= n_categories):
        raise ValueError(f"categories are 0 to {n_categories - 1}")
    index = patient_index(cluster, a.size)
    m = int(index.max()) + 1 if a.size else 0
    label = "Stuart-Maxwell, patients as clusters" if m < a.size else "Stuart-Maxwell"
    made: dict[str, Any] = {"name": name, "endpoint": endpoint}
    gap = np.zeros((m, n_categories))
    np.add.at(gap, (index, a.astype(np.intp)), 1.0)
    np.add.at(gap, (index, b.astype(np.intp)), -1.0)
    covariance = gap.T @ gap
    df = int(np.linalg.matrix_rank(covariance)) if m else 0
    moved = int((gap != 0).any(axis=1).sum())
    if df == 0 or (m < a.size and moved <= df):
        why = "no discordant pairs" if df == 0 else f"only {moved} patients have calls that differ in total"
        return TestOutcome(statistic=None, p_value=None, method=label, undefined=why, **made)
    total = gap.sum(axis=0)
    statistic = float(total @ np.linalg.pinv(covariance, hermitian=True) @ total)
    method = f"{label}, {df} df"
    return TestOutcome(statistic=statistic, p_value=chi2_upper_p(statistic, df), method=method, **made)

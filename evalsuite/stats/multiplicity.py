"""What stays convincing when several questions are asked at once: adjusted p-values and simultaneous intervals.

An adjusted p-value is compared with the whole error rate alpha. Family-wise methods (Bonferroni, Holm, Hochberg,
Hommel, fixed sequence, graphs) bound the chance of any false claim; Benjamini-Hochberg and -Yekutieli bound the
expected share of false claims and serve exploratory work only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalsuite.stats._normal import check_level
from evalsuite.types import TestOutcome

Adjustment = Literal["none", "bonferroni", "sidak", "holm", "hochberg", "hommel", "fixed-sequence", "bh", "by"]

Floats = NDArray[np.float64]


def _check_p(p: ArrayLike) -> Floats:
    values = np.array(p, dtype=np.float64).reshape(-1)
    if not np.isfinite(values).all() or (values < 0).any() or (values > 1).any():
        raise ValueError("p-values are finite and lie between 0 and 1; leave undefined tests to adjust_tests")
    return values


def _step_down(p: Floats, factor: Floats) -> Floats:
    order = np.argsort(p, kind="stable")
    out = np.empty_like(p)
    out[order] = np.minimum(1.0, np.maximum.accumulate(factor * p[order]))
    return out


def _step_up(p: Floats, factor: Floats) -> Floats:
    order = np.argsort(p, kind="stable")
    out = np.empty_like(p)
    out[order] = np.minimum(1.0, np.minimum.accumulate((factor * p[order])[::-1])[::-1])
    return out


def _hommel(p: Floats) -> Floats:
    """Closed test with Simes' p for every intersection: for each size, the worst set that contains the hypothesis."""
    m = p.size
    out = p.copy()
    for i in range(m):
        others = np.sort(np.delete(p, i))[::-1]
        for size in range(2, m + 1):
            members = np.sort(np.append(others[: size - 1], p[i]))
            out[i] = max(out[i], float((size * members / np.arange(1, size + 1)).min()))
    return np.minimum(out, 1.0)


def adjust_p(p: ArrayLike, method: Adjustment) -> Floats:
    """Adjusted p-values, in the order given.

    Parameters
    ----------
    p
        (m,) p-values of the family; an empty family stays empty.
    method
        "holm" (valid whatever the dependence), "hochberg" and "hommel" (valid for independent or positively dependent
        tests), "fixed-sequence" (in the order given: each needs all before it), "bonferroni", "sidak" (independent or
        positively dependent), "bh" and "by" (false discovery rate), "none".

    Raises
    ------
    ValueError
        If a p-value is not a number from 0 to 1 or the method is unknown.

    References
    ----------
    Holm, Scand J Stat 6:65-70 (1979); Hochberg, Biometrika 75:800-802 (1988); Hommel, Biometrika 75:383-386 (1988);
    Benjamini & Hochberg, J R Stat Soc B 57:289-300 (1995); Benjamini & Yekutieli, Ann Stat 29:1165-1188 (2001);
    Maurer, Hothorn & Lehmacher (1995) for the fixed sequence; Šidák, J Am Stat Assoc 62:626-633 (1967).

    Examples
    --------
    >>> adjust_p([0.01, 0.02, 0.03, 0.04, 0.005], "holm").round(3).tolist()
    [0.04, 0.06, 0.06, 0.06, 0.025]
    """
    if method not in get_args(Adjustment):
        raise ValueError(f"method is one of {', '.join(get_args(Adjustment))}; got {method!r}")
    values = _check_p(p)
    m = values.size
    if m == 0 or method == "none":
        return values
    rank = np.arange(1, m + 1, dtype=np.float64)
    if method == "bonferroni":
        return np.minimum(1.0, m * values)
    if method == "sidak":
        return np.asarray(-np.expm1(m * np.log1p(-np.minimum(values, 1.0 - 1e-16))))
    if method == "holm":
        return _step_down(values, m + 1.0 - rank)
    if method == "hochberg":
        return _step_up(values, m + 1.0 - rank)
    if method == "hommel":
        return _hommel(values)
    if method == "fixed-sequence":
        return np.asarray(np.maximum.accumulate(values))
    factor = m / rank
    if method == "by":
        factor = factor * (1.0 / rank).sum()
    return _step_up(values, factor)


def adjust_tests(tests: Sequence[TestOutcome], method: Adjustment) -> tuple[TestOutcome, ...]:
    """The same tests with `p_adjusted` filled in.

    A test that could not be carried out still counts in the family, as if its p-value were 1, and keeps no p: leaving
    it out would make the others look better.
    """
    p = [1.0 if t.p_value is None else t.p_value for t in tests]
    adjusted = adjust_p(p, method)
    return tuple(
        replace(t, p_adjusted=None if t.p_value is None else float(a)) for t, a in zip(tests, adjusted, strict=True)
    )


def graphical(p: ArrayLike, weights: ArrayLike, transitions: ArrayLike) -> Floats:
    """Adjusted p-values of a graphical procedure: gatekeeping, fallback, fixed sequences and Holm are special cases.

    Parameters
    ----------
    p
        (m,) p-values.
    weights
        (m,) share of alpha each hypothesis starts with; sum at most 1.
    transitions
        (m, m) share of a rejected hypothesis' alpha that row i hands to column j; diagonal 0, rows sum to at most 1.

    References
    ----------
    Bretz, Maurer, Brannath & Posch, Stat Med 28:586-604 (2009), algorithm 2.
    """
    values = _check_p(p)
    m = values.size
    w = np.array(weights, dtype=np.float64)
    g = np.array(transitions, dtype=np.float64)
    if w.shape != (m,) or g.shape != (m, m):
        raise ValueError(f"{m} p-values need {m} weights and an {m} by {m} transition matrix")
    if (w < 0).any() or w.sum() > 1 + 1e-9 or (g < 0).any() or (g.sum(axis=1) > 1 + 1e-9).any() or np.diag(g).any():
        raise ValueError("weights and rows of transitions are not negative and sum to at most 1; the diagonal is 0")
    left = list(range(m))
    adjusted = np.ones(m)
    largest = 0.0
    while left:
        ratios = [values[i] / w[i] if w[i] > 0 else np.inf for i in left]
        j = left[int(np.argmin(ratios))]
        largest = max(largest, min(1.0, float(min(ratios))))
        adjusted[j] = largest
        left.remove(j)
        new_w, new_g = w.copy(), np.zeros_like(g)
        for i in left:
            new_w[i] = w[i] + w[j] * g[j, i]
            loop = g[i, j] * g[j, i]
            if loop < 1.0:
                for k in left:
                    if k != i:
                        new_g[i, k] = (g[i, k] + g[i, j] * g[j, k]) / (1.0 - loop)
        w, g = new_w, new_g
    return adjusted


def co_primary(p: ArrayLike) -> float:
    """p-value of "every endpoint is met": the largest. No alpha is split, and power is lost instead.

    Raises
    ------
    ValueError
        If there is no endpoint or a p-value is invalid.
    """
    values = _check_p(p)
    if values.size == 0:
        raise ValueError("co-primary endpoints need at least one p-value")
    return float(values.max())


def simultaneous_level(level: float, m: int, method: Literal["bonferroni", "sidak"] = "bonferroni") -> float:
    """Level of each of `m` intervals so that all hold together with probability `level`.

    Bonferroni always; Šidák for independent estimates (and for two-sided normal ones whatever their correlation).
    """
    level = check_level(level)
    if m < 1:
        raise ValueError(f"a family has at least one member, got {m!r}")
    if method == "bonferroni":
        return 1.0 - (1.0 - level) / m
    if method == "sidak":
        return float(level ** (1.0 / m))
    raise ValueError(f"method is 'bonferroni' or 'sidak', got {method!r}")


def holm_lower_bounds(
    p: ArrayLike, null: ArrayLike, bound: Callable[[int, float], float], *, alpha: float = 0.025
) -> tuple[tuple[float, bool], ...]:
    """Simultaneous one-sided lower bounds that go with Holm's test of "parameter > null", and whether each is rejected.

    `bound(i, a)` is the one-sided lower bound of parameter i at confidence 1 - a. A rejected parameter is bounded by
    its null value unless all are rejected; the others share alpha equally. Agrees with Holm's decisions, at the price
    of saying nothing more than "above the null" about what was rejected.

    References
    ----------
    Strassburger & Bretz, Stat Med 27:4914-4927 (2008); Guilbaud, Biom J 50:678-692 (2008).
    """
    values, nulls = _check_p(p), np.array(null, dtype=np.float64).reshape(-1)
    m = values.size
    if nulls.shape != (m,):
        raise ValueError(f"{m} p-values need {m} null values")
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha lies strictly between 0 and 1, got {alpha!r}")
    rejected = adjust_p(values, "holm") <= alpha
    n_left = m - int(rejected.sum())
    bounds = []
    for i in range(m):
        if not rejected[i]:
            bounds.append((float(bound(i, alpha / n_left)), False))
        elif n_left:
            bounds.append((float(nulls[i]), True))
        else:
            bounds.append((max(float(nulls[i]), float(bound(i, alpha / m))), True))
    return tuple(bounds)

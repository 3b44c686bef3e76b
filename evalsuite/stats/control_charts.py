"""Early warnings from a series of figures: CUSUM and EWMA charts, and how often they cry wolf."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import norm

Floats = NDArray[np.float64]
Sides = Literal["upper", "lower", "both"]
#: Nodes of Gauss and Legendre's rule for the integral equations: run lengths change by less than 1e-8 with twice as
#: many.
_NODES = 160
#: Widest limit that is tried when a chart is designed.
_WIDEST = 150.0
#: Longest run length that a chart can be designed for; beyond it the equations lose their digits.
MOST_RUN_LENGTH = 1e7


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A control chart's statistic at every point, and where it first passed its limit.

    `upper` and `lower` are the one-sided CUSUMs (both at or above 0), or for EWMA the same average twice. `alarm` is
    the index of the first point beyond the limit, None where there was none. `limit` is in standard deviations of a
    point.
    """

    upper: Floats
    lower: Floats
    limit: float
    alarm: int | None


def cusum(standardised: ArrayLike, *, reference: float, limit: float, sides: Sides = "both") -> Chart:
    """Tabular CUSUM of standardised figures: sums of what exceeds `reference`, back to 0 whenever they fall below it.

    Parameters
    ----------
    standardised
        Shape (points,): (figure − target) / standard deviation, in the order of time. Finite.
    reference, limit
        The allowance k and the decision interval h, in standard deviations of one point.
    sides
        Which of the two sums may raise the alarm.

    Raises
    ------
    ValueError
        If a figure is not finite, or reference is negative or limit not positive.

    Source: Page (1954); Montgomery, Introduction to Statistical Quality Control, 9.1.
    """
    z = _checked(standardised)
    if not reference >= 0 or not limit > 0:
        raise ValueError("a CUSUM's reference is not negative and its limit is positive")
    upper, lower = np.empty_like(z), np.empty_like(z)
    high = low = 0.0
    for i, value in enumerate(z):
        high = max(0.0, high + value - reference)
        low = max(0.0, low - value - reference)
        upper[i], lower[i] = high, low
    beyond = np.zeros(z.size, dtype=bool)
    if sides != "lower":
        beyond |= upper > limit
    if sides != "upper":
        beyond |= lower > limit
    return Chart(upper=upper, lower=lower, limit=limit, alarm=_first(beyond))


def ewma(standardised: ArrayLike, *, weight: float, limit: float) -> Chart:
    """Exponentially weighted average of standardised figures; an alarm beyond ± limit · √(weight / (2 − weight)).

    `weight` is that of the newest figure, above 0 to 1; the chart starts at 0 with its asymptotic limits. Shapes,
    errors and order as in :func:`cusum`. Source: Roberts (1959); Lucas and Saccucci (1990).
    """
    z = _checked(standardised)
    if not 0 < weight <= 1 or not limit > 0:
        raise ValueError("an EWMA's weight lies above 0 and at most at 1, and its limit is positive")
    average = np.empty_like(z)
    value = 0.0
    for i, figure in enumerate(z):
        value = (1.0 - weight) * value + weight * figure
        average[i] = value
    bound = limit * float(np.sqrt(weight / (2.0 - weight)))
    return Chart(upper=average, lower=average, limit=bound, alarm=_first(np.abs(average) > bound))


def cusum_run_length(reference: float, limit: float, *, shift: float = 0.0, sides: Sides = "both") -> float:
    """Mean number of points until a CUSUM of independent normal figures raises an alarm.

    `shift` is the mean of the standardised figures: 0 for the run length between false alarms (ARL0), otherwise the
    delay of a change that is there from the first point. One-sided run lengths solve Page's integral equation by Gauss
    and Legendre's rule; both sides together are 1 / (1/upper + 1/lower), which is exact for sums that start at 0 (Van
    Dobben de Bruyn 1968), and half of one side's for no shift: a chart designed with the one-sided figure alarms twice
    as often.
    """
    if not reference >= 0 or not limit > 0:
        raise ValueError("a CUSUM's reference is not negative and its limit is positive")
    upper = _one_sided(reference - shift, limit)
    lower = _one_sided(reference + shift, limit)
    if sides == "both":
        return 1.0 / (1.0 / upper + 1.0 / lower)
    return upper if sides == "upper" else lower


@lru_cache(maxsize=256)
def _one_sided(drift: float, limit: float) -> float:
    """Run length of S = max(0, S + Z − drift) from 0 until it exceeds `limit`."""
    node, weight = np.polynomial.legendre.leggauss(max(_NODES, int(6 * limit)))
    x = 0.5 * limit * (node + 1.0)
    w = 0.5 * limit * weight
    # L(s) = 1 + L(0) P(s + Z − drift <= 0) + ∫ L(y) φ(y − s + drift) dy, at the nodes and at 0.
    at = np.concatenate([[0.0], x])
    kernel = np.empty((at.size, at.size))
    kernel[:, 0] = norm.cdf(drift - at)
    kernel[:, 1:] = norm.pdf(x[None, :] - at[:, None] + drift) * w
    lengths = np.linalg.solve(np.eye(at.size) - kernel, np.ones(at.size))
    return float(lengths[0])


def ewma_run_length(weight: float, limit: float, *, shift: float = 0.0) -> float:
    """Mean number of points until an EWMA of independent normal figures raises an alarm, by Crowder's equation."""
    if not 0 < weight <= 1 or not limit > 0:
        raise ValueError("an EWMA's weight lies above 0 and at most at 1, and its limit is positive")
    bound = limit * float(np.sqrt(weight / (2.0 - weight)))
    node, nodes_weight = np.polynomial.legendre.leggauss(_NODES)
    x, w = bound * node, bound * nodes_weight
    at = np.concatenate([[0.0], x])
    kernel = np.zeros((at.size, at.size))
    kernel[:, 1:] = norm.pdf((x[None, :] - (1.0 - weight) * at[:, None]) / weight - shift) * w / weight
    lengths = np.linalg.solve(np.eye(at.size) - kernel, np.ones(at.size))
    return float(lengths[0])


def cusum_limit(reference: float, run_length: float, *, sides: Sides = "both") -> float:
    """The limit h at which a CUSUM raises a false alarm every `run_length` points on average.

    Raises
    ------
    ValueError
        If the run length is not between 2 and `MOST_RUN_LENGTH`.
    """
    _in_range(run_length)
    return _solved(lambda h: cusum_run_length(reference, h, sides=sides), run_length)


def ewma_limit(weight: float, run_length: float) -> float:
    """The limit L at which an EWMA raises a false alarm every `run_length` points on average; errors as above."""
    _in_range(run_length)
    return _solved(lambda c: ewma_run_length(weight, c), run_length)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLengths:
    """Run lengths of simulated charts: `median`, the share that alarmed within each of `points`, and how many charts.

    `median` is infinite where fewer than half of the charts alarmed before the simulation ended.
    """

    median: float
    points: tuple[int, ...]
    alarmed_within: tuple[float, ...]
    charts: int


def cusum_with_estimated_baseline(
    *,
    reference: float,
    limit: float,
    baseline: int | None,
    points: tuple[int, ...] = (12, 52, 365),
    shift: float = 0.0,
    charts: int = 20_000,
    longest: int = 2_000,
    seed: int = 0,
) -> RunLengths:
    """Run lengths of a two-sided CUSUM whose mean and standard deviation were estimated from `baseline` points.

    An estimated target is a shift that never goes away: with 30 baseline points, k = 0.5 and h = 4, half of the charts
    alarm by chance within about 70 points and not within about 116. `baseline` None: both are known. Independent normal
    figures; simulated, so every figure has the Monte Carlo error of `charts` draws. Source: Jones, Champ and Rigdon
    (2004).
    """
    if baseline is not None and baseline < 2:
        raise ValueError("a standard deviation needs two baseline points")
    rng = np.random.default_rng(seed)
    mean, spread = np.zeros(charts), np.ones(charts)
    if baseline is not None:
        # The mean and the variance of a normal sample, drawn from their own distributions.
        mean = rng.standard_normal(charts) / np.sqrt(baseline)
        spread = np.sqrt(rng.chisquare(baseline - 1, charts) / (baseline - 1))
    high, low = np.zeros(charts), np.zeros(charts)
    length = np.full(charts, np.inf)
    left = np.arange(charts)
    for t in range(1, longest + 1):
        z = (rng.standard_normal(left.size) + shift - mean[left]) / spread[left]
        high[left] = np.maximum(0.0, high[left] + z - reference)
        low[left] = np.maximum(0.0, low[left] - z - reference)
        out = np.maximum(high[left], low[left]) > limit
        length[left[out]] = t
        left = left[~out]
        if left.size == 0:
            break
    within = tuple(float((length <= p).mean()) for p in points)
    return RunLengths(median=float(np.median(length)), points=points, alarmed_within=within, charts=charts)


def _solved(length_at: Callable[[float], float], run_length: float) -> float:
    """The limit whose run length is `run_length`: run lengths grow with the limit."""
    high = 0.5
    while length_at(high) < run_length:
        high *= 1.3
        if high > _WIDEST:
            raise ValueError("no limit within reach gives that run length: choose a larger reference or weight")
    return float(brentq(lambda limit: np.log(length_at(limit) / run_length), 1e-3, high))


def _in_range(run_length: float) -> None:
    if not 2.0 <= run_length <= MOST_RUN_LENGTH:
        raise ValueError(f"a run length lies between 2 and {MOST_RUN_LENGTH:g} points, got {run_length!r}")


def _checked(values: ArrayLike) -> Floats:
    z = np.asarray(values, dtype=np.float64)
    if z.ndim != 1 or not np.isfinite(z).all():
        raise ValueError("a chart takes one series of finite standardised figures")
    return z


def _first(beyond: NDArray[np.bool_]) -> int | None:
    at = np.flatnonzero(beyond)
    return int(at[0]) if at.size else None

"""Estimates that differ from site to site beyond chance: their spread between sites and their average (REML, DL)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.optimize import brentq

from evalsuite.stats._normal import t_two_sided, z_two_sided

Floats = NDArray[np.float64]
Tau2Method = Literal["reml", "dl"]
PooledInterval = Literal["hartung-knapp", "hartung-knapp-modified", "wald"]

TAU2_NAMES = {"reml": "REML", "dl": "DerSimonian-Laird"}
INTERVAL_NAMES = {
    "hartung-knapp": "Hartung-Knapp",
    "hartung-knapp-modified": "modified Hartung-Knapp",
    "wald": "Wald",
}
_MAX_STEPS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomEffects:
    """Average of k site effects, its standard error and limits, and the variance `tau2` between sites.

    `q` is Cochran's Q on k - 1 degrees of freedom, `typical` the typical sampling variance within a site (Higgins &
    Thompson 2002), so that I² = tau2 / (tau2 + typical). `weight` are the shares of the sites in the average.
    """

    mean: float
    standard_error: float
    low: float
    high: float
    tau2: float
    q: float
    typical: float
    weight: Floats

    @property
    def k(self) -> int:
        return int(self.weight.size)

    @property
    def i2(self) -> float:
        return self.tau2 / (self.tau2 + self.typical)

    @property
    def q_p_value(self) -> float:
        return float(special.chdtrc(self.k - 1, self.q))


def _weighted(y: Floats, w: Floats) -> tuple[float, float]:
    """Weighted mean and weighted sum of squares about it."""
    mean = float(w @ y) / float(w.sum())
    return mean, float(w @ (y - mean) ** 2)


def cochran_q(y: Floats, v: Floats) -> float:
    """Weighted sum of squares of the effects about their common mean, weights 1/v."""
    return _weighted(y, 1.0 / v)[1]


def _dl(y: Floats, v: Floats) -> float:
    """DerSimonian & Laird, Control Clin Trials 7:177-188 (1986)."""
    w = 1.0 / v
    c = float(w.sum()) - float(w @ w) / float(w.sum())
    return max(0.0, (cochran_q(y, v) - (y.size - 1)) / c)


def restricted_loglik(y: Floats, v: Floats, tau2: float) -> float:
    """Restricted log-likelihood of the variance between sites, up to a constant."""
    w = 1.0 / (v + tau2)
    return -0.5 * (float(np.log(v + tau2).sum()) + math.log(float(w.sum())) + _weighted(y, w)[1])


def _reml(y: Floats, v: Floats, start: float) -> float:
    """Fisher scoring on the restricted likelihood (Viechtbauer, J Educ Behav Stat 30:261-293 (2005)), kept at >= 0."""
    tau2 = start
    for _ in range(_MAX_STEPS):
        w = 1.0 / (v + tau2)
        total, squares = float(w.sum()), float(w @ w)
        mean = float(w @ y) / total
        information = squares - 2.0 * float((w**3).sum()) / total + (squares / total) ** 2
        score = float((w * w) @ (y - mean) ** 2) - (total - squares / total)
        step = score / information
        here = restricted_loglik(y, v, tau2)
        new = max(0.0, tau2 + step)
        while restricted_loglik(y, v, new) < here - 1e-13 * max(1.0, abs(here)) and abs(new - tau2) > 1e-15:
            new = (new + tau2) / 2.0
        if abs(new - tau2) <= 1e-13 * (tau2 + float(v.min())):
            return new
        tau2 = new
    return tau2


def between_site_variance(y: Floats, v: Floats, method: Tau2Method) -> float:
    """tau², the variance of true effects between sites; 0 where the sites differ no more than by chance."""
    moment = _dl(y, v)
    if method == "dl":
        return moment
    # The likelihood can have a second maximum at 0; the better of two starts is taken.
    found = [_reml(y, v, start) for start in (moment, max(moment, float(y.var(ddof=1))))]
    return max(found, key=lambda t: restricted_loglik(y, v, t))


def pool(y: Floats, v: Floats, *, tau2: Tau2Method, interval: PooledInterval, level: float) -> RandomEffects:
    """Random-effects average of k >= 2 effects `y (k,)` with sampling variances `v (k,)`, all positive.

    "hartung-knapp": t on k - 1 degrees of freedom with the weighted spread seen between sites; "-modified": that spread
    is never taken below what sampling alone gives (Röver, Knapp & Friede 2015), so that sites which happen to agree
    give no interval of zero width; "wald": normal, sampling and tau² taken as known.
    """
    k = y.size
    between = between_site_variance(y, v, tau2)
    w = 1.0 / (v + between)
    mean, squares = _weighted(y, w)
    se = 1.0 / math.sqrt(float(w.sum()))
    quantile = z_two_sided(level)
    if interval != "wald":
        spread = squares / (k - 1)
        if interval == "hartung-knapp-modified":
            spread = max(1.0, spread)
        se *= math.sqrt(spread)
        quantile = t_two_sided(level, k - 1)
    fixed = 1.0 / v
    total = float(fixed.sum())
    typical = (k - 1) * total / (total * total - float(fixed @ fixed))
    return RandomEffects(
        mean=mean,
        standard_error=se,
        low=mean - quantile * se,
        high=mean + quantile * se,
        tau2=between,
        q=cochran_q(y, v),
        typical=typical,
        weight=w / float(w.sum()),
    )


def q_profile(y: Floats, v: Floats, level: float) -> tuple[float, float]:
    """Limits of tau² by inverting the generalised Q statistic; 0 and 0 where even the upper limit is 0.

    References
    ----------
    Viechtbauer, Stat Med 26:37-52 (2007).
    """
    tail = (1.0 - level) / 2.0
    df = y.size - 1

    def generalised(t: float) -> float:
        return _weighted(y, 1.0 / (v + t))[1]

    def solve(target: float) -> float:
        if generalised(0.0) <= target:
            return 0.0
        over: Callable[[float], float] = lambda t: generalised(t) - target  # noqa: E731
        top = float(v.max()) + float(y.var())
        while over(top) > 0:
            top *= 4.0
        return float(brentq(over, 0.0, top, xtol=1e-15 * top, rtol=1e-14, maxiter=500))

    # chdtri takes the upper tail.
    return solve(float(special.chdtri(df, tail))), solve(float(special.chdtri(df, 1.0 - tail)))


def prediction_limits(fit: RandomEffects, level: float) -> tuple[float, float]:
    """Where the effect of a new site lies: t on k - 2 degrees of freedom, tau² plus the variance of the average.

    References
    ----------
    Higgins, Thompson & Spiegelhalter, J R Stat Soc A 172:137-159 (2009), eq. 12; with the Hartung-Knapp standard error:
    Partlett & Riley, Stat Med 36:301-317 (2017).
    """
    half = t_two_sided(level, fit.k - 2) * math.sqrt(fit.tau2 + fit.standard_error**2)
    return fit.mean - half, fit.mean + half

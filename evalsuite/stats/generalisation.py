"""Whether performance carries over to other sites: how much sites differ, and what to expect at a site not yet seen.

Site estimates enter with their sampling variance, on the logit scale for proportions and areas (so that no limit leaves
0 to 1), and are pooled by a random-effects model. The average is that of sites, not of cases: a large site does not
drown the others once sites differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalsuite.stats._normal import check_level, z_two_sided
from evalsuite.stats._random_effects import (
    INTERVAL_NAMES,
    TAU2_NAMES,
    PooledInterval,
    RandomEffects,
    Tau2Method,
    pool,
    prediction_limits,
    q_profile,
)
from evalsuite.stats._site_effects import (
    FROM_SCALE,
    TO_SCALE,
    Scale,
    SiteEffect,
    auroc_effects,
    check_scale,
    effects_by_delta,
    effects_of_estimates,
    effects_of_shares,
    proportion_effects,
    site_index,
)
from evalsuite.types import Estimate, TestOutcome, Unit

__all__ = [
    "LeftOut",
    "PooledInterval",
    "Scale",
    "SiteEffect",
    "SiteHeterogeneity",
    "Tau2Method",
    "auroc_effects",
    "effects_by_delta",
    "effects_of_estimates",
    "effects_of_shares",
    "leave_one_group_out",
    "leave_one_site_out",
    "proportion_effects",
    "site_heterogeneity",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteHeterogeneity:
    """The average over sites, what to expect at a new one, and how much the sites differ.

    `prediction` has the average as its value and the prediction interval as its ends: 95 % of sites like these lie in
    it. `tau` is the standard deviation between sites on the model's scale, `i2` the share of the variation between
    site estimates that is more than chance; both with Q-profile intervals. `weights` are the sites' shares in the
    average, by site name; `left_out` are sites that could not enter, with the reason.
    """

    average: Estimate
    prediction: Estimate
    tau: Estimate
    i2: Estimate
    test: TestOutcome
    scale: Scale
    sites: tuple[SiteEffect, ...]
    weights: Mapping[str, float]
    left_out: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """The model without one site, and that site against what the others predict for it.

    `within_prediction` says whether the site's own estimate lies in the others' prediction interval widened by its own
    sampling error; None where either is missing.
    """

    site: str
    own: Estimate
    others: Estimate
    prediction: Estimate
    within_prediction: bool | None


def site_heterogeneity(
    sites: Sequence[SiteEffect],
    *,
    scale: Scale = "logit",
    tau2: Tau2Method = "reml",
    interval: PooledInterval = "hartung-knapp-modified",
    level: float = 0.95,
    unit: Unit = "case",
    endpoint: str | None = None,
) -> SiteHeterogeneity:
    """Random-effects model of a metric over sites.

    Parameters
    ----------
    sites
        From `proportion_effects`, `auroc_effects` or `effects_of_estimates`, on `scale`.
    tau2
        "reml" or "dl" (DerSimonian-Laird).
    interval
        Of the average; see `_random_effects.pool`.

    Returns
    -------
    SiteHeterogeneity
        Back on the metric's own scale, but for `tau`. `n` of each estimate is cases, or sites where the sites do not
        say. Not estimable with fewer than 2 sites; without a prediction interval with fewer than 3.

    Raises
    ------
    ValueError
        If a site is named twice or a setting is unknown.

    References
    ----------
    Higgins, Thompson & Spiegelhalter, J R Stat Soc A 172:137-159 (2009); Hartung & Knapp, Stat Med 20:3875-3889 (2001);
    Röver, Knapp & Friede, BMC Med Res Methodol 15:99 (2015); Higgins & Thompson, Stat Med 21:1539-1558 (2002);
    Viechtbauer, Stat Med 26:37-52 (2007).
    """
    check_scale(scale)
    if tau2 not in TAU2_NAMES or interval not in INTERVAL_NAMES:
        raise ValueError(f"tau2 is reml or dl and interval one of {', '.join(INTERVAL_NAMES)}")
    level = check_level(level)
    if len({s.site for s in sites}) != len(sites):
        raise ValueError("a site is named twice")
    used = [s for s in sites if s.effect is not None]
    k = len(used)
    left_out = {s.site: s.left_out for s in sites if s.left_out is not None}
    model = f"random effects over {k} sites, {scale} scale, {TAU2_NAMES[tau2]}"
    fields = _fields(used, unit, level)
    test_name = "Cochran Q"
    blocked = next((s.left_out for s in sites if s.blocks), None)
    if k < 2 or blocked is not None:
        reason = "no site gives an estimate" if k == 0 else "one site gives an estimate: sites cannot be compared"
        reason = blocked or reason
        none = Estimate.not_estimable(reason, method=model, **fields)
        test = TestOutcome(
            name="site heterogeneity",
            statistic=None,
            p_value=None,
            method=test_name,
            endpoint=endpoint,
            undefined=reason,
        )
        return SiteHeterogeneity(
            average=none,
            prediction=none,
            tau=none,
            i2=none,
            test=test,
            scale=scale,
            sites=tuple(sites),
            weights={},
            left_out=left_out,
        )
    y = np.array([s.effect for s in used], dtype=np.float64)
    v = np.array([s.variance for s in used], dtype=np.float64)
    fit = pool(y, v, tau2=tau2, interval=interval, level=level)
    back = FROM_SCALE[scale]
    name = f"{model}, {INTERVAL_NAMES[interval]}"
    if fit.high - fit.low <= 1e-12 * max(1.0, abs(fit.mean)):
        average = Estimate(
            value=back(fit.mean), interval_undefined="all sites have the same estimate", method=name, **fields
        )
    else:
        average = Estimate(value=back(fit.mean), low=back(fit.low), high=back(fit.high), method=name, **fields)
    tau, i2 = _spread(fit, y, v, level, model, fields)
    return SiteHeterogeneity(
        average=average,
        prediction=_prediction(fit, level, back, model, fields),
        tau=tau,
        i2=i2,
        test=TestOutcome(
            name="site heterogeneity",
            statistic=fit.q,
            p_value=fit.q_p_value,
            method=f"{test_name}, {k - 1} df",
            endpoint=endpoint,
        ),
        scale=scale,
        sites=tuple(sites),
        weights={s.site: float(w) for s, w in zip(used, fit.weight, strict=True)},
        left_out=left_out,
    )


def _fields(used: Sequence[SiteEffect], unit: Unit, level: float) -> dict[str, Any]:
    """Counts over the sites in the model."""
    fields: dict[str, Any] = {"n": sum(s.estimate.n for s in used), "unit": unit, "level": level}
    for name in ("n_positive", "n_negative", "n_patients"):
        values = [getattr(s.estimate, name) for s in used]
        fields[name] = None if not values or None in values else sum(values)
    return fields


def _prediction(
    fit: RandomEffects, level: float, back: Callable[[float], float], model: str, fields: dict[str, Any]
) -> Estimate:
    method = f"{model}, prediction interval for a new site, t on {max(fit.k - 2, 0)} df"
    if fit.k < 3:
        reason = "a prediction interval needs at least 3 sites"
        return Estimate(value=back(fit.mean), interval_undefined=reason, method=method, **fields)
    low, high = prediction_limits(fit, level)
    if high - low <= 1e-12 * max(1.0, abs(fit.mean)):
        reason = "all sites have the same estimate"
        return Estimate(value=back(fit.mean), interval_undefined=reason, method=method, **fields)
    return Estimate(value=back(fit.mean), low=back(low), high=back(high), method=method, **fields)


def _spread(
    fit: RandomEffects, y: NDArray[np.float64], v: NDArray[np.float64], level: float, model: str, fields: dict[str, Any]
) -> tuple[Estimate, Estimate]:
    """tau and I² with the limits of tau² by Q-profile; a point outside them (REML may be) widens them to itself."""
    low, high = q_profile(y, v, level)
    method = f"{model}, Q-profile"
    low, high = min(low, fit.tau2), max(high, fit.tau2)

    def share(t: float) -> float:
        return t / (t + fit.typical)

    if high == 0.0:
        reason = "the sites are closer to each other than chance alone makes likely"
        return tuple(  # type: ignore[return-value]
            Estimate(value=0.0, interval_undefined=reason, method=method, **fields) for _ in range(2)
        )
    return (
        Estimate(value=math.sqrt(fit.tau2), low=math.sqrt(low), high=math.sqrt(high), method=method, **fields),
        Estimate(value=fit.i2, low=share(low), high=share(high), method=method, **fields),
    )


def leave_one_site_out(
    sites: Sequence[SiteEffect],
    *,
    scale: Scale = "logit",
    tau2: Tau2Method = "reml",
    interval: PooledInterval = "hartung-knapp-modified",
    level: float = 0.95,
    unit: Unit = "case",
) -> tuple[LeftOut, ...]:
    """The model refitted without each site in turn, and whether that site is where the others predict it.

    The site's own estimate is compared with the prediction interval of the others with its own sampling variance added:
    a small site may lie further out by chance.
    """
    made = []
    z = z_two_sided(check_level(level))
    for s in sites:
        others = [o for o in sites if o.site != s.site]
        fitted = site_heterogeneity(others, scale=scale, tau2=tau2, interval=interval, level=level, unit=unit)
        within: bool | None = None
        p = fitted.prediction
        if s.effect is not None and s.variance is not None and p.value is not None and p.low is not None:
            assert p.high is not None
            centre = TO_SCALE[scale](p.value)
            edge = TO_SCALE[scale](p.low if s.effect < centre else p.high)
            within = abs(s.effect - centre) <= math.hypot(edge - centre, z * math.sqrt(s.variance))
        made.append(
            LeftOut(
                site=s.site,
                own=s.estimate,
                others=fitted.average,
                prediction=fitted.prediction,
                within_prediction=within,
            )
        )
    return tuple(made)


def leave_one_group_out(
    group: ArrayLike, statistic: Callable[[NDArray[np.bool_]], Estimate]
) -> dict[str, tuple[Estimate, Estimate]]:
    """For each group (site, camera, reader): the statistic on its own cases, and on all other cases.

    Parameters
    ----------
    group
        (n,) labels.
    statistic
        Makes an estimate from an (n,) bool mask of cases; it may be not estimable.
    """
    labels = np.asarray(group)
    if labels.ndim != 1:
        raise ValueError(f"group holds one label per case, got shape {labels.shape}")
    names, index = site_index(labels, labels.size)
    return {name: (statistic(index == i), statistic(index != i)) for i, name in enumerate(names)}

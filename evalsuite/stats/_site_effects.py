"""Each site's estimate as it enters a model over sites: its effect on a chosen scale and its sampling variance."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalsuite.stats._means import patient_index
from evalsuite.stats._normal import expit, logit, z_two_sided
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.roc import auroc, auroc_variance
from evalsuite.types import Estimate, Unit

Scale = Literal["logit", "identity", "log"]

TO_SCALE: dict[str, Callable[[float], float]] = {"logit": logit, "identity": float, "log": math.log}
FROM_SCALE: dict[str, Callable[[float], float]] = {"logit": expit, "identity": float, "log": math.exp}


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteEffect:
    """One site: its estimate as reported, and the effect and sampling variance that enter the model.

    `effect` is on the model's scale; it is None, with a reason in `left_out`, where the site says nothing about the
    metric (no positives, one patient). `blocks` says that leaving it out would bias the average, as with a perfect site
    on the logit scale: there is then no model.
    """

    site: str
    estimate: Estimate
    effect: float | None
    variance: float | None
    left_out: str | None = None
    blocks: bool = False

    def __post_init__(self) -> None:
        if (self.effect is None) == (self.left_out is None):
            raise ValueError("a site has an effect or a reason why it has none")
        if self.effect is None:
            return
        if self.variance is None or not math.isfinite(self.effect) or not 0.0 < self.variance < math.inf:
            raise ValueError(f"site {self.site!r} needs a finite effect with a positive variance")


def check_scale(scale: str) -> None:
    if scale not in get_args(Scale):
        raise ValueError(f"scale is one of {', '.join(get_args(Scale))}; got {scale!r}")


def site_index(site: ArrayLike, n: int) -> tuple[list[str], NDArray[np.intp]]:
    labels = np.asarray(site)
    if labels.shape != (n,):
        raise ValueError(f"site has shape {labels.shape}, expected ({n},)")
    names, index = np.unique(labels, return_inverse=True)
    return [str(s) for s in names], index.reshape(-1)


def proportion_effects(
    success: ArrayLike,
    site: ArrayLike,
    *,
    patient: ArrayLike | None = None,
    scale: Literal["logit", "identity"] = "logit",
    level: float = 0.95,
    unit: Unit = "case",
) -> tuple[SiteEffect, ...]:
    """The proportion of successes at each site, as a logit or as it is, with its variance.

    Counts are divided by the site's design effect where patients have several cases. A site at 0 or 1 gets half a case
    added to both counts, for its effect only: its own estimate stays what it is. On the identity scale the variance is
    p(1 - p)/n of the counts that enter.

    Parameters
    ----------
    success, site, patient
        (n,) bool; the site and the patient of each case.
    """
    if scale not in ("logit", "identity"):
        raise ValueError(f"scale is logit or identity, got {scale!r}")
    y = np.asarray(success).astype(bool)
    if y.ndim != 1 or not np.isin(np.asarray(success), (0, 1)).all():
        raise ValueError("success holds one true or false per case")
    names, index = site_index(site, y.size)
    patients = patient_index(patient, y.size)
    made = []
    for i, name in enumerate(names):
        here = index == i
        made.append(_of_share(name, clustered_proportion(y[here], patients[here], level=level, unit=unit), scale))
    return tuple(made)


def effects_of_shares(
    estimates: Mapping[str, Estimate], *, scale: Literal["logit", "identity"] = "logit"
) -> tuple[SiteEffect, ...]:
    """As `proportion_effects`, from each site's estimated share with its counts and design effect.

    A site without an estimate is left out with its reason. ValueError for an estimate that holds no counts.
    """
    if scale not in ("logit", "identity"):
        raise ValueError(f"scale is logit or identity, got {scale!r}")
    return tuple(_of_share(site, e, scale) for site, e in estimates.items())


def _of_share(site: str, e: Estimate, scale: str) -> SiteEffect:
    if e.value is None or e.design_effect is None:
        why = e.undefined or e.interval_undefined or "variation between patients cannot be seen"
        return SiteEffect(site=site, estimate=e, effect=None, variance=None, left_out=why)
    if e.numerator is None or e.denominator is None:
        raise ValueError(f"site {site!r}: a share needs its counts")
    yes, no = (count / e.design_effect for count in (e.numerator, e.denominator - e.numerator))
    if yes == 0 or no == 0:
        yes, no = yes + 0.5, no + 0.5
    total = yes + no
    effect, variance = (
        (math.log(yes / no), 1.0 / yes + 1.0 / no) if scale == "logit" else (yes / total, yes * no / total**3)
    )
    return SiteEffect(site=site, estimate=e, effect=effect, variance=variance)


def auroc_effects(
    reference: ArrayLike,
    score: ArrayLike,
    site: ArrayLike,
    *,
    patient: ArrayLike | None = None,
    scale: Scale = "logit",
    level: float = 0.95,
    unit: Unit = "case",
) -> tuple[SiteEffect, ...]:
    """The AUROC at each site with its DeLong (several cases per patient: Obuchowski) variance.

    Sites of one class, or with a class in a single patient, are left out with the reason. A perfect site has no DeLong
    variance: its variance comes from Newcombe's interval on the identity scale; on the logit scale it makes the whole
    model not estimable (leaving the best site out would bias it).
    """
    check_scale(scale)
    truth, values = np.asarray(reference), np.asarray(score, dtype=np.float64)
    names, index = site_index(site, truth.size)
    patients = None if patient is None else patient_index(patient, truth.size)
    made = []
    for i, name in enumerate(names):
        here = index == i
        cluster = None if patients is None else patients[here]
        e = auroc(truth[here], values[here], cluster=cluster, level=level, unit=unit)
        spread = auroc_variance(truth[here], values[here], cluster=cluster)
        if e.value is not None and spread is not None and spread.robust and 0.0 < e.value < 1.0:
            slope = {"logit": 1.0 / (e.value * (1.0 - e.value)), "identity": 1.0, "log": 1.0 / e.value}[scale]
            made.append(
                SiteEffect(site=name, estimate=e, effect=TO_SCALE[scale](e.value), variance=spread.robust * slope**2)
            )
        else:
            made += effects_of_estimates({name: e}, scale=scale)
    return tuple(made)


def effects_by_delta(estimates: Mapping[str, Estimate]) -> tuple[SiteEffect, ...]:
    """Logit effects of figures between 0 and 1, their variance read from the width of the interval itself.

    It is carried to the logit scale by the delta method, so that an interval that reaches 1 is no obstacle. A figure of
    0 or 1 is treated as `effects_of_estimates` treats it.
    """
    made: list[SiteEffect] = []
    for site, e in estimates.items():
        (plain,) = effects_of_estimates({site: e}, scale="identity")
        if plain.effect is None or plain.variance is None or not 0.0 < plain.effect < 1.0:
            made += effects_of_estimates({site: e}, scale="logit")
            continue
        slope = 1.0 / (plain.effect * (1.0 - plain.effect))
        made.append(SiteEffect(site=site, estimate=e, effect=logit(plain.effect), variance=plain.variance * slope**2))
    return tuple(made)


def effects_of_estimates(estimates: Mapping[str, Estimate], *, scale: Scale) -> tuple[SiteEffect, ...]:
    """Site effects from estimates of any metric, the variance read back from the width of the interval on `scale`.

    Exact for intervals that are symmetric on that scale (Wald, t with many patients), approximate otherwise. Estimates
    without value or interval are left out with the reason; one whose interval reaches a value that the scale sends to
    infinity (1 on the logit scale) leaves no model at all: give proportions as counts (`proportion_effects`) or use the
    identity scale.
    """
    check_scale(scale)
    made = []
    for site, e in estimates.items():
        why = e.undefined or (e.interval_undefined or "no interval" if e.low is None or e.high is None else None)
        if why is not None or e.value is None or e.low is None or e.high is None:
            made.append(SiteEffect(site=site, estimate=e, effect=None, variance=None, left_out=why or "no interval"))
            continue
        if (scale == "logit" and not 0.0 < e.low <= e.high < 1.0) or (scale == "log" and not e.low > 0.0):
            why = f"site {site}: {e.value:.4g} ({e.low:.4g} to {e.high:.4g}) has no finite {scale}"
            made.append(SiteEffect(site=site, estimate=e, effect=None, variance=None, left_out=why, blocks=True))
            continue
        width = TO_SCALE[scale](e.high) - TO_SCALE[scale](e.low)
        if width <= 0:
            raise ValueError(f"site {site!r} has an interval without width")
        variance = (width / (2.0 * z_two_sided(e.level))) ** 2
        made.append(SiteEffect(site=site, estimate=e, effect=TO_SCALE[scale](e.value), variance=variance))
    return tuple(made)

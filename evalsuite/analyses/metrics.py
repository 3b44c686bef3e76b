"""Each metric's estimate for one stratum: which statistic, which interval, and when it is not estimable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np

from evalsuite.analyses.population import Bools, Ints, Looks, Scenario
from evalsuite.protocol.schema import AurocInterval, Confidence, Endpoint
from evalsuite.stats import calibration, calibration_error, decision_curve, predictive, roc, roc_operating
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.proportions import ProportionMethod
from evalsuite.types import Estimate

Needs = Literal["positives", "negatives", "both", "any"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One scenario restricted to one stratum, and how its intervals are to be made."""

    reference: Bools
    score: np.ndarray
    call: Bools | None
    probability: np.ndarray | None
    patient_index: Ints
    confidence: Confidence
    level: float
    threshold: float | None = None
    seed: int = 0

    @property
    def n_positive(self) -> int:
        return int(self.reference.sum())

    @property
    def n_negative(self) -> int:
        return len(self.reference) - self.n_positive

    @property
    def n_patients(self) -> int:
        return len(np.unique(self.patient_index))

    def counts(self) -> dict[str, Any]:
        return {"n_positive": self.n_positive, "n_negative": self.n_negative, "n_patients": self.n_patients}


def cut(
    whole: Scenario,
    mask: Bools,
    patient_index: Ints,
    confidence: Confidence,
    *,
    threshold: float | None = None,
    seed: int = 0,
) -> Cut:
    """The cases of `whole` that count and lie in `mask`. `threshold` is that of the call, `seed` the protocol's."""
    m = mask & whole.include
    return Cut(
        reference=whole.reference[m],
        score=whole.score[m],
        call=None if whole.call is None else whole.call[m],
        probability=None if whole.probability is None else whole.probability[m],
        patient_index=patient_index[m],
        confidence=confidence,
        level=two_sided_level(confidence),
        threshold=threshold,
        seed=seed,
    )


def two_sided_level(confidence: Confidence) -> float:
    """Level of the two-sided interval whose ends are the protocol's bounds: one-sided 97.5 % is two-sided 95 %."""
    return confidence.level if confidence.sided == "two" else 2.0 * confidence.level - 1.0


def _proportion(success: Bools, c: Cut, among: Bools, endpoint: Endpoint, empty: str) -> Estimate:
    if not among.any():
        return Estimate.not_estimable(empty, n=0, level=c.level, n_patients=0)
    return clustered_proportion(
        success[among],
        c.patient_index[among],
        level=c.level,
        method=cast(ProportionMethod, endpoint.interval or c.confidence.proportion),
        n_positive=int(c.reference[among].sum()),
        n_negative=int((~c.reference[among]).sum()),
    )


def _called(c: Cut) -> Bools:
    if c.call is None:
        raise ValueError("this metric needs an operating point")
    return c.call


def _sensitivity(c: Cut, e: Endpoint) -> Estimate:
    return _proportion(_called(c), c, c.reference, e, "no reference-positive cases")


def _specificity(c: Cut, e: Endpoint) -> Estimate:
    return _proportion(~_called(c), c, ~c.reference, e, "no reference-negative cases")


def _ppv(c: Cut, e: Endpoint) -> Estimate:
    if e.prevalence is not None:
        return _predictive("ppv", c, e)
    return _proportion(c.reference, c, _called(c), e, "no case is called positive")


def _npv(c: Cut, e: Endpoint) -> Estimate:
    if e.prevalence is not None:
        return _predictive("npv", c, e)
    return _proportion(~c.reference, c, ~_called(c), e, "no case is called negative")


def _accuracy(c: Cut, e: Endpoint) -> Estimate:
    return _proportion(_called(c) == c.reference, c, np.ones(len(c.reference), dtype=bool), e, "no cases")


def _prevalence(c: Cut, e: Endpoint) -> Estimate:
    return _proportion(c.reference, c, np.ones(len(c.reference), dtype=bool), e, "no cases")


def _call_rate(c: Cut, e: Endpoint) -> Estimate:
    return _proportion(_called(c), c, np.ones(len(c.reference), dtype=bool), e, "no cases")


def _confusion(c: Cut) -> dict[str, Any]:
    called = _called(c)
    return {
        "tp": int((called & c.reference).sum()),
        "fn": int((~called & c.reference).sum()),
        "tn": int((~called & ~c.reference).sum()),
        "fp": int((called & ~c.reference).sum()),
    }


def _predictive(kind: Literal["ppv", "npv"], c: Cut, e: Endpoint) -> Estimate:
    assert e.prevalence is not None
    q = _confusion(c)
    called = _called(c)
    return predictive.predictive_value(
        kind,
        true_positive=q["tp"],
        n_positive=c.n_positive,
        true_negative=q["tn"],
        n_negative=c.n_negative,
        prevalence=e.prevalence,
        level=c.level,
        design_effect_positive=_design_effect(called[c.reference], c.patient_index[c.reference], c.level),
        design_effect_negative=_design_effect(~called[~c.reference], c.patient_index[~c.reference], c.level),
        n_patients=c.n_patients,
    )


def _design_effect(success: Bools, patient: Ints, level: float) -> float:
    """By how much cases of one patient count less than independent ones; 1 where every case is a patient."""
    if len(np.unique(patient)) == len(patient):
        return 1.0
    seen = clustered_proportion(success, patient, level=level)
    # One patient only: no variance between patients was seen, so the cases count as that one patient.
    return float(len(patient)) if seen.design_effect is None else seen.design_effect


def _likelihood_ratio(kind: Literal["positive", "negative"]) -> Callable[[Cut, Endpoint], Estimate]:
    def estimate(c: Cut, e: Endpoint) -> Estimate:
        return predictive.likelihood_ratio(kind, **_confusion(c), level=c.level, n_patients=c.n_patients)

    return estimate


def _auroc(c: Cut, e: Endpoint) -> Estimate:
    method = cast(AurocInterval, e.interval or c.confidence.auroc)
    return roc.auroc(c.reference, c.score, level=c.level, method=method, cluster=c.patient_index, **c.counts())


def _fit(function: Callable[..., Estimate]) -> Callable[[Cut, Endpoint], Estimate]:
    def estimate(c: Cut, e: Endpoint) -> Estimate:
        if c.probability is None:
            return Estimate.not_estimable(
                "the score is not a probability", n=len(c.reference), level=c.level, **c.counts()
            )
        return function(c.reference, c.probability, level=c.level, cluster=c.patient_index)

    return estimate


def _resampled(c: Cut, e: Endpoint) -> dict[str, Any]:
    """Options of statistics that bring their own patient bootstrap."""
    chosen = e.interval if e.interval in ("percentile", "basic", "bca") else "percentile"
    return {
        "level": c.level,
        "method": chosen,
        "replicates": c.confidence.bootstrap.replicates,
        "seed": c.seed,
        "cluster": c.patient_index,
    }


def _partial_auroc(c: Cut, e: Endpoint) -> Estimate:
    assert e.range is not None, "the protocol's loader requires it"
    return roc_operating.partial_auroc(
        c.reference, c.score, focus=e.over or "specificity", range=e.range, corrected=True, **_resampled(c, e)
    )


def _sensitivity_at(c: Cut, e: Endpoint) -> Estimate:
    assert e.specificity is not None, "the protocol's loader requires it"
    return roc_operating.sensitivity_at_specificity(c.reference, c.score, e.specificity, **_resampled(c, e))


def _specificity_at(c: Cut, e: Endpoint) -> Estimate:
    assert e.sensitivity is not None, "the protocol's loader requires it"
    return roc_operating.specificity_at_sensitivity(c.reference, c.score, e.sensitivity, **_resampled(c, e))


def _net_benefit(c: Cut, e: Endpoint) -> Estimate:
    assert c.threshold is not None, "the protocol's loader requires it"
    assert c.probability is not None, "cells without probabilities are not estimable"
    return decision_curve.net_benefit(
        c.reference, c.probability, c.threshold, prevalence=e.prevalence, **_resampled(c, e)
    )


def _smooth(statistic: calibration_error.SmoothStatistic) -> Callable[[Cut, Endpoint], Estimate]:
    def estimate(c: Cut, e: Endpoint) -> Estimate:
        assert c.probability is not None, "cells without probabilities are not estimable"
        # A local regression per replicate is slow; 500 replicates put the Monte Carlo error far below the interval.
        return calibration_error.smooth_error(
            c.reference,
            c.probability,
            statistic,
            level=c.level,
            cluster=c.patient_index,
            replicates=min(500, c.confidence.bootstrap.replicates),
            seed=c.seed,
        )

    return estimate


def _spiegelhalter(c: Cut, e: Endpoint) -> Estimate:
    assert c.probability is not None, "cells without probabilities are not estimable"
    n = len(c.reference)
    if c.n_patients < n:
        return Estimate.not_estimable("assumes one case per patient", n=n, level=c.level, **c.counts())
    test = calibration_error.spiegelhalter(c.reference, c.probability)
    if test.statistic is None:
        return Estimate.not_estimable(test.undefined or "no variance", n=n, level=c.level, **c.counts())
    return Estimate(
        value=test.statistic,
        interval_undefined=f"a test statistic, not an estimate: p = {test.p_value:.4g}",
        method=test.method,
        n=n,
        level=c.level,
        **c.counts(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """How a metric is estimated. `direct` is the closed form; without one the shared patient bootstrap serves.

    `clustered_by_bootstrap`: the closed form assumes one case per patient, so that with several the bootstrap is used.
    """

    looks: Looks
    needs: Needs
    needs_call: bool = False
    needs_probability: bool = False
    direct: Callable[[Cut, Endpoint], Estimate] | None = None
    clustered_by_bootstrap: bool = False


COMPUTABLE: dict[str, Metric] = {
    "sensitivity": Metric(looks="positives", needs="positives", needs_call=True, direct=_sensitivity),
    "specificity": Metric(looks="negatives", needs="negatives", needs_call=True, direct=_specificity),
    "ppv": Metric(looks="call", needs="both", needs_call=True, direct=_ppv),
    "npv": Metric(looks="call", needs="both", needs_call=True, direct=_npv),
    "accuracy": Metric(looks="call", needs="both", needs_call=True, direct=_accuracy),
    "prevalence": Metric(looks="call", needs="any", direct=_prevalence),
    "call_rate": Metric(looks="call", needs="any", needs_call=True, direct=_call_rate),
    "lr_positive": Metric(
        looks="call",
        needs="both",
        needs_call=True,
        direct=_likelihood_ratio("positive"),
        clustered_by_bootstrap=True,
    ),
    "lr_negative": Metric(
        looks="call",
        needs="both",
        needs_call=True,
        direct=_likelihood_ratio("negative"),
        clustered_by_bootstrap=True,
    ),
    "balanced_accuracy": Metric(looks="call", needs="both", needs_call=True),
    "f1": Metric(looks="call", needs="both", needs_call=True),
    "mcc": Metric(looks="call", needs="both", needs_call=True),
    "kappa": Metric(looks="call", needs="both", needs_call=True),
    "youden": Metric(looks="call", needs="both", needs_call=True),
    "auroc": Metric(looks="rank", needs="both", direct=_auroc),
    "average_precision": Metric(looks="rank", needs="both"),
    "partial_auroc": Metric(looks="rank", needs="both", direct=_partial_auroc),
    "sensitivity_at_specificity": Metric(looks="rank", needs="both", direct=_sensitivity_at),
    "specificity_at_sensitivity": Metric(looks="rank", needs="both", direct=_specificity_at),
    "net_benefit": Metric(
        looks="probability", needs="any", needs_call=True, needs_probability=True, direct=_net_benefit
    ),
    "ici": Metric(looks="fit", needs="both", needs_probability=True, direct=_smooth("ici")),
    "e50": Metric(looks="fit", needs="both", needs_probability=True, direct=_smooth("e50")),
    "e90": Metric(looks="fit", needs="both", needs_probability=True, direct=_smooth("e90")),
    "spiegelhalter_z": Metric(looks="fit", needs="both", needs_probability=True, direct=_spiegelhalter),
    "brier": Metric(looks="probability", needs="any", needs_probability=True),
    "log_loss": Metric(looks="probability", needs="any", needs_probability=True),
    "ece": Metric(looks="probability", needs="any", needs_probability=True),
    "mce": Metric(looks="probability", needs="any", needs_probability=True),
    "calibration_slope": Metric(
        looks="fit", needs="both", needs_probability=True, direct=_fit(calibration.calibration_slope)
    ),
    "calibration_intercept": Metric(
        looks="fit", needs="both", needs_probability=True, direct=_fit(calibration.calibration_intercept)
    ),
    "observed_expected": Metric(looks="fit", needs="both", needs_probability=True),
}

#: The standard table of a binary study: what a reviewer expects even where the protocol does not name it.
STANDARD_AT_POINT = ("sensitivity", "specificity", "ppv", "npv", "accuracy", "lr_positive", "lr_negative")
STANDARD_OVERALL = (
    "auroc",
    "average_precision",
    "brier",
    "calibration_intercept",
    "calibration_slope",
    "ece",
    "prevalence",
)

__all__ = [
    "COMPUTABLE",
    "STANDARD_AT_POINT",
    "STANDARD_OVERALL",
    "Cut",
    "Metric",
    "cut",
    "two_sided_level",
]

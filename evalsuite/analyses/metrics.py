"""Each metric's estimate for one stratum: which statistic, which interval, and when it is not estimable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np

from evalsuite.analyses.arrival import by_patient
from evalsuite.analyses.cuts import Cut, cut, stratifiable, two_sided_level
from evalsuite.analyses.population import Bools, Ints, Looks
from evalsuite.analyses.probability_metrics import OF_PROBABILITIES, ONE_CLASS_WILL_DO, UTILITY
from evalsuite.protocol.checks import SEQUENCE
from evalsuite.protocol.schema import AurocInterval, Endpoint
from evalsuite.stats import contingency, predictive, roc, roc_operating
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.proportions import ProportionMethod
from evalsuite.stats.sequential import confidence_sequence
from evalsuite.types import Estimate

Needs = Literal["positives", "negatives", "both", "any"]


def _proportion(success: Bools, c: Cut, among: Bools, endpoint: Endpoint, empty: str) -> Estimate:
    if not among.any():
        return Estimate.not_estimable(empty, n=0, level=c.level, n_patients=0)
    if endpoint.interval == SEQUENCE:
        return _share_at_every_look(success[among], c, among)
    return clustered_proportion(
        success[among],
        c.patient_index[among],
        level=c.level,
        method=cast(ProportionMethod, endpoint.interval or c.confidence.proportion),
        n_positive=int(c.reference[among].sum()),
        n_negative=int((~c.reference[among]).sum()),
    )


def _share_at_every_look(success: Bools, c: Cut, among: Bools) -> Estimate:
    """Limits that hold however often one looks. Cases are in the order in which their labels arrived; a patient, who
    counts once with their share of correct calls, is complete with their last case."""
    weight = None if c.weight is None else c.weight[among]
    good, cases, weights = by_patient(success, c.patient_index[among], weight)
    found = confidence_sequence(
        good, cases, level=c.level, weights=weights, most_weight=None if weights is None else 1.0
    )
    return replace(found, n_positive=int(c.reference[among].sum()), n_negative=int((~c.reference[among]).sum()))


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


def _table_figure(figure: Callable[..., Estimate], **default: Any) -> Callable[[Cut, Endpoint], Estimate]:
    """A summary of the two-by-two table in closed form; the interval named at the endpoint is its `method`."""

    def estimate(c: Cut, e: Endpoint) -> Estimate:
        more = {"method": e.interval or default["method"]} if default else {}
        return figure(**_confusion(c), level=c.level, n_patients=c.n_patients, **more)

    return estimate


def _auroc(c: Cut, e: Endpoint) -> Estimate:
    method = cast(AurocInterval, e.interval or c.confidence.auroc)
    return roc.auroc(c.reference, c.score, level=c.level, method=method, cluster=c.patient_index, **c.counts())


def _partial_auroc(c: Cut, e: Endpoint) -> Estimate:
    assert e.range is not None, "the protocol's loader requires it"
    return roc_operating.partial_auroc(
        c.reference, c.score, focus=e.over or "specificity", range=e.range, corrected=True, **stratifiable(c, e)
    )


def _sensitivity_at(c: Cut, e: Endpoint) -> Estimate:
    assert e.specificity is not None, "the protocol's loader requires it"
    return roc_operating.sensitivity_at_specificity(c.reference, c.score, e.specificity, **stratifiable(c, e))


def _specificity_at(c: Cut, e: Endpoint) -> Estimate:
    assert e.sensitivity is not None, "the protocol's loader requires it"
    return roc_operating.specificity_at_sensitivity(c.reference, c.score, e.sensitivity, **stratifiable(c, e))


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """How a metric is estimated. `direct` is the closed form; without one the shared patient bootstrap serves.

    `clustered_by_bootstrap`: the closed form assumes one case per patient, so that with several the bootstrap is used.
    `only_if_asked`: the closed form serves where an endpoint names its interval, else the bootstrap.
    """

    looks: Looks
    needs: Needs
    needs_call: bool = False
    needs_probability: bool = False
    direct: Callable[[Cut, Endpoint], Estimate] | None = None
    clustered_by_bootstrap: bool = False
    only_if_asked: bool = False


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
    "balanced_accuracy": Metric(
        looks="call",
        needs="both",
        needs_call=True,
        direct=_table_figure(contingency.balanced_accuracy, method="newcombe"),
        clustered_by_bootstrap=True,
    ),
    "f1": Metric(
        looks="call",
        needs="both",
        needs_call=True,
        direct=_table_figure(contingency.f1, method="wilson"),
        only_if_asked=True,
        clustered_by_bootstrap=True,
    ),
    "mcc": Metric(
        looks="call",
        needs="both",
        needs_call=True,
        direct=_table_figure(contingency.mcc),
        clustered_by_bootstrap=True,
    ),
    "kappa": Metric(
        looks="call",
        needs="both",
        needs_call=True,
        direct=_table_figure(contingency.cohen_kappa),
        only_if_asked=True,
        clustered_by_bootstrap=True,
    ),
    "youden": Metric(
        looks="call",
        needs="both",
        needs_call=True,
        direct=_table_figure(contingency.youden, method="newcombe"),
        clustered_by_bootstrap=True,
    ),
    "auroc": Metric(looks="rank", needs="both", direct=_auroc),
    "average_precision": Metric(looks="rank", needs="both"),
    "partial_auroc": Metric(looks="rank", needs="both", direct=_partial_auroc),
    "sensitivity_at_specificity": Metric(looks="rank", needs="both", direct=_sensitivity_at),
    "specificity_at_sensitivity": Metric(looks="rank", needs="both", direct=_specificity_at),
    "brier": Metric(looks="probability", needs="any", needs_probability=True),
    "log_loss": Metric(looks="probability", needs="any", needs_probability=True),
    "ece": Metric(looks="probability", needs="any", needs_probability=True),
    "mce": Metric(looks="probability", needs="any", needs_probability=True),
    "observed_expected": Metric(looks="fit", needs="both", needs_probability=True),
    **{
        name: Metric(
            looks="fit" if name not in UTILITY else "probability",
            needs="any" if name in ONE_CLASS_WILL_DO else "both",
            needs_call=name in UTILITY,
            needs_probability=True,
            direct=direct,
        )
        for name, direct in OF_PROBABILITIES.items()
    },
    # Agreement with a comparator that is no reference standard: the same figures under their proper names.
    "ppa": Metric(looks="positives", needs="positives", needs_call=True, direct=_sensitivity),
    "npa": Metric(looks="negatives", needs="negatives", needs_call=True, direct=_specificity),
    "opa": Metric(looks="call", needs="any", needs_call=True, direct=_accuracy),
}

#: The standard table of a binary study: what a reviewer expects even where the protocol does not name it.
STANDARD_AT_POINT = ("sensitivity", "specificity", "ppv", "npv", "accuracy", "lr_positive", "lr_negative")
#: With a comparator that is no reference standard nothing may be called a sensitivity.
STANDARD_AGREEMENT = ("ppa", "npa", "opa")
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
    "STANDARD_AGREEMENT",
    "STANDARD_AT_POINT",
    "STANDARD_OVERALL",
    "Cut",
    "Metric",
    "cut",
    "two_sided_level",
]

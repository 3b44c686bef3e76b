"""Comparisons with a baseline as a protocol states them, and the acceptance criteria their hypotheses mean."""

from __future__ import annotations

from typing import get_args

from evalsuite.protocol.metrics import METRICS
from evalsuite.protocol.schema import BootstrapInterval, Comparison, Criterion, Endpoint, Guard, StudyProtocol

SUFFIX = "_difference"
#: What the ratio of two shares is named with.
RATIO = "_ratio"
#: What findings of a difference carry as `reference_group`: the last version or a predicate, and the first version.
BASELINE, ORIGINAL = "baseline", "original"

#: Interval methods of the patient bootstrap.
BOOTSTRAPPED: tuple[str, ...] = get_args(BootstrapInterval)
#: Shares of cases: a pair of devices is right and wrong on each, so that score intervals and McNemar's test serve.
SHARES = (
    *("sensitivity", "specificity", "accuracy"),
    *("top_k_accuracy", "adjacent_agreement", "subset_accuracy", "coverage_probability"),
    *("lesion_sensitivity", "patient_detection", "case_sensitivity", "case_specificity"),
)

#: Metrics of which a paired difference (candidate minus baseline) is estimated. Expected calibration errors are not
#: among them: resampling inflates each by another amount, so that an interval of their difference would miss.
COMPARABLE = (
    "sensitivity",
    "specificity",
    "accuracy",
    "ppv",
    "npv",
    "balanced_accuracy",
    "youden",
    "f1",
    "mcc",
    "kappa",
    "auroc",
    "average_precision",
    "brier",
    "log_loss",
    "net_benefit",
    *("top_k_accuracy", "hand_till", "multiclass_brier", "subset_accuracy", "hamming_loss"),
    *("adjacent_agreement", "quadratic_kappa", "linear_kappa", "kendall_tau_b", "gwet_ac2", "vus", "rps"),
    *("bias", "mae", "rmse", "ccc", "icc", "tdi", "coverage_probability"),
    *("dice", "iou", "boundary_iou", "cldice", "hd", "hd95", "assd", "masd", "nsd"),
    *("volume_error", "relative_volume_error"),
    *("lesion_sensitivity", "patient_detection", "case_sensitivity", "case_specificity", "case_auroc"),
    *("false_positives_per_case", "false_positives_per_normal_case", "false_positives_per_abnormal_case"),
    *("froc_sensitivity", "cpm", "lesion_average_precision", "lroc", "afroc", "wafroc", "mark_ppv", "mark_f1"),
    *("panoptic_quality", "segmentation_quality"),
    *(
        f"{average}_{metric}"
        for average in ("macro", "weighted", "micro")
        for metric in ("sensitivity", "specificity", "ppv", "npv", "f1", "auroc", "average_precision")
    ),
)

#: Shares of one device's marks that the other one has too, found beside every comparison of marks.
OVERLAPS = {"tp_mark_overlap": "Marks on lesions", "fp_mark_overlap": "False marks"}


def compared_metric(comparison: Comparison) -> str:
    """The metric of which the difference is taken, whether or not the protocol wrote `_difference`."""
    return comparison.metric.removesuffix(SUFFIX)


def is_difference(metric: str) -> bool:
    """Whether this is the name of a difference between candidate and baseline."""
    return metric.endswith(SUFFIX)


def criteria(comparison: Comparison) -> tuple[Criterion, ...]:
    """The criteria on candidate minus baseline: the one written, or those that hypothesis and margin mean.

    With a metric where higher is better: superiority is a lower bound above the margin (0 unless given),
    non-inferiority a lower bound above minus the margin, equivalence both bounds within ± the margin. Where lower is
    better (Brier score), the sides change.
    """
    if comparison.criterion is not None:
        return (comparison.criterion,)
    return implied_criteria(comparison)


def implied_criteria(comparison: Comparison) -> tuple[Criterion, ...]:
    """The criteria that hypothesis and margin mean; empty without a hypothesis or for an unknown metric."""
    info = METRICS.get(compared_metric(comparison))
    if comparison.hypothesis is None or info is None:
        return ()
    margin = comparison.margin or 0.0
    why = comparison.rationale

    def lower(goal: float) -> Criterion:
        return Criterion(bound="lower", op=">", value=goal, justification=why)

    def upper(goal: float) -> Criterion:
        return Criterion(bound="upper", op="<", value=goal, justification=why)

    better = info.higher_is_better is not False
    if comparison.hypothesis == "superiority":
        return (lower(margin),) if better else (upper(-margin),)
    if comparison.hypothesis == "non_inferiority":
        return (lower(-margin),) if better else (upper(margin),)
    return (lower(-margin), upper(margin))


def guard_criterion(comparison: Comparison, guard: Guard) -> Criterion:
    """Not worse by the margin or more: a lower bound above minus the margin, or where lower is better the reverse."""
    info = METRICS.get(compared_metric(comparison))
    if info is not None and info.higher_is_better is False:
        return Criterion(bound="upper", op="<", value=guard.margin, justification=guard.rationale)
    return Criterion(bound="lower", op=">", value=-guard.margin, justification=guard.rationale)


def difference_endpoints(comparison: Comparison) -> tuple[Endpoint, ...]:
    """The comparison as the judge sees it: one endpoint per criterion, all of one name; one without if there is none.

    Guards are further ones, each judged in every group of its stratum. Settings of estimation (prevalence, interval)
    stay with the comparison.
    """
    own = Endpoint(
        name=comparison.name,
        metric=f"{compared_metric(comparison)}{SUFFIX}",
        at=comparison.at,
        target=comparison.target,
        role=comparison.role,
        stratum=comparison.stratum,
        each=comparison.each,
        rationale=comparison.rationale,
    )
    return (
        *(own.model_copy(update={"criterion": c}) for c in (criteria(comparison) or (None,))),
        *(
            own.model_copy(
                update={
                    "criterion": guard_criterion(comparison, guard),
                    "stratum": {},
                    "each": guard.stratum,
                    "rationale": guard.rationale,
                }
            )
            for guard in comparison.guards
        ),
    )


def compared_with(protocol: StudyProtocol) -> tuple[str, ...]:
    """Which devices the protocol compares with: the baseline, the original, both or none."""
    return tuple(who for who in (BASELINE, ORIGINAL) if any(c.against == who for c in protocol.comparisons))


def point_pairs(protocol: StudyProtocol, who: str) -> tuple[tuple[str, str], ...]:
    """Operating points of the candidate and of `who` at which calls are compared, each pair once."""
    asked = [c for c in protocol.comparisons if c.against == who and c.at is not None]
    return tuple(dict.fromkeys((str(c.at), c.baseline_at or str(c.at)) for c in asked))


def as_endpoint(comparison: Comparison) -> Endpoint:
    """The metric that is compared, with its settings, as an endpoint of one device would ask for it."""
    return Endpoint(
        name=comparison.name,
        metric=compared_metric(comparison),
        at=comparison.at,
        target=comparison.target,
        interval=comparison.interval,
        prevalence=comparison.prevalence,
        top=comparison.top,
        maximum=comparison.maximum,
        tolerance=comparison.tolerance,
        coverage=comparison.coverage,
        false_positives=comparison.false_positives,
        counted_in=comparison.counted_in,
        definition=comparison.definition,
        quantile=comparison.quantile,
    )


def asked_endpoints(protocol: StudyProtocol) -> tuple[Endpoint, ...]:
    """Everything a criterion may be on: the protocol's endpoints, then its comparisons."""
    return (*protocol.endpoints, *(e for c in protocol.comparisons for e in difference_endpoints(c)))

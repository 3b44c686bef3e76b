"""The metrics a protocol may name: what each one means, what it needs, and which direction is better."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from evalsuite.protocol.metric_info import Family, MetricInfo
from evalsuite.protocol.metric_lesions import LESIONS
from evalsuite.protocol.metric_methods import INTERVALS, METHODS
from evalsuite.protocol.readers import READER_METRICS

__all__ = ["METRICS", "Family", "MetricInfo", "suggest_metric"]


def _called(name: str, title: str, definition: str, **more: Any) -> MetricInfo:
    return MetricInfo(name=name, title=title, definition=definition, needs_operating_point=True, **more)


def _share(name: str, title: str, definition: str, **more: Any) -> MetricInfo:
    return _called(name, title, definition, family="proportion", **more)


def _calibration(name: str, title: str, definition: str, **more: Any) -> MetricInfo:
    return MetricInfo(
        name=name,
        title=title,
        definition=definition,
        **{"analysis": "calibration", "needs_probability": True, "higher_is_better": False, **more},
    )


_AVERAGES = {
    "macro": "mean over classes (labels), each against the rest",
    "weighted": "mean over classes (labels), each against the rest, weighted by its reference-positive cases",
    "micro": "classes (labels), each against the rest, pooled",
}
_AVERAGED = {
    "sensitivity": ("sensitivity", True),
    "specificity": ("specificity", True),
    "ppv": ("positive predictive value", True),
    "npv": ("negative predictive value", True),
    "f1": ("F1 score", True),
    "auroc": ("AUROC", False),
    "average_precision": ("average precision", False),
}


def _averages() -> tuple[MetricInfo, ...]:
    return tuple(
        MetricInfo(
            name=f"{average}_{metric}",
            title=f"{average.capitalize()} {title}",
            definition=f"{title}: {how}",
            needs_operating_point=called,
            tasks=("multiclass", "multilabel"),
        )
        for average, how in _AVERAGES.items()
        for metric, (title, called) in _AVERAGED.items()
    )


def _classes(name: str, title: str, definition: str, **more: Any) -> MetricInfo:
    return MetricInfo(name=name, title=title, definition=definition, **{"tasks": ("multiclass",), **more})


def _grades(name: str, title: str, definition: str, **more: Any) -> MetricInfo:
    return MetricInfo(name=name, title=title, definition=definition, **{"tasks": ("ordinal",), **more})


_SEVERAL: tuple[MetricInfo, ...] = (
    *_averages(),
    _classes(
        "top_k_accuracy",
        "Top-k accuracy",
        "share of cases whose reference class is among the k with the largest outputs",
        family="proportion",
        requires=("top",),
    ),
    _classes(
        "hand_till",
        "Hand-Till M",
        "mean over pairs of classes of the chance that a case of one has the larger output for it than a case of the "
        "other, ties counted one half",
    ),
    _classes(
        "multiclass_brier",
        "Multiclass Brier score",
        "mean over cases of the squared differences of probabilities and outcome, summed over classes",
        analysis="calibration",
        needs_probability=True,
        higher_is_better=False,
        upper=2.0,
    ),
    _classes(
        "top_label_ece",
        "Top-label calibration error",
        "mean absolute difference of accuracy and probability of the predicted class over bins, weighted by cases",
        analysis="calibration",
        needs_probability=True,
        higher_is_better=False,
        accepts=("bins",),
    ),
    _classes(
        "classwise_ece",
        "Class-wise calibration error",
        "expected calibration error of each class's probability, mean over classes",
        analysis="calibration",
        needs_probability=True,
        higher_is_better=False,
        accepts=("bins",),
    ),
    MetricInfo(
        name="subset_accuracy",
        title="Subset accuracy",
        definition="share of cases with every label called as the reference standard has it",
        family="proportion",
        needs_operating_point=True,
        tasks=("multilabel",),
    ),
    MetricInfo(
        name="hamming_loss",
        title="Hamming loss",
        definition="share of labels called otherwise than the reference standard has them, pooled over cases",
        needs_operating_point=True,
        higher_is_better=False,
        tasks=("multilabel",),
    ),
    _grades(
        "quadratic_kappa",
        "Weighted kappa, quadratic",
        "agreement of grades beyond chance, disagreements weighted by the square of their distance",
        lower=-1.0,
    ),
    _grades(
        "linear_kappa",
        "Weighted kappa, linear",
        "agreement of grades beyond chance, disagreements weighted by their distance",
        lower=-1.0,
    ),
    _grades(
        "kendall_tau_b",
        "Kendall's tau-b",
        "rank correlation of predicted and reference grade, allowing for ties",
        lower=-1.0,
    ),
    _grades(
        "gwet_ac2",
        "Gwet's AC2",
        "agreement of grades beyond chance with quadratic weights, robust to uneven use of the grades",
        lower=-1.0,
    ),
    _grades(
        "adjacent_agreement",
        "Agreement within one grade",
        "share of cases graded at most one grade from the reference standard",
        family="proportion",
    ),
    _grades(
        "vus",
        "Volume under the ROC surface",
        "chance that one case of each grade are put in order; 1/6 by luck with three grades, 1/24 with four",
    ),
    _grades(
        "rps",
        "Ranked probability score",
        "mean squared difference of cumulative probabilities and outcome over grades, divided by grades less one",
        analysis="calibration",
        needs_probability=True,
        higher_is_better=False,
    ),
)

_ENTRIES: tuple[MetricInfo, ...] = (
    _share("sensitivity", "Sensitivity", "share of reference-positive cases called positive"),
    _share("specificity", "Specificity", "share of reference-negative cases called negative"),
    _share(
        "ppv",
        "Positive predictive value",
        "share of cases called positive that are reference-positive; at the declared prevalence where one is given, "
        "else at the test set's own",
        accepts=("prevalence",),
    ),
    _share(
        "npv",
        "Negative predictive value",
        "share of cases called negative that are reference-negative; at the declared prevalence where one is given, "
        "else at the test set's own",
        accepts=("prevalence",),
    ),
    _share(
        "accuracy",
        "Accuracy",
        "share of cases called as the reference standard has them",
        tasks=("binary", "multiclass", "ordinal"),
    ),
    _share("call_rate", "Positive call rate", "share of all cases called positive", higher_is_better=None),
    MetricInfo(
        name="prevalence",
        title="Prevalence in the test set",
        definition="share of cases that are reference-positive",
        family="proportion",
        higher_is_better=None,
    ),
    _called("balanced_accuracy", "Balanced accuracy", "mean of sensitivity and specificity"),
    _called("youden", "Youden index", "sensitivity + specificity − 1", lower=-1.0),
    _called("f1", "F1 score", "harmonic mean of PPV and sensitivity"),
    _called(
        "mcc",
        "Matthews correlation coefficient",
        "correlation of call and reference standard; with several classes Gorodkin's",
        lower=-1.0,
        tasks=("binary", "multiclass"),
    ),
    _called(
        "kappa",
        "Cohen's kappa",
        "agreement of call and reference standard beyond chance",
        lower=-1.0,
        tasks=("binary", "multiclass"),
    ),
    _called("lr_positive", "Positive likelihood ratio", "sensitivity / (1 − specificity)", upper=None),
    _called(
        "lr_negative",
        "Negative likelihood ratio",
        "(1 − sensitivity) / specificity",
        upper=None,
        higher_is_better=False,
    ),
    _called(
        "net_benefit",
        "Net benefit",
        "true positives / n − false positives / n × threshold odds, with the operating point's threshold as threshold "
        "probability",
        needs_probability=True,
        accepts=("prevalence",),
        lower=None,
    ),
    MetricInfo(
        name="auroc",
        title="AUROC",
        definition="chance that a reference-positive case scores above a reference-negative one, ties counted one half",
        family="auroc",
    ),
    MetricInfo(
        name="partial_auroc",
        title="Partial AUROC",
        definition="area under the ROC curve over the declared range of specificity or sensitivity, standardised after "
        "McClish to 0.5 for chance and 1 for a perfect score",
        requires=("range",),
        accepts=("over",),
    ),
    MetricInfo(
        name="average_precision",
        title="Average precision",
        definition="area under the precision-recall curve as a step function",
    ),
    MetricInfo(
        name="sensitivity_at_specificity",
        title="Sensitivity at a fixed specificity",
        definition="sensitivity read from the ROC curve at the declared specificity; a description of the curve, "
        "not an operating point",
        requires=("specificity",),
    ),
    MetricInfo(
        name="specificity_at_sensitivity",
        title="Specificity at a fixed sensitivity",
        definition="specificity read from the ROC curve at the declared sensitivity; a description of the curve, "
        "not an operating point",
        requires=("sensitivity",),
    ),
    _calibration("brier", "Brier score", "mean squared difference of probability and outcome"),
    _calibration(
        "log_loss",
        "Log loss",
        "mean negative log-likelihood of the outcome, natural logarithm",
        upper=None,
        tasks=("binary", "multiclass"),
    ),
    _calibration(
        "ece",
        "Expected calibration error",
        "mean absolute difference of observed share and mean probability over bins, weighted by their cases",
        accepts=("bins", "binning"),
    ),
    _calibration(
        "mce",
        "Maximum calibration error",
        "largest absolute difference of observed share and mean probability over bins",
        accepts=("bins", "binning"),
    ),
    _calibration(
        "calibration_slope",
        "Calibration slope",
        "slope of the outcome on the logit of the probability; 1 is ideal",
        higher_is_better=None,
        lower=None,
        upper=None,
    ),
    _calibration(
        "calibration_intercept",
        "Calibration intercept",
        "calibration in the large: intercept with the logit of the probability as offset; 0 is ideal",
        higher_is_better=None,
        lower=None,
        upper=None,
    ),
    _calibration(
        "observed_expected",
        "Observed / expected ratio",
        "reference-positive cases divided by the sum of probabilities; 1 is ideal",
        higher_is_better=None,
        upper=None,
    ),
    _calibration(
        "ici",
        "Integrated calibration index",
        "mean absolute difference of probability and smoothed observed share",
        accepts=("smoother",),
    ),
    _calibration(
        "e50",
        "E50",
        "median absolute difference of probability and smoothed observed share",
        accepts=("smoother",),
    ),
    _calibration(
        "e90",
        "E90",
        "90th percentile of the absolute difference of probability and smoothed observed share",
        accepts=("smoother",),
    ),
    _calibration(
        "spiegelhalter_z",
        "Spiegelhalter z",
        "standardised Brier score under perfect calibration; 0 is ideal",
        higher_is_better=None,
        lower=None,
        upper=None,
    ),
)


def _measured(name: str, title: str, definition: str, **more: Any) -> MetricInfo:
    return MetricInfo(
        name=name,
        title=title,
        definition=definition,
        **{"tasks": ("regression",), "higher_is_better": None, "lower": None, "upper": None, **more},
    )


_MEASUREMENTS: tuple[MetricInfo, ...] = (
    _measured("bias", "Bias", "mean of device − reference", accepts=("maximum",)),
    _measured(
        "mae",
        "Mean absolute error",
        "mean of the absolute value of device − reference",
        accepts=("maximum",),
        higher_is_better=False,
        lower=0.0,
    ),
    _measured(
        "rmse",
        "Root mean square error",
        "square root of the mean of (device − reference)²",
        accepts=("maximum",),
        higher_is_better=False,
        lower=0.0,
    ),
    _measured(
        "loa_lower",
        "Lower limit of agreement",
        "mean of device − reference less 1.96 standard deviations; 2.5 % of differences lie below it if they are "
        "normally distributed",
        accepts=("maximum",),
    ),
    _measured(
        "loa_upper",
        "Upper limit of agreement",
        "mean of device − reference plus 1.96 standard deviations; 2.5 % of differences lie above it if they are "
        "normally distributed",
        accepts=("maximum",),
    ),
    _measured(
        "ccc",
        "Concordance correlation",
        "Lin's concordance correlation coefficient: correlation about the line of identity",
        higher_is_better=True,
        lower=-1.0,
        upper=1.0,
    ),
    _measured(
        "icc",
        "Intraclass correlation",
        "ICC(2,1) of device and reference: two-way random effects, single measurement, absolute agreement",
        higher_is_better=True,
        lower=-1.0,
        upper=1.0,
    ),
    _measured(
        "deming_slope",
        "Deming slope",
        "slope of the Deming line of device on reference; 1 is ideal",
        accepts=("variance_ratio",),
    ),
    _measured(
        "deming_intercept",
        "Deming intercept",
        "intercept of the Deming line of device on reference; 0 is ideal with slope 1",
        accepts=("variance_ratio",),
    ),
    _measured(
        "tdi",
        "Total deviation index",
        "deviation from the reference within which the stated share of cases lies, for normally distributed "
        "differences; of 90 % of cases unless stated",
        accepts=("maximum", "coverage"),
        higher_is_better=False,
        lower=0.0,
    ),
    _measured(
        "coverage_probability",
        "Coverage probability",
        "share of cases measured within the stated tolerance of the reference",
        family="proportion",
        requires=("tolerance",),
        higher_is_better=True,
        lower=0.0,
        upper=1.0,
    ),
    _measured(
        "within_subject_cv",
        "Within-subject coefficient of variation",
        "root mean square of the standard deviation of repeated device measurements relative to their mean; the "
        "reference takes no part",
        requires=("repeats",),
        higher_is_better=False,
        lower=0.0,
    ),
)

METRICS: Mapping[str, MetricInfo] = MappingProxyType(
    {
        entry.name: replace(entry, intervals=INTERVALS[entry.name]) if entry.name in INTERVALS else entry
        for entry in (*_ENTRIES, *LESIONS, *_SEVERAL, *_MEASUREMENTS, *METHODS, *READER_METRICS.values())
    }
)

# Names from other fields and packages; never accepted, only hinted at.
_OTHER_WORDS = {
    "auc": "auroc",
    "roc_auc": "auroc",
    "recall": "sensitivity",
    "tpr": "sensitivity",
    "precision": "ppv",
    "tnr": "specificity",
    "selectivity": "specificity",
    "ppv_at_prevalence": "ppv",
    "npv_at_prevalence": "npv",
    "ap": "average_precision",
    "auprc": "average_precision",
    "brier_score": "brier",
    "dsc": "dice",
    "dice_score": "dice",
    "jaccard": "iou",
    "lr+": "lr_positive",
    "lr-": "lr_negative",
    "o/e": "observed_expected",
    "nll": "log_loss",
    "map": "macro_average_precision",
    "mean_average_precision": "macro_average_precision",
    "macro_recall": "macro_sensitivity",
    "macro_precision": "macro_ppv",
    "uar": "macro_sensitivity",
    "hamming": "hamming_loss",
    "exact_match": "subset_accuracy",
    "top_k": "top_k_accuracy",
    "qwk": "quadratic_kappa",
    "weighted_kappa": "quadratic_kappa",
    "tau_b": "kendall_tau_b",
    "ac2": "gwet_ac2",
    "ranked_probability_score": "rps",
    "mean_error": "bias",
    "mean_difference": "bias",
    "mean_absolute_error": "mae",
    "root_mean_square_error": "rmse",
    "lin": "ccc",
    "limits_of_agreement": "loa_upper",
    "wcv": "within_subject_cv",
    "positive_percent_agreement": "ppa",
    "negative_percent_agreement": "npa",
    "overall_percent_agreement": "opa",
    "ipa": "scaled_brier",
    "brier_skill": "scaled_brier",
    "smece": "smooth_ece",
    "snb": "standardised_net_benefit",
    "repeatability": "repeatability_coefficient",
    "icc3": "icc_consistency",
    "wsd": "within_subject_sd",
    "rc": "repeatability_coefficient",
    "rdc": "reproducibility_coefficient",
    "froc": "froc_sensitivity",
    "sensitivity_at_fp": "froc_sensitivity",
    "fp_per_case": "false_positives_per_case",
    "fppi": "false_positives_per_case",
    "fps_per_scan": "false_positives_per_case",
    "jafroc": "wafroc",
    "pq": "panoptic_quality",
    "sq": "segmentation_quality",
    "rq": "mark_f1",
}


def suggest_metric(name: str) -> str | None:
    """The catalogue's name for what was probably meant, or None."""
    known = _OTHER_WORDS.get(name.strip().lower())
    if known:
        return known
    close = difflib.get_close_matches(name.strip().lower(), METRICS, n=1)
    return close[0] if close else None

"""Catalogue entries beyond the usual table: agreement with a comparator, further calibration, utility and methods."""

from __future__ import annotations

from typing import Any

from evalsuite.protocol.metric_info import MetricInfo

BOOTSTRAPS = ("percentile", "basic", "bca")
PROPORTIONS = ("clopper-pearson", "wilson", "agresti-coull", "jeffreys")


def _agreement(name: str, title: str, definition: str) -> MetricInfo:
    return MetricInfo(
        name=name,
        title=title,
        definition=definition,
        family="proportion",
        needs_operating_point=True,
        intervals=PROPORTIONS,
    )


def _probability(name: str, title: str, definition: str, **more: Any) -> MetricInfo:
    return MetricInfo(
        name=name,
        title=title,
        definition=definition,
        **{
            "analysis": "calibration",
            "needs_probability": True,
            "higher_is_better": False,
            "intervals": (),
            **more,
        },
    )


def _benefit(name: str, title: str, definition: str, **more: Any) -> MetricInfo:
    return MetricInfo(
        name=name,
        title=title,
        definition=definition,
        needs_operating_point=True,
        needs_probability=True,
        accepts=("prevalence",),
        lower=None,
        **more,
    )


def _measured(name: str, title: str, definition: str, **more: Any) -> MetricInfo:
    return MetricInfo(
        name=name,
        title=title,
        definition=definition,
        **{
            "tasks": ("regression",),
            "higher_is_better": None,
            "lower": None,
            "upper": None,
            "intervals": (),
            **more,
        },
    )


METHODS: tuple[MetricInfo, ...] = (
    _agreement(
        "ppa",
        "Positive percent agreement",
        "share of comparator-positive cases called positive; for a comparator that is no reference standard",
    ),
    _agreement(
        "npa",
        "Negative percent agreement",
        "share of comparator-negative cases called negative; for a comparator that is no reference standard",
    ),
    _agreement(
        "opa",
        "Overall percent agreement",
        "share of cases called as the comparator has them; for a comparator that is no reference standard",
    ),
    _probability(
        "scaled_brier",
        "Scaled Brier score",
        "1 − Brier score / that of giving every case the observed prevalence; 1 is perfect, 0 no better than that",
        higher_is_better=True,
        lower=None,
        intervals=("wald", *BOOTSTRAPS),
    ),
    _probability(
        "brier_reliability",
        "Brier score: reliability",
        "mean squared difference of observed share and mean probability over bins (Murphy); 0 is ideal",
        accepts=("bins", "binning"),
    ),
    _probability(
        "brier_resolution",
        "Brier score: resolution",
        "mean squared difference of the bins' observed shares and the prevalence (Murphy); the larger the better",
        accepts=("bins", "binning"),
        higher_is_better=True,
        upper=0.25,
    ),
    _probability(
        "brier_uncertainty",
        "Brier score: uncertainty",
        "prevalence × (1 − prevalence) (Murphy); a property of the set, not of the device",
        accepts=("bins", "binning"),
        higher_is_better=None,
        upper=0.25,
    ),
    _probability(
        "recalibration_intercept",
        "Recalibration intercept",
        "intercept beside the calibration slope; 0 is ideal where the slope is 1",
        higher_is_better=None,
        lower=None,
        upper=None,
        intervals=("wald", *BOOTSTRAPS),
    ),
    _probability(
        "smooth_ece",
        "Smooth calibration error",
        "mean absolute residual smoothed by a kernel as wide as the error itself; no bins",
    ),
    _probability(
        "debiased_ece",
        "Debiased calibration error",
        "expected calibration error over equal-mass bins less the inflation that sampling is expected to cause",
        accepts=("bins", "binning"),
    ),
    _probability(
        "emax",
        "Emax",
        "largest absolute difference of probability and smoothed observed share",
        accepts=("smoother",),
    ),
    _probability(
        "hosmer_lemeshow",
        "Hosmer-Lemeshow chi-square (legacy)",
        "sum over groups of squared differences of observed and expected; its power depends on n and on the groups",
        accepts=("bins",),
        higher_is_better=None,
        upper=None,
    ),
    _benefit(
        "standardised_net_benefit",
        "Standardised net benefit",
        "net benefit divided by the prevalence; 1 is acting on every reference-positive case and on no other",
    ),
    _benefit(
        "interventions_avoided",
        "Interventions avoided",
        "net reduction of interventions per case against acting on all, at the operating point's threshold probability",
        upper=None,
    ),
    _measured(
        "category_agreement",
        "Agreement of categories",
        "share of cases that device and reference put into the same category, by the cut points stated",
        family="proportion",
        requires=("cuts",),
        higher_is_better=True,
        lower=0.0,
        upper=1.0,
        intervals=("clopper-pearson", "wilson", "agresti-coull", "jeffreys"),
    ),
    _measured(
        "proportional_bias",
        "Proportional bias",
        "slope of device − reference on the mean of the two; 0 is ideal",
    ),
    _measured(
        "icc_consistency",
        "Intraclass correlation, consistency",
        "ICC(3,1) of device and reference: two-way mixed effects, single measurement, consistency; blind to bias",
        higher_is_better=True,
        lower=-1.0,
        upper=1.0,
        intervals=BOOTSTRAPS,
    ),
    _measured(
        "passing_bablok_slope",
        "Passing-Bablok slope",
        "shifted median of the slopes of all pairs of cases; 1 is ideal",
    ),
    _measured(
        "passing_bablok_intercept",
        "Passing-Bablok intercept",
        "median of device − slope × reference; 0 is ideal with slope 1",
    ),
    _measured(
        "within_subject_sd",
        "Within-subject standard deviation",
        "standard deviation of repeated device measurements of one thing; the reference takes no part",
        requires=("repeats",),
        higher_is_better=False,
        lower=0.0,
    ),
    _measured(
        "repeatability_coefficient",
        "Repeatability coefficient",
        "difference that two device measurements of one thing exceed 5 times in 100; the reference takes no part",
        requires=("repeats",),
        higher_is_better=False,
        lower=0.0,
    ),
    _measured(
        "reproducibility_coefficient",
        "Reproducibility coefficient",
        "difference that two device measurements of one thing by different operators, cameras or readers exceed 5 "
        "times in 100; the factors are those of `analyses.variance_components`",
        higher_is_better=False,
        lower=0.0,
    ),
    _measured(
        "change_bias",
        "Bias of change",
        "mean of the device's change − the reference's change between two visits (`analyses.change`)",
        accepts=("maximum",),
    ),
    _measured(
        "change_mae",
        "Mean absolute error of change",
        "mean of the absolute value of the device's change − the reference's change",
        accepts=("maximum",),
        higher_is_better=False,
        lower=0.0,
    ),
    _measured(
        "change_loa_lower",
        "Lower limit of agreement of change",
        "mean of the device's change − the reference's change less 1.96 standard deviations",
        accepts=("maximum",),
        intervals=("exact", "mover", "bland-altman"),
    ),
    _measured(
        "change_loa_upper",
        "Upper limit of agreement of change",
        "mean of the device's change − the reference's change plus 1.96 standard deviations",
        accepts=("maximum",),
        intervals=("exact", "mover", "bland-altman"),
    ),
    _measured(
        "response_agreement",
        "Agreement of response",
        "share of pairs of visits put into the same category of change by device and reference",
        family="proportion",
        higher_is_better=True,
        lower=0.0,
        upper=1.0,
        intervals=PROPORTIONS,
    ),
    _measured(
        "response_opposite",
        "Opposite response",
        "share of pairs of visits put into the lowest category of change by one of device and reference and into the "
        "highest by the other",
        family="proportion",
        higher_is_better=False,
        lower=0.0,
        upper=1.0,
        intervals=PROPORTIONS,
    ),
    _measured(
        "response_kappa",
        "Weighted kappa of response",
        "agreement of the categories of change beyond chance, linear weights",
        higher_is_better=True,
        lower=-1.0,
        upper=1.0,
    ),
    _measured(
        "nonlinearity",
        "Deviation from linearity",
        "largest absolute difference of a cubic and a straight line of device on reference, over the levels of "
        "`analyses.linearity`",
        higher_is_better=False,
        lower=0.0,
    ),
)

#: Intervals of entries of the catalogue whose choice is not that of their family.
INTERVALS: dict[str, tuple[str, ...]] = {
    "calibration_slope": ("wald", "profile", *BOOTSTRAPS),
    "calibration_intercept": ("wald", "profile", *BOOTSTRAPS),
    # Absolute values have one interval, made for them; test statistics and chi-square limits have no other.
    **dict.fromkeys(("ece", "mce", "ici", "e50", "e90", "top_label_ece", "classwise_ece", "spiegelhalter_z"), ()),
    "within_subject_cv": (),
    # In closed form, for one case per patient.
    "youden": ("newcombe", "rectangle", *BOOTSTRAPS),
    "balanced_accuracy": ("newcombe", "rectangle", *BOOTSTRAPS),
    "mcc": ("fisher-z", *BOOTSTRAPS),
    "kappa": ("fleiss", *BOOTSTRAPS),
    "f1": ("wilson", "clopper-pearson", *BOOTSTRAPS),
    "loa_lower": ("exact", "mover", "bland-altman", *BOOTSTRAPS),
    "loa_upper": ("exact", "mover", "bland-altman", *BOOTSTRAPS),
}

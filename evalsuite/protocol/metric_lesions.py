"""Catalogue entries of tasks that outline (segmentation) and find (detection)."""

from __future__ import annotations

from typing import Any

from evalsuite.protocol.metric_info import MetricInfo

_BOOTSTRAPS = ("percentile", "basic", "bca")
_PROPORTIONS = ("clopper-pearson", "wilson", "agresti-coull", "jeffreys")


def _mask(name: str, title: str, definition: str, **more: Any) -> MetricInfo:
    return MetricInfo(
        name=name,
        title=title,
        definition=definition,
        **{
            "analysis": "segmentation",
            "tasks": ("segmentation",),
            "accepts": ("quantile",),
            "intervals": _BOOTSTRAPS,
            **more,
        },
    )


def _distance(name: str, title: str, definition: str) -> MetricInfo:
    return _mask(
        name,
        title,
        definition,
        higher_is_better=False,
        upper=None,
        requires=("maximum",),
        accepts=("definition", "quantile"),
    )


def _found(name: str, title: str, definition: str, **more: Any) -> MetricInfo:
    return MetricInfo(
        name=name,
        title=title,
        definition=definition,
        **{"analysis": "detection", "tasks": ("detection",), "intervals": _BOOTSTRAPS, **more},
    )


def _called(name: str, title: str, definition: str, **more: Any) -> MetricInfo:
    return _found(name, title, definition, **{"needs_operating_point": True, **more})


_RATE = {"higher_is_better": False, "upper": None, "accepts": ("maximum",)}

LESIONS: tuple[MetricInfo, ...] = (
    _mask("dice", "Dice coefficient", "2 × overlap / (size of device mask + size of reference mask)"),
    _mask("iou", "Intersection over union", "overlap / union of device mask and reference mask"),
    _mask(
        "boundary_iou",
        "Boundary IoU",
        "overlap / union of the two rims: voxels within the tolerance (mm) of their mask's border",
        requires=("tolerance",),
    ),
    _mask("cldice", "Centreline Dice", "harmonic mean of the shares of each skeleton inside the other mask"),
    _distance("hd95", "95 % Hausdorff distance", "95th percentile of surface distances in millimetres"),
    _distance("hd", "Hausdorff distance", "largest surface distance in millimetres"),
    _distance("assd", "Average symmetric surface distance", "mean surface distance over both surfaces in millimetres"),
    _distance("masd", "Mean average surface distance", "mean of the two directions' mean distances in millimetres"),
    _mask(
        "nsd",
        "Normalised surface Dice",
        "share of both surfaces within a tolerance in millimetres of the other",
        requires=("tolerance",),
        accepts=("definition", "quantile"),
    ),
    _mask(
        "volume_error",
        "Volume error",
        "device volume − reference volume in millilitres",
        higher_is_better=None,
        lower=None,
        upper=None,
        requires=("maximum",),
    ),
    _mask(
        "relative_volume_error",
        "Relative volume error",
        "(device volume − reference volume) / reference volume",
        higher_is_better=None,
        lower=None,
        upper=None,
        requires=("maximum",),
    ),
    _called(
        "lesion_sensitivity",
        "Sensitivity per lesion",
        "share of lesions found by a mark at the operating point",
        intervals=_PROPORTIONS,
    ),
    _called(
        "patient_detection",
        "Sensitivity per patient",
        "share of patients with a lesion of whom at least one lesion is found",
        intervals=_PROPORTIONS,
    ),
    _called(
        "case_sensitivity",
        "Sensitivity per case",
        "share of cases with a lesion that have a mark at the operating point, wherever it is",
        intervals=_PROPORTIONS,
    ),
    _called(
        "case_specificity",
        "Specificity per case",
        "share of cases without a lesion that have no mark at the operating point",
        intervals=_PROPORTIONS,
    ),
    _called(
        "false_positives_per_case",
        "False positives per case",
        "marks at the operating point that belong to no lesion, over all cases",
        **_RATE,
    ),
    _called(
        "false_positives_per_normal_case",
        "False positives per normal case",
        "marks at the operating point in cases without a lesion, over these cases",
        **_RATE,
    ),
    _called(
        "false_positives_per_abnormal_case",
        "False positives per abnormal case",
        "marks at the operating point that belong to no lesion in cases with one, over these cases",
        **_RATE,
    ),
    _called(
        "mark_ppv",
        "Positive predictive value per mark",
        "share of marks at the operating point that found a lesion, of those that did or are false positives",
        accepts=("maximum",),
    ),
    _called(
        "mark_f1",
        "F1 score per mark",
        "lesions found / (lesions found + half of those missed and of false positives); recognition quality (RQ)",
        accepts=("maximum",),
    ),
    _called(
        "panoptic_quality",
        "Panoptic quality",
        "sum of the overlaps of lesions found / (lesions found + half of those missed and of false positives)",
        accepts=("maximum",),
    ),
    _called(
        "segmentation_quality",
        "Segmentation quality",
        "mean overlap (intersection over union) of lesions found with the mark that found them",
    ),
    _found(
        "froc_sensitivity",
        "Sensitivity per lesion at a rate of false positives",
        "sensitivity per lesion on the FROC curve at so many false positives per case, between points on a straight "
        "line",
        requires=("false_positives",),
        accepts=("counted_in", "maximum"),
    ),
    _found(
        "cpm",
        "Competition performance metric",
        "mean sensitivity per lesion at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives per case",
        accepts=("counted_in", "maximum"),
    ),
    _found(
        "lesion_average_precision",
        "Average precision over marks",
        "sum over scores of the gain in lesions found × share of marks that are right; not interpolated",
        accepts=("maximum",),
    ),
    _found(
        "lroc",
        "Area under the LROC curve",
        "share of cases with a lesion whose highest mark found one, against cases without with a mark as high",
    ),
    _found(
        "afroc",
        "Area under the AFROC curve",
        "chance that a lesion is marked higher than the highest mark of a case without; ties count one half",
    ),
    _found(
        "wafroc",
        "Area under the weighted AFROC curve",
        "AFROC in which every case with lesions counts once, its lesions sharing",
    ),
    _found(
        "case_auroc",
        "AUROC per case",
        "area under the ROC curve of each case's highest mark, wherever it is",
        family="auroc",
        intervals=("delong", "logit-delong", "newcombe"),
    ),
)

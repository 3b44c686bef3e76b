"""Known answers of masks, marks and readers: how each is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from evalsuite.selftest.of_cases import Figures, Inputs, estimate, once
from evalsuite.stats import (
    clustered,
    detection,
    matching,
    obuchowski_rockette,
    overlap,
    reader_agreement,
    reader_ustatistics,
    repeatability,
    roc,
    surface,
)
from evalsuite.stats._resampled import replicated
from evalsuite.stats.detection import DetectionFigures, Detections
from evalsuite.stats.masks import MaskPair, mask_pair
from evalsuite.stats.reader_figures import ReaderFigures, reader_figures, readings
from evalsuite.stats.reader_location import location_figures


def mask_figures(i: Inputs) -> Figures:
    """Every figure of a reference mask and a prediction, each a list of boxes."""
    pair = boxes(i)
    found = surface.surfaces(pair)
    measured = {
        "dice": overlap.dice(pair),
        "iou": overlap.iou(pair),
        "boundary_iou": overlap.boundary_iou(pair, width_mm=i["tolerance_mm"]),
        "cldice": overlap.cldice(pair),
        "volume_error": overlap.volume_error(pair),
        "relative_volume_error": overlap.relative_volume_error(pair),
        "hd": surface.surface_figure(pair, "hd", found=found),
        "hd95": surface.surface_figure(pair, "hd95", found=found),
        "assd": surface.surface_figure(pair, "assd", found=found),
        "masd": surface.surface_figure(pair, "masd", found=found),
        "nsd": surface.surface_figure(pair, "nsd", tolerance_mm=i["tolerance_mm"], found=found),
        "nsd surfel": surface.surface_figure(pair, "nsd", tolerance_mm=i["tolerance_mm"], definition="surfel"),
    }
    return {name: figure.value for name, figure in measured.items()}


def boxes(i: Inputs) -> MaskPair:
    """Masks of boxes: `reference` and `prediction` are lists of boxes, each a range per axis."""
    masks = []
    for name in ("reference", "prediction"):
        made = np.zeros(i["shape"], dtype=np.bool_)
        for box in i[name]:
            made[tuple(slice(*ends) for ends in box)] = True
        masks.append(made)
    return mask_pair(masks[0], masks[1], tuple(i["spacing_mm"]))


def _found(i: Inputs) -> Detections:
    return Detections(
        abnormal=np.array(i["abnormal"], dtype=np.bool_),
        lesion_case=np.array(i["lesion_case"], dtype=np.int64),
        lesion_score=np.array([-np.inf if s is None else s for s in i["lesion_score"]], dtype=np.float64),
        false_case=np.array(i["false_case"], dtype=np.int64),
        false_score=np.array(i["false_score"], dtype=np.float64),
    )


def mark_figures(i: Inputs) -> Figures:
    """Every figure of marks: at a threshold, along the FROC curve, and areas under localisation curves."""
    found = _found(i)
    draw = once(found.n)
    lesion, false = found.lesion_score >= i["threshold"], found.false_score >= i["threshold"]
    marked = found.highest() >= i["threshold"]

    def value(asked: DetectionFigures) -> float:
        return float(replicated(draw, asked.material, asked.statistics, with_jackknife=False).point[0, 0])

    def share(success: np.ndarray) -> float | None:
        return clustered.clustered_proportion(success, np.arange(success.size)).value

    qualities: Mapping[str, detection.Quality] = {
        "mark_ppv": "mark_ppv",
        "mark_f1": "mark_f1",
        "panoptic_quality": "pq",
        "segmentation_quality": "sq",
    }
    areas: tuple[detection.Area, ...] = ("lroc", "afroc", "wafroc", "afroc1", "wafroc1")
    return {
        "lesion_sensitivity": share(lesion),
        "patient_detection": share(np.isin(np.flatnonzero(found.abnormal), found.lesion_case[lesion])),
        "case_sensitivity": share(marked[found.abnormal]),
        "case_specificity": share(~marked[~found.abnormal]),
        "false_positives_per_case": value(detection.marks_per_case(found, false)),
        "false_positives_per_normal_case": value(detection.marks_per_case(found, false, cases="normal")),
        "false_positives_per_abnormal_case": value(detection.marks_per_case(found, false, cases="abnormal")),
        "froc_sensitivity": value(detection.sensitivity_at(draw, found, i["rate"])),
        "cpm": value(detection.cpm(draw, found)),
        "lesion_average_precision": value(detection.lesion_average_precision(draw, found)),
        "case_auroc": roc.auroc(found.abnormal, found.highest()).value,
        **{name: value(detection.quality(found, lesion, false, i["overlap"], q)) for name, q in qualities.items()},
        **{area: value(detection.localisation_area(draw, found, area)) for area in areas},
    }


def matched(i: Inputs) -> Figures:
    """Which lesion each box of a mark is given to, and which marks are false."""
    pairs = matching.pairs_by_box(
        np.zeros(len(i["mark"]), dtype=np.int64),
        np.array(i["mark"], dtype=np.float64),
        np.zeros(len(i["lesion"]), dtype=np.int64),
        np.array(i["lesion"], dtype=np.float64),
        least=i["least"],
    )
    found = matching.match(pairs, np.array(i["score"]), len(i["lesion"]))
    return {f"mark of lesion {k}": int(mark) for k, mark in enumerate(found.mark_of)} | {
        "false marks": int(found.false.sum())
    }


def reader_study(i: Inputs) -> Figures:
    """Obuchowski and Rockette's analysis from the readers' areas and their four covariances."""
    value = np.array(i["area"])
    t, r = value.shape
    same_t = np.eye(t, dtype=np.bool_)[:, None, :, None]
    same_r = np.eye(r, dtype=np.bool_)[None, :, None, :]
    kinds = [same_t & same_r, ~same_t & same_r, same_t & ~same_r]
    covariance = np.select(kinds, [i["variance"], i["cov1"], i["cov2"]], i["cov3"])
    figures = ReaderFigures(value=value, covariance=covariance, figure="auroc", method="given")
    study = readings(np.array([True, False]), np.zeros((t, r, 2)))
    test = obuchowski_rockette.equality_of_treatments(figures)
    found = obuchowski_rockette.difference(figures, study, 1, 0)
    return {
        "f": test.statistic,
        "p_value": test.p_value,
        "df": found.df,
        **estimate(found.estimate),
        "average": obuchowski_rockette.reader_average(figures, study, 0).estimate.value,
        "over readers": obuchowski_rockette.against_standalone(figures, study, 0).estimate.value,
    }


def reader_means(i: Inputs) -> Figures:
    """Readers' figures from their ratings: means over readers, by rating, call and time."""
    study = readings(np.array(i["reference"], dtype=np.bool_), np.array(i["rating"], dtype=np.float64))
    found: dict[str, float | None] = {}
    for name in i["figures"]:
        figures = reader_figures(study, figure=name)
        found[name] = float(figures.value[0].mean())
        found[f"{name} gain"] = obuchowski_rockette.difference(figures, study, 0, 1).estimate.value
    ustatistic, _ = reader_ustatistics.auroc_difference(study, 0, 1)
    one = readings(study.reference, study.rating[:1])
    average = reader_ustatistics.average_auroc(one, 0)
    return {**found, "U-statistic": average.value, "U-statistic gain": ustatistic.value}


def reader_places(i: Inputs) -> Figures:
    """Readers' areas under localisation curves: each reader's marks with each treatment."""
    found = [[_found({**i, **marks}) for marks in readers] for readers in i["marks"]]
    areas: tuple[detection.Area, ...] = ("lroc", "afroc", "wafroc", "afroc1", "wafroc1")
    values: dict[str, float] = {}
    for area in areas:
        figures, _ = location_figures(found, area)
        values[area] = float(figures.value[0].mean())
        values[f"{area} gain"] = float(figures.value[0].mean() - figures.value[1].mean())
    return values


def _table(i: Inputs) -> np.ndarray:
    return np.array([[np.nan if v is None else v for v in row] for row in i["readers"]], dtype=np.float64)


def _categories(i: Inputs) -> Figures:
    """Subjects by how many raters chose each category, as ratings of anonymous readers."""
    rows = [np.repeat(np.arange(len(row)), row) for row in i["counts"]]
    return estimate(reader_agreement.fleiss_kappa(np.array(rows, dtype=np.float64).T))


OF_IMAGES: Mapping[str, Callable[[Inputs], Figures]] = {
    "masks": mask_figures,
    "marks": mark_figures,
    "matching": matched,
    "reader_study": reader_study,
    "reader_means": reader_means,
    "reader_places": reader_places,
    "fleiss_kappa": _categories,
    "krippendorff_alpha": lambda i: estimate(reader_agreement.krippendorff_alpha(_table(i))),
    "reader_icc": lambda i: estimate(repeatability.icc(_table(i).T, "icc(2,1)")),
}

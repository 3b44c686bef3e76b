"""How each figure of a detection task is estimated from lesions, marks and their matching."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np

from evalsuite.analyses.binary_questions import chosen_interval
from evalsuite.analyses.lesion_population import LesionPopulation
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.population import Bools, Floats
from evalsuite.analyses.resampling import Resampling
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.stats import detection
from evalsuite.stats._resampled import Material, Ranked, Statistic, read, replicated
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.detection import DetectionFigures, Detections
from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.proportions import ProportionMethod
from evalsuite.stats.roc import AurocMethod, auroc
from evalsuite.types import Estimate

#: Figures of lesions, which can be of a group of them.
OF_LESIONS = ("lesion_sensitivity", "froc_sensitivity", "cpm", "lesion_average_precision")
#: Figures that count marks: a case without output needs a number of them.
COUNTING = frozenset(
    {
        *("false_positives_per_case", "false_positives_per_normal_case", "false_positives_per_abnormal_case"),
        *("mark_ppv", "mark_f1", "panoptic_quality", "froc_sensitivity", "cpm", "lesion_average_precision"),
    }
)
#: What a group must have enough of, by figure; cases for all others.
NEEDS = {
    **dict.fromkeys((*OF_LESIONS, "mark_f1", "panoptic_quality", "segmentation_quality"), ("lesions",)),
    **dict.fromkeys(("patient_detection", "case_sensitivity"), ("cases with a lesion",)),
    **dict.fromkeys(("case_specificity", "false_positives_per_normal_case"), ("cases without a lesion",)),
    "false_positives_per_abnormal_case": ("cases with a lesion",),
    **dict.fromkeys(("lroc", "afroc", "wafroc", "case_auroc"), ("cases with a lesion", "cases without a lesion")),
}
_QUALITY: dict[str, detection.Quality] = {
    "mark_ppv": "mark_ppv",
    "mark_f1": "mark_f1",
    "panoptic_quality": "pq",
    "segmentation_quality": "sq",
}
_RATES: dict[str, detection.Cases] = {
    "false_positives_per_case": "all",
    "false_positives_per_normal_case": "normal",
    "false_positives_per_abnormal_case": "abnormal",
}

COMPUTED = frozenset(
    {
        *("lesion_sensitivity", "patient_detection", "case_sensitivity", "case_specificity", "case_auroc"),
        *("froc_sensitivity", "cpm", "lesion_average_precision", "lroc", "afroc", "wafroc"),
        *_QUALITY,
        *_RATES,
    }
)


def called(protocol: StudyProtocol, endpoint: Endpoint, score: Floats) -> Bools:
    """Which scores reach the endpoint's operating point."""
    assert endpoint.at is not None, "the protocol's loader requires it"
    point = protocol.operating_point(endpoint.at)
    return np.asarray(score > point.threshold if point.comparison == ">" else score >= point.threshold)


def estimate(
    protocol: StudyProtocol,
    endpoint: Endpoint,
    population: LesionPopulation,
    seen: Detections,
    mask: Bools,
    resampling: Resampling,
    lesions: Bools,
) -> Estimate:
    """The endpoint's figure in the cases of `mask`, of the lesions of `lesions` (l,), under one view of the marks."""
    metric, level = endpoint.metric, two_sided_level(protocol.confidence)
    if metric == "lesion_sensitivity":
        return _lesion_sensitivity(protocol, endpoint, population, seen, mask, level, lesions)
    if metric in ("patient_detection", "case_sensitivity", "case_specificity"):
        return _share(protocol, endpoint, population, seen, mask, level)
    if metric == "case_auroc":
        score, ranked = seen.highest()[mask], cast(AurocMethod, endpoint.interval or protocol.confidence.auroc)
        return auroc(seen.abnormal[mask], score, level=level, method=ranked, cluster=population.patient_index[mask])
    method = chosen_interval(protocol, endpoint)
    figures = figures_of(protocol, endpoint, population, seen.of_lesions(lesions), lesions, resampling.draw)
    table = replicated(
        resampling.draw, figures.material, figures.statistics, masks=mask[None], with_jackknife=method == "bca"
    )
    return read(table, level=level, method=method)[0][0]


def _lesion_sensitivity(
    protocol: StudyProtocol,
    endpoint: Endpoint,
    population: LesionPopulation,
    seen: Detections,
    mask: Bools,
    level: float,
    lesions: Bools,
) -> Estimate:
    chosen = lesions & mask[seen.lesion_case]
    patient = population.patient_index[seen.lesion_case[chosen]]
    if not chosen.any():
        return Estimate.not_estimable(detection.NO_LESION, n=0, unit="lesion", level=level, n_patients=0)
    hit = called(protocol, endpoint, seen.lesion_score)[chosen]
    return clustered_proportion(hit, patient, level=level, method=_proportion(protocol, endpoint), unit="lesion")


def _share(
    protocol: StudyProtocol,
    endpoint: Endpoint,
    population: LesionPopulation,
    seen: Detections,
    mask: Bools,
    level: float,
) -> Estimate:
    abnormal = seen.abnormal
    method = _proportion(protocol, endpoint)
    if endpoint.metric == "patient_detection":
        found = np.zeros(seen.n, dtype=bool)
        found[seen.lesion_case[called(protocol, endpoint, seen.lesion_score)]] = True
        cases = mask & abnormal
        people, of_case = np.unique(population.patient_index[cases], return_inverse=True)
        if not people.size:
            return Estimate.not_estimable(detection.NO_ABNORMAL, n=0, unit="patient", level=level, n_patients=0)
        hit = np.bincount(of_case.reshape(-1), weights=found[cases], minlength=people.size) > 0
        return clustered_proportion(hit, people, level=level, method=method, unit="patient")
    marked = called(protocol, endpoint, seen.highest())
    wanted = endpoint.metric == "case_sensitivity"
    cases = mask & (abnormal == wanted)
    if not cases.any():
        reason = detection.NO_ABNORMAL if wanted else detection.NO_NORMAL
        return Estimate.not_estimable(reason, n=0, level=level, n_patients=0)
    return clustered_proportion((marked == wanted)[cases], population.patient_index[cases], level=level, method=method)


def _proportion(protocol: StudyProtocol, endpoint: Endpoint) -> ProportionMethod:
    return cast(ProportionMethod, endpoint.interval or protocol.confidence.proportion)


def figures_of(
    protocol: StudyProtocol,
    endpoint: Endpoint,
    population: LesionPopulation,
    seen: Detections,
    lesions: Bools,
    draw: PatientDraw,
) -> DetectionFigures:
    """What the resampling engine needs for one figure of the lesions of `lesions` (l,)."""
    metric = endpoint.metric
    if metric == "case_auroc":
        item = Ranked(reference=seen.abnormal, score=seen.highest(), case=np.arange(seen.n))
        return DetectionFigures(
            material=Material(ranked={"case": [item]}, ranks=("auroc",)),
            statistics=(
                Statistic(
                    value=lambda parts: parts.auroc["case"][:, 0],
                    reason=lambda parts: "no cases with a lesion, or none without",
                ),
            ),
        )
    if metric in _RATES:
        return detection.marks_per_case(seen, called(protocol, endpoint, seen.false_score), cases=_RATES[metric])
    if metric in _QUALITY:
        # A lesion that is assumed found is found exactly.
        overlap = np.where(np.isnan(population.overlap[lesions]), 1.0, population.overlap[lesions])
        return detection.quality(
            seen,
            called(protocol, endpoint, seen.lesion_score),
            called(protocol, endpoint, seen.false_score),
            overlap,
            _QUALITY[metric],
        )
    make: dict[str, Callable[[], DetectionFigures]] = {
        "froc_sensitivity": lambda: detection.sensitivity_at(
            draw, seen, float(endpoint.false_positives or 0.0), cases=endpoint.counted_in or "all"
        ),
        "cpm": lambda: detection.cpm(draw, seen, cases=endpoint.counted_in or "all"),
        "lesion_average_precision": lambda: detection.lesion_average_precision(draw, seen),
    }
    if metric in make:
        return make[metric]()
    return detection.localisation_area(draw, seen, cast(detection.Area, metric))

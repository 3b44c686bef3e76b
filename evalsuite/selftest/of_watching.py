"""Known answers of what watches a deployment, finds unfamiliar cases and measures masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from evalsuite.selftest.of_cases import Figures, Inputs
from evalsuite.stats import control_charts, mask_size, outliers, sequential, signed_rank


def _alarm(at: int | None) -> int | str:
    return "none" if at is None else at


def _ewma(i: Inputs) -> Figures:
    chart = control_charts.ewma(i["standardised"], weight=i["weight"], limit=i["limit"])
    return {"last": float(chart.upper[-1]), "bound": chart.limit, "alarm": _alarm(chart.alarm)}


def _ewma_run_length(i: Inputs) -> Figures:
    return {"value": control_charts.ewma_run_length(i["weight"], i["limit"], shift=i["shift"])}


def _e_detector(i: Inputs) -> Figures:
    """Its evidence after each patient, and the patient at which it raises the alarm."""
    found = sequential.e_detector(**i)
    steps = {f"evidence after patient {k}": float(np.exp(v)) for k, v in enumerate(found.log_evidence, start=1)}
    return {**steps, "threshold": found.threshold, "alarm": _alarm(found.alarm)}


def _confidence_sequence(i: Inputs) -> Figures:
    found = sequential.confidence_sequence(**i)
    return {"value": found.value, "low": found.low, "high": found.high}


def _fallen(i: Inputs) -> Figures:
    return {"fallen": int(sequential.fallen_below(**i))}


def _mahalanobis(i: Inputs) -> Figures:
    found = outliers.mahalanobis_score(i["fit"], i["group"], i["features"])
    return {f"case {k}": float(v) for k, v in enumerate(found, start=1)}


def _neighbours(i: Inputs) -> Figures:
    found = outliers.neighbour_score(i["fit"], i["features"], neighbours=i["neighbours"])
    return {f"case {k}": float(v) for k, v in enumerate(found, start=1)}


def _outputs(i: Inputs) -> Figures:
    """Both scores of one case's logits."""
    logits = np.array([i["logits"]], dtype=np.float64)
    probability = np.exp(logits) / np.exp(logits).sum()
    return {
        "max_softmax": float(outliers.softmax_score(probability)[0]),
        "energy": float(outliers.energy_score(logits)[0]),
    }


def _signed_ranks(i: Inputs) -> Figures:
    found = signed_rank.signed_ranks(np.array(i["first"]), np.array(i["second"]), name="known answer")
    return {"statistic": found.statistic, "p_value": found.p_value}


def _mask_size(i: Inputs) -> Figures:
    """A box of voxels: its volume and the distance between its far corners' centres."""
    mask = np.ones(i["shape"], dtype=bool)
    return {
        "volume_ml": mask_size.volume_ml(mask, i["spacing_mm"]),
        "longest_diameter_mm": mask_size.longest_diameter_mm(mask, i["spacing_mm"]),
    }


OF_WATCHING: Mapping[str, Callable[[Inputs], Figures]] = {
    "ewma": _ewma,
    "ewma_run_length": _ewma_run_length,
    "e_detector": _e_detector,
    "confidence_sequence": _confidence_sequence,
    "fallen_below": _fallen,
    "mahalanobis": _mahalanobis,
    "neighbours": _neighbours,
    "unfamiliar_outputs": _outputs,
    "signed_ranks": _signed_ranks,
    "mask_size": _mask_size,
}

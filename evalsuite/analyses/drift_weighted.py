"""A window's figures for all patients who could have been chosen to be labelled, from those who were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast, get_args

from evalsuite.analyses.binary_questions import Threshold, not_assessable
from evalsuite.analyses.common import Cell
from evalsuite.analyses.cuts import Cut, cut, two_sided_level
from evalsuite.analyses.metrics import COMPUTABLE
from evalsuite.analyses.population import OutputPolicy, Population, ReferencePolicy, scenario
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.stats.proportions import ProportionMethod
from evalsuite.stats.weighting import CallMetric, weighted_auroc, weighted_brier, weighted_call_metric
from evalsuite.types import Estimate


def weighted_answer(
    protocol: StudyProtocol,
    population: Population,
    endpoint: Endpoint,
    cells: Sequence[Cell],
    *,
    threshold: Threshold | None,
    outputs: OutputPolicy,
    references: ReferencePolicy,
) -> list[Estimate]:
    """The endpoint's metric in every cell with its sampling weights, or why there is none; one look, one interval."""
    out = []
    for cell in cells:
        view = scenario(
            population,
            looks=COMPUTABLE[endpoint.metric].looks,
            threshold=None if threshold is None else threshold.value,
            strict=threshold is not None and threshold.strict,
            outputs=outputs,
            references=references,
            within=cell.mask,
        )
        c = cut(view, cell.mask, population.patient_index, protocol.confidence)
        why_not = not_assessable(protocol, COMPUTABLE[endpoint.metric], view, c, cell)
        out.append(why_not or _estimate(protocol, endpoint, c))
    return out


def _estimate(protocol: StudyProtocol, endpoint: Endpoint, c: Cut) -> Estimate:
    level, n = two_sided_level(protocol.confidence), len(c.reference)
    shared = {"patient": c.patient_index, "level": level}
    if endpoint.metric in get_args(CallMetric) and endpoint.prevalence is None and c.call is not None:
        metric = cast(CallMetric, endpoint.metric)
        method = cast(ProportionMethod, protocol.confidence.proportion)
        return weighted_call_metric(metric, c.reference, c.call, c.weight, method=method, **shared)  # type: ignore[arg-type]
    if endpoint.metric == "auroc":
        return weighted_auroc(c.reference, c.score, c.weight, **shared)  # type: ignore[arg-type]
    if endpoint.metric == "brier" and c.probability is not None:
        return weighted_brier(c.reference, c.probability, c.weight, **shared)  # type: ignore[arg-type]
    return Estimate.not_estimable("this figure has no weighted form, and the labels were sampled", n=n, level=level)

"""Which analysis answers which kind of task, and which metrics each of them computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from evalsuite.analyses import detection_task, measurement, multiclass, multilabel, ordinal_task, segmentation_task
from evalsuite.analyses.bias import gaps_between_groups
from evalsuite.analyses.classes import ClassPopulation, build_class_population
from evalsuite.analyses.common import Cell, OnStep, Results, cells_of, policies
from evalsuite.analyses.failures import failure_analysis
from evalsuite.analyses.generalisation import (
    EffectsOf,
    effects_of_figure,
    effects_of_one_question,
    generalise,
    sites_of,
)
from evalsuite.analyses.groups import differences_between_groups
from evalsuite.analyses.linear import linear_range
from evalsuite.analyses.measurement_population import MeasurementPopulation, build_measurement_population
from evalsuite.analyses.metrics import COMPUTABLE
from evalsuite.analyses.panel import panel_of_readers
from evalsuite.analyses.performance import evaluate_binary
from evalsuite.analyses.population import Population, build_population
from evalsuite.analyses.repeats import spread_of_repeats
from evalsuite.analyses.several import Studied
from evalsuite.analyses.slices import slice_search
from evalsuite.analyses.threshold_what_if import thresholds_what_if
from evalsuite.analyses.tipping import tipping_points
from evalsuite.analyses.tipping_several import tipping_of_shares
from evalsuite.analyses.triage import triage_figures
from evalsuite.analyses.uncertainty import uncertainty_figures
from evalsuite.analyses.verification import corrected_figures
from evalsuite.analyses.weighting import weighted_figures
from evalsuite.protocol.readers import READER_METRICS
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.stats.generalisation import Scale, SiteEffect
from evalsuite.testset.strata import StratumLabels, assign_strata


def computable() -> frozenset[str]:
    """Names of all metrics that some task's analysis computes; which task takes which is the catalogue's to say."""
    several = multiclass.COMPUTED | multilabel.COMPUTED | ordinal_task.COMPUTED
    own = measurement.COMPUTED | detection_task.COMPUTED | segmentation_task.COMPUTED
    return frozenset(COMPUTABLE) | several | own | frozenset(READER_METRICS)


def evaluate_task(
    protocol: StudyProtocol,
    *,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
    baseline: pd.DataFrame | None = None,
    original: pd.DataFrame | None = None,
    on_step: OnStep | None = None,
) -> Results:
    """Every finding, curve, count and test of a protocol, by the analysis of its kind of task.

    `frame` (reference and stratum columns), `predictions` (rater "device") and, where the protocol compares with one,
    the predictions of the `baseline` and of the `original` version have one row per case, in lock order.

    Raises
    ------
    InputError
        Where the reference is ambiguous or the score cannot be formed.
    ValueError
        For a kind of task without an analysis; the protocol's checks refuse it before.
    """
    analyses: dict[str, Callable[..., Results]] = {
        "binary": evaluate_binary,
        "multiclass": multiclass.evaluate_multiclass,
        "multilabel": multilabel.evaluate_multilabel,
        "ordinal": ordinal_task.evaluate_ordinal,
        "regression": measurement.evaluate_measurement,
        "detection": detection_task.evaluate_detection,
        "segmentation": segmentation_task.evaluate_segmentation,
    }
    if protocol.task.kind not in analyses:
        raise ValueError(f"no analysis of a {protocol.task.kind} task")
    others = {"baseline": baseline, "original": original}
    more = {who: frame for who, frame in others.items() if frame is not None}
    results = analyses[protocol.task.kind](
        protocol, case_id=case_id, patient_id=patient_id, frame=frame, predictions=predictions, on_step=on_step, **more
    )
    several = protocol.analyses.generalisation is not None or protocol.analyses.weighting is not None
    if protocol.task.kind != "binary" and several:
        make = _STUDIED[protocol.task.kind]
        made = make(protocol, case_id=case_id, patient_id=patient_id, frame=frame, predictions=predictions)
        results = _beside_several(results, protocol, frame, made)
    if protocol.task.kind == "binary" and _beside(protocol):
        results = _with_the_others(
            results, protocol, case_id=case_id, patient_id=patient_id, frame=frame, predictions=predictions
        )
    if protocol.task.kind != "binary":
        more_findings = tipping_of_shares(protocol, results.findings)
        results = replace(results, findings=(*results.findings, *more_findings))
    if protocol.task.kind in ("binary", "regression") and _sources_asked(protocol):
        build = build_population if protocol.task.kind == "binary" else build_measurement_population
        population = build(protocol, case_id=case_id, patient_id=patient_id, frame=frame, predictions=predictions)
        results = _joined(results, *_sources(protocol, population, frame))
    if protocol.analyses.failures is not None or protocol.analyses.slices is not None:
        answers = build_population if protocol.task.kind == "binary" else build_class_population
        answered: Population | ClassPopulation = answers(
            protocol, case_id=case_id, patient_id=patient_id, frame=frame, predictions=predictions
        )
        results = _joined(
            results,
            _named("failures", failure_analysis(protocol, answered, frame, predictions)),
            _named("slices", slice_search(protocol, answered, frame, predictions)),
        )
    if protocol.analyses.uncertainty is not None:
        answers = build_population if protocol.task.kind == "binary" else build_class_population
        stated: Population | ClassPopulation = answers(
            protocol, case_id=case_id, patient_id=patient_id, frame=frame, predictions=predictions
        )
        said = uncertainty_figures(protocol, stated, patient_id, frame, predictions)
        results = _joined(results, _named("uncertainty", said))
    if protocol.analyses.group_differences is not None:
        labels = assign_strata(frame, protocol.strata)
        results = _joined(results, differences_between_groups(protocol, labels, patient_id, results.findings))
    if protocol.analyses.bias is not None and protocol.task.kind == "binary":
        results = _joined(results, _biases(protocol, case_id, patient_id, frame, predictions, results))
    return results


def _biases(
    protocol: StudyProtocol,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
    results: Results,
) -> Results:
    """Gaps between groups of patients."""
    population = build_population(
        protocol, case_id=case_id, patient_id=patient_id, frame=frame, predictions=predictions
    )
    labels = assign_strata(frame, protocol.strata)
    return _named("bias", gaps_between_groups(protocol, population, labels, results.findings))


_STUDIED: dict[str, Callable[..., Studied]] = {
    "multiclass": multiclass.studied,
    "multilabel": multilabel.studied,
    "ordinal": ordinal_task.studied,
    "regression": measurement.studied,
    "detection": detection_task.studied,
    "segmentation": segmentation_task.studied,
}


def _beside_several(results: Results, protocol: StudyProtocol, frame: pd.DataFrame, asked: Studied) -> Results:
    """The results of a task with classes, labels, grades or measurements, with what sites and weights add."""
    labels = assign_strata(frame, protocol.strata)
    cells = cells_of(labels, asked.population.n)
    weighted = weighted_figures(protocol, asked.population, cells, frame, results.findings, asked.one_of)
    return _joined(
        results, generalise(protocol, labels, asked.population.patient_index, _effects_of(protocol, asked)), weighted
    )


def _effects_of(protocol: StudyProtocol, asked: Studied) -> EffectsOf:
    """Sites' figures: of one class or label as in a task of one question, of the whole task from its own estimates.

    A site is not a group to be reported on its own, so however small it is it takes part with its own uncertainty.
    """
    outputs, references = policies(protocol, None)

    def effects(endpoint: Endpoint, group: StratumLabels) -> tuple[tuple[SiteEffect, ...], Scale]:
        if endpoint.target is not None and asked.one_of is not None:
            population, cutoff = asked.one_of(endpoint.metric, endpoint.at, endpoint.target)
            return effects_of_one_question(protocol, population, endpoint, group, cutoff)
        sites = list(sites_of(group))
        cells = [Cell(stratum={group.keys[0]: site}, mask=mask) for site, mask in sites]
        found = asked.study.whatever_size().answer([endpoint], cells, outputs, references)
        estimates = {site: found[endpoint.name, i] for i, (site, _) in enumerate(sites)}
        return effects_of_figure(protocol, endpoint, estimates)

    return effects


def _sources_asked(protocol: StudyProtocol) -> bool:
    """Whether the protocol asks where a figure's variation comes from: panel, repeats."""
    a = protocol.analyses
    return any(block is not None for block in (a.truth_panel, a.variance_components, a.linearity))


def _sources(
    protocol: StudyProtocol, population: Population | MeasurementPopulation, frame: pd.DataFrame
) -> tuple[Results, ...]:
    made = (panel_of_readers(protocol, population, frame), spread_of_repeats(protocol, population, frame))
    return (*made, linear_range(protocol, population)) if isinstance(population, MeasurementPopulation) else made


def _named(analysis: str, results: Results) -> Results:
    """The same results, whose tests say which analysis they belong to: they adjust no claim of the protocol."""
    return replace(results, tests=tuple(replace(t, analysis=analysis) for t in results.tests))


def _joined(results: Results, *added: Results) -> Results:
    return replace(
        results,
        findings=(*results.findings, *(f for more in added for f in more.findings)),
        curves=(*results.curves, *(c for more in added for c in more.curves)),
        tests=(*results.tests, *(t for more in added for t in more.tests)),
        notes=(*results.notes, *(n for more in added for n in more.notes)),
        listings=(*results.listings, *(x for more in added for x in more.listings)),
    )


def _beside(protocol: StudyProtocol) -> bool:
    """Whether the protocol asks for anything beside performance, calibration and comparison."""
    a = protocol.analyses
    asked = (a.generalisation, a.weighting, a.verification, a.triage, a.threshold_what_if)
    return any(block is not None for block in asked) or protocol.missing_reference.primary == "tipping_point"


def _with_the_others(
    results: Results,
    protocol: StudyProtocol,
    *,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
) -> Results:
    """The results with what sites, tipping points, weights and partial verification add, each by itself."""
    population = build_population(
        protocol, case_id=case_id, patient_id=patient_id, frame=frame, predictions=predictions
    )
    labels = assign_strata(frame, protocol.strata)
    cells = cells_of(labels, population.n)
    return _joined(
        results,
        thresholds_what_if(protocol, population, labels),
        generalise(
            protocol,
            labels,
            population.patient_index,
            lambda e, group: effects_of_one_question(protocol, population, e, group, None),
        ),
        tipping_points(protocol, population, cells),
        weighted_figures(protocol, population, cells, frame, results.findings),
        corrected_figures(protocol, population, frame),
        triage_figures(protocol, population),
    )

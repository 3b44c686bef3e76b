"""What an endpoint would be with other readers on the reference panel: readers and patients resampled."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from evalsuite.analyses.common import Results
from evalsuite.analyses.measurement_population import MeasurementPopulation, measured_references
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.population import Bools, Floats, Population, reference_classes
from evalsuite.errors import InputError
from evalsuite.protocol.blocks import TruthPanel
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.stats.truth_panel import PanelVariability, Statistic, auroc_to, panel_reference, truth_panel
from evalsuite.types import Estimate, Finding

ANALYSIS = "truth_panel"


def panel_of_readers(
    protocol: StudyProtocol, population: Population | MeasurementPopulation, frame: pd.DataFrame
) -> Results:
    """Endpoints named by `analyses.truth_panel`, against the panel made of its readers' columns; nothing without it.

    Findings of the whole set, by condition: "panel_and_patients" (the full panel's value, its interval from resampled
    patients and readers), "patients" (this panel, other patients), "panel" (these patients, other panels drawn from
    these readers), "reader=COLUMN" (that reader alone as the reference standard) and "without_reader=COLUMN". The last
    two have no interval. A case without an output counts as in the primary analysis, a case the panel leaves
    unresolved (tied, or read by nobody) does not enter; `task.reference` takes no part.

    Raises
    ------
    InputError
        If a reader's column is absent, or a cell in it is no reading.
    """
    asked = protocol.analyses.truth_panel
    if asked is None:
        return Results(findings=(), curves=(), accounting=(), tests=(), notes=())
    readings = _readings(protocol, population, frame, asked)
    rule = "mean" if isinstance(population, MeasurementPopulation) else "majority"
    findings: list[Finding] = []
    notes = list(_notes(population, readings, asked))
    by_name = {e.name: e for e in protocol.endpoints}
    for name in asked.endpoints:
        endpoint = by_name[name]
        found = _resampled(protocol, population, endpoint, readings, asked)
        findings += _findings(protocol, endpoint, found, asked)
    unread = int(np.isnan(readings).sum())
    if unread:
        notes.append(f"{unread} of {readings.size} readings of the reference panel are missing ({rule} of those read).")
    return Results(findings=tuple(findings), curves=(), accounting=(), tests=(), notes=tuple(notes))


def _readings(
    protocol: StudyProtocol, population: Population | MeasurementPopulation, frame: pd.DataFrame, asked: TruthPanel
) -> Floats:
    """(n, readers) votes or measurements, NaN where a reader did not read a case."""
    absent = [c for c in asked.readers if c not in frame.columns]
    if absent:
        raise InputError(
            f"The locked test set has no column {', '.join(repr(c) for c in absent)} of the reference panel.",
            hint=f"Columns: {', '.join(map(str, frame.columns))}. Correct analyses.truth_panel.readers.",
        )
    # A reader's vote stands whatever was decided of the case afterwards.
    own = frame.drop(columns="reference_status", errors="ignore")
    columns = []
    for reader in asked.readers:
        task = protocol.task.model_copy(update={"reference": reader})
        as_reader = protocol.model_copy(update={"task": task})
        if isinstance(population, MeasurementPopulation):
            values, _ = measured_references(as_reader, own, population.case_id)
            columns.append(values)
        else:
            positive, classes = reference_classes(own, as_reader, population.case_id)
            read = np.array([c in ("positive", "negative") for c in classes], dtype=bool)
            columns.append(np.where(read, positive.astype(np.float64), np.nan))
    return np.column_stack(columns)


def _notes(population: Population | MeasurementPopulation, readings: Floats, asked: TruthPanel) -> Iterator[str]:
    yield (
        f"Figures against the reference panel rest on the readings of {len(asked.readers)} readers, not on the "
        "reference standard of the primary analysis; no criterion is judged on them."
    )
    if isinstance(population, MeasurementPopulation):
        return
    reference, known = panel_reference(readings, ties=asked.ties)
    both = known & population.has_reference
    differ = int((both & ((reference == 1.0) != population.positive)).sum())
    if differ:
        yield f"The panel's majority differs from the reference standard in {differ} of {int(both.sum())} cases."
    if asked.ties == "exclude" and not known.all():
        yield f"The panel leaves {int((~known).sum())} cases unresolved (tied or unread); they are not in its figures."


def _resampled(
    protocol: StudyProtocol,
    population: Population | MeasurementPopulation,
    endpoint: Endpoint,
    readings: Floats,
    asked: TruthPanel,
) -> PanelVariability | str:
    measured = isinstance(population, MeasurementPopulation)
    statistic = _of_errors(protocol, population, endpoint) if measured else _of_calls(protocol, population, endpoint)
    if isinstance(statistic, str):
        return statistic
    keep = population.has_output if protocol.missing_outputs.primary == "exclude" else np.ones(population.n, dtype=bool)
    return truth_panel(
        readings[keep],
        _among(statistic, keep),
        rule="mean" if measured else "majority",
        ties=asked.ties,
        patient=population.patient_index[keep],
        replicates=protocol.confidence.bootstrap.replicates,
        seed=protocol.seed,
        level=two_sided_level(protocol.confidence),
    )


def _among(statistic: Statistic, keep: Bools) -> Statistic:
    """A statistic of all n cases as one of those kept."""
    if keep.all():
        return statistic

    def of_kept(reference: Floats, weight: Floats) -> float:
        whole, counted = np.zeros(keep.size), np.zeros(keep.size)
        whole[keep], counted[keep] = reference, weight
        return statistic(whole, counted)

    return of_kept


def _of_calls(protocol: StudyProtocol, population: Population | MeasurementPopulation, endpoint: Endpoint) -> Statistic:
    """A proportion or the AUROC as a statistic of the panel's reference; cases without output by the primary policy."""
    assert isinstance(population, Population)
    gone, policy = ~population.has_output, protocol.missing_outputs.primary
    if endpoint.metric == "auroc":
        return _area(population.score, gone, policy)
    assert endpoint.at is not None, "the protocol's loader requires an operating point"
    point = protocol.operating_point(endpoint.at)
    score = np.where(gone, 0.0, population.score)
    seen = score > point.threshold if point.comparison == ">" else score >= point.threshold
    share = _SHARES[endpoint.metric]

    def statistic(reference: Floats, weight: Floats) -> float:
        positive = reference == 1.0
        # Worst case: a case without output is called the opposite of what it is, whatever the panel says it is.
        assumed = ~positive if policy == "worst_case" else np.full(positive.size, policy == "as_positive")
        called = np.where(gone, assumed, seen)
        success, among = share(positive, called)
        total = float(weight @ among)
        return float(weight @ (success & among)) / total if total > 0 else math.nan

    return statistic


_SHARES: dict[str, Callable[[Bools, Bools], tuple[Bools, Bools]]] = {
    "sensitivity": lambda positive, called: (called, positive),
    "specificity": lambda positive, called: (~called, ~positive),
    "ppv": lambda positive, called: (positive, called),
    "npv": lambda positive, called: (~positive, ~called),
    "accuracy": lambda positive, called: (called == positive, np.ones_like(positive)),
}


def _area(score: Floats, gone: Bools, policy: str) -> Statistic:
    known = score[~gone]
    if policy in ("as_positive", "as_negative"):
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
        end = high + 1.0 if policy == "as_positive" else low - 1.0
        return auroc_to(np.where(gone, end, score))
    among_known = auroc_to(np.where(gone, 0.0, score))

    def statistic(reference: Floats, weight: Floats) -> float:
        """A positive without output loses against every negative, and a negative without output to every positive."""
        seen = np.where(gone, 0.0, weight)
        area = among_known(reference, seen)
        pairs, of = (float(w @ (reference == 1.0)) * float(w @ (reference == 0.0)) for w in (seen, weight))
        if of == 0.0:
            return math.nan
        return area * pairs / of if pairs > 0 else 0.0

    return statistic


def _of_errors(
    protocol: StudyProtocol, population: Population | MeasurementPopulation, endpoint: Endpoint
) -> Statistic | str:
    """Bias, MAE or RMSE as a statistic of the panel's mean reading; or why there is none."""
    assert isinstance(population, MeasurementPopulation)
    gone = ~population.has_output
    lost = int(gone.sum())
    if lost and protocol.missing_outputs.primary == "worst_case" and endpoint.maximum is None:
        return f"{lost} cases have no output, and the protocol declares no largest error (maximum) for this endpoint"
    device = np.where(gone, 0.0, population.device)
    below = endpoint.criterion is not None and endpoint.criterion.op in (">", ">=")
    largest = (endpoint.maximum or 0.0) * (-1.0 if below else 1.0)

    def statistic(reference: Floats, weight: Floats) -> float:
        error = np.where(gone, largest, device - reference)
        total = float(weight.sum())
        if endpoint.metric == "bias":
            return float(weight @ error) / total
        if endpoint.metric == "mae":
            return float(weight @ np.abs(error)) / total
        return math.sqrt(float(weight @ error**2) / total)

    return statistic


def _findings(
    protocol: StudyProtocol, endpoint: Endpoint, found: PanelVariability | str, asked: TruthPanel
) -> Iterator[Finding]:
    level = two_sided_level(protocol.confidence)
    if isinstance(found, str):
        none = Estimate.not_estimable(found, n=0, level=level)
        yield _finding(protocol, endpoint, none, "panel_and_patients")
        return
    e = found.estimate
    yield _finding(protocol, endpoint, e, "panel_and_patients")
    yield _finding(protocol, endpoint, found.cases_only, "patients")
    yield _finding(protocol, endpoint, found.panel_only, "panel")
    for words, method, values in (
        ("reader", "one reader's readings as the reference standard", found.each_reader),
        ("without_reader", "the other readers as the panel", found.without_reader),
    ):
        for column, value in zip(asked.readers, values, strict=True):
            one = (
                Estimate.not_estimable("undefined against this reference", n=e.n, level=level, method=method)
                if value is None
                else Estimate(
                    value=value,
                    interval_undefined="a description of one panel",
                    n=e.n,
                    n_patients=e.n_patients,
                    level=level,
                    method=method,
                )
            )
            yield _finding(protocol, endpoint, one, f"{words}={column}")


def _finding(protocol: StudyProtocol, endpoint: Endpoint, estimate: Estimate, condition: str) -> Finding:
    return Finding(
        analysis=ANALYSIS,
        endpoint=endpoint.name,
        metric=endpoint.metric,
        role="secondary",
        target=str(protocol.task.reference),
        operating_point=endpoint.at,
        condition=condition,
        estimate=estimate,
    )

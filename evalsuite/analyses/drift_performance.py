"""Performance in the window beside the baseline's: differences, and detectors that go on from audit to audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evalsuite.analyses.arrival import by_patient
from evalsuite.analyses.binary_questions import answer
from evalsuite.analyses.common import Cell, cells_of, primary_reference_policy
from evalsuite.analyses.drift_periods import (
    ANALYSIS,
    BASELINE,
    EarlierAudit,
    Figure,
    Indicator,
    Period,
    call_threshold,
    plain,
)
from evalsuite.analyses.metrics import COMPUTABLE, two_sided_level
from evalsuite.analyses.population import Bools, OutputPolicy, Population, ReferencePolicy, scenario
from evalsuite.analyses.resampling import Resampling
from evalsuite.protocol.comparisons import SUFFIX
from evalsuite.protocol.drift import Drift, Monitor
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.stats.differences import mover_difference
from evalsuite.stats.sequential import STAKES, DetectorState, confidence_sequence, e_detector
from evalsuite.testset.strata import assign_strata
from evalsuite.types import Curve, Estimate, Finding, TestOutcome

#: Points at which the confidence sequence is drawn.
_DRAWN = 20

_BELOW = "the whole confidence sequence of this window lies below the action limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What came of watching performance; `figures` are those that the next audits' charts go on from."""

    findings: tuple[Finding, ...]
    curves: tuple[Curve, ...] = ()
    tests: tuple[TestOutcome, ...] = ()
    indicators: tuple[Indicator, ...] = ()
    notes: tuple[str, ...] = ()
    figures: Mapping[str, tuple[Figure, Figure]]


# --- differences ----------------------------------------------------------------------------------------------------


def differences(protocol: StudyProtocol, baseline: Period, labelled: Period) -> list[Finding]:
    """Every endpoint in both periods and their difference, window less baseline, in the whole and in every stratum.

    What is missing counts against the window and for the baseline. Intervals are those of one look, since the window is
    compared once; differences are square-and-add of both. A stratum that only one period has is not compared.
    """
    sides = []
    for period, against in ((baseline, False), (labelled, True)):
        cells = cells_of(assign_strata(period.frame, protocol.strata), period.n)
        population = period.population(protocol)
        draw = Resampling.of(protocol, population.patient_index)
        sides.append((population, cells, draw, _policies(protocol, against=against)))
    out: list[Finding] = []
    for endpoint in protocol.endpoints:
        if endpoint.metric not in COMPUTABLE:
            continue
        fixed = endpoint.model_copy(update={"interval": None}) if endpoint.interval == "sequence" else endpoint
        threshold = None if endpoint.at is None else call_threshold(protocol, endpoint.at)
        found: list[dict[tuple[tuple[str, str], ...], Estimate]] = []
        for population, cells, draw, (outputs, references) in sides:
            made = answer(
                protocol, population, draw, fixed, cells, threshold=threshold, outputs=outputs, references=references
            )
            found.append({_key(c): e for c, e in zip(cells, made, strict=True)})
        for key, second in found[1].items():
            first = found[0].get(key)
            if first is None:
                continue
            where = {"stratum": dict(key), "operating_point": endpoint.at}
            out.append(plain(endpoint.name, endpoint.metric, first, condition=BASELINE, **where))  # type: ignore[arg-type]
            out.append(plain(endpoint.name, endpoint.metric, second, condition="window", **where))  # type: ignore[arg-type]
            gap = mover_difference(second, first)
            out.append(plain(endpoint.name, f"{endpoint.metric}{SUFFIX}", gap, reference_group=BASELINE, **where))  # type: ignore[arg-type]
    return out


def _key(cell: Cell) -> tuple[tuple[str, str], ...]:
    return tuple(cell.stratum.items())


def _policies(protocol: StudyProtocol, *, against: bool) -> tuple[OutputPolicy, ReferencePolicy]:
    """What is assumed about gaps: against the window, for the baseline; another policy holds for both."""
    outputs: OutputPolicy = protocol.missing_outputs.primary
    references = primary_reference_policy(protocol)
    if against:
        return outputs, references
    return (
        "best_case" if outputs == "worst_case" else outputs,
        "best_case" if references == "worst_case" else references,
    )


# --- detectors ------------------------------------------------------------------------------------------------------


def watch(
    protocol: StudyProtocol,
    baseline: Period,
    labelled: Period,
    earlier: Sequence[EarlierAudit],
    found: Sequence[Finding],
) -> Watched:
    """Detectors, their alarms and the table's lines for every monitored endpoint.

    `labelled` is in the order in which labels arrived, `found` are the findings of :func:`differences`. A case without
    a label is left for the audit that will have it; a case without output counts as the protocol says.
    """
    asked = protocol.analyses.drift
    assert asked is not None, "the protocol's checks require it"
    population = labelled.population(protocol)
    before = baseline.population(protocol)
    parts = [
        _one(protocol, asked, m, population, before, earlier[-1] if earlier else EarlierAudit(), found)
        for m in asked.monitor
    ]
    return Watched(
        findings=tuple(f for p in parts for f in p.findings),
        curves=tuple(c for p in parts for c in p.curves),
        tests=tuple(t for p in parts for t in p.tests),
        indicators=tuple(i for p in parts for i in p.indicators),
        figures={name: pair for p in parts for name, pair in p.figures.items()},
    )


def _one(
    protocol: StudyProtocol,
    asked: Drift,
    monitor: Monitor,
    population: Population,
    before: Population,
    last: EarlierAudit,
    found: Sequence[Finding],
) -> Watched:
    endpoint = next(e for e in protocol.endpoints if e.name == monitor.endpoint)
    outputs = protocol.missing_outputs.primary
    good, total = _patients(protocol, endpoint, population, outputs)
    best: OutputPolicy = "best_case" if outputs == "worst_case" else outputs
    good_before, total_before = _patients(protocol, endpoint, before, best)
    start = last.detectors.get(endpoint.name, DetectorState())
    limits = f"action: below {monitor.action:g}; warning: below {monitor.warning:g}"
    name = f"Performance: {endpoint.name}"
    figures = {}
    if total.size and total_before.size:
        figures[endpoint.name] = (_figure(good_before, total_before), _figure(good, total))
    alarmed = endpoint.name in last.alarmed
    test = f"{ANALYSIS}: {endpoint.name} below {monitor.action:g}"
    method = f"e-detector, {asked.alpha_detector:.2g} for {monitor.planned_patients} patients of the calendar"
    sequence = _whole(protocol, good, total)
    below = sequence.high is not None and sequence.high < monitor.action
    if start.seen + total.size > monitor.planned_patients:
        why = (
            f"{start.seen + total.size} patients have labels and {monitor.planned_patients} were planned: the budget "
            "of false alarms is for those; begin a new calendar with a new version of the protocol"
        )
        return Watched(
            findings=(),
            tests=(TestOutcome(name=test, statistic=None, p_value=None, method=method, undefined=why),),
            indicators=(
                Indicator(
                    name=name,
                    kind="performance",
                    status="action" if alarmed or below else "not assessed",
                    value=figures[endpoint.name][1].value if below else None,
                    limits=limits,
                    n=int(total.size),
                    reason=f"{_BELOW}; {why}" if below else why,
                ),
            ),
            figures=figures,
        )
    detector = e_detector(
        good,
        total,
        limit=monitor.action,
        planned=monitor.planned_patients,
        false_alarm=asked.alpha_detector,
        start=start,
    )
    curves = _curves(endpoint, detector.log_evidence, float(np.log(detector.threshold)), detector.state, start)
    drawn = _sequence(protocol, endpoint, good, total)
    peak = float(detector.log_evidence.max()) if detector.log_evidence.size else None
    outcome = TestOutcome(
        name=test,
        statistic=peak,
        p_value=None,
        method=method,
        endpoint=endpoint.name,
        undefined=None if peak is not None else "no patient with a label",
    )
    now = detector.alarm is not None
    status, reason = _status(monitor, endpoint, found, alarmed=alarmed, now=now, seen=int(total.size))
    if status != "action" and below:
        status, reason = "action", _BELOW
    value = figures[endpoint.name][1].value if endpoint.name in figures else None
    line = Indicator(
        name=name,
        kind="performance",
        status=status,  # type: ignore[arg-type]
        value=value,
        limits=limits,
        n=int(total.size),
        reason=reason,
    )
    return Watched(findings=(), curves=(*curves, *drawn), tests=(outcome,), indicators=(line,), figures=figures)


def _status(
    monitor: Monitor, endpoint: Endpoint, found: Sequence[Finding], *, alarmed: bool, now: bool, seen: int
) -> tuple[str, str]:
    if alarmed:
        return "action", "the detector raised its alarm in an earlier audit of this calendar, and it stands"
    if now:
        return "action", "the detector raised its alarm in this window"
    here = next(
        (f.estimate for f in found if f.endpoint == endpoint.name and f.condition == "window" and not f.stratum), None
    )
    if not seen or here is None or here.value is None:
        return "not assessed", "no labels: nothing is known of performance"
    if here.value < monitor.warning:
        return "warning", "below the warning limit; no alarm"
    return "normal", "above the warning limit; no alarm. Only the criterion says whether it is met"


def _patients(
    protocol: StudyProtocol, endpoint: Endpoint, population: Population, outputs: OutputPolicy
) -> tuple[np.ndarray, np.ndarray]:
    """Correct calls and cases of every patient with labels, in the order in which patients are complete."""
    threshold = call_threshold(protocol, endpoint.at)
    assert threshold is not None, "the protocol's checks require an operating point"
    view = scenario(
        population,
        looks=COMPUTABLE[endpoint.metric].looks,
        threshold=threshold.value,
        strict=threshold.strict,
        outputs=outputs,
        references="exclude",
    )
    assert view.call is not None
    success, among = share_of(endpoint.metric, view.reference, view.call)
    among = among & view.include
    if not among.any():
        return np.zeros(0), np.zeros(0)
    return by_patient(success[among], population.patient_index[among])


def share_of(metric: str, positive: Bools, call: Bools) -> tuple[Bools, Bools]:
    """Which cases count as right, and among which cases, for a share of cases. KeyError for any other metric."""
    return {
        "sensitivity": (call, positive),
        "specificity": (~call, ~positive),
        "ppv": (positive, call),
        "npv": (~positive, ~call),
        "accuracy": (call == positive, np.ones(len(call), dtype=bool)),
    }[metric]


def _figure(good: np.ndarray, total: np.ndarray) -> Figure:
    return Figure(value=float((good / total).mean()), n=int(total.size))


def _whole(protocol: StudyProtocol, good: np.ndarray, total: np.ndarray) -> Estimate:
    return confidence_sequence(good, total, level=two_sided_level(protocol.confidence))


def _curves(
    endpoint: Endpoint, path: np.ndarray, limit: float, state: DetectorState, start: DetectorState
) -> tuple[Curve, ...]:
    """The detector's path over the patients of this window, numbered on from the audits before, and where it stands."""
    made = []
    if path.size:
        made.append(
            Curve(
                analysis=ANALYSIS,
                metric=endpoint.metric,
                kind="detector",
                series=endpoint.name,
                x=tuple(float(start.seen + 1 + i) for i in range(path.size)),
                y=tuple(float(v) for v in path),
                high=(limit,) * path.size,
                low=(float(path.min()),) * path.size,
                n=state.seen,
            )
        )
    if state.seen:
        made.append(
            Curve(
                analysis=ANALYSIS,
                metric=endpoint.metric,
                kind="detector_state",
                series=endpoint.name,
                x=STAKES,
                y=state.log_processes,
                n=state.seen,
            )
        )
    return tuple(made)


def _sequence(protocol: StudyProtocol, endpoint: Endpoint, good: np.ndarray, total: np.ndarray) -> tuple[Curve, ...]:
    """The confidence sequence after more and more patients of this window."""
    if total.size < 2:
        return ()
    at = np.unique(np.linspace(max(2, total.size // _DRAWN), total.size, _DRAWN).astype(int))
    points = [(int(k), _whole(protocol, good[:k], total[:k])) for k in at]
    kept = [(k, e) for k, e in points if e.value is not None and e.low is not None]
    if not kept:
        return ()
    return (
        Curve(
            analysis=ANALYSIS,
            metric=endpoint.metric,
            kind="sequence",
            series=endpoint.name,
            x=tuple(float(k) for k, _ in kept),
            y=tuple(float(e.value or 0.0) for _, e in kept),
            low=tuple(float(e.low or 0.0) for _, e in kept),
            high=tuple(float(1.0 if e.high is None else e.high) for _, e in kept),
            n=int(total.size),
        ),
    )

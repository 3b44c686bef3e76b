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
    Status,
    call_threshold,
    plain,
)
from evalsuite.analyses.drift_shares import counted_in
from evalsuite.analyses.drift_weighted import weighted_answer
from evalsuite.analyses.metrics import COMPUTABLE, two_sided_level
from evalsuite.analyses.population import Floats, Ints, OutputPolicy, Population, ReferencePolicy
from evalsuite.analyses.resampling import Resampling
from evalsuite.protocol.comparisons import SUFFIX
from evalsuite.protocol.drift import Drift, Monitor
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.stats.differences import mover_difference
from evalsuite.stats.sequential import STAKES, DetectorState, confidence_sequence, e_detector, fallen_below
from evalsuite.stats.weighting import kish_effective_n
from evalsuite.testset.strata import assign_strata
from evalsuite.types import Curve, Estimate, Finding, TestOutcome

#: Points at which the confidence sequence is drawn.
_DRAWN = 20

_BELOW = "the whole confidence sequence of this window lies below the action limit"
_LOST = f"{_BELOW}, at this audit's part of the budget of false alarms"


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
            asked = {"threshold": threshold, "outputs": outputs, "references": references}
            if population.weight is None:
                made = answer(protocol, population, draw, fixed, cells, **asked)  # type: ignore[arg-type]
            else:
                made = weighted_answer(protocol, population, fixed, cells, **asked)  # type: ignore[arg-type]
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
    arrived = _patients(protocol, endpoint, population, outputs)
    best: OutputPolicy = "best_case" if outputs == "worst_case" else outputs
    arrived_before = _patients(protocol, endpoint, before, best)
    start = last.detectors.get(endpoint.name, DetectorState())
    figures = {}
    if arrived.n and arrived_before.n:
        figures[endpoint.name] = (arrived_before.figure(), arrived.figure())
    value = figures[endpoint.name][1].value if endpoint.name in figures else None
    test = f"{ANALYSIS}: {endpoint.name} below {monitor.action:g}"
    method = f"e-detector, {asked.alpha_detector:.2g} for {monitor.planned_patients} patients of the calendar"
    raised = _raised(asked, monitor, arrived, alarmed=endpoint.name in last.alarmed)

    def line(status: Status, reason: str, value: float | None) -> Indicator:
        return Indicator(
            name=f"Performance: {endpoint.name}",
            kind="performance",
            status=status,
            value=value,
            limits=f"action: below {monitor.action:g}; warning: below {monitor.warning:g}",
            n=arrived.n,
            reason=reason,
        )

    if start.seen + arrived.n > monitor.planned_patients:
        why = (
            f"{start.seen + arrived.n} patients have labels and {monitor.planned_patients} were planned: the budget "
            "of false alarms is for those; begin a new calendar with a new version of the protocol"
        )
        stands = line("action", f"{raised}; {why}", value) if raised else line("not assessed", why, None)
        outcome = TestOutcome(name=test, statistic=None, p_value=None, method=method, undefined=why)
        return Watched(findings=(), tests=(outcome,), indicators=(stands,), figures=figures)
    detector = e_detector(
        arrived.good,
        arrived.total,
        limit=monitor.action,
        planned=monitor.planned_patients,
        false_alarm=asked.alpha_detector,
        weights=arrived.weight,
        most_weight=arrived.most_weight,
        start=start,
    )
    curves = _curves(endpoint, detector.log_evidence, float(np.log(detector.threshold)), detector.state, start)
    drawn = _sequence(protocol, endpoint, arrived)
    peak = float(detector.log_evidence.max()) if detector.log_evidence.size else None
    outcome = TestOutcome(
        name=test,
        statistic=peak,
        p_value=None,
        method=method,
        endpoint=endpoint.name,
        undefined=None if peak is not None else "no patient with a label",
    )
    if not raised and detector.alarm is not None:
        raised = "the detector raised its alarm in this window"
    status, reason = _status(protocol, monitor, endpoint, found, arrived)
    if raised:
        status, reason = "action", raised
    return Watched(
        findings=(),
        curves=(*curves, *drawn),
        tests=(outcome,),
        indicators=(line(status, reason, value),),
        figures=figures,
    )


def _raised(asked: Drift, monitor: Monitor, arrived: Arrived, *, alarmed: bool) -> str:
    """Why an alarm stands whatever the detector says; empty where none does."""
    if alarmed:
        return "an alarm was raised in an earlier audit of this calendar, and it stands"
    lost = fallen_below(
        arrived.good,
        arrived.total,
        limit=monitor.action,
        false_alarm=asked.alpha_window,
        weights=arrived.weight,
        most_weight=arrived.most_weight,
    )
    return _LOST if lost else ""


def _status(
    protocol: StudyProtocol, monitor: Monitor, endpoint: Endpoint, found: Sequence[Finding], arrived: Arrived
) -> tuple[Status, str]:
    here = next(
        (f.estimate for f in found if f.endpoint == endpoint.name and f.condition == "window" and not f.stratum), None
    )
    if not arrived.n or here is None or here.value is None:
        return "not assessed", "no labels: nothing is known of performance"
    sequence = arrived.limits(protocol)
    if sequence.high is not None and sequence.high < monitor.action:
        return "warning", f"{_BELOW}, as one window's verdict says; no alarm at this audit's part of the budget"
    if here.value < monitor.warning:
        return "warning", "below the warning limit; no alarm"
    return "normal", "above the warning limit; no alarm. Only the criterion says whether it is met"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arrived:
    """Patients with labels in the order in which they are complete, each array of shape (patients,): correct calls,
    cases, and sampling weights as parts of the largest (None: unweighted)."""

    good: Floats
    total: Ints
    weight: Floats | None

    @property
    def n(self) -> int:
        return int(self.total.size)

    @property
    def most_weight(self) -> float | None:
        """The largest weight there can be; weights are parts of it."""
        return None if self.weight is None else 1.0

    def figure(self) -> Figure:
        """The patients' mean share; with weights, of as many patients as they are worth (Kish)."""
        share = self.good / self.total
        if self.weight is None:
            return Figure(value=float(share.mean()), n=self.n)
        value = float((self.weight * share).sum() / self.weight.sum())
        return Figure(value=value, n=max(1, round(kish_effective_n(self.weight))))

    def limits(self, protocol: StudyProtocol, first: int | None = None) -> Estimate:
        """Limits that hold at every look, after the `first` patients or all."""
        k = self.n if first is None else first
        return confidence_sequence(
            self.good[:k],
            self.total[:k],
            level=two_sided_level(protocol.confidence),
            weights=None if self.weight is None else self.weight[:k],
            most_weight=self.most_weight,
        )


def _patients(protocol: StudyProtocol, endpoint: Endpoint, population: Population, outputs: OutputPolicy) -> Arrived:
    success, among, every = counted_in(protocol, endpoint, population, outputs)
    if not among.any():
        return Arrived(good=np.zeros(0), total=np.zeros(0, dtype=np.int64), weight=None)
    weight = None if every is None else every[among]
    good, total, weights = by_patient(success[among], population.patient_index[among], weight)
    return Arrived(good=good, total=total, weight=weights)


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


def _sequence(protocol: StudyProtocol, endpoint: Endpoint, arrived: Arrived) -> tuple[Curve, ...]:
    """The confidence sequence after more and more patients of this window."""
    if arrived.n < 2:
        return ()
    at = np.unique(np.linspace(max(2, arrived.n // _DRAWN), arrived.n, _DRAWN).astype(int))
    points = [(int(k), arrived.limits(protocol, int(k))) for k in at]
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
            n=arrived.n,
        ),
    )

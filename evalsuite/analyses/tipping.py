"""How many cases without a reference standard the device would have to have wrong before a criterion fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast, get_args

from evalsuite.analyses.common import Cell, Results
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.population import Population
from evalsuite.analyses.views import primary_view
from evalsuite.protocol.schema import AurocInterval, BootstrapInterval, Criterion, Endpoint, StudyProtocol
from evalsuite.stats.proportions import ProportionMethod
from evalsuite.stats.tipping_point import Goal, Metric, auroc_tipping_point, proportion_tipping_point
from evalsuite.types import Estimate, Finding, Stratum

ANALYSIS = "tipping_point"
#: Findings of this metric hold a number of cases, not a performance.
CASES = "cases_wrong_to_fail"
EXPECTED = "cases_wrong_expected"
_RESAMPLED: tuple[str, ...] = get_args(BootstrapInterval)
_MOST_DIVISIONS, _MOST_UNRESOLVED = 250_000, 500
_COUNT = "a count of cases, not an estimate"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What is said of one criterion: by condition (and metric, where it is not the endpoint's own)."""

    all_right: Estimate
    all_wrong: Estimate
    tipping: Estimate
    expected: Estimate


def tipping_points(protocol: StudyProtocol, population: Population, cells: Sequence[Cell]) -> Results:
    """The tipping point of every criterion, where the protocol asks and some case lacks a reference standard.

    Findings per criterion and group it is judged in: the estimate with all unresolved cases right ("all_right") and all
    wrong ("all_wrong"), the smallest number wrong for which the criterion fails (metric "cases_wrong_to_fail": value
    over denominator; not estimable where it holds under every division) and the number expected at the error rate of
    resolved cases (metric "cases_wrong_expected"). For the AUROC the first two are the largest and the smallest area,
    and the number is of those numbers of positives among the unresolved for which some division fails.

    Cases without an output are treated as in the primary analysis; they are resolved (as wrong, in the worst case) even
    without a reference.
    """
    findings: list[Finding] = []
    if protocol.missing_reference.primary == "tipping_point" and not population.has_reference.all():
        for endpoint in protocol.endpoints:
            criterion = endpoint.criterion
            if criterion is None or criterion.placeholder:
                continue
            for cell in cells:
                if judged_in(protocol, endpoint, cell.stratum):
                    findings += _findings(protocol, population, endpoint, criterion, cell)
    return Results(findings=tuple(findings), curves=(), accounting=(), tests=(), notes=())


def judged_in(protocol: StudyProtocol, endpoint: Endpoint, stratum: Stratum) -> bool:
    """Whether the endpoint's criterion is judged in this group."""
    if endpoint.each is not None:
        spec = protocol.stratum(endpoint.each)
        return set(stratum) == set(spec.cross or [spec.name])
    return dict(stratum) == dict(endpoint.stratum)


def _findings(
    protocol: StudyProtocol, population: Population, endpoint: Endpoint, criterion: Criterion, cell: Cell
) -> list[Finding]:
    found = _search(protocol, population, endpoint, criterion, cell)
    rows = (
        (endpoint.metric, "all_right", found.all_right),
        (endpoint.metric, "all_wrong", found.all_wrong),
        (CASES, "tipping_point", found.tipping),
        (EXPECTED, "tipping_point", found.expected),
    )
    return [
        Finding(
            analysis=ANALYSIS,
            endpoint=endpoint.name,
            metric=metric,
            role=endpoint.role,
            target=str(protocol.task.reference),
            operating_point=endpoint.at,
            stratum=dict(cell.stratum),
            condition=condition,
            estimate=estimate,
        )
        for metric, condition, estimate in rows
    ]


def _search(
    protocol: StudyProtocol, population: Population, endpoint: Endpoint, criterion: Criterion, cell: Cell
) -> _Found:
    level = two_sided_level(protocol.confidence)
    unresolved = cell.mask & population.has_output & ~population.has_reference
    u = int(unresolved.sum())
    reason = _why_not(endpoint, population, u)
    if reason is None and u == 0:
        reason = "no case with an output lacks a reference standard"
    if reason is not None:
        none = Estimate.not_estimable(reason, n=u, level=level)
        return _Found(all_right=none, all_wrong=none, tipping=none, expected=none)
    goal = Goal(bound=criterion.bound, op=criterion.op, value=criterion.value)
    if endpoint.metric == "auroc":
        return _area(protocol, population, endpoint, goal, cell, level)
    return _proportion(protocol, population, endpoint, goal, cell, level)


def _why_not(endpoint: Endpoint, population: Population, u: int) -> str | None:
    """Why no search is made for this criterion, or None."""
    if endpoint.metric != "auroc" and endpoint.metric not in get_args(Metric):
        return "no tipping point is searched for with this metric"
    if endpoint.prevalence is not None:
        return "no tipping point is searched for at a declared prevalence"
    if endpoint.interval in _RESAMPLED:
        return "no tipping point is searched for with a bootstrap interval"
    if endpoint.metric == "auroc":
        return f"more than {_MOST_UNRESOLVED} cases lack a reference standard" if u > _MOST_UNRESOLVED else None
    if population.clustered:
        return "several cases per patient: which of them are wrong changes the interval, not only how many"
    return None


def _proportion(
    protocol: StudyProtocol, population: Population, endpoint: Endpoint, goal: Goal, cell: Cell, level: float
) -> _Found:
    view = primary_view(protocol, population, endpoint.metric, endpoint.at, within=cell.mask, references="worst_case")
    assert view.call is not None, "the protocol's loader requires an operating point"
    unresolved = view.include & population.has_output & ~population.has_reference
    settled = view.include & ~unresolved
    y, called = view.reference, view.call
    up, un = int((unresolved & called).sum()), int((unresolved & ~called).sum())
    if (up + 1) * (un + 1) > _MOST_DIVISIONS:
        none = Estimate.not_estimable("too many cases lack a reference standard", n=up + un, level=level)
        return _Found(all_right=none, all_wrong=none, tipping=none, expected=none)
    found = proportion_tipping_point(
        cast(Metric, endpoint.metric),
        goal,
        true_positive=int((settled & y & called).sum()),
        false_negative=int((settled & y & ~called).sum()),
        true_negative=int((settled & ~y & ~called).sum()),
        false_positive=int((settled & ~y & called).sum()),
        unresolved_called_positive=up,
        unresolved_called_negative=un,
        level=level,
        method=cast(ProportionMethod, endpoint.interval or protocol.confidence.proportion),
    )
    u = found.n_unresolved
    method = "fewest wrong among all divisions of the unresolved cases"
    if found.tipping is None:
        holds = "the criterion holds even with every unresolved case wrong, and under every other division"
        tipping = Estimate.not_estimable(holds, n=u, level=level, method=method)
    else:
        tipping = _number(found.tipping.wrong, u, level, method)
    if found.expected_wrong is None:
        why = "no resolved case has the same call"
        expected = Estimate.not_estimable(why, n=u, level=level)
    else:
        expected = _number(found.expected_wrong, u, level, "error rate of resolved cases with the same call")
    return _Found(
        all_right=found.all_right.estimate, all_wrong=found.all_wrong.estimate, tipping=tipping, expected=expected
    )


def _area(
    protocol: StudyProtocol, population: Population, endpoint: Endpoint, goal: Goal, cell: Cell, level: float
) -> _Found:
    view = primary_view(protocol, population, "auroc", None, within=cell.mask, references="worst_case")
    m = view.include
    known = (population.has_reference | ~population.has_output)[m]
    found = auroc_tipping_point(
        view.reference[m],
        view.score[m],
        known,
        goal,
        patient=population.patient_index[m] if population.clustered else None,
        level=level,
        method=cast(AurocInterval, endpoint.interval or protocol.confidence.auroc),
    )
    u = found.n_unresolved
    best = max(found.best, key=_height)
    worst = min((e for e in found.worst if e.value is not None), key=_height, default=found.worst[0])
    method = "numbers of positives among the unresolved cases for which some division fails, of all numbers possible"
    if found.fails_for:
        tipping = _number(len(found.fails_for), u, level, method, of=u + 1)
    else:
        holds = "the criterion holds under every division of the unresolved cases"
        tipping = Estimate.not_estimable(holds, n=u, level=level, method=method)
    none = Estimate.not_estimable("not defined for an area", n=u, level=level)
    return _Found(all_right=best, all_wrong=worst, tipping=tipping, expected=none)


def _height(e: Estimate) -> float:
    return -1.0 if e.value is None else e.value


def _number(value: float, u: int, level: float, method: str, *, of: int | None = None) -> Estimate:
    return Estimate(
        value=float(value),
        numerator=float(value),
        denominator=float(of or u),
        n=u,
        level=level,
        method=method,
        interval_undefined=_COUNT,
    )

"""Tipping points outside binary tasks: how many shares, or how large errors, of unresolved cases make a criterion fail.

A share of cases that are right (accuracy, coverage probability) falls by one case for each unresolved case that is
wrong. An error of a measurement has no right and wrong: the size of error is sought that all unresolved cases would
have to have, to the side that is worst.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import cast, get_args

from evalsuite.analyses.common import Cell
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.tipping import ANALYSIS, CASES, EXPECTED, judged_in
from evalsuite.protocol.metrics import METRICS
from evalsuite.protocol.schema import BootstrapInterval, Endpoint, StudyProtocol
from evalsuite.stats.proportions import ProportionMethod, proportion
from evalsuite.stats.tipping_point import Goal
from evalsuite.types import Estimate, Finding

#: Findings of these metrics hold the size of an error, in the unit of the measurement.
SIZE, SIZE_EXPECTED = "error_to_fail", "error_expected"
_RESAMPLED: tuple[str, ...] = get_args(BootstrapInterval)
_COUNT, _SIZE = "a count of cases, not an estimate", "a size that is assumed, not an estimate"
_GRID, _HALVINGS = 64, 40


def tipping_of_shares(protocol: StudyProtocol, findings: Sequence[Finding]) -> list[Finding]:
    """Tipping points of criteria on shares of all cases, from their best and worst case without a reference.

    `findings` hold those as alternates of missing data; a criterion without them has no unresolved case. Conditions and
    metrics are those of a binary task. For a share whose cases are not all cases (the sensitivity of one class), and
    with several cases per patient, the reason why none is searched for.
    """
    if protocol.missing_reference.primary != "tipping_point":
        return []
    made: list[Finding] = []
    for endpoint in protocol.endpoints:
        c = endpoint.criterion
        if c is None or c.placeholder or METRICS[endpoint.metric].family != "proportion":
            continue
        mine = [f for f in findings if f.endpoint == endpoint.name and f.analysis == "missing_data"]
        by = {(f.condition, tuple(f.stratum.items())): f for f in mine}
        for (condition, where), worst in by.items():
            best = by.get(("missing_reference=best_case", where))
            if condition != "missing_reference=worst_case" or best is None:
                continue
            if not judged_in(protocol, endpoint, dict(where)):
                continue
            kept = by.get(("missing_reference=exclude", where))
            rows = _share(protocol, endpoint, best.estimate, worst.estimate, None if kept is None else kept.estimate)
            made += _findings(endpoint, dict(where), worst.target, rows)
    return made


_Rows = tuple[tuple[str, str, Estimate], ...]


def _share(
    protocol: StudyProtocol, endpoint: Endpoint, best: Estimate, worst: Estimate, kept: Estimate | None
) -> _Rows:
    level = two_sided_level(protocol.confidence)
    reason = _why_not(endpoint, best, worst)
    if reason is not None:
        none = Estimate.not_estimable(reason, n=best.n, level=level)
        return _rows(endpoint, none, none, none, none)
    n, right, left = best.n, round(best.numerator or 0.0), round(worst.numerator or 0.0)
    u = right - left
    criterion = endpoint.criterion
    assert criterion is not None
    goal = Goal(bound=criterion.bound, op=criterion.op, value=criterion.value)
    method = cast(ProportionMethod, endpoint.interval or protocol.confidence.proportion)
    fails = next((w for w in range(u + 1) if not goal.met(proportion(right - w, n, level=level, method=method))), None)
    said = "fewest wrong among the unresolved cases"
    if fails is None:
        holds = "the criterion holds even with every unresolved case wrong, and under every other division"
        tipping = Estimate.not_estimable(holds, n=u, level=level, method=said)
    else:
        tipping = _number(float(fails), u, level, said, _COUNT)
    if kept is None or kept.value is None:
        expected = Estimate.not_estimable("no case is resolved", n=u, level=level)
    else:
        expected = _number((1.0 - kept.value) * u, u, level, "error rate of the resolved cases", _COUNT)
    return _rows(endpoint, best, worst, tipping, expected)


def _why_not(endpoint: Endpoint, best: Estimate, worst: Estimate) -> str | None:
    if endpoint.interval in _RESAMPLED:
        return "no tipping point is searched for with a bootstrap interval"
    if best.value is None or worst.value is None:
        return str(best.undefined or worst.undefined)
    if best.n != worst.n or None in (best.numerator, worst.numerator):
        return "which cases the share is of depends on the reference that is not known"
    if best.n_patients is not None and best.n_patients < best.n:
        return "several cases per patient: which of them are wrong changes the interval, not only how many"
    if best.numerator == worst.numerator:
        return "no case with an output lacks a reference standard"
    return None


def tipping_of_errors(
    protocol: StudyProtocol,
    cells: Sequence[Cell],
    endpoints: Sequence[Endpoint],
    unresolved: Callable[[Cell], int],
    estimate: Callable[[Endpoint, Cell, float], Estimate],
    typical: Callable[[Cell], float | None],
    why_not: Callable[[Endpoint, Cell], str | None],
) -> Iterator[Finding]:
    """The smallest error of all unresolved cases for which a criterion on errors of a measurement fails.

    Parameters
    ----------
    endpoints
        Those of which an error has a worst side, with a largest possible error.
    estimate
        The endpoint's estimate in a group with this error of every unresolved case.
    typical
        Mean absolute error of the resolved cases.

    Notes
    -----
    64 sizes from 0 to the largest are tried in order and the first that fails is refined by halving.
    """
    level = two_sided_level(protocol.confidence)
    for endpoint in endpoints:
        c = endpoint.criterion
        if c is None or c.placeholder:
            continue
        goal = Goal(bound=c.bound, op=c.op, value=c.value)
        for cell in cells:
            if not judged_in(protocol, endpoint, cell.stratum):
                continue
            u = unresolved(cell)
            reason = "no case with an output lacks a reference standard" if u == 0 else why_not(endpoint, cell)
            if reason is not None:
                none = Estimate.not_estimable(reason, n=u, level=level)
                yield from _findings(endpoint, cell.stratum, None, _sizes(endpoint, none, none, none, none))
                continue
            largest = float(endpoint.maximum or 0.0)
            size = _smallest(partial(_fails, goal, estimate, endpoint, cell), largest)
            method = "smallest error of every unresolved case, to the worst side"
            if size is None:
                holds = f"the criterion holds with errors of up to {largest:g} in every unresolved case"
                tipping = Estimate.not_estimable(holds, n=u, level=level, method=method)
            else:
                tipping = _number(size, u, level, method, _SIZE, counted=False)
            usual = typical(cell)
            expected = (
                Estimate.not_estimable("no case is resolved", n=u, level=level)
                if usual is None
                else _number(usual, u, level, "mean absolute error of the resolved cases", _SIZE, counted=False)
            )
            ends = (estimate(endpoint, cell, 0.0), estimate(endpoint, cell, largest))
            yield from _findings(endpoint, cell.stratum, None, _sizes(endpoint, *ends, tipping, expected))


def _fails(
    goal: Goal, estimate: Callable[[Endpoint, Cell, float], Estimate], endpoint: Endpoint, cell: Cell, size: float
) -> bool:
    return not goal.met(estimate(endpoint, cell, size))


def _smallest(fails: Callable[[float], bool], largest: float) -> float | None:
    if fails(0.0):
        return 0.0
    below = 0.0
    for k in range(1, _GRID + 1):
        size = largest * k / _GRID
        if fails(size):
            for _ in range(_HALVINGS):
                middle = (below + size) / 2.0
                below, size = (below, middle) if fails(middle) else (middle, size)
            return size
        below = size
    return None


def _rows(endpoint: Endpoint, right: Estimate, wrong: Estimate, tipping: Estimate, expected: Estimate) -> _Rows:
    return (
        (endpoint.metric, "all_right", right),
        (endpoint.metric, "all_wrong", wrong),
        (CASES, "tipping_point", tipping),
        (EXPECTED, "tipping_point", expected),
    )


def _sizes(endpoint: Endpoint, right: Estimate, wrong: Estimate, tipping: Estimate, expected: Estimate) -> _Rows:
    return (
        (endpoint.metric, "all_right", right),
        (endpoint.metric, "all_wrong", wrong),
        (SIZE, "tipping_point", tipping),
        (SIZE_EXPECTED, "tipping_point", expected),
    )


def _findings(endpoint: Endpoint, stratum: object, target: str | None, rows: _Rows) -> Iterator[Finding]:
    for metric, condition, estimate in rows:
        yield Finding(
            analysis=ANALYSIS,
            endpoint=endpoint.name,
            metric=metric,
            role=endpoint.role,
            target=target,
            operating_point=endpoint.at,
            stratum=dict(cast(dict[str, str], stratum)),
            condition=condition,
            estimate=estimate,
        )


def _number(value: float, u: int, level: float, method: str, why: str, *, counted: bool = True) -> Estimate:
    return Estimate(
        value=value,
        numerator=value if counted else None,
        denominator=float(u) if counted else None,
        n=u,
        level=level,
        method=method,
        interval_undefined=why,
    )

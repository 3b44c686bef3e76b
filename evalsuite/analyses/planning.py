"""How many cases the protocol's goals take, and what the planned counts will tell; from assumptions, not from data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
from scipy.special import ndtri

from evalsuite.analyses.planning_marks import marks_power, marks_row, marks_simulated
from evalsuite.analyses.planning_readers import readers_curve, readers_power, readers_row, readers_simulated
from evalsuite.analyses.planning_rows import (
    ABOVE,
    AREAS,
    COUNTED,
    Counted,
    Planned,
    counts_of,
    goal_of,
    prevalence_of,
    with_cases,
    worth,
)
from evalsuite.protocol.comparisons import compared_metric, criteria
from evalsuite.protocol.planning import OF_MARKS, Assumption, Plan, is_reader_gain
from evalsuite.protocol.schema import Comparison, Criterion, Endpoint, StudyProtocol
from evalsuite.stats.differences import tango_score
from evalsuite.stats.planning import (
    Bound,
    auroc_power,
    cases_for_paired,
    cases_for_proportion,
    half_width,
    paired_power,
    positives_for_auroc,
    proportion_power,
)
from evalsuite.stats.proportions import ProportionMethod, proportion_interval
from evalsuite.stats.roc import auroc
from evalsuite.types import Account, Estimate, Finding


def study_plan(protocol: StudyProtocol, *, by_readers: bool = False) -> tuple[Planned, ...]:
    """One row per endpoint and comparison, in the protocol's order; one per group where a criterion is for each.

    Where several primary criteria share the error rate (any_primary, gatekeeping), each is planned at its share of it,
    the most that any adjustment can cost. `by_readers` adds the cases that other numbers of readers take.
    """
    level, note = planning_level(protocol)
    rows = [row for endpoint in protocol.endpoints for row in _of_endpoint(protocol, endpoint, level, by_readers)]
    rows += [_of_comparison(protocol, comparison, level) for comparison in protocol.comparisons]
    return tuple(replace(row, method=f"{row.method}{note}") if row.method else row for row in rows)


def planning_level(protocol: StudyProtocol) -> tuple[float, str]:
    """Two-sided level each primary criterion is planned at, and the words for it where it is not the protocol's own."""
    level = protocol.confidence.two_sided_level
    if protocol.decision_rule != "any_primary":
        return level, ""
    asked = len([e for e in protocol.endpoints if e.role == "primary"])
    asked += len([c for c in protocol.comparisons if c.role == "primary"])
    if asked < 2:
        return level, ""
    return 1.0 - (1.0 - level) / asked, f", error rate shared by {asked}"


def joint_power(rows: tuple[Planned, ...], *, at: Literal["needed", "planned"], power: float) -> float | None:
    """At least this chance that all primary goals are reached together (Bonferroni's inequality); None if unknown."""
    primary = [row for row in rows if row.role == "primary"]
    missed = 0.0
    for row in primary:
        reached = power if at == "needed" and row.needed is not None else row.power if at == "planned" else None
        if reached is None:
            return None
        missed += 1.0 - reached
    return max(1.0 - missed, 0.0) if primary else None


def _of_endpoint(protocol: StudyProtocol, endpoint: Endpoint, level: float, by_readers: bool) -> Iterator[Planned]:
    plan = protocol.plan or Plan()
    assumed = plan.assume.get(endpoint.name)
    groups: list[tuple[str, Plan]] = [("", plan)]
    if endpoint.stratum:
        named = _named(endpoint.stratum)
        (first, value), *rest = endpoint.stratum.items()
        groups = [(named, _within(plan, None if rest else plan.strata.get(first, {}).get(value)))]
    elif endpoint.each is not None:
        known = plan.strata.get(endpoint.each, {})
        groups = [(_named({endpoint.each: k}), _within(plan, n)) for k, n in known.items()]
        groups = groups or [(f"each {endpoint.each}", _within(plan, None))]
    for group, own in groups:
        yield _endpoint_row(protocol, endpoint, assumed, group, own, level, by_readers)


def _named(stratum: Mapping[str, str]) -> str:
    return ", ".join(f"{k}: {v}" for k, v in stratum.items())


def _within(plan: Plan, cases: int | None) -> Plan:
    return plan.model_copy(update={"cases": cases, "positives": None, "negatives": None, "patients": None})


def _endpoint_row(
    protocol: StudyProtocol, endpoint: Endpoint, assumed: Assumption | None, group: str, plan: Plan, level: float,
    by_readers: bool,
) -> Planned:  # fmt: skip
    area = endpoint.metric in AREAS
    counted: Counted = "positives" if area else COUNTED.get(endpoint.metric, "cases")
    row = Planned(
        name=endpoint.name, metric=endpoint.metric, group=group, role=endpoint.role,
        assumed=None if assumed is None else assumed.value, goal=goal_of(endpoint.criterion), counted=counted,
        planned=counts_of(plan)[counted],
    )  # fmt: skip
    if is_reader_gain(endpoint.metric):
        return readers_row(protocol, row, endpoint.criterion, assumed, plan, level, by_readers=by_readers)
    if endpoint.metric in OF_MARKS:
        return marks_row(row, endpoint, assumed, plan, level, _proportion_method(protocol, endpoint))
    if not area and endpoint.metric not in COUNTED:
        return replace(row, reason=f"no formula for {endpoint.metric}: plan it by simulation")
    if assumed is None:
        return replace(row, reason="no value is assumed: plan.assume")
    if protocol.task.kind != "binary" and endpoint.target is None and endpoint.metric != "accuracy":
        return replace(row, reason="planned for one class or label at a time: set target")
    if area:
        return _area_row(row, endpoint.criterion, plan, assumed.value, level)
    method = _proportion_method(protocol, endpoint)
    n = worth(row.planned, plan)
    if n:
        row = replace(row, half_width=half_width(n, assumed.value, level=level, method=method))
    criterion = endpoint.criterion
    if criterion is None or criterion.bound == "point" or (criterion.bound == "lower") != (criterion.op in ABOVE):
        return replace(row, method=f"{method} interval", reason="no goal on a bound: its precision is planned")
    bound = criterion.bound
    needed = cases_for_proportion(
        assumed.value, criterion.value, power=plan.power, bound=bound, level=level, method=method
    )
    row = with_cases(replace(row, method=f"exact binomial power of the {method} interval"), needed, plan)
    if n:
        chance = proportion_power(n, assumed.value, criterion.value, bound=bound, level=level, method=method)
        row = replace(row, power=chance)
    return row


def _proportion_method(protocol: StudyProtocol, endpoint: Endpoint) -> ProportionMethod:
    """The interval that will judge the endpoint: its own where it names one, else the protocol's."""
    known: tuple[ProportionMethod, ...] = get_args(ProportionMethod)
    return next((m for m in known if m == endpoint.interval), protocol.confidence.proportion)


def _area_row(row: Planned, criterion: Criterion | None, plan: Plan, value: float, level: float) -> Planned:
    counts = counts_of(plan)
    positives, negatives = (worth(counts[k], plan) for k in ("positives", "negatives"))
    row = replace(row, method="normal approximation, binormal scores of equal spread")
    if criterion is None or criterion.bound != "lower":
        return replace(row, reason="no goal on the lower bound")
    if positives and negatives:
        row = replace(row, power=auroc_power(positives, negatives, value, criterion.value, level=level))
    share = prevalence_of(plan)
    if share is None:
        return replace(row, reason="the share of positives is needed: plan.prevalence")
    needed = positives_for_auroc(
        value, criterion.value, negatives_per_positive=(1.0 - share) / share, power=plan.power, level=level
    )
    return with_cases(row, needed, plan)


def _of_comparison(protocol: StudyProtocol, comparison: Comparison, level: float) -> Planned:
    plan = protocol.plan or Plan()
    assumed = plan.assume.get(comparison.name)
    metric = compared_metric(comparison)
    counted: Counted = COUNTED.get(metric, "cases")
    group = _named(comparison.stratum)
    if comparison.each:
        group = f"each {comparison.each}"
    asked = criteria(comparison)
    row = Planned(
        name=comparison.name, metric=f"{metric}_difference", group=group, role=comparison.role,
        assumed=None if assumed is None else assumed.value, goal=" and ".join(map(goal_of, asked)), counted=counted,
        planned=None if group else counts_of(plan)[counted],
    )  # fmt: skip
    if metric not in COUNTED:
        return replace(row, reason=f"no formula for differences of {metric}: plan it by simulation")
    if assumed is None or assumed.discordant is None:
        return replace(row, reason="no difference and share of discordant cases are assumed: plan.assume")
    if len(asked) != 1 or asked[0].bound != "lower":
        return replace(row, reason="planned for one goal on the lower bound of the difference")
    criterion = asked[0]
    margin = -criterion.value
    needed = cases_for_paired(assumed.value, assumed.discordant, margin, power=plan.power, level=level)
    row = with_cases(replace(row, method="Nam's score test of the paired difference"), needed, plan)
    n = worth(row.planned, plan)
    if n:
        row = replace(row, power=paired_power(n, assumed.value, assumed.discordant, margin, level=level))
    return row


def power_of(protocol: StudyProtocol, row: Planned, n: int) -> float:
    """Power of a planned row with `n` collected cases of its kind."""
    plan = protocol.plan or Plan()
    level, (_, goal, method) = planning_level(protocol)[0], _asked(protocol, row)
    assert row.assumed is not None
    effective = max(worth(n, plan) or 0, 1)
    if is_reader_gain(row.metric):
        return readers_power(protocol, row, effective, level)
    if row.metric in OF_MARKS:
        asked = next(e for e in protocol.endpoints if e.name == row.name)
        return marks_power(asked, plan.assume[row.name], plan, effective, level, method)
    if row.metric in AREAS:
        share = prevalence_of(plan) or 0.5
        return auroc_power(effective, effective * (1.0 - share) / share, row.assumed, goal, level=level)
    if row.metric.endswith("_difference"):
        discordant = plan.assume[row.name].discordant
        assert discordant is not None
        return paired_power(effective, row.assumed, discordant, -goal, level=level)
    bound: Bound = "upper" if row.goal.startswith("upper") else "lower"
    return proportion_power(effective, row.assumed, goal, bound=bound, level=level, method=method)


def power_curve(protocol: StudyProtocol, row: Planned, counts: Sequence[int]) -> list[float]:
    """Power of a planned row over numbers of collected cases of its kind."""
    if not is_reader_gain(row.metric):
        return [power_of(protocol, row, n) for n in counts]
    plan = protocol.plan or Plan()
    return readers_curve(protocol, row, [worth(n, plan) or 0 for n in counts], planning_level(protocol)[0])


def _asked(protocol: StudyProtocol, row: Planned) -> tuple[str, float, Any]:
    """Bound, goal and interval method behind a planned row."""
    for comparison in protocol.comparisons:
        if comparison.name == row.name:
            criterion = criteria(comparison)[0]
            return criterion.bound, criterion.value, None
    endpoint = next(e for e in protocol.endpoints if e.name == row.name)
    assert endpoint.criterion is not None
    method = _proportion_method(protocol, endpoint)
    return endpoint.criterion.bound, endpoint.criterion.value, method


def simulate_row(protocol: StudyProtocol, row: Planned, studies: int, rng: np.random.Generator) -> float | None:
    """Share of simulated studies whose interval clears the goal, with the cases needed; None where nothing is planned.

    Independent cases: the design effect is taken out before. AUROC: normal scores of equal spread, judged by DeLong's
    interval; paired calls: by Tango's.
    """
    plan = protocol.plan or Plan()
    if row.needed is None or row.assumed is None:
        return None
    level, (bound, goal, method) = planning_level(protocol)[0], _asked(protocol, row)
    n = max(worth(row.needed, plan) or 0, 2)
    if is_reader_gain(row.metric):
        return readers_simulated(protocol, row, n, studies, rng, level)
    if row.metric in OF_MARKS:
        asked = next(e for e in protocol.endpoints if e.name == row.name)
        return marks_simulated(protocol, asked, plan.assume[row.name], plan, n, studies, rng, level, method)
    if row.metric in AREAS:
        share = prevalence_of(plan) or 0.5
        return _simulated_areas(n, round(n * (1.0 - share) / share), row.assumed, goal, level, studies, rng)
    if row.metric.endswith("_difference"):
        discordant = plan.assume[row.name].discordant
        assert discordant is not None
        gains, losses = (discordant + row.assumed) / 2.0, (discordant - row.assumed) / 2.0
        z = float(ndtri(0.5 + level / 2.0))
        drawn = rng.multinomial(n, (gains, losses, 1.0 - discordant), size=studies)
        return float(np.mean([tango_score(b, c, n, goal) > z for b, c, _ in drawn]))
    known: dict[int, bool] = {}
    hits = 0
    for x in rng.binomial(n, row.assumed, size=studies):
        if int(x) not in known:
            low, high = proportion_interval(int(x), n, level=level, method=method)
            known[int(x)] = low > goal if bound == "lower" else high < goal
        hits += known[int(x)]
    return hits / studies


def _simulated_areas(
    positives: int, negatives: int, area: float, goal: float, level: float, studies: int, rng: np.random.Generator
) -> float:
    shift = math.sqrt(2.0) * float(ndtri(area))
    reference = np.repeat([1, 0], [positives, negatives])
    hits = 0
    for _ in range(studies):
        low = auroc(reference, rng.normal(size=positives + negatives) + shift * reference, level=level).low
        hits += low is not None and low > goal
    return hits / studies


def planned_findings(protocol: StudyProtocol, accounting: Sequence[Account]) -> tuple[Finding, ...]:
    """What the plan asked for beside what the set holds: cases needed for each goal, and the power of those there are.

    `n` of an estimate is the number of cases of that kind in the set, whatever their outputs. Nothing without
    assumptions.
    """
    if protocol.plan is None or not protocol.plan.assume:
        return ()
    findings = []
    for row in study_plan(protocol):
        if row.assumed is None:
            continue
        there = _achieved(accounting, row)
        common: dict[str, Any] = {
            "analysis": "planning", "endpoint": row.name, "role": row.role, "target": None, "operating_point": None,
            "condition": row.group or None,
        }  # fmt: skip
        kind: dict[str, Any] = {"n": there, "level": planning_level(protocol)[0], "method": row.method or "none"}
        if row.needed is None:
            lacking = Estimate.not_estimable(row.reason or "no goal on a bound", **kind)
            findings.append(Finding(metric="cases_needed", estimate=lacking, **common))
            continue
        why: dict[str, Any] = {"interval_undefined": "a number of cases, not an estimate"}
        findings.append(
            Finding(metric="cases_needed", estimate=Estimate(value=float(row.needed), **kind, **why), **common)
        )
        chance = power_of(protocol, row, there) if there else 0.0
        findings.append(Finding(metric="planned_power", estimate=Estimate(value=chance, **kind, **why), **common))
    return tuple(findings)


def _achieved(accounting: Sequence[Account], row: Planned) -> int:
    """Cases of the kind a row counts, in its group."""
    kinds = {"positives": ("positive",), "negatives": ("negative",), "cases": ("positive", "negative", "known")}
    return sum(a.n for a in accounting if _named(a.stratum) == row.group and a.reference in kinds[row.counted])

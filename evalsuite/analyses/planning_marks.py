"""How many cases a goal on sensitivity per lesion takes, also at a rate of false positives."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from evalsuite.analyses.planning_rows import ABOVE, Planned, prevalence_of, with_cases, worth
from evalsuite.protocol.planning import Assumption, MarkingPilot, Plan
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.stats.detection_planning import (
    Marking,
    cases_for_froc,
    froc_power,
    half_width_at,
    separation,
    simulated_froc_power,
    simulated_sensitivity_power,
)
from evalsuite.stats.planning import cases_for_proportion, half_width, proportion_power
from evalsuite.stats.proportions import ProportionMethod


def marks_row(
    row: Planned, endpoint: Endpoint, assumed: Assumption | None, plan: Plan, level: float, method: ProportionMethod
) -> Planned:
    """The row of an endpoint on lesions: cases of both kinds, at the planned share of cases with a lesion."""
    if assumed is None:
        return replace(row, reason="no value is assumed: plan.assume")
    marking = _marking(assumed, plan)
    if marking is None:
        return replace(row, reason="the share of cases with a lesion is needed: plan.prevalence")
    rate, normal_only, value = endpoint.false_positives, endpoint.counted_in == "normal", assumed.value
    n = worth(row.planned, plan)
    if rate is not None:
        try:
            separation(marking, value, rate)
        except ValueError as error:
            return replace(row, reason=str(error))
        words = "normal approximation of the FROC curve's sensitivity, variances at goal and assumption, normal scores"
        if n:
            half = half_width_at(n, marking, value, rate=rate, normal_only=normal_only, level=level)
            row = replace(row, half_width=half)
    else:
        words = f"exact binomial power of the {method} interval on the effective number of lesions"
        if lesions := _lesions(n, marking):
            row = replace(row, half_width=half_width(lesions, value, level=level, method=method))
    row = replace(row, method=words)
    criterion = endpoint.criterion
    if criterion is None or criterion.bound != "lower" or criterion.op not in ABOVE:
        return replace(row, reason="no goal on the lower bound: its precision is planned")
    goal = criterion.value
    if rate is not None:
        asked = {"rate": rate, "normal_only": normal_only, "power": plan.power, "level": level}
        needed = cases_for_froc(marking, value, goal, **asked)  # type: ignore[arg-type]
    else:
        found = cases_for_proportion(value, goal, power=plan.power, level=level, method=method)
        per_case = marking.abnormal * marking.lesions / marking.per_lesion
        needed = None if found is None else math.ceil(found / per_case - 1e-9)
    row = with_cases(row, needed, plan)
    if n:
        row = replace(row, power=marks_power(endpoint, assumed, plan, n, level, method))
    return row


def _marking(assumed: Assumption, plan: Plan) -> Marking | None:
    share, asked = prevalence_of(plan), assumed.marking or MarkingPilot()
    if share is None:
        return None
    return Marking(
        lesions=asked.lesions,
        abnormal=share,
        marked=asked.marked,
        false_marks=asked.false_marks,
        correlation=asked.correlation,
    )


def _lesions(cases: int | None, marking: Marking) -> int:
    """Independent lesions that so many cases are worth."""
    return 0 if cases is None else int(cases * marking.abnormal * marking.lesions / marking.per_lesion + 1e-9)


def _known(assumed: Assumption, plan: Plan, endpoint: Endpoint) -> tuple[Marking, float]:
    marking = _marking(assumed, plan)
    assert marking is not None, "a row that needs cases has one"
    assert endpoint.criterion is not None, "a row that needs cases has one"
    return marking, endpoint.criterion.value


def marks_power(
    endpoint: Endpoint, assumed: Assumption, plan: Plan, cases: int, level: float, method: ProportionMethod
) -> float:
    """Power of a planned row with so many independent cases."""
    marking, goal = _known(assumed, plan, endpoint)
    if endpoint.false_positives is None:
        lesions = max(_lesions(cases, marking), 1)
        return proportion_power(lesions, assumed.value, goal, bound="lower", level=level, method=method)
    normal_only = endpoint.counted_in == "normal"
    rate = endpoint.false_positives
    return froc_power(cases, marking, assumed.value, goal, rate=rate, normal_only=normal_only, level=level)


def marks_simulated(
    protocol: StudyProtocol,
    endpoint: Endpoint,
    assumed: Assumption,
    plan: Plan,
    cases: int,
    studies: int,
    rng: np.random.Generator,
    level: float,
    method: ProportionMethod,
) -> float:
    """Share of simulated studies whose interval clears the goal, each judged as the suite will judge it."""
    marking, goal = _known(assumed, plan, endpoint)
    if endpoint.false_positives is None:
        return simulated_sensitivity_power(
            cases, marking, assumed.value, goal, studies=studies, rng=rng, level=level, method=method
        )
    return simulated_froc_power(
        cases, marking, assumed.value, goal, rate=endpoint.false_positives,
        normal_only=endpoint.counted_in == "normal", studies=studies, rng=rng, level=level,
        interval=protocol.confidence.bootstrap.interval,
    )  # fmt: skip

"""What a plan says of one endpoint: a row, and the counts it rests on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from evalsuite.protocol.planning import Plan
from evalsuite.protocol.schema import Criterion
from evalsuite.types import Role

Counted = Literal["positives", "negatives", "cases"]
#: Shares of cases whose denominator is known before the device has answered.
COUNTED: dict[str, Counted] = {
    "sensitivity": "positives",
    "ppa": "positives",
    "specificity": "negatives",
    "npa": "negatives",
    "accuracy": "cases",
    "opa": "cases",
}
AREAS = ("auroc",)
ABOVE = (">", ">=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What one endpoint or comparison takes.

    `needed` cases of the kind `counted` reach the goal with the planned power, `cases` in all at the planned
    prevalence, with design effect and attrition. `power` and `half_width` are those of the planned counts, None where
    there are none. `reason` says why something is missing. `by_readers` pairs numbers of readers with the cases they
    take, None where no number of cases is enough. A power that is simulated has a Monte Carlo standard error
    `power_error`, beside `needed_power`, that of the cases needed, and what a formula gives instead: `formula_needed`
    cases, and `formula_power` of the planned counts.
    """

    name: str
    metric: str
    group: str
    role: Role
    assumed: float | None
    goal: str
    counted: Counted
    needed: int | None = None
    cases: int | None = None
    planned: int | None = None
    power: float | None = None
    half_width: float | None = None
    method: str = ""
    reason: str = ""
    by_readers: tuple[tuple[int, int | None], ...] = ()
    needed_power: float | None = None
    power_error: float | None = None
    formula_needed: int | None = None
    formula_power: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {f: getattr(self, f) for f in self.__slots__}

    @property
    def too_small(self) -> bool:
        """Whether the planned counts fall short of what the goal takes."""
        return self.needed is not None and self.planned is not None and self.planned < self.needed


def goal_of(criterion: Criterion | None) -> str:
    if criterion is None:
        return ""
    return f"{criterion.bound} bound {criterion.op} {criterion.value:g}"


def prevalence_of(plan: Plan) -> float | None:
    if plan.prevalence is not None:
        return plan.prevalence
    if plan.positives and (plan.negatives or plan.cases):
        return plan.positives / (plan.positives + plan.negatives if plan.negatives else plan.cases or 1)
    return None


def counts_of(plan: Plan) -> dict[Counted, int | None]:
    """Planned positives, negatives and cases; from the others where the plan leaves one out."""
    cases, positives, negatives = plan.cases, plan.positives, plan.negatives
    if cases is None and positives is not None and negatives is not None:
        cases = positives + negatives
    if cases is not None and plan.prevalence is not None:
        positives = round(cases * plan.prevalence) if positives is None else positives
        negatives = round(cases * (1.0 - plan.prevalence)) if negatives is None else negatives
    return {"positives": positives, "negatives": negatives, "cases": cases}


def worth(n: int | None, plan: Plan) -> int | None:
    """Independent cases that so many collected ones are worth, after attrition."""
    return None if n is None else max(int(n * (1.0 - plan.attrition) / plan.design_effect + 1e-9), 0)


def to_collect(n: int, plan: Plan) -> int:
    """Cases to collect for so many independent ones."""
    return math.ceil(n * plan.design_effect / (1.0 - plan.attrition) - 1e-9)


def with_cases(row: Planned, needed: int | None, plan: Plan) -> Planned:
    if needed is None:
        return replace(row, reason="the assumed value does not clear the goal, whatever the number of cases")
    collected = to_collect(needed, plan)
    share = prevalence_of(plan)
    of_kind = {"cases": 1.0, "positives": share, "negatives": None if share is None else 1.0 - share}[row.counted]
    return replace(row, needed=collected, cases=None if of_kind is None else math.ceil(collected / of_kind - 1e-9))

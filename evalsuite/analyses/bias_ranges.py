"""The largest gap between any two groups and the lowest group, beside what chance alone gives when all are equal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from evalsuite.analyses.bias_figures import HIGHER_IS_BETTER
from evalsuite.stats.group_figures import GroupFigure
from evalsuite.stats.group_gaps import Chance, largest_gap, under_equality
from evalsuite.stats.multiplicity import simultaneous_level
from evalsuite.types import Estimate, Finding

#: What the literature on fairness calls the largest gap of a figure.
FAIRNESS = {
    "sensitivity": "equal_opportunity_difference",
    "selection_rate": "demographic_parity_difference",
    "ppv": "predictive_parity_difference",
    "calibration_intercept": "calibration_within_groups_difference",
}
#: And the smallest over the largest.
RATIOS = {"sensitivity": "equal_opportunity_ratio", "selection_rate": "demographic_parity_ratio"}
NO_INTERVAL = (
    "resampled, a ratio of the smallest to the largest group almost never reaches 1, though it is 1 where all are "
    "equal; the difference beside it has an interval"
)
NULL = "no difference"


def ranges_and_worst(
    metric: str,
    attribute: str,
    groups: Sequence[tuple[Mapping[str, str], GroupFigure]],
    *,
    level: float,
    template: Finding,
    seed: tuple[int, ...],
) -> Iterator[Finding]:
    """Findings on the whole attribute (`condition` "attribute=NAME"), each beside its expectation under equality.

    Nothing where fewer than two groups can be assessed.
    """
    if len(groups) < 2:
        return
    figures = [f for _, f in groups]
    condition = f"attribute={attribute}"
    chance = under_equality(figures, seed=seed)
    n = sum(f.n for f in figures)
    name = FAIRNESS.get(metric, f"{metric}_largest_gap")
    seen = largest_gap(figures, level=level)

    def finding(
        metric_name: str, estimate: Estimate, stratum: Mapping[str, str] | None = None, null: bool = False
    ) -> Finding:
        return replace(
            template,
            metric=metric_name,
            estimate=estimate,
            stratum=dict(stratum or {}),
            condition=f"{condition}; {NULL}" if null else condition,
        )

    yield finding(name, seen)
    if chance is not None:
        yield finding(name, _told(chance.spread, chance, n), null=True)
    if metric in RATIOS:
        yield finding(RATIOS[metric], _ratio(figures, level, n))
    if HIGHER_IS_BETTER[metric] is None:
        return
    worst = (min if HIGHER_IS_BETTER[metric] else max)(groups, key=lambda g: g[1].value)
    average = sum(f.n * f.value for f in figures) / n
    own = Estimate(
        value=worst[1].value,
        interval_undefined="the group was chosen for its figure: its own interval would not cover; see the expectation",
        method="least favourable of the groups that can be assessed",
        n=worst[1].n,
        n_patients=worst[1].n_patients,
        level=level,
    )
    yield finding(f"{metric}_worst_group", own, worst[0])
    if chance is not None:
        off = chance.lowest if HIGHER_IS_BETTER[metric] else chance.highest
        shifted = (average + off[0], average + off[1], average + off[2])
        yield finding(f"{metric}_worst_group", _told(shifted, chance, n), worst[0], null=True)


def equalised_odds(
    attribute: str,
    sensitivity: Sequence[tuple[Mapping[str, str], GroupFigure]],
    specificity: Sequence[tuple[Mapping[str, str], GroupFigure]],
    *,
    level: float,
    template: Finding,
    seed: tuple[int, ...],
) -> Iterator[Finding]:
    """The larger of the largest gaps in sensitivity and in specificity, each interval at half the error rate.

    Under equality both are drawn apart: positive and negative cases are different ones. Nothing where either has fewer
    than two groups.
    """
    sides = [[f for _, f in groups] for groups in (sensitivity, specificity)]
    if min(len(s) for s in sides) < 2:
        return
    gaps = [largest_gap(s, level=simultaneous_level(level, 2)) for s in sides]
    chances = [under_equality(s, seed=(*seed, i)) for i, s in enumerate(sides)]
    n = sum(f.n for s in sides for f in s)
    why = next((e.interval_undefined for e in gaps if e.low is None), None)
    ends: dict[str, Any] = (
        {} if why else {"low": max(e.low or 0.0 for e in gaps), "high": max(e.high or 0.0 for e in gaps)}
    )
    seen = Estimate(
        value=max(e.value or 0.0 for e in gaps),
        **ends,
        interval_undefined=why,
        level=level,
        n=n,
        method="larger of the largest gaps in sensitivity and specificity, simultaneous intervals (Bonferroni)",
    )
    made = replace(template, endpoint="equalised_odds_difference", metric="equalised_odds_difference")
    condition = f"attribute={attribute}"
    yield replace(made, estimate=seen, condition=condition)
    if chances[0] is not None and chances[1] is not None:
        larger = np.maximum(chances[0].spreads, chances[1].spreads)
        low, high = np.quantile(larger, [0.025, 0.975])
        told = _told((float(larger.mean()), float(low), float(high)), chances[0], n)
        yield replace(made, estimate=told, condition=f"{condition}; {NULL}")


def _told(numbers: tuple[float, float, float], chance: Chance, n: int) -> Estimate:
    return Estimate(
        value=numbers[0],
        low=min(numbers[0], numbers[1]),
        high=max(numbers[0], numbers[2]),
        level=0.95,
        n=n,
        method=f"mean and central 95 % of {chance.replicates} draws of these groups under equality",
    )


def _ratio(figures: Sequence[GroupFigure], level: float, n: int) -> Estimate:
    values = [f.value for f in figures]
    fields: dict[str, Any] = {
        "n": n,
        "level": level,
        "method": "smallest over largest of the groups that can be assessed",
    }
    if max(values) == 0.0:
        return Estimate.not_estimable("the figure is 0 in every group", **fields)
    return Estimate(value=min(values) / max(values), interval_undefined=NO_INTERVAL, **fields)

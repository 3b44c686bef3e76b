"""Two devices on the same cases: who counts, and what is assumed where an output or a reference is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np

from evalsuite.analyses.population import Bools, Floats, OutputPolicy, Population, ReferencePolicy
from evalsuite.protocol.metrics import METRICS
from evalsuite.protocol.schema import StudyProtocol

#: For these a worst allocation of cases without a reference is found exactly; for others it is not searched.
_SEARCHED = ("sensitivity", "specificity", "accuracy", "brier")
#: In a difference the comparator gets the opposite of what the candidate gets.
OPPOSITE: dict[OutputPolicy, OutputPolicy] = {"worst_case": "best_case", "best_case": "worst_case"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutoff:
    """Where a device's score becomes a call; `strict` means `score > value` rather than `>=`."""

    value: float
    strict: bool


def cutoff(protocol: StudyProtocol, at: str | None) -> Cutoff | None:
    """That of an operating point; None where the metric needs none."""
    if at is None:
        return None
    point = protocol.operating_point(at)
    return Cutoff(value=point.threshold, strict=point.comparison == ">")


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One device under the assumptions made: arrays of all n cases."""

    score: Floats
    call: Bools | None
    probability: Floats | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Both devices against one reference; `include` says which cases count, `undefined` why there is no answer."""

    reference: Bools
    include: Bools
    candidate: Side
    baseline: Side
    undefined: str | None = None


def pair_up(
    candidate: Population,
    baseline: Population,
    metric: str,
    *,
    cutoffs: tuple[Cutoff | None, Cutoff | None],
    outputs: OutputPolicy,
    references: ReferencePolicy,
    within: Bools,
) -> Pair:
    """The cases of `within` as the difference of one metric sees them.

    Missing outputs under `worst_case`: the candidate's are wrong, the baseline's are right (the reverse under
    `best_case`); under `exclude` a case counts only if both devices have an output; `as_negative` and `as_positive`
    hold for both. Cases without reference are given the classes that make the difference worst (or best) for the
    candidate, found exactly for sensitivity, specificity, accuracy and Brier score; for other metrics the pair is
    undefined and says so.

    Both populations hold the same cases in the same order, against the same reference.
    """
    include = within.copy()
    if outputs == "exclude":
        include &= candidate.has_output & baseline.has_output
    if references == "exclude":
        include &= candidate.has_reference
    other = OPPOSITE.get(outputs, outputs)

    def sides(positive: Bools) -> tuple[Side, Side]:
        return _side(candidate, outputs, positive, cutoffs[0]), _side(baseline, other, positive, cutoffs[1])

    positive = candidate.positive & candidate.has_reference
    open_ = include & ~candidate.has_reference
    undefined = None
    if open_.any():
        if metric in _SEARCHED:
            positive = _allocated(metric, sides, positive, open_, include, worst=references == "worst_case")
        else:
            undefined = unsearched(int(open_.sum()))
    first, second = sides(positive)
    return Pair(
        reference=positive,
        include=include,
        candidate=_harmless(first, include),
        baseline=_harmless(second, include),
        undefined=undefined,
    )


def unsearched(k: int) -> str:
    """Why there is no difference where `k` cases have no reference and none is assumed for them."""
    return f"{k} cases lack a reference standard, for which no worst case of this difference is searched"


def _side(population: Population, policy: OutputPolicy, positive: Bools, cutoff: Cutoff | None) -> Side:
    score = population.score.copy()
    gone = ~population.has_output
    called = {"worst_case": ~positive, "best_case": positive}.get(
        policy, np.full(population.n, policy == "as_positive")
    )
    score[gone] = np.where(called[gone], np.inf, -np.inf)
    call = None
    if cutoff is not None:
        call = score > cutoff.value if cutoff.strict else score >= cutoff.value
    probability = np.clip(score, 0.0, 1.0) if population.is_probability else None
    return Side(score=score, call=call, probability=probability)


def _harmless(side: Side, include: Bools) -> Side:
    """Cases that do not count keep a finite placeholder."""
    return Side(
        score=np.where(include, side.score, 0.0),
        call=side.call,
        probability=None if side.probability is None else np.where(include, side.probability, 0.0),
    )


def _allocated(
    metric: str,
    sides: Callable[[Bools], tuple[Side, Side]],
    positive: Bools,
    open_: Bools,
    include: Bools,
    *,
    worst: bool,
) -> Bools:
    """Classes for the cases of `open_` that make the difference worst (or best) for the candidate."""
    as_positive, as_negative = sides(positive | open_), sides(positive & ~open_)
    # `sign` turns the search into one for the smallest sum of `sign * difference`.
    sign = 1.0 if (METRICS[metric].higher_is_better is not False) == worst else -1.0
    if metric == "brier":
        if as_positive[0].probability is None or as_positive[1].probability is None:
            return positive
        loss_p = (as_positive[0].probability - 1.0) ** 2 - (as_positive[1].probability - 1.0) ** 2
        loss_n = as_negative[0].probability ** 2 - as_negative[1].probability ** 2  # type: ignore[operator]
        return positive | (open_ & (sign * loss_p < sign * loss_n))
    called = [[cast(Bools, s.call) for s in both] for both in (as_positive, as_negative)]
    gain_p = called[0][0].astype(float) - called[0][1]
    gain_n = (~called[1][0]).astype(float) - (~called[1][1])
    if metric == "accuracy":
        return positive | (open_ & (sign * gain_p < sign * gain_n))
    of_positives = metric == "sensitivity"
    gain = sign * (gain_p if of_positives else gain_n)
    settled = include & ~open_ & (positive if of_positives else ~positive)
    # The mean over the class is smallest when the cases with the smallest gains join it, up to some number of them.
    order = np.flatnonzero(open_)[np.argsort(gain[open_], kind="stable")]
    sums = gain[settled].sum() + np.concatenate(([0.0], np.cumsum(gain[order])))
    sizes = settled.sum() + np.arange(len(order) + 1)
    means = np.where(sizes > 0, sums / np.maximum(sizes, 1), np.inf)
    joining = order[: int(np.argmin(means))]
    result = positive.copy()
    if of_positives:
        result[joining] = True
    else:
        result[open_] = True
        result[joining] = False
    return result

"""How wrong the device would have to be on cases without a reference standard before a goal is no longer reached.

Nobody knows the truth of those cases, so every division of them between right and wrong is tried: the answer is the
smallest number on which the device would have to be wrong for the criterion to fail, beside the number to expect if it
were as often wrong there as elsewhere. The same question for cases without an output: how many of them it would have to
have got wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalsuite.stats._binary_inputs import as_reference, as_scores
from evalsuite.stats._normal import check_count, check_level
from evalsuite.stats.proportions import ProportionMethod, proportion
from evalsuite.stats.roc import AurocMethod, auroc
from evalsuite.types import Estimate, Unit

Metric = Literal["sensitivity", "specificity", "ppv", "npv", "accuracy"]
Bound = Literal["lower", "upper", "point"]
Op = Literal[">", ">=", "<", "<="]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A criterion: the named end of the interval (or the value), how it compares, and with what."""

    bound: Bound
    op: Op
    value: float

    def __post_init__(self) -> None:
        if self.bound not in get_args(Bound) or self.op not in get_args(Op) or not math.isfinite(self.value):
            raise ValueError(f"a goal is a bound, a comparison and a finite value, got {self!r}")

    def met(self, e: Estimate) -> bool:
        """Whether the estimate reaches the goal; without the bound in question it does not."""
        number = {"lower": e.low, "upper": e.high, "point": e.value}[self.bound]
        if number is None:
            return False
        return {
            ">": number > self.value,
            ">=": number >= self.value,
            "<": number < self.value,
            "<=": number <= self.value,
        }[self.op]


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """One division of the unresolved cases: how many of each of the two groups are wrong, and what follows."""

    wrong_positive_calls: int
    wrong_negative_calls: int
    estimate: Estimate
    met: bool

    @property
    def wrong(self) -> int:
        return self.wrong_positive_calls + self.wrong_negative_calls


@dataclass(frozen=True, slots=True, kw_only=True)
class TippingPoint:
    """When the criterion fails.

    `excluded` leaves the unresolved cases out; `all_right` and `all_wrong` are the two ends. `tipping` is a division
    with the fewest wrong cases under which the criterion fails: None where it holds under every division tried.
    `fails_at_once` where it fails even with all of them right. `grid` holds every division that was tried, ordered by
    the number wrong on positive calls, then on negative calls; `complete` is False where a large grid was thinned (the
    tipping point is exact all the same). `expected_wrong` is how many would be wrong at the rate seen among resolved
    cases with the same call.
    """

    n_unresolved: int
    excluded: Estimate
    all_right: Allocation
    all_wrong: Allocation
    tipping: Allocation | None
    expected_wrong: float | None
    grid: tuple[Allocation, ...]
    complete: bool

    @property
    def fails_at_once(self) -> bool:
        return not self.all_right.met

    @property
    def share_needed(self) -> float | None:
        """Tipping point as a share of the unresolved cases; None where there is none or no case is unresolved."""
        if self.tipping is None or self.n_unresolved == 0:
            return None
        return self.tipping.wrong / self.n_unresolved


_MAX_GRID = 41
_MAX_DIVISIONS = 250_000


def _ticks(n: int) -> list[int]:
    """0 to n, thinned evenly to at most `_MAX_GRID` numbers, ends kept."""
    if n < _MAX_GRID:
        return list(range(n + 1))
    return [int(v) for v in np.unique(np.linspace(0, n, _MAX_GRID).round())]


def proportion_tipping_point(
    metric: Metric,
    goal: Goal,
    *,
    true_positive: int,
    false_negative: int,
    true_negative: int,
    false_positive: int,
    unresolved_called_positive: int,
    unresolved_called_negative: int,
    level: float = 0.95,
    method: ProportionMethod = "clopper-pearson",
    unit: Unit = "case",
) -> TippingPoint:
    """Tipping point of a proportion when some cases have a call but no reference standard.

    A positive call is wrong where the case turns out negative, and the other way round. For sensitivity, a wrong
    negative call is a false negative, a wrong positive call a case that leaves the denominator: both lower it.

    Parameters
    ----------
    true_positive, false_negative, true_negative, false_positive
        Counts of the resolved cases; independent cases.
    unresolved_called_positive, unresolved_called_negative
        Numbers of cases without a reference, by their call.

    Returns
    -------
    TippingPoint
        Exact over all (u+ + 1)(u- + 1) divisions: the search for the fewest wrong cases visits them in order of their
        number; only the printed grid is thinned.

    References
    ----------
    Yan, Lee & Li, J Biopharm Stat 19:1085-1098 (2009); Campbell, Pennello & Yue, J Biopharm Stat 21:180-195 (2011).
    """
    if metric not in get_args(Metric):
        raise ValueError(f"metric is one of {', '.join(get_args(Metric))}; got {metric!r}")
    level = check_level(level)
    given = {
        "true_positive": true_positive,
        "false_negative": false_negative,
        "true_negative": true_negative,
        "false_positive": false_positive,
        "unresolved_called_positive": unresolved_called_positive,
        "unresolved_called_negative": unresolved_called_negative,
    }
    tp, fn, tn, fp, up, un = (check_count(k, v) for k, v in given.items())

    def estimate(c: Mapping[str, int]) -> Estimate:
        x, n = {
            "sensitivity": (c["tp"], c["tp"] + c["fn"]),
            "specificity": (c["tn"], c["tn"] + c["fp"]),
            "ppv": (c["tp"], c["tp"] + c["fp"]),
            "npv": (c["tn"], c["tn"] + c["fn"]),
            "accuracy": (c["tp"] + c["tn"], sum(c.values())),
        }[metric]
        counts: dict[str, Any] = {"n_positive": c["tp"] + c["fn"], "n_negative": c["tn"] + c["fp"]}
        return proportion(x, n, level=level, method=method, unit=unit, **counts)

    def at(a: int, b: int) -> Estimate:
        """`a` positive and `b` negative calls wrong."""
        return estimate({"tp": tp + up - a, "fp": fp + a, "tn": tn + un - b, "fn": fn + b})

    resolved = tp + fp, tn + fn
    expected = None
    if (resolved[0] or not up) and (resolved[1] or not un):
        expected = (up * fp / resolved[0] if up else 0.0) + (un * fn / resolved[1] if un else 0.0)
    return tipping_point(
        at,
        goal,
        n_first=up,
        n_second=un,
        excluded=estimate({"tp": tp, "fp": fp, "tn": tn, "fn": fn}),
        expected_wrong=expected,
    )


def output_tipping_point(
    metric: Metric,
    goal: Goal,
    *,
    true_positive: int,
    false_negative: int,
    true_negative: int,
    false_positive: int,
    positives_without_output: int,
    negatives_without_output: int,
    level: float = 0.95,
    method: ProportionMethod = "clopper-pearson",
    unit: Unit = "case",
) -> TippingPoint:
    """The same where cases have a reference but no output: how many of them the device would have to have got wrong.

    In the result, `wrong_positive_calls` counts reference-negative cases called positive, `wrong_negative_calls`
    reference-positive cases called negative.
    """
    if metric not in get_args(Metric):
        raise ValueError(f"metric is one of {', '.join(get_args(Metric))}; got {metric!r}")
    lost1 = check_count("positives_without_output", positives_without_output)
    lost0 = check_count("negatives_without_output", negatives_without_output)
    level = check_level(level)

    def at(a: int, b: int, right1: int, right0: int) -> Estimate:
        tp, fn = true_positive + right1, false_negative + b
        tn, fp = true_negative + right0, false_positive + a
        x, n = {
            "sensitivity": (tp, tp + fn),
            "specificity": (tn, tn + fp),
            "ppv": (tp, tp + fp),
            "npv": (tn, tn + fn),
            "accuracy": (tp + tn, tp + fn + tn + fp),
        }[metric]
        return proportion(x, n, level=level, method=method, unit=unit, n_positive=tp + fn, n_negative=tn + fp)

    n1, n0 = true_positive + false_negative, true_negative + false_positive
    expected = None
    if (n1 or not lost1) and (n0 or not lost0):
        expected = (lost1 * false_negative / n1 if lost1 else 0.0) + (lost0 * false_positive / n0 if lost0 else 0.0)
    return tipping_point(
        lambda a, b: at(a, b, lost1 - b, lost0 - a),
        goal,
        n_first=lost0,
        n_second=lost1,
        excluded=at(0, 0, 0, 0),
        expected_wrong=expected,
    )


def tipping_point(
    at: Callable[[int, int], Estimate],
    goal: Goal,
    *,
    n_first: int,
    n_second: int,
    excluded: Estimate,
    expected_wrong: float | None = None,
) -> TippingPoint:
    """Tipping point of any estimate over a grid of two numbers of wrong cases.

    Parameters
    ----------
    at
        The estimate with `a` of the first and `b` of the second group wrong, `0 <= a <= n_first`, `0 <= b <= n_second`.
    excluded
        The estimate without the unresolved cases.

    Notes
    -----
    Divisions are visited in order of a + b, so that the first failure is a tipping point without assuming that more
    wrong cases are always worse (a wrong positive call can widen an interval or narrow it).

    Raises
    ------
    ValueError
        Above 250,000 divisions: with so many unresolved cases there is nothing to conclude from the others.
    """
    if (n_first + 1) * (n_second + 1) > _MAX_DIVISIONS:
        raise ValueError(f"more than {_MAX_DIVISIONS} divisions of {n_first} and {n_second} unresolved cases")

    def made(a: int, b: int) -> Allocation:
        e = at(a, b)
        return Allocation(wrong_positive_calls=a, wrong_negative_calls=b, estimate=e, met=goal.met(e))

    tipping = None
    for wrong in range(n_first + n_second + 1):
        for b in range(max(0, wrong - n_first), min(wrong, n_second) + 1):
            division = made(wrong - b, b)
            if not division.met:
                tipping = division
                break
        if tipping is not None:
            break
    first, second = _ticks(n_first), _ticks(n_second)
    return TippingPoint(
        n_unresolved=n_first + n_second,
        excluded=excluded,
        all_right=made(0, 0),
        all_wrong=made(n_first, n_second),
        tipping=tipping,
        expected_wrong=expected_wrong,
        grid=tuple(made(a, b) for a in first for b in second),
        complete=len(first) == n_first + 1 and len(second) == n_second + 1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AurocTippingPoint:
    """AUROC by how many of the unresolved cases are positive: the worst and best the area can then be.

    `worst[k]` and `best[k]` belong to k positives among them (lowest, or highest, scores first); an entry is not
    estimable where a class is empty. `fails_for` are the numbers k for which some division fails the criterion,
    `holds_for` those for which none does.
    """

    n_unresolved: int
    excluded: Estimate
    worst: tuple[Estimate, ...]
    best: tuple[Estimate, ...]
    fails_for: tuple[int, ...]
    holds_for: tuple[int, ...]


def auroc_tipping_point(
    reference: ArrayLike,
    score: ArrayLike,
    has_reference: ArrayLike,
    goal: Goal,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    method: AurocMethod = "delong",
    unit: Unit = "case",
) -> AurocTippingPoint:
    """Tipping point of the AUROC over the number of positives among cases without a reference standard.

    With k of them positive the area is smallest where they are the k with the lowest scores, and largest where they are
    the k with the highest: exchanging two of them across that cut can only move it back.

    Parameters
    ----------
    reference, score, has_reference
        (n,); `reference` is looked at only where `has_reference`.

    Raises
    ------
    ValueError
        If shapes differ, or above 500 unresolved cases.
    """
    known = as_reference(has_reference)
    s = as_scores(score, known.size)
    raw = np.asarray(reference)
    if raw.shape != known.shape:
        raise ValueError(f"reference has shape {raw.shape}, expected {known.shape}")
    y = np.zeros(known.size, dtype=bool)
    y[known] = as_reference(raw[known])
    order = np.flatnonzero(~known)[np.argsort(s[~known], kind="stable")]
    u = order.size
    if u > 500:
        raise ValueError(f"more than 500 cases without a reference ({u}): there is nothing to conclude from the rest")
    labels = None if patient is None else np.asarray(patient)

    def area(truth: Bools, chosen: Bools) -> Estimate:
        cluster = None if labels is None else labels[chosen]
        return auroc(truth[chosen], s[chosen], level=level, method=method, cluster=cluster, unit=unit)

    everyone = np.ones(known.size, dtype=bool)
    worst: list[Estimate] = []
    best: list[Estimate] = []
    for k in range(u + 1):
        for which, into in ((order[:k], worst), (order[u - k :], best)):
            truth = y.copy()
            truth[which] = True
            into.append(area(truth, everyone))
    fails = tuple(k for k, e in enumerate(worst) if not goal.met(e))
    return AurocTippingPoint(
        n_unresolved=u,
        excluded=area(y, known),
        worst=tuple(worst),
        best=tuple(best),
        fails_for=fails,
        holds_for=tuple(k for k in range(u + 1) if k not in set(fails)),
    )

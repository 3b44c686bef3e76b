"""Every two-class metric with each patient left out in turn, in closed form: what a BCa interval needs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evalsuite.stats._binary_inputs import FloatArray, IntArray
from evalsuite.stats._binary_metrics import evaluate
from evalsuite.stats._stratum_plan import RankPlan, StratumPlan, sums_of

EXACT_ELEMENTS = 300_000_000
"""Up to this much work the average precision is left-one-out exactly; beyond, its influence function stands in."""


def jackknife(plan: StratumPlan, metric: str, *, prevalence: float | None = None) -> FloatArray:
    """`(p,)` values with each patient of the stratum left out; NaN where the metric is then undefined."""
    if metric == "auroc" and plan.rank is not None:
        return auroc_jackknife(plan.rank, plan.patients.size)
    if metric == "average_precision" and plan.rank is not None:
        return average_precision_jackknife(plan.rank, plan.patients.size)
    left_out = sums_of(plan, plan.features.sum(axis=0) - plan.features)
    return evaluate(metric, left_out, prevalence=prevalence)


def auroc_jackknife(plan: RankPlan, patients: int) -> FloatArray:
    """All pairs, less those of the patient's positives and of its negatives, plus the pairs inside it."""
    m, n = plan.positive_patient.size, plan.negative_patient.size
    m_i = np.bincount(plan.positive_patient, minlength=patients)
    n_i = np.bincount(plan.negative_patient, minlength=patients)
    above = np.bincount(plan.positive_patient, weights=plan.below + plan.through, minlength=patients)
    passed = np.cumsum(np.bincount(plan.below, minlength=n + 1))
    upto = np.cumsum(np.bincount(plan.through, minlength=n + 1))
    # The j-th negative (sorted) scores below positive i if j < below_i, and at most as much if j < through_i.
    j = np.arange(n)
    outranked = 2 * m - passed[j] - upto[j]
    beaten = np.bincount(plan.negative_patient, weights=outranked.astype(np.float64), minlength=patients)
    twice = float((plan.below + plan.through).sum())
    pairs = 2.0 * (m - m_i) * (n - n_i)
    left = twice - above - beaten + plan.within
    return np.asarray(np.divide(left, pairs, out=np.full(patients, np.nan), where=pairs > 0.0))


def average_precision_jackknife(plan: RankPlan, patients: int) -> FloatArray:
    """Average precision with each patient left out, by prefix sums over the positives.

    Leaving out a case lowers the counts of all positives scoring at most as much as it: those before its *reach* in
    rising order. A patient with several cases cuts the positives into runs with `a` positives and `b` negatives fewer;
    each run is a difference of prefix sums of `(tp − a) / (called − a − b)`.
    """
    m, n = plan.positive_patient.size, plan.negative_patient.size
    tp = (m - plan.first_tied).astype(np.float64)
    called = tp + (n - plan.below)
    patient = np.concatenate([plan.positive_patient, plan.negative_patient])
    reach = np.concatenate(
        [
            np.searchsorted(plan.first_tied, plan.first_tied, "right"),
            np.searchsorted(plan.below, np.arange(n), "right"),
        ]
    )
    key = patient * (m + 1) + (m - reach)
    order = np.argsort(key, kind="stable")
    key, reach, who = key[order], reach[order], patient[order]
    a, b = _running(order < m, who), _running(order >= m, who)
    following = np.append(np.where(who[1:] == who[:-1], reach[1:], 0), 0)
    width = int(b.max()) + 1
    runs = a * width + b
    # A left-out positive's own term, with every case of the patient that scores at least as much taken off.
    own = np.flatnonzero(order < m)
    own_runs = runs[np.searchsorted(key, key[own], "right") - 1]
    if np.unique(np.concatenate([runs, own_runs])).size * m > EXACT_ELEMENTS:
        return average_precision_influence(plan, patients)
    total = np.zeros(patients)
    first = np.flatnonzero(np.append(True, who[1:] != who[:-1]))
    everything = _prefix(tp, called, 0, 0)
    total[who[first]] = everything[m] - everything[reach[first]]
    pieces, own_terms = np.zeros(order.size), np.zeros(own.size)
    by_run, by_own = _grouped(runs), _grouped(own_runs)
    for run in sorted(by_run.keys() | by_own.keys()):
        prefix = _prefix(tp, called, run // width, run % width)
        if run in by_run:
            k = by_run[run]
            pieces[k] = prefix[reach[k]] - prefix[following[k]]
        if run in by_own:
            k = by_own[run]
            position = order[own[k]]
            own_terms[k] = prefix[position + 1] - prefix[position]
    total += np.bincount(who, weights=pieces, minlength=patients)
    total -= np.bincount(who[own], weights=own_terms, minlength=patients)
    left_m = m - np.bincount(plan.positive_patient, minlength=patients)
    left_n = n - np.bincount(plan.negative_patient, minlength=patients)
    defined = (left_m > 0) & (left_n > 0)
    return np.asarray(np.divide(total, left_m, out=np.full(patients, np.nan), where=defined))


def _running(chosen: npt.NDArray[np.bool_], who: IntArray) -> IntArray:
    """Running count of the chosen within each patient; `who` is sorted."""
    count = np.cumsum(chosen)
    start = np.searchsorted(who, who, "left")
    return np.asarray(count - (count[start] - chosen[start]), dtype=np.int64)


def _prefix(tp: FloatArray, called: FloatArray, a: int, b: int) -> FloatArray:
    left = called - (a + b)
    terms = np.divide(tp - a, left, out=np.zeros_like(tp), where=left != 0.0)
    return np.concatenate([[0.0], np.cumsum(terms)])


def _grouped(codes: IntArray) -> dict[int, IntArray]:
    """Positions of each distinct code."""
    order = np.argsort(codes, kind="stable")
    distinct, starts = np.unique(codes[order], return_index=True)
    return {int(c): part for c, part in zip(distinct, np.split(order, starts[1:]), strict=True)}


def average_precision_influence(plan: RankPlan, patients: int) -> FloatArray:
    """Linear approximation of the left-out values: the value less the derivative with respect to a patient's weight."""
    m, n = plan.positive_patient.size, plan.negative_patient.size
    tp = (m - plan.first_tied).astype(np.float64)
    called = tp + (n - plan.below)
    area = float((tp / called).sum()) / m
    # Sums over positives that score at most as much as a given rank: prefix sums over rising score.
    gain = np.concatenate([[0.0], np.cumsum((called - tp) / called**2)])
    loss = np.concatenate([[0.0], np.cumsum(tp / called**2)])
    last_tied = np.searchsorted(plan.first_tied, plan.first_tied, "right")
    positive = (tp / called + gain[last_tied] - area) / m
    # Positives with score <= the j-th negative's: those whose `below` is at most j.
    reach = np.searchsorted(plan.below, np.arange(n), "right")
    negative = -loss[reach] / m
    per_patient = np.bincount(plan.positive_patient, weights=positive, minlength=patients)
    per_patient += np.bincount(plan.negative_patient, weights=negative, minlength=patients)
    return np.asarray(area - per_patient, dtype=np.float64)

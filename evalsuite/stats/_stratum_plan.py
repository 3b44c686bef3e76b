"""A stratum prepared once so that thousands of resamples cost little: sums per patient and presorted ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evalsuite.stats._binary_inputs import BoolArray, FloatArray, IntArray
from evalsuite.stats._binary_metrics import CALL_METRICS, RANK_METRICS, Sums
from evalsuite.stats._blocks import Counts
from evalsuite.stats._rank import Placements, placements

ROW_ELEMENTS = 250_000
"""Positives times replicates whose terms of the average precision are held at once."""
WEIGHTS_BYTES = 2_000_000
"""Counts held as floats at once, to be multiplied with the sums per patient."""
WEIGHTS_PATIENTS = 4096
"""Patients whose counts are multiplied at once: their sums stay in the processor's cache for many replicates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseArrays:
    """All cases of the evaluation, checked. `patient` are codes of the draw."""

    reference: BoolArray
    patient: IntArray
    n_patients: int
    score: FloatArray | None
    call: BoolArray | None
    probability: FloatArray | None
    bin_index: IntArray | None
    n_bins: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RankPlan:
    """Positives and negatives of a stratum, each sorted by rising score.

    `below`, `through`: how many negatives score less than, and at most as much as, each positive. `first_tied`:
    index of the first positive with the same score. `*_patient` index the stratum's own patients. `index`: those five
    in half the memory, as the compiled loop reads them thousands of times.
    """

    positive_patient: IntArray
    negative_patient: IntArray
    below: IntArray
    through: IntArray
    first_tied: IntArray
    any_ties: bool
    ranks: Placements
    within: FloatArray
    index: tuple[npt.NDArray[np.uint32], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StratumPlan:
    """One stratum: `patients (p,)` codes of the draw, `features (p, f)` fixed-point sums per patient, ranks if needed.

    Features are integers times `scale`, small enough that any weighted sum stays below 2^53: sums are exact, so they do
    not depend on the order of addition, the number of threads or the linear-algebra library.
    """

    n_cases: int
    patients: IntArray
    features: FloatArray
    scale: FloatArray
    names: tuple[str, ...]
    n_bins: int
    rank: RankPlan | None
    infinite_log_loss: bool


def build_plan(cases: CaseArrays, mask: BoolArray, metrics: Sequence[str]) -> StratumPlan:
    """Prepare one stratum for the metrics asked for."""
    index = np.flatnonzero(mask)
    reference = cases.reference[index]
    patients, local = np.unique(cases.patient[index], return_inverse=True)
    local = local.reshape(-1)
    columns: dict[str, FloatArray] = {"n": np.ones(index.size), "positive": reference.astype(np.float64)}
    infinite = False
    if cases.call is not None and any(m in CALL_METRICS for m in metrics):
        call = cases.call[index]
        columns["tp"] = (call & reference).astype(np.float64)
        columns["fp"] = (call & ~reference).astype(np.float64)
    if cases.probability is not None:
        p = cases.probability[index]
        if "brier" in metrics:
            columns["brier"] = (p - reference) ** 2
        if "observed_expected" in metrics:
            columns["probability"] = p
        if "log_loss" in metrics:
            loss = case_log_loss(reference, p)
            infinite = bool(np.isinf(loss).any())
            columns["log_loss"] = np.zeros(index.size) if infinite else loss
    sums = [np.bincount(local, weights=c, minlength=patients.size) for c in columns.values()]
    names = [*columns]
    n_bins = 0
    if cases.bin_index is not None and cases.probability is not None and ("ece" in metrics or "mce" in metrics):
        n_bins = cases.n_bins
        flat = local * n_bins + cases.bin_index[index]
        size = patients.size * n_bins
        gap = reference - cases.probability[index]
        for name, weights in (("bin_n", None), ("bin_gap", gap)):
            table = np.bincount(flat, weights=weights, minlength=size).astype(np.float64).reshape(-1, n_bins)
            sums.extend(table.T)
            names.append(name)
    features, scale = _fixed_point(np.stack(sums, axis=1), cases.n_patients)
    rank = None
    if cases.score is not None and any(m in RANK_METRICS for m in metrics) and 0 < reference.sum() < reference.size:
        rank = _rank_plan(reference, cases.score[index], local, patients.size)
    return StratumPlan(
        n_cases=int(index.size),
        patients=patients,
        features=features,
        scale=scale,
        names=tuple(names),
        n_bins=n_bins,
        rank=rank,
        infinite_log_loss=infinite,
    )


def case_log_loss(reference: BoolArray, probability: FloatArray) -> FloatArray:
    """Minus the log of the probability given to what happened; infinite where that was 0, never clipped."""
    given = np.where(reference, probability, 1.0 - probability)
    # log1p keeps the digits of probabilities near 1 for negatives' complements.
    with np.errstate(divide="ignore"):
        return np.asarray(np.where(reference, -np.log(given), -np.log1p(-probability)))


def _fixed_point(table: FloatArray, draws: int) -> tuple[FloatArray, FloatArray]:
    largest = np.abs(table).max(axis=0, initial=0.0)
    whole = (table == np.rint(table)).all(axis=0)
    room = np.floor(52.0 - np.log2(np.maximum(largest, 1e-300) * max(1, draws)))
    power = np.where(whole | (largest == 0.0), 0.0, np.clip(room, -60.0, 60.0))
    return np.rint(np.ldexp(table, power.astype(np.int64))), np.ldexp(1.0, -power.astype(np.int64))


def _rank_plan(reference: BoolArray, score: FloatArray, local: IntArray, patients: int) -> RankPlan:
    ranks = placements(reference, score)
    pos, neg = np.flatnonzero(reference), np.flatnonzero(~reference)
    pos, neg = pos[np.argsort(score[pos], kind="stable")], neg[np.argsort(score[neg], kind="stable")]
    pos_score, neg_score = score[pos], score[neg]
    below = np.searchsorted(neg_score, pos_score, "left")
    through = np.searchsorted(neg_score, pos_score, "right")
    within = np.zeros(patients)
    if patients < reference.size:
        within = _pairs_within_patients(reference, score, local, patients)
    first_tied = np.searchsorted(pos_score, pos_score, "left")
    return RankPlan(
        positive_patient=local[pos],
        negative_patient=local[neg],
        below=below,
        through=through,
        first_tied=first_tied,
        any_ties=bool((below != through).any()),
        index=tuple(a.astype(np.uint32) for a in (local[pos], local[neg], below, through, first_tied)),
        ranks=ranks,
        within=within,
    )


def _pairs_within_patients(reference: BoolArray, score: FloatArray, local: IntArray, patients: int) -> FloatArray:
    """Twice the number of (positive > negative) pairs, ties one half, inside each patient."""
    dense = np.unique(score, return_inverse=True)[1].reshape(-1).astype(np.int64)
    order = np.lexsort((dense, local))
    who, rank, truth = local[order], dense[order], reference[order]
    before = np.concatenate([[0], np.cumsum(~truth)])
    # Index of the patient's first case, and of the first and one-past-last case of the patient's tie group.
    start = np.searchsorted(who, who, "left")
    key = who * (int(dense.max()) + 1) + rank
    tie_start, tie_stop = np.searchsorted(key, key, "left"), np.searchsorted(key, key, "right")
    twice = before[tie_start] + before[tie_stop] - 2 * before[start]
    return np.asarray(np.bincount(who[truth], weights=twice[truth].astype(np.float64), minlength=patients))


def weighted_sums(counts: Counts, features: FloatArray) -> FloatArray:
    """`(r, f)` sums of `features (p, f)`, each patient counted as often as in the row of `counts (r, p)`."""
    rows, patients = counts.shape
    out = np.zeros((rows, features.shape[1]))
    # A part at a time: a float copy of all counts would be the largest array of the bootstrap. The sums are exact
    # (`StratumPlan`), so the parts may be added in any order.
    across = max(1, min(patients, WEIGHTS_PATIENTS))
    down = max(1, min(rows, WEIGHTS_BYTES // (8 * across)))
    weights = np.empty((down, across))
    for left in range(0, patients, across):
        some = features[left : left + across]
        for top in range(0, rows, down):
            part = counts[top : top + down, left : left + across]
            factor = weights[: part.shape[0], : part.shape[1]]
            np.copyto(factor, part)
            out[top : top + down] += factor @ some
    return out


def sums_of(plan: StratumPlan, fixed: FloatArray) -> Sums:
    """Name the columns of `(r, f)` fixed-point sums."""
    real = fixed * plan.scale
    named: dict[str, FloatArray] = {}
    column = 0
    for name in plan.names:
        width = plan.n_bins if name.startswith("bin_") else 1
        named[name] = (
            real[:, column] if width == 1 and not name.startswith("bin_") else real[:, column : column + width]
        )
        column += width
    return Sums(**named)


def rank_values(plan: RankPlan, counts: Counts, metrics: Sequence[str]) -> dict[str, FloatArray]:
    """AUROC and average precision for each row of `counts (r, p)`; NaN where a class is absent."""
    from evalsuite.stats import _kernels

    rows, m, n = counts.shape[0], plan.positive_patient.size, plan.negative_patient.size
    wanted = [name for name in RANK_METRICS if name in metrics]
    by_case = "average_precision" in wanted
    step = max(1, min(rows, ROW_ELEMENTS // m)) if by_case else rows
    precision = np.empty(rows if by_case else 0)
    totals = np.empty((rows, 3), dtype=np.int64)
    # Sums of counts over cases: 32 bits hold them unless the study has more than some 10^8 cases.
    kind = np.uint32 if int(counts.max(initial=0)) * (m + n) < 2**32 else np.int64
    work = np.empty(n + 1, dtype=kind), np.empty(m + 1, dtype=kind)
    for start in range(0, rows, step):
        part = slice(start, min(start + step, rows))
        terms = np.empty((part.stop - start if by_case else 0, m))
        _kernels.rank_counts(counts[part], plan.index, work, totals[part], terms)
        precision[part] = terms.sum(axis=1)
    positives, negatives, twice = totals.T.astype(np.float64)
    defined = (positives > 0.0) & (negatives > 0.0)
    top = {"auroc": twice, "average_precision": precision}
    bottom = {"auroc": 2.0 * positives * negatives, "average_precision": positives}
    return {name: np.divide(top[name], bottom[name], out=np.full(rows, np.nan), where=defined) for name in wanted}

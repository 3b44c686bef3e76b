"""Tasks with several classes: confusion matrix, accuracy, top-k, kappa, Matthews correlation, Hand-Till M, calibration.

Classes are integers 0 to k − 1. One-vs-rest figures and their averages are in `averages`; every interval comes from one
resampling of patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evalsuite.stats._binary_inputs import BoolArray, FloatArray, IntArray
from evalsuite.stats._multiclass_formulas import (
    NEEDS_PREDICTED,
    NEEDS_PROBABILITY,
    NEEDS_SCORE,
    columns,
    statistic,
)
from evalsuite.stats._resampled import Material, Ranked, Replicated, read, replicated
from evalsuite.stats.averages import Answers
from evalsuite.stats.bootstrap_interval import BootstrapMethod
from evalsuite.stats.draw import PatientDraw
from evalsuite.types import Estimate, Unit

__all__ = [
    "METRICS",
    "NEEDS_PROBABILITY",
    "ClassSample",
    "class_rank",
    "class_sample",
    "confusion_matrix",
    "hand_till",
    "multiclass_bootstrap",
    "multiclass_replicates",
    "one_vs_rest",
    "pair_rankings",
    "predicted_class",
]

METRICS = (*NEEDS_PREDICTED, *NEEDS_SCORE, *NEEDS_PROBABILITY)

_ROW_SUM_TOLERANCE = 1e-3
"""Rounded to three decimals, as in many tables, class probabilities still sum to 1 within this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassSample:
    """Cases of a task with several classes.

    `reference (n,)` and `predicted (n,)` are classes 0 … k − 1; `score (n, k)` ranks (infinite allowed); `probability
    (n, k)` sums to 1 per row. `names` are the classes'. Only `reference` and what a metric needs have to be given.
    """

    reference: IntArray
    names: tuple[str, ...]
    predicted: IntArray | None = None
    score: FloatArray | None = None
    probability: FloatArray | None = None

    @property
    def n(self) -> int:
        return int(self.reference.size)

    @property
    def k(self) -> int:
        return len(self.names)


def class_sample(
    reference: npt.ArrayLike,
    names: Sequence[str],
    *,
    predicted: npt.ArrayLike | None = None,
    score: npt.ArrayLike | None = None,
    probability: npt.ArrayLike | None = None,
) -> ClassSample:
    """Check and pack one sample; `score` defaults to `probability`, `predicted` to the class with the largest score.

    Raises
    ------
    ValueError
        If a class is not a whole number 0 … k − 1, shapes differ, a score is NaN, or probabilities leave [0, 1] or do
        not sum to 1 within 0.001.
    """
    k = len(names)
    if k < 2:
        raise ValueError(f"a task with several classes has at least 2, got {k}")
    truth = _classes(reference, k, "reference")
    p = None if probability is None else _table(probability, truth.size, k, "probability")
    if p is not None and p.size:
        if float(p.min()) < 0.0 or float(p.max()) > 1.0:
            raise ValueError("probability lies outside [0, 1]")
        if float(np.abs(p.sum(axis=1) - 1.0).max()) > _ROW_SUM_TOLERANCE:
            raise ValueError("class probabilities of a case must sum to 1")
    s = p if score is None else _table(score, truth.size, k, "score")
    called = None
    if predicted is not None:
        called = _classes(predicted, k, "predicted")
        if called.shape != truth.shape:
            raise ValueError(f"predicted must have shape {truth.shape} like reference, got {called.shape}")
    elif s is not None:
        called = predicted_class(s)
    return ClassSample(reference=truth, names=tuple(names), predicted=called, score=s, probability=p)


def _classes(values: npt.ArrayLike, k: int, name: str) -> IntArray:
    raw = np.asarray(values)
    if raw.ndim != 1:
        raise ValueError(f"{name} holds one class per case, got shape {raw.shape}")
    if raw.size == 0:
        return np.zeros(0, dtype=np.int64)
    if not np.issubdtype(raw.dtype, np.number):
        raise ValueError(f"{name} holds whole numbers from 0 to {k - 1}")
    whole = raw.astype(np.int64) if bool(np.isfinite(raw.astype(np.float64)).all()) else None
    if whole is None or bool((whole != raw).any()) or int(whole.min()) < 0 or int(whole.max()) >= k:
        raise ValueError(f"{name} holds whole numbers from 0 to {k - 1}")
    return whole


def _table(values: npt.ArrayLike, n: int, k: int, name: str) -> FloatArray:
    table = np.ascontiguousarray(values, dtype=np.float64)
    if table.shape != (n, k):
        raise ValueError(f"{name} must have shape ({n}, {k}), got {table.shape}")
    if bool(np.isnan(table).any()):
        raise ValueError(f"{name} holds NaN; a case without an output must be handled before")
    return table


def predicted_class(score: FloatArray) -> IntArray:
    """`(n,)` class with the largest score; of equal ones the first in the order of classes."""
    return np.asarray(score.argmax(axis=1), dtype=np.int64)


def class_rank(score: FloatArray, reference: IntArray) -> IntArray:
    """`(n,)` place of the reference class among the scores, 0 the highest; of equal scores the first class leads.

    Place 0 is therefore the predicted class, and top-1 accuracy is accuracy.
    """
    own = score[np.arange(reference.size), reference][:, None]
    earlier = np.arange(score.shape[1])[None, :] < reference[:, None]
    return np.asarray(((score > own) | ((score == own) & earlier)).sum(axis=1), dtype=np.int64)


def confusion_matrix(reference: npt.ArrayLike, predicted: npt.ArrayLike, k: int) -> IntArray:
    """`(k, k)` cases, reference class in rows and predicted class in columns."""
    truth, called = _classes(reference, k, "reference"), _classes(predicted, k, "predicted")
    if truth.shape != called.shape:
        raise ValueError(f"reference and predicted hold one class per case, got {truth.size} and {called.size}")
    return np.asarray(np.bincount(truth * k + called, minlength=k * k).reshape(k, k), dtype=np.int64)


def one_vs_rest(sample: ClassSample) -> Answers:
    """Each class against the rest, for `averages.averaged`."""
    classes = np.arange(sample.k)[None, :]
    return Answers(
        truth=sample.reference[:, None] == classes,
        call=None if sample.predicted is None else sample.predicted[:, None] == classes,
        score=sample.score,
        names=sample.names,
    )


def multiclass_bootstrap(
    draw: PatientDraw,
    sample: ClassSample,
    metrics: Sequence[str],
    *,
    masks: npt.ArrayLike | None = None,
    level: float = 0.95,
    method: BootstrapMethod = "bca",
    bins: int = 10,
    top: int = 1,
    unit: Unit = "case",
    threads: int | None = None,
) -> list[list[Estimate]]:
    """Figures of the whole classification with patient-bootstrap intervals, `[stratum][metric]`.

    Parameters
    ----------
    metrics
        `accuracy`, `kappa` (Cohen), `mcc` (Gorodkin's R_K), `top_k_accuracy` (with `top`), `hand_till`,
        `multiclass_brier` (sum over classes, 0 to 2), `log_loss`, `top_label_ece`, `classwise_ece` (with `bins`).

    Returns
    -------
    list of list of Estimate
        Not estimable, with the reason, where a class has no cases (Hand-Till) or nothing varies (kappa, MCC).

    Notes
    -----
    Hand & Till's M is the mean over all pairs of classes i, j of (A(i|j) + A(j|i)) / 2, where A(i|j) is the chance that
    a case of i has a larger score for i than a case of j, ties one half. It does not depend on how common classes are.
    Class-wise ECE is the mean over classes of the calibration error of that class's probability; top-label ECE that of
    the predicted class's probability. Both are inflated by resampling and get `folded_interval`.

    References
    ----------
    Cohen, Educ Psychol Meas 20:37-46 (1960). Gorodkin, Comput Biol Chem 28:367-374 (2004). Hand & Till, Mach Learn
    45:171-186 (2001). Brier, Mon Weather Rev 78:1-3 (1950). Guo et al., ICML (2017). Kull et al., NeurIPS (2019).
    """
    table = multiclass_replicates(
        draw, sample, metrics, masks=masks, bins=bins, top=top, with_jackknife=method == "bca", threads=threads
    )
    return read(table, level=level, method=method, unit=unit)


def multiclass_replicates(
    draw: PatientDraw,
    sample: ClassSample,
    metrics: Sequence[str],
    *,
    masks: npt.ArrayLike | None = None,
    bins: int = 10,
    top: int = 1,
    with_jackknife: bool = True,
    threads: int | None = None,
) -> Replicated:
    """Replicates of these figures, to be read at any level or set against another device's; see
    `multiclass_bootstrap`."""
    unknown = sorted(set(metrics) - set(METRICS))
    if unknown:
        raise ValueError(f"unknown metric: {', '.join(unknown)}")
    if "top_k_accuracy" in metrics and not 1 <= top <= sample.k:
        raise ValueError(f"top lies between 1 and the number of classes {sample.k}, got {top}")
    for given, family, name in (
        (sample.predicted, NEEDS_PREDICTED, "predicted"),
        (sample.score, NEEDS_SCORE, "score"),
        (sample.probability, NEEDS_PROBABILITY, "probability"),
    ):
        needing = [m for m in metrics if m in family]
        if needing and given is None:
            raise ValueError(f"{', '.join(needing)} needs {name}")
    sums: dict[str, FloatArray] = {"n": np.ones((sample.n, 1)), "truth": _one_hot(sample.reference, sample.k)}
    for metric in metrics:
        sums |= columns(metric, sample, bins=bins, top=top)
    ranked = {"pairs": pair_rankings(sample)} if "hand_till" in metrics else {}
    material = Material(sums=sums, ranked=ranked, ranks=("auroc",))
    statistics = [statistic(metric, sample, bins=bins) for metric in metrics]
    return replicated(draw, material, statistics, masks=masks, with_jackknife=with_jackknife, threads=threads)


def _one_hot(classes: IntArray, k: int) -> FloatArray:
    return np.asarray(classes[:, None] == np.arange(k)[None, :], dtype=np.float64)


def pair_rankings(sample: ClassSample) -> list[Ranked]:
    """The k (k − 1) rankings of Hand & Till: cases of i against cases of j by the score for i."""
    assert sample.score is not None, "checked by the caller"
    members: list[IntArray] = [np.flatnonzero(sample.reference == c) for c in range(sample.k)]
    out = []
    for i in range(sample.k):
        for j in range(sample.k):
            if i != j:
                case = np.concatenate([members[i], members[j]])
                truth: BoolArray = np.arange(case.size) < members[i].size
                out.append(Ranked(reference=truth, score=sample.score[case, i], case=case))
    return out


def hand_till(
    reference: npt.ArrayLike,
    score: npt.ArrayLike,
    names: Sequence[str],
    *,
    draw: PatientDraw | None = None,
    **options: Any,
) -> Estimate:
    """Hand & Till's M of one sample; every case its own patient unless a draw is given."""
    sample = class_sample(reference, names, score=score)
    used = draw or PatientDraw(np.arange(sample.n), replicates=2000, seed=0)
    return multiclass_bootstrap(used, sample, ["hand_till"], **options)[0][0]

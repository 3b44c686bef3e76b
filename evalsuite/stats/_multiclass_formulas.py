"""Formulas of the figures of a classification with several classes, as functions of sums over cases."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from evalsuite.stats._binary_inputs import FloatArray
from evalsuite.stats._binary_metrics import ratio
from evalsuite.stats._resampled import Parts, Statistic
from evalsuite.stats.bins import bin_index

if TYPE_CHECKING:
    from evalsuite.stats.multiclass import ClassSample

NEEDS_PREDICTED = ("accuracy", "kappa", "mcc")
NEEDS_SCORE = ("top_k_accuracy", "hand_till")
NEEDS_PROBABILITY = ("multiclass_brier", "log_loss", "top_label_ece", "classwise_ece")


def columns(metric: str, sample: ClassSample, *, bins: int, top: int) -> dict[str, FloatArray]:
    """The per-case columns `(n, w)` that a metric sums."""
    from evalsuite.stats.multiclass import class_rank, predicted_class

    n, k, truth = sample.n, sample.k, sample.reference
    own = (np.arange(n), truth)
    if metric in NEEDS_PREDICTED:
        assert sample.predicted is not None
        called = sample.predicted
        return {
            "right": (called == truth).astype(np.float64)[:, None],
            "called": (called[:, None] == np.arange(k)).astype(np.float64),
        }
    if metric == "top_k_accuracy":
        assert sample.score is not None
        return {"top": (class_rank(sample.score, truth) < top).astype(np.float64)[:, None]}
    if metric == "hand_till":
        return {}
    assert sample.probability is not None
    p = sample.probability
    if metric == "multiclass_brier":
        return {"brier": (p**2).sum(axis=1, keepdims=True) + (1.0 - 2.0 * p[own])[:, None]}
    if metric == "log_loss":
        given = p[own]
        # An infinite loss cannot be summed; the count of such cases makes the statistic undefined instead.
        loss = -np.log(np.where(given > 0.0, given, 1.0))
        return {"loss": loss[:, None], "impossible": (given <= 0.0).astype(np.float64)[:, None]}
    if metric == "top_label_ece":
        called = predicted_class(p)
        chosen = p[np.arange(n), called]
        return {"top_gap": _gaps(chosen, called == truth, bins)}
    parts = [_gaps(p[:, c], truth == c, bins) for c in range(k)]
    return {"class_gap": np.concatenate(parts, axis=1)}


def _gaps(probability: FloatArray, happened: np.ndarray, bins: int) -> FloatArray:
    """`(n, bins)` outcome less probability, in the bin of the probability."""
    out = np.zeros((probability.size, bins))
    out[np.arange(probability.size), bin_index(probability, bins=bins)] = happened - probability
    return out


def statistic(metric: str, sample: ClassSample, *, bins: int) -> Statistic:
    """Formula, range and reason of one metric."""
    k, names = sample.k, sample.names
    if metric == "accuracy":
        return Statistic(
            value=lambda p: ratio(p.sums["right"][:, 0], p.sums["n"][:, 0]),
            reason=lambda p: "no cases",
            counts=lambda p: (float(p.sums["right"][0, 0]), float(p.sums["n"][0, 0])),
        )
    if metric == "kappa":
        return Statistic(
            value=_kappa,
            reason=lambda p: (
                "all predictions and the reference are the same single class, so agreement by chance is certain"
            ),
            bounds=(-1.0, 1.0),
        )
    if metric == "mcc":
        return Statistic(
            value=_mcc,
            reason=lambda p: "the predictions or the reference hold one class only, so the correlation is undefined",
            bounds=(-1.0, 1.0),
        )
    if metric == "top_k_accuracy":
        return Statistic(
            value=lambda p: ratio(p.sums["top"][:, 0], p.sums["n"][:, 0]),
            reason=lambda p: "no cases",
            counts=lambda p: (float(p.sums["top"][0, 0]), float(p.sums["n"][0, 0])),
        )
    if metric == "hand_till":
        return Statistic(value=lambda p: np.asarray(p.auroc["pairs"].mean(axis=1)), reason=lambda p: _absent(p, names))
    if metric == "multiclass_brier":
        return Statistic(
            value=lambda p: ratio(p.sums["brier"][:, 0], p.sums["n"][:, 0]),
            reason=lambda p: "no cases",
            bounds=(0.0, 2.0),
        )
    if metric == "log_loss":
        return Statistic(
            value=_log_loss,
            reason=lambda p: f"infinite: {int(p.sums['impossible'][0, 0])} cases have probability 0 for their class",
            bounds=(0.0, math.inf),
        )
    if metric == "top_label_ece":
        return Statistic(
            value=lambda p: ratio(np.abs(p.sums["top_gap"]).sum(axis=1), p.sums["n"][:, 0]),
            reason=lambda p: "no cases",
            change=lambda p, data: _change(p, data, "top_gap", 1),
        )
    return Statistic(
        value=lambda p: ratio(np.abs(p.sums["class_gap"]).sum(axis=1), k * p.sums["n"][:, 0]),
        reason=lambda p: "no cases",
        change=lambda p, data: _change(p, data, "class_gap", k),
    )


def _change(p: Parts, data: Parts, gaps: str, k: int) -> FloatArray:
    """Mean absolute change of the bins' gaps against the data, over `k` classes."""
    now = ratio(p.sums[gaps], np.broadcast_to(p.sums["n"], p.sums[gaps].shape))
    return np.asarray(np.abs(now - data.sums[gaps] / data.sums["n"]).sum(axis=1) / k)


def _kappa(p: Parts) -> FloatArray:
    n = p.sums["n"][:, 0]
    by_chance = (p.sums["truth"] * p.sums["called"]).sum(axis=1)
    return ratio(n * p.sums["right"][:, 0] - by_chance, n * n - by_chance)


def _mcc(p: Parts) -> FloatArray:
    """Gorodkin's R_K: covariance of prediction and reference over the root of their variances."""
    n = p.sums["n"][:, 0]
    truth, called = p.sums["truth"], p.sums["called"]
    covariance = n * p.sums["right"][:, 0] - (truth * called).sum(axis=1)
    spread = (n * n - (called**2).sum(axis=1)) * (n * n - (truth**2).sum(axis=1))
    return ratio(covariance, np.sqrt(np.maximum(spread, 0.0)))


def _log_loss(p: Parts) -> FloatArray:
    n = p.sums["n"][:, 0]
    finite = p.sums["impossible"][:, 0] < 0.5
    return np.where(finite, ratio(p.sums["loss"][:, 0], n), np.nan)


def _absent(p: Parts, names: tuple[str, ...]) -> str:
    empty = [name for name, n in zip(names, p.sums["truth"][0], strict=True) if n == 0.0]
    if not empty:
        return "a pair of classes has no value"
    more = f", and {len(empty) - 1} more classes" if len(empty) > 1 else ""
    return f"class '{empty[0]}': no cases{more}"

"""Two-class metrics written once, as formulas of weighted sums: for the data, every resample and the jackknife."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evalsuite.stats._binary_inputs import FloatArray

CALL_METRICS = (
    "sensitivity", "specificity", "ppv", "npv", "accuracy", "balanced_accuracy", "f1", "mcc", "kappa", "youden",
    "lr_positive", "lr_negative", "call_rate",
)  # fmt: skip
RANK_METRICS = ("auroc", "average_precision")
PROBABILITY_METRICS = ("brier", "log_loss", "ece", "mce", "observed_expected")
METRICS = (*CALL_METRICS, *RANK_METRICS, *PROBABILITY_METRICS, "prevalence")

NO_CASES = "no cases"
NO_POSITIVES = "no reference-positive cases"
NO_NEGATIVES = "no reference-negative cases"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Weighted sums of one sample per row: `(r,)` arrays, bins `(r, b)`. Absent inputs are None."""

    n: FloatArray
    positive: FloatArray
    tp: FloatArray | None = None
    fp: FloatArray | None = None
    brier: FloatArray | None = None
    log_loss: FloatArray | None = None
    probability: FloatArray | None = None
    bin_n: FloatArray | None = None
    bin_gap: FloatArray | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """Cells of the two-by-two table, each `(r,)`."""

    tp: FloatArray
    fp: FloatArray
    fn: FloatArray
    tn: FloatArray


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Quotient, NaN where the denominator is zero."""
    undefined = np.full(numerator.shape, np.nan)
    return np.asarray(np.divide(numerator, denominator, out=undefined, where=denominator != 0.0))


def cells(sums: Sums) -> Cells:
    assert sums.tp is not None
    assert sums.fp is not None
    fn = sums.positive - sums.tp
    tn = sums.n - sums.positive - sums.fp
    return Cells(tp=sums.tp, fp=sums.fp, fn=fn, tn=tn)


def _sensitivity(c: Cells) -> FloatArray:
    return ratio(c.tp, c.tp + c.fn)


def _specificity(c: Cells) -> FloatArray:
    return ratio(c.tn, c.tn + c.fp)


def _mcc(c: Cells) -> FloatArray:
    product = (c.tp + c.fp) * (c.tp + c.fn) * ((c.tn + c.fp) * (c.tn + c.fn))
    return ratio(c.tp * c.tn - c.fp * c.fn, np.sqrt(product))


def _kappa(c: Cells) -> FloatArray:
    n = c.tp + c.fp + c.fn + c.tn
    by_chance = (c.tp + c.fp) * (c.tp + c.fn) + (c.fn + c.tn) * (c.fp + c.tn)
    return ratio(n * (c.tp + c.tn) - by_chance, n * n - by_chance)


CALL_FORMULAS: dict[str, Callable[[Cells], FloatArray]] = {
    "sensitivity": _sensitivity,
    "specificity": _specificity,
    "ppv": lambda c: ratio(c.tp, c.tp + c.fp),
    "npv": lambda c: ratio(c.tn, c.tn + c.fn),
    "accuracy": lambda c: ratio(c.tp + c.tn, c.tp + c.fp + c.fn + c.tn),
    "balanced_accuracy": lambda c: (_sensitivity(c) + _specificity(c)) / 2.0,
    "f1": lambda c: ratio(2.0 * c.tp, 2.0 * c.tp + c.fp + c.fn),
    "mcc": _mcc,
    "kappa": _kappa,
    "youden": lambda c: _sensitivity(c) + _specificity(c) - 1.0,
    "lr_positive": lambda c: ratio(_sensitivity(c), ratio(c.fp, c.tn + c.fp)),
    "lr_negative": lambda c: ratio(ratio(c.fn, c.tp + c.fn), _specificity(c)),
    "call_rate": lambda c: ratio(c.tp + c.fp, c.tp + c.fp + c.fn + c.tn),
}


def _mce(sums: Sums) -> FloatArray:
    assert sums.bin_n is not None
    assert sums.bin_gap is not None
    gap = np.divide(np.abs(sums.bin_gap), sums.bin_n, out=np.full(sums.bin_n.shape, -np.inf), where=sums.bin_n > 0.0)
    largest = gap.max(axis=1)
    return np.where(np.isneginf(largest), np.nan, largest)


def _ece(sums: Sums) -> FloatArray:
    assert sums.bin_gap is not None
    return ratio(np.abs(sums.bin_gap).sum(axis=1), sums.n)


def at_prevalence(metric: str, c: Cells, prevalence: float) -> FloatArray:
    """PPV or NPV by Bayes' rule from sensitivity and specificity, at a declared prevalence."""
    sensitivity, specificity = _sensitivity(c), _specificity(c)
    if metric == "ppv":
        true, false = prevalence * sensitivity, (1.0 - prevalence) * (1.0 - specificity)
    else:
        true, false = (1.0 - prevalence) * specificity, prevalence * (1.0 - sensitivity)
    return ratio(true, true + false)


def evaluate(metric: str, sums: Sums, *, prevalence: float | None = None) -> FloatArray:
    """`(r,)` values of a metric that needs no ranks; NaN where it is undefined."""
    if prevalence is not None and metric in ("ppv", "npv"):
        return at_prevalence(metric, cells(sums), prevalence)
    if metric in CALL_FORMULAS:
        return CALL_FORMULAS[metric](cells(sums))
    if metric == "prevalence":
        return ratio(sums.positive, sums.n)
    if metric == "brier" and sums.brier is not None:
        return ratio(sums.brier, sums.n)
    if metric == "log_loss" and sums.log_loss is not None:
        return ratio(sums.log_loss, sums.n)
    if metric == "observed_expected" and sums.probability is not None:
        return ratio(sums.positive, sums.probability)
    if metric == "ece":
        return _ece(sums)
    if metric == "mce":
        return _mce(sums)
    raise ValueError(f"{metric} cannot be evaluated from these sums")


def folded_error(metric: str, sums: Sums, data: Sums) -> FloatArray:
    """`(r,)` size of the change of the bins' gaps against the data: summed for ECE, the largest for MCE."""
    assert sums.bin_gap is not None
    assert data.bin_gap is not None
    assert sums.bin_n is not None
    assert data.bin_n is not None
    if metric == "ece":
        change = ratio(sums.bin_gap, np.broadcast_to(sums.n[:, None], sums.bin_gap.shape)) - data.bin_gap / data.n
        return np.asarray(np.abs(change).sum(axis=1))
    both = (sums.bin_n > 0.0) & (data.bin_n > 0.0)
    change = np.abs(ratio(sums.bin_gap, sums.bin_n) - ratio(data.bin_gap, data.bin_n))
    return np.asarray(np.where(both, change, 0.0).max(axis=1))


def undefined_reason(metric: str, sums: Sums, *, prevalence: float | None = None) -> str:
    """Why the metric has no value on the data itself (row 0 of `sums`)."""
    n, positive = float(sums.n[0]), float(sums.positive[0])
    if n == 0:
        return NO_CASES
    if prevalence is not None and metric in ("ppv", "npv") and 0 < positive < n:
        return f"sensitivity and specificity leave no {'positive' if metric == 'ppv' else 'negative'} calls"
    if metric == "f1":
        return "no reference-positive cases and no positive calls"
    if metric == "mcc":
        return "the calls or the reference hold one class only, so the correlation is undefined"
    if metric == "kappa":
        return "all calls and the reference are the same single class, so agreement by chance is certain"
    if metric == "ppv" and prevalence is None:
        return "no positive calls"
    if metric == "npv" and prevalence is None:
        return "no negative calls"
    if metric == "observed_expected":
        return "the expected number of positives is 0"
    if metric == "log_loss":
        return "infinite: a case given probability 0 is positive, or one given probability 1 is negative"
    if positive == 0 and metric != "specificity":
        return NO_POSITIVES
    if positive == n and metric != "sensitivity":
        return NO_NEGATIVES
    if metric == "lr_positive":
        return "no false positives, so the ratio is infinite or undefined"
    if metric == "lr_negative":
        return "no true negatives, so the ratio is infinite or undefined"
    return NO_POSITIVES if positive == 0 else NO_NEGATIVES


def proportion_counts(metric: str, sums: Sums) -> tuple[float, float] | None:
    """Numerator and denominator on the data, for the metrics that are proportions of cases."""
    if metric == "prevalence":
        return float(sums.positive[0]), float(sums.n[0])
    if metric not in ("sensitivity", "specificity", "ppv", "npv", "accuracy", "call_rate"):
        return None
    c = cells(sums)
    tp, fp, fn, tn = (float(a[0]) for a in (c.tp, c.fp, c.fn, c.tn))
    return {
        "sensitivity": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "ppv": (tp, tp + fp),
        "npv": (tn, tn + fn),
        "accuracy": (tp + tn, tp + fp + fn + tn),
        "call_rate": (tp + fp, tp + fp + fn + tn),
    }[metric]


def check_metrics(metrics: Sequence[str], *, call: bool, score: bool, probability: bool) -> tuple[str, ...]:
    """Known names only, and the inputs they need.

    Raises
    ------
    ValueError
        Naming every unknown metric and every missing input.
    """
    unknown = sorted(set(metrics) - set(METRICS))
    faults = [f"unknown metric: {', '.join(unknown)}"] if unknown else []
    for given, family, name in (
        (call, CALL_METRICS, "call"),
        (score, RANK_METRICS, "score"),
        (probability, PROBABILITY_METRICS, "probability"),
    ):
        needing = [m for m in metrics if m in family]
        if needing and not given:
            faults.append(f"{', '.join(needing)} needs {name}")
    if faults:
        raise ValueError("; ".join(faults))
    return tuple(metrics)

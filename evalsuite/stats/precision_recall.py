"""How many of the cases a score puts forward are truly positive: precision-recall curve and average precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy.typing as npt

from evalsuite.stats._binary_inputs import BinarySample, FloatArray, binary_sample
from evalsuite.stats.roc import cumulative_counts


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionRecallCurve:
    """One point per distinct score, from the highest: at `threshold[i]`, `score >= threshold` has these two values."""

    recall: FloatArray
    precision: FloatArray
    threshold: FloatArray


def precision_recall_curve(reference: npt.ArrayLike, score: npt.ArrayLike) -> PrecisionRecallCurve:
    """Precision (PPV) and recall (sensitivity) at each of the `k` distinct scores, `(k,)` arrays, recall rising.

    No artificial point at recall 0: precision there is not defined.

    Raises
    ------
    ValueError
        With one class only, a NaN, or different shapes.
    """
    sample = binary_sample(reference, score)
    reason = sample.one_class_reason()
    if reason is not None:
        raise ValueError(f"no precision-recall curve: {reason}")
    threshold, tp, called = cumulative_counts(sample)
    return PrecisionRecallCurve(
        recall=tp[1:] / sample.n_positive, precision=tp[1:] / called[1:], threshold=threshold[1:]
    )


def average_precision_value(reference: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Step-wise area under the precision-recall curve: sum of precision times the recall gained, no interpolation.

    Tied scores form one step. Interval: `bootstrap.binary_bootstrap(..., metrics=["average_precision"])`.

    Raises
    ------
    ValueError
        With one class only: without positives there is no recall, without negatives precision is 1 by construction.

    References
    ----------
    scikit-learn's `average_precision_score`; Boyd, Eng & Page, ECML PKDD 2013 (lower trapezoid vs step).

    Examples
    --------
    >>> round(average_precision_value([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.8333
    """
    sample = binary_sample(reference, score)
    reason = sample.one_class_reason()
    if reason is not None:
        raise ValueError(f"no average precision: {reason}")
    return _average_precision(sample)


def _average_precision(sample: BinarySample) -> float:
    _, tp, called = cumulative_counts(sample)
    gained = tp[1:] - tp[:-1]
    return float((gained * (tp[1:] / called[1:])).sum() / sample.n_positive)

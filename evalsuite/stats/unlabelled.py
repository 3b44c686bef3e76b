"""Performance estimated without labels, and what such an estimate can never see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression

Floats = NDArray[np.float64]
BLIND = (
    "Estimated from the model's own probabilities and the baseline's calibration: a change in how findings relate to "
    "disease (concept drift) is invisible to it. It is never a pass."
)
METRICS = ("sensitivity", "specificity", "ppv", "npv", "accuracy", "auroc")
#: Condition number of a confusion matrix beyond which prevalences are not estimated from calls.
_ILL = 1e3


def calibrated(baseline_score: ArrayLike, baseline_positive: ArrayLike, score: ArrayLike) -> Floats:
    """Probabilities for `score` by isotonic regression of the baseline's labels on its scores.

    Shapes (n,), (n,) and (m,). Between two scores of the baseline the probability is interpolated; beyond the smallest
    and largest it is that of the end. Tied scores share one probability.

    Raises
    ------
    ValueError
        If the baseline lacks one of the two classes, or a score is not finite.
    """
    s = _finite(baseline_score, "scores of the baseline")
    y = np.asarray(baseline_positive, dtype=np.float64)
    if s.shape != y.shape or s.size == 0 or not 0 < y.sum() < y.size:
        raise ValueError("a baseline for calibration has positive and negative cases, one label per score")
    levels, at, count = np.unique(s, return_inverse=True, return_counts=True)
    share = np.bincount(at, weights=y) / count
    fitted = isotonic_regression(share, weights=count.astype(np.float64)).x
    out: Floats = np.interp(_finite(score, "scores"), levels, fitted)
    return out


def expected_performance(probability: ArrayLike, called_positive: ArrayLike) -> dict[str, float | None]:
    """Performance expected if every case is positive with its probability, independently (confidence-based estimation).

    Shapes (n,): calibrated probabilities from 0 to 1, and calls. Sensitivity is the expected number of true positives
    over the expected number of positives, the other ratios alike; the AUROC counts every pair of different cases with
    p · (1 − p') and half of it where probabilities are tied. None where the expected denominator is 0. Source:
    Kivimäki et al. (2025), confidence-based performance estimation.
    """
    p = _finite(probability, "probabilities")
    call = np.asarray(called_positive, dtype=bool)
    if p.shape != call.shape or (p < 0).any() or (p > 1).any():
        raise ValueError("probabilities lie between 0 and 1, with one call each")
    tp, fp = float(p[call].sum()), float((1 - p[call]).sum())
    fn, tn = float(p[~call].sum()), float((1 - p[~call]).sum())
    return {
        "sensitivity": _share(tp, tp + fn),
        "specificity": _share(tn, tn + fp),
        "ppv": _share(tp, tp + fp),
        "npv": _share(tn, tn + fn),
        "accuracy": _share(tp + tn, float(p.size)),
        "auroc": _expected_auroc(p),
    }


def _expected_auroc(p: Floats) -> float | None:
    levels, at, count = np.unique(p, return_inverse=True, return_counts=True)
    positive, negative = np.bincount(at, weights=p), np.bincount(at, weights=1 - p)
    below = np.cumsum(negative) - negative
    own = count * levels * (1 - levels)  # a case is not a pair with itself
    pairs = positive.sum() * negative.sum() - own.sum()
    won = (positive * below).sum() + 0.5 * ((positive * negative) - own).sum()
    return _share(float(won), float(pairs))


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelShift:
    """Shares of the classes in a window, from calls alone; `condition` is that of the baseline's confusion matrix.

    `shares` may lie below 0 or above 1 where calls and confusion matrix contradict each other: then this is no pure
    change of prevalence, which `plausible` says. None, with the reason, where the matrix cannot be inverted.
    """

    shares: tuple[float, ...] | None
    condition: float
    plausible: bool
    undefined: str | None = None


def label_shift(confusion: ArrayLike, called: ArrayLike) -> LabelShift:
    """Black-box shift estimation: the class shares that explain how often each class is called.

    `confusion[i, j]` is the chance that a case of class j is called i (columns sum to 1), `called[i]` the share of the
    window called i. Solves confusion · shares = called. Source: Lipton, Wang and Smola (2018).

    Raises
    ------
    ValueError
        If the matrix is not square with columns that sum to 1, or the shares called do not sum to 1.
    """
    c, mu = np.asarray(confusion, dtype=np.float64), np.asarray(called, dtype=np.float64)
    if c.ndim != 2 or c.shape[0] != c.shape[1] or mu.shape != (c.shape[0],):
        raise ValueError("a confusion matrix is square, with one called share per class")
    if not np.allclose(c.sum(axis=0), 1.0) or not np.isclose(mu.sum(), 1.0) or (c < 0).any() or (mu < 0).any():
        raise ValueError("the matrix's columns and the called shares sum to 1")
    condition = float(np.linalg.cond(c))
    if not condition < _ILL:
        reason = "the device calls all classes nearly alike on the baseline: calls say nothing about prevalence"
        return LabelShift(shares=None, condition=min(condition, 1e300), plausible=False, undefined=reason)
    q = np.linalg.solve(c, mu)
    return LabelShift(
        shares=tuple(float(v) for v in q),
        condition=condition,
        plausible=bool((q > -1e-9).all() and (q < 1 + 1e-9).all()),
    )


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _finite(values: ArrayLike, what: str) -> Floats:
    out = np.asarray(values, dtype=np.float64)
    if out.ndim != 1 or not np.isfinite(out).all():
        raise ValueError(f"{what} are one series of finite numbers")
    return out

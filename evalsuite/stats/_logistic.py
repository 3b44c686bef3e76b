"""Logistic recalibration: how a model's log-odds relate to what happened, with honest standard errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from evalsuite.stats._binary_inputs import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class LogisticFit:
    """Maximum-likelihood coefficients `(k,)`, their model-based covariance, their patient-robust one, the deviance."""

    coefficients: FloatArray
    covariance: FloatArray
    robust: FloatArray | None
    log_likelihood: float


def fit_logistic(
    outcome: BoolArray,
    design: FloatArray,
    offset: FloatArray,
    *,
    cluster: IntArray | None = None,
    count: FloatArray | None = None,
) -> LogisticFit | None:
    """Newton-Raphson fit of `logit P = design @ b + offset`; None where no finite maximum exists.

    `count (n,)` says how many cases each row stands for, one where it is not given; there is then no robust covariance.
    The robust covariance is the cluster sandwich with the factor `G / (G - 1)` (patients), as R's
    `sandwich::vcovCL(type = "HC0", cadjust = TRUE)`.
    """
    y = outcome.astype(np.float64)
    w = None if count is None else np.asarray(count, dtype=np.float64)
    b = np.zeros(design.shape[1])
    likelihood = log_likelihood(y, design @ b + offset, w)
    for _ in range(100):
        fitted = expit(design @ b + offset)
        left, spread = y - fitted, fitted * (1.0 - fitted)
        if w is not None:
            left, spread = w * left, w * spread
        gradient = design.T @ left
        information = (design.T * spread) @ design
        if not np.isfinite(information).all() or np.linalg.cond(information) > 1e14:
            return None
        step = np.linalg.solve(information, gradient)
        halvings = 0
        while (better := log_likelihood(y, design @ (b + step) + offset, w)) < likelihood - 1e-12 * abs(likelihood):
            step = step / 2.0
            halvings += 1
            if halvings > 50:
                return None
        b, likelihood = b + step, better
        if np.abs(b).max() > 1e6:
            return None
        if float(np.abs(step).max()) <= 1e-12 * max(1.0, float(np.abs(b).max())):
            return _finish(y, design, offset, b, likelihood, None if w is not None else cluster, w)
    return None


def _finish(
    y: FloatArray,
    design: FloatArray,
    offset: FloatArray,
    b: FloatArray,
    likelihood: float,
    cluster: IntArray | None,
    w: FloatArray | None,
) -> LogisticFit:
    fitted = expit(design @ b + offset)
    spread = fitted * (1.0 - fitted) if w is None else w * fitted * (1.0 - fitted)
    covariance = np.linalg.inv((design.T * spread) @ design)
    robust = None
    if cluster is not None:
        patients = int(cluster.max()) + 1
        if patients > 1:
            scores = design * (y - fitted)[:, None]
            per_patient = np.stack(
                [np.bincount(cluster, weights=column, minlength=patients) for column in scores.T], axis=1
            )
            meat = per_patient.T @ per_patient * (patients / (patients - 1.0))
            robust = covariance @ meat @ covariance
    return LogisticFit(coefficients=b, covariance=covariance, robust=robust, log_likelihood=likelihood)


def fit_intercept(outcome: BoolArray, offset: FloatArray, start: float = 0.0) -> tuple[float, float]:
    """Intercept beside `offset (n,)` where both outcomes occur, and its log-likelihood: Newton kept in a bracket."""
    positives = float(outcome.sum())
    odds = math.log(positives / (outcome.size - positives))
    low, high = odds - float(offset.max()), odds - float(offset.min())
    a = min(max(start, low), high)
    for _ in range(200):
        fitted = expit(offset + a)
        gap, information = positives - float(fitted.sum()), float((fitted * (1.0 - fitted)).sum())
        low, high = (a, high) if gap > 0.0 else (low, a)
        reached = a + gap / information if information > 0.0 else math.inf
        if abs(reached - a) <= 1e-12 * max(1.0, abs(a)):
            break
        a = reached if low < reached < high else (low + high) / 2.0
    return a, log_likelihood(outcome.astype(np.float64), offset + a)


def log_likelihood(y: FloatArray, eta: FloatArray, count: FloatArray | None = None) -> float:
    """Bernoulli log-likelihood at linear predictor `eta`, stable for large |eta|; of `count` cases per row."""
    each = np.logaddexp(0.0, np.where(y > 0.5, -eta, eta))
    return float(-(each if count is None else count * each).sum())


def profile_interval(
    outcome: BoolArray, offset: FloatArray, centre: float, best: float, half_width: float, threshold: float
) -> tuple[float, float] | None:
    """Ends where the log-likelihood of an intercept beside `offset` has dropped by `threshold` from `best`."""
    from scipy.optimize import brentq

    y = outcome.astype(np.float64)

    def drop(a: float) -> float:
        return best - log_likelihood(y, offset + a) - threshold

    ends = []
    for sign in (-1.0, 1.0):
        reach = half_width
        while drop(centre + sign * reach) < 0.0:
            reach *= 2.0
            if reach > 1e6 or not math.isfinite(reach):
                return None
        ends.append(float(brentq(drop, centre, centre + sign * reach, xtol=1e-12)))
    return ends[0], ends[1]

"""How unfamiliar a case looks to the device: four scores of being out of distribution, higher is stranger."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from evalsuite.stats._binary_inputs import FloatArray

_CELLS = 4_000_000
"""Distances held at once."""


def softmax_score(probability: npt.ArrayLike) -> FloatArray:
    """1 − largest class probability, `(n, k)` → `(n,)` (Hendrycks & Gimpel, ICLR 2017)."""
    return np.asarray(1.0 - _table(probability, "probability").max(axis=1))


def energy_score(logits: npt.ArrayLike) -> FloatArray:
    """−log Σ exp(logit), `(n, k)` → `(n,)` (Liu et al., NeurIPS 2020, temperature 1); of one logit its softplus."""
    table = _table(logits, "logits")
    if table.shape[1] == 1:  # the logit of one class against a fixed 0
        table = np.concatenate([np.zeros_like(table), table], axis=1)
    return np.asarray(-logsumexp(table, axis=1))


def ledoit_wolf(centred: npt.ArrayLike) -> tuple[FloatArray, float]:
    """Covariance `(d, d)` of centred rows `(n, d)`, shrunk towards a multiple of the identity, and the shrinkage.

    References
    ----------
    Ledoit & Wolf, J Multivariate Analysis 88:365-411 (2004).
    """
    x = _table(centred, "rows")
    n, d = x.shape
    sample = x.T @ x / n
    mu = float(np.trace(sample)) / d
    delta = float(((sample - mu * np.eye(d)) ** 2).sum()) / d
    squares = x**2
    beta = float((squares.T @ squares / n - sample**2).sum()) / (d * n)
    shrinkage = 0.0 if delta <= 0.0 else min(beta, delta) / delta
    return (1.0 - shrinkage) * sample + shrinkage * mu * np.eye(d), shrinkage


def mahalanobis_score(fit: npt.ArrayLike, group: npt.ArrayLike, features: npt.ArrayLike) -> FloatArray:
    """Squared Mahalanobis distance of `features (n, d)` to the nearest group mean of the familiar cases `fit (m, d)`.

    `group (m,)` are their classes (all equal for one mean); one covariance for all of them, Ledoit-Wolf, so that it
    exists with fewer cases than dimensions too (Lee et al., NeurIPS 2018).

    Raises
    ------
    ValueError
        If shapes do not fit, a number is not finite, or the familiar cases do not vary at all.
    """
    known, asked, label = _table(fit, "fit"), _table(features, "features"), np.asarray(group)
    if known.shape[1] != asked.shape[1] or label.shape != (len(known),):
        raise ValueError(f"shapes do not fit: {known.shape}, {label.shape}, {asked.shape}")
    names, index = np.unique(label, return_inverse=True)
    means = np.array([known[index == i].mean(axis=0) for i in range(names.size)])
    covariance, _ = ledoit_wolf(known - means[index])
    if not np.trace(covariance) > 0.0:
        raise ValueError("the familiar cases do not vary")
    root = np.linalg.cholesky(covariance + 1e-12 * np.trace(covariance) / len(covariance) * np.eye(len(covariance)))
    far = [(solve_triangular(root, (asked - mean).T, lower=True) ** 2).sum(axis=0) for mean in means]
    return np.asarray(np.min(far, axis=0))


def neighbour_score(fit: npt.ArrayLike, features: npt.ArrayLike, *, neighbours: int) -> FloatArray:
    """Distance of `features (n, d)` to the k-th nearest of `fit (m, d)`, all scaled to length 1.

    Sun et al., Out-of-distribution detection with deep nearest neighbors, ICML 2022.

    Raises
    ------
    ValueError
        If shapes do not fit, a number is not finite, or there are fewer familiar cases than neighbours.
    """
    known, asked = _table(fit, "fit"), _table(features, "features")
    if known.shape[1] != asked.shape[1]:
        raise ValueError(f"shapes do not fit: {known.shape}, {asked.shape}")
    if not 1 <= neighbours <= len(known):
        raise ValueError(f"{neighbours} neighbours among {len(known)} familiar cases")
    a, b = _unit(asked), _unit(known)
    out = np.empty(len(a))
    step = max(1, _CELLS // len(b))
    for start in range(0, len(a), step):
        squared = np.maximum(2.0 - 2.0 * (a[start : start + step] @ b.T), 0.0)
        out[start : start + step] = np.sqrt(np.partition(squared, neighbours - 1, axis=1)[:, neighbours - 1])
    return out


def _unit(table: FloatArray) -> FloatArray:
    length = np.linalg.norm(table, axis=1, keepdims=True)
    return np.asarray(np.divide(table, length, out=np.zeros_like(table), where=length > 0.0))


def _table(values: npt.ArrayLike, name: str) -> FloatArray:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] == 0 or len(table) == 0 or not np.isfinite(table).all():
        raise ValueError(f"{name} is a table of finite numbers, got shape {table.shape}")
    return table

"""Agreement beyond chance in a square table: Cohen's kappa, weighted or not, and its large-sample standard error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from evalsuite.stats._normal import check_level, z_two_sided
from evalsuite.stats.proportions import clopper_pearson
from evalsuite.types import Estimate, Unit

Weights = Literal["none", "linear", "quadratic"]


def square_table(table: ArrayLike) -> np.ndarray:
    """`table` as a (k, k) float array of counts, k >= 2, or ValueError."""
    counts = np.asarray(table, dtype=np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.shape[0] < 2:
        raise ValueError(f"a square table of at least 2 categories is needed, got shape {counts.shape}")
    if not np.isfinite(counts).all() or (counts < 0).any() or (counts != np.floor(counts)).any():
        raise ValueError("a table holds whole, non-negative counts")
    return counts


def agreement_weights(k: int, weights: Weights) -> np.ndarray:
    """(k, k) weights: 1 for agreement, falling to 0 for categories k - 1 apart."""
    if weights not in get_args(Weights):
        raise ValueError(f"weights is one of {', '.join(get_args(Weights))}; got {weights!r}")
    if weights == "none":
        return np.eye(k)
    apart = np.abs(np.subtract.outer(np.arange(k), np.arange(k))) / (k - 1.0)
    return np.asarray(1.0 - (apart if weights == "linear" else apart**2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kappa:
    """Kappa, its variance (Fleiss, Cohen & Everitt), and the observed and expected agreement it is made of."""

    value: float
    variance: float
    observed: float
    expected: float


def kappa_moments(counts: np.ndarray, w: np.ndarray) -> Kappa | None:
    """Kappa of a table under agreement weights, or None where chance agreement is already complete."""
    n = float(counts.sum())
    p = counts / n
    row, column = p.sum(axis=1), p.sum(axis=0)
    observed = float((w * p).sum())
    expected = float(row @ w @ column)
    if 1.0 - expected < 1e-12:
        return None
    value = (observed - expected) / (1.0 - expected)
    # Fleiss, Cohen & Everitt 1969, eq. for the non-null standard error of weighted kappa.
    marginal = np.add.outer(w @ column, row @ w)
    spread = float((p * (w - marginal * (1.0 - value)) ** 2).sum()) - (value - expected * (1.0 - value)) ** 2
    return Kappa(
        value=value,
        variance=max(0.0, spread) / (n * (1.0 - expected) ** 2),
        observed=observed,
        expected=expected,
    )


def kappa_from_table(
    table: ArrayLike,
    *,
    weights: Weights = "none",
    level: float = 0.95,
    unit: Unit = "case",
    **counts: Any,
) -> Estimate:
    """Cohen's kappa of a (k, k) table of counts, rows one rater, columns the other.

    Parameters
    ----------
    weights
        "none", "linear" (1 - |i - j| / (k - 1)) or "quadratic" (1 - ((i - j) / (k - 1))²).

    Returns
    -------
    Estimate
        Wald interval with the non-null standard error, clipped to [-1, 1]. Where that error is 0 (complete agreement or
        disagreement) the limit is that of the observed agreement (Clopper-Pearson) with the margins held, and the
        method says so. Not estimable where both raters put every case in one category, or without cases.

    References
    ----------
    Cohen, Educ Psychol Meas 20:37-46 (1960); Fleiss, Cohen & Everitt, Psychol Bull 72:323-327 (1969).
    """
    level = check_level(level)
    cells = square_table(table)
    w = agreement_weights(len(cells), weights)
    label = {"none": "", "linear": "linear weights, ", "quadratic": "quadratic weights, "}[weights]
    name = f"{label}Fleiss-Cohen-Everitt standard error"
    name = name[0].upper() + name[1:]
    n = int(cells.sum())
    fields: dict[str, Any] = {"n": n, "level": level, "unit": unit, **counts}
    if n == 0:
        return Estimate.not_estimable("no cases", method=name, **fields)
    k = kappa_moments(cells, w)
    if k is None:
        return Estimate.not_estimable(
            "all cases fall in one category, so agreement by chance is complete", method=name, **fields
        )
    if k.variance > 1e-14:
        half = z_two_sided(level) * math.sqrt(k.variance)
        return Estimate(
            value=k.value, low=max(-1.0, k.value - half), high=min(1.0, k.value + half), method=name, **fields
        )
    # No variance: the agreement's own exact limits, and what they make of kappa at these margins.
    low_agreement, high_agreement = clopper_pearson(k.observed * n, n, level)
    low = max(-1.0, (low_agreement - k.expected) / (1.0 - k.expected))
    high = min(1.0, (high_agreement - k.expected) / (1.0 - k.expected))
    name = f"{label}Clopper-Pearson limits of the observed agreement, margins held (the standard error is 0)"
    name = name[0].upper() + name[1:]
    return Estimate(value=k.value, low=min(low, k.value), high=max(high, k.value), method=name, **fields)

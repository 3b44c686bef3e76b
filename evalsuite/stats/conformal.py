"""Split-conformal prediction: sets of answers that hold the right one as often as promised, and whether they do.

A threshold is read from cases kept for calibration; a test case's set holds every answer whose nonconformity does not
exceed it (Vovk, Gammerman & Shafer 2005; Angelopoulos & Bates 2023). With independent cases and no ties the coverage,
given the calibration cases, is Beta(k, n + 1 − k), k = ⌈(n + 1)(1 − α)⌉, so that the number covered of m test cases
is beta-binomial: what is seen is judged against that band, not against 1 − α alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import betabinom

from evalsuite.stats._binary_inputs import BoolArray, FloatArray


def conformal_rank(n: int, alpha: float) -> int:
    """k = ⌈(n + 1)(1 − α)⌉: the place of the threshold among n calibration scores; n + 1 where n is too small.

    Examples
    --------
    >>> conformal_rank(200, 0.1), conformal_rank(8, 0.1)
    (181, 9)
    """
    if n < 0 or not 0.0 < alpha < 1.0:
        raise ValueError(f"n is not negative and alpha lies between 0 and 1, got {n} and {alpha!r}")
    # 201 × 0.9 is 180.9 but 10 × 0.9 may come out a hair above 9: rounding must not cost a place.
    return math.ceil((n + 1) * (1.0 - alpha) - 1e-9)


def needed(alpha: float) -> int:
    """Fewest calibration cases with which a set can leave an answer out: ⌈1/α⌉ − 1."""
    return math.ceil(1.0 / alpha - 1e-9) - 1


def conformal_threshold(scores: npt.ArrayLike, alpha: float) -> float | None:
    """The k-th smallest of `scores (n,)`; None where n is too small for this α (every set would hold everything).

    Raises
    ------
    ValueError
        If a score is not finite or alpha is out of range.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError("scores are one-dimensional and finite")
    k = conformal_rank(values.size, alpha)
    return None if k > values.size else float(np.partition(values, k - 1)[k - 1])


def prediction_sets(nonconformity: npt.ArrayLike, threshold: npt.ArrayLike) -> BoolArray:
    """`(n, answers)`: whether each answer is in a case's set; `threshold` one for all or `(n,)`."""
    table: FloatArray = np.asarray(nonconformity, dtype=np.float64)
    limit = np.asarray(threshold, dtype=np.float64)
    return np.asarray(table <= (limit[:, None] if limit.ndim else limit), dtype=bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageBand:
    """What share of `n_test` cases is covered if the sets are valid: mean and central band, ends included.

    `p_value` is two-sided, of the `covered` seen; None where nothing was.
    """

    expected: float
    low: float
    high: float
    a: int
    b: int
    n_test: int
    p_value: float | None


def coverage_band(
    n_calibration: int, n_test: int, alpha: float, *, level: float = 0.95, covered: int | None = None
) -> CoverageBand:
    """The beta-binomial band of the share covered, one case per patient.

    Raises
    ------
    ValueError
        If there are too few calibration cases for a threshold, no test case, or a number is out of range.

    Examples
    --------
    >>> band = coverage_band(200, 200, 0.1)
    >>> band.a, band.b, round(band.expected, 4)
    (181, 20, 0.9005)
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level lies strictly between 0 and 1, got {level!r}")
    k = conformal_rank(n_calibration, alpha)
    if k > n_calibration or n_test < 1:
        raise ValueError(f"{n_calibration} calibration and {n_test} test cases are too few at alpha {alpha:g}")
    if covered is not None and not 0 <= covered <= n_test:
        raise ValueError(f"covered is 0 to {n_test}, got {covered}")
    a, b = k, n_calibration + 1 - k
    below = np.minimum(np.cumsum(betabinom(n_test, a, b).pmf(np.arange(n_test + 1))), 1.0)
    tail = (1.0 - level) / 2.0
    low = int(np.searchsorted(below, tail, side="right"))
    high = int(np.searchsorted(below, 1.0 - tail, side="left"))
    p = None
    if covered is not None:
        above = 1.0 - (below[covered - 1] if covered else 0.0)
        p = float(min(1.0, 2.0 * min(below[covered], above)))
    return CoverageBand(
        expected=a / (a + b), low=low / n_test, high=min(high, n_test) / n_test, a=a, b=b, n_test=n_test, p_value=p
    )

"""Does the device know when it is wrong: errors among the cases it is surest of, as more and more cases are accepted.

Cases are accepted in order of confidence. Selective risk at coverage k/n is the share of errors among the k surest; the
area under the risk-coverage curve (AURC) is its mean over k = 1 … n (Geifman & El-Yaniv, NeurIPS 2017; Geifman, Uziel &
El-Yaniv, ICLR 2019). Where cases are equally sure the order among them is not known: the risk expected over all orders
counts, so that no figure depends on the order of the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evalsuite.stats._binary_inputs import BoolArray, FloatArray, IntArray
from evalsuite.stats._blocks import Counts
from evalsuite.stats._resampled import Counted
from evalsuite.stats.draw import PatientDraw

_CELLS = 2_000_000
"""Counts of cases held at once while replicates are made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selective:
    """AURC, its excess over the best order of the same errors, and selective risk at each coverage asked for."""

    aurc: float
    excess: float
    risk: tuple[float, ...]


def accepted(coverage: float, n: int) -> int:
    """How many of n cases a coverage accepts: at least one, and never less than the share asked for."""
    return min(n, max(1, math.ceil(coverage * n - 1e-9)))


def selective(error: npt.ArrayLike, confidence: npt.ArrayLike, coverages: Sequence[float] = ()) -> Selective:
    """Figures of one set of cases.

    Parameters
    ----------
    error
        `(n,)` True where the device was wrong.
    confidence
        `(n,)` higher is surer; any finite scale.
    coverages
        Shares of cases accepted, above 0 and at most 1.

    Raises
    ------
    ValueError
        If shapes differ, there is no case, a confidence is not finite, or a coverage is out of range.

    Examples
    --------
    >>> round(selective([0, 0, 0, 1, 1], [5, 4, 3, 2, 1]).aurc, 12)
    0.13
    """
    wrong, sure = _checked(error, confidence, coverages)
    ends, order = _blocks(sure)
    weight = np.ones((1, wrong.size))
    errors = wrong[order].astype(np.float64)[None]
    row = _figures(weight, errors, ends, coverages, _harmonic(wrong.size))[0]
    return Selective(aurc=float(row[0]), excess=float(row[1]), risk=tuple(float(v) for v in row[2:]))


def selective_counted(
    draw: PatientDraw, error: npt.ArrayLike, confidence: npt.ArrayLike, coverages: Sequence[float]
) -> Counted:
    """The same figures for resampled patients, columns `aurc, excess, risk…`, for `_resampled.Material.counted`.

    Cases outside a stratum's mask may have any error and confidence; those within must be finite.
    """
    wrong = np.asarray(error, dtype=bool)
    sure = np.asarray(confidence, dtype=np.float64)

    def prepare(mask: BoolArray, patients: IntArray) -> Callable[[Counts], FloatArray]:
        cases = np.flatnonzero(mask)
        ends, order = _blocks(sure[cases])
        cases = cases[order]
        local = np.searchsorted(patients, draw.patient[cases])
        bad = wrong[cases].astype(np.float64)
        rows = max(1, _CELLS // max(1, cases.size))
        largest = int(np.bincount(local).max()) if cases.size else 0

        def of_counts(counts: Counts) -> FloatArray:
            table = np.asarray(counts)
            # A resample has as many patients as the data, but may draw those with the most cases.
            harmonic = _harmonic(largest * max(1, int(table.sum(axis=1).max(initial=0))))
            out = np.empty((len(table), 2 + len(coverages)))
            for start in range(0, len(table), rows):
                weight = table[start : start + rows][:, local].astype(np.float64)
                out[start : start + rows] = _figures(weight, weight * bad, ends, coverages, harmonic)
            return out

        return of_counts

    return prepare


def _checked(
    error: npt.ArrayLike, confidence: npt.ArrayLike, coverages: Sequence[float]
) -> tuple[BoolArray, FloatArray]:
    wrong = np.asarray(error, dtype=bool)
    sure = np.asarray(confidence, dtype=np.float64)
    if wrong.ndim != 1 or wrong.shape != sure.shape or wrong.size == 0:
        raise ValueError(f"error and confidence are equally long and not empty, got {wrong.shape} and {sure.shape}")
    if not np.isfinite(sure).all():
        raise ValueError("confidence holds values that are not finite")
    if any(not 0.0 < c <= 1.0 for c in coverages):
        raise ValueError("a coverage lies above 0 and is at most 1")
    return wrong, sure


def _blocks(sure: FloatArray) -> tuple[IntArray, IntArray]:
    """Last places of the blocks of equally sure cases, and the order, surest first."""
    order = np.argsort(-sure, kind="stable")
    ordered = sure[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) if ordered.size else np.zeros(0, dtype=np.int64)
    return ends.astype(np.int64), order.astype(np.int64)


def _harmonic(n: int) -> FloatArray:
    return np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, n + 1))])


def _figures(
    weight: FloatArray, errors: FloatArray, ends: IntArray, coverages: Sequence[float], harmonic: FloatArray
) -> FloatArray:
    """`(r, 2 + c)` from how often each case, surest first, is drawn, and how many errors that makes; NaN for none."""
    k = np.cumsum(weight, axis=1)[:, ends]
    e = np.cumsum(errors, axis=1)[:, ends]
    before_k = np.concatenate([np.zeros((len(k), 1)), k[:, :-1]], axis=1)
    before_e = np.concatenate([np.zeros((len(e), 1)), e[:, :-1]], axis=1)
    size, bad = k - before_k, e - before_e
    share = np.divide(bad, size, out=np.zeros_like(bad), where=size > 0)
    h = harmonic
    span = h[k.astype(np.int64)] - h[before_k.astype(np.int64)]
    # Sum of (e0 + j p) / (k0 + j) over a block: j-th of its cases, p its share of errors.
    total = (size * share + (before_e - before_k * share) * span).sum(axis=1)
    n, wrong = k[:, -1], e[:, -1]
    some = n > 0
    area = np.divide(total, n, out=np.full(n.shape, np.nan), where=some)
    right = (n - wrong).astype(np.int64)
    best = wrong - right * (h[n.astype(np.int64)] - h[right])
    out = np.full((len(k), 2 + len(coverages)), np.nan)
    out[:, 0] = area
    out[:, 1] = np.where(some, np.maximum(area - best / np.where(some, n, 1.0), 0.0), np.nan)
    for r in np.flatnonzero(some):
        taken = np.array([accepted(c, int(n[r])) for c in coverages], dtype=np.float64)
        at = np.searchsorted(k[r], taken)
        out[r, 2:] = (before_e[r, at] + (taken - before_k[r, at]) * share[r, at]) / taken
    return out

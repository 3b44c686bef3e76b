"""The mean or a quantile of cases' figures, with patients resampled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from evalsuite.stats._binary_inputs import BoolArray, FloatArray, IntArray
from evalsuite.stats._blocks import Counts
from evalsuite.stats._resampled import Counted, Material, Parts, Statistic
from evalsuite.stats.draw import PatientDraw

NO_CASES = "no cases"


def mean_of(values: FloatArray, bounds: tuple[float, float]) -> tuple[Material, Statistic]:
    """The mean of `values (n,)`, for `_resampled.replicated`; cases that do not count are left out by its mask."""
    ones = np.ones((values.size, 1))
    material = Material(sums={"total": values[:, None], "cases": ones})

    def value(parts: Parts) -> FloatArray:
        total, cases = parts.sums["total"][:, 0], parts.sums["cases"][:, 0]
        out: FloatArray = np.divide(total, cases, out=np.full(total.shape, np.nan), where=cases > 0.0)
        return out

    return material, Statistic(value=value, reason=lambda parts: NO_CASES, bounds=bounds)


def quantile_of(
    draw: PatientDraw, values: FloatArray, share: float, bounds: tuple[float, float]
) -> tuple[Material, Statistic]:
    """A quantile of `values (n,)`, between cases on a straight line (type 7 of Hyndman & Fan, numpy's own)."""
    if not 0.0 < share < 1.0:
        raise ValueError(f"share lies strictly between 0 and 1, got {share!r}")
    material = Material(counted={"quantile": _quantile_counted(draw, values, share)})
    statistic = Statistic(
        value=lambda parts: np.asarray(parts.counted["quantile"][:, 0]), reason=lambda parts: NO_CASES, bounds=bounds
    )
    return material, statistic


def _quantile_counted(draw: PatientDraw, values: FloatArray, share: float) -> Counted:
    def prepare(mask: BoolArray, patients: IntArray) -> Callable[[Counts], FloatArray]:
        cases = np.flatnonzero(mask)
        order = cases[np.argsort(values[cases], kind="stable")]
        ordered = values[order]
        local = np.searchsorted(patients, draw.patient[order])

        def of_counts(counts: Counts) -> FloatArray:
            out = np.full((len(counts), 1), np.nan)
            for r, row in enumerate(np.asarray(counts)):
                reached = np.cumsum(row[local], dtype=np.int64)
                n = int(reached[-1]) if reached.size else 0
                if n:
                    place = share * (n - 1)
                    below = int(place)
                    low, high = np.searchsorted(reached, [below, min(below + 1, n - 1)], "right")
                    out[r, 0] = ordered[low] + (place - below) * (ordered[high] - ordered[low])
            return out

        return of_counts

    return prepare

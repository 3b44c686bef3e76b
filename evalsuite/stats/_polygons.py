"""The ROC polygons of many resamples at once: their heights at given rates, and the areas below a part of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evalsuite.stats._binary_inputs import BinarySample, FloatArray, IntArray
from evalsuite.stats.draw import PatientDraw, without_each

BLOCK_ELEMENTS = 2_000_000
"""Resamples times cases held at once."""
SLACK = 1e-12
"""1 − 0.8 is a hair below 0.2: without the allowance it would fall on the wrong side of a rise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Polygons:
    """Rising polygons, one per row: at corner `i` the counts `x[:, i]` and `y[:, i]`, both `(r, k + 1)` from 0."""

    x: IntArray
    y: IntArray

    def turned(self) -> Polygons:
        """The same polygons seen from the other corner: specificity over missed positives."""
        return Polygons(x=(self.y[:, -1:] - self.y)[:, ::-1], y=(self.x[:, -1:] - self.x)[:, ::-1])

    @property
    def exist(self) -> npt.NDArray[np.bool_]:
        """`(r,)` whether both classes have cases."""
        return np.asarray((self.x[:, -1] > 0) & (self.y[:, -1] > 0))

    def heights(self, at: FloatArray) -> FloatArray:
        """`(r, g)` height at each rate of `at (g,)`, linear between corners, on a vertical rise its upper end."""
        rows, corners = self.x.shape
        total = self.x[:, -1:]
        # Counts are whole numbers: rows are laid one behind the other and searched in one go.
        behind = np.arange(rows)[:, None] * (int(total.max(initial=0)) + 1)
        wanted = np.floor(np.minimum(at + SLACK, 1.0) * total).astype(np.int64)
        found = np.searchsorted((self.x + behind).reshape(-1), (wanted + behind).reshape(-1), side="right")
        after = found.reshape(rows, at.size) - np.arange(rows)[:, None] * corners
        before, after = np.clip(after - 1, 0, corners - 1), np.clip(after, 0, corners - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            start, stop = (np.take_along_axis(self.x, i, 1) / total for i in (before, after))
            low, high = (np.take_along_axis(self.y, i, 1) / self.y[:, -1:] for i in (before, after))
            share = np.divide(at - start, stop - start, out=np.zeros_like(start), where=stop > start)
            out = low + np.clip(share, 0.0, 1.0) * (high - low)
        out[~self.exist] = np.nan
        return np.asarray(out)

    def areas(self, start: float, stop: float) -> FloatArray:
        """`(r,)` area between the rates `start` and `stop`."""
        total = self.x[:, -1:]
        # Corners that lie outside in every row are left out: a part of the curve is mostly a small part.
        first = max(0, int((self.x < start * total).sum(axis=1).min(initial=0)) - 1)
        last = int((self.x <= stop * total).sum(axis=1).max(initial=0)) + 1
        part = slice(first, last)
        with np.errstate(divide="ignore", invalid="ignore"):
            x, y = self.x[:, part] / total, self.y[:, part] / self.y[:, -1:]
            left, right = np.clip(x[:, :-1], start, stop), np.clip(x[:, 1:], start, stop)
            width = np.diff(x, axis=1)
            slope = np.divide(np.diff(y, axis=1), width, out=np.zeros_like(width), where=width > 0.0)
            middle = y[:, :-1] + slope * ((left + right) / 2.0 - x[:, :-1])
            out = ((right - left) * middle).sum(axis=1)
        out[~self.exist] = np.nan
        return np.asarray(out)


def polygons(sample: BinarySample, patient: IntArray) -> Callable[[npt.NDArray[np.integer]], Polygons]:
    """From `counts (r, p)`, how often each patient is drawn, to the ROC polygons; a corner at each distinct score."""
    from evalsuite.stats import _kernels

    order = np.argsort(-sample.score, kind="stable")
    score, positive, who = sample.score[order], sample.reference[order], patient[order]
    closes = np.append(score[1:] != score[:-1], True)
    corners = int(closes.sum()) + 1

    def made(counts: npt.NDArray[np.integer]) -> Polygons:
        x, y = (np.empty((counts.shape[0], corners), dtype=np.int64) for _ in range(2))
        _kernels.corner_counts(counts, who, positive, closes, x, y)
        return Polygons(x=x, y=y)

    return made


def of_data(sample: BinarySample) -> Polygons:
    """The one polygon of the data themselves."""
    return polygons(sample, np.zeros(sample.n, dtype=np.int64))(np.ones((1, 1), dtype=np.int64))


def of_replicates(sample: BinarySample, draw: PatientDraw) -> Iterator[Polygons]:
    """Those of all replicates in order, some at a time."""
    made = polygons(sample, draw.patient)
    for _, counts in draw.blocks(size=_rows(sample)):
        yield made(counts)


def without_each_patient(sample: BinarySample, draw: PatientDraw) -> Iterator[Polygons]:
    """Those with each patient left out in turn, some at a time."""
    return map(polygons(sample, draw.patient), without_each(draw.n_patients, rows=_rows(sample)))


def _rows(sample: BinarySample) -> int:
    return max(1, BLOCK_ELEMENTS // max(1, sample.n))

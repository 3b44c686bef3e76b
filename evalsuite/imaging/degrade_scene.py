"""What a degradation must know of an image's numbers, and how an amount is found that gives a declared PSNR."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_STEPS = 60
_CLOSE_DB = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """`low`, `high`: what the numbers may be (None: anything). `base`: black, `span`: from black to white, by the kind
    of image or, where that has no natural range, by its 0.5th and 99.5th percentile. `rng` belongs to case and kind.
    `orientation`: which way the axes of a volume run in the patient, where that is known."""

    low: float | None
    high: float | None
    base: float
    span: float
    spacing_mm: tuple[float, ...] | None
    rng: np.random.Generator
    orientation: str | None = None

    def kept(self, array: Floats) -> Floats:
        """The array within what the numbers may be."""
        return array if self.low is None and self.high is None else np.clip(array, self.low, self.high)

    def as_stored(self, array: Floats, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
        """Rounded where the type is one of whole numbers, within what they may be."""
        kept = self.kept(array)
        return (np.rint(kept) if dtype.kind in "iu" else kept).astype(dtype)

    def psnr(self, before: Floats, after: Floats) -> float:
        """Peak signal-to-noise ratio in decibels, the span as peak; infinite for equal arrays."""
        mse = float(np.mean((after - before) ** 2))
        return math.inf if mse == 0.0 else 10.0 * math.log10(self.span**2 / mse)

    def at_psnr(self, before: Floats, make: Callable[[float], Floats], decibels: float) -> Floats:
        """`make(amount)` with the amount that gives this PSNR after clipping; more amount must mean a lower PSNR.

        Where no amount is enough (an image without signal), the largest tried.
        """
        low, high = 0.0, self.span * 10.0 ** (-decibels / 20.0)
        for _ in range(_STEPS):
            if self.psnr(before, self.kept(make(high))) <= decibels:
                break
            low, high = high, 2.0 * high
        found = self.kept(make(high))
        for _ in range(_STEPS):
            middle = (low + high) / 2.0
            found = self.kept(make(middle))
            reached = self.psnr(before, found)
            if abs(reached - decibels) <= _CLOSE_DB:
                break
            low, high = (middle, high) if reached > decibels else (low, middle)
        return found

    def normal(self, shape: tuple[int, ...]) -> Floats:
        """Standard normal numbers of mean 0 and SD 1 to the last digit, so that a declared SD is the realised one."""
        drawn = self.rng.standard_normal(shape)
        drawn -= drawn.mean()
        deviation = float(drawn.std())
        return drawn / deviation if deviation > 0.0 else drawn

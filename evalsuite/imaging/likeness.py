"""How alike two images look: a fingerprint of their coarse structure that survives resizing and recompression."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_SIDE = 32
_LOW = 8
_FLAT = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """`phash`: 64 bits, signs of the lowest cosine frequencies. `dhash`: 64 bits, brighter than the left neighbour.

    `thumb` (32, 32) uint8 spans the image's own range. `flat` where an image has no structure to compare.
    """

    phash: int
    dhash: int
    thumb: NDArray[np.uint8]
    flat: bool


def grey8(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """(rows, columns) uint8 over the image's own range, from its 0.5th to its 99.5th percentile."""
    plane = np.asarray(pixels)
    if plane.ndim == 3:
        plane = plane[..., :3].mean(axis=-1)
    values = plane.astype(np.float32, copy=False)
    sample = values[:: max(1, values.shape[0] // 256), :: max(1, values.shape[1] // 256)]
    low, high = np.percentile(sample, (0.5, 99.5))
    if not high - low > _FLAT:
        low, high = float(values.min()), float(values.max())
    if not high - low > _FLAT:
        return np.zeros(values.shape, dtype=np.uint8)
    return np.asarray(np.clip((values - low) * (255.0 / (high - low)), 0, 255), dtype=np.uint8)


def likeness(grey: NDArray[np.uint8]) -> Likeness:
    """Fingerprint of a grey image.

    References
    ----------
    Zauner, Implementation and benchmarking of perceptual image hash functions (2010), section 3.2 (DCT hash); the
    difference hash is Krawetz's. Both on the image reduced by area averaging.
    """
    thumb = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    low = cv2.dct(thumb.astype(np.float32))[:_LOW, :_LOW].ravel()
    bits = low > np.median(low[1:])  # the first is the mean brightness
    small = cv2.resize(grey, (_LOW + 1, _LOW), interpolation=cv2.INTER_AREA).astype(np.int16)
    rising = (small[:, 1:] > small[:, :-1]).ravel()
    return Likeness(
        phash=_word(bits), dhash=_word(rising), thumb=np.asarray(thumb, dtype=np.uint8), flat=float(thumb.std()) < 2.0
    )


def _word(bits: NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(bits).tobytes(), "big")

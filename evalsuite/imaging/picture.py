"""A slice of an image as a small grey picture, and the outline of a mask as straight pieces between its pixels."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

Lines = tuple[tuple[float, float, float, float], ...]


def grey_png(plane: NDArray[np.generic], *, low: float, high: float) -> bytes:
    """A plane (rows, columns) as 8-bit PNG, `low` black and `high` white; the same bytes for the same numbers.

    What is not finite is black; where `low` is not below `high`, everything is.
    """
    values = np.nan_to_num(plane.astype(np.float64), nan=low, posinf=high, neginf=low)
    span = high - low
    grey = np.clip((values - low) / span * 255.0, 0, 255).round() if span > 0 else np.zeros(plane.shape)
    return _png(grey.astype(np.uint8)[:, :, None])


def colour_png(plane: NDArray[np.uint8]) -> bytes:
    """A plane (rows, columns, 3) of red, green and blue as PNG; the same bytes for the same numbers."""
    return _png(plane)


#: Colours from the smallest to the largest value of a map: even in lightness, told apart by colour-blind eyes and in
#: grey (five stops of viridis; van der Walt & Smith, 2015).
MAP_COLOURS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))


def coloured(share: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Shares (rows, columns) from 0 to 1 as (rows, columns, 3) in `MAP_COLOURS`, linear between the stops."""
    stops = np.linspace(0.0, 1.0, len(MAP_COLOURS))
    held = np.clip(np.nan_to_num(share), 0.0, 1.0)
    mixed = np.stack([np.interp(held, stops, [c[k] for c in MAP_COLOURS]) for k in range(3)], axis=-1)
    return mixed.round().astype(np.uint8)


def _png(plane: NDArray[np.uint8]) -> bytes:
    """(rows, columns, 1) in grey or (rows, columns, 3) in colour."""
    rows, columns, channels = plane.shape
    raw = np.zeros((rows, 1 + columns * channels), dtype=np.uint8)  # each row begins with its filter, 0: none
    raw[:, 1:] = plane.reshape(rows, columns * channels)
    head = struct.pack(">IIBBBBB", columns, rows, 8, 0 if channels == 1 else 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(raw.tobytes(), 9)), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def grey_range(plane: NDArray[np.generic]) -> tuple[float, float]:
    """Black and white for a plane: the 1st and 99.5th percentile of what is finite; (0, 0) where nothing is."""
    values = plane[np.isfinite(plane)] if np.issubdtype(plane.dtype, np.floating) else plane.ravel()
    if not values.size:
        return 0.0, 0.0
    low, high = np.percentile(values.astype(np.float64), [1.0, 99.5])
    return float(low), float(high)


def outline(mask: NDArray[np.bool_]) -> Lines:
    """The border of a mask (rows, columns) as pieces (x0, y0, x1, y1) along the edges of pixels, in pixels."""
    padded = np.pad(mask, 1)
    across = [(c0, r, c1, r) for r, c0, c1 in _runs(padded[1:, 1:-1] != padded[:-1, 1:-1])]
    down = [(c, r0, c, r1) for c, r0, r1 in _runs((padded[1:-1, 1:] != padded[1:-1, :-1]).T)]
    return tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in (*across, *down))


def _runs(edges: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """Each unbroken run of True in each row: (row, first, one past the last)."""
    steps = np.diff(np.pad(edges.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    starts, ends = np.argwhere(steps == 1), np.argwhere(steps == -1)
    return [(int(row), int(first), int(last)) for (row, first), (_, last) in zip(starts, ends, strict=True)]

"""What a device drew on a moved image, brought back to where the image was: turned, flipped or shrunk the other way.

The reference stays where it is. What a turn or a crop took out of the picture was not shown to the device, is empty in
the mask brought back, and counts as not drawn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evalsuite.imaging.degrade_geometry import flip_axis
from evalsuite.imaging.grid import Grid
from evalsuite.imaging.stored_otherwise import WAYS, onto

Labels = NDArray[np.uint8]


def brought_back(labels: Labels, kind: str, value: float, *, made: Grid, wanted: Grid) -> Labels:
    """Labels (*spatial) of a mask of an image degraded by `kind`, on the grid of the unchanged one.

    Nearest neighbour where the image was turned or enlarged, exact where it was flipped or stored otherwise, unchanged
    for every other kind.

    Raises
    ------
    ImageError
        Where a mask of an image stored otherwise does not lie on the same voxels.
    """
    if kind in WAYS:
        return onto(labels, made, wanted)
    if kind in ("flip_horizontal", "flip_vertical"):
        return np.ascontiguousarray(np.flip(labels, axis=flip_axis(kind, made.orientation)))
    if kind == "rotation":
        from scipy.ndimage import rotate

        return np.asarray(rotate(labels, -value, axes=(-1, -2), reshape=False, order=0, mode="constant", cval=0))
    if kind == "crop":
        rows, columns = (_shown(n, value) for n in labels.shape[-2:])
        kept = np.take(np.take(labels, rows.clip(min=0), axis=-2), columns.clip(min=0), axis=-1)
        return np.where((rows >= 0)[:, None] & (columns >= 0)[None, :], kept, 0).astype(np.uint8)
    return labels


def _shown(n: int, percent: float) -> NDArray[np.int64]:
    """For each of n pixels the pixel of the cropped and enlarged image that shows it; −1 where none does."""
    scale, first = 1.0 - 2.0 * percent / 100.0, percent / 100.0 * (n - 1)
    at = np.rint((np.arange(n) - first) / scale)
    return np.where((at >= 0) & (at < n), at, -1).astype(np.int64)

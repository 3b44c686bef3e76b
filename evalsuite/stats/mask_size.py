"""How large a mask is: its volume, and the longest diameter between two of its voxels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def volume_ml(mask: npt.NDArray[np.bool_], spacing_mm: Sequence[float]) -> float:
    """Voxels × the volume of one, in millilitres; 0 of an empty mask.

    Examples
    --------
    >>> volume_ml(np.ones((10, 10, 10), dtype=bool), (1.0, 1.0, 2.0))
    2.0
    """
    return float(np.count_nonzero(mask)) * float(np.prod(np.asarray(spacing_mm, dtype=np.float64))) / 1000.0


def longest_diameter_mm(mask: npt.NDArray[np.bool_], spacing_mm: Sequence[float]) -> float:
    """Largest distance between the centres of two voxels of a mask (*spatial), in any direction; 0 of an empty mask.

    Of a structure's true diameter it is short by up to a voxel, since centres lie half a voxel inside the border.
    """
    from scipy.spatial.distance import pdist

    ends: list[npt.NDArray[np.intp]] = []
    # In each line along the last axis only the first and the last voxel can be an end of the longest distance.
    lines = np.argwhere(mask.any(axis=-1))
    if not len(lines):
        return 0.0
    for line in lines:
        inside = np.flatnonzero(mask[tuple(line)])
        ends += [np.append(line, inside[0]), np.append(line, inside[-1])]
    corners = np.unique(np.array(ends), axis=0).astype(np.float64)
    points: npt.NDArray[np.float64] = corners * np.asarray(spacing_mm, dtype=np.float64)
    if len(points) < 2:
        return 0.0
    return float(pdist(_hull(points)).max())


def _hull(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The corners of the convex hull; all points where they are few."""
    from scipy.spatial import ConvexHull

    if len(points) <= 64:
        return points
    flat = points[:, np.ptp(points, axis=0) > 0.0]  # a plane or a line has its hull there
    if flat.shape[1] == 1:
        order = flat[:, 0].argsort()
        return points[order[[0, -1]]]
    # QJ: points that lie in a slanted plane still have a hull.
    corners: npt.NDArray[np.float64] = points[ConvexHull(flat, qhull_options="QJ").vertices]
    return corners

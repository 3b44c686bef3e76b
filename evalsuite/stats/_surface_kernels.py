"""The inner loop of surface distances, compiled: from each point outwards, the first voxel that lies on a surface.

Importing this module loads Numba; see `_kernels`. Every point is searched by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from evalsuite.stats._kernels import _compiled

Values = npt.NDArray[Any]
"""float64."""
Index = npt.NDArray[Any]
"""int64."""
Flags = npt.NDArray[np.bool_]


@_compiled
def first_on(on: Flags, points: Index, steps: Index, distance: Values, out: Values) -> None:
    """The distance of the first step from each point that ends on the surface; -1 where none does.

    `on (v,)` says which voxels of an image are on the surface, counted through; `points (p,)` are voxels; `steps (k,)`
    lead from one voxel to another, in the order of `distance (k,)`. No step leads out of the image.
    """
    for i in range(points.size):
        out[i] = -1.0
        for k in range(steps.size):
            if on[points[i] + steps[k]]:
                out[i] = distance[k]
                break

"""Where the voxels of an image lie in the patient: spacing, orientation, and turning an array to another orientation.

Coordinates are millimetres towards the patient's Right, Anterior and Superior (RAS+, as in NIfTI); DICOM's are towards
Left, Posterior, Superior and are turned on reading. An orientation is one letter per axis of the array, in its order:
the side of the patient towards which the index grows, so that "LIA" grows leftwards, downwards and forwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

AXES = (("L", "R"), ("P", "A"), ("I", "S"))
_AXIS_OF = {letter: axis for axis, pair in enumerate(AXES) for letter in pair}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The voxels of one image.

    Attributes
    ----------
    shape
        Number of voxels along each spatial axis of the array.
    spacing_mm
        Distance of voxel centres along each axis, None where the file does not state it.
    affine
        (4, 4) as tuples: index → millimetres in RAS+. None for plane images and files that state no place.
    """

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None = None
    affine: tuple[tuple[float, ...], ...] | None = None

    @property
    def orientation(self) -> str | None:
        """One letter per axis, of the nearest side of the patient; None where the place is unknown."""
        return None if self.affine is None else orientation_of(np.asarray(self.affine))


def as_affine(matrix: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    """A (4, 4) array as the tuples of a `Grid`."""
    return tuple(tuple(float(v) for v in row) for row in matrix)


def spacing_of(affine: NDArray[np.float64]) -> tuple[float, ...]:
    """Length of one step along each axis, in millimetres."""
    return tuple(float(v) for v in np.sqrt((affine[:3, :3] ** 2).sum(axis=0)))


def is_regular(affine: NDArray[np.float64]) -> bool:
    """Whether a matrix is finite, has three independent axes and no axis of (nearly) no length."""
    if not np.isfinite(affine).all():
        return False
    lengths = np.asarray(spacing_of(affine))
    return bool((lengths > 1e-6).all()) and abs(np.linalg.det(affine[:3, :3] / lengths)) > 1e-3


def shear_degrees(affine: NDArray[np.float64]) -> float:
    """By how much the axes miss being at right angles: the largest deviation of any two, in degrees."""
    directions = affine[:3, :3] / np.asarray(spacing_of(affine))
    cosines = np.abs(directions.T @ directions - np.eye(3))
    return float(np.degrees(np.arcsin(min(1.0, cosines.max()))))


def orientation_of(affine: NDArray[np.float64]) -> str:
    """The side of the patient towards which each axis grows, by the nearest of the three directions.

    Every axis gets a direction of its own: among the six assignments, the one with the largest sum of cosines.
    """
    from itertools import permutations

    cosines = affine[:3, :3] / np.asarray(spacing_of(affine))
    best = max(permutations(range(3)), key=lambda p: sum(abs(float(cosines[p[i], i])) for i in range(3)))
    return "".join(AXES[w][int(cosines[w, i] > 0)] for i, w in enumerate(best))


def is_orientation(text: str) -> bool:
    """Whether a text names each of the three directions of the patient once: RAS, LPS, LIA, …"""
    return len(text) == 3 and all(c in _AXIS_OF for c in text) and len({_AXIS_OF[c] for c in text}) == 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """How one orientation becomes another: axes in a new order, then some of them reversed. Nothing is interpolated.

    New axis i is old axis `order[i]`, reversed where `reverse[i]`.
    """

    order: tuple[int, ...]
    reverse: tuple[bool, ...]

    @property
    def changes(self) -> bool:
        """Whether anything is turned at all."""
        return self.order != tuple(range(len(self.order))) or any(self.reverse)

    def apply(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """Turn the last axes of an array; a view, nothing is copied."""
        ahead = array.ndim - len(self.order)
        turned = array.transpose(*range(ahead), *(ahead + o for o in self.order))
        return turned[(slice(None),) * ahead + tuple(slice(None, None, -1) if r else slice(None) for r in self.reverse)]

    def undo(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """The reverse of `apply`, on the last axes of an array; a view."""
        ahead = array.ndim - len(self.order)
        array = array[(slice(None),) * ahead + tuple(slice(None, None, -1) if r else slice(None) for r in self.reverse)]
        back = sorted(range(len(self.order)), key=lambda i: self.order[i])
        return array.transpose(*range(ahead), *(ahead + b for b in back))

    def of(self, values: Sequence[float]) -> tuple[float, ...]:
        """Values per old axis (a spacing, a shape), in the order of the new axes."""
        return tuple(values[o] for o in self.order)


def turn_between(have: str, want: str) -> Turn:
    """How an array of orientation `have` becomes one of orientation `want`."""
    order = tuple(next(i for i, c in enumerate(have) if _AXIS_OF[c] == _AXIS_OF[w]) for w in want)
    return Turn(order=order, reverse=tuple(have[o] != w for o, w in zip(order, want, strict=True)))


def no_turn(n_axes: int) -> Turn:
    """Every axis as it is."""
    return Turn(order=tuple(range(n_axes)), reverse=(False,) * n_axes)

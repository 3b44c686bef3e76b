"""A reference outline and the device's outline of one structure: counted, cropped, and what an empty one means."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from evalsuite.stats._binary_inputs import BoolArray

Emptiness = Literal["both", "reference", "prediction"]
WhenOneIsEmpty = Literal["worst", "undefined"]
WhenBothAreEmpty = Literal["perfect", "undefined"]

EMPTY_REASONS: dict[Emptiness, str] = {
    "both": "reference and output are both empty",
    "reference": "the reference is empty and the output is not",
    "prediction": "the output is empty and the reference is not",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyPolicy:
    """What a figure of one case is where a mask is empty: the best value, the worst, or none, with the reason.

    The default takes a false alarm and a miss at their worst, so that neither vanishes from a mean, and leaves a
    structure that is rightly absent out of it, so that easy cases do not raise it.
    """

    both: WhenBothAreEmpty = "undefined"
    reference: WhenOneIsEmpty = "worst"
    prediction: WhenOneIsEmpty = "worst"


DEFAULT_EMPTY = EmptyPolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFigure:
    """A figure of one case, or the reason why it has none; exactly one of the two is given."""

    value: float | None = None
    undefined: str | None = None

    def __post_init__(self) -> None:
        if (self.value is None) == (self.undefined is None):
            raise ValueError("a figure has a value or a reason why there is none, not both and not neither")
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"a figure is finite, got {self.value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskPair:
    """Two masks on one grid, cropped to the box around both, and their sizes in voxels.

    `reference` and `prediction` are bool of the same shape, 2-D or 3-D (`(0, …)` where both are empty); `spacing_mm`
    is the distance of neighbouring voxels along each axis. The crop changes no figure: outside it there is nothing,
    and a mask that touches the edge of the image ends there.
    """

    reference: BoolArray
    prediction: BoolArray
    spacing_mm: tuple[float, ...]
    n_reference: int
    n_prediction: int
    n_both: int

    @property
    def empty(self) -> Emptiness | None:
        """Which of the masks is empty."""
        if self.n_reference and self.n_prediction:
            return None
        if not self.n_reference and not self.n_prediction:
            return "both"
        return "reference" if not self.n_reference else "prediction"

    @property
    def voxel_mm(self) -> float:
        """Volume of a voxel in mm³, or area of a pixel in mm²."""
        return float(np.prod(self.spacing_mm))


def mask_pair(reference: npt.ArrayLike, prediction: npt.ArrayLike, spacing_mm: Sequence[float]) -> MaskPair:
    """Two masks of one structure, checked, counted and cropped.

    Parameters
    ----------
    reference, prediction
        bool, or numbers that are exactly 0 or 1, of the same shape; 2-D or 3-D.
    spacing_mm
        One positive number per axis, in the order of the axes.

    Raises
    ------
    ValueError
        If shapes differ, a mask holds anything but 0 and 1, or the spacing does not fit.

    Examples
    --------
    >>> pair = mask_pair([[0, 1, 1]], [[0, 0, 1]], (1.0, 0.5))
    >>> pair.n_reference, pair.n_prediction, pair.n_both, pair.reference.shape
    (2, 1, 1, (1, 2))
    """
    first, second = as_mask(reference, "reference"), as_mask(prediction, "prediction")
    if first.shape != second.shape:
        raise ValueError(f"prediction must have shape {first.shape} like reference, got {second.shape}")
    spacing = check_spacing(spacing_mm, first.ndim)
    sizes = int(np.count_nonzero(first)), int(np.count_nonzero(second))
    boxes = [box_around(mask) for mask, size in zip((first, second), sizes, strict=True) if size]
    box = tuple(
        slice(min(b[axis].start for b in boxes), max(b[axis].stop for b in boxes)) if boxes else slice(0, 0)
        for axis in range(first.ndim)
    )
    first, second = first[box], second[box]
    return MaskPair(
        reference=first,
        prediction=second,
        spacing_mm=spacing,
        n_reference=sizes[0],
        n_prediction=sizes[1],
        n_both=int(np.count_nonzero(first & second)),
    )


def as_mask(mask: npt.ArrayLike, name: str = "mask") -> BoolArray:
    """Bool array of two or three axes from bools or exact 0/1 numbers."""
    array = np.asarray(mask)
    if array.ndim not in (2, 3):
        raise ValueError(f"{name} must have two or three axes, got shape {array.shape}")
    if array.dtype == np.bool_:
        return array
    if not np.issubdtype(array.dtype, np.number) or not bool(np.all((array == 0) | (array == 1))):
        raise ValueError(f"{name} must hold only False/True (or 0/1)")
    return np.asarray(array == 1)


def check_spacing(spacing_mm: Sequence[float], axes: int) -> tuple[float, ...]:
    """One positive, finite number per axis."""
    spacing = tuple(float(s) for s in spacing_mm)
    if len(spacing) != axes or not all(math.isfinite(s) and s > 0.0 for s in spacing):
        raise ValueError(f"spacing_mm must be {axes} positive numbers, one per axis, got {spacing}")
    return spacing


def figure(
    pair: MaskPair,
    value: Callable[[MaskPair], float],
    *,
    best: float,
    worst: float | None,
    empty: EmptyPolicy = DEFAULT_EMPTY,
) -> CaseFigure:
    """`value(pair)` where both masks have voxels, else what the policy says.

    `worst` None: no worst value is declared, so that one empty mask leaves the figure undefined.
    """
    which = pair.empty
    if which is None:
        return CaseFigure(value=value(pair))
    if which == "both":
        return CaseFigure(value=best) if empty.both == "perfect" else CaseFigure(undefined=EMPTY_REASONS[which])
    if getattr(empty, which) == "undefined":
        return CaseFigure(undefined=EMPTY_REASONS[which])
    if worst is None:
        return CaseFigure(undefined=f"{EMPTY_REASONS[which]}, and no worst value is declared")
    return CaseFigure(value=worst)


def box_around(mask: BoolArray) -> tuple[slice, ...]:
    """The smallest box around a mask that is not empty."""
    out: list[slice] = []
    # The first axis is reduced over contiguous memory; the others on what is left within it.
    rest = mask
    for axis in range(mask.ndim):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        occupied = np.flatnonzero(rest.any(axis=others))
        found = slice(int(occupied[0]), int(occupied[-1]) + 1)
        out.append(found)
        rest = rest[(slice(None),) * axis + (found,)]
    return tuple(out)


def along(axes: int, axis: int, part: slice) -> tuple[slice, ...]:
    """An index that takes a part of one axis and all of the others."""
    return (slice(None),) * axis + (part,) + (slice(None),) * (axes - axis - 1)

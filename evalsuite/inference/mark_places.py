"""Recorded marks and outlines beside the images they are said to be of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from evalsuite.errors import ImageError
from evalsuite.imaging.grid import Grid
from evalsuite.imaging.points import lie_of, outside
from evalsuite.models.marks import is_box

if TYPE_CHECKING:
    from evalsuite.testset.types import Case


def grid_of_case(cases: Mapping[str, Case], case_id: str) -> Grid | None:
    """The grid of the case's (first) image as a volume; None where there is none, or it states none."""
    paths = next(iter(cases[case_id].images.values()), ())
    try:
        return lie_of(paths, axes=3).grid if paths else None
    except ImageError:
        return None


def marks_outside(
    cases: Mapping[str, Case], case_id: str, places: np.ndarray, *, coordinates: str, place: Sequence[str]
) -> bool:
    """Whether a mark of the case shares nothing with its (first) image.

    False where the case has no image, or the image states no place: nothing can then be said about its marks.
    """
    paths = next(iter(cases[case_id].images.values()), ())
    box = is_box(place)
    if not paths:
        return False
    try:
        lie = lie_of(paths, axes=places.shape[1] // 2 if box else places.shape[1])
    except ImageError:
        return False
    return bool(outside(lie, places, coordinates, box=box).any())

"""Lesions given as boxes in a table, laid onto the image of their case so that maps can be set beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evalsuite.analyses.lesions import CaseLesions, lesion_table
from evalsuite.errors import ImageError, Problem
from evalsuite.imaging.points import Lie, indices_in, lie_of, places_of
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.testset.reference_files import ReferenceFiles
from evalsuite.testset.types import LockedTestSet

#: How the image of a case lies, for places with so many axes; None where there is no image.
Lies = Callable[[str, int], Lie | None]
_TABLES = (".csv", ".parquet")


def is_table(cell: str) -> bool:
    """Whether a cell of the reference column names a lesion table rather than a mask."""
    return Path(cell).suffix.lower() in _TABLES


def lies_of(testset: LockedTestSet) -> Lies:
    """How the (first) images of a locked set lie. ImageError where an image cannot be read."""
    cases = {c.case_id: c for c in testset.cases}

    def lie(case: str, axes: int) -> Lie | None:
        paths = next(iter(cases[case].images.values()), ())
        return lie_of(paths, axes=axes) if paths else None

    return lie


class BoxTables:
    """The lesion tables that the cells of a column name, each read once."""

    def __init__(self, protocol: StudyProtocol, files: ReferenceFiles, lies: Lies, coordinates: str) -> None:
        self._protocol, self._files, self._lies, self._coordinates = protocol, files, lies, coordinates
        self._tables: dict[str, Mapping[str, CaseLesions]] = {}
        self.problems: list[Problem] = []  # of tables, each once

    def mask(self, cell: str, case: str) -> NDArray[np.bool_] | None:
        """The pixels of the case's image whose centres lie in its boxes; None where the table has no row of the case,
        or could not be read.

        Raises
        ------
        ImageError
            If the case has no image, the image does not say where it lies, or a box holds no pixel of it.
        """
        if cell not in self._tables:
            self._tables[cell] = self._read(cell)
        lesions = self._tables[cell].get(case)
        if lesions is None:
            return None
        lie = self._lies(case, lesions.place.shape[1] // 2)
        if lie is None:
            raise ImageError("there is no image to lay the boxes on", code="grid")
        return box_mask(lesions.place, lie, self._coordinates)

    def _read(self, cell: str) -> Mapping[str, CaseLesions]:
        found = lesion_table(self._protocol, cell, self._files, self.problems)
        if found and not all(lesions.box for lesions in found.values()):
            hint = "x0, y0, x1, y1 (with z0 and z1 in volumes)"
            self.problems.append(Problem("maps are set beside boxes, and the lesions are points", cell, hint))
            return {}
        return found or {}


def box_mask(places: NDArray[np.float64], lie: Lie, coordinates: str) -> NDArray[np.bool_]:
    """The pixels of an image whose centres lie in any of the boxes `(k, 2 axes)`, lower corner first, in mm.

    `coordinates` as of `evalsuite.imaging.points.index_in`. In a tilted image a box is tilted against its rows.

    Raises
    ------
    ImageError
        If the image does not say where it lies, or a box holds no pixel of it.
    """
    shape, axes = lie.grid.shape, places.shape[1] // 2
    mask = np.zeros(shape, dtype=np.bool_)
    for k, box in enumerate(places, start=1):
        sides = box.reshape(2, axes)
        corners = np.stack(np.meshgrid(*sides.T, indexing="ij"), axis=-1).reshape(-1, axes)
        at = indices_in(lie, corners, coordinates)
        if at is None:
            raise ImageError(f"the image has no place in coordinates '{coordinates}' of {axes} axes", code="grid")
        low = np.maximum(np.floor(at.min(axis=0)), 0).astype(np.int64)
        high = np.minimum(np.ceil(at.max(axis=0)) + 1, shape).astype(np.int64)
        near = [np.arange(a, b) for a, b in zip(low, high, strict=True)]
        index = np.stack(np.meshgrid(*near, indexing="ij"), axis=-1).reshape(-1, len(shape))
        centres = places_of(lie, index.astype(np.float64), coordinates) if len(index) else None
        inside = index[((centres >= sides[0]) & (centres <= sides[1])).all(axis=1)] if centres is not None else index
        if not len(inside):
            raise ImageError(f"box {k} of {len(places)} holds no pixel of the image", code="grid")
        mask[tuple(inside.T)] = True
    return mask

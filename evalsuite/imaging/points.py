"""Where millimetres lie in an image: the index of a point on its grid, and the grid of an image from its headers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evalsuite.errors import ImageError
from evalsuite.imaging.grid import Grid, as_affine, is_regular, spacing_of

_TO_RAS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Lie:
    """The grid of an image, and whether its array begins with columns, as NIfTI's does, rather than slices or rows."""

    grid: Grid
    columns_first: bool


def index_in(lie: Lie, point: Sequence[float], coordinates: str) -> tuple[float, ...] | None:
    """The index (not rounded) on the stored grid of a point (x, y[, z]) in mm; None where the image states no place.

    `coordinates`: `lps` or `ras`, in the patient, as in DICOM or NIfTI; `image`, from the centre of the first pixel, x
    along columns, y along rows, z along slices (an image without spacing counts pixels).
    """
    found = indices_in(lie, np.array([point], dtype=np.float64), coordinates)
    return None if found is None else tuple(float(v) for v in found[0])


def indices_in(lie: Lie, points: NDArray[np.float64], coordinates: str) -> NDArray[np.float64] | None:
    """`index_in` of many points (m, axes)."""
    grid = lie.grid
    if coordinates == "image":
        if points.shape[1] != len(grid.shape):
            return None
        along = points if lie.columns_first else points[:, ::-1]
        at: NDArray[np.float64] = along / np.asarray(grid.spacing_mm or (1.0,) * len(grid.shape))
        return at
    if grid.affine is None or points.shape[1] != 3:
        return None
    turned = points * (_TO_RAS if coordinates == "lps" else 1.0)
    found = np.linalg.solve(np.asarray(grid.affine), np.column_stack([turned, np.ones(len(turned))]).T)[:3]
    return np.ascontiguousarray(found.T)


def places_of(lie: Lie, indices: NDArray[np.float64], coordinates: str) -> NDArray[np.float64] | None:
    """Points (m, axes) in mm of indices on the stored grid: the reverse of `indices_in`."""
    grid = lie.grid
    if coordinates == "image":
        along: NDArray[np.float64] = indices * np.asarray(grid.spacing_mm or (1.0,) * len(grid.shape))
        return along if lie.columns_first else along[:, ::-1]
    if grid.affine is None or indices.shape[1] != 3:
        return None
    matrix = np.asarray(grid.affine)
    made: NDArray[np.float64] = indices @ matrix[:3, :3].T + matrix[:3, 3]
    return made * _TO_RAS if coordinates == "lps" else made


def outside(lie: Lie, places: NDArray[np.float64], coordinates: str, *, box: bool) -> NDArray[np.bool_]:
    """`(m,)` which points (m, axes), or boxes (m, 2 axes) with the lower corner first, share nothing with the image.

    The image ends half a voxel beyond the centres of its outermost ones. False where it states no place to compare.
    """
    axes = places.shape[1] // 2 if box else places.shape[1]
    out = np.zeros(len(places), dtype=np.bool_)
    for i, place in enumerate(places):
        corners = [place[:axes], place[axes:]] if box else [place]
        found = [index_in(lie, [float(v) for v in corner], coordinates) for corner in corners]
        if any(f is None for f in found):
            return out
        low, high = (np.array([pick(v) for v in zip(*(f or () for f in found), strict=True)]) for pick in (min, max))
        out[i] = bool((high < -0.5).any() or (low > np.array(lie.grid.shape) - 0.5).any())
    return out


def lie_of(paths: Sequence[Path], *, axes: int) -> Lie:
    """How the image of a case lies, from headers alone where that is enough; `paths` in the order of their positions.

    Raises ImageError as `evalsuite.imaging.read_files`, and where a header states no place.
    """
    from evalsuite.imaging import read_files
    from evalsuite.imaging.image import Spec

    if len(paths) > 1:
        return Lie(grid=_of_series(paths), columns_first=False)
    quick = _of_nifti(paths[0]) if paths else None
    if quick is not None:
        return Lie(grid=quick, columns_first=True)
    image = read_files(paths, spec=Spec(layout="volume" if axes == 3 else "one"), name="the image")
    return Lie(grid=image.grid, columns_first=image.kind == "nifti")


def _of_series(paths: Sequence[Path]) -> Grid:
    """From the first and the last slice; gaps and strangers are for those who read the volume."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    wanted = ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns"]
    try:
        first, last = (pydicom.dcmread(p, stop_before_pixels=True, specific_tags=wanted) for p in (paths[0], paths[-1]))
        ends = [np.array([float(v) for v in d.ImagePositionPatient]) for d in (first, last)]
        across, down = np.array([float(v) for v in first.ImageOrientationPatient]).reshape(2, 3)
        row, column = (float(v) for v in first.PixelSpacing)
        shape = (len(paths), int(first.Rows), int(first.Columns))
    except (OSError, InvalidDicomError, AttributeError, TypeError, ValueError):
        raise ImageError("the slices state no place in the patient", code="series") from None
    matrix = np.eye(4)
    matrix[:3, 0] = (ends[1] - ends[0]) / (len(paths) - 1)
    matrix[:3, 1], matrix[:3, 2], matrix[:3, 3] = down * row, across * column, ends[0]
    matrix = np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix
    if not is_regular(matrix):
        raise ImageError("the slices state a place in the patient that is none", code="series")
    return Grid(shape=shape, spacing_mm=spacing_of(matrix), affine=as_affine(matrix))


def _of_nifti(path: Path) -> Grid | None:
    """From the header of a NIfTI file; None where it is something else, or has no plain header."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return None
    try:
        header = nibabel.load(path).header
    except (OSError, EOFError, ValueError, ImageFileError):
        return None
    from evalsuite.imaging.nifti import grid_of_header

    return grid_of_header(header, path.name)

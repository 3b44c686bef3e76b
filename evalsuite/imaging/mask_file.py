"""Masks in files (NIfTI, PNG, TIFF, DICOM): the label of every voxel and its grid, or why a file is no mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evalsuite.errors import ImageError
from evalsuite.imaging import nifti, raster
from evalsuite.imaging.grid import Grid

#: By how much of the smallest spacing two grids may lie apart at any corner: headers round, and images are not moved.
PLACE_TOLERANCE = 0.1
SPACING_TOLERANCE_MM = 1e-3
LARGEST_LABEL = 255


def decode_mask(data: bytes, *, name: str, grid: Grid | None = None) -> tuple[NDArray[np.uint8], Grid]:
    """Labels `(*spatial)` of one mask file held in memory, as stored, and their grid.

    DICOM SEG and RT structure sets are laid onto `grid`, since they name only slices in which something is drawn; their
    labels are the numbers of segments or structures. Other files lie on their own grid.

    Raises
    ------
    ImageError
        As for an image, and code `not_mask`: several channels, or values that are no whole numbers from 0 to 255;
        `grid`: a DICOM outline that does not fall on the voxels of `grid`.
    """
    if data[128:132] == b"DICM":
        from evalsuite.imaging.mask_dicom import decode_on

        labels = decode_on(data, grid, name=name)
        assert grid is not None, "decode_on refuses to do without"
        return labels, grid
    image = nifti.decode(data, name=name) if nifti.is_nifti(data) else raster.decode(data, name=name)
    array = image.array
    if array.shape[0] != 1:
        raise ImageError(f"{name} has {array.shape[0]} channels; a mask has one label per voxel", code="not_mask")
    labels = array[0]
    if labels.dtype != np.uint8:
        low, high = float(labels.min(initial=0)), float(labels.max(initial=0))
        whole = np.issubdtype(labels.dtype, np.integer) or bool(np.all(labels == np.floor(labels)))
        if not whole or not 0.0 <= low <= high <= LARGEST_LABEL:
            raise ImageError(f"{name} has values that are no labels (whole numbers from 0 to 255)", code="not_mask")
        labels = labels.astype(np.uint8)
    grid = Grid(shape=tuple(labels.shape), spacing_mm=image.spacing_mm, affine=image.affine)
    return np.ascontiguousarray(labels), grid


def grid_difference(first: Grid, second: Grid) -> str | None:
    """In what two grids differ (shape, spacing, place or orientation), or None: then they are the same voxels."""
    if first.shape != second.shape:
        return "shape"
    if (first.spacing_mm is None) != (second.spacing_mm is None) or (first.affine is None) != (second.affine is None):
        return "one of them states no spacing or place"
    if first.spacing_mm is not None and second.spacing_mm is not None:
        gap = np.abs(np.subtract(first.spacing_mm, second.spacing_mm)).max()
        if gap > SPACING_TOLERANCE_MM:
            return "spacing"
    if first.affine is None or second.affine is None:
        return None
    if first.orientation != second.orientation:
        return "orientation"
    # At the corners of the volume, which a small turn moves most.
    corners = np.array(np.meshgrid(*((0, n - 1) for n in first.shape), indexing="ij")).reshape(len(first.shape), -1)
    points = np.concatenate([corners, np.ones((1, corners.shape[1]))])
    apart = (np.asarray(first.affine) - np.asarray(second.affine)) @ points
    limit = PLACE_TOLERANCE * min(first.spacing_mm or (1.0,))
    return "origin or direction" if float(np.abs(apart[:3]).max()) > limit else None

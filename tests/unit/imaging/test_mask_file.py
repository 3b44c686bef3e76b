"""Mask files: labels, what is no mask, and when two grids are the same."""

from __future__ import annotations

import io

import nibabel
import numpy as np
import pytest
from PIL import Image as Picture

from evalsuite.errors import ImageError
from evalsuite.imaging.grid import Grid
from evalsuite.imaging.mask_file import decode_mask, grid_difference

AFFINE = np.diag([2.0, 1.0, 0.5, 1.0])


def _nifti(array: np.ndarray, affine: np.ndarray = AFFINE) -> bytes:
    return nibabel.Nifti1Image(array, affine).to_bytes()


def _png(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    Picture.fromarray(array).save(out, "PNG")
    return out.getvalue()


def test_labels_and_grid_of_a_volume_and_of_a_picture() -> None:
    array = np.arange(24).reshape(2, 3, 4)
    for dtype in (np.uint8, np.int16, np.float32):
        labels, grid = decode_mask(_nifti(array.astype(dtype)), name="m")
        np.testing.assert_array_equal(labels, array)
        assert (labels.dtype, grid.spacing_mm, grid.orientation) == (np.uint8, (2.0, 1.0, 0.5), "RAS")
    labels, grid = decode_mask(_png(np.array([[0, 255], [7, 0]], np.uint8)), name="m")
    assert labels.tolist() == [[0, 255], [7, 0]]
    assert grid.spacing_mm is None


@pytest.mark.parametrize(
    "data",
    [
        _nifti(np.full((2, 2, 2), 0.5, np.float32)),
        _nifti(np.full((2, 2, 2), 300, np.int16)),
        _nifti(np.full((2, 2, 2), -1, np.int16)),
        _nifti(np.full((2, 2, 2), np.nan, np.float32)),
        _nifti(np.zeros((2, 2, 2, 2), np.uint8)),
        _png(np.zeros((2, 2, 3), np.uint8)),
    ],
)
def test_what_is_no_mask(data: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        decode_mask(data, name="m")
    assert caught.value.code == "not_mask"


def test_damaged_files_are_images_errors() -> None:
    for data in (b"", b"no image", _nifti(np.ones((4, 4, 4), np.uint8))[:380], _png(np.ones((9, 9), np.uint8))[:40]):
        with pytest.raises(ImageError):
            decode_mask(data, name="m")


def _grid(**changes: object) -> Grid:
    affine = np.array(changes.pop("affine", AFFINE), dtype=float)
    fields = {"shape": (4, 5, 6), "spacing_mm": (2.0, 1.0, 0.5), **changes}
    return Grid(affine=tuple(tuple(map(float, row)) for row in affine), **fields)  # type: ignore[arg-type]


def test_grids_are_the_same_up_to_a_tenth_of_the_smallest_step() -> None:
    moved, far, turned, flipped = AFFINE.copy(), AFFINE.copy(), AFFINE.copy(), AFFINE.copy()
    moved[0, 3], far[0, 3] = 0.04, 0.06
    turned[:2, :2] = [[2.0, -0.05], [0.02, 1.0]]
    flipped[1, 1] = -1.0
    same = _grid()
    assert grid_difference(same, _grid()) is None
    assert grid_difference(same, _grid(affine=moved)) is None
    assert grid_difference(same, _grid(affine=far)) == "origin or direction"
    assert grid_difference(same, _grid(affine=turned)) == "origin or direction"
    assert grid_difference(same, _grid(affine=flipped)) == "orientation"
    assert grid_difference(same, _grid(shape=(4, 5, 7))) == "shape"
    assert grid_difference(same, _grid(spacing_mm=(2.0, 1.0, 0.52))) == "spacing"
    assert grid_difference(same, Grid(shape=(4, 5, 6))) == "one of them states no spacing or place"
    assert grid_difference(Grid(shape=(4, 5)), Grid(shape=(4, 5))) is None

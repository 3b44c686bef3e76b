"""The same volume stored in other ways is the same volume, and masks of moved images come back to where they belong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evalsuite.errors import ImageError
from evalsuite.imaging.degrade import LADDERS, degrade
from evalsuite.imaging.degrade_undo import brought_back
from evalsuite.imaging.grid import Grid, as_affine
from evalsuite.imaging.image import Image, Spec
from evalsuite.imaging.stored_otherwise import WAYS, onto, stored_otherwise

#: Left, Inferior, Anterior, oblique by a few degrees, 1.5 × 2 × 4 mm.
TURN = np.array([[np.cos(0.1), -np.sin(0.1), 0], [np.sin(0.1), np.cos(0.1), 0], [0, 0, 1.0]])
AXES = np.array([[-1.5, 0, 0], [0, 0, 4.0], [0, -2.0, 0]])
AFFINE = np.vstack([np.column_stack([TURN @ AXES, [10.0, -20.0, 30.0]]), [0, 0, 0, 1.0]])
SPEC = Spec(layout="volume")


def volume(dtype: type = np.int16) -> Image:
    values = np.random.default_rng(3).integers(-900, 900, (1, 6, 5, 7)).astype(dtype)
    return Image(array=values, full_range=None, kind="nifti", spacing_mm=(1.5, 2.0, 4.0), affine=as_affine(AFFINE))


def by_place(image: Image) -> dict[tuple[float, ...], float]:
    """Each voxel's value by where it lies in the patient, to a hundredth of a millimetre."""
    affine = np.asarray(image.affine)
    index = np.indices(image.array.shape[1:]).reshape(3, -1)
    places = np.round(affine[:3, :3] @ index + affine[:3, 3:], 2).T + 0.0
    return dict(zip(map(tuple, places), image.array[0].ravel().astype(float).tolist(), strict=True))


@pytest.mark.parametrize("way", WAYS)
def test_every_voxel_lies_where_it_lay(way, tmp_path):
    before = volume()
    after = stored_otherwise(before, way, spec=SPEC, folder=tmp_path)
    assert by_place(after) == by_place(before)
    assert sorted(after.spacing_mm or ()) == pytest.approx([1.5, 2.0, 4.0], abs=1e-6)
    assert after.full_range is None
    if way in ("axes", "dicom"):
        assert after.orientation != before.orientation
    assert list(tmp_path.iterdir()) == []
    labels = (after.array[0] > 0).astype(np.uint8)
    np.testing.assert_array_equal(onto(labels, after.grid, before.grid), before.array[0] > 0)


def test_what_cannot_be_stored_so_is_said(tmp_path):
    broken = replace(volume(np.float32), array=volume(np.float32).array + np.float32(0.5))
    with pytest.raises(ImageError, match="rounded"):
        stored_otherwise(broken, "dicom", spec=SPEC, folder=tmp_path)
    assert by_place(stored_otherwise(broken, "units", spec=SPEC, folder=tmp_path)) == by_place(broken)
    with pytest.raises(ImageError, match="place"):
        stored_otherwise(replace(volume(), affine=None), "axes", spec=SPEC, folder=tmp_path)
    two = replace(volume(), array=np.repeat(volume().array, 2, axis=0))
    with pytest.raises(ImageError, match="channels"):
        stored_otherwise(two, "dicom", spec=SPEC, folder=tmp_path)


def test_masks_on_other_voxels_are_not_laid_on():
    labels = np.ones((6, 5, 7), dtype=np.uint8)
    grid = volume().grid
    moved = AFFINE.copy()
    moved[0, 3] += 0.4
    for other in (moved, AFFINE * np.array([1.0, 1.0, 1.1, 1.0])):
        with pytest.raises(ImageError, match="another grid"):
            onto(labels, replace(grid, affine=as_affine(other)), grid)


@pytest.mark.parametrize(
    ("kind", "values"),
    [(k, LADDERS[m][k]) for m, k in [("xray", "crop"), ("dermoscopy", "rotation"), ("xray", "rotation")]],
)
def test_an_outline_of_a_turned_or_cropped_image_comes_back(kind, values):
    truth = np.zeros((1, 120, 100), dtype=np.uint8)
    truth[0, 40:80, 35:60] = 255
    grid = Grid(shape=(120, 100))
    for value in values:
        moved = degrade(
            Image(array=truth, full_range=(0.0, 255.0), kind="raster"), kind, value, seed=1, case_id="c"
        ).array[0]  # fmt: skip
        seen = (moved > 127).astype(np.uint8)
        back = brought_back(seen, kind, value, made=grid, wanted=grid) != 0
        there = truth[0] != 0
        assert 2 * (back & there).sum() / (back.sum() + there.sum()) > 0.97, value
        assert 2 * (seen.astype(bool) & there).sum() / (seen.sum() + there.sum()) < 0.99 or value == values[0]


def test_what_a_crop_took_out_of_the_picture_counts_as_not_drawn():
    everything = np.ones((50, 50), dtype=np.uint8)
    back = brought_back(everything, "crop", 12.0, made=Grid(shape=(50, 50)), wanted=Grid(shape=(50, 50)))
    assert back[25, 25] == 1
    assert not back[:5].any()
    assert not back[:, -5:].any()


def test_sides_are_exchanged_in_the_patient_however_a_volume_lies():
    before = volume()
    for kind, axis in (("flip_horizontal", 0), ("flip_vertical", 1)):  # L/R is the first axis, I/S the second
        after = degrade(before, kind, 0.0, seed=1, case_id="c")
        np.testing.assert_array_equal(after.array[0], np.flip(before.array[0], axis))
        labels = (after.array[0] > 0).astype(np.uint8)
        back = brought_back(labels, kind, 0.0, made=after.grid, wanted=before.grid)
        np.testing.assert_array_equal(back, before.array[0] > 0)

"""Whatever a volume went through on its way to the model, a mask comes back to the voxel it was drawn on."""

from __future__ import annotations

from itertools import permutations, product
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evalsuite.imaging import Grid, Image
from evalsuite.imaging.grid import as_affine, orientation_of, turn_between
from evalsuite.inference.mask_store import read_masks, write_masks
from evalsuite.inference.masks import StoredMask, decode, encode
from evalsuite.models.contract import InputSpec
from evalsuite.models.placing import Placement, place, restore

SIDES = ("LR", "PA", "IS")
CODES = ["".join(letters) for axes in permutations(SIDES) for letters in product(*axes)]
orientations = st.sampled_from(CODES)
shapes = st.tuples(*[st.integers(1, 7)] * 3)
spacings = st.tuples(*[st.floats(0.3, 4.0)] * 3)


def affine_of(codes: str, spacing: tuple[float, ...]) -> np.ndarray:
    matrix = np.zeros((4, 4))
    matrix[3] = [7, -3, 2, 1]
    matrix = matrix.T.copy()
    for axis, (code, step) in enumerate(zip(codes, spacing, strict=True)):
        world = next(i for i, pair in enumerate(SIDES) if code in pair)
        matrix[world, axis] = step if code in "RAS" else -step
    matrix[3] = [0, 0, 0, 1]
    return matrix


def image_of(array: np.ndarray, codes: str, spacing: tuple[float, ...]) -> Image:
    return Image(
        array=array[np.newaxis],
        full_range=None,
        kind="nifti",
        spacing_mm=spacing,
        affine=as_affine(affine_of(codes, spacing)),
    )


def placed(image: Image, **spec: object) -> tuple[np.ndarray, Placement]:
    defaults = {"shape": (1, None, None, None), "orientation": "any", "spacing_mm": "any"}
    return place(image.array, image, InputSpec.model_validate(defaults | spec))


def numbered(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_there_are_48_orientations():
    assert len(set(CODES)) == 48


@settings(max_examples=40, deadline=None)
@given(have=orientations, want=orientations, shape=shapes, spacing=spacings)
def test_a_turn_moves_every_voxel_to_the_same_place_in_the_patient_and_back(have, want, shape, spacing):
    array = numbered(shape)
    turn = turn_between(have, want)
    turned = turn.apply(array)
    np.testing.assert_array_equal(turn.undo(turned), array)
    affine = affine_of(have, spacing)
    assert orientation_of(affine) == have
    # a step along a new axis is a step to its side of the patient: where do old index and new index of a voxel lie?
    at = tuple(n - 1 for n in shape)
    new = tuple(0 if r else at[o] for o, r in zip(turn.order, turn.reverse, strict=True))
    assert turned[new] == array[at]
    step = affine[:3, :3][:, turn.order] * np.where(turn.reverse, -1, 1)
    assert orientation_of(np.block([[step, np.zeros((3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]])) == want


@settings(max_examples=40, deadline=None)
@given(have=orientations, want=orientations, shape=shapes, spacing=spacings)
def test_turned_and_restored_is_what_it_was(have, want, shape, spacing):
    image = image_of(numbered(shape), have, spacing)
    array, placement = placed(image, orientation=want)
    np.testing.assert_array_equal(restore(array[0], placement), image.array[0])


@settings(max_examples=40, deadline=None)
@given(have=orientations, shape=shapes, wanted=shapes, spacing=spacings)
def test_padded_and_cropped_and_restored_keeps_what_the_model_saw(have, shape, wanted, spacing):
    image = image_of(numbered(shape) + 1, have, spacing)
    array, placement = placed(image, shape=(1, *wanted), fit="pad_or_crop", orientation="RAS", pad_value=0)
    assert array.shape == (1, *wanted)
    back = restore(array[0], placement)
    assert back.shape == shape
    seen = back != 0
    np.testing.assert_array_equal(back[seen], image.array[0][seen])
    turned = tuple(shape[o] for o in placement.turn.order)
    assert seen.sum() == np.prod(np.minimum(turned, wanted))


@settings(max_examples=40, deadline=None)
@given(have=orientations, shape=shapes, spacing=spacings, finer=st.tuples(*[st.integers(1, 4)] * 3))
def test_resampled_to_whole_fractions_and_restored_is_what_it_was(have, shape, spacing, finer):
    image = image_of(numbered(shape), have, spacing)
    turn = turn_between(have, "RAS")
    target = tuple(s / f for s, f in zip(turn.of(spacing), finer, strict=True))
    array, placement = placed(image, orientation="RAS", spacing_mm=target, resample="nearest", spacing_tolerance=0)
    np.testing.assert_array_equal(restore(array[0], placement), image.array[0])


@settings(max_examples=40, deadline=None)
@given(shape=shapes, factor=st.floats(0.2, 5.0))
def test_linear_resampling_keeps_a_linear_ramp_and_the_range(shape, factor):
    ramp = np.add.outer(np.add.outer(np.arange(shape[0]), 2.0 * np.arange(shape[1])), 3.0 * np.arange(shape[2]))
    image = image_of(ramp.astype(np.float32), "RAS", (1.0, 1.0, 1.0))
    array, _ = placed(image, spacing_mm=(factor,) * 3, resample="linear", spacing_tolerance=0)
    at = [np.minimum(np.arange(n) * factor, size - 1) for n, size in zip(array.shape[1:], shape, strict=True)]
    expected = np.add.outer(np.add.outer(at[0], 2 * at[1]), 3 * at[2])
    np.testing.assert_allclose(array[0], expected, atol=1e-3)


@settings(max_examples=60, deadline=None)
@given(
    order=st.permutations([0, 1, 2]),
    flips=st.tuples(*[st.sampled_from([1, -1])] * 3),
    dtype=st.sampled_from(["u1", "i2", "f4", "f8", "i4"]),
    channels=st.sampled_from([(), (1,), (2,)]),
    shape=shapes,
)
def test_c_order_is_numpys(order, flips, dtype, channels, shape):
    from evalsuite.imaging import layout

    array = np.arange(np.prod(channels + shape), dtype=dtype).reshape(channels + shape)
    ahead = len(channels)
    turned = array.transpose(*range(ahead), *(ahead + o for o in order))[(..., *(slice(None, None, f) for f in flips))]
    with patch.object(layout, "_SMALL", 0):
        found = layout.in_c_order(turned)
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, turned)


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=3, max_side=9), elements=st.integers(0, 3)))
def test_run_lengths_round_trip_and_count(labels):
    runs = encode(labels)
    np.testing.assert_array_equal(decode(runs), labels)
    np.testing.assert_array_equal(runs.counts(4), np.bincount(labels.ravel(), minlength=4))
    assert len(runs.labels) == 0 or (np.diff(runs.labels.astype(int)) != 0).all()


@settings(max_examples=15, deadline=None)
@given(
    masks=st.lists(hnp.arrays(np.uint8, (2, 3, 4), elements=st.integers(0, 2)), min_size=1, max_size=5),
    spacing=st.none() | spacings,
)
def test_masks_come_back_from_their_file_and_the_bytes_are_the_same(masks, spacing, tmp_path_factory):
    folder = tmp_path_factory.mktemp("masks")
    affine = None if spacing is None else as_affine(affine_of("LIA", spacing))
    stored = [
        StoredMask(
            case_id=f"c{i}",
            output="seg",
            channel=None if i % 2 else "b",
            classes=("a", "b", "c"),
            grid=Grid(shape=(2, 3, 4), spacing_mm=spacing, affine=affine),
            runs=encode(labels),
        )
        for i, labels in enumerate(masks)
    ]
    write_masks(folder / "masks-00000.parquet", stored)
    write_masks(folder / "again.parquet", stored)
    assert (folder / "masks-00000.parquet").read_bytes() == (folder / "again.parquet").read_bytes()
    found = list(read_masks(folder))
    assert [m.digest for m in found] == [m.digest for m in stored]
    for mask, labels in zip(found, masks, strict=True):
        np.testing.assert_array_equal(mask.labels(), labels)
    assert len({m.digest for m in stored}) == len(stored)


def test_a_run_longer_than_its_counter_is_cut():
    with patch("evalsuite.inference.masks.LONGEST_RUN", 10):
        labels = np.repeat(np.array([0, 1, 0], np.uint8), [25, 3, 10])
        runs = encode(labels)
        assert runs.lengths.tolist() == [10, 10, 5, 3, 10]
        np.testing.assert_array_equal(decode(runs), labels)


@pytest.mark.parametrize("step", [0.5, 0.7, 1.3, 2.0])
def test_resampling_equals_monais_spacing(step):
    from monai.data import MetaTensor
    from monai.transforms import Spacing

    array = np.random.default_rng(1).random((9, 8, 7)).astype(np.float32)
    image = image_of(array, "RAS", (1.0, 1.0, 1.0))
    ours, _ = placed(image, spacing_mm=(step,) * 3, resample="linear", spacing_tolerance=0)
    reference = MetaTensor(torch.from_numpy(array[np.newaxis]), affine=torch.eye(4, dtype=torch.float64))
    theirs = np.asarray(
        Spacing(pixdim=(step,) * 3, mode="bilinear", padding_mode="border", dtype=np.float64)(reference)
    )
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=1e-5)

"""From stored pixels to model input: ranges, colours, sizes; nothing changed that the contract does not name."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evalsuite.errors import ImageError
from evalsuite.imaging import Image
from evalsuite.models.contract import InputSpec
from evalsuite.models.preprocess import normalise, prepare


def image(array, full=None, kind="raster"):
    if full is None and array.dtype.kind == "u":
        full = (0.0, float(np.iinfo(array.dtype).max))
    return Image(array=array, full_range=full, kind=kind)


def through(array, spec, **kwargs):
    return normalise(torch.from_numpy(prepare(image(array, **kwargs), spec)[np.newaxis]), spec)[0].numpy()


def test_full_range_of_the_type_is_the_default():
    spec = InputSpec(shape=(1, None, None), value_range=(-1, 1))
    eight = np.array([[[0, 255]]], np.uint8)
    sixteen = np.array([[[0, 65535]]], np.uint16)
    assert prepare(image(eight), spec).dtype == np.uint8
    assert prepare(image(sixteen), spec).dtype == np.uint16
    np.testing.assert_array_equal(through(eight, spec), [[[-1, 1]]])
    np.testing.assert_array_equal(through(sixteen, spec), [[[-1, 1]]])


def test_twelve_bits_reach_the_full_range():
    spec = InputSpec(shape=(1, None, None))
    twelve = np.array([[[0, 4095]]], np.uint16)
    np.testing.assert_array_equal(through(twelve, spec, full=(0.0, 4095.0), kind="dicom"), [[[0, 1]]])


def test_values_without_a_natural_range_need_a_declared_one():
    hounsfield = np.array([[[-1000.0, 0.0, 400.0]]], np.float32)
    with pytest.raises(ImageError) as caught:
        through(hounsfield, InputSpec(shape=(1, None, None)), kind="dicom")
    assert caught.value.code == "range"
    spec = InputSpec(shape=(1, None, None), source_range=(-1000, 0), clip=True)
    np.testing.assert_allclose(through(hounsfield, spec, kind="dicom"), [[[0, 1, 1]]])


@pytest.mark.parametrize(("dtype", "source"), [(np.uint16, (0, 255)), (np.uint8, (0, 65535)), (np.uint16, (0, 4095))])
def test_depth_unlike_the_contract_is_refused(dtype, source):
    spec = InputSpec(shape=(1, None, None), source_range=source)
    with pytest.raises(ImageError) as caught:
        prepare(image(np.full((1, 2, 2), np.iinfo(dtype).max, dtype)), spec)
    assert caught.value.code == "range"


def test_channels_and_sizes_are_named_on_both_sides():
    rgb, grey = np.zeros((3, 4, 5), np.uint8), np.zeros((1, 4, 5), np.uint8)
    with pytest.raises(ImageError, match="has 1 channel, the model's contract takes 3") as caught:
        prepare(image(grey), InputSpec(shape=(3, 4, 5), colour="RGB"))
    assert caught.value.code == "channels"
    with pytest.raises(ImageError, match="has 3 channels"):
        prepare(image(rgb), InputSpec(shape=(1, 4, 5)))
    with pytest.raises(ImageError, match="4 × 5 pixels, the model's contract takes 5 × 4") as caught:
        prepare(image(rgb), InputSpec(shape=(3, 5, 4)))
    assert caught.value.code == "size"
    assert prepare(image(rgb), InputSpec(shape=(3, 5, 4), transpose=True)).shape == (3, 5, 4)
    assert prepare(image(rgb), InputSpec(shape=(None, None, None))).shape == (3, 4, 5)


def test_declared_colour_conversions():
    grey = np.array([[[7, 9]]], np.uint8)
    out = prepare(image(grey), InputSpec(shape=(3, None, None), colour="RGB", convert_colour="replicate"))
    assert out.tolist() == [[[7, 9]]] * 3
    rgb = np.array([[[255]], [[0]], [[0]]], np.uint8)
    out = prepare(image(rgb), InputSpec(shape=(1, None, None), colour="L", convert_colour="luma"))
    assert out.tolist() == [[[76]]]  # 0.299 × 255 = 76.2


def test_mean_and_std_per_channel():
    spec = InputSpec(shape=(3, 1, 1), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    out = through(np.full((3, 1, 1), 255, np.uint8), spec)[:, 0, 0]
    np.testing.assert_allclose(out, [2.2489083, 2.4285715, 2.64], rtol=1e-6)  # torchvision's well-known maxima


def test_minmax_and_zscore_per_image():
    a = np.array([[[1.0, 2.0, 5.0]]], np.float32)
    low_high = InputSpec(shape=(1, None, None), normalise="minmax", value_range=(-1, 1))
    np.testing.assert_allclose(through(a, low_high), [[[-1, -0.5, 1]]])
    np.testing.assert_allclose(through(np.full_like(a, 3), low_high), [[[-1, -1, -1]]])
    z = InputSpec(shape=(1, None, None), normalise="zscore")
    np.testing.assert_allclose(through(a, z)[0, 0], (a[0, 0] - a.mean()) / a.std(), rtol=1e-6)
    none = InputSpec(shape=(1, None, None), normalise="none")
    np.testing.assert_array_equal(through(a, none), a)


def test_resize_only_when_declared_keeps_the_range():
    ramp = np.tile(np.linspace(0, 255, 8).astype(np.uint8), (1, 8, 1))
    for how in ("area", "bilinear"):
        out = through(ramp, InputSpec(shape=(1, 4, 4), resize=how))
        assert out.shape == (1, 4, 4)
        np.testing.assert_allclose(out[0, 0], ramp[0, 0].reshape(4, 2).mean(1) / 255, atol=1e-6)


def test_an_integer_batch_and_its_float_twin_agree():
    rng = np.random.default_rng(5)
    batch = torch.from_numpy(rng.integers(0, 256, (4, 3, 6, 6), dtype=np.uint8))
    spec = InputSpec(shape=(3, None, None), source_range=(0, 255), value_range=(-1, 1))
    torch.testing.assert_close(normalise(batch, spec), normalise(batch.float(), spec), rtol=0, atol=0)
    torch.testing.assert_close(normalise(batch, spec)[1:2], normalise(batch[1:2], spec), rtol=0, atol=0)

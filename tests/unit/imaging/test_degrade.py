"""Degradation ladders: the realised amount of every severity, measured on the result, against the declared one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from evalsuite.errors import ImageError
from evalsuite.imaging.degrade import CHECKS, KINDS, LADDERS, degrade
from evalsuite.imaging.degrade_geometry import slice_axis
from evalsuite.imaging.degrade_intensity import _STAINS
from evalsuite.imaging.degrade_scene import Scene
from evalsuite.imaging.image import Image


def smooth(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """A picture with structure at all scales, from 0 to 1."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    x = sum(gaussian_filter(rng.standard_normal(shape), s) * s ** (len(shape) / 2) for s in (1, 3, 8))
    return (x - x.min()) / np.ptp(x)


def plane(channels: int = 1, low: float = 60, high: float = 200) -> Image:
    x = np.stack([smooth((96, 80), seed) for seed in range(channels)])
    return Image(array=np.rint(low + (high - low) * x).astype(np.uint8), full_range=(0.0, 255.0), kind="raster")


def volume(dtype: type = np.float32) -> Image:
    x = 2000.0 * smooth((12, 48, 40)) - 1000.0
    return Image(array=x[None].astype(dtype), full_range=None, kind="nifti", spacing_mm=(5.0, 0.8, 0.8))


def change(before: Image, after: Image) -> np.ndarray:
    return after.array.astype(np.float64) - before.array.astype(np.float64)


def psnr(before: Image, after: Image) -> float:
    span = 255.0 if before.full_range else float(np.ptp(np.percentile(before.array.astype(float), [0.5, 99.5])))
    return 10.0 * math.log10(span**2 / float((change(before, after) ** 2).mean()))


def impulse(kind: str, value: float, spacing: tuple[float, ...] | None = None) -> float:
    """SD of the answer to a point, along the last axis, in pixels."""
    x = np.zeros((1, 201, 201))
    x[0, 100, 100] = 1000.0
    made = degrade(
        Image(array=x, full_range=None, kind="nifti", spacing_mm=spacing), kind, value, seed=1, case_id="c"
    ).array[0]
    line = made.sum(axis=0)
    place = np.arange(201)
    mean = (place * line).sum() / line.sum()
    return math.sqrt(((place - mean) ** 2 * line).sum() / line.sum())


def concentration(image: Image) -> float:
    density = -np.log((image.array.astype(np.float64) + 1.0) / 256.0).reshape(3, -1)
    stains = _STAINS / np.linalg.norm(_STAINS, axis=1, keepdims=True)
    return float(np.clip(np.linalg.solve(stains.T, density)[0], 0.0, None).sum())


def tissue() -> Image:
    """Haematoxylin and eosin of known amounts."""
    stains = _STAINS / np.linalg.norm(_STAINS, axis=1, keepdims=True)
    amounts = np.stack([0.3 + smooth((96, 80), 1), 0.3 + smooth((96, 80), 2), np.zeros((96, 80))]).reshape(3, -1)
    rgb = 256.0 * np.exp(-(stains.T @ amounts)).reshape(3, 96, 80) - 1.0
    return Image(array=np.rint(np.clip(rgb, 0, 255)).astype(np.uint8), full_range=(0.0, 255.0), kind="raster")


def above(image: Image) -> float:
    return float(image.array.astype(np.float64).mean())


def turned(degrees: float) -> float:
    """The angle of a straight edge through the middle, after the turn."""
    rows, columns = np.mgrid[-64:65, -64:65]
    made = degrade(
        Image(array=np.where(rows < 0, 1.0, 0.0)[None], full_range=(0.0, 1.0), kind="windowed"),
        "rotation", degrees, seed=1, case_id="c",
    ).array[0]  # fmt: skip
    fall = np.gradient(made)
    near = np.hypot(rows, columns) < 40
    return abs(math.degrees(math.atan2(fall[1][near].sum(), -fall[0][near].sum())))


def enlarged(percent: float) -> float:
    """Per cent cut from each side, from the slope of a ramp."""
    ramp = np.tile(np.arange(201.0), (201, 1))[None]
    made = degrade(Image(array=ramp, full_range=None, kind="nifti"), "crop", percent, seed=1, case_id="c").array[0]
    return 50.0 * (1.0 - float(np.diff(made[100]).mean()))


def frequencies(image: Image) -> float:
    spectrum = np.abs(np.fft.fft2(image.array[0].astype(np.float64), axes=(-2, -1))).max(axis=0)
    return float((spectrum.max(axis=0) > 1e-3 * spectrum.max() * 1e-3).mean())


def measured(kind: str, value: float) -> float:
    """What a severity comes to on an image made for it, in its own unit."""
    if kind in ("noise", "dose", "speckle"):
        before = plane()
        return psnr(before, degrade(before, kind, value, seed=1, case_id="c"))
    if kind in ("rician", "motion"):
        before = volume()
        return psnr(before, degrade(before, kind, value, seed=1, case_id="c"))
    if kind in ("noise_hu", "streak"):
        before = volume(np.int16)
        return float(change(before, degrade(before, kind, value, seed=1, case_id="c")).std())
    if kind == "hu_offset":
        before = volume(np.int16)
        return float(change(before, degrade(before, kind, value, seed=1, case_id="c")).mean())
    if kind == "contrast":
        before = plane()
        return float(degrade(before, kind, value, seed=1, case_id="c").array.std() / before.array.std())
    if kind == "gain":
        before = plane()
        return above(degrade(before, kind, value, seed=1, case_id="c")) / above(before)
    if kind == "gain_db":
        before = plane(low=20, high=100)
        return 20.0 * math.log10(above(degrade(before, kind, value, seed=1, case_id="c")) / above(before))
    if kind == "depth":
        before = plane(low=150, high=250)
        bottom = degrade(before, kind, value, seed=1, case_id="c").array[0, -1].mean() / before.array[0, -1].mean()
        return -20.0 * math.log10(bottom)
    if kind == "bias_field":
        flat = Image(array=np.full((1, 40, 40), 100.0), full_range=(0.0, 1000.0), kind="windowed")
        return float(np.ptp(degrade(flat, kind, value, seed=1, case_id="c").array))
    if kind == "vignette":
        flat = Image(array=np.full((1, 40, 40), 100.0), full_range=(0.0, 255.0), kind="windowed")
        return 100.0 - float(degrade(flat, kind, value, seed=1, case_id="c").array[0, 0, 0])
    if kind == "cast":
        before = plane(3)
        after = degrade(before, kind, value, seed=1, case_id="c").array
        assert np.array_equal(after[:2], before.array[:2])
        return 100.0 * (1.0 - after[2].mean() / before.array[2].mean())
    if kind == "stain":
        before = tissue()
        after = degrade(before, kind, value, seed=1, case_id="c")
        return 100.0 * (1.0 - concentration(after) / concentration(before))
    if kind == "hair":
        before = plane(3)
        return 100.0 * float((change(before, degrade(before, kind, value, seed=1, case_id="c")) != 0).any(0).mean())
    if kind == "blur":
        return impulse(kind, value) / 201 * 100
    if kind == "blur_mm":
        return impulse(kind, value, (0.3, 0.3)) * 0.3
    if kind == "slice_thickness":
        x = np.zeros((1, 21, 8, 8))
        x[:, 10] = 1.0
        point = Image(array=x, full_range=None, kind="nifti", spacing_mm=(5.0, 1.0, 1.0))
        return 1.0 / float(degrade(point, kind, value, seed=1, case_id="c").array.max())
    if kind == "spacing":
        one = Image(array=np.eye(240)[None], full_range=None, kind="nifti")
        # The matrix of the resampling times its transpose: its rank is the number of coarse pixels.
        return 240.0 / float(np.linalg.matrix_rank(degrade(one, kind, value, seed=1, case_id="c").array[0]))
    if kind == "gibbs":
        noise = Image(array=np.random.default_rng(1).random((1, 1, 100, 100)), full_range=None, kind="nifti")
        return frequencies(degrade(noise, kind, value, seed=1, case_id="c"))
    if kind == "ghosting":
        point = np.zeros((1, 64, 64))
        point[0, 10, 20] = 1000.0
        made = degrade(Image(array=point, full_range=(0.0, 2000.0), kind="windowed"), kind, value, seed=1, case_id="c")
        return float(made.array[0, 42, 20]) / 10.0
    if kind == "rotation":
        return turned(value)
    if kind == "crop":
        return enlarged(value)
    raise AssertionError(kind)


SIMPLE = sorted({(kind, value) for ladder in LADDERS.values() for kind, values in ladder.items() for value in values})


@pytest.mark.parametrize(("kind", "value"), [s for s in SIMPLE if s[0] != "jpeg"])
def test_the_realised_amount_is_the_declared_one(kind, value):
    assert measured(kind, value) == pytest.approx(value, rel=0.05)


def test_no_kind_of_any_ladder_goes_unmeasured():
    kinds = {kind for kind, _ in SIMPLE}
    assert kinds == set(KINDS) - set(CHECKS)
    assert len(kinds) == 26


@pytest.mark.parametrize("quality", LADDERS["xray"]["jpeg"])
def test_compression_is_that_of_another_encoder_at_this_quality(quality, tmp_path):
    from PIL import Image as Picture

    before = plane()
    after = degrade(before, "jpeg", quality, seed=1, case_id="c").array[0]
    Picture.fromarray(before.array[0]).save(tmp_path / "x.jpg", quality=int(quality))
    other = np.asarray(Picture.open(tmp_path / "x.jpg"))
    assert np.abs(after.astype(float) - other).mean() < 0.5


@pytest.mark.parametrize("modality", LADDERS)
def test_a_ladder_goes_down_and_keeps_type_size_and_place(modality):
    before = volume(np.int16) if modality in ("ct", "mr") else tissue()
    for kind, values in LADDERS[modality].items():
        far = []
        for value in values:
            after = degrade(before, kind, value, seed=3, case_id="c")
            again = degrade(before, kind, value, seed=3, case_id="c")
            assert np.array_equal(after.array, again.array), kind
            assert (after.array.dtype, after.array.shape) == (before.array.dtype, before.array.shape)
            assert (after.grid, after.full_range) == (before.grid, before.full_range)
            far.append(float((change(before, after) ** 2).mean()))
        assert all(b > a for a, b in itertools.pairwise(far)), (kind, far)


def test_severities_of_a_case_share_their_chance_and_cases_do_not():
    before = volume(np.float32)
    weak, strong = (degrade(before, "noise_hu", v, seed=1, case_id="c") for v in (10.0, 20.0))
    np.testing.assert_allclose(change(before, strong), 2.0 * change(before, weak), atol=1e-3)
    other = degrade(before, "noise_hu", 10.0, seed=1, case_id="d")
    seeded = degrade(before, "noise_hu", 10.0, seed=2, case_id="c")
    assert not np.array_equal(weak.array, other.array)
    assert not np.array_equal(weak.array, seeded.array)


def test_checks_change_no_value():
    before = plane()
    for kind in CHECKS:
        after = degrade(before, kind, 0.0, seed=1, case_id="c")
        assert np.array_equal(np.sort(after.array, axis=None), np.sort(before.array, axis=None))
    assert np.array_equal(degrade(before, "identity", 0.0, seed=1, case_id="c").array, before.array)
    assert np.array_equal(
        degrade(before, "flip_horizontal", 0.0, seed=1, case_id="c").array[0, :, 0], before.array[0, :, -1]
    )


def test_what_an_image_lacks_is_said():
    grey, flat = plane(), Image(array=np.zeros((1, 9, 9)), full_range=None, kind="nifti")
    for kind in ("cast", "stain"):
        with pytest.raises(ImageError, match="colour"):
            degrade(grey, kind, 10.0, seed=1, case_id="c")
    with pytest.raises(ImageError, match="slices"):
        degrade(grey, "slice_thickness", 2.0, seed=1, case_id="c")
    with pytest.raises(ImageError, match="spacing"):
        degrade(grey, "blur_mm", 1.0, seed=1, case_id="c")
    with pytest.raises(ImageError, match="JPEG"):
        degrade(volume(), "jpeg", 50.0, seed=1, case_id="c")
    assert np.isfinite(degrade(flat, "dose", 40.0, seed=1, case_id="c").array).all()


def test_slices_run_along_the_coarsest_axis():
    scene = Scene(low=None, high=None, base=0.0, span=1.0, spacing_mm=(0.8, 0.8, 5.0), rng=np.random.default_rng(0))
    assert slice_axis(np.zeros((1, 9, 9, 9)), scene) == 3
    assert set(KINDS) >= {kind for ladder in LADDERS.values() for kind in ladder}

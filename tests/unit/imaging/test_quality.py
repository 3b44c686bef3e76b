"""Numbers of how an image looks, against what is known of images made for it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from evalsuite.errors import ImageError
from evalsuite.imaging.image import Image
from evalsuite.imaging.quality import FEATURES, plane_of, quality, quality_of_files


def _smooth(size: int = 128) -> np.ndarray:
    x = np.linspace(0, 2 * np.pi, size)
    return 500 + 200 * np.sin(x)[:, None] * np.cos(x)[None, :]


def test_noise_is_the_noise_that_was_added() -> None:
    """Immerkær's estimate of white noise on a smooth image: within 3 % of its standard deviation."""
    rng = np.random.default_rng(1)
    for sigma in (5.0, 20.0):
        noisy = _smooth() + rng.normal(0, sigma, (128, 128))
        found = quality(noisy)
        assert found["noise"] * found["contrast"] == pytest.approx(sigma, rel=0.03)


def test_brightness_contrast_and_exposure_by_hand() -> None:
    ramp = np.tile(np.arange(101.0), (101, 1))
    found = quality(ramp)
    assert found["mean"] == pytest.approx(50.0)
    assert found["sd"] == pytest.approx(math.sqrt((101**2 - 1) / 12))
    assert found["contrast"] == pytest.approx(90.0)
    assert found["exposure"] == pytest.approx(0.5)
    # A slope has neither noise nor edges.
    assert found["noise"] == pytest.approx(0.0, abs=1e-12)
    assert found["sharpness"] == pytest.approx(0.0, abs=1e-12)
    assert (found["rows"], found["columns"]) == (101.0, 101.0)
    assert quality(ramp**3)["exposure"] < 0.25


def test_sharpness_of_a_chessboard_and_of_a_blurred_one() -> None:
    board = np.indices((64, 64)).sum(axis=0) % 2 * 1.0
    # Every neighbour differs by one: the Laplacian is 4 or −4, the variance of the board a quarter.
    assert quality(board)["sharpness"] == pytest.approx(16.0 / 0.25)
    blurred = (board + np.roll(board, 1, 0) + np.roll(board, 1, 1) * 0.5) / 2.5
    coarse = np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.ones((8, 8)))
    assert quality(coarse)["sharpness"] < 3.0
    assert quality(blurred)["sharpness"] <= quality(board)["sharpness"]


def test_a_change_of_units_changes_only_what_has_units() -> None:
    rng = np.random.default_rng(2)
    plane = _smooth() + rng.normal(0, 10, (128, 128))
    one, other = quality(plane), quality(3.0 * plane - 1000.0)
    for name in ("noise", "sharpness", "exposure"):
        assert other[name] == pytest.approx(one[name], rel=1e-9)
    for name in ("sd", "contrast"):
        assert other[name] == pytest.approx(3.0 * one[name], rel=1e-9)


def test_what_is_not_defined_is_not_a_number() -> None:
    flat = quality(np.full((8, 8), 7.0))
    assert {n for n in FEATURES if math.isnan(flat[n])} == {"contrast", "exposure", "noise", "sharpness"}
    assert math.isnan(quality(np.array([[0.0, 1.0], [2.0, 3.0]]))["sharpness"])
    gap = quality(np.where(np.eye(8) > 0, np.nan, 1.0))
    assert {n for n in FEATURES if not math.isnan(gap[n])} == {"rows", "columns"}


def test_colour_is_seen_as_grey_and_a_volume_by_its_middle(tmp_path: Path) -> None:
    colour = np.zeros((3, 4, 4), dtype=np.uint8)
    colour[0] = 100
    image = Image(array=colour, full_range=(0, 255), kind="raster")
    assert plane_of(image) == pytest.approx(np.full((4, 4), 29.9))
    volume = np.arange(5.0)[None, None, None, :] * np.ones((1, 3, 4, 5))
    assert (plane_of(Image(array=volume, full_range=None, kind="nifti")) == 2.0).all()
    frames = np.arange(3.0)[None, :, None, None] * np.ones((1, 3, 4, 5))
    assert (plane_of(Image(array=frames, full_range=None, kind="dicom")) == 1.0).all()
    rng = np.random.default_rng(3)
    pages = [Picture.fromarray(rng.integers(0, 255, (16, 12), dtype=np.uint8)) for _ in range(3)]
    pages[0].save(tmp_path / "cine.tif", save_all=True, append_images=pages[1:])
    middle = quality_of_files([tmp_path / "cine.tif"])
    assert middle["mean"] == pytest.approx(float(np.asarray(pages[1]).mean()))
    pages[2].save(tmp_path / "one.png")
    assert quality_of_files([tmp_path / "one.png"])["columns"] == 12.0
    (tmp_path / "no.png").write_bytes(b"not an image")
    with pytest.raises(ImageError):
        quality_of_files([tmp_path / "no.png"])

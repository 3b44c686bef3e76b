"""PNG, JPEG and TIFF: depth and colour kept, transparency, several frames and damage refused by code."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from evalsuite.errors import ImageError
from evalsuite.imaging import read_image

RNG = np.random.default_rng(1)
GREY8 = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (6, 9), dtype=np.uint16)
RGB = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


def code_of(path, **kwargs):
    with pytest.raises(ImageError) as caught:
        read_image(path, **kwargs)
    assert str(path.parent) not in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("array", [GREY8, GREY16, RGB], ids=["grey8", "grey16", "rgb"])
def test_lossless_files_come_back_bit_for_bit(array, ending, tmp_path):
    path = tmp_path / f"a.{ending}"
    Pillow.fromarray(array).save(path)
    image = read_image(path)
    expected = array[np.newaxis] if array.ndim == 2 else array.transpose(2, 0, 1)
    np.testing.assert_array_equal(image.array, expected)
    assert image.array.dtype == array.dtype
    assert image.array.flags.c_contiguous
    assert image.full_range == (0, np.iinfo(array.dtype).max)
    assert image.notes == ()


def test_sixteen_bit_colour(tmp_path):
    wide = RNG.integers(0, 65536, (6, 9, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), wide[:, :, ::-1])
    # Pillow knows no 16-bit colour and reports 8 bits; OpenCV decodes all of it
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").array, wide.transpose(2, 0, 1))


def test_jpeg_equals_pillow(tmp_path):
    smooth = cv2.resize(RGB, (64, 48))
    for mode in ("RGB", "L"):
        Pillow.fromarray(smooth).convert(mode).save(tmp_path / "a.jpg", quality=90)
        expected = np.asarray(Pillow.open(tmp_path / "a.jpg"))
        expected = expected[np.newaxis] if mode == "L" else expected.transpose(2, 0, 1)
        np.testing.assert_array_equal(read_image(tmp_path / "a.jpg").array, expected)


def test_palette_becomes_rgb(tmp_path):
    indexed = Pillow.fromarray(RGB).convert("P", palette=Pillow.Palette.ADAPTIVE)
    indexed.save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.png").array, np.asarray(indexed.convert("RGB")).transpose(2, 0, 1)
    )


@pytest.mark.parametrize("mode", ["RGBA", "LA", "CMYK"])
def test_transparency_and_print_colours_are_refused(mode, tmp_path):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Pillow.fromarray(RGB).convert(mode).save(path)
    assert code_of(path) == "channels"


def test_orientation_is_not_applied_and_noted(tmp_path):
    exif = Pillow.Exif()
    exif[0x0112] = 6
    Pillow.fromarray(RGB).save(tmp_path / "a.jpg", exif=exif)
    image = read_image(tmp_path / "a.jpg")
    assert image.array.shape == (3, 6, 9)
    assert any("EXIF" in note for note in image.notes)


def test_several_pages(tmp_path):
    pages = [Pillow.fromarray(np.full((4, 5), i, np.uint8)) for i in range(3)]
    path = tmp_path / "a.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    assert code_of(path) == "multiframe"
    assert code_of(path, frame=3) == "multiframe"
    assert read_image(path, frame=2).array.max() == 2


@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files_never_come_back_as_images(ending, share, tmp_path):
    buffer = io.BytesIO()
    Pillow.fromarray(cv2.resize(RGB, (64, 48))).save(buffer, {"png": "PNG", "jpg": "JPEG", "tif": "TIFF"}[ending])
    whole = buffer.getvalue()
    path = tmp_path / f"a.{ending}"
    path.write_bytes(whole[: int(len(whole) * share)])
    assert code_of(path) in ("truncated", "unreadable")


def test_empty_text_folder_missing_and_window(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not an image")
    Pillow.fromarray(GREY8).save(tmp_path / "ok.png")
    assert code_of(tmp_path / "empty.png") == "empty"
    assert code_of(tmp_path / "text.png") == "unreadable"
    assert code_of(tmp_path / "none.png") == "unreadable"
    assert code_of(tmp_path) == "series"
    assert code_of(tmp_path / "ok.png", window=(40.0, 80.0)) == "window"
    assert read_image(tmp_path / "ok.png", window="none", frame=0).array.shape == (1, 6, 9)


def test_a_slide_is_told_by_its_size_without_decoding_it(tmp_path):
    import struct

    from evalsuite.imaging.raster import is_large, is_tiff

    def header(side: int) -> bytes:
        tags = [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
                (277, 3, 1, 1), (278, 4, 1, side), (279, 4, 1, 1)]  # fmt: skip
        entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
        return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0" * 4

    assert is_tiff(header(10))
    assert [is_large(header(side)) for side in (100, 10_000, 12_000, 60_000)] == [False, False, True, True]
    assert not is_large(b"II*\0damaged")

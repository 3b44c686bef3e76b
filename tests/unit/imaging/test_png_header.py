"""The quick look at a PNG's head says what Pillow says, or nothing."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from evalsuite.imaging.png_header import plain_png

RNG = np.random.default_rng(1)
PLAIN = {
    "L": RNG.integers(0, 256, (6, 9), dtype=np.uint8),
    "I;16": RNG.integers(0, 65536, (6, 9), dtype=np.uint16),
    "RGB": RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8),
}


def png(image: Pillow.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def by_pillow(data: bytes) -> tuple[str, int, bool]:
    with Pillow.open(io.BytesIO(data)) as image:
        return image.mode, int(getattr(image, "n_frames", 1)), "transparency" in image.info


@pytest.mark.parametrize("mode", PLAIN)
def test_a_plain_file_is_recognised(mode):
    image = Pillow.fromarray(PLAIN[mode])
    for data in (png(image), png(image, dpi=(300, 300))):
        assert plain_png(data) == mode
        assert by_pillow(data) == (mode, 1, False)


def test_anything_else_is_left_to_pillow():
    image = Pillow.fromarray(PLAIN["RGB"])
    text = PngInfo()
    text.add_text("a", "b")
    exif = Pillow.Exif()
    exif[0x0112] = 6
    grey = Pillow.fromarray(PLAIN["L"])
    others = [
        png(image.convert("RGBA")),
        png(image.convert("P")),
        png(image.convert("1")),
        png(image, transparency=(1, 2, 3)),
        png(image, exif=exif),
        png(image, pnginfo=text),
        png(image, save_all=True, append_images=[image.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT)]),
        png(grey.convert("LA")),
        png(image)[:20],
        b"",
        b"\xff\xd8" + png(image)[2:],
    ]
    assert [plain_png(data) for data in others] == [None] * len(others)


def test_whatever_byte_of_the_head_changes_it_never_contradicts_pillow():
    data = png(Pillow.fromarray(PLAIN["RGB"]), dpi=(72, 72))
    for at in range(data.index(b"IDAT")):
        for change in (1, 4, 32, 128):
            damaged = data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]
            if (mode := plain_png(damaged)) is not None:
                assert by_pillow(damaged) == (mode, 1, False)

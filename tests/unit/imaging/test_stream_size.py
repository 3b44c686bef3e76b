"""The size of a compressed frame is known before it is decoded, and one that lies is never decoded."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import UID
from test_dicom import dataset, saved

from evalsuite.errors import ImageError
from evalsuite.imaging import dicom_pixels, read_image
from evalsuite.imaging.stream_size import jpeg2000_size, jpeg_size

GREY = np.random.default_rng(0).integers(0, 4096, (24, 20)).astype(np.uint16)
COLOUR = np.random.default_rng(1).integers(0, 256, (24, 20, 3), dtype=np.uint8)
STREAMS = {
    "1.2.840.10008.1.2.4.50": imagecodecs.jpeg8_encode((GREY >> 4).astype(np.uint8)),
    "1.2.840.10008.1.2.4.70": imagecodecs.ljpeg_encode(GREY, bitspersample=12),
    "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_encode(GREY),
    "1.2.840.10008.1.2.4.90": imagecodecs.jpeg2k_encode(GREY, codecformat="j2k", reversible=True),
    "1.2.840.10008.1.2.4.201": imagecodecs.htj2k_encode(GREY),
}


WIDE = {"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201"}  # sizes of four bytes


def size_of(syntax: str, data: bytes):
    return (jpeg2000_size if syntax in WIDE else jpeg_size)(data)


@pytest.mark.parametrize("syntax", STREAMS)
def test_sizes_are_those_that_were_encoded(syntax):
    assert size_of(syntax, STREAMS[syntax]) == (24, 20, 1)
    assert jpeg_size(imagecodecs.jpeg8_encode(COLOUR)) == (24, 20, 3)
    assert jpeg2000_size(imagecodecs.htj2k_encode(COLOUR)) == (24, 20, 3)


@pytest.mark.parametrize("lie", [b"\0\0\x40\0", b"\xff\xff\xff\xff"])
@pytest.mark.parametrize("syntax", STREAMS)
def test_a_stream_that_lies_about_its_size_is_refused_and_not_decoded(syntax, lie, tmp_path, monkeypatch):
    stream = STREAMS[syntax]
    # the left edge of the image on its grid, or the number of rows
    place, width = (stream.index(b"\xff\x51") + 14, 4) if syntax in WIDE else (stream.index(b"\0\x18\0\x14"), 2)
    lying = stream[:place] + lie[-width:] + stream[place + width :]
    assert len(lying) == len(stream)
    monkeypatch.setattr(dicom_pixels, "imagecodecs", None)  # using it would be damage of another kind
    array, bits = ((GREY >> 4).astype(np.uint8), 8) if syntax.endswith("50") else (GREY, 12)
    ds = dataset(array, bits=bits, syntax=UID(syntax))
    ds.PixelData = encapsulate([lying])
    with pytest.raises(ImageError, match="state different sizes"):
        read_image(saved(ds, tmp_path / "x.dcm"))


def test_what_is_no_stream_has_no_size():
    for data in (
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xda\0\x02",
        b"\xff\xd8\xff\xe0\xff\xff",
        b"\xff\xd8\xff\xff\xff\xc0\0",
    ):
        assert jpeg_size(data) is None
    for data in (b"", b"\xff\x4f\xff\x51", STREAMS["1.2.840.10008.1.2.4.90"][:40], b"\0" * 300):
        assert jpeg2000_size(data) is None

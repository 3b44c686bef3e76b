"""Every transfer syntax the suite reads: what was stored comes out, or what pydicom's own decoder makes of it.

Lossless syntaxes are compared with the values that were stored. Lossy ones are compared with pydicom's own decoder
(Pillow's libjpeg), and, where it has none (JPEG Extended of 12 bits, JPEG-LS near-lossless), with the stored values
within the error the encoder was allowed.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import UID
from volume_making import dicom_file, save

from evalsuite.imaging import read_image
from evalsuite.imaging.dicom_pixels import SUPPORTED

ROWS, COLUMNS = 40, 56
SMOOTH = np.add.outer(np.arange(ROWS) * 17, np.arange(COLUMNS) * 29)
NOISE = np.random.default_rng(6).integers(0, 64, (ROWS, COLUMNS))
GREY8 = ((SMOOTH // 10 + NOISE) % 256).astype(np.uint8)
GREY12 = ((SMOOTH + NOISE) % 4096).astype(np.uint16)

Encode = Callable[[np.ndarray], bytes]


def jpeg2000(a: np.ndarray, **how: object) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(a, codecformat="j2k", **how))


LOSSLESS: dict[str, Encode] = {
    "1.2.840.10008.1.2.4.57": lambda a: imagecodecs.ljpeg_encode(a, bitspersample=8 if a.dtype == np.uint8 else 12),
    "1.2.840.10008.1.2.4.70": lambda a: imagecodecs.ljpeg_encode(a, bitspersample=8 if a.dtype == np.uint8 else 12),
    "1.2.840.10008.1.2.4.80": lambda a: imagecodecs.jpegls_encode(a),
    "1.2.840.10008.1.2.4.81": lambda a: imagecodecs.jpegls_encode(a),
    "1.2.840.10008.1.2.4.90": lambda a: jpeg2000(a, reversible=True, level=0),
    "1.2.840.10008.1.2.4.91": lambda a: jpeg2000(a, reversible=True, level=0),
    "1.2.840.10008.1.2.4.201": lambda a: imagecodecs.htj2k_encode(a, reversible=True),
    "1.2.840.10008.1.2.4.202": lambda a: imagecodecs.htj2k_encode(a, reversible=True),
    "1.2.840.10008.1.2.4.203": lambda a: imagecodecs.htj2k_encode(a, reversible=True),
}
LOSSY = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"}
WRITTEN_BY_PYDICOM = {
    "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5",
}  # fmt: skip


def encapsulated(path: Path, array: np.ndarray, data: list[bytes], syntax: str, *, bits: int) -> Path:
    ds = dicom_file(array, modality="MR", syntax=UID(syntax))
    ds.BitsStored, ds.HighBit = bits, bits - 1
    ds.PixelData = encapsulate([bytes(d) for d in data])
    ds["PixelData"].is_undefined_length = True
    return save(ds, path)


def test_the_table_is_complete():
    assert LOSSLESS.keys() | LOSSY | WRITTEN_BY_PYDICOM == SUPPORTED


@pytest.mark.parametrize("syntax", sorted(LOSSLESS))
@pytest.mark.parametrize("bits", [8, 12])
def test_lossless_syntaxes_give_what_was_stored(syntax, bits, tmp_path):
    array = GREY8 if bits == 8 else GREY12
    frames = np.stack([array, array[::-1]])
    data = [LOSSLESS[syntax](np.ascontiguousarray(f)) for f in frames]
    path = encapsulated(tmp_path / "a.dcm", frames, data, syntax, bits=bits)
    for i, frame in enumerate(frames):
        image = read_image(path, frame=i)
        np.testing.assert_array_equal(image.array[0], frame)
        assert image.full_range == (0, 2**bits - 1)


@pytest.mark.parametrize("syntax", sorted(WRITTEN_BY_PYDICOM))
def test_syntaxes_that_pydicom_writes(syntax, tmp_path):
    for i, array in enumerate((GREY8, GREY12, np.stack([GREY12, GREY12 // 3]))):
        ds = dicom_file(array, modality="MR")
        if syntax.endswith(".5"):
            ds.compress(UID(syntax), generate_instance_uid=False)
        else:
            ds.file_meta.TransferSyntaxUID = UID(syntax)
            if syntax == "1.2.840.10008.1.2.2":
                ds.PixelData = array.astype(array.dtype.newbyteorder(">")).tobytes()
        buffer = io.BytesIO()
        dcmwrite(buffer, ds, enforce_file_format=True)  # save_as refuses to change the order of bytes
        path = tmp_path / f"{i}.dcm"
        path.write_bytes(buffer.getvalue())
        expected = array if array.ndim == 3 else array[np.newaxis]
        for frame in range(len(expected)):
            np.testing.assert_array_equal(read_image(path, frame=frame).array[0], expected[frame])
        decoder = get_decoder(UID(syntax))
        stored, _ = decoder.as_array(dcmread(path), index=0, raw=True)
        np.testing.assert_array_equal(stored, expected[0])


def test_a_deflated_file_is_deflated(tmp_path):
    ds = dicom_file(GREY12, modality="MR")
    ds.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1.99")
    data = save(ds, tmp_path / "a.dcm").read_bytes()
    start = 132 + 12 + int.from_bytes(data[140:144], "little")
    assert zlib.decompress(data[start:], wbits=-15).count(b"CANARY") == 2


@pytest.mark.parametrize("syntax", sorted(LOSSY))
def test_lossy_jpeg_of_8_bits_is_pydicoms_to_the_bit(syntax, tmp_path):
    data = imagecodecs.jpeg8_encode(GREY8, level=85)
    path = encapsulated(tmp_path / "a.dcm", GREY8, [data], syntax, bits=8)
    stored, _ = get_decoder(UID(syntax)).as_array(dcmread(path), index=0, raw=True, decoding_plugin="pillow")
    np.testing.assert_array_equal(read_image(path).array[0], stored)
    assert np.abs(stored.astype(int) - GREY8).max() > 0


def test_lossy_jpeg_of_12_bits(tmp_path):
    smooth = (SMOOTH % 4096).astype(np.uint16)
    data = imagecodecs.jpeg8_encode(smooth, level=100, bitspersample=12)
    path = encapsulated(tmp_path / "a.dcm", smooth, [data], "1.2.840.10008.1.2.4.51", bits=12)
    image = read_image(path)
    assert (image.array.dtype, image.full_range) == (np.uint16, (0, 4095))
    assert np.abs(image.array[0].astype(int) - smooth).max() <= 8


def test_near_lossless_jpeg_ls_stays_within_its_error(tmp_path):
    data = imagecodecs.jpegls_encode(GREY12, level=3)
    path = encapsulated(tmp_path / "a.dcm", GREY12, [data], "1.2.840.10008.1.2.4.81", bits=12)
    error = np.abs(read_image(path).array[0].astype(int) - GREY12).max()
    assert 0 < error <= 3

"""Stored pixel values of one DICOM frame, decoded by libraries that leave Python's lock free while they work.

pydicom finds the frame, imagecodecs decodes it; uncompressed little-endian data is a view of the bytes read.
"""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import get_j2k_parameters
from pydicom.uid import UID

from evalsuite.errors import ImageError
from evalsuite.imaging.stream_size import jpeg2000_size, jpeg_size

_LITTLE = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"}
_NATIVE = _LITTLE | {"1.2.840.10008.1.2.2"}
_JPEG = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"}
_JPEG_LOSSLESS = {"1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"}
_JPEG_LS = {"1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"}
_JPEG_2000 = {"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"}
_HTJ2K = {"1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203"}
_RLE = {"1.2.840.10008.1.2.5"}
SUPPORTED = _NATIVE | _JPEG | _JPEG_LOSSLESS | _JPEG_LS | _JPEG_2000 | _HTJ2K | _RLE


def stored_values(dataset: Dataset, *, frame: int, name: str) -> tuple[NDArray[np.generic], str]:
    """One frame's stored values, sign and unused bits put right.

    Returns
    -------
    array, photometric
        (rows, columns) or (rows, columns, 3), native integers; and how the decoded values are to be read, which
        differs from the header where the decoder has already converted the colours.

    Raises
    ------
    ImageError
        code transfer_syntax, truncated or unreadable.
    """
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    if syntax not in SUPPORTED:
        known = UID(syntax).name if syntax.startswith("1.2.840.10008.1.2") else "an unknown one"
        raise ImageError(f"{name} uses transfer syntax {known}, which is not supported", code="transfer_syntax")
    photometric = str(dataset.PhotometricInterpretation)
    rows, columns, samples = int(dataset.Rows), int(dataset.Columns), int(dataset.get("SamplesPerPixel", 1))
    allocated, stored = int(dataset.BitsAllocated), int(dataset.get("BitsStored", dataset.BitsAllocated))
    signed = int(dataset.get("PixelRepresentation", 0)) == 1
    if allocated not in (1, 8, 16, 32) or not 1 <= stored <= allocated:
        raise ImageError(f"{name} has an unusual layout of bits ({allocated} allocated, {stored} stored)")
    if int(dataset.get("HighBit", stored - 1)) != stored - 1:
        raise ImageError(f"{name} has an unusual layout of bits (high bit is not the last one stored)")
    bits = stored
    if syntax in _NATIVE:
        array = _native(dataset, frame, syntax, name)
    else:
        data = _encapsulated(dataset, frame)
        array, photometric = _decompress(data, syntax, photometric, dataset, name)
        bits = _precision(data, syntax, default=stored)
    shape = (rows, columns) if samples == 1 else (rows, columns, samples)
    if array.shape != shape:
        raise ImageError(f"{name} is damaged: decoded size and header differ", code="truncated")
    return _bits(array, bits=bits, signed=signed), photometric


def _native(dataset: Dataset, frame: int, syntax: str, name: str) -> NDArray[np.generic]:
    rows, columns, samples = int(dataset.Rows), int(dataset.Columns), int(dataset.get("SamplesPerPixel", 1))
    allocated, photometric = int(dataset.BitsAllocated), str(dataset.PhotometricInterpretation)
    n_values = rows * columns * samples
    subsampled = photometric == "YBR_FULL_422"
    n_bytes = (n_values * (2 if subsampled else samples) // samples * allocated + 7) // 8
    if len(dataset.PixelData) < n_bytes * (frame + 1):
        raise ImageError(f"{name} is truncated: pixel data is shorter than the header says", code="truncated")
    if syntax not in _LITTLE or allocated == 1 or subsampled:
        decoded, _ = get_decoder(UID(syntax)).as_array(dataset, index=frame, raw=True)
        return np.asarray(decoded)
    dtype = np.dtype(f"<u{allocated // 8}")
    array: NDArray[Any] = np.frombuffer(dataset.PixelData, dtype=dtype, count=n_values, offset=frame * n_bytes)
    if samples == 1:
        return array.reshape(rows, columns)
    if int(dataset.get("PlanarConfiguration", 0)) == 1:
        return array.reshape(samples, rows, columns).transpose(1, 2, 0)
    return array.reshape(rows, columns, samples)


def _encapsulated(dataset: Dataset, frame: int) -> bytes:
    table = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    extended = (table[0], table[1]) if table[0] and table[1] else None
    n_frames = int(dataset.get("NumberOfFrames") or 1)
    return get_frame(dataset.PixelData, frame, number_of_frames=n_frames, extended_offsets=extended)


def _decompress(
    data: bytes, syntax: str, photometric: str, dataset: Dataset, name: str
) -> tuple[NDArray[np.generic], str]:
    if syntax in _RLE:
        return _run_length(data, dataset), photometric
    if not data.rstrip(b"\0\xff").endswith(b"\xff\xd9"):
        # libjpeg and OpenJPEG fill what is missing instead of failing
        raise ImageError(f"{name} is truncated: the end-of-image marker is missing", code="truncated")
    samples = int(dataset.get("SamplesPerPixel", 1))
    stated = (jpeg2000_size if syntax in _JPEG_2000 | _HTJ2K else jpeg_size)(data)
    if stated != (int(dataset.Rows), int(dataset.Columns), samples):
        raise ImageError(f"{name} is damaged: its compressed frame and its header state different sizes")
    three = samples == 3
    if syntax in _JPEG:
        if not three:
            return np.asarray(imagecodecs.jpeg8_decode(data)), photometric
        # Colours in the stream are YCbCr unless the header says RGB and no marker of the stream contradicts it.
        plain = photometric == "RGB" and not _states_colours(data)
        return np.asarray(
            imagecodecs.jpeg8_decode(data, outcolorspace="RGB", colorspace="RGB" if plain else None)
        ), "RGB"
    if syntax in _JPEG_LOSSLESS:
        return np.ascontiguousarray(imagecodecs.jpegsof3_decode(data)), photometric
    if syntax in _JPEG_LS:
        return np.asarray(imagecodecs.jpegls_decode(data)), photometric
    decode = imagecodecs.htj2k_decode if syntax in _HTJ2K else imagecodecs.jpeg2k_decode
    array = np.asarray(decode(data, planar=False))
    return array, "RGB" if photometric in ("YBR_RCT", "YBR_ICT") else photometric


def _states_colours(data: bytes) -> bool:
    """Whether a JPEG stream says itself how its colours are stored: a JFIF marker, or a whole Adobe marker."""
    head = data[:4096]
    if b"JFIF\0" in head:
        return True
    at = head.find(b"Adobe")
    return at >= 4 and head[at - 4 : at - 2] == b"\xff\xee" and int.from_bytes(head[at - 2 : at], "big") >= 14


def _run_length(data: bytes, dataset: Dataset) -> NDArray[np.generic]:
    rows, columns, samples = int(dataset.Rows), int(dataset.Columns), int(dataset.get("SamplesPerPixel", 1))
    dtype = np.dtype(f"<u{int(dataset.BitsAllocated) // 8}")
    flat = np.frombuffer(imagecodecs.dicomrle_decode(data, dtype), dtype=dtype)
    flat = flat[: rows * columns * samples]
    if samples == 1:
        return flat.reshape(rows, columns)
    return flat.reshape(samples, rows, columns).transpose(1, 2, 0)


def _precision(data: bytes, syntax: str, *, default: int) -> int:
    """Bits per sample as the compressed stream states them; the header may promise more."""
    if syntax in _JPEG_2000 | _HTJ2K:
        return int(get_j2k_parameters(data).get("precision", default))
    if syntax in _JPEG_LS:
        at = data.find(b"\xff\xf7")
        return data[at + 4] if 0 <= at < len(data) - 4 and 2 <= data[at + 4] <= 16 else default
    return default


def _bits(array: NDArray[np.generic], *, bits: int, signed: bool) -> NDArray[np.generic]:
    """Clear bits above the stored ones (old overlays lie there), or extend the sign into them."""
    if array.dtype.kind not in "iu":
        raise ImageError("decoded values are not integers")
    values: NDArray[Any] = array.astype(array.dtype.newbyteorder("="), copy=False)
    if values.dtype.kind == "i" and signed:
        return values
    values = values.view(f"{'i' if signed else 'u'}{values.dtype.itemsize}")
    spare = values.dtype.itemsize * 8 - bits
    if spare <= 0:
        return values
    if signed:
        return np.asarray(np.right_shift(np.left_shift(values, spare), spare))
    return np.asarray(values & values.dtype.type((1 << bits) - 1))

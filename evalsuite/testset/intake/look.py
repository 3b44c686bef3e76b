"""Looking at one file while its bytes are at hand for hashing: its header, and its pixels where asked."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from evalsuite.errors import ImageError
from evalsuite.imaging.burned_in import text_lines
from evalsuite.imaging.header_processes import HeaderTask
from evalsuite.imaging.likeness import Likeness, grey8, likeness
from evalsuite.imaging.raster import is_large, is_tiff
from evalsuite.imaging.stored import stored_frames
from evalsuite.testset.intake.types import Look

FORMAT_UNREAD = "format"
_OTHER_FORMATS = (".npy", ".npz", ".mha", ".mhd", ".nrrd", ".svs", ".ndpi", ".h5", ".zarr")


def look(data: bytes, *, name: str, decode: bool, headers: HeaderTask) -> Look:
    """What is in a file. Nothing is raised for a damaged one: that is what the look is for.

    Parameters
    ----------
    decode
        Decode every frame; without it only a DICOM header is read, and nothing of other files.
    headers
        What is read of a DICOM header.
    """
    is_dicom = data[128:132] == b"DICM"
    header = headers.read(name, data) if is_dicom else None
    broken = is_dicom and header is None
    if not decode:
        return Look(is_dicom=is_dicom, header=header, header_broken=broken)
    if not is_dicom and (name.casefold().endswith(_OTHER_FORMATS) or (is_tiff(data) and is_large(data))):
        return Look(decoded=FORMAT_UNREAD)
    status, digest, alike, lines = _pixels(data, name)
    return Look(
        is_dicom=is_dicom,
        header=header,
        header_broken=broken,
        decoded=status,
        pixel_digest=digest,
        likeness=alike,
        text_lines=lines,
    )


def _pixels(data: bytes, name: str) -> tuple[str, str, Likeness | None, int]:
    """Status, digest of all frames, and likeness and lines of text of the middle frame."""
    hasher = hashlib.sha256()
    frames = 0
    middle: NDArray[np.generic] | None = None
    try:
        for frame in stored_frames(data, name=name):
            hasher.update(pixel_bytes(frame))
            frames += 1
            # the newest frame at 1, 2, 4, 8, …: the last one kept lies in the second half, without keeping all
            if frames & (frames - 1) == 0:
                middle = frame
    except ImageError as e:
        return e.code, "", None, 0
    if middle is None or min(middle.shape[:2]) < 2:
        return "ok", hasher.hexdigest(), None, 0
    grey = grey8(middle)
    return "ok", hasher.hexdigest(), likeness(grey), text_lines(grey)


def pixel_bytes(frame: NDArray[np.generic]) -> bytes:
    """One frame's decoded values as bytes that name their type and shape: what a pixel digest is taken of.

    Little-endian, rows before columns before colours, after a line such as `<u2 512x512`.
    """
    array = np.ascontiguousarray(frame)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    shape = "x".join(str(n) for n in array.shape)
    return f"{array.dtype.str.replace('|', '<')} {shape}\n".encode() + array.tobytes()

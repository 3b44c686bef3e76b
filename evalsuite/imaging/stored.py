"""Every frame of an image file as stored, for checks on pixels: whether they decode, and whether they recur."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from evalsuite.errors import ImageError
from evalsuite.imaging import raster
from evalsuite.imaging.quiet import counted_warnings

_NO_IMAGE = {"SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "SR", "KO", "PR", "REG", "DOC", "AU", "ECG"}


def stored_frames(data: bytes, *, name: str) -> Iterator[NDArray[np.generic]]:
    """Yield every frame, (rows, columns) or (rows, columns, 3), in the order of the file.

    The frames of a NIfTI volume are its planes along the third axis, one channel after the other.

    Raises
    ------
    ImageError
        Where the file, or one of its frames, cannot be decoded; `code` as in `evalsuite.imaging.read_image`.
    """
    if not data:
        raise ImageError(f"{name} is empty", code="empty")
    if data[128:132] == b"DICM":
        yield from _dicom(data, name)
        return
    if not raster.is_raster(data):
        from evalsuite.imaging import nifti

        if nifti.is_nifti(data):
            for channel in nifti.decode(data, name=name).array:
                yield from np.moveaxis(channel, 2, 0)
            return
    for page in raster.decode_pages(data, name=name):
        yield page.array[0] if page.array.shape[0] == 1 else page.array.transpose(1, 2, 0)


def _dicom(data: bytes, name: str) -> Iterator[NDArray[np.generic]]:
    from pydicom import dcmread

    from evalsuite.imaging.dicom_pixels import stored_values

    with counted_warnings():
        try:
            dataset = dcmread(io.BytesIO(data))
            kind = str(dataset.get("Modality", ""))
            has_pixels = bool(dataset.get("PixelData"))
            sized = "Rows" in dataset
            n_frames = int(dataset.get("NumberOfFrames") or 1)
        except Exception:  # damaged files raise a dozen types, and their messages quote the header
            raise ImageError(f"{name} cannot be decoded: damaged or inconsistent DICOM") from None
    if kind in _NO_IMAGE:
        raise ImageError(f"{name} is a DICOM object of another kind, not an image", code="not_image")
    if not has_pixels:
        raise ImageError(f"{name} has no pixel data", code="truncated" if sized else "empty")
    for index in range(n_frames):
        with counted_warnings():
            try:
                frame, _ = stored_values(dataset, frame=index, name=name)
            except ImageError:
                raise
            except Exception:  # as above
                raise ImageError(f"{name} cannot be decoded: damaged or inconsistent DICOM") from None
        yield frame

"""The same file with other values in it: what a program that reads files itself is shown instead of its own image.

PNG and TIFF keep their kind, JPEG becomes PNG (storing it again would change every value), DICOM keeps its header under
a new instance number, NIfTI its place in the patient.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from evalsuite.errors import ImageError
from evalsuite.imaging.dicom import guarded, open_dataset
from evalsuite.imaging.image import Image
from evalsuite.imaging.nifti import is_nifti
from evalsuite.imaging.raster import is_raster, is_tiff

CODE = "rewrite"


def write_like(source: Path, own: Image, values: NDArray[Any], folder: Path) -> Path:
    """A file in `folder` like `source`, whose decoded image is `own`, with `values` (channel, *spatial) in its place.

    Values are rounded to whole numbers and kept in range where the file stores whole numbers.

    Raises
    ------
    ImageError
        code rewrite: the kind of file is none of these, or its stored numbers are not plainly those of the image (a
        window, an inversion, several frames or files in one image).
    """
    data = source.read_bytes()
    if own.kind == "raster" and is_raster(data):
        return _raster(own, values, folder / ("image.tif" if is_tiff(data) else "image.png"))
    if own.kind == "nifti" and is_nifti(data):
        return _nifti(source, own, values, folder)
    if own.kind == "dicom" and data[128:132] == b"DICM":
        return _dicom(data, own, values, folder / f"image{source.suffix}")
    raise ImageError("an image of this kind, or with its window applied, is not written anew", code=CODE)


def _raster(own: Image, values: NDArray[Any], path: Path) -> Path:
    pixels = np.moveaxis(_whole(values, own.array.dtype), 0, -1)
    ordered = np.ascontiguousarray(pixels[..., ::-1] if pixels.shape[-1] == 3 else pixels)
    # every reader of TIFF reads it uncompressed
    written = cv2.imwrite(str(path), ordered, [cv2.IMWRITE_TIFF_COMPRESSION, 1] if path.suffix == ".tif" else [])
    if not written:
        raise ImageError("the image cannot be written anew in the temporary folder", code=CODE)
    return path


def _nifti(source: Path, own: Image, values: NDArray[Any], folder: Path) -> Path:
    import nibabel

    stored: Any = nibabel.load(source)
    if len(own.array) != 1 or len(stored.shape) != 3:
        raise ImageError("a NIfTI file of several channels is not written anew", code=CODE)
    kept = own.array.dtype == stored.get_data_dtype()
    array = _whole(values[0], own.array.dtype) if kept else values[0].astype(np.float32)
    made = type(stored)(array, stored.affine, stored.header)
    made.set_data_dtype(array.dtype)
    path = folder / ("image.nii.gz" if source.name.lower().endswith(".gz") else "image.nii")
    nibabel.save(made, path)
    return path


def _dicom(data: bytes, own: Image, values: NDArray[Any], path: Path) -> Path:
    def make() -> Image:
        _dicom_written(data, own, values, path)
        return own

    guarded(make, "the DICOM file")
    return path


def _dicom_written(data: bytes, own: Image, values: NDArray[Any], path: Path) -> None:
    from pydicom.uid import generate_uid

    dataset = open_dataset(data, "the DICOM file")
    if len(own.array) != 1 or int(dataset.get("NumberOfFrames") or 1) != 1:
        raise ImageError("DICOM in colour or of several frames is not written anew", code=CODE)
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        dataset.decompress()
    stored = dataset.pixel_array
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    if slope == 0 or not np.allclose(stored * slope + intercept, own.array[0], rtol=1e-6, atol=1e-4):
        raise ImageError("the stored numbers of a DICOM file are not plainly its image", code=CODE)
    bits, signed = int(dataset.BitsStored), int(dataset.PixelRepresentation) == 1
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    whole = np.clip(np.rint((values[0].astype(np.float64) - intercept) / slope), low, high).astype(stored.dtype)
    order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
    laid = whole.astype(whole.dtype.newbyteorder(order))
    dataset.PixelData = laid.tobytes() + b"\0" * (laid.nbytes % 2)
    # another image, and so no second one of the same number; drawn from what it holds, so that it is always the same
    uid = generate_uid(entropy_srcs=[str(dataset.get("SOPInstanceUID", "")), laid.tobytes().hex()])
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.save_as(path)


def _whole(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    whole: NDArray[Any] = np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
    return whole

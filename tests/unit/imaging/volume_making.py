"""Small volumes for tests: NIfTI files of any orientation, and DICOM series or enhanced files of the same voxels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian


def affine_of(codes: str, spacing: tuple[float, ...], origin: tuple[float, ...] = (0.0, 0.0, 0.0)) -> np.ndarray:
    """RAS+ affine of an array whose axes grow towards `codes`."""
    matrix = np.eye(4)
    matrix[:3, :3] = 0
    for axis, (code, step) in enumerate(zip(codes, spacing, strict=True)):
        world, sign = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}[code]
        matrix[world, axis] = sign * step
    matrix[:3, 3] = origin
    return matrix


def write_nifti(
    path: Path,
    array: np.ndarray,
    *,
    codes: str | None = "RAS",
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0),
    **header: Any,
) -> Path:
    """A NIfTI-1 file; `codes` None leaves out both places. `header` sets fields afterwards."""
    image = nibabel.Nifti1Image(array, affine_of(codes or "RAS", spacing))
    image.header.set_xyzt_units("mm")
    image.set_sform(image.affine, 1 if codes else 0)
    image.set_qform(image.affine, 1 if codes else 0)
    for key, value in header.items():
        image.header[key] = value
    path.write_bytes(image.to_bytes())
    return path


def dicom_file(
    array: np.ndarray, *, modality: str = "CT", syntax: UID = ExplicitVRLittleEndian, **extra: Any
) -> FileDataset:
    """A grey DICOM file of one frame (rows, columns) or several (frames, rows, columns)."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = extra.get("SOPInstanceUID", "1.2.3.4")
    ds = FileDataset("x", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.PatientName, ds.PatientID, ds.Modality = "CANARY^NAME", "CANARY", modality
    ds.Rows, ds.Columns = array.shape[-2:]
    if array.ndim == 3:
        ds.NumberOfFrames = array.shape[0]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = array.dtype.itemsize * 8
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(array.dtype.kind == "i")
    ds.PixelData = np.ascontiguousarray(array).tobytes()
    ds["PixelData"].VR = "OB" if ds.BitsAllocated == 8 else "OW"
    for key, value in extra.items():
        setattr(ds, key, value)
    return ds


def save(ds: Dataset, path: Path) -> Path:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    path.write_bytes(buffer.getvalue())
    return path


def write_series(
    folder: Path,
    volume: np.ndarray,
    *,
    spacing: tuple[float, float, float] = (2.0, 0.5, 0.75),
    orientation: tuple[float, ...] = (1, 0, 0, 0, 1, 0),
    order: list[int] | None = None,
    **extra: Any,
) -> list[Path]:
    """Slices (slice, row, column) as files, named so that the order of names is that of `order`."""
    folder.mkdir(exist_ok=True)
    normal = np.cross(orientation[:3], orientation[3:])
    paths = []
    for name, i in enumerate(order or range(len(volume))):
        place = {
            "SeriesInstanceUID": "1.2.9",
            "SOPInstanceUID": f"1.2.9.{i + 1}",
            "InstanceNumber": i + 1,
            "ImagePositionPatient": [float(v) for v in np.array([10.0, 20.0, 30.0]) + normal * spacing[0] * i],
            "ImageOrientationPatient": list(map(float, orientation)),
            "PixelSpacing": [spacing[1], spacing[2]],
        }
        changed = {k: v(i) if callable(v) else v for k, v in extra.items()}
        paths.append(save(dicom_file(volume[i], **(place | changed)), folder / f"{name:03d}.dcm"))
    return paths


def enhanced(
    volume: np.ndarray,
    *,
    spacing: tuple[float, float, float] = (2.0, 0.5, 0.75),
    order: list[int] | None = None,
    slopes: list[float] | None = None,
) -> FileDataset:
    """An enhanced multi-frame file whose frames lie in `order` in the file, with their own positions and rescale."""
    order = order or list(range(len(volume)))
    ds = dicom_file(volume[order])
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [spacing[1], spacing[2]], 1.0
    plane.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    ds.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for i in order:
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = [10.0, 20.0, 30.0 + spacing[0] * i]
        frame.PlanePositionSequence = [position]
        if slopes:
            value = Dataset()
            value.RescaleSlope, value.RescaleIntercept, value.RescaleType = slopes[i], 0, "US"
            frame.PixelValueTransformationSequence = [value]
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = frames
    return ds

"""A few pixels as a valid DICOM file, for tests that need files of known identity and nothing of their content."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def _uid(*parts: object) -> str:
    return f"2.25.{int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:15], 'big')}"


def write_dicom(path: Path, *, seed: int, patient: str = "p", series: str = "") -> dict[str, str]:
    """Write the file and give its UIDs; files of the same `series` are its slices, one millimetre apart."""
    uids = {
        "SOPInstanceUID": _uid("instance", seed),
        "SeriesInstanceUID": _uid("series", series or seed),
        "StudyInstanceUID": _uid("study", series or seed),
    }
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = _SECONDARY_CAPTURE
    meta.MediaStorageSOPInstanceUID = uids["SOPInstanceUID"]
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID = _SECONDARY_CAPTURE
    for keyword, value in uids.items():
        setattr(ds, keyword, value)
    ds.PatientID = patient
    ds.Modality = "OT"
    ds.InstanceNumber = seed
    ds.ImagePositionPatient = [0, 0, seed]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing = [1, 1]
    ds.Rows, ds.Columns = 8, 8
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    ds.PixelData = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return uids

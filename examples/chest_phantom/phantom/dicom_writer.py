"""Write a radiograph as a DICOM Digital X-Ray object (for presentation), explicit VR little endian, 12 bits in 16."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from .anatomy import SPACING_MM
from .patients import Study
from .render import Radiograph
from .scanner import MAX_VALUE

DIGITAL_X_RAY = "1.2.840.10008.5.1.4.1.1.1.1"


def uid(*parts: object) -> str:
    """A UID under 2.25 derived from its parts alone, so that the same seed gives the same file."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big') >> 1}"


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = scheme
    item.CodeMeaning = meaning
    return item


def dataset(study: Study, radiograph: Radiograph, *, seed: int) -> Dataset:
    """The DICOM object of one study. All of it is invented; the pseudonym stands in place of a name."""
    unit, pixels = study.scanner, radiograph.shown
    inverted = unit.photometric == "MONOCHROME1"
    stored = (MAX_VALUE - pixels if inverted else pixels).astype("<u2")
    instance = uid(seed, study.case_id, "instance")
    day = study.day.strftime("%Y%m%d")
    clock = f"{8 + study.patient % 9:02d}{7 * study.study % 60:02d}00"

    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    ds.SOPClassUID = DIGITAL_X_RAY
    ds.SOPInstanceUID = instance
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = day
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = clock
    ds.AccessionNumber = ""
    ds.Modality = "DX"
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.Manufacturer = unit.manufacturer
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = "Chest phantom"
    ds.ManufacturerModelName = unit.model
    ds.PatientName = ""
    ds.PatientID = study.patient_id
    ds.PatientBirthDate = ""
    ds.PatientSex = study.sex
    ds.PatientAge = f"{study.age_years:03d}Y"
    ds.BodyPartExamined = "CHEST"
    ds.KVP = str(unit.kvp)
    ds.DeviceSerialNumber = "0000"
    ds.SoftwareVersions = unit.software
    ds.ImagerPixelSpacing = [f"{SPACING_MM:.6f}", f"{SPACING_MM:.6f}"]
    ds.PixelSpacing = [f"{SPACING_MM:.6f}", f"{SPACING_MM:.6f}"]
    ds.PositionerType = "NONE"
    ds.DetectorType = "SCINTILLATOR"
    ds.ViewPosition = unit.view
    ds.StudyInstanceUID = uid(seed, study.case_id, "study")
    ds.SeriesInstanceUID = uid(seed, study.case_id, "series")
    ds.StudyID = ""
    ds.SeriesNumber = "1"
    ds.InstanceNumber = "1"
    ds.PatientOrientation = ["L", "F"]
    ds.ImageLaterality = "U"
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = unit.photometric
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated = 16
    ds.BitsStored = 12
    ds.HighBit = 11
    ds.PixelRepresentation = 0
    ds.QualityControlImage = "NO"
    ds.BurnedInAnnotation = "NO"  # side letters and the portable mark identify nobody
    ds.PixelIntensityRelationship = "LOG"
    ds.PixelIntensityRelationshipSign = 1 if inverted else -1
    ds.WindowCenter, ds.WindowWidth = (str(value) for value in unit.window)
    ds.RescaleIntercept = "0"
    ds.RescaleSlope = "1"
    ds.RescaleType = "US"
    ds.LossyImageCompression = "00"
    ds.AcquisitionContextSequence = []
    ds.AnatomicRegionSequence = [_code("816094009", "SCT", "Chest")]
    view = ("399348003", "antero-posterior") if unit.view == "AP" else ("272479007", "postero-anterior")
    ds.ViewCodeSequence = [_code(view[0], "SCT", view[1])]
    ds.ViewCodeSequence[0].ViewModifierCodeSequence = []
    ds.PresentationLUTShape = "INVERSE" if inverted else "IDENTITY"
    ds.PixelData = np.ascontiguousarray(stored).tobytes()
    ds["PixelData"].VR = "OW"

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DIGITAL_X_RAY
    meta.MediaStorageSOPInstanceUID = instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    # Ours, not the library's: the bytes must not change with the version that wrote them.
    meta.ImplementationClassUID = uid("chest phantom")
    meta.ImplementationVersionName = "CHESTPHANTOM_1"
    ds.file_meta = meta
    return ds


def write(path: Path, study: Study, radiograph: Radiograph, *, seed: int) -> None:
    """Write one study as a DICOM file."""
    dataset(study, radiograph, seed=seed).save_as(path, enforce_file_format=True)

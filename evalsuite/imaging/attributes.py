"""Which DICOM attributes may become strata, which never, and how their values are read as text."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from evalsuite.errors import ImageError, InputError, Problem
from evalsuite.imaging.quiet import counted_warnings

STANDARD_ATTRIBUTES: tuple[str, ...] = (
    "PatientSex",
    "PatientAge",
    "Modality",
    "Manufacturer",
    "ManufacturerModelName",
    "SoftwareVersions",
    "BodyPartExamined",
    "ViewPosition",
    "Laterality",
    "ImageLaterality",
    "PatientPosition",
    "PatientOrientation",
    "PresentationIntentType",
    "ImageType",
    "KVP",
    "ExposureTime",
    "XRayTubeCurrent",
    "Exposure",
    "DetectorType",
    "Grid",
    "FilterType",
    "ConvolutionKernel",
    "SliceThickness",
    "SpacingBetweenSlices",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "ReconstructionDiameter",
    "ContrastBolusAgent",
    "MagneticFieldStrength",
    "ScanningSequence",
    "SequenceVariant",
    "MRAcquisitionType",
    "RepetitionTime",
    "EchoTime",
    "InversionTime",
    "FlipAngle",
    "TransducerType",
    "PhotometricInterpretation",
    "SamplesPerPixel",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "NumberOfFrames",
    "RescaleSlope",
    "RescaleIntercept",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "BurnedInAnnotation",
    "TransferSyntaxUID",
)
"""Read into every manifest: how and with what an image was made. No free text, nothing that names a person."""

FORBIDDEN_ATTRIBUTES: frozenset[str] = frozenset(
    {
        "PatientName", "PatientID", "PatientBirthDate", "PatientBirthTime", "PatientBirthName",
        "PatientMotherBirthName", "PatientAddress", "PatientTelephoneNumbers", "PatientTelecomInformation",
        "PatientComments", "OtherPatientIDs", "OtherPatientIDsSequence", "OtherPatientNames",
        "IssuerOfPatientID", "MilitaryRank", "BranchOfService", "CountryOfResidence", "RegionOfResidence",
        "PatientReligiousPreference", "Occupation", "MedicalRecordLocator", "ResponsiblePerson",
        "ResponsiblePersonRole", "ResponsibleOrganization", "InsurancePlanIdentification",
        "AdditionalPatientHistory", "Allergies", "MedicalAlerts", "AdmissionID", "AccessionNumber", "StudyID",
        "RequestingPhysician", "ReferringPhysicianName", "ReferringPhysicianAddress",
        "ReferringPhysicianTelephoneNumbers", "ReferringPhysicianIdentificationSequence",
        "ConsultingPhysicianName", "PhysiciansOfRecord", "PerformingPhysicianName",
        "NameOfPhysiciansReadingStudy", "OperatorsName", "InstitutionAddress", "InstitutionalDepartmentName",
        "StationName", "DeviceSerialNumber", "PersonName", "PersonAddress", "PersonTelephoneNumbers",
        "StudyDescription", "SeriesDescription", "ImageComments", "StudyComments", "VisitComments",
        "CurrentPatientLocation", "PatientInstitutionResidence", "RequestAttributesSequence",
        "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "MediaStorageSOPInstanceUID",
        "FrameOfReferenceUID", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate",
        "AcquisitionDateTime", "StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime", "PixelData",
    }
)  # fmt: skip
"""Refused by name: identifiers, addresses, names, dates and free text. `check_keywords` refuses more by their kind."""

_REFUSED_VR = {"PN", "DA", "DT", "TM", "LT", "ST", "UT", "UC", "SQ", "OB", "OW", "OF", "OD", "OL", "OV", "UN", "UR"}


def is_dicom(path: Path) -> bool:
    """Whether a file has the DICOM preamble."""
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def check_keywords(keywords: Iterable[str]) -> None:
    """Refuse keywords that do not exist or that could identify a person.

    Raises
    ------
    InputError
        With every refused keyword.
    """
    from difflib import get_close_matches

    from pydicom.datadict import dictionary_VR, tag_for_keyword

    problems = []
    for keyword in dict.fromkeys(keywords):
        tag = tag_for_keyword(keyword)
        if tag is None:
            near = get_close_matches(keyword, STANDARD_ATTRIBUTES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else ""
            problems.append(Problem(what=f"no DICOM attribute is called {keyword}", hint=hint))
        elif keyword in STANDARD_ATTRIBUTES:
            continue
        elif keyword in FORBIDDEN_ATTRIBUTES or dictionary_VR(tag) in _REFUSED_VR or keyword.endswith("InstanceUID"):
            problems.append(Problem(what=f"{keyword} may identify a person, or is no simple value: it is never read"))
    if problems:
        raise InputError("DICOM attributes cannot be used", problems=problems)


def read_attributes(path: Path, keywords: Iterable[str]) -> dict[str, str]:
    """Values of DICOM attributes as text, without reading the pixels.

    Returns
    -------
    dict
        Keyword to text, in the order asked for: "" where absent or empty, several values joined by a backslash.

    Raises
    ------
    ImageError
        If the file is not readable DICOM. The message names the file only.
    InputError
        If a keyword does not exist or may identify a person (see `check_keywords`).
    """
    wanted = list(dict.fromkeys(keywords))
    check_keywords(wanted)
    from pydicom import dcmread

    path = Path(path)
    with counted_warnings():
        try:
            dataset = dcmread(
                path, stop_before_pixels=True, specific_tags=[k for k in wanted if k != "TransferSyntaxUID"]
            )
            meta = dataset.file_meta
            return {k: text_of(meta.get(k) if k == "TransferSyntaxUID" else dataset.get(k)) for k in wanted}
        except Exception:  # damaged files raise a dozen types, and their messages quote the header
            raise ImageError(f"{path.name} cannot be read as DICOM") from None


def text_of(value: Any) -> str:
    """A DICOM value as text: "" where absent, several values joined by a backslash."""
    if value is None:
        return ""
    if isinstance(value, str | bytes | int | float) or not hasattr(value, "__iter__"):
        return str(value).strip()
    return "\\".join(str(v).strip() for v in value)

"""What a DICOM header says about itself: implausible values, identifying entries by name, private entries.

Nothing that identifies a person leaves this module: entries are reported by the name of their tag, never by value.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any, BinaryIO

from evalsuite.errors import ImageError
from evalsuite.imaging.attributes import text_of
from evalsuite.imaging.quiet import counted_warnings
from evalsuite.imaging.series import Slice, slice_of

IDENTIFYING: tuple[str, ...] = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientBirthTime", "PatientBirthName", "PatientMotherBirthName",
    "PatientAddress", "PatientTelephoneNumbers", "PatientTelecomInformation", "PatientComments", "OtherPatientIDs",
    "OtherPatientIDsSequence", "OtherPatientNames", "IssuerOfPatientID", "MilitaryRank", "PatientReligiousPreference",
    "Occupation", "MedicalRecordLocator", "ResponsiblePerson", "InsurancePlanIdentification",
    "AdditionalPatientHistory", "AdmissionID", "AccessionNumber", "StudyID", "RequestingPhysician",
    "ReferringPhysicianName", "ReferringPhysicianAddress", "ReferringPhysicianTelephoneNumbers",
    "ConsultingPhysicianName",
    "PhysiciansOfRecord", "PerformingPhysicianName", "NameOfPhysiciansReadingStudy", "OperatorsName", "InstitutionName",
    "InstitutionAddress", "InstitutionalDepartmentName", "PersonName", "PersonAddress", "PersonTelephoneNumbers",
    "ImageComments", "StudyComments", "VisitComments", "CurrentPatientLocation", "PatientInstitutionResidence",
    "RequestAttributesSequence",
)  # fmt: skip
"""Direct identifiers of the Basic Application Level Confidentiality Profile (PS3.15, table E.1-1)."""

_PSEUDONYMOUS = ("PatientName", "PatientID", "AccessionNumber", "StudyID")
_REMOVED = re.compile(r"\W*(anon|de-?id|removed|redact|unknown|none|null|no[_ ]?name|test|phantom|x{2,}|0*$)", re.I)
_DATES = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "PatientBirthDate", "InstanceCreationDate")
_AGE = re.compile(r"\d{3}[DWMY]")
_CLASSES: Mapping[str, frozenset[str]] = {
    "1.2.840.10008.5.1.4.1.1.1": frozenset({"CR", "DX", "RG"}),
    "1.2.840.10008.5.1.4.1.1.1.1": frozenset({"DX", "CR", "PX", "RG"}),
    "1.2.840.10008.5.1.4.1.1.1.2": frozenset({"MG"}),
    "1.2.840.10008.5.1.4.1.1.13.1.3": frozenset({"MG"}),
    "1.2.840.10008.5.1.4.1.1.2": frozenset({"CT"}),
    "1.2.840.10008.5.1.4.1.1.2.1": frozenset({"CT"}),
    "1.2.840.10008.5.1.4.1.1.4": frozenset({"MR"}),
    "1.2.840.10008.5.1.4.1.1.4.1": frozenset({"MR"}),
    "1.2.840.10008.5.1.4.1.1.6.1": frozenset({"US", "IVUS"}),
    "1.2.840.10008.5.1.4.1.1.3.1": frozenset({"US", "IVUS"}),
    "1.2.840.10008.5.1.4.1.1.20": frozenset({"NM"}),
    "1.2.840.10008.5.1.4.1.1.128": frozenset({"PT"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """One header's facts. UIDs and the patient's identifier serve comparison only and are never printed.

    `identifiers`, `named_in_path` and `implausible` are names of tags and fixed phrases; `attributes` holds the values
    asked for, none of which may identify a person (`check_keywords`).
    """

    patient_id: str
    study_uid: str
    series_uid: str
    sop_uid: str
    transfer_syntax: str
    burned_in: str
    identity_removed: bool
    identifiers: tuple[str, ...]
    named_in_path: tuple[str, ...]
    n_private: int
    implausible: tuple[str, ...]
    slice: Slice
    attributes: Mapping[str, str]


def read_header(
    source: bytes | BinaryIO, *, name: str, today: date, pseudonyms: Collection[str] = (), keywords: Sequence[str] = ()
) -> Header:
    """Facts of a DICOM file's header, from its bytes or the open file; pixels are not read.

    Parameters
    ----------
    source
        The file, or as much of its bytes as holds the header.
    name
        Its path relative to the case table, in which identifying values are looked for.
    today
        Later dates are implausible.
    pseudonyms
        Identifiers of the case table: a name or number among them is a pseudonym, not an identifier.
    keywords
        Attributes to read as text (see `evalsuite.imaging.attributes`).

    Raises
    ------
    ImageError
        If the header cannot be read. The message names the file only.
    """
    import io

    from pydicom import dcmread

    with counted_warnings():
        try:
            file = io.BytesIO(source) if isinstance(source, bytes) else source
            dataset = dcmread(file, stop_before_pixels=True)
            return _facts(dataset, name, today, pseudonyms, keywords)
        except Exception:  # damaged files raise a dozen types, and their messages quote the header
            raise ImageError(f"{name} cannot be read as DICOM") from None


class _Values:
    """Attributes by keyword, as `Dataset.get` gives them: a hundred are asked for, and most are absent.

    pydicom looks each of those up, and fails, in Python: that took longer than reading the header.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._known: dict[str, Any] = {}
        self.tags = frozenset(map(int, dataset.keys()))

    def get(self, keyword: str) -> Any:
        if keyword not in self._known:
            tag = _tag(keyword)
            self._known[keyword] = self._dataset[tag].value if tag in self.tags else None
        return self._known[keyword]


@cache
def _tag(keyword: str) -> int | None:
    from pydicom.datadict import tag_for_keyword

    return tag_for_keyword(keyword)


def _facts(file: Any, name: str, today: date, pseudonyms: Collection[str], keywords: Sequence[str]) -> Header:
    meta, dataset = file.file_meta, _Values(file)
    values = {k: _said(k, dataset.get(k)) for k in IDENTIFYING if _tag(k) in dataset.tags}
    identifiers = tuple(k for k, v in values.items() if v and not _is_pseudonym(k, v, pseudonyms))
    return Header(
        patient_id=values.get("PatientID", ""),
        study_uid=_plain(dataset.get("StudyInstanceUID")),
        series_uid=_plain(dataset.get("SeriesInstanceUID")),
        sop_uid=_plain(dataset.get("SOPInstanceUID")),
        transfer_syntax=_plain(meta.get("TransferSyntaxUID")),
        burned_in=_plain(dataset.get("BurnedInAnnotation")).upper(),
        identity_removed=_plain(dataset.get("PatientIdentityRemoved")).upper() == "YES",
        identifiers=identifiers,
        named_in_path=tuple(k for k in identifiers if _in_path(k, values[k], name)),
        n_private=sum(tag >> 16 & 1 for tag in dataset.tags),  # groups with an odd number are private
        implausible=tuple(dict.fromkeys(_implausible(dataset, meta, today))),
        slice=slice_of(dataset, name),
        attributes={k: text_of(meta.get(k) if k == "TransferSyntaxUID" else dataset.get(k)) for k in keywords},
    )


def _said(keyword: str, value: Any) -> str:
    """An identifying value as text; of a sequence only whether it has items, not a text of all of them."""
    if keyword.endswith("Sequence"):
        return "items" if value else ""
    return _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if hasattr(value, "__len__") and len(value) == 0:
        return ""
    return str(value).strip()


def _is_pseudonym(keyword: str, value: str, pseudonyms: Collection[str]) -> bool:
    return keyword in _PSEUDONYMOUS and (value in pseudonyms or _REMOVED.match(value) is not None)


def _in_path(keyword: str, value: str, path: str) -> bool:
    """Whether an identifying value stands in a path: short words only as words of their own."""
    low = path.casefold()
    if keyword.endswith("Date"):
        return len(value) == 8 and value in re.sub(r"\D", "", low)
    if keyword not in ("PatientName", "PatientID", "AccessionNumber", "OtherPatientIDs", "OtherPatientNames"):
        return False
    words = set(re.split(r"[^a-z0-9]+", low))
    parts = re.split(r"[\^=\s,]+", value.casefold()) if keyword.endswith(("Name", "Names")) else [value.casefold()]
    return any(len(p) >= 2 and (p in words or (len(p) >= 5 and p in low)) for p in parts)


def _implausible(dataset: Any, meta: Any, today: date) -> list[str]:
    found: list[str] = []
    dates: dict[str, date] = {}
    for keyword in _DATES:
        text = _plain(dataset.get(keyword))
        if not text:
            continue
        day = _day(text)
        if day is None:
            found.append(f"{keyword} is no date")
            continue
        dates[keyword] = day
        if day > today:
            found.append(f"{keyword} lies in the future")
    study, birth = dates.get("StudyDate"), dates.get("PatientBirthDate")
    if study is not None and study.year < 1970:
        found.append("StudyDate before 1970")
    if study is not None and birth is not None and study < birth:
        found.append("StudyDate before PatientBirthDate")
    found += _person(dataset) + _geometry(dataset) + _identity(dataset, meta)
    return found


def _day(text: str) -> date | None:
    text = text.replace(".", "")[:8]
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError:
        return None


def _numbers(dataset: Any, keyword: str) -> list[float] | None:
    """The values of an attribute, [] where it is absent or empty, None where one is no number."""
    value = dataset.get(keyword)
    if value is None or (hasattr(value, "__len__") and len(value) == 0):
        return []
    values = [value] if isinstance(value, str | int | float) or not hasattr(value, "__iter__") else list(value)
    try:
        return [float(v) for v in values]
    except (TypeError, ValueError):
        return None


def _person(dataset: Any) -> list[str]:
    found = []
    age = _plain(dataset.get("PatientAge"))
    if age and (_AGE.fullmatch(age) is None or (age[3] == "Y" and int(age[:3]) > 120)):
        found.append("PatientAge is implausible")
    for keyword, low, high in (("PatientSize", 0.2, 2.6), ("PatientWeight", 0.2, 500.0)):
        values = _numbers(dataset, keyword)
        # 0 is what many devices write for "not entered"
        if values is None or any(v != 0 and not low <= v <= high for v in values):
            found.append(f"{keyword} is implausible")
    return found


def _geometry(dataset: Any) -> list[str]:
    found = []
    for keyword, count, high in (
        ("PixelSpacing", 2, 20.0), ("ImagerPixelSpacing", 2, 20.0), ("SliceThickness", 1, 200.0),
        ("SpacingBetweenSlices", 1, 200.0),
    ):  # fmt: skip
        values = _numbers(dataset, keyword)
        signed = keyword == "SpacingBetweenSlices"  # NM images have it negative by the standard
        wrong = values is None or (len(values) not in (0, count))
        if wrong or any(not 1e-4 < (abs(v) if signed else v) <= high for v in values or ()):
            found.append(f"{keyword} is implausible")
    rows, columns = _numbers(dataset, "Rows"), _numbers(dataset, "Columns")
    if not rows or not columns or rows[0] < 1 or columns[0] < 1:
        found.append("Rows or Columns is missing")
    allocated, stored = _numbers(dataset, "BitsAllocated"), _numbers(dataset, "BitsStored")
    if allocated and stored and not 0 < stored[0] <= allocated[0]:
        found.append("BitsStored exceeds BitsAllocated")
    return found


def _identity(dataset: Any, meta: Any) -> list[str]:
    found = []
    sop_class, modality = _plain(dataset.get("SOPClassUID")), _plain(dataset.get("Modality")).upper()
    expected = _CLASSES.get(sop_class)
    if not modality:
        found.append("Modality is missing")
    elif expected is not None and modality not in expected:
        found.append("Modality does not fit the SOP class")
    for keyword, stated in (
        ("SOPClassUID", "MediaStorageSOPClassUID"),
        ("SOPInstanceUID", "MediaStorageSOPInstanceUID"),
    ):
        inside, outside = _plain(dataset.get(keyword)), _plain(meta.get(stated))
        if inside and outside and inside != outside:
            found.append(f"{keyword} differs from the file's own label")
    return found

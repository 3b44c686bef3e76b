"""Facts from DICOM headers that strata may use (manufacturer, field strength), read once when a test set is locked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalsuite.errors import ImageError, InputError, Problem
from evalsuite.record.digest import in_threads
from evalsuite.testset.columns import DICOM_PREFIX

_SUFFIXES = (".dcm", ".dicom", ".ima")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """Per case the text of every attribute ("" where absent), as columns `dicom:Keyword`; how many cases have DICOM."""

    columns: Mapping[str, tuple[str, ...]]
    n_dicom: int
    n_unreadable: int

    def completeness(self) -> dict[str, Any]:
        """For the lock: per attribute, how many of the cases with a DICOM image state it."""
        return {
            "n_dicom": self.n_dicom,
            "n_unreadable": self.n_unreadable,
            "present": {name: sum(1 for cell in cells if cell) for name, cells in self.columns.items()},
        }


def attribute_problems(keywords: Sequence[str]) -> list[Problem]:
    """Attributes a protocol names that identify a person, or that DICOM does not know."""
    if not keywords:
        return []
    from evalsuite.imaging.attributes import check_keywords

    try:
        check_keywords(keywords)
    except InputError as e:
        return [Problem(what=p.what, where="protocol", hint=p.hint) for p in e.problems]
    return []


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM: by the mark after its preamble, or by the ending of its name."""
    if path.suffix.lower() in _SUFFIXES:
        return True
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _first_dicom(paths: Sequence[Path]) -> Path | None:
    return next((p for p in paths if is_dicom(p)), None)


def collect(first_files: Sequence[Sequence[Path]], keywords: Sequence[str]) -> Attributes:
    """Read the standard attributes and `keywords` of every case.

    `first_files` holds, per case, the first file of each of its image columns; the first of these that is DICOM is
    read. A file that cannot be read leaves its case's cells empty: the case will fail in the run.
    """
    chosen = in_threads(_first_dicom, first_files)
    if not any(chosen):
        return Attributes(columns={}, n_dicom=0, n_unreadable=0)
    from evalsuite.imaging.attributes import STANDARD_ATTRIBUTES, read_attributes

    names = tuple(dict.fromkeys((*STANDARD_ATTRIBUTES, *keywords)))

    def read(path: Path | None) -> Mapping[str, str] | None:
        if path is None:
            return {}
        try:
            return read_attributes(path, names)
        except ImageError:
            return None

    found = in_threads(read, chosen)
    return Attributes(
        columns={f"{DICOM_PREFIX}{n}": tuple((case or {}).get(n, "") for case in found) for n in names},
        n_dicom=sum(1 for path in chosen if path is not None),
        n_unreadable=sum(1 for case in found if case is None),
    )

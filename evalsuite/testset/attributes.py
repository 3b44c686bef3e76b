"""Facts from DICOM headers that strata may use (manufacturer, field strength), read once when a test set is locked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalsuite.errors import InputError, Problem
from evalsuite.imaging.attributes import STANDARD_ATTRIBUTES, check_keywords
from evalsuite.testset.columns import DICOM_PREFIX
from evalsuite.testset.intake.types import Look

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
    try:
        check_keywords(keywords)
    except InputError as e:
        return [Problem(what=p.what, where="protocol", hint=p.hint) for p in e.problems]
    return []


def attribute_names(keywords: Sequence[str]) -> tuple[str, ...]:
    """The standard attributes and those the protocol names."""
    return tuple(dict.fromkeys((*STANDARD_ATTRIBUTES, *keywords)))


def collect(first_files: Sequence[Sequence[str]], looks: Mapping[str, Look], keywords: Sequence[str]) -> Attributes:
    """Gather the standard attributes and `keywords` of every case from what was read of its files.

    `first_files` holds, per case, the first file of each of its image columns; the first of these that is DICOM (by the
    mark after its preamble, or by the ending of its name) counts. A file that cannot be read leaves its case's cells
    empty: the case will fail in the run.
    """

    def is_dicom(name: str) -> bool:
        return name.lower().endswith(_SUFFIXES) or (name in looks and looks[name].is_dicom)

    chosen = [next((name for name in names if is_dicom(name)), None) for names in first_files]
    if not any(chosen):
        return Attributes(columns={}, n_dicom=0, n_unreadable=0)
    headers = [looks[n].header if n is not None and n in looks else None for n in chosen]
    cells = [h.attributes if h is not None else {} for h in headers]
    return Attributes(
        columns={f"{DICOM_PREFIX}{n}": tuple(c.get(n, "") for c in cells) for n in attribute_names(keywords)},
        n_dicom=sum(1 for name in chosen if name is not None),
        n_unreadable=sum(1 for name, h in zip(chosen, headers, strict=True) if name is not None and h is None),
    )

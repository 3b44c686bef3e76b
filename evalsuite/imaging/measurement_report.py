"""Measurements in DICOM structured reports (TID 1500): every number with its concept, unit and what it is of."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydicom import dcmread

from evalsuite.errors import ImageError
from evalsuite.imaging.quiet import counted_warnings

_GROUP, _TRACKING = "125007", "112039"  # DCM: Measurement Group, Tracking Identifier
_DEEPEST = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedNumber:
    """One measurement: the code and words of its concept, its value, its UCUM unit, and the tracking identifier of the
    group it stands in ("" where there is none)."""

    code: str
    meaning: str
    value: float
    unit: str
    tracking: str


def read_measurements(data: bytes, *, name: str) -> tuple[ReportedNumber, ...]:
    """The numbers of all measurement groups of a structured report held in memory, in its order.

    Raises
    ------
    ImageError
        code unreadable where it is damaged or no DICOM; not_report where it is another kind of object.
    """
    with counted_warnings():
        try:
            dataset = dcmread(io.BytesIO(data))
        except Exception:  # damaged files raise a dozen types, and their messages quote the header
            raise ImageError(f"{name} cannot be read: damaged, or no DICOM") from None
        if str(dataset.get("Modality", "")) != "SR" or not dataset.get("ContentSequence"):
            raise ImageError(f"{name} is no DICOM structured report", code="not_report")
        try:
            return tuple(_numbers(dataset, tracking=None, depth=0))
        except (AttributeError, IndexError, TypeError, ValueError):
            raise ImageError(f"{name} has a measurement without value, concept or unit") from None


def _numbers(item: Any, *, tracking: str | None, depth: int) -> Iterator[ReportedNumber]:
    """Numbers below an item; `tracking` None outside measurement groups, where numbers are of something else."""
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    children = item.get("ContentSequence") or ()
    for child in children:
        concept = (child.get("ConceptNameCodeSequence") or [None])[0]
        code = "" if concept is None else str(concept.CodeValue)
        kind = str(child.get("ValueType", ""))
        inner = tracking
        if kind == "CONTAINER" and code == _GROUP:
            inner = _identifier(child)
        if kind == "NUM" and tracking is not None and concept is not None:
            measured = child.MeasuredValueSequence[0]
            value = float(measured.NumericValue)
            if not math.isfinite(value):
                raise ValueError("not finite")
            unit = str(measured.MeasurementUnitsCodeSequence[0].CodeValue)
            yield ReportedNumber(code=code, meaning=str(concept.CodeMeaning), value=value, unit=unit, tracking=tracking)
        yield from _numbers(child, tracking=inner, depth=depth + 1)


def _identifier(group: Any) -> str:
    for child in group.get("ContentSequence") or ():
        concept = (child.get("ConceptNameCodeSequence") or [None])[0]
        if concept is not None and str(concept.CodeValue) == _TRACKING and str(child.get("ValueType", "")) == "TEXT":
            return str(child.TextValue)
    return ""

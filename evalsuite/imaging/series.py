"""A DICOM series is a folder of slices: put in order along the body, and checked for gaps, doubles and strangers."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_SAME_DIRECTION = 1e-3  # difference of direction cosines; scanners write four to six digits
_SAME_PLACE_MM = 1e-3
_GAP = 1.5  # of the usual distance


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Where one file belongs in its series. `position` and `orientation` are () where the header has none."""

    name: str
    series_uid: str
    sop_uid: str
    number: int | None
    rows: int
    columns: int
    n_frames: int
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    modality: str
    volume: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesFacts:
    """A series in order, and what is wrong with it: fixed phrases with counts. `order` are names of files.

    `distance_mm` is the usual distance of neighbours along the normal of the slices, None where it is unknown. `codes`
    has a short stable word per finding: strangers, duplicates, orientation, frames, gaps or numbering.
    """

    order: tuple[str, ...]
    n_slices: int
    distance_mm: float | None
    findings: tuple[str, ...]
    notes: tuple[str, ...]
    codes: tuple[str, ...] = ()


Found = list[tuple[str, str]]


def slice_of(dataset: Any, name: str) -> Slice:
    """What a header says about its file's place in a series. Values that are no numbers count as absent."""
    number = _floats(dataset.get("InstanceNumber"))
    frames = _floats(dataset.get("NumberOfFrames"))
    position, orientation = (
        _floats(dataset.get("ImagePositionPatient")),
        _floats(dataset.get("ImageOrientationPatient")),
    )
    rows, columns = _floats(dataset.get("Rows")), _floats(dataset.get("Columns"))
    several = ("AcquisitionNumber", "TemporalPositionIdentifier", "EchoTime", "DiffusionBValue", "TriggerTime")
    return Slice(
        name=name,
        series_uid=str(dataset.get("SeriesInstanceUID") or ""),
        sop_uid=str(dataset.get("SOPInstanceUID") or ""),
        number=int(number[0]) if number else None,
        rows=int(rows[0]) if rows else 0,
        columns=int(columns[0]) if columns else 0,
        n_frames=int(frames[0]) if frames else 1,
        position=position if len(position) == 3 else (),
        orientation=orientation if len(orientation) == 6 and any(orientation) else (),
        modality=str(dataset.get("Modality") or ""),
        volume=tuple(str(dataset.get(k) or "") for k in several),
    )


def _floats(value: Any) -> tuple[float, ...]:
    if value is None or isinstance(value, bytes):
        return ()
    values = [value] if isinstance(value, str | int | float) or not hasattr(value, "__iter__") else list(value)
    try:
        found = tuple(float(v) for v in values)
    except (TypeError, ValueError):
        return ()
    return found if all(np.isfinite(found)) else ()


def examine_series(slices: Sequence[Slice], *, n_other: int = 0) -> SeriesFacts:
    """Order the slices of one folder and say what is wrong.

    Slices are sorted by their position along the normal of the first slice (PS3.3 C.7.6.2.1.1); where positions are
    absent, by InstanceNumber; else by name. Ties keep the order of InstanceNumber, then of names.

    Parameters
    ----------
    slices
        The DICOM files of one folder.
    n_other
        How many files of the folder are no DICOM images.
    """
    found: Found = []
    notes: list[str] = []
    if n_other:
        text = f"{_n(n_other, 'file')} in the folder {'is' if n_other == 1 else 'are'} no readable DICOM"
        found.append(("strangers", text))
    if not slices:
        return SeriesFacts(
            order=(),
            n_slices=0,
            distance_mm=None,
            findings=tuple(t for _, t in found),
            codes=tuple(c for c, _ in found),
            notes=(),
        )
    found += _strangers(slices)
    along = _along(slices)
    ranked = sorted(
        range(len(slices)),
        key=lambda i: (
            along[i] if along is not None else 0.0,
            slices[i].number if slices[i].number is not None else 0,
            slices[i].name,
        ),
    )
    distance = None
    if len(slices) > 1 and along is None:
        notes.append("positions are absent or not comparable: ordered by instance number and name, gaps cannot be seen")
        found += _numbering(slices)
    elif along is not None and len(slices) > 1:
        distance, wrong = _spacing([along[i] for i in ranked], [slices[i] for i in ranked])
        found += wrong
    return SeriesFacts(
        order=tuple(slices[i].name for i in ranked),
        n_slices=len(slices),
        distance_mm=distance,
        findings=tuple(text for _, text in found),
        codes=tuple(code for code, _ in found),
        notes=tuple(notes),
    )


def _n(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _strangers(slices: Sequence[Slice]) -> Found:
    found: Found = []
    for count, noun in (
        (len({s.series_uid for s in slices}), "series"),
        (len({s.modality for s in slices}), "modalities"),
        (len({(s.rows, s.columns) for s in slices}), "image sizes"),
    ):
        if count > 1:
            found.append(("strangers", f"{count} different {noun} in one folder"))
    repeated = sum(n - 1 for uid, n in Counter(s.sop_uid for s in slices).items() if uid and n > 1)
    if repeated:
        found.append(("duplicates", f"{_n(repeated, 'slice')} with a SOP instance UID that occurs before"))
    stated = [s.orientation for s in slices if s.orientation]
    mixed = sum(1 for o in stated if np.abs(np.subtract(o, stated[0])).max() > _SAME_DIRECTION)
    if mixed:
        found.append(("orientation", f"{_n(mixed, 'slice')} with another orientation than the first"))
    framed = sum(1 for s in slices if s.n_frames > 1)
    if framed and len(slices) > 1:
        found.append(("frames", f"{_n(framed, 'file')} with several frames among the slices"))
    return found


def _along(slices: Sequence[Slice]) -> list[float] | None:
    """Positions along the normal of the slices, in mm; None unless every slice states one and all are parallel."""
    if not all(s.position and s.orientation for s in slices):
        return None
    first = np.asarray(slices[0].orientation)
    if any(np.abs(np.subtract(s.orientation, first)).max() > _SAME_DIRECTION for s in slices):
        return None
    normal = np.cross(first[:3], first[3:])
    if not np.linalg.norm(normal) > 0.5:
        return None
    return [float(np.dot(normal, s.position)) for s in slices]


def _spacing(along: Sequence[float], slices: Sequence[Slice]) -> tuple[float | None, Found]:
    """The usual distance of neighbours, and doubles and gaps. Several volumes in one folder are said once."""
    found: Found = []
    steps = np.diff(np.asarray(along))
    same = steps < _SAME_PLACE_MM
    if same.any():
        volumes = len({s.volume for s in slices})
        n = int(same.sum())
        what = "a position that occurs before"
        if volumes > 1:
            text = f"{_n(n, 'slice')} at {what}: {volumes} acquisitions, echoes or time points in one folder"
        else:
            text = f"{_n(n, 'slice')} at {what}"
        found.append(("duplicates", text))
    between = steps[~same]
    if not between.size:
        return None, found
    usual = float(statistics.median(between.tolist()))
    wide = between[between > _GAP * usual]
    if wide.size:
        missing = int(np.sum(np.round(wide / usual) - 1))
        found.append(("gaps", f"{_n(int(wide.size), 'gap')}: {_n(missing, 'slice')} missing by the usual distance"))
    return round(usual, 4), found


def _numbering(slices: Sequence[Slice]) -> Found:
    numbers = [s.number for s in slices if s.number is not None]
    found: Found = []
    repeated = len(numbers) - len(set(numbers))
    if repeated:
        found.append(("duplicates", f"{_n(repeated, 'slice')} with an instance number that occurs before"))
    missing = (max(numbers) - min(numbers) + 1 - len(set(numbers))) if numbers else 0
    if 0 < missing <= len(numbers):
        found.append(("numbering", f"{_n(missing, 'instance number')} missing in the sequence"))
    return found

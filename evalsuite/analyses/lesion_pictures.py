"""Lesions found and missed, and false marks, each in the slice through its centre."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from evalsuite.analyses.exhibits import View, around, draw, read_case, rows_of, shows_images, view_of
from evalsuite.analyses.lesion_listing import LESIONS, MARKS, centre_of
from evalsuite.errors import ImageError
from evalsuite.imaging.points import Lie, index_in
from evalsuite.models.marks import is_box
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.testset.types import LockedTestSet
from evalsuite.types import Drawn, Listing, Picture

EACH = 3
_REACH_MM = 28.0
_CORNERS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    group: str
    title: str
    row: dict[str, str]


def lesion_pictures(
    protocol: StudyProtocol, listings: tuple[Listing, ...], testset: LockedTestSet
) -> tuple[Picture, ...]:
    """Three lesions found (highest, median and lowest score), the three largest missed, the three highest false marks.

    Found and missed are at the first operating point. Nothing where the protocol does not say what the places count
    from (`task.coordinates`), or a case has no image.

    Raises LockError where an image shown is not the one that was locked.
    """
    if protocol.task.coordinates is None:
        return ()
    tables = {x.name: rows_of(x) for x in listings}
    lesions, marks = tables[LESIONS], tables[MARKS]
    made = []
    for asked in _chosen(protocol, lesions, marks):
        picture = _picture(protocol, testset, asked, lesions, marks)
        if picture is not None:
            made.append(picture)
    return tuple(made)


def lesions_shown(
    protocol: StudyProtocol,
    listings: tuple[Listing, ...],
    testset: LockedTestSet,
    chosen: Sequence[tuple[str, str, int]],
    *,
    most: int,
) -> tuple[Picture, ...]:
    """Lesions by group, title and row of the listing of lesions: the first `most` of each group that can be shown."""
    if protocol.task.coordinates is None:
        return ()
    tables = {x.name: rows_of(x) for x in listings}
    lesions, marks = tables[LESIONS], tables[MARKS]
    made: list[Picture] = []
    for group, title, row in chosen:
        if sum(p.group == group for p in made) >= most:
            continue
        asked = _Asked(group=group, title=title, row=lesions[row])
        picture = _picture(protocol, testset, asked, lesions, marks)
        if picture is not None:
            made.append(picture)
    return tuple(made)


def _chosen(
    protocol: StudyProtocol, lesions: Sequence[dict[str, str]], marks: Sequence[dict[str, str]]
) -> Iterator[_Asked]:
    point = f"at {protocol.operating_points[0].name}" if protocol.operating_points else None

    def reached(row: dict[str, str]) -> bool:
        return point is None or row[point] == "yes"

    found = sorted(
        (r for r in lesions if r["outcome"] == "found" and reached(r)), key=lambda r: (-float(r["score"]), r["case_id"])
    )
    places = dict.fromkeys((0, (len(found) - 1) // 2, len(found) - 1)) if found else {}
    for i in places:
        yield _Asked(group="found", title=f"found, score {found[i]['score']}{_size(found[i])}", row=found[i])
    missed = [r for r in lesions if r["outcome"] == "missed" or (r["outcome"] == "found" and not reached(r))]
    missed.sort(key=lambda r: (-float(r["diameter_mm"] or 0.0), r["case_id"]))
    for row in missed[:EACH]:
        score = f", score {row['score']}" if row["score"] else ", no mark"
        yield _Asked(group="missed", title=f"missed{score}{_size(row)}", row=row)
    false = sorted(
        (r for r in marks if r["outcome"] == "false" and reached(r)), key=lambda r: (-float(r["score"]), r["case_id"])
    )
    seen: set[str] = set()
    for row in false:
        if row["case_id"] not in seen and len(seen) < EACH:
            seen.add(row["case_id"])
            yield _Asked(group="false", title=f"false mark, score {row['score']}", row=row)


def _size(row: dict[str, str]) -> str:
    return f", {row['diameter_mm']} mm" if row["diameter_mm"] else ""


def _picture(
    protocol: StudyProtocol,
    testset: LockedTestSet,
    asked: _Asked,
    lesions: Sequence[dict[str, str]],
    marks: Sequence[dict[str, str]],
) -> Picture | None:
    case = asked.row["case_id"]
    centre = centre_of(asked.row)
    try:
        image = read_case(testset, case, axes=len(centre))
    except ImageError:
        return None
    view = view_of(image.grid, image)
    where = _at(protocol, view, centre, image.kind == "nifti")
    if where is None:
        return None
    at = int(np.clip(round(where[0]), 0, view.shape[0] - 1))
    reach = max(_REACH_MM, 1.2 * float(asked.row.get("diameter_mm") or 0.0))
    point = f"at {protocol.operating_points[0].name}" if protocol.operating_points else None
    drawn: list[Drawn] = []
    for row in (r for r in lesions if r["case_id"] == case):
        kind = "found" if row["outcome"] == "found" and (point is None or row[point] == "yes") else "missed"
        drawn += _lesion(protocol, view, row, at, kind, image.kind == "nifti")
    for row in (r for r in marks if r["case_id"] == case and (point is None or r[point] == "yes")):
        drawn += _mark(protocol, view, row, at, image.kind == "nifti")
    place = f"slice {at + 1} of {view.shape[0]}" if view.shape[0] > 1 else ""
    return draw(
        view,
        at,
        around(where[1], reach / view.spacing_mm[1], view.shape[1]),
        around(where[2], reach / view.spacing_mm[2], view.shape[2]),
        drawn,
        with_image=shows_images(protocol),
        words={"group": asked.group, "title": asked.title, "note": place, "case_id": case},
    )


def _at(
    protocol: StudyProtocol, view: View, centre: Sequence[float], columns_first: bool
) -> tuple[float, float, float] | None:
    lie = Lie(grid=view.grid, columns_first=columns_first)
    stored = index_in(lie, centre, str(protocol.task.coordinates))
    return None if stored is None else view.index_of(stored)


def _lesion(
    protocol: StudyProtocol, view: View, row: dict[str, str], at: int, kind: str, columns_first: bool
) -> list[Drawn]:
    """A circle of the lesion's size, or its box, where it meets the slice."""
    where = _at(protocol, view, centre_of(row), columns_first)
    if where is None:
        return []
    if is_box(row):
        half = [abs(float(row[f"{a}1"]) - float(row[f"{a}0"])) / 2.0 for a in ("x", "y", "z") if f"{a}0" in row]
        across, down = half[0] / view.spacing_mm[2], half[1] / view.spacing_mm[1]
        deep = half[2] / view.spacing_mm[0] if len(half) == 3 else 0.5
        if abs(where[0] - at) > deep + 0.5:
            return []
        x, y = where[2] + 0.5, where[1] + 0.5
        corners = [(x - across, y - down), (x + across, y - down), (x + across, y + down), (x - across, y + down)]
    else:
        radius = float(row["diameter_mm"] or 6.0) / 2.0
        away = abs(where[0] - at) * view.spacing_mm[0]
        if view.shape[0] > 1 and away > max(radius, view.spacing_mm[0] / 2.0):
            return []
        turns = np.linspace(0.0, 2.0 * np.pi, _CORNERS, endpoint=False)
        corners = [
            (
                where[2] + 0.5 + radius / view.spacing_mm[2] * float(np.cos(t)),
                where[1] + 0.5 + radius / view.spacing_mm[1] * float(np.sin(t)),
            )
            for t in turns
        ]
    lines = tuple((*a, *b) for a, b in zip(corners, (*corners[1:], corners[0]), strict=True))
    return [Drawn(kind=kind, lines=lines)]  # type: ignore[arg-type]


def _mark(protocol: StudyProtocol, view: View, row: dict[str, str], at: int, columns_first: bool) -> list[Drawn]:
    """A cross at the mark's centre, where it lies within 4 mm (or a slice) of the slice."""
    where = _at(protocol, view, centre_of(row), columns_first)
    if where is None or abs(where[0] - at) * view.spacing_mm[0] > max(4.0, view.spacing_mm[0]):
        return []
    x, y = where[2] + 0.5, where[1] + 0.5
    across, down = 2.5 / view.spacing_mm[2], 2.5 / view.spacing_mm[1]
    kind = "false" if row["outcome"] == "false" else "mark"
    left, right, upper, lower = x - across, x + across, y - down, y + down
    return [Drawn(kind=kind, lines=((left, upper, right, lower), (left, lower, right, upper)))]  # type: ignore[arg-type]

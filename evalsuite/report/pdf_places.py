"""Where in a report's PDF things stand: the page of every section and of every finding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalsuite.errors import IntegrityError


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A page, counted from 1, and the section that it is in ("" before the first)."""

    page: int
    section: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PdfPlaces:
    """Sections in reading order with their pages, and the place of each finding (`f-0012`) that is printed."""

    pages: int
    sections: tuple[Place, ...]
    findings: Mapping[str, Place] = field(default_factory=dict)


def pdf_places(path: Path) -> PdfPlaces:
    """Read the outline and the named places of a report. IntegrityError if it cannot be read as a PDF."""
    import pikepdf

    try:
        with pikepdf.open(path) as pdf:
            number = {page.obj.objgen: i for i, page in enumerate(pdf.pages, start=1)}
            with pdf.open_outline() as outline:
                heads = [
                    (*_spot(item.destination, number), str(item.title)) for item in outline.root if item.destination
                ]
            heads = sorted((h for h in heads if h[0]), key=lambda h: h[:2])
            return PdfPlaces(
                pages=len(pdf.pages),
                sections=tuple(Place(page=page, section=title) for page, _, title in heads),
                findings={
                    name: Place(page=page, section=_section(heads, page, down))
                    for name, page, down in _named(pdf, number)
                    if name.startswith("f-")
                },
            )
    except (pikepdf.PdfError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise IntegrityError(f"{path.name} cannot be read as a PDF ({type(error).__name__})") from error


def _named(pdf: Any, number: Mapping[Any, int]) -> Iterator[tuple[str, int, float]]:
    import pikepdf

    names = pdf.Root.get("/Names")
    if names is None or "/Dests" not in names:
        return
    for name, place in sorted(pikepdf.NameTree(names.Dests).items()):
        page, down = _spot(place, number)
        if page:
            yield str(name), page, down


def _spot(destination: Any, number: Mapping[Any, int]) -> tuple[int, float]:
    """Page of a destination (0 where it names none) and how far down it lies."""
    import pikepdf

    if isinstance(destination, pikepdf.Dictionary):
        destination = destination.get("/D")
    if not isinstance(destination, pikepdf.Array) or len(destination) == 0:
        return 0, 0.0
    top = float(destination[3]) if len(destination) > 3 and destination[3] is not None else 0.0
    return number.get(destination[0].objgen, 0), -top


def _section(heads: list[tuple[int, float, str]], page: int, down: float) -> str:
    before = [title for at, top, title in heads if (at, top) <= (page, down)]
    return before[-1] if before else ""

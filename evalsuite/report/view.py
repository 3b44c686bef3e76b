"""The view model of a report: ready-to-place strings, tables and figures, in reading order; nothing left to compute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

CellKind = Literal["text", "number", "verdict", "digest", "muted", "head"]
Tone = Literal["met", "not_met", "inconclusive", "neutral", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of a table, `span` columns wide.

    `sub` is a second, smaller line; `link` the id it points to. `anchor` is the finding whose place in the report this
    is; `of` are findings (f-0012) and tests (t-0003) that it prints a figure of, wherever their place is.
    """

    text: str
    sub: str = ""
    kind: CellKind = "text"
    tone: Tone = "neutral"
    anchor: str | None = None
    link: str | None = None
    span: int = 1
    of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column: heading, alignment and share of the table's width in per cent (0: whatever is left)."""

    title: str
    align: Literal["left", "right", "center"] = "left"
    width: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of cells. A `group` row has one cell, spans the table, and titles the rows below it.

    `anchor` and `of` as of a cell, for every cell that has none of its own.
    """

    cells: tuple[Cell, ...]
    anchor: str | None = None
    group: bool = False
    of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A captioned table; `notes` state unit, method and test set below it.

    `source` is the attached file, and the place in it, of a table whose figures are no findings: `protocol.yaml`,
    `evidence.json#/accounting`. In every other table each figure names its finding.
    """

    label: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    compact: bool = False
    source: str = ""
    block: Literal["table"] = "table"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A vector drawing with its caption. `alt` says in words what the drawing shows.

    `of` are the findings drawn, `source` what else is: the place of a curve, or an attached listing.
    """

    label: str
    caption: str
    svg: str
    alt: str
    notes: tuple[str, ...] = ()
    of: tuple[str, ...] = ()
    source: str = ""
    block: Literal["figure"] = "figure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A drawing and, beside it, another drawing or a small table."""

    left: Figure
    right: Figure | Table
    block: Literal["pair"] = "pair"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A named fact. `mono` for digests and commands; `of` are the findings that it tells."""

    name: str
    value: str
    mono: bool = False
    tone: Tone = "neutral"
    of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Named facts, one per line."""

    items: tuple[Item, ...]
    block: Literal["facts"] = "facts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prose:
    """Paragraphs; `of` are the findings that they tell."""

    paragraphs: tuple[str, ...]
    of: tuple[str, ...] = ()
    block: Literal["prose"] = "prose"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bullets:
    """A list of statements; `of` are the findings that each tells, in the order of the statements."""

    items: tuple[str, ...]
    of: tuple[tuple[str, ...], ...] = ()
    block: Literal["bullets"] = "bullets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A boxed statement a reader must not miss."""

    title: str
    text: str
    tone: Tone = "warning"
    block: Literal["notice"] = "notice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A heading inside a section."""

    text: str
    id: str
    block: Literal["heading"] = "heading"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureBox:
    """An empty box for one signature: its `id` is also the name of the signature field."""

    id: str
    title: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Approvals:
    """The boxes for signatures, one below the other, on one page."""

    boxes: tuple[SignatureBox, ...]
    block: Literal["approvals"] = "approvals"


Block = Table | Figure | Pair | Facts | Prose | Bullets | Notice | Heading | Approvals


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A numbered section and its blocks. `code` is the section's name in the report's specification (R12)."""

    id: str
    number: str
    title: str
    code: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict in words, its mark (a shape, for readers without colour) and why."""

    word: str
    mark: str
    tone: Tone
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """The first page."""

    kicker: str
    title: str
    subtitle: str
    verdict: Judgement
    status: str
    control: tuple[Item, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The page a busy reviewer acts on."""

    verdict: Judgement
    table: Table
    facts: tuple[Item, ...]
    conclusion: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """A whole report, ready to place."""

    report_id: str
    title: str
    language: str
    author: str
    subject: str
    created: str
    banner: str | None
    footer_digest: str
    cover: Cover
    summary: Summary
    how_to_read: tuple[str, ...]
    sections: tuple[Section, ...]

    def to_json(self) -> dict[str, Any]:
        """The dossier as plain JSON values, for golden comparisons."""
        plain = _plain(self)
        assert isinstance(plain, dict)
        return plain


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        plain = {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
        return {name: v for name, v in plain.items() if v or name not in ("of", "source")}
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value

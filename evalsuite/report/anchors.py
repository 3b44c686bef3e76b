"""Every printed figure leads to its finding: where findings stand in the report, and which links hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

from evalsuite.report.view import Block, Bullets, Cell, Facts, Figure, Item, Pair, Prose, Row, Section, Table

_Rename = Callable[[str], str]
_PARTS = {"f": "findings", "t": "tests"}
#: "0.912", "−0.04 (−0.20 to 0.09)", "53/65 · 81.5 %", "0.041–0.202"; neither "21 CFR 892" nor "36 dB".
_FIGURE = re.compile(r"[<>≥≤]?\s?[+−-]?\d[\d.,\u202f]*(/[\d.,\u202f]+)?(\s?[·(%–].*| to .*)?")


def printed_findings(sections: Sequence[Section]) -> frozenset[str]:
    """Anchors of the findings that have their place in the tables of these sections."""
    rows = [r for t in _tables(sections) for r in t.rows]
    anchors = [*(r.anchor for r in rows), *(c.anchor for r in rows for c in r.cells)]
    return frozenset(a for a in anchors if a is not None)


def _tables(sections: Sequence[Section]) -> Iterator[Table]:
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Table):
                yield block
            elif isinstance(block, Pair) and isinstance(block.right, Table):
                yield block.right


def _drawings(sections: Sequence[Section]) -> Iterator[Figure]:
    for block in (b for s in sections for b in s.blocks):
        if isinstance(block, Figure):
            yield block
        elif isinstance(block, Pair):
            yield block.left
            if isinstance(block.right, Figure):
                yield block.right


def anchored(sections: Sequence[Section]) -> tuple[Section, ...]:
    """A judged estimate that no other table prints (an endpoint of one group only) has its place among the criteria."""
    printed = set(printed_findings(sections))

    def row(r: Row) -> Row:
        link = r.cells[0].link
        if link is None or link in printed:
            return r
        printed.add(link)
        return replace(r, anchor=link, of=(), cells=(replace(r.cells[0], link=None), *r.cells[1:]))

    def block(b: Block) -> Block:
        return replace(b, rows=tuple(row(r) for r in b.rows)) if isinstance(b, Table) else b

    return tuple(replace(s, blocks=tuple(block(b) for b in s.blocks)) if s.code == "R12" else s for s in sections)


def resolved(sections: Sequence[Section], printed: Collection[str]) -> tuple[Section, ...]:
    """Links to findings that no table prints (a group beyond those that fit) are plain text; all others stay."""
    return tuple(
        replace(s, blocks=tuple(resolved_table(b, printed) if isinstance(b, Table) else b for b in s.blocks))
        for s in sections
    )


def resolved_table(table: Table, printed: Collection[str]) -> Table:
    """One table, with links to findings that are not printed as plain text."""

    def cell(c: Cell) -> Cell:
        lost = c.link is not None and c.link.startswith("f-") and c.link not in printed
        return replace(c, link=None) if lost else c

    return replace(table, rows=tuple(replace(r, cells=tuple(cell(c) for c in r.cells)) for r in table.rows))


# --- names of places --------------------------------------------------------------------------------------------------


def named(
    summary: Table, facts: Sequence[Item], sections: Sequence[Section]
) -> tuple[Table, tuple[Item, ...], tuple[Section, ...]]:
    """Every place where a finding is printed with a name of its own: `f-0012` where it has its row, or else where it
    comes first; `f-0012.2`, `f-0012.3` wherever else it is printed."""
    homes = set(printed_findings(sections))
    count: dict[str, int] = {}

    def home(name: str) -> str:
        if name in homes:
            homes.discard(name)
            count[name] = max(count.get(name, 1), 1)
            return name
        return another(name)

    def another(name: str) -> str:
        count[name] = count.get(name, 1 if name in kept else 0) + 1
        return name if count[name] == 1 else f"{name}.{count[name]}"

    kept = frozenset(homes)
    table = _named_table(summary, home, another)
    items = tuple(_named_item(i, another) for i in facts)
    return table, items, tuple(_named_section(s, home, another) for s in sections)


def _named_section(section: Section, home: _Rename, another: _Rename) -> Section:
    return replace(section, blocks=tuple(_named_block(b, home, another) for b in section.blocks))


def _named_block(block: Block, home: _Rename, another: _Rename) -> Block:
    match block:
        case Table():
            return _named_table(block, home, another)
        case Pair():
            left = _named_figure(block.left, another)
            if isinstance(block.right, Table):
                return replace(block, left=left, right=_named_table(block.right, home, another))
            return replace(block, left=left, right=_named_figure(block.right, another))
        case Figure():
            return _named_figure(block, another)
        case Facts():
            return replace(block, items=tuple(_named_item(i, another) for i in block.items))
        case Bullets():
            return replace(block, of=tuple(tuple(map(another, names)) for names in block.of))
        case Prose():
            return replace(block, of=tuple(map(another, block.of)))
    return block


def _named_figure(figure: Figure, another: _Rename) -> Figure:
    return replace(figure, of=tuple(map(another, figure.of)))


def _named_item(item: Item, another: _Rename) -> Item:
    return replace(item, of=tuple(map(another, item.of)))


def _named_table(table: Table, home: _Rename, another: _Rename) -> Table:
    def cell(c: Cell) -> Cell:
        return replace(c, anchor=None if c.anchor is None else home(c.anchor), of=tuple(map(another, c.of)))

    def row(r: Row) -> Row:
        anchor = None if r.anchor is None else home(r.anchor)
        return replace(r, anchor=anchor, of=tuple(map(another, r.of)), cells=tuple(map(cell, r.cells)))

    return replace(table, rows=tuple(map(row, table.rows)))


def pointer(place: str) -> str:
    """What a place prints, as a path in the attached evidence.json: `/findings/12` of `f-0012` and `f-0012.3`."""
    kind, _, number = place.partition("-")
    return f"/{_PARTS[kind]}/{int(number.partition('.')[0])}"


# --- the check --------------------------------------------------------------------------------------------------------


def untraced(sections: Sequence[Section]) -> list[str]:
    """Figures in tables that neither name a finding nor stand in a table of another source, and drawings that name
    neither: there must be none. Each as "Table 12, Caption: figure".
    """
    lost = [f"{f.label}, {f.caption}: drawing" for f in _drawings(sections) if not (f.of or f.source)]
    for table in _tables(sections):
        if table.source:
            continue
        for row in table.rows:
            if row.group or row.anchor or row.of:
                continue
            cells = [c for k, c in enumerate(row.cells) if _is_figure(c, first=k == 0)]
            lost += [f"{table.label}, {table.caption}: {c.text}" for c in cells if not (c.anchor or c.of or c.link)]
    return lost


def _is_figure(cell: Cell, *, first: bool) -> bool:
    """Whether a cell holds a figure: a number by kind, or any text that reads like one but a row's name."""
    if cell.kind == "number":
        return any(ch.isdigit() for ch in cell.text)
    return not first and cell.kind != "digest" and _FIGURE.fullmatch(cell.text) is not None

"""Every printed estimate leads to its finding: where findings stand in the report, and which links hold."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from evalsuite.report.view import Block, Cell, Pair, Row, Section, Table


def printed_findings(sections: Sequence[Section]) -> frozenset[str]:
    """Anchors of the findings that stand in the tables of these sections."""
    tables = [b for s in sections for b in s.blocks if isinstance(b, Table)]
    tables += [b.right for s in sections for b in s.blocks if isinstance(b, Pair) and isinstance(b.right, Table)]
    rows = [r for t in tables for r in t.rows]
    anchors = [*(r.anchor for r in rows), *(c.anchor for r in rows for c in r.cells)]
    return frozenset(a for a in anchors if a is not None)


def anchored(sections: Sequence[Section]) -> tuple[Section, ...]:
    """A judged estimate that no other table prints (an endpoint of one group only) has its place among the criteria."""
    printed = set(printed_findings(sections))

    def row(r: Row) -> Row:
        link = r.cells[0].link
        if link is None or link in printed:
            return r
        printed.add(link)
        return replace(r, anchor=link, cells=(replace(r.cells[0], link=None), *r.cells[1:]))

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
        return replace(c, link=None) if c.link and c.link.startswith("f-") and c.link not in printed else c

    return replace(table, rows=tuple(replace(r, cells=tuple(cell(c) for c in r.cells)) for r in table.rows))

"""What a report says of repeated use: the waiver on its first page, results on fresh and on used cases side by side."""

from __future__ import annotations

from collections.abc import Mapping

from evalsuite.report.format import format_count, format_estimate, format_utc
from evalsuite.report.material import Material, anchor, question
from evalsuite.report.text import clean, short_digest
from evalsuite.report.view import Cell, Column, Item, Row, Table
from evalsuite.types import Finding

_NEVER, _BEFORE = "never used", "used before"
_MOST_USES = 30


def first_page_items(material: Material) -> tuple[Item, ...]:
    """For the first page: whether this is a view or a reviewed copy, and which waiver its run rests on."""
    view = material.recorded("view")
    shown = () if view is None else (Item(name="View", value=clean(view), tone="warning"),)
    review = material.recorded("review")
    if isinstance(review, Mapping):
        by = clean(review.get("by"), longest=60) or "an unnamed reviewer"
        text = (
            f"a reviewer's categories of wrong cases were added by {by}, from a file with SHA-256 "
            f"{short_digest(review.get('sha256'))}; the sealed report of the run is unchanged"
        )
        shown = (*shown, Item(name="Reviewed copy", value=text, tone="warning"))
    waiver = material.recorded("use.waiver")
    if not isinstance(waiver, Mapping):
        return shown
    limits = [f"for {format_count(waiver['runs'])} run{'s' * (waiver['runs'] != 1)}"] if waiver.get("runs") else []
    limits += [f"until {clean(waiver['until'])}"] if waiver.get("until") else []
    text = (
        f"{clean(waiver.get('reason'), longest=160)} — {clean(waiver.get('who'), longest=60)}, "
        f"{clean(waiver.get('role'), longest=20)}; {', '.join(limits)}; SHA-256 {short_digest(waiver.get('digest'))}"
    )
    return (*shown, Item(name="Reuse waiver", value=text, tone="warning"))


def use_words(material: Material) -> str | None:
    """How often the cases were used, counting this run, and the limit; None where it is not recorded."""
    m = material
    before, limit = m.recorded("use.before"), m.recorded("use.max_uses_per_case")
    if not isinstance(before, Mapping) or not isinstance(limit, int):
        return None
    least, most = round(before["min"]) + 1, round(before["max"]) + 1
    often = format_count(most) if least == most else f"{format_count(least)} to {format_count(most)}"
    words = f"{often} per case with this run; the limit is {format_count(limit)} per case"
    used, n = m.recorded("use.n_used_before", 0), m.recorded("use.n_cases", 0)
    if 0 < used < n:
        words += f"; {format_count(used)} of {format_count(n)} cases had been used before"
    return words


def reuse_table(material: Material) -> Table | None:
    """Primary endpoints on cases never used before and on cases used before; None where only one kind occurs."""
    found: dict[tuple[str, ...], dict[str, tuple[int, Finding]]] = {}
    for index, f in material.findings(analysis="reuse"):
        key = (f.endpoint, f.metric, str(f.operating_point), str(f.target))
        found.setdefault(key, {})[next(iter(f.stratum.values()))] = (index, f)
    if not found:
        return None
    rows = []
    for pair in found.values():
        first = next(iter(pair.values()))[1]
        cells = [Cell(text=clean(first.endpoint, longest=60), sub=question(first, several_points=True), kind="head")]
        for group in (_NEVER, _BEFORE):
            cell = Cell(text="–", kind="muted")
            if group in pair:
                index, f = pair[group]
                sub = f"{format_count(f.estimate.n)} {f.estimate.unit}s"
                cell = Cell(text=format_estimate(f.metric, f.estimate), sub=sub, kind="number", anchor=anchor(index))
            cells.append(cell)
        rows.append(Row(cells=tuple(cells)))
    return Table(
        label="",
        caption="Primary endpoints on cases never used before this run and on cases used before",
        columns=(
            Column(title="Endpoint", width=34),
            Column(title="Never used", align="right", width=33),
            Column(title="Used before", align="right"),
        ),
        rows=tuple(rows),
        notes=(
            "Which cases were used before is what the test set's ledger said when the run began "
            f"({format_utc(material.recorded('run.started_utc'))}). The verdict is judged on all cases together.",
            material.set_note,
        ),
    )


def history_table(material: Material) -> Table | None:
    """Every use of this test set that its ledger knew when the run was analysed; None where none is recorded."""
    m = material
    found = m.recorded("history", [])
    uses = [u for u in found if isinstance(u, Mapping)] if isinstance(found, list) else []
    if not uses:
        return None
    own, same = m.recorded("run.id"), m.evidence.model.get("digest")
    rows = []
    for use in uses[-_MOST_USES:]:
        device = "this model" if use.get("model") == same else f"model {short_digest(use.get('model'))}"
        rows.append(
            Row(
                cells=(
                    Cell(text=format_utc(use.get("utc")), kind="head" if use.get("run") == own else "text"),
                    Cell(text=clean(use.get("protocol_id"), longest=60) or "–", sub=device),
                    Cell(text=clean(use.get("cases"), longest=60) or "all"),
                    Cell(text=clean(use.get("state"), longest=40), sub="this run" if use.get("run") == own else ""),
                    Cell(text=clean(use.get("reason"), longest=160) or "–"),
                )
            )
        )
    earlier = len(uses) - _MOST_USES
    more = f"{format_count(earlier)} earlier uses are in the ledger. " if earlier > 0 else ""
    return Table(
        label="",
        caption="Every use of this test set, reported or not",
        columns=(
            Column(title="Begun", width=22),
            Column(title="Protocol and model", width=30),
            Column(title="Cases", width=12),
            Column(title="State", width=14),
            Column(title="Why"),
        ),
        rows=tuple(rows),
        notes=(
            f"{more}As the set's ledger had it when this run was analysed; uses of an older version of the set that "
            "its cases bring along are counted above. Cases are positions in the locked rows.",
        ),
        compact=True,
        source="record.json#/history",
    )

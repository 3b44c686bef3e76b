"""Sections about the cases: the locked test set, its mix, and how many of them reached the analysis."""

from __future__ import annotations

from collections.abc import Mapping

from evalsuite.report.figures_cases import Box, flow
from evalsuite.report.format import format_bytes, format_count, format_level_name, format_utc
from evalsuite.report.material import Material
from evalsuite.report.sections_classes import has_several
from evalsuite.report.sections_intake import completeness, intake_blocks
from evalsuite.report.signatures import lock_signature
from evalsuite.report.text import clean, given
from evalsuite.report.view import Block, Cell, Column, Facts, Figure, Item, Notice, Row, Section, Table

STATUS_WORDS = {
    "ok": "Output usable, reference established",
    "rejected": "Rejected by the device's input check",
    "failed": "Inference failed or no output",
    "indeterminate": "Output indeterminate",
    "reference_equivocal": "Reference standard equivocal",
    "reference_missing": "Reference standard missing",
}
REFERENCE_WORDS = {
    "positive": "Positive",
    "negative": "Negative",
    "known": "Established",
    "equivocal": "Equivocal",
    "missing": "Missing",
}


def test_set(material: Material) -> Section:
    m = material
    items = [
        Item(name="Identifier", value=m.set_name),
        Item(name="Merkle root", value=given(m.evidence.testset.get("root"), m.text("testset.root")), mono=True),
        Item(name="Locked", value=format_utc(m.recorded("testset.locked_utc"))),
        lock_signature(m),
        Item(name="Cases", value=format_count(m.n_cases) if m.n_cases is not None else "not recorded"),
        Item(name="Patients", value=m.text("testset.n_patients")),
        Item(
            name="Files",
            value=f"{m.text('testset.n_files')} ({format_bytes(m.recorded('testset.n_bytes'))}), every one verified "
            "against its digest before use",
        ),
    ]
    digest = m.evidence.testset.get("digest") or m.recorded("testset.digest")
    if digest:
        items.insert(2, Item(name="Lock SHA-256", value=clean(digest), mono=True))
    blocks: list[Block] = [Facts(items=tuple(items)), *intake_blocks(m)]
    return Section(id="test-set", number="", title="Test set", code="R05", blocks=tuple(blocks))


def case_mix(material: Material) -> Section:
    """Who the cases are, as far as the protocol groups them; a person adds what no column says."""
    m = material
    blocks: list[Block] = []
    if m.evidence.accounting:
        blocks.append(_mix(m))
    complete = completeness(m)
    if complete is not None:
        blocks.append(complete)
    return Section(id="case-mix", number="", title="Patients and case mix", code="R07", blocks=tuple(blocks))


def reference_words(m: Material) -> str:
    task = m.protocol.task
    if task.kind in ("multiclass", "ordinal"):
        order = ", from the lowest grade to the highest" if task.kind == "ordinal" else ""
        return f"column {clean(task.reference)}; one of {', '.join(clean(c) for c in task.classes or ())}{order}"
    if task.kind == "segmentation":
        return f"column {clean(task.reference)}; masks of {', '.join(clean(c) for c in task.classes or ())}"
    if task.kind == "detection":
        return f"column {clean(task.reference)}; tables of lesions, positive: a case with one at least"
    if task.kind == "regression":
        return f"column {clean(task.reference)}; a measured value, in its own unit"
    columns = ", ".join(clean(c) for c in task.reference) if isinstance(task.reference, list) else clean(task.reference)
    if task.kind == "multilabel":
        return f"columns {columns}; label present where its column is {_values(task.positive)}"
    return f"column {columns}; target condition present where it is {_values(task.positive)}"


def _values(value: object) -> str:
    return " or ".join(clean(v) for v in value) if isinstance(value, list) else clean(value)


def _both(analysed: Mapping[str, int]) -> str:
    if "known" in analysed:
        return format_count(analysed["known"])
    return " and ".join(f"{format_count(n)} reference-{kind}" for kind, n in analysed.items())


def _mix(material: Material) -> Table:
    """Cases per group and class of the reference standard."""
    cells: dict[tuple[tuple[str, ...], tuple[str, ...]], dict[str, int]] = {}
    for a in material.evidence.accounting:
        if len(a.stratum) > 1:
            continue
        key = (tuple(a.stratum), tuple(a.stratum.values()))
        row = cells.setdefault(key, {})
        row[a.reference] = row.get(a.reference, 0) + a.n
    rows: list[Row] = []
    last: tuple[str, ...] | None = None
    kinds = settled_kinds(material)
    most = 60
    for (names, levels), counts in cells.items():
        if len(rows) >= most:
            break
        if names != last and names:
            rows.append(Row(cells=(Cell(text=clean(names[0], longest=80)),), group=True))
        last = names
        unsettled = counts.get("equivocal", 0) + counts.get("missing", 0)
        label = format_level_name(levels[0]) if levels else "Whole test set"
        rows.append(
            Row(
                cells=(
                    Cell(text=label, kind="head" if not levels else "text"),
                    Cell(text=format_count(sum(counts.values())), kind="number"),
                    *(Cell(text=format_count(counts.get(kind, 0)), kind="number") for kind in kinds),
                    Cell(text=format_count(unsettled), kind="number"),
                )
            )
        )
    notes = ["n counts cases; empty cells are the group “missing”, never dropped.", material.set_note]
    if len(rows) >= most:
        notes.insert(0, "More groups than fit here: all are in the attached evidence.json (accounting).")
    return Table(
        label="",
        caption="Case mix: cases by group and reference standard",
        columns=(
            Column(title="Group", width=40),
            Column(title="Cases", align="right"),
            *(Column(title=f"Reference {REFERENCE_WORDS[kind].lower()}", align="right") for kind in kinds),
            Column(title="Equivocal or missing", align="right"),
        ),
        rows=tuple(rows),
        notes=tuple(notes),
        compact=True,
        source="evidence.json#/accounting",
    )


def settled_kinds(material: Material) -> tuple[str, ...]:
    """What an established reference standard says: present or absent; with several classes only that it is there."""
    return ("known",) if has_several(material) else ("positive", "negative")


def case_flow(material: Material) -> Section:
    m = material
    if not m.evidence.accounting:
        text = "The evidence holds no accounting of cases: how many were lost, and why, cannot be said."
        notice = Notice(title="No case accounting", text=text)
        return Section(id="case-flow", number="", title="Case accounting", code="R06", blocks=(notice,))
    total = m.count()
    no_output = {s: m.count(status=s) for s in ("rejected", "failed", "indeterminate")}
    no_reference = {s: m.count(status=s) for s in ("reference_equivocal", "reference_missing")}
    usable = m.count(status="ok")
    kinds = settled_kinds(m)
    analysed = {kind: m.count(status="ok", reference=kind) for kind in kinds}
    without = sum(no_output.values())
    unsettled = sum(no_reference.values())
    policy = m.protocol.missing_outputs.primary.replace("_", " ")
    reference_policy = m.protocol.missing_reference.primary.replace("_", " ")

    def split(status: str) -> str:
        if has_several(m):
            return format_count(m.count(status=status))
        each = (f"{format_count(m.count(status=status, reference=kind))} {kind}" for kind in kinds)
        return f"{format_count(m.count(status=status))} ({', '.join(each)})"

    aside_output = Box(
        title=f"No usable output: {format_count(without)}",
        lines=(
            f"rejected by input check: {split('rejected')}",
            f"failed: {split('failed')}",
            f"indeterminate: {split('indeterminate')}",
            f"primary analysis: {policy}",
        ),
    )
    aside_reference = Box(
        title=f"Reference not established: {format_count(unsettled)}",
        lines=(
            f"equivocal: {format_count(no_reference['reference_equivocal'])}",
            f"missing: {format_count(no_reference['reference_missing'])}",
            f"primary analysis: {reference_policy}",
        ),
    )
    declared = m.n_cases
    steps = [
        (Box(title=f"Cases in the locked test set: {format_count(declared if declared is not None else total)}",
             lines=(m.set_name,)), None),
        (Box(title=f"Submitted to the model: {format_count(total)}", lines=("every case of the set",)), aside_output),
        (Box(title=f"With a usable output: {format_count(total - without)}"), aside_reference),
        (Box(title=f"With output and reference: {format_count(usable)}"), None),
    ]  # fmt: skip
    ends = [Box(title=f"Reference {REFERENCE_WORDS[kind].lower()}: {format_count(n)}") for kind, n in analysed.items()]
    holds = declared is None or declared == total
    check = (
        f"Sum check: {format_count(usable)} analysed + {format_count(without)} without output + "
        f"{format_count(unsettled)} without reference = {format_count(usable + without + unsettled)}; "
    )
    closes = usable + without + unsettled == total and sum(analysed.values()) == usable
    check += (
        f"{'equals' if holds else 'DIFFERS FROM'} the {format_count(declared)} cases locked."
        if declared is not None
        else "the number of cases locked is not recorded."
    )
    if not closes:
        check += " The parts do not add up to the whole: see the attached evidence."
    alt = (
        f"Of {format_count(total)} cases, {format_count(without)} had no usable output and {format_count(unsettled)} "
        f"no established reference; {_both(analysed)} cases had both."
    )
    figure = Figure(
        label="",
        caption="Flow of cases from the locked test set to the analysis",
        svg=flow(steps, ends, alt=alt),
        alt=alt,
        notes=(check, m.set_note),
        source="evidence.json#/accounting",
    )
    return Section(id="case-flow", number="", title="Case accounting", code="R06", blocks=(figure,))

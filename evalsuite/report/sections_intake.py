"""What was found when the test set was taken in: every check with its count, why it matters and what is advised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evalsuite.report.format import format_count
from evalsuite.report.material import Material
from evalsuite.report.text import clean, given, sentence, short_digest
from evalsuite.report.view import Block, Bullets, Cell, Column, Facts, Heading, Item, Row, Table, Tone

_WORDS: Mapping[str, tuple[str, Tone]] = {
    "ok": ("ok", "neutral"),
    "warning": ("WARNING", "warning"),
    "problem": ("PROBLEM", "not_met"),
    "not_checked": ("not checked", "neutral"),
}
_MOST_CASES = 12


def intake_blocks(material: Material) -> list[Block]:
    """The intake checks and the version's history; [] where none is recorded."""
    m = material
    blocks: list[Block] = []
    versions = _version_items(m)
    if versions:
        blocks += [Heading(text="Version and selection", id="testset-version"), Facts(items=tuple(versions))]
    rows = m.recorded("testset.intake.rows")
    if isinstance(rows, list) and rows:
        blocks += [Heading(text="Intake checks", id="intake"), _checks(m, rows)]
        found = [r for r in rows if r.get("outcome") in ("warning", "problem")]
        if found:
            blocks.append(Bullets(items=tuple(_finding(r) for r in found)))
    return blocks


def _checks(m: Material, rows: Sequence[Mapping[str, Any]]) -> Table:
    made = []
    for row in rows:
        # a reader of a clean set is spared fifteen explanations
        why = clean(row.get("why"), longest=260) if row.get("outcome") in ("warning", "problem") else ""
        word, tone = _WORDS.get(str(row.get("outcome")), ("not recorded", "neutral"))
        made.append(
            Row(
                cells=(
                    Cell(text=clean(row.get("title"), longest=80), sub=why),
                    Cell(text=word, tone=tone, kind="verdict" if tone != "neutral" else "muted"),
                    Cell(text=sentence(clean(row.get("summary"), longest=600))),
                )
            )
        )
    decoded, images = m.recorded("testset.intake.n_decoded", 0), m.recorded("testset.intake.n_images", 0)
    return Table(
        label="",
        caption="Intake checks: what was looked for when the test set was locked, and what was found",
        columns=(Column(title="Check", width=40), Column(title="Outcome", width=15), Column(title="Found")),
        rows=tuple(made),
        notes=(
            f"{format_count(int(decoded))} of {format_count(int(images))} image files were decoded. All cases "
            "concerned are in the attached intake.json, whose SHA-256 the lock binds.",
            m.set_note,
        ),
        compact=True,
        source="intake.json",
    )


def _finding(row: Mapping[str, Any]) -> str:
    cases = [clean(c, longest=60) for c in list(row.get("cases") or ())[:_MOST_CASES]]
    more = len(row.get("cases") or ()) - len(cases)
    listed = f" Cases: {', '.join(cases)}{f' and {format_count(more)} more' if more > 0 else ''}." if cases else ""
    advice = f" {sentence(clean(row.get('action'), longest=300))}" if row.get("action") else ""
    return f"{clean(row.get('title'), longest=80)}.{listed}{advice}"


def _version_items(m: Material) -> list[Item]:
    items = []
    lineage, draw, retired = (m.recorded(f"testset.{k}") for k in ("lineage", "draw", "retired"))
    if isinstance(lineage, Mapping):
        old, counts = lineage.get("supersedes", {}), lineage.get("counts", {})
        changes = ", ".join(
            f"{format_count(n)} {clean(k)}" if isinstance(n, int) else f"{clean(k)} not verifiable"
            for k, n in counts.items()
        )
        name = f"version {given(old.get('version'), 'not recorded')}, root {short_digest(old.get('root'))}"
        items.append(Item(name="Supersedes", value=f"{name}: {changes}"))
    if isinstance(draw, Mapping):
        by = f" by {clean(draw.get('by'), longest=60)}" if draw.get("by") else ""
        items.append(
            Item(
                name="Random draw",
                value=f"{format_count(int(draw['drawn_cases']))} of {format_count(int(draw['pool_cases']))} cases, "
                f"{format_count(int(draw['drawn_patients']))} of {format_count(int(draw['pool_patients']))} patients"
                f"{by}; seed {draw['seed']}, {clean(draw.get('algorithm'))}",
            )
        )
        items.append(Item(name="Pool SHA-256", value=given(draw.get("pool_digest"), "not recorded"), mono=True))
    if isinstance(retired, int) and retired:
        items.append(Item(name="Retired", value=f"{format_count(retired)} cases, on record and not evaluated"))
    return items


def completeness(m: Material) -> Table | None:
    """How many cases state each attribute that the protocol stratifies by or may disclose."""
    total = m.recorded("testset.attributes.n_dicom", 0)
    present = m.recorded("testset.attributes.present", {})
    used = [s.column or s.name for s in m.protocol.strata if s.cross is None] + list(m.protocol.disclose)
    names = [n for n in dict.fromkeys(used) if n in present]
    if not total or not names:
        return None
    rows = tuple(
        Row(
            cells=(
                Cell(text=clean(n.removeprefix("dicom:"), longest=60)),
                Cell(text=f"{format_count(int(present[n]))} of {format_count(int(total))}", kind="number"),
                Cell(text=f"{100 * int(present[n]) / int(total):.0f} %", kind="number"),
            )
        )
        for n in names
    )
    return Table(
        label="",
        caption="Completeness of the DICOM attributes this study groups by",
        columns=(
            Column(title="Attribute"),
            Column(title="Stated", align="right", width=24),
            Column(title="Complete", align="right", width=20),
        ),
        rows=rows,
        notes=("Cases that do not state one are a group of their own, named missing.",),
        compact=True,
        source="record.json#/testset/attributes",
    )

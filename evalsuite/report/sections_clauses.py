"""R33: what reporting checklists and clauses ask for, whether this report says it, and where; never a score."""

from __future__ import annotations

from collections.abc import Mapping

from evalsuite.protocol.checklists import Checklist, find_checklist
from evalsuite.report.contents import absent_sections
from evalsuite.report.facts import facts_of, not_applicable, stated
from evalsuite.report.gaps import STATUS_WORDS, Gap, gaps_of
from evalsuite.report.material import Material
from evalsuite.report.study_items import speaks
from evalsuite.report.text import clean, sentence
from evalsuite.report.view import Block, Cell, Column, Prose, Row, Section, Table, Tone

#: Printed where the study description chooses none.
_DEFAULT = ("claim2024",)
_TONES: dict[str, Tone] = {"partly": "warning", "not_reported": "warning"}
_MARKS = {"reported": "●", "partly": "△", "not_reported": "■", "not_applicable": "–"}


def cross_reference(material: Material, present: Mapping[str, str]) -> Section:
    """The chosen checklists item by item, and the sections this report does not have.

    `present` are the codes of the sections it has, with their anchors.
    """
    absent = absent_sections(material, present)
    blocks: list[Block] = [] if absent is None else [absent]
    if speaks(material):
        facts, waived = facts_of(material), not_applicable(material)
        named = (find_checklist(n) for n in stated(material).get("checklists", ()) or _DEFAULT)
        chosen = list({c.name: c for c in named if c is not None}.values())
        said = (
            "An item is reported where this report states what it asks for; that says nothing of the quality of what "
            "is stated, and no score is made of it. The words are paraphrases: the source decides. Other lists: "
            "evalsuite gaps RUN --checklist NAME."
        )
        blocks.append(Prose(paragraphs=(said,)))
        for checklist in chosen:
            blocks += [_table(checklist, gaps_of(checklist, facts, waived), present)]
    return Section(
        id="cross-reference", number="", title="Clauses and where they are answered", code="R33", blocks=tuple(blocks)
    )


def _table(checklist: Checklist, gaps: tuple[Gap, ...], present: Mapping[str, str]) -> Table:
    rows = []
    for gap in gaps:
        sections = ", ".join(str(int(code[1:])) for code in gap.item.where)
        missing = f"missing: {'; '.join(f.words for f in gap.missing)}" if gap.missing else ""
        sub = " · ".join(part for part in (missing, clean(gap.reason, longest=500)) if part)
        rows.append(
            Row(
                cells=(
                    Cell(text=gap.item.id, kind="head"),
                    Cell(text=clean(gap.item.text, longest=300), sub=sub),
                    Cell(text=sections, link=present.get(gap.item.where[0])),
                    Cell(
                        text=f"{_MARKS[gap.status]} {STATUS_WORDS[gap.status]}",
                        tone=_TONES.get(gap.status, "neutral"),
                        kind="verdict" if gap.status in _TONES else "muted",
                    ),
                )
            )
        )
    about = (
        sentence(f"{checklist.title}: {checklist.standing}"),
        sentence(f"Source: {checklist.source}"),
        sentence(f"How far it was checked: {checklist.evidence_status} (checked on {checklist.checked_on})"),
    )
    return Table(
        label="",
        caption=f"{checklist.title}: what it asks for, and where this report says it",
        columns=(
            Column(title="Item", width=11),
            Column(title="Asks for"),
            Column(title="Section", width=11),
            Column(title="Status", width=17),
        ),
        rows=tuple(rows),
        notes=about,
        compact=True,
        source=f"checklists/{checklist.name}.yaml",
    )

"""What the study description states, section by section, and what it leaves open: a list, never a blank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evalsuite.protocol.study_load import StudyField, is_stated, study_fields, value_at
from evalsuite.report.facts import Fact, facts_of, section_of, stated
from evalsuite.report.format import format_utc
from evalsuite.report.material import Material
from evalsuite.report.text import clean, sentence, short_digest
from evalsuite.report.view import Block, Cell, Column, Facts, Item, Row, Table

_MOST_ROWS = 60
_TITLES = {
    "report.revisions": "Versions of this report",
    "device.tested_vs_released": "Differences between the tested and the released version",
    "device.history": "Versions tested before",
    "design.deviations": "Deviations from the protocol",
    "dataset.sites": "Sites",
    "participants.excluded": "Excluded before the test set was locked",
    "demographics.unavailable": "Characteristics of patients that are not available",
    "reference_standard.truthers": "Who made the reference standard",
    "anomalies": "Unresolved anomalies",
    "approvers": "Who answers for this report",
}
#: Fields that a section of its own prints.
_OWN = ("risks",)
_ABBREVIATIONS = {"udi di": "UDI-DI"}


def speaks(material: Material) -> bool:
    """Whether this report prints the study description: views for others do not."""
    return material.recorded("view") is None


def fields_of(code: str) -> tuple[StudyField, ...]:
    """Fields of the study description that a section prints."""
    return tuple(f for f in study_fields() if section_of(f.path) == code)


def open_facts(material: Material, code: str) -> tuple[Fact, ...]:
    """What the study description leaves open in a section."""
    facts = facts_of(material)
    return tuple(facts[f.path] for f in fields_of(code) if facts[f.path].state == "open")


def study_blocks(material: Material, code: str) -> list[Block]:
    """The fields of one section as stated, what does not apply with the reason, and what is open."""
    if not speaks(material):
        return []
    says, facts = stated(material), facts_of(material)
    items: list[Item] = []
    tables: list[Block] = []
    for field in fields_of(code):
        fact = facts[field.path]
        if fact.state == "not_applicable":
            items.append(Item(name=_name(field), value=f"Not applicable: {clean(fact.reason, longest=500)}"))
        elif not is_stated(says, field.path) or field.path in _OWN:
            continue
        elif field.several and isinstance(next(iter(value_at(says, field.path)), None), Mapping):
            tables.append(_table(material, field, value_at(says, field.path)))
        else:
            items.append(Item(name=_name(field), value=_text(value_at(says, field.path))))
    left = open_facts(material, code)
    if left:
        items.append(Item(name="Open items", value=_listed(left), tone="warning"))
    return [*([Facts(items=tuple(items))] if items else []), *tables]


def has_content(material: Material, code: str) -> bool:
    """Whether the study description says anything a section prints, not applicable included."""
    facts, says = facts_of(material), stated(material)
    return speaks(material) and any(
        facts[f.path].state == "not_applicable" or is_stated(says, f.path) for f in fields_of(code)
    )


def study_status(material: Material) -> list[Item]:
    """Which study description this is, and whether it changed after the reference standard was opened."""
    if not speaks(material):
        return []
    found = material.recorded("study")
    if not isinstance(found, Mapping):
        return [Item(name="Study description", value="None given (study.yaml): see Open items", tone="warning")]
    digest = f"SHA-256 {short_digest(found.get('sha256'))}"
    done = found.get("completed")
    if not isinstance(done, Mapping):
        return [Item(name="Study description", value=f"As it was before the reference standard was opened; {digest}")]
    changed = [clean(str(p), longest=60) for p in done.get("changed", ())]
    what = f"fields that differ since: {', '.join(changed)}" if changed else "no field differs since"
    began = "without one" if done.get("at_start") is None else f"with SHA-256 {short_digest(done['at_start'])}"
    value = (
        f"Completed {format_utc(done.get('utc'))} by {clean(done.get('by'), longest=60)}, after the reference standard "
        f"was opened; {digest}. The run began {began}; {what}."
    )
    return [Item(name="Study description", value=value, tone="warning" if changed else "neutral")]


def open_items_table(material: Material) -> Table | None:
    """Everything the study description leaves open, by section; None where nothing is."""
    if not speaks(material):
        return None
    codes = list(dict.fromkeys(sorted(section_of(f.path) for f in study_fields())))
    found = [(code, open_facts(material, code)) for code in codes]
    rows = tuple(
        Row(cells=(Cell(text=str(int(code[1:])), kind="head"), Cell(text=_listed(left))))
        for code, left in found
        if left
    )
    if not rows:
        return None
    return Table(
        label="",
        caption="Open items of the study description: what only a person can state, and has not",
        columns=(Column(title="Section", width=12), Column(title="Not stated in study.yaml")),
        rows=rows,
        notes=("Fields that do not apply are declared so, with the reason, in study.yaml (not_applicable).",),
        compact=True,
        source="record.json#/study",
    )


def _listed(facts: Sequence[Fact]) -> str:
    return sentence("; ".join(_words(f.name) for f in facts))


def _words(path: str) -> str:
    name = path.rpartition(".")[2].replace("_", " ")
    return _ABBREVIATIONS.get(name, name)


def _name(field: StudyField) -> str:
    words = _words(field.path)
    return words[:1].upper() + words[1:]


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "\n".join(clean(v, longest=2000) for v in value) or "None"
    if isinstance(value, int):
        return f"{value:,}"
    return clean(value, longest=4000)


def _table(material: Material, field: StudyField, rows: Sequence[Any]) -> Table:
    """Rows as stated; only columns in which something stands."""
    title = _TITLES.get(field.path, _name(field))
    notes = [f"{len(rows) - _MOST_ROWS} more rows are in the record of the run."] if len(rows) > _MOST_ROWS else []
    plain = rows[:_MOST_ROWS]
    keys = [k for k in dict.fromkeys(k for row in plain for k in row) if any(row.get(k) for row in plain)]
    return Table(
        label="",
        caption=title,
        columns=tuple(Column(title=k.replace("_", " ").capitalize()) for k in keys),
        rows=tuple(Row(cells=tuple(Cell(text=_cell(row.get(k))) for k in keys)) for row in plain),
        notes=(*notes, "As stated in the study description."),
        compact=True,
        source="record.json#/study",
    )


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list | tuple):
        return ", ".join(clean(v, longest=300) for v in value)
    return clean(str(value).replace("_", " "), longest=2000)

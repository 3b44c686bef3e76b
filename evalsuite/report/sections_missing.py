"""Section on missing and failed cases: how every case ended, and the estimates under other assumptions."""

from __future__ import annotations

from collections.abc import Sequence

from evalsuite.report.format import (
    format_count,
    format_fraction,
    format_interval,
    format_stratum,
    format_value,
    not_estimable,
)
from evalsuite.report.material import Material, anchor, question
from evalsuite.report.sections_cases import REFERENCE_WORDS, STATUS_WORDS, settled_kinds
from evalsuite.report.sections_strata import GROUP_WIDTH, PER_TABLE, listed
from evalsuite.report.text import clean
from evalsuite.report.view import Block, Cell, Column, Prose, Row, Section, Table
from evalsuite.types import Finding


def missing(material: Material) -> Section:
    blocks: list[Block] = [_accounting_table(material)]
    others = _policies_tables(material)
    if others:
        blocks += others
    else:
        blocks.append(
            Prose(
                paragraphs=(
                    "Every case has a usable output and an established reference standard, or none of the endpoints "
                    "depends on those that have not: no sensitivity analysis of missing data applies.",
                )
            )
        )
    return Section(id="missing", number="", title="Missing and failed cases", code="R16", blocks=tuple(blocks))


def _accounting_table(material: Material) -> Table:
    rows = []
    kinds = (*settled_kinds(material), "equivocal", "missing")
    for status, words in STATUS_WORDS.items():
        counts = [material.count(status=status, reference=r) for r in kinds]
        cells = [Cell(text=words), *(Cell(text=format_count(c), kind="number") for c in counts)]
        rows.append(Row(cells=(*cells, Cell(text=format_count(sum(counts)), kind="number"))))
    totals = [material.count(reference=r) for r in kinds]
    rows.append(
        Row(
            cells=(
                Cell(text="Total", kind="head"),
                *(Cell(text=format_count(c), kind="head") for c in totals),
                Cell(text=format_count(sum(totals)), kind="head"),
            )
        )
    )
    worst = _most_affected(material)
    notes = ["Counts are cases. Counts by group are in the attached evidence.json (accounting).", material.set_note]
    if worst:
        notes.insert(0, worst)
    return Table(
        label="",
        caption="Outcome of every case by reference standard",
        columns=(
            Column(title="Outcome", width=40),
            *(Column(title=REFERENCE_WORDS[kind], align="right") for kind in kinds),
            Column(title="Total", align="right"),
        ),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def _most_affected(material: Material) -> str:
    """The group with the most cases without a usable output, in words."""
    failed: dict[tuple[tuple[str, str], ...], int] = {}
    totals: dict[tuple[tuple[str, str], ...], int] = {}
    for a in material.evidence.accounting:
        if len(a.stratum) != 1:
            continue
        key = tuple(a.stratum.items())
        totals[key] = totals.get(key, 0) + a.n
        if a.status in ("rejected", "failed", "indeterminate"):
            failed[key] = failed.get(key, 0) + a.n
    if not any(failed.values()):
        return ""
    key = max(failed, key=lambda k: (failed[k], k))
    return (
        f"Most cases without a usable output in one group: {format_stratum(dict(key))}, {format_count(failed[key])} of "
        f"{format_count(totals[key])}."
    )


def _policies_tables(material: Material) -> list[Table]:
    """One row for each assumption about what is missing, one column for each endpoint that is judged."""
    found = list(material.findings(analysis="missing_data"))
    order = material.endpoint_order
    judged = [e for e in material.protocol.endpoints if e.criterion is not None or e.role == "primary"]
    cells: dict[str, dict[str | None, tuple[int, Finding]]] = {}
    for endpoint in sorted(judged, key=lambda e: order.get(e.name, 999)):
        where = dict(endpoint.stratum)
        mine = {f.condition: (i, f) for i, f in found if f.endpoint == endpoint.name and dict(f.stratum) == where}
        primary = material.find(endpoint.name, where)
        if mine and primary is not None:
            cells[endpoint.name] = {None: primary, **mine}
    names = list(cells)[: 3 * PER_TABLE]
    conditions = list(dict.fromkeys(c for column in cells.values() for c in column))
    several = len(material.protocol.operating_points) > 1
    tables = []
    for start in range(0, len(names), PER_TABLE):
        chosen = names[start : start + PER_TABLE]
        rows = tuple(_policy_row(condition, [cells[n].get(condition) for n in chosen]) for condition in conditions)
        heads = [cells[n][None][1] for n in chosen]
        left_out = len(cells) - len(names)
        notes = [f"Estimate and {material.interval_title}, methods as in the primary analysis. {material.set_note}"]
        notes[0] += " Other endpoints are in the attached evidence.json."
        if left_out:
            notes.append(f"{left_out} more judged endpoints are in the attached evidence.json.")
        tables.append(
            Table(
                label="",
                caption=f"Other assumptions about what is missing: {listed(heads)}",
                columns=(
                    Column(title="Assumption", width=GROUP_WIDTH + 10),
                    *(
                        Column(
                            title=_judged_title(f, several=several), align="right", width=(90 - GROUP_WIDTH) / PER_TABLE
                        )
                        for f in heads
                    ),
                    *((Column(title=""),) if len(heads) < PER_TABLE else ()),
                ),
                rows=rows,
                notes=tuple(notes),
            )
        )
    return tables


def _judged_title(finding: Finding, *, several: bool) -> str:
    title = question(finding, several_points=several)
    return f"{title} ({format_stratum(finding.stratum)})" if finding.stratum else title


def _policy_row(condition: str | None, found: Sequence[tuple[int, Finding] | None]) -> Row:
    cells = [Cell(text="Primary analysis", kind="head") if condition is None else Cell(text=_policy_words(condition))]
    for item in found:
        if item is None:
            cells.append(Cell(text="–", kind="muted"))
            continue
        index, finding = item
        e = finding.estimate
        place = None if condition is None else anchor(index)
        if e.value is None:
            cells.append(Cell(text=not_estimable(e), kind="muted", anchor=place))
            continue
        fraction = format_fraction(e)
        cells.append(
            Cell(
                text=f"{fraction + ' · ' if fraction else ''}{format_value(finding.metric, e)}",
                sub=format_interval(finding.metric, e),
                kind="number" if condition is not None else "head",
                anchor=place,
            )
        )
    if len(found) < PER_TABLE:
        cells.append(Cell(text=""))
    return Row(cells=tuple(cells))


def _policy_words(condition: str | None) -> str:
    if not condition or "=" not in condition:
        return clean(condition or "not stated", longest=120)
    what, _, policy = condition.partition("=")
    subject = {"missing_outputs": "Missing outputs", "missing_reference": "Missing reference"}.get(what, clean(what))
    words = {
        "worst_case": "worst case for the device",
        "best_case": "best case for the device",
        "exclude": "left out",
        "as_negative": "called negative",
        "as_positive": "called positive",
        "tipping_point": "tipping point",
    }
    return f"{subject}: {words.get(policy, clean(policy))}"

"""Section on missing and failed cases: how every case ended, and the estimates under other assumptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evalsuite.report.format import (
    format_count,
    format_fraction,
    format_interval,
    format_number,
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

MOST_TIPPING_ROWS = 60


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
    tipping = _tipping_table(material)
    if tipping is not None:
        blocks.append(tipping)
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
        source="evidence.json#/accounting",
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


def _tipping_table(material: Material) -> Table | None:
    """One row per criterion: when it would fail if cases without a reference turned out against the device."""
    found = list(material.findings(analysis="tipping_point"))
    if not found:
        return None
    several = len(material.protocol.operating_points) > 1
    groups: dict[tuple[str, tuple[tuple[str, str], ...]], dict[str, tuple[int, Finding]]] = {}
    for index, f in found:
        key = f.condition if f.condition in ("all_right", "all_wrong") else f.metric
        groups.setdefault((f.endpoint, tuple(f.stratum.items())), {})[str(key)] = (index, f)
    rows = [_tipping_row(material, parts, several=several) for parts in list(groups.values())[:MOST_TIPPING_ROWS]]
    notes = [
        "How many of the cases without an established reference standard the device would have to have wrong before "
        "the criterion fails, every division of them tried. Far more than expected is reassuring; fewer is not. "
        "Expected: as often wrong as on cases with a reference and the same call. Cases without an output: as in "
        "the primary analysis.",
    ]
    if any(f.metric == "error_to_fail" for _, f in found):
        notes.append(
            "Errors of measurements: all right is no error in these cases, all wrong the largest that the protocol "
            "declares; the size is that which every one of them would have to have, to the worst side. Expected: the "
            "mean absolute error of cases with a reference."
        )
    if any(f.metric == "auroc" for _, f in found):
        notes.append(
            "AUROC: all right and all wrong are the largest and the smallest area possible; the number is how many of "
            "the possible numbers of positives among these cases allow a division that fails."
        )
    if len(groups) > MOST_TIPPING_ROWS:
        notes.append(f"{len(groups) - MOST_TIPPING_ROWS} more criteria are in the attached evidence.json.")
    return Table(
        label="",
        caption="Tipping points: cases without a reference standard",
        columns=(
            Column(title="Criterion on", width=24),
            Column(title="Cases", align="right", width=8),
            Column(title="All right", align="right", width=20),
            Column(title="All wrong", align="right", width=20),
            Column(title="Fails from", align="right", width=18),
            Column(title="Expected", align="right", width=10),
        ),
        rows=tuple(rows),
        notes=(*notes, material.set_note),
    )


def _tipping_row(material: Material, parts: dict[str, tuple[int, Finding]], *, several: bool) -> Row:
    index, right = parts["all_right"]
    of_size = "error_to_fail" in parts
    keys = ("error_to_fail", "error_expected") if of_size else ("cases_wrong_to_fail", "cases_wrong_expected")
    tipping, expected = (parts[key][1] for key in keys)
    of_tipping = (anchor(parts[keys[0]][0]),)
    title = Cell(text=_judged_title(right, several=several), sub=clean(right.endpoint, longest=80))
    cases = Cell(text=format_count(tipping.estimate.n), kind="number", of=of_tipping)
    if right.estimate.value is None:
        reason = Cell(text=not_estimable(right.estimate), kind="muted", span=4, anchor=anchor(index))
        return Row(cells=(title, cases, reason))
    ends = [
        Cell(
            text=format_value(f.metric, f.estimate),
            sub=format_interval(f.metric, f.estimate),
            kind="number",
            anchor=anchor(i),
        )
        for i, f in (parts["all_right"], parts["all_wrong"])
    ]
    t = tipping.estimate
    if t.value is None:
        sub = "holds up to the largest error" if of_size else "holds under every division"
        text = Cell(text="never", sub=sub, kind="number")
    elif of_size:
        text = Cell(text=f"error of {format_number(t.value)}", sub="in every one of them", kind="number")
    elif right.metric == "auroc":
        text = Cell(text=f"{format_count(t.numerator)} of {format_count(t.denominator)} numbers", kind="number")
    elif t.value == 0:
        text = Cell(text="0", sub="fails with all of them right", kind="number")
    else:
        text = Cell(text=f"{format_count(t.value)} of {format_count(t.denominator)} wrong", kind="number")
    e = expected.estimate.value
    usual = "–" if e is None else format_number(e) if of_size else f"{e:.1f}"
    return Row(
        cells=(
            title,
            cases,
            *ends,
            replace(text, anchor=of_tipping[0]),
            Cell(text=usual, kind="number", anchor=anchor(parts[keys[1]][0])),
        )
    )


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
                link=anchor(index) if place is None else None,
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

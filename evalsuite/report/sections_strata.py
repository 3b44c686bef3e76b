"""Sections of groups: a forest plot for each primary endpoint, a table for each stratum, and what is missing where."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evalsuite.report.figures_cases import ForestRow, forest
from evalsuite.report.format import (
    format_count,
    format_estimate,
    format_fraction,
    format_interval,
    format_level_name,
    format_stratum,
    format_value,
)
from evalsuite.report.judged import criterion_words
from evalsuite.report.material import (
    ROLE_ORDER,
    Material,
    anchor,
    bounds,
    higher_is_better,
    in_groups,
    metric_title,
    question,
)
from evalsuite.report.sections_classes import has_several, is_detection, too_few_of
from evalsuite.report.sections_group_differences import group_differences
from evalsuite.report.text import clean
from evalsuite.report.view import Block, Cell, Column, Figure, Heading, Prose, Row, Section, Table
from evalsuite.types import Estimate, Finding

#: "not assessable: 6 reference-positive cases for class 'df', fewer than 10": how many, and of which.
_TOO_FEW_OF_ONE = re.compile(r"not assessable: (\d+) (?:reference-\w+ )?cases (?:of|for) \w+ '(.+)', fewer")

MOST_FORESTS = 6
MOST_FOREST_ROWS = 36
_MOST_UNDEFINED_ROWS = 2
MOST_GROUPS_PER_STRATUM = 40
MOST_ROWS = 160
GROUP_WIDTH = 17
MOST_TABLES = 30
PER_TABLE = 4


def strata(material: Material) -> Section:
    inside = list(material.findings(overall=False))
    if not inside:
        text = "The protocol declares no strata; performance in groups of patients was not examined."
        if material.recorded("view") is not None:
            text = "Figures of groups are withheld in this view."
        return Section(id="strata", number="", title="Groups", code="R14", blocks=(Prose(paragraphs=(text,)),))
    blocks: list[Block] = [
        Prose(
            paragraphs=(
                "Every estimate stands with its interval; an interval that includes the whole set's estimate is not "
                "evidence that groups are equal. Groups count towards the verdict only where a criterion says so.",
            )
        )
    ]
    blocks += _forests(material, inside)
    blocks += _tables(material, inside)
    blocks += group_differences(material)
    return Section(id="strata", number="", title="Groups", code="R14", blocks=tuple(blocks))


def _is_small(material: Material, estimate: Estimate) -> bool:
    limit = material.protocol.small_strata.flag_below
    counts = [c for c in (estimate.n_positive, estimate.n_negative) if c]
    return bool(counts) and min(counts) < limit


def _forests(material: Material, inside: Sequence[tuple[int, Finding]]) -> list[Block]:
    blocks: list[Block] = []
    primary = []
    seen: set[tuple[str, ...]] = set()
    for endpoint in (e for e in material.protocol.endpoints if e.role == "primary"):
        found = material.find(endpoint.name)
        # An endpoint judged in one group has the same numbers in all groups as the one judged in the whole set.
        if found is not None and material.asked(found[1]) not in seen:
            seen.add(material.asked(found[1]))
            primary.append(found)
    for found in primary[:MOST_FORESTS]:
        rows, left_out = forest_rows(material, found[1].endpoint, inside)
        if len(rows) <= 1:
            continue
        blocks.append(_forest_figure(material, found[1], rows, left_out))
    if len(primary) > MOST_FORESTS:
        blocks.append(
            Prose(
                paragraphs=(
                    f"Forest plots are drawn for the first {MOST_FORESTS} primary endpoints; all are tabled below.",
                )
            )
        )
    return blocks


def forest_rows(
    material: Material, endpoint: str, inside: Sequence[tuple[int, Finding]]
) -> tuple[list[ForestRow], int]:
    """Rows of an endpoint's forest plot, and how many groups did not fit."""
    found = material.find(endpoint)
    rows: list[ForestRow] = []
    left_out = 0
    if found is not None:
        rows.append(_forest_row(material, found, "Whole test set", overall=True))
    mine = [(i, f) for i, f in inside if f.endpoint == endpoint and f.condition is None]
    # Single strata first: a plot that fills up loses crosses before it loses the groups themselves.
    for names, members in sorted(in_groups(mine).items(), key=lambda item: len(item[0])):
        room = MOST_FOREST_ROWS - len(rows) - 1
        if room < 1:
            left_out += len(members)
            continue
        rows.append(ForestRow(label=" × ".join(clean(n, longest=60) for n in names), group=True))
        shown = [item for item in members if item[1].estimate.value is not None]
        if len(names) == 1 and len(members) - len(shown) <= _MOST_UNDEFINED_ROWS:
            shown = members
        for item in shown[:room]:
            label = " × ".join(format_level_name(v) for v in item[1].stratum.values())
            rows.append(_forest_row(material, item, label))
        left_out += max(0, len(shown) - room)
        if len(shown) < len(members):
            rows.append(ForestRow(label=f"{len(members) - len(shown)} more groups", text="not assessable or estimable"))
    return rows, left_out


def _forest_row(material: Material, found: tuple[int, Finding], label: str, *, overall: bool = False) -> ForestRow:
    finding, of = found[1], anchor(found[0])
    e = finding.estimate
    if e.value is None:
        return ForestRow(label=label, text=_short_reason(e), counts=_class_counts(e), overall=overall, of=of)
    return ForestRow(
        label=label,
        text=format_estimate(finding.metric, e),
        counts=_class_counts(e),
        value=e.value,
        low=e.low,
        high=e.high,
        of=of,
        overall=overall,
        small=not overall and _is_small(material, e),
    )


def _class_counts(e: Estimate) -> str:
    """ "118 / 402", or the one class the estimate looks at."""
    if e.n_positive is None and e.n_negative is None:
        return format_count(e.n)
    if not e.n_negative and e.n_positive == e.n:
        return f"{format_count(e.n_positive)} pos."
    if not e.n_positive and e.n_negative == e.n:
        return f"{format_count(e.n_negative)} neg."
    return f"{format_count(e.n_positive)} / {format_count(e.n_negative)}"


def _group_size(material: Material, found: Iterable[tuple[int, Finding] | None]) -> Cell:
    """Cases of a group; with several classes "positive" would be another one in each column, so their number alone."""
    items = [item for item in found if item]
    if not items:
        return Cell(text="–", kind="number")
    if is_detection(material):
        index, shown = next((item for item in items if item[1].estimate.unit == "lesion"), items[0])
        text = format_count(shown.estimate.n)
    elif has_several(material):
        index, shown = max(items, key=lambda item: item[1].estimate.n)
        text = format_count(shown.estimate.n)
    else:
        index, shown = max(
            items, key=lambda item: (item[1].estimate.n_positive or 0) + (item[1].estimate.n_negative or 0)
        )
        text = _class_counts(shown.estimate)
    return Cell(text=text, kind="number", of=(anchor(index),))


def _short_reason(e: Estimate) -> str:
    """ "not assessable (n+ = 4)", for places where the whole reason does not fit."""
    reason = e.undefined or ""
    word = "not assessable" if reason.startswith("not assessable") else "not estimable"
    short = _TOO_FEW_OF_ONE.match(reason)
    if short is not None:
        return f"{word} ({clean(short[2], longest=24)}: n = {short[1]})"
    if "positive" in reason and e.n_positive is not None:
        return f"{word} (n+ = {format_count(e.n_positive)})"
    if "negative" in reason and e.n_negative is not None:
        return f"{word} (n− = {format_count(e.n_negative)})"
    return f"{word} (n = {format_count(e.n)})"


def _forest_figure(material: Material, overall: Finding, rows: Sequence[ForestRow], left_out: int) -> Figure:
    criterion = next(
        (c for c in material.verdict.criteria if c.endpoint == overall.endpoint and not c.stratum),
        next((c for c in material.verdict.criteria if c.endpoint == overall.endpoint), None),
    )
    goal = criterion.criterion.get("value") if criterion is not None else None
    title = question(overall, several_points=len(material.protocol.operating_points) > 1)
    shown = [r for r in rows if not r.group]
    alt = f"Forest plot of {title}: " + "; ".join(f"{r.label}: {r.text}" for r in shown) + "."
    notes = ["Diamond: whole set. Hollow points: small groups. The same numbers stand in the tables below."]
    if left_out:
        notes.append(f"{left_out} more groups are in the attached evidence.json.")
    notes.append(f"Bars: {material.interval_title}. {material.set_note}")
    return Figure(
        label="",
        caption=f"{title} by group ({clean(overall.endpoint, longest=80)})",
        alt=alt,
        notes=tuple(notes),
        of=tuple(r.of for r in rows if r.of),
        svg=forest(
            rows,
            axis_title=title,
            goal=float(goal) if isinstance(goal, int | float) else None,
            goal_text=f"goal: {criterion_words(criterion)}" if criterion is not None else "",
            reference=overall.estimate.value,
            bounds=bounds(overall.metric),
            counts_title=_forest_counts(overall.estimate),
            alt=alt,
        ),
    )


def _forest_counts(estimate: Estimate) -> str:
    if estimate.unit in ("lesion", "patient"):
        return f"{estimate.unit}s"
    return "cases" if estimate.n_positive is None else "pos. / neg."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stratum:
    """The groups of one stratum or cross, with the findings of each; `endpoints` are those that are tabled."""

    title: str
    groups: dict[tuple[str, ...], dict[str, tuple[int, Finding]]]
    endpoints: tuple[Finding, ...]


def _tables(material: Material, inside: Sequence[tuple[int, Finding]]) -> list[Block]:
    """A table for every four figures, with the groups of all strata that have them one below the other."""
    alike: dict[tuple[str, ...], list[_Stratum]] = {}
    for names, members in sorted(in_groups(inside).items(), key=lambda item: len(item[0])):
        stratum = _stratum(material, names, members)
        alike.setdefault(tuple(f.endpoint for f in stratum.endpoints), []).append(stratum)
    blocks: list[Block] = []
    tables = 0
    for strata_ in alike.values():
        title = ", ".join(s.title for s in strata_)
        made: list[Block] = []
        endpoints = strata_[0].endpoints
        for start in range(0, len(endpoints), PER_TABLE):
            if tables >= MOST_TABLES:
                break
            made.append(_matrix(material, strata_, endpoints[start : start + PER_TABLE]))
            tables += 1
        if made:
            blocks += [Heading(text=clean(title, longest=140), id=f"group-{tables}-{len(blocks)}"), *made]
    if tables >= MOST_TABLES:
        text = f"Tables end here after {MOST_TABLES}; every other group is in the attached evidence.json."
        blocks.append(Prose(paragraphs=(text,)))
    return blocks


def _stratum(material: Material, names: Sequence[str], members: Sequence[tuple[int, Finding]]) -> _Stratum:
    order = material.endpoint_order
    asked = [f for _, f in members if f.role != "descriptive"]
    # Crosses and long lists show what the protocol asked for; the standard table stays in the evidence.
    in_order = sorted(
        {f.endpoint: f for f in (asked or [f for _, f in members])}.values(),
        key=lambda f: (ROLE_ORDER.get(f.role, 9), order.get(f.endpoint, 999), f.endpoint),
    )
    chosen: dict[tuple[str, ...], Finding] = {}
    for finding in in_order:
        chosen.setdefault(material.asked(finding), finding)
    groups: dict[tuple[str, ...], dict[str, tuple[int, Finding]]] = {}
    for index, finding in members:
        if finding.condition is None:
            groups.setdefault(tuple(finding.stratum.values()), {})[finding.endpoint] = (index, finding)
    title = " × ".join(clean(n, longest=60) for n in names)
    return _Stratum(title=title, groups=groups, endpoints=tuple(chosen.values()))


def _matrix(material: Material, strata_: Sequence[_Stratum], endpoints: Sequence[Finding]) -> Table:
    whole = {f.endpoint: material.find(f.endpoint) for f in endpoints}
    rows = [_matrix_row(material, "Whole test set", whole, endpoints, head=True)]
    left_out = 0
    for stratum in strata_:
        room = min(MOST_GROUPS_PER_STRATUM, MOST_ROWS - len(rows))
        if room > 1 and len(strata_) > 1:
            rows.append(Row(cells=(Cell(text=stratum.title),), group=True))
        for level, found in list(stratum.groups.items())[: max(room, 0)]:
            label = " × ".join(format_level_name(v) for v in level)
            rows.append(_matrix_row(material, label, dict(found), endpoints))
        left_out += max(0, len(stratum.groups) - max(room, 0))
    several = len(material.protocol.operating_points) > 1
    notes = []
    if left_out:
        notes.append(f"{left_out} more groups are in the attached evidence.json.")
    small = material.protocol.small_strata
    notes.append(
        f"Estimate and {material.interval_title}, methods as in the performance table. Not assessable: fewer than "
        f"{small.suppress_below} {too_few_of(material)}; † small: fewer than {small.flag_below}."
    )
    notes.append(material.set_note)
    return Table(
        label="",
        caption=f"{strata_[0].title if len(strata_) == 1 else 'Groups'}: {listed(endpoints)}",
        columns=(
            Column(title="Group", width=GROUP_WIDTH),
            Column(title=_counted(material), align="right", width=10),
            *(
                Column(
                    title=f"{question(f, several_points=several)}", align="right", width=(90 - GROUP_WIDTH) / PER_TABLE
                )
                for f in endpoints
            ),
            *((Column(title="", width=0),) if len(endpoints) < PER_TABLE else ()),
        ),
        rows=tuple(rows),
        notes=tuple(notes),
        compact=True,
    )


def _counted(material: Material) -> str:
    if is_detection(material):
        return "Lesions or cases"
    return "Cases" if has_several(material) else "Cases pos. / neg."


def listed(endpoints: Sequence[Finding]) -> str:
    """Endpoint names for a caption."""
    return ", ".join(clean(f.endpoint, longest=44) for f in endpoints)


def _matrix_row(
    material: Material,
    label: str,
    found: dict[str, tuple[int, Finding] | None],
    endpoints: Sequence[Finding],
    *,
    head: bool = False,
) -> Row:
    cells = [Cell(text=label, kind="head" if head else "text"), _group_size(material, found.values())]
    for endpoint in endpoints:
        item = found.get(endpoint.endpoint)
        if item is None:
            cells.append(Cell(text="–", kind="muted"))
            continue
        index, finding = item
        e = finding.estimate
        if e.value is None:
            word, _, why = _short_reason(e).partition(" (")
            cells.append(Cell(text=word, sub=f"({why}", kind="muted", anchor=None if head else anchor(index)))
            continue
        mark = " †" if not head and _is_small(material, e) else ""
        fraction = format_fraction(e)
        interval = format_interval(finding.metric, e)
        cells.append(
            Cell(
                text=f"{fraction + ' · ' if fraction else ''}{format_value(finding.metric, e)}{mark}",
                sub=interval,
                kind="number",
                anchor=None if head else anchor(index),
                link=anchor(index) if head else None,
            )
        )
    if len(endpoints) < PER_TABLE:
        cells.append(Cell(text=""))
    return Row(cells=tuple(cells))


def worst_groups(material: Material, most: int = 3) -> list[str]:
    """For each primary endpoint the assessable group with the least favourable estimate, in words."""
    return [
        f"{metric_title(f.metric)}: {format_stratum(f.stratum)}, {format_estimate(f.metric, f.estimate)}"
        for f in worst_findings(material, most)
    ]


def worst_findings(material: Material, most: int = 3) -> list[Finding]:
    """For each primary endpoint the assessable group with the least favourable estimate."""
    chosen = []
    inside = list(material.findings(overall=False))
    for endpoint in (e for e in material.protocol.endpoints if e.role == "primary"):
        better = higher_is_better(endpoint.metric)
        candidates = [
            f for _, f in inside if f.endpoint == endpoint.name and f.estimate.value is not None and f.condition is None
        ]
        if better is None or not candidates:
            continue
        chosen.append(
            min(candidates, key=lambda f: (f.estimate.value or 0.0) if better else -(f.estimate.value or 0.0))
        )
    return chosen[:most]

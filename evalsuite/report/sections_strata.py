"""Sections of groups: a forest plot for each primary endpoint, a table for each stratum, and what is missing where."""

from __future__ import annotations

from collections.abc import Sequence

from evalsuite.report.figures_cases import ForestRow, forest
from evalsuite.report.format import (
    format_count,
    format_estimate,
    format_fraction,
    format_interval,
    format_level_name,
    format_value,
    not_estimable,
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
from evalsuite.report.sections_study import OUTPUT_POLICIES, STATUS_WORDS
from evalsuite.report.text import clean
from evalsuite.report.view import Block, Cell, Column, Figure, Heading, Prose, Row, Section, Table
from evalsuite.types import Estimate, Finding

MOST_FORESTS = 6
MOST_FOREST_ROWS = 36
MOST_GROUPS_PER_TABLE = 40
MOST_TABLES = 30
PER_TABLE = 3


def strata(material: Material) -> Section:
    inside = list(material.findings(overall=False))
    if not inside:
        text = "The protocol declares no strata; performance in groups of patients was not examined."
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
    return Section(id="strata", number="", title="Groups", code="R14", blocks=tuple(blocks))


def _is_small(material: Material, estimate: Estimate) -> bool:
    limit = material.protocol.small_strata.flag_below
    counts = [c for c in (estimate.n_positive, estimate.n_negative) if c]
    return bool(counts) and min(counts) < limit


def _forests(material: Material, inside: Sequence[tuple[int, Finding]]) -> list[Block]:
    blocks: list[Block] = []
    primary = [e for e in material.protocol.endpoints if e.role == "primary"]
    for endpoint in primary[:MOST_FORESTS]:
        found = material.find(endpoint.name)
        rows, left_out = forest_rows(material, endpoint.name, inside)
        if found is None or len(rows) <= 1:
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
        rows.append(_forest_row(material, found[1], "Whole test set", overall=True))
    mine = [(i, f) for i, f in inside if f.endpoint == endpoint and f.condition is None]
    # Single strata first: a plot that fills up loses crosses before it loses the groups themselves.
    for names, members in sorted(in_groups(mine).items(), key=lambda item: len(item[0])):
        room = MOST_FOREST_ROWS - len(rows) - 1
        if room < 1:
            left_out += len(members)
            continue
        rows.append(ForestRow(label=" × ".join(clean(n, longest=60) for n in names), group=True))
        for _, finding in members[:room]:
            label = " × ".join(format_level_name(v) for v in finding.stratum.values())
            rows.append(_forest_row(material, finding, label))
        left_out += max(0, len(members) - room)
    return rows, left_out


def _forest_row(material: Material, finding: Finding, label: str, *, overall: bool = False) -> ForestRow:
    e = finding.estimate
    if e.value is None:
        return ForestRow(label=label, text=_short_reason(e), counts=_class_counts(e), overall=overall)
    return ForestRow(
        label=label,
        text=format_estimate(finding.metric, e),
        counts=_class_counts(e),
        value=e.value,
        low=e.low,
        high=e.high,
        overall=overall,
        small=not overall and _is_small(material, e),
    )


def _class_counts(e: Estimate) -> str:
    if e.n_positive is None and e.n_negative is None:
        return format_count(e.n)
    return f"{format_count(e.n_positive)} / {format_count(e.n_negative)}"


def _short_reason(e: Estimate) -> str:
    """ "not assessable (n+ = 4)", for places where the whole reason does not fit."""
    reason = e.undefined or ""
    word = "not assessable" if reason.startswith("not assessable") else "not estimable"
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
        svg=forest(
            rows,
            axis_title=title,
            goal=float(goal) if isinstance(goal, int | float) else None,
            goal_text=f"goal: {criterion_words(criterion)}" if criterion is not None else "",
            reference=overall.estimate.value,
            bounds=bounds(overall.metric),
            counts_title="pos. / neg.",
            alt=alt,
        ),
    )


def _tables(material: Material, inside: Sequence[tuple[int, Finding]]) -> list[Block]:
    blocks: list[Block] = []
    order = material.endpoint_order
    tables = 0
    for names, members in sorted(in_groups(inside).items(), key=lambda item: len(item[0])):
        title = " × ".join(clean(n, longest=60) for n in names)
        asked = [f for _, f in members if f.role != "descriptive"]
        # Crosses and long lists show what the protocol asked for; the standard table stays in the evidence.
        chosen = {(f.endpoint, f.metric): f for f in (asked or [f for _, f in members])}
        endpoints = sorted(
            chosen.values(), key=lambda f: (ROLE_ORDER.get(f.role, 9), order.get(f.endpoint, 999), f.endpoint)
        )
        made: list[Block] = []
        for start in range(0, len(endpoints), PER_TABLE):
            if tables >= MOST_TABLES:
                break
            made.append(_matrix(material, title, members, endpoints[start : start + PER_TABLE]))
            tables += 1
        if made:
            blocks.append(Heading(text=title, id=f"group-{tables}-{len(blocks)}"))
            blocks += made
    if tables >= MOST_TABLES:
        blocks.append(
            Prose(
                paragraphs=(
                    f"Tables end here after {MOST_TABLES}; every other group is in the attached evidence.json.",
                )
            )
        )
    return blocks


def _matrix(
    material: Material, title: str, members: Sequence[tuple[int, Finding]], endpoints: Sequence[Finding]
) -> Table:
    levels: dict[tuple[str, ...], dict[str, tuple[int, Finding]]] = {}
    for index, finding in members:
        if finding.condition is None:
            levels.setdefault(tuple(finding.stratum.values()), {})[finding.endpoint] = (index, finding)
    rows: list[Row] = []
    whole = {f.endpoint: material.find(f.endpoint) for f in endpoints}
    rows.append(_matrix_row(material, "Whole test set", whole, endpoints, head=True))
    for level, found in list(levels.items())[:MOST_GROUPS_PER_TABLE]:
        label = " × ".join(format_level_name(v) for v in level)
        rows.append(_matrix_row(material, label, dict(found), endpoints))
    several = len(material.protocol.operating_points) > 1
    notes = []
    if len(levels) > MOST_GROUPS_PER_TABLE:
        notes.append(f"{len(levels) - MOST_GROUPS_PER_TABLE} more groups are in the attached evidence.json.")
    small = material.protocol.small_strata
    notes.append(
        f"Estimate with {material.interval_title}; methods as in the performance table. Not assessable: fewer than "
        f"{small.suppress_below} positives or negatives. † small: fewer than {small.flag_below}."
    )
    notes.append(material.set_note)
    return Table(
        label="",
        caption=f"{title}: {', '.join(clean(f.endpoint, longest=60) for f in endpoints)}",
        columns=(
            Column(title="Group", width=22),
            Column(title="pos. / neg.", align="right", width=12),
            *(
                Column(title=f"{question(f, several_points=several)}", align="right", width=66 / PER_TABLE)
                for f in endpoints
            ),
            *((Column(title="", width=0),) if len(endpoints) < PER_TABLE else ()),
        ),
        rows=rows if isinstance(rows, tuple) else tuple(rows),
        notes=tuple(notes),
    )


def _matrix_row(
    material: Material,
    label: str,
    found: dict[str, tuple[int, Finding] | None],
    endpoints: Sequence[Finding],
    *,
    head: bool = False,
) -> Row:
    any_found = next((item[1].estimate for item in found.values() if item), None)
    widest = max(
        (item[1].estimate for item in found.values() if item),
        key=lambda e: (e.n_positive or 0) + (e.n_negative or 0),
        default=any_found,
    )
    cells = [
        Cell(text=label, kind="head" if head else "text"),
        Cell(text=_class_counts(widest) if widest else "–", kind="number"),
    ]
    for endpoint in endpoints:
        item = found.get(endpoint.endpoint)
        if item is None:
            cells.append(Cell(text="–", kind="muted"))
            continue
        index, finding = item
        e = finding.estimate
        if e.value is None:
            cells.append(Cell(text=_short_reason(e), kind="muted", anchor=None if head else anchor(index)))
            continue
        mark = " †" if not head and _is_small(material, e) else ""
        fraction = format_fraction(e)
        interval = format_interval(finding.metric, e)
        cells.append(
            Cell(
                text=f"{format_value(finding.metric, e)}{mark}",
                sub=f"{interval}{' · ' + fraction if fraction else ''}",
                kind="number",
                anchor=None if head else anchor(index),
            )
        )
    if len(endpoints) < PER_TABLE:
        cells.append(Cell(text=""))
    return Row(cells=tuple(cells))


def worst_groups(material: Material, most: int = 3) -> list[str]:
    """For each primary endpoint the assessable group with the least favourable estimate, in words."""
    lines = []
    inside = list(material.findings(overall=False))
    for endpoint in (e for e in material.protocol.endpoints if e.role == "primary"):
        better = higher_is_better(endpoint.metric)
        candidates = [
            f for _, f in inside if f.endpoint == endpoint.name and f.estimate.value is not None and f.condition is None
        ]
        if better is None or not candidates:
            continue
        worst = min(candidates, key=lambda f: (f.estimate.value or 0.0) if better else -(f.estimate.value or 0.0))
        from evalsuite.report.format import format_stratum

        lines.append(
            f"{metric_title(worst.metric)}: {format_stratum(worst.stratum)}, "
            f"{format_estimate(worst.metric, worst.estimate)}"
        )
    return lines[:most]


def missing(material: Material) -> Section:
    blocks: list[Block] = [_accounting_table(material)]
    sensitivity = _policies_table(material)
    if sensitivity is not None:
        blocks.append(sensitivity)
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
    for status, words in STATUS_WORDS.items():
        counts = [material.count(status=status, reference=r) for r in ("positive", "negative", "equivocal", "missing")]
        cells = [Cell(text=words), *(Cell(text=format_count(c), kind="number") for c in counts)]
        rows.append(Row(cells=(*cells, Cell(text=format_count(sum(counts)), kind="number"))))
    totals = [material.count(reference=r) for r in ("positive", "negative", "equivocal", "missing")]
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
            Column(title="Positive", align="right"),
            Column(title="Negative", align="right"),
            Column(title="Equivocal", align="right"),
            Column(title="Missing", align="right"),
            Column(title="Total", align="right"),
        ),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def _most_affected(material: Material) -> str:
    """The group with the most cases without a usable output, in words."""
    from evalsuite.report.format import format_stratum

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


def _policies_table(material: Material) -> Table | None:
    found = [(i, f) for i, f in material.findings(overall=True, analysis="missing_data")]
    if not found:
        return None
    order = material.endpoint_order
    several = len(material.protocol.operating_points) > 1
    by_endpoint: dict[str, list[tuple[int, Finding]]] = {}
    for index, finding in found:
        by_endpoint.setdefault(finding.endpoint, []).append((index, finding))
    rows: list[Row] = []
    for name, members in sorted(by_endpoint.items(), key=lambda item: order.get(item[0], 999)):
        title = question(members[0][1], several_points=several)
        label = clean(name, longest=80)
        rows.append(
            Row(cells=(Cell(text=title if title.lower() == label.lower() else f"{label} · {title}"),), group=True)
        )
        primary = material.find(name)
        if primary is not None:
            rows.append(_policy_row(primary[1], "Primary analysis", None, head=True))
        for index, finding in members:
            rows.append(_policy_row(finding, _policy_words(finding.condition), anchor(index)))
    return Table(
        label="",
        caption="Estimates under other assumptions about missing outputs and missing reference standards",
        columns=(
            Column(title="Assumption", width=38),
            Column(title="n/N", align="right", width=14),
            Column(title="Estimate", align="right", width=14),
            Column(title=material.interval_title, align="right", width=22),
            Column(title="n", align="right"),
        ),
        rows=tuple(rows),
        notes=("Interval methods as in the primary analysis.", material.set_note),
    )


def _policy_row(finding: Finding, words: str, place: str | None, *, head: bool = False) -> Row:
    e = finding.estimate
    kind = "head" if head else "number"
    if e.value is None:
        numbers = (Cell(text=""), Cell(text=not_estimable(e), kind="muted"), Cell(text="–", kind="number"))
    else:
        numbers = (
            Cell(text=format_fraction(e), kind=kind),  # type: ignore[arg-type]
            Cell(text=format_value(finding.metric, e), kind=kind),  # type: ignore[arg-type]
            Cell(text=format_interval(finding.metric, e), kind=kind),  # type: ignore[arg-type]
        )
    return Row(
        cells=(
            Cell(text=words, kind="head" if head else "text"),
            *numbers,
            Cell(text=format_count(e.n), kind=kind),  # type: ignore[arg-type]
        ),
        anchor=place,
    )


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


__all__ = ["OUTPUT_POLICIES", "forest_rows", "missing", "strata", "worst_groups"]

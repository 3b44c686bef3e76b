"""Tables on where a figure's variation comes from: the reference panel, and repeated acquisitions."""

from __future__ import annotations

from evalsuite.report.format import format_count, format_interval, format_p, format_percent, format_value, not_estimable
from evalsuite.report.material import Material, anchor, metric_title
from evalsuite.report.text import clean, given
from evalsuite.report.view import Block, Cell, Column, Heading, Prose, Row, Table
from evalsuite.types import Estimate, Finding, TestOutcome

_MOST_ROWS = 80
#: The catalogue does not know shares of pairs or of variance; the name of any proportion prints them in per cent.
_ANY_SHARE = "prevalence"
_WIDTHS = (36.0, 13.0, 20.0, 9.0, 12.0, 10.0)


def sources(material: Material) -> list[Block]:
    """What the study looked at of these; nothing where it looked at none."""
    return [*_panel(material), *_repeats(material), *_response(material), *_linearity(material)]


# --- reference panel ------------------------------------------------------------------------------------------------

_PANEL = {
    "panel_and_patients": "This panel; interval for other patients and another panel",
    "patients": "This panel; interval for other patients",
    "panel": "These patients; interval for another panel",
}


def _panel(material: Material) -> list[Block]:
    found = list(material.findings(analysis="truth_panel"))
    if not found:
        return []
    rows: list[Row] = []
    name = ""
    for index, f in found:
        if f.endpoint != name:
            name = f.endpoint
            rows.append(group_row(material, f))
        condition = str(f.condition)
        words, _, reader = condition.partition("=")
        said = {
            "reader": f"{clean(reader, longest=60)} alone",
            "without_reader": f"without {clean(reader, longest=60)}",
        }.get(words, _PANEL.get(condition, clean(condition, longest=60)))
        rows.append(row(material, index, f, said, alone=words in ("reader", "without_reader")))
    text = (
        "The reference standard of these figures is the panel whose readers the protocol names. Other readers would "
        "have made another one: readers and patients are drawn anew, with replacement, and the reference standard is "
        "made from the readers drawn. The first interval holds both sources and is the one to read; if it is much "
        "wider than the second, the figure hangs on who sat on the panel. Few readers show only part of how much "
        "panels differ. No criterion is judged on these figures."
    )
    table = table_of(
        material, "Performance against the reference panel, and against others", rows, [f for _, f in found]
    )
    return [Heading(text="The reference panel", id="truth-panel"), Prose(paragraphs=(text,)), table]


# --- repeated acquisitions ------------------------------------------------------------------------------------------


def _repeats(material: Material) -> list[Block]:
    found = list(material.findings(analysis="variance_components"))
    if not found:
        return []
    shares = {(f.endpoint, f.condition): f.estimate for _, f in found if f.metric == "component_share"}
    rows: list[Row] = []
    shown: list[Finding] = []
    name = ""
    for index, f in found:
        if f.metric == "component_share" and f.endpoint == "score":
            continue  # beside its standard deviation
        if f.endpoint != name:
            name = f.endpoint
            title = "Score" if name == "score" else f"Call at {clean(f.operating_point or '', longest=60)}"
            rows.append(Row(cells=(Cell(text=title),), group=True))
        shown.append(f)
        share = shares.get((f.endpoint, f.condition)) if f.metric == "component_sd" else None
        rows.append(row(material, index, f, _repeat_words(f, share), percent=f.endpoint != "score"))
    text = (
        "Patients were acquired several times. A score's spread is split into what belongs to the patient (or whatever "
        "the protocol says was acquired repeatedly), to each named condition, and to mere repetition. Two acquisitions "
        "under the same conditions differ by more than the repeatability coefficient 5 times in 100, two under "
        "different conditions by more than the reproducibility coefficient. With few levels of a condition its "
        "spread is poorly known, which its interval shows."
    )
    notes: tuple[str, ...] = ("Intervals of standard deviations and coefficients assume normally distributed effects.",)
    if any(f.metric == "calls_that_differ" for f in shown):
        notes += ("Calls that differ: of pairs of acquisitions of one subject, each subject counting once.",)
    table = table_of(material, "Where the spread of repeated acquisitions comes from", rows, shown, notes=notes)
    return [Heading(text="Repeated acquisitions", id="repeats"), Prose(paragraphs=(text,)), table]


def _repeat_words(f: Finding, share: Estimate | None) -> str:
    name = str(f.condition or "").partition("=")[2]
    source = {"residual": "repetition, all else equal"}.get(name, clean(name, longest=60))
    if f.metric == "component_sd":
        part = (
            "" if share is None or share.value is None else f" ({format_percent(share.value)}\u00a0% of the variance)"
        )
        return f"Standard deviation: {source}{part}"
    if f.metric == "component_share":
        return f"Share of the variance: {source}"
    if f.metric == "calls_that_differ":
        where = {"same_conditions": "under the same conditions", "any_other": "any two acquisitions"}
        return f"Calls that differ: {where.get(str(f.condition), f'another {source}')}"
    return metric_title(f.metric)


# --- response between two visits ------------------------------------------------------------------------------------


def _response(material: Material) -> list[Block]:
    asked = material.protocol.analyses.change
    cells: dict[str, dict[str, tuple[int, Finding]]] = {}
    for index, f in material.findings(analysis="response"):
        cells.setdefault(str(f.target), {})[str(f.condition).partition("=")[2]] = (index, f)
    if not cells or asked is None:
        return []
    columns = list(dict.fromkeys(name for own in cells.values() for name in own))
    rows = []
    for own, found in cells.items():
        place, total = next(((anchor(i), f.estimate.n) for i, f in found.values()), ("", 0))
        row = [Cell(text=clean(own, longest=60))]
        for name in columns:
            index, f = found[name]
            e = f.estimate
            share = "–" if e.value is None else f"{format_percent(e.value)}\u00a0%"
            count = "0" if e.value is None else format_count(int(e.numerator or 0))
            row.append(Cell(text=count, sub=share, kind="head" if name == own else "number", anchor=anchor(index)))
        of = (place,) if place else ()
        rows.append(Row(cells=(*row, Cell(text=format_count(total), kind="number", of=of))))
    size = "relative to each method's own first value" if asked.relative else "in the unit of the measurement"
    first, second = (clean(str(v), longest=40) for v in (asked.before, asked.after))
    text = (
        f"Change from visit {first} to visit {second}, {size}, cut into categories of response. An error that is the "
        "same at both visits cancels, noise does not: agreement of change can be better or worse than that of single "
        "measurements. The figures of change and of agreement of response stand among the results; groups are those "
        "of the earlier visit."
    )
    table = Table(
        label="",
        caption="Response: category of the reference's change in rows, of the device's in columns",
        columns=(
            Column(title="Reference", width=20),
            *(Column(title=clean(name, longest=40), align="right") for name in columns),
            Column(title="Total", align="right"),
        ),
        rows=tuple(rows),
        notes=(
            "Pairs of visits with an established reference, as counted; below each count its share of the row. "
            "Intervals are in the attached evidence.json (analysis: response).",
            material.set_note,
        ),
    )
    return [Heading(text="Change between visits", id="response"), Prose(paragraphs=(text,)), table]


# --- linearity ------------------------------------------------------------------------------------------------------


def _linearity(material: Material) -> list[Block]:
    found = list(material.findings(analysis="linearity"))
    asked = material.protocol.analyses.linearity
    if not found or asked is None:
        return []
    rows = [
        row(
            material,
            index,
            f,
            _linear_words(f),
            percent=f.metric == "level_cv",
            alone=f.metric == "limit_of_quantitation",
        )
        for index, f in found
    ]
    tests = [t for t in material.evidence.tests if t.endpoint == "linearity"]
    said = "; ".join(f"{clean(t.name, longest=80)}: {p_words(t)}" for t in tests)
    text = (
        "A straight line and a cubic are fitted to device against reference; the deviation from linearity is the cubic "
        "less the line, in the unit of the device. The intervals of all levels hold together. Judge the deviation by "
        "what it would matter, not by its p-value: with precise measurements any bend is significant, with imprecise "
        "ones none is."
    )
    if asked.cv_goal is not None:
        text += (
            f" The limit of quantitation is the smallest level from which on the coefficient of variation of repeated "
            f"measurements stays within {format_percent(asked.cv_goal)}\u00a0%."
        )
    notes = (f"Tests ({clean(tests[0].method, longest=80)} and the like): {said}.",) if tests else ()
    table = table_of(
        material, "Deviation from linearity, and precision by level", rows, [f for _, f in found], notes=notes
    )
    return [Heading(text="Linearity", id="linearity"), Prose(paragraphs=(text,)), table]


def _linear_words(f: Finding) -> str:
    at = clean(str(f.condition or "").partition("=")[2], longest=40)
    assured = f.condition == "assured"
    return {
        "deviation": f"Deviation at {at}",
        "nonlinearity": "Largest absolute deviation",
        "slope": "Slope of the line",
        "level_cv": f"Coefficient of variation at {at}",
        "limit_of_quantitation": "Limit of quantitation" + (", by upper confidence limits" if assured else ""),
    }.get(f.metric, metric_title(f.metric))


def p_words(t: TestOutcome) -> str:
    """A p-value as printed, or why there is none."""
    if t.p_value is None:
        return f"no test ({clean(given(t.undefined, 'no reason recorded'), longest=80)})"
    return f"p {format_p(t.p_value, sign='= ')}"


# --- rows -----------------------------------------------------------------------------------------------------------


def group_row(material: Material, finding: Finding) -> Row:
    """A line that names the endpoint whose figures follow."""
    endpoint = material.endpoint(finding.endpoint)
    title = metric_title(endpoint.metric if endpoint is not None else finding.metric)
    name = clean(finding.endpoint, longest=80)
    return Row(cells=(Cell(text=title if name.lower() == title.lower() else f"{title} · {name}"),), group=True)


def row(
    material: Material, index: int, finding: Finding, said: str, *, alone: bool = False, percent: bool = False
) -> Row:
    """One figure: estimate, interval, n, method, place in the evidence; `alone` for figures without an interval."""
    e = finding.estimate
    if e.value is None:
        middle: tuple[Cell, ...] = (Cell(text=not_estimable(e), kind="muted", span=2),)
    else:
        metric = _ANY_SHARE if percent else finding.metric
        interval = "–" if alone else format_interval(metric, e)
        middle = (Cell(text=format_value(metric, e), kind="number"), Cell(text=interval, kind="number"))
    code = "" if e.value is None else material.method_codes.get(e.method, "")
    cells = (
        Cell(text=said),
        *middle,
        Cell(text=format_count(e.n), kind="number"),
        Cell(text=code or "–", kind="muted"),
        Cell(text=anchor(index), kind="muted"),
    )
    return Row(cells=cells, anchor=anchor(index))


def table_of(
    material: Material, caption: str, rows: list[Row], shown: list[Finding], *, notes: tuple[str, ...] = ()
) -> Table:
    """A table of such rows with its methods and its test set."""
    said = [*notes, material.method_note(f.estimate for f in shown), material.set_note]
    if len(rows) > _MOST_ROWS:
        said.insert(0, f"{len(rows) - _MOST_ROWS} more rows are in the attached evidence.json.")
    titles = ("Figure", "Estimate", material.interval_title, "n", "Method", "Finding")
    return Table(
        label="",
        caption=caption,
        columns=tuple(
            Column(title=t, align="left" if t in ("Figure", "Method") else "right", width=w)
            for t, w in zip(titles, _WIDTHS, strict=True)
        ),
        rows=tuple(rows[:_MOST_ROWS]),
        notes=tuple(n for n in said if n),
    )

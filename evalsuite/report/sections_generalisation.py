"""Section on other sites and the population behind the set: site models, weighted figures, partial verification."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from evalsuite.report.format import (
    format_count,
    format_estimate,
    format_interval,
    format_level_name,
    format_number,
    format_p,
    format_percent,
    format_value,
    not_estimable,
)
from evalsuite.report.material import Material, anchor, metric_title, question, tested
from evalsuite.report.sections_left_out import left_out_view
from evalsuite.report.sections_sources import sources
from evalsuite.report.text import clean, given
from evalsuite.report.view import Block, Cell, Column, Heading, Prose, Row, Section, Table
from evalsuite.types import Estimate, Finding, TestOutcome

_MOST_ROWS = 80
_WIDTHS = (32.0, 15.0, 22.0, 9.0, 12.0, 10.0)
Numbered = tuple[int, Finding]


def generalisation(material: Material) -> Section | None:
    """Other sites, the sampled population and partial verification; None where the study looked at none of them."""
    blocks = [*_sites(material), *_weighted(material), *_verification(material), *sources(material)]
    if not blocks:
        return None
    title = "Generalisation and population"
    return Section(id="generalisation", number="", title=title, code="R14", blocks=tuple(blocks))


# --- sites ----------------------------------------------------------------------------------------------------------


def _sites(material: Material) -> list[Block]:
    found = list(material.findings(analysis="generalisation"))
    asked = material.protocol.analyses.generalisation
    if not found or asked is None:
        return []
    site = clean(asked.site, longest=60)
    text = (
        f"How far do these results carry over to another {site}? The average counts every {site} as one of many like "
        "it, so that a large one does not speak for the rest. The interval for a new one says where its true figure "
        "would be expected to lie; it is wider than the interval of the average, and is the one to read for a place "
        "not in this study. I² is the share of the variation between them that is more than chance. With few of them "
        "all of this is uncertain."
    )
    blocks: list[Block] = [
        Heading(text="Other sites", id="other-sites"),
        Prose(paragraphs=(text,)),
        _model_table(material, found, site),
    ]
    left = _left_out_table(material, found, site)
    blocks += [] if left is None else [left]
    return [*blocks, *left_out_view(material, found, site)]


def _model_table(material: Material, found: list[Numbered], site: str) -> Table:
    rows: list[Row] = []
    shown: list[Finding] = []
    words = {
        "average_site": f"Average {site}",
        "new_site": f"A new {site} (prediction interval)",
        "heterogeneity_i2": "I²",
        "heterogeneity_tau": "Standard deviation between them",
    }
    name = ""
    for index, f in found:
        key = f.metric if f.condition == "between_sites" else str(f.condition)
        if key not in words:
            continue
        if f.endpoint != name:
            name = f.endpoint
            rows.append(_group(material, f))
        shown.append(f)
        logit = ", logit scale" if key == "heterogeneity_tau" and "logit scale" in f.estimate.method else ""
        rows.append(_row(material, index, f, words[key] + logit))
        if key == "heterogeneity_tau":
            rows += [_test_row(material, t, site) for t in _tests(material, name)]
    return _table(material, f"How much results differ by {site}, and what to expect at a new one", rows, shown)


def _tests(material: Material, endpoint: str) -> list[TestOutcome]:
    return [t for t in material.evidence.tests if t.endpoint == endpoint and t.method.startswith("Cochran Q")]


def _test_row(material: Material, test: TestOutcome, site: str) -> Row:
    said = f"Test: the same at every {site} ({clean(test.method, longest=60)})"
    if test.p_value is None:
        why = clean(given(test.undefined, "no reason recorded"), longest=120)
        return Row(cells=(Cell(text=said), Cell(text=f"no test: {why}", kind="muted", span=5)))
    p = f"p {format_p(test.p_value, sign='= ')}"
    statistic = "" if test.statistic is None else f"Q = {format_number(test.statistic, 2)}"
    cells = (Cell(text=said), Cell(text=statistic, kind="number"), Cell(text=p, kind="number"), Cell(text="", span=3))
    return Row(cells=cells, of=tested(material, test))


def _left_out_table(material: Material, found: list[Numbered], site: str) -> Table | None:
    others = {
        (f.endpoint, str(f.condition).removeprefix("leave_out=")): (i, f)
        for i, f in found
        if str(f.condition).startswith("leave_out=")
    }
    if not others:
        return None
    rows: list[Row] = []
    shown: list[Estimate] = []
    own = [(i, f) for i, f in found if f.condition == "site"]
    name = ""
    for index, f in own[:_MOST_ROWS]:
        label = next(iter(f.stratum.values()), "")
        if f.endpoint != name:
            name = f.endpoint
            rows.append(_group(material, f))
        at, without = others.get((f.endpoint, label), (None, None))
        shown += [f.estimate, *(() if without is None else (without.estimate,))]
        rows.append(
            Row(
                cells=(
                    Cell(text=format_level_name(label)),
                    Cell(text=format_count(f.estimate.n), kind="number"),
                    Cell(text=format_estimate(f.metric, f.estimate), sub=_code(material, f.estimate), kind="number"),
                    Cell(
                        text="–" if without is None else format_estimate(without.metric, without.estimate),
                        sub="" if without is None else _code(material, without.estimate),
                        kind="number",
                        of=() if at is None else (anchor(at),),
                    ),
                    Cell(text=anchor(index), kind="muted"),
                ),
                anchor=anchor(index),
            )
        )
    notes = [
        f"Estimate and {material.interval_title}: of the {site} alone, and the average of all others. n are the cases "
        "the figure is of.",
        material.method_note(shown),
        material.set_note,
    ]
    if len(own) > _MOST_ROWS:
        notes.insert(0, f"{len(own) - _MOST_ROWS} more rows are in the attached evidence.json.")
    return Table(
        label="",
        caption=f"Each {site}, and the average without it",
        columns=(
            Column(title=clean(site, longest=30).capitalize(), width=18),
            Column(title="n", align="right", width=8),
            Column(title="Its own", align="right", width=32),
            Column(title="Average without it", align="right", width=32),
            Column(title="Finding", align="right", width=10),
        ),
        rows=tuple(rows),
        notes=tuple(n for n in notes if n),
    )


# --- sampling weights -----------------------------------------------------------------------------------------------


def _weighted(material: Material) -> list[Block]:
    found = [(i, f) for i, f in material.findings(analysis="weighting", overall=True)]
    if not found:
        return []
    several = len(material.protocol.operating_points) > 1
    rows: list[Row] = []
    shown: list[Estimate] = []
    for index, f in found:
        e = f.estimate
        beside = material.find(f.endpoint)
        plain = None if beside is None else beside[1]
        unweighted = Cell(text="–", kind="muted")
        if beside is not None:
            unweighted = replace(_value_cell(material, beside[1]), of=(anchor(beside[0]),))
        shown += [e, *(() if plain is None else (plain.estimate,))]
        rows.append(
            Row(
                cells=(
                    Cell(text=question(f, several_points=several)),
                    Cell(text=format_count(e.n), kind="number"),
                    unweighted,
                    _value_cell(material, f),
                    Cell(text=anchor(index), kind="muted"),
                ),
                anchor=anchor(index),
            )
        )
    text = (
        "Cases were drawn with unequal chances; weighted figures count each by the inverse of its chance and so "
        "describe the population that was sampled. Criteria are judged on the unweighted figures of this set."
    )
    table = Table(
        label="",
        caption="Figures of the set as it is, and weighted to the sampled population",
        columns=(
            Column(title="Metric", width=26),
            Column(title="n", align="right", width=8),
            Column(title="Unweighted", align="right", width=28),
            Column(title="Weighted", align="right", width=28),
            Column(title="Finding", align="right", width=10),
        ),
        rows=tuple(rows),
        notes=tuple(
            n
            for n in (
                f"Estimate and {material.interval_title}. Weighted figures of groups: attached evidence.json.",
                material.method_note(shown),
                material.set_note,
            )
            if n
        ),
    )
    return [Heading(text="The sampled population", id="weighting"), Prose(paragraphs=(text,)), table]


# --- partial verification -------------------------------------------------------------------------------------------


def _verification(material: Material) -> list[Block]:
    found = list(material.findings(analysis="verification_bias"))
    if not found:
        return []
    several = len(material.protocol.operating_points) > 1
    words = {"corrected": "corrected", "verified_only": "verified cases alone"}
    rows = []
    for index, f in found:
        if f.metric.startswith("verified_among"):
            sign = "positive" if "positive" in f.metric else "negative"
            said = f"Verified among {sign} calls"
            said += f" at {clean(f.operating_point or '', longest=60)}" if several else ""
        else:
            said = f"{question(f, several_points=several)}, {words.get(str(f.condition), '')}"
        rows.append(_row(material, index, f, said, share=True))
    text = (
        "Not every case got the reference standard. If those with a positive call got it more often, the verified "
        "cases alone overstate sensitivity and understate specificity. The corrected figures give every unverified "
        "case the chance of disease of verified cases with the same call (Begg and Greenes). They are right only if "
        "verification depended on nothing else that is related to the disease, which data cannot show; they are "
        "secondary, and no criterion is judged on them."
    )
    table = _table(material, "Correction for partial verification (secondary)", rows, [f for _, f in found])
    return [Heading(text="Partial verification", id="verification"), Prose(paragraphs=(text,)), table]


# --- rows -----------------------------------------------------------------------------------------------------------


def _group(material: Material, finding: Finding) -> Row:
    metric = finding.metric
    endpoint = material.endpoint(finding.endpoint)
    title = metric_title(endpoint.metric if endpoint is not None else metric)
    name = clean(finding.endpoint, longest=80)
    return Row(cells=(Cell(text=title if name.lower() == title.lower() else f"{title} · {name}"),), group=True)


def _value(finding: Finding, *, share: bool) -> tuple[str, str]:
    """Estimate and interval; shares that the metric's catalogue does not know are printed in per cent."""
    e = finding.estimate
    if e.value is None or finding.metric == "heterogeneity_tau":
        return format_value("", e), format_interval("", e)
    if finding.metric == "heterogeneity_i2" or (share and finding.metric.startswith("verified_among")):
        if e.low is None or e.high is None:
            return f"{format_percent(e.value)}\u00a0%", format_interval("", e)
        low, high = format_percent(e.low), format_percent(e.high)
        return f"{format_percent(e.value)}\u00a0%", f"{low}–{high}\u00a0%"
    return format_value(finding.metric, e), format_interval(finding.metric, e)


def _row(material: Material, index: int, finding: Finding, said: str, *, share: bool = False) -> Row:
    e = finding.estimate
    if e.value is None:
        middle: tuple[Cell, ...] = (Cell(text=not_estimable(e), kind="muted", span=2),)
    else:
        value, interval = _value(finding, share=share)
        middle = (Cell(text=value, kind="number"), Cell(text=interval, kind="number"))
    return Row(
        cells=(
            Cell(text=said),
            *middle,
            Cell(text=format_count(e.n), kind="number"),
            Cell(text=_code(material, e) or "–", kind="muted"),
            Cell(text=anchor(index), kind="muted"),
        ),
        anchor=anchor(index),
    )


def _value_cell(material: Material, finding: Finding) -> Cell:
    """Without n/N: a weighted count is a sum of weights, which looks like a number of cases and is none."""
    e = finding.estimate
    if e.value is None:
        return Cell(text=not_estimable(e), kind="muted")
    interval = format_interval(finding.metric, e)
    code = _code(material, e)
    return Cell(text=f"{format_value(finding.metric, e)} ({interval})", sub=code, kind="number")


def _code(material: Material, e: Estimate) -> str:
    return "" if e.value is None else material.method_codes.get(e.method, "")


def _table(material: Material, caption: str, rows: list[Row], shown: Iterable[Finding]) -> Table:
    titles = ("Figure", "Estimate", material.interval_title, "n", "Method", "Finding")
    kept = rows[:_MOST_ROWS]
    notes = [material.method_note(f.estimate for f in shown), material.set_note]
    if len(rows) > _MOST_ROWS:
        notes.insert(0, f"{len(rows) - _MOST_ROWS} more rows are in the attached evidence.json.")
    return Table(
        label="",
        caption=caption,
        columns=tuple(
            Column(title=t, align="left" if t in ("Figure", "Method") else "right", width=w)
            for t, w in zip(titles, _WIDTHS, strict=True)
        ),
        rows=tuple(kept),
        notes=tuple(n for n in notes if n),
    )

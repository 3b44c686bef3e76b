"""R18, what may lie behind a gap: the same gap at the same case mix, and what else differs between the groups."""

from __future__ import annotations

from collections.abc import Sequence

from evalsuite.report.bias_words import (
    base_metric,
    case_mix_sentence,
    group_name,
    interval,
    other_name,
    signed,
    title_of,
)
from evalsuite.report.format import format_count, format_number, format_percent
from evalsuite.report.material import Material, anchor, places
from evalsuite.report.text import clean, given
from evalsuite.report.view import Block, Bullets, Cell, Column, Prose, Row, Table
from evalsuite.types import Estimate, Finding

Numbered = tuple[int, Finding]
MOST_ROWS = 40
MOST_IMBALANCES = 10
#: In size: what is customarily read as an imbalance.
IMBALANCED = 0.1


def causes(material: Material, title: str, mine: Sequence[Numbered], declared: Sequence[Finding]) -> list[Block]:
    """Crude and standardised side by side, then the imbalances; `mine` are the attribute's findings."""
    return [*_case_mix(material, title, mine, declared), *_imbalance(material, title, mine)]


def _same(f: Finding, g: Finding) -> bool:
    return dict(f.stratum) == dict(g.stratum) and f.reference_group == g.reference_group


def _case_mix(material: Material, title: str, mine: Sequence[Numbered], declared: Sequence[Finding]) -> list[Block]:
    asked = material.protocol.analyses.bias
    assert asked is not None
    if not asked.case_mix:
        text = (
            "No case mix was declared, so whether differences in severity, scanner or site explain these gaps was not "
            "examined."
        )
        return [Prose(paragraphs=(text,))]
    rows: list[Row] = []
    sentences: list[str] = []
    told_of: list[tuple[str, ...]] = []
    mix = ""
    for f in declared:
        beside = [(i, g) for i, g in mine if _same(f, g) and base_metric(g.metric).startswith(base_metric(f.metric))]
        found = {str(g.condition).partition("=")[0]: (i, g) for i, g in beside if g.metric == f.metric}
        if "standardised" not in found:
            continue
        standardised = found["standardised"][1]
        mix = str(standardised.condition).partition("=")[2]
        gap = next(((i, g) for i, g in mine if g is f), None)
        assert gap is not None
        rows.append(_row(gap, found, beside))
        if f.outcome == "disparity":
            sentences.append(case_mix_sentence(f, standardised.estimate, mix=clean(mix, longest=120)))
            told_of.append(places(material, (f, standardised)))
    if not rows:
        text = (
            "The declared case mix is what these groups are made of, or none of their figures is a share: not examined."
        )
        return [Prose(paragraphs=(text,))]
    odds = "Odds ratio, as it is / adjusted"
    titles = ("Gap", "As it is", "Standardised", "Matched", "Overlap-weighted", odds, "Effective n")
    widths = (22.0, 10.0, 15.0, 15.0, 15.0, 13.0, 10.0)
    notes = [
        f"Case mix: {clean(mix, longest=160)}. Standardised: both sides at the case mix of the whole set, as far as "
        "both have cases of it (the share beside the effective numbers of cases). Matched: pairs of the same case mix, "
        "the average of all ways to pair. Overlap-weighted: cases count by their chance of being on the other side. "
        "Adjusted: logistic regression, errors by patient. Shares in percentage points. What was not recorded is "
        "not adjusted for.",
        material.set_note,
    ]
    if len(rows) > MOST_ROWS:
        notes.insert(0, f"{len(rows) - MOST_ROWS} more rows are in the attached evidence.json.")
    table = Table(
        label="",
        caption=f"{title}: gaps as they are, and at the same case mix",
        columns=tuple(
            Column(title=t, align="left" if t == "Gap" else "right", width=w)
            for t, w in zip(titles, widths, strict=True)
        ),
        rows=tuple(rows[:MOST_ROWS]),
        notes=tuple(notes),
    )
    told: list[Block] = [Bullets(items=tuple(sentences[:8]), of=tuple(told_of[:8]))] if sentences else []
    return [*told, table]


def _row(gap: Numbered, found: dict[str, Numbered], beside: Sequence[Numbered]) -> Row:
    f = gap[1]
    metric = base_metric(f.metric)
    odds = {str(g.condition).partition("=")[0]: (i, g) for i, g in beside if g.metric == f"{metric}_odds_ratio"}
    sizes = [(i, g) for i, g in beside if g.metric == metric and str(g.condition).endswith(("group", "other"))]
    common = next(((i, g) for i, g in beside if g.metric == f"{metric}_case_mix_shared"), None)
    shared = None if common is None else common[1].estimate.value
    counted = [g.estimate.denominator for _, g in sizes]
    effective = " / ".join("–" if n is None else format_count(round(n)) for n in counted)
    cells = (
        Cell(text=f"{title_of(metric)}: {group_name(f)} less {other_name(f)}"),
        _gap(metric, gap),
        _gap(metric, found["standardised"]),
        _gap(metric, found.get("matched")),
        _gap(metric, found.get("overlap_weighted")),
        Cell(
            text=f"{_odds(odds.get('crude'))} / {_odds(odds.get('regression_adjusted'))}",
            kind="number",
            of=tuple(anchor(i) for i, _ in odds.values()),
        ),
        Cell(
            text=effective or "–",
            sub="" if shared is None else f"{format_percent(shared)}\u00a0% shared",
            kind="number",
            of=tuple(anchor(i) for i, _ in (*sizes, *((common,) if common else ()))),
        ),
    )
    return Row(cells=cells)


def _gap(metric: str, found: Numbered | None) -> Cell:
    """A gap with its interval below; the gap as it is has its place in the table of gaps."""
    if found is None:
        return Cell(text="–", kind="number")
    index, f = found
    e = f.estimate
    text = "–" if e.value is None else signed(metric, e.value)
    sub = clean(given(e.undefined, ""), longest=70) if e.value is None else interval(metric, e)
    if f.condition is None:
        return Cell(text=text, sub=sub, kind="number", of=(anchor(index),))
    return Cell(text=text, sub=sub, kind="number", anchor=anchor(index))


def _odds(found: Numbered | None) -> str:
    e = None if found is None else found[1].estimate
    return "–" if e is None or e.value is None else format_number(e.value, 2)


def _order(e: Estimate) -> tuple[int, float]:
    """Complete separation first, then the largest; what has no cases on one side last."""
    if e.value is None:
        return (2 if "no cases" in (e.undefined or "") else 0, 0.0)
    return (1, -abs(e.value))


def _imbalance(material: Material, title: str, mine: Sequence[Numbered]) -> list[Block]:
    found = [(i, f) for i, f in mine if f.metric == "standardised_difference"]
    if not found:
        return []
    apart = [(i, f) for i, f in found if f.estimate.value is None or abs(f.estimate.value) >= IMBALANCED]
    if not apart:
        text = (
            f"No recorded attribute is imbalanced between these groups ({len(found)} standardised differences < 0.1)."
        )
        return [Prose(paragraphs=(text,))]
    apart.sort(key=lambda item: _order(item[1].estimate))
    rows = []
    for index, f in apart[:MOST_IMBALANCES]:
        e = f.estimate
        shares = ["–" if share is None else f"{format_percent(share)}\u00a0%" for share in (e.numerator, e.denominator)]
        said = str(f.condition).removeprefix("imbalance in ").replace(">=", "≥").replace("-<", " to <")
        cells = (
            Cell(text=f"{group_name(f)} against {other_name(f)}"),
            Cell(text=clean(said, longest=90)),
            Cell(text=shares[0], kind="number"),
            Cell(text=shares[1], kind="number"),
            Cell(
                text=clean(given(e.undefined, ""), longest=60) if e.value is None else format_number(e.value, 2),
                kind="number",
            ),
        )
        rows.append(Row(cells=cells, anchor=anchor(index)))
    verification = material.protocol.analyses.bias.verification if material.protocol.analyses.bias else None
    notes = [
        f"Of {len(found)} standardised differences those of 0.1 or more in size, largest first. What is imbalanced may "
        "explain a gap, or hide one.",
        material.set_note,
    ]
    if verification is not None:
        notes.insert(
            1,
            f"How the reference was established: '{clean(verification, longest=60)}'. Groups confirmed in different "
            "ways may differ in figures for that alone.",
        )
    if len(apart) > MOST_IMBALANCES:
        notes.insert(0, f"{len(apart) - MOST_IMBALANCES} more are in the attached evidence.json.")
    titles = ("Groups", "What differs", "Group", "Other", "Standardised difference")
    widths = (30.0, 32.0, 11.0, 11.0, 16.0)
    table = Table(
        label="",
        caption=f"{title}: what the groups differ in",
        columns=tuple(
            Column(title=t, align="left" if k < 2 else "right", width=w)
            for k, (t, w) in enumerate(zip(titles, widths, strict=True))
        ),
        rows=tuple(rows),
        notes=tuple(notes),
    )
    return [table]

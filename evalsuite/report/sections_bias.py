"""R18, bias and fairness: gaps between groups of patients with their outcomes, and what the words may not claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evalsuite.protocol.bias_outcomes import EQUIVALENCE
from evalsuite.report.bias_words import (
    OUTCOMES,
    TITLES_OF_FAIRNESS,
    base_metric,
    gap_sentence,
    group_name,
    interval,
    other_name,
    signed,
    summary,
    title_of,
)
from evalsuite.report.figures_bias import GapRow, MapCell, gap_plot, heat_map
from evalsuite.report.format import format_count, format_level, format_level_name, format_p, format_value
from evalsuite.report.material import Material, anchor, places, tested
from evalsuite.report.sections_bias_causes import causes
from evalsuite.report.sections_study import nothing_to_compare_with
from evalsuite.report.text import clean
from evalsuite.report.view import (
    Block,
    Bullets,
    Cell,
    Column,
    Figure,
    Heading,
    Notice,
    Prose,
    Row,
    Section,
    Table,
    Tone,
)
from evalsuite.types import Finding, TestOutcome

Numbered = tuple[int, Finding]
_TONES: dict[str, Tone] = {
    "equivalent": "met",
    "disparity": "not_met",
    "inconclusive": "inconclusive",
    "not_assessable": "neutral",
}
_MARKS = {"equivalent": "✓", "disparity": "✗", "inconclusive": "?", "not_assessable": "–"}
MOST_ROWS = 120
MOST_ANNEX_ROWS = 36
MOST_SENTENCES = 12
MOST_OPEN = 3
MOST_PLOTTED = 36
MOST_COLUMNS = 6
_PLOTTED = ("sensitivity", "specificity", "auroc", "ppv", "npv", "accuracy", "selection_rate", "brier")
#: Mirror images of other figures: tabled once.
_MIRRORED = ("fpr", "fnr", "underdiagnosis_rate")


def bias(material: Material) -> Section | None:
    """Gaps between groups; None where the protocol asks for none."""
    asked = material.protocol.analyses.bias
    found = list(material.findings(analysis="bias"))
    if asked is None or not found:
        return None
    blocks: list[Block] = [Prose(paragraphs=_opening(material))]
    for attribute in asked.attributes:
        blocks += _attribute(material, attribute.stratum, found)
    title = "Bias and fairness"
    return Section(id="bias", number="", title=title, code="R18", blocks=tuple(blocks))


def _opening(material: Material) -> tuple[str, ...]:
    asked = material.protocol.analyses.bias
    assert asked is not None
    margins = "; ".join(f"{title_of(m)} ±{v:g}" for m, v in asked.margins.items())
    said = f"Declared margins: {margins}." if margins else "No margin was declared, so no gap can be called equivalent."
    return (
        "A gap is a group's figure less that of the group it is compared with. Each has one of four outcomes. "
        "Equivalent: the 90 % interval lies inside the declared margin. Disparity: the gap is more than chance, after "
        "adjustment for the number of groups, and the test of all groups together says so too. Inconclusive: neither; "
        "this is not evidence that groups are equal. Not assessable: too few patients were seen.",
        f"{said} The gap that could have been found with {100 * asked.power:g} % power stands beside each: a study "
        "that could find only large gaps has not excluded smaller ones. A gap describes this device on this test set; "
        "whether its cause is the device, the case mix or the reference standard is a question of its own.",
    )


def _attribute(material: Material, name: str, found: Sequence[Numbered]) -> list[Block]:
    spec = material.protocol.stratum(name)
    keys = set(spec.cross or [spec.name])
    mine = [(i, f) for i, f in found if set(f.stratum) == keys]
    gaps = [(i, f) for i, f in mine if f.metric.endswith("_difference") and f.condition is None]
    declared = [f for _, f in gaps if f.prespecified]
    title = clean(name, longest=60)
    blocks: list[Block] = [
        Heading(text=title, id=f"bias-{_slug(name)}"),
        *(
            Notice(title="Open: no case belongs to the reference group", text=said)
            for said in nothing_to_compare_with(material, name)
        ),
    ]
    if not gaps:
        text = f"The test set holds fewer than two groups of '{title}': nothing can be compared."
        return [*blocks, Prose(paragraphs=(text,))]
    blocks.append(Prose(paragraphs=(f"{summary([f for f in declared if _shown(f)])}{_omnibus(material, name)}",)))
    blocks += _sentences(material, mine, [f for f in declared if _shown(f)])
    blocks += _gap_figure(material, title, [f for f in declared if _shown(f)])
    blocks += _map(material, title, mine)
    first, others = _split(material, gaps)
    blocks.append(_gap_table(material, title, mine, first, n_others=len(others)))
    whole = [(i, f) for i, f in found if f.condition in (f"attribute={name}", f"attribute={name}; no difference")]
    blocks += _whole(material, title, whole)
    told = [f for _, f in first]
    blocks += causes(material, title, mine, [f for f in declared if any(f is g for g in told)])
    return blocks


def _split(material: Material, gaps: Sequence[Numbered]) -> tuple[list[Numbered], list[Numbered]]:
    """Gaps that are read first (a margin or primary endpoint is of them, or something is shown), and all others."""
    shown = [(i, f) for i, f in gaps if _shown(f)]
    first = [(i, f) for i, f in shown if _important(material, f) or f.outcome in ("disparity", "equivalent")]
    return (first, [x for x in shown if x not in first]) if first else (shown, [])


def further_gaps(material: Material) -> tuple[Section, ...]:
    """The annex: gaps without a margin that show nothing, a table for each attribute; nothing where there are none."""
    asked = material.protocol.analyses.bias
    found = list(material.findings(analysis="bias"))
    if asked is None or not found:
        return ()
    tables: list[Block] = []
    for attribute in asked.attributes:
        spec = material.protocol.stratum(attribute.stratum)
        mine = [(i, f) for i, f in found if set(f.stratum) == set(spec.cross or [spec.name])]
        gaps = [(i, f) for i, f in mine if f.metric.endswith("_difference") and f.condition is None]
        others = [x for x in _split(material, gaps)[1] if x[1].prespecified]
        if others:
            table = _gap_table(material, clean(attribute.stratum, longest=60), mine, others, most=MOST_ANNEX_ROWS)
            tables.append(replace(table, caption=f"{table.caption}: further figures", compact=True))
    if not tables:
        return ()
    text = (
        "Gaps of figures that have no declared margin and no criterion of their own, and that are inconclusive or not "
        "assessable. They stand here so that section 18 can be read; they say as little for equality as against it."
    )
    title = "Annex: further gaps between groups"
    blocks = (Prose(paragraphs=(text,)), *tables)
    return (Section(id="further-gaps", number="", title=title, code="R34", blocks=blocks),)


def _shown(f: Finding) -> bool:
    return base_metric(f.metric) not in _MIRRORED


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower())


def _omnibus(material: Material, name: str) -> str:
    tests = (t for t in material.evidence.tests if t.analysis == "bias")
    told = [t for t in tests if t.name.endswith(f": all groups of {name} equal")]
    small = [t for t in told if t.p_value is not None and t.p_value < 0.05]
    if not told:
        return ""
    words = ", ".join(f"{clean(t.endpoint or '', longest=40)} (p {_p(t)})" for t in small[:6])
    return f" Tests that all groups are equal, at 5 %: {words or 'none rejects'}."


def _p(t: TestOutcome) -> str:
    p = t.p_value if t.p_adjusted is None else t.p_adjusted
    return format_p(p, sign="= ")


def _sentences(material: Material, mine: Sequence[Numbered], declared: Sequence[Finding]) -> list[Block]:
    """What is shown, disparities first, in words."""
    asked = material.protocol.analyses.bias
    assert asked is not None
    told = [f for f in declared if f.outcome in ("disparity", "equivalent")]
    open_ = [f for f in declared if f.outcome in ("inconclusive", "not_assessable") and _important(material, f)]
    told += open_[:MOST_OPEN]
    told.sort(key=lambda f: tuple(OUTCOMES).index(f.outcome or "") if f.outcome != "disparity" else -1)
    items: list[str] = []
    of: list[tuple[str, ...]] = []
    for f in told[:MOST_SENTENCES]:
        narrow = next(
            (
                g.estimate
                for _, g in mine
                if g.condition == EQUIVALENCE
                and (g.metric, dict(g.stratum), g.reference_group) == (f.metric, dict(f.stratum), f.reference_group)
            ),
            None,
        )
        margin = asked.margin(base_metric(f.metric))
        items.append(gap_sentence(f, margin=margin, narrow=narrow, of_patients=asked.verification not in f.stratum))
        of.append(places(material, (f,)))
    more = max(0, len(told) - MOST_SENTENCES) + max(0, len(open_) - MOST_OPEN)
    if more:
        items.append(
            f"{more} more gap{'s' if more > 1 else ''} of the kind stand{'' if more > 1 else 's'} in the table."
        )
        of.append(())
    return [Bullets(items=tuple(items), of=tuple(of))] if items else []


def _important(material: Material, f: Finding) -> bool:
    """Whether a gap without a conclusion is told in words: margins and endpoints of the protocol are, others tabled."""
    asked = material.protocol.analyses.bias
    endpoint = material.endpoint(f.endpoint)
    declared = endpoint is not None and endpoint.role == "primary"
    return declared or (asked is not None and asked.margin(base_metric(f.metric)) is not None)


def _gap_figure(material: Material, title: str, declared: Sequence[Finding]) -> list[Block]:
    """Gaps of shares and of AUROCs against their margins; the others have units of their own and are tabled."""
    asked = material.protocol.analyses.bias
    assert asked is not None
    wanted = [m for m in _PLOTTED if asked.margin(m) is not None] or list(_PLOTTED[:3])
    rows: list[GapRow] = []
    drawn: list[Finding] = []
    for metric in wanted:
        own = [f for f in declared if base_metric(f.metric) == metric]
        if own and len(rows) + len(own) + 1 <= MOST_PLOTTED:
            rows.append(GapRow(label=title_of(metric), group=True))
            rows += [_plotted(f, asked.margin(metric)) for f in own]
            drawn += own
    if not any(r.value is not None for r in rows):
        return []
    shown = [r for r in rows if not r.group]
    alt = f"Gaps between groups of {title}: " + "; ".join(f"{r.label}: {r.text}" for r in shown) + "."
    notes = ("Bars: intervals as tabled below, not adjusted for the number of groups.", material.set_note)
    figure = Figure(
        label="",
        caption=f"Gaps between groups of {title}",
        alt=alt,
        svg=gap_plot(rows, alt=alt),
        notes=notes,
        of=places(material, drawn),
    )
    return [figure]


def _plotted(f: Finding, margin: float | None) -> GapRow:
    e, outcome = f.estimate, f.outcome or "not_assessable"
    return GapRow(
        label=f"{group_name(f)} less {other_name(f)}",
        text=f"{_MARKS[outcome]} {OUTCOMES[outcome]}",
        value=e.value,
        low=e.low,
        high=e.high,
        margin=margin,
    )


def _map(material: Material, title: str, mine: Sequence[Numbered]) -> list[Block]:
    """Of a cross of two strata, every combination with its figure and its number of cases."""
    blocks: list[Block] = []
    for metric in ("sensitivity", "specificity", "auroc"):
        own = [f for _, f in mine if f.metric == metric and f.condition is None and f.reference_group is None]
        if not own or len(own[0].stratum) != 2:
            continue
        cells: dict[tuple[str, str], MapCell] = {}
        for f in own:
            first, second = (format_level_name(v) for v in f.stratum.values())
            e = f.estimate
            text = "not assessable" if e.value is None else format_value(metric, e)
            n = e.n_positive if metric == "sensitivity" else e.n_negative if metric == "specificity" else e.n
            cells[first, second] = MapCell(text=text, counts=f"n = {format_count(n)}", value=e.value)
        rows, columns = (list(dict.fromkeys(key[k] for key in cells)) for k in (0, 1))
        if len(rows) > MOST_PLOTTED or len(columns) > MOST_COLUMNS:
            continue
        alt = f"{title_of(metric)} by {title}: " + "; ".join(
            f"{a} and {b}: {c.text} ({c.counts})" for (a, b), c in cells.items()
        )
        words = {"sensitivity": "reference-positive cases", "specificity": "reference-negative cases"}
        blocks.append(
            Figure(
                label="",
                caption=f"{title_of(metric)} in every combination of {title}",
                alt=alt,
                svg=heat_map(rows, columns, cells, title=title_of(metric), alt=alt),
                notes=(
                    f"Darker: lower. Grey: not assessable. n: {words.get(metric, 'cases')}. Intervals in the table.",
                    material.set_note,
                ),
                of=places(material, own),
            )
        )
    return blocks


def _gap_table(
    material: Material,
    title: str,
    mine: Sequence[Numbered],
    gaps: Sequence[Numbered],
    *,
    n_others: int = 0,
    most: int = MOST_ROWS,
) -> Table:
    rows: list[Row] = []
    tests = {t.name: t for t in material.evidence.tests if t.analysis == "bias"}
    metric = ""
    # Beside a declared reference the rest is told only where it shows something; all of it is in the evidence.
    beside = [f for _, f in gaps if not f.prespecified and f.outcome != "disparity"]
    gaps = [(i, f) for i, f in gaps if f not in beside]
    single = len({(tuple(f.stratum.items()), f.reference_group) for _, f in gaps}) == 1
    for index, f in gaps:
        own = [g for _, g in gaps if g.metric == f.metric]
        nothing = len(own) > 1 and all(g.estimate.value is None for g in own)
        if f.metric == metric and nothing:
            continue
        if f.metric != metric and not single:
            metric = f.metric
            rows.append(Row(cells=(Cell(text=title_of(base_metric(metric))),), group=True))
        if nothing:
            rows.append(_nothing_row(index, own))
            continue
        rows.append(_gap_row(material, index, f, mine, tests, single=single))
    notes = [
        "Group less the other, shares in percentage points. p: adjusted for the number of groups (Holm; of gaps with † "
        "Benjamini-Hochberg, exploratory). Could be found: smallest shortfall that this many cases would show.",
        material.method_note(f.estimate for _, f in gaps),
        material.set_note,
    ]
    shown = _up_to(rows, most)
    left_out = sum(not row.group for row in rows[len(shown) :])
    if left_out:
        are = "row is" if left_out == 1 else "rows are"
        notes.insert(0, f"{left_out} more {are} in the attached evidence.json.")
    if n_others:
        said = "One more gap, which shows" if n_others == 1 else f"{format_count(n_others)} more gaps, which show"
        notes.insert(0, f"{said} nothing and have no margin, are in the annex (section 34) or in the evidence.")
    if beside:
        notes.insert(0, f"{len(beside)} gaps to the rest, none of them a disparity, are in the attached evidence.json.")
    level = next((f.estimate.level for _, f in gaps), material.level)
    first = f"{group_name(gaps[0][1])} less {other_name(gaps[0][1])}" if single else "Group less other"
    titles = (first, "n", "Gap", f"{format_level(level)} CI", "p", "Could be found", "Outcome")
    widths = (27.0, 8.0, 11.0, 18.0, 10.0, 10.0, 16.0)
    return Table(
        label="",
        caption=f"Gaps between groups of {title}",
        columns=tuple(
            Column(title=t, align="left" if t in (first, "Outcome") else "right", width=w)
            for t, w in zip(titles, widths, strict=True)
        ),
        rows=shown,
        notes=tuple(n for n in notes if n),
    )


def _up_to(rows: Sequence[Row], most: int) -> tuple[Row, ...]:
    """The first rows; no heading stands last, with nothing below it."""
    n = min(most, len(rows))
    while n and rows[n - 1].group:
        n -= 1
    return tuple(rows[:n])


def _nothing_row(index: int, own: Sequence[Finding]) -> Row:
    """All gaps of a figure where none can be assessed, with the reasons."""
    reasons = dict.fromkeys(
        str(f.estimate.undefined or "").removeprefix("not assessable: ").partition(" (")[0] for f in own
    )
    text = f"none of {len(own)} gaps can be assessed: {clean('; '.join(reasons), longest=160)}"
    return Row(cells=(Cell(text=text, kind="muted", span=7),), anchor=anchor(index))


def _gap_row(
    material: Material,
    index: int,
    f: Finding,
    mine: Sequence[Numbered],
    tests: dict[str, TestOutcome],
    *,
    single: bool,
) -> Row:
    metric, e = base_metric(f.metric), f.estimate
    named = f"{' × '.join(f.stratum.values())} = {f.reference_group}"
    test = next((t for n, t in tests.items() if n.startswith(f"{f.endpoint}: ") and n.endswith(f" {named}")), None)
    at, least = next(
        (
            ((anchor(i),), g.estimate.value)
            for i, g in mine
            if g.metric == f"{metric}_detectable_gap"
            and (dict(g.stratum), g.reference_group) == (dict(f.stratum), f.reference_group)
        ),
        ((), None),
    )
    outcome, mark = f.outcome or "not_assessable", "" if f.prespecified else " †"
    cells = (
        Cell(text=title_of(metric) if single else f"{group_name(f)} less {other_name(f)}{mark}"),
        Cell(text=format_count(e.n), kind="number"),
        Cell(text="–" if e.value is None else signed(metric, e.value), kind="number"),
        Cell(text="–" if e.value is None else interval(metric, e), kind="number"),
        Cell(text="–" if test is None else _p(test), kind="number", of=tested(material, test)),
        Cell(text="–" if least is None else signed(metric, least).removeprefix("+"), kind="number", of=at),
        Cell(text=f"{_MARKS[outcome]} {OUTCOMES[outcome]}", kind="verdict", tone=_TONES[outcome]),
    )
    return Row(cells=cells, anchor=anchor(index))


def _whole(material: Material, title: str, found: Sequence[Numbered]) -> list[Block]:
    """Figures of the attribute as a whole beside what chance alone gives."""
    asked = material.protocol.analyses.bias
    assert asked is not None
    left_out = 0
    chance = {f.metric: (i, f) for i, f in found if str(f.condition).endswith("; no difference")}
    rows = []
    for index, f in found:
        at, null = chance.get(f.metric, (None, None))
        if f is null:
            continue
        metric = f.metric.removesuffix("_worst_group").removesuffix("_largest_gap")
        worst = f.metric.endswith("_worst_group")
        if metric not in TITLES_OF_FAIRNESS and asked.margins and asked.margin(metric) is None:
            left_out += 1
            continue
        what = f"Least favourable group, {title_of(metric)}: {group_name(f)}" if worst else title_of(metric)
        e = f.estimate
        value = "–" if e.value is None else f"{e.value:.3f}"
        shown = "–" if e.low is None or e.high is None else f"{e.low:.3f}–{e.high:.3f}"
        told = "–"
        if null is not None and null.estimate.value is not None and null.estimate.low is not None:
            told = f"{null.estimate.value:.3f} ({null.estimate.low:.3f}–{null.estimate.high:.3f})"
        cells = (
            Cell(text=what),
            Cell(text=value, kind="number"),
            Cell(text=shown.replace("-", "−"), kind="number"),
            Cell(text=told.replace("-", "−"), kind="number", of=() if at is None else (anchor(at),)),
            Cell(text=anchor(index), kind="muted"),
        )
        rows.append(Row(cells=cells, anchor=anchor(index)))
    if not rows:
        return []
    titles = ("Figure", "Observed", material.interval_title, "By chance alone (95 % range)", "Finding")
    widths = (44.0, 11.0, 17.0, 20.0, 8.0)
    table = Table(
        label="",
        caption=f"{title}: largest gaps between any two groups, and the least favourable group",
        columns=tuple(
            Column(title=t, align="left" if t == "Figure" else "right", width=w)
            for t, w in zip(titles, widths, strict=True)
        ),
        rows=tuple(rows),
        notes=(
            "Among equal groups some gap always is the largest and some group the lowest: the last column says how "
            "large and how low by chance alone. Intervals are simultaneous over all pairs and may hold 0; a resampling "
            "interval of a largest gap cannot, and is not given.",
            *((f"{left_out} more figures, without a margin, are in the attached evidence.json.",) if left_out else ()),
            material.set_note,
        ),
    )
    return [table]

"""R18, bias and fairness: gaps between groups of patients with their outcomes, and what the words may not claim."""

from __future__ import annotations

from collections.abc import Sequence

from evalsuite.protocol.bias_outcomes import EQUIVALENCE
from evalsuite.report.bias_words import (
    OUTCOMES,
    base_metric,
    gap_sentence,
    group_name,
    interval,
    other_name,
    signed,
    summary,
    title_of,
)
from evalsuite.report.format import format_count, format_level
from evalsuite.report.material import Material, anchor
from evalsuite.report.text import clean
from evalsuite.report.view import Block, Bullets, Cell, Column, Heading, Prose, Row, Section, Table, Tone
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
MOST_SENTENCES = 12
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
    blocks: list[Block] = [Heading(text=title, id=f"bias-{_slug(name)}")]
    if not gaps:
        text = f"The test set holds fewer than two groups of '{title}': nothing can be compared."
        return [*blocks, Prose(paragraphs=(text,))]
    blocks.append(Prose(paragraphs=(f"{summary([f for f in declared if _shown(f)])}{_omnibus(material, name)}",)))
    blocks += _sentences(material, mine, [f for f in declared if _shown(f)])
    blocks.append(_gap_table(material, title, mine, [(i, f) for i, f in gaps if _shown(f)]))
    whole = [(i, f) for i, f in found if f.condition in (f"attribute={name}", f"attribute={name}; no difference")]
    blocks += _whole(material, title, whole)
    return blocks


def _shown(f: Finding) -> bool:
    return base_metric(f.metric) not in _MIRRORED


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower())


def _omnibus(material: Material, name: str) -> str:
    told = [t for t in material.evidence.tests if t.name.endswith(f": all groups of {name} equal")]
    small = [t for t in told if t.p_value is not None and t.p_value < 0.05]
    if not told:
        return ""
    words = ", ".join(f"{clean(t.endpoint or '', longest=40)} (p {_p(t)})" for t in small[:6])
    return f" Tests that all groups are equal, at 5 %: {words or 'none rejects'}."


def _p(t: TestOutcome) -> str:
    p = t.p_value if t.p_adjusted is None else t.p_adjusted
    return "–" if p is None else "< 0.0001" if p < 0.0001 else f"= {p:.4f}"


def _sentences(material: Material, mine: Sequence[Numbered], declared: Sequence[Finding]) -> list[Block]:
    """What is shown, disparities first, in words."""
    asked = material.protocol.analyses.bias
    assert asked is not None
    told = [f for f in declared if f.outcome in ("disparity", "equivalent")]
    told += [f for f in declared if f.outcome in ("inconclusive", "not_assessable") and _important(material, f)]
    told.sort(key=lambda f: tuple(OUTCOMES).index(f.outcome or "") if f.outcome != "disparity" else -1)
    items = []
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
        items.append(gap_sentence(f, margin=margin, narrow=narrow))
    if len(told) > MOST_SENTENCES:
        items.append(f"{len(told) - MOST_SENTENCES} more gaps of note stand in the table.")
    return [Bullets(items=tuple(items))] if items else []


def _important(material: Material, f: Finding) -> bool:
    """Whether a gap without a conclusion is told in words: margins and endpoints of the protocol are, others tabled."""
    asked = material.protocol.analyses.bias
    endpoint = material.endpoint(f.endpoint)
    declared = endpoint is not None and endpoint.role == "primary"
    return declared or (asked is not None and asked.margin(base_metric(f.metric)) is not None)


def _gap_table(material: Material, title: str, mine: Sequence[Numbered], gaps: Sequence[Numbered]) -> Table:
    rows: list[Row] = []
    tests = {t.name: t for t in material.evidence.tests}
    metric = ""
    for index, f in gaps:
        if f.metric != metric:
            metric = f.metric
            rows.append(Row(cells=(Cell(text=title_of(base_metric(metric))),), group=True))
        rows.append(_gap_row(index, f, mine, tests))
    notes = [
        "Group less the other, shares in percentage points. p: adjusted for the number of groups (Holm; of gaps with † "
        "Benjamini-Hochberg, exploratory). Could be found: smallest shortfall that this many cases would show.",
        material.method_note(f.estimate for _, f in gaps),
        material.set_note,
    ]
    if len(rows) > MOST_ROWS:
        notes.insert(0, f"{len(rows) - MOST_ROWS} more rows are in the attached evidence.json.")
    level = next((f.estimate.level for _, f in gaps), material.level)
    titles = ("Group less other", "n", "Gap", f"{format_level(level)} CI", "p", "Could be found", "Outcome")
    widths = (27.0, 8.0, 11.0, 18.0, 10.0, 10.0, 16.0)
    return Table(
        label="",
        caption=f"Gaps between groups of {title}",
        columns=tuple(
            Column(title=t, align="left" if t in ("Group less other", "Outcome") else "right", width=w)
            for t, w in zip(titles, widths, strict=True)
        ),
        rows=tuple(rows[:MOST_ROWS]),
        notes=tuple(n for n in notes if n),
    )


def _gap_row(index: int, f: Finding, mine: Sequence[Numbered], tests: dict[str, TestOutcome]) -> Row:
    metric, e = base_metric(f.metric), f.estimate
    named = f"{' × '.join(f.stratum.values())} = {f.reference_group}"
    test = next((t for n, t in tests.items() if n.startswith(f"{f.endpoint}: ") and n.endswith(f" {named}")), None)
    least = next(
        (
            g.estimate.value
            for _, g in mine
            if g.metric == f"{metric}_detectable_gap"
            and (dict(g.stratum), g.reference_group) == (dict(f.stratum), f.reference_group)
        ),
        None,
    )
    outcome = f.outcome or "not_assessable"
    cells = (
        Cell(text=f"{group_name(f)} less {other_name(f)}{'' if f.prespecified else ' †'}"),
        Cell(text=format_count(e.n), kind="number"),
        Cell(text="–" if e.value is None else signed(metric, e.value), kind="number"),
        Cell(text="–" if e.value is None else interval(metric, e), kind="number"),
        Cell(text="–" if test is None else _p(test), kind="number"),
        Cell(text="–" if least is None else signed(metric, least).removeprefix("+"), kind="number"),
        Cell(text=f"{_MARKS[outcome]} {OUTCOMES[outcome]}", kind="verdict", tone=_TONES[outcome]),
    )
    return Row(cells=cells, anchor=anchor(index))


def _whole(material: Material, title: str, found: Sequence[Numbered]) -> list[Block]:
    """Figures of the attribute as a whole beside what chance alone gives."""
    chance = {f.metric: f for _, f in found if str(f.condition).endswith("; no difference")}
    rows = []
    for index, f in found:
        if f.metric in chance and f is chance[f.metric]:
            continue
        metric = f.metric.removesuffix("_worst_group").removesuffix("_largest_gap")
        worst = f.metric.endswith("_worst_group")
        what = f"Least favourable group, {title_of(metric)}: {group_name(f)}" if worst else title_of(metric)
        e = f.estimate
        value = "–" if e.value is None else f"{e.value:.3f}"
        shown = "–" if e.low is None or e.high is None else f"{e.low:.3f}–{e.high:.3f}"
        null = chance.get(f.metric)
        told = "–"
        if null is not None and null.estimate.value is not None and null.estimate.low is not None:
            told = f"{null.estimate.value:.3f} ({null.estimate.low:.3f}–{null.estimate.high:.3f})"
        cells = (
            Cell(text=what),
            Cell(text=value, kind="number"),
            Cell(text=shown.replace("-", "−"), kind="number"),
            Cell(text=told.replace("-", "−"), kind="number"),
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
            material.set_note,
        ),
    )
    return [table]

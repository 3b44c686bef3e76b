"""Comparison with a baseline on the same cases, and the adjustment where several claims share one error rate."""

from __future__ import annotations

from collections.abc import Iterator

from evalsuite.protocol.comparisons import OVERLAPS, RATIO, compared_metric, compared_with, is_difference
from evalsuite.protocol.schema import Comparison
from evalsuite.report.comparison_words import in_plain_words
from evalsuite.report.format import (
    format_count,
    format_estimate,
    format_interval,
    format_number,
    format_p,
    format_stratum,
    format_value,
)
from evalsuite.report.material import Material, anchor, metric_title, tested
from evalsuite.report.sections_changes import changes, versions
from evalsuite.report.text import clean, given, sentence
from evalsuite.report.view import Block, Bullets, Cell, Column, Heading, Notice, Prose, Row, Section, Table
from evalsuite.types import Finding, TestOutcome

_MOST_ROWS = 80
_HYPOTHESES = {"superiority": "superiority", "non_inferiority": "non-inferiority", "equivalence": "equivalence"}


_CALLED = {"baseline": "baseline", "original": "original version"}

#: How the methods of tests begin that a criterion on an endpoint has beside its interval.
_OF_GOALS = ("exact binomial", "two one-sided t tests", "one-sided t test")


def comparison(material: Material) -> Section | None:
    """Differences in the whole set and in every group, with both devices' own values; None without a comparison."""
    found = list(material.findings(analysis="comparison"))
    if not found:
        return None
    others = compared_with(material.protocol)
    text = (
        f"The candidate is compared with {' and with '.join(_named(material, who) for who in others)} on the same "
        f"cases. Every difference is candidate minus {' or '.join(others)}. Where an output is missing, it counts "
        f"against the candidate and for the {' or the '.join(others)} unless the protocol says otherwise."
    )
    blocks: list[Block] = [Prose(paragraphs=(text,)), *_decision(material), Bullets(items=(*in_plain_words(material),))]
    blocks += versions(material)
    blocks += [_whole(material, found, who) for who in others]
    overlap = _overlap(material, found)
    if overlap is not None:
        blocks.append(overlap)
    ratios = _ratios(material, found)
    if ratios is not None:
        blocks.append(ratios)
    tests = _tests(material)
    if tests is not None:
        blocks.append(tests)
    blocks += changes(material)
    groups = _groups(material, found)
    if groups is not None:
        blocks += [Heading(text="Differences in groups", id="comparison-groups"), groups]
    return Section(id="comparison", number="", title="Comparison with the baseline", code="R22", blocks=tuple(blocks))


def _named(material: Material, who: str) -> str:
    device = material.evidence.model.get(who)
    name = device.get("name") if isinstance(device, dict) else None
    words = {"baseline": "a baseline", "original": "the original version"}[who]
    called = clean(given(name, words), longest=80)
    return called if who == "baseline" or name is None else f"{called}, {words}"


def _decision(material: Material) -> Iterator[Block]:
    """Of a modification: what was modified, and whether it may be implemented."""
    asked = material.protocol.modification
    if asked is None:
        return
    decision = material.verdict.decision
    title = "The modification may be implemented" if decision == "implement" else "Do not implement the modification"
    plan = f" Plan: {clean(asked.plan, longest=200)}." if asked.plan else " No plan is named that covers it."
    text = f"{sentence(clean(asked.description, longest=400))}{plan} {clean(material.verdict.reason, longest=600)}"
    yield Notice(title=title, text=text, tone="met" if decision == "implement" else "warning")


def _words(comparison_: Comparison) -> str:
    if comparison_.hypothesis is None:
        return clean(comparison_.name, longest=80)
    margin = f", margin {comparison_.margin:g}" if comparison_.margin else ""
    return f"{clean(comparison_.name, longest=80)} · {_HYPOTHESES[comparison_.hypothesis]}{margin}"


def _whole(material: Material, found: list[tuple[int, Finding]], other: str) -> Table:
    rows = []
    chosen: list[Finding] = []
    for asked in (c for c in material.protocol.comparisons if c.against == other):
        mine = [(i, f) for i, f in found if f.endpoint == asked.name and not f.stratum]
        difference = next(((i, f) for i, f in mine if is_difference(f.metric)), None)
        if difference is None:
            continue
        index, finding = difference
        chosen.append(finding)
        e = finding.estimate
        of = f" of {clean(asked.target, longest=60)}" if asked.target else ""
        cells = [Cell(text=metric_title(compared_metric(asked)) + of, sub=_words(asked))]
        for who in ("candidate", other):
            at, own = next(((i, f) for i, f in mine if f.condition == who), (None, None))
            text = "–" if own is None or own.estimate.value is None else format_value(own.metric, own.estimate)
            cells.append(Cell(text=text, kind="number", of=() if at is None else (anchor(at),)))
        if e.value is None:
            cells.append(Cell(text=format_value(finding.metric, e), kind="muted", span=2))
        else:
            cells.append(Cell(text=format_value(finding.metric, e), kind="number"))
            cells.append(Cell(text=format_interval(finding.metric, e), kind="number"))
        code = material.method_codes.get(e.method, "") if e.value is not None else "–"
        cells += [Cell(text=format_count(e.n), kind="number"), Cell(text=code, kind="muted")]
        cells.append(Cell(text=anchor(index), kind="muted"))
        rows.append(Row(cells=tuple(cells), anchor=anchor(index)))
    return Table(
        label="",
        caption=f"Candidate and {_CALLED[other]} in the whole test set",
        columns=(
            Column(title="Difference in", width=26),
            Column(title="Candidate", align="right", width=11),
            Column(title=_CALLED[other].capitalize(), align="right", width=11),
            Column(title="Difference", align="right", width=11),
            Column(title=material.interval_title, align="right", width=17),
            Column(title="n", align="right", width=6),
            Column(title="Method", width=10),
            Column(title="Finding", align="right", width=8),
        ),
        rows=tuple(rows),
        notes=(material.method_note(f.estimate for f in chosen), material.set_note),
    )


def _overlap(material: Material, found: list[tuple[int, Finding]]) -> Table | None:
    """How many of each device's marks the other one has too; None without any."""
    rows: dict[tuple[str, str], dict[str, tuple[int, Finding]]] = {}
    for index, f in found:
        if f.metric in OVERLAPS and f.condition is not None:
            rows.setdefault((f.endpoint, f.metric), {})[f.condition] = index, f
    if not rows:
        return None

    def cell(entry: tuple[int, Finding]) -> Cell:
        index, f = entry
        kind = "number" if f.estimate.value is not None else "muted"
        return Cell(text=format_estimate(f.metric, f.estimate), kind=kind, anchor=anchor(index))  # type: ignore[arg-type]

    chosen = [f.estimate for by in rows.values() for _, f in by.values()]
    return Table(
        label="",
        caption="Marks that both devices have",
        columns=(
            Column(title="Marks", width=30),
            Column(title="Of the candidate's", align="right", width=30),
            Column(title="Of the other's", align="right", width=30),
            Column(title="Finding", align="right", width=10),
        ),
        rows=tuple(
            Row(
                cells=(
                    Cell(text=OVERLAPS[metric], sub=clean(name, longest=80)),
                    cell(by["candidate"]),
                    cell(next(entry for who, entry in by.items() if who != "candidate")),
                    Cell(text=anchor(by["candidate"][0]), kind="muted"),
                )
            )
            for (name, metric), by in rows.items()
        ),
        notes=(
            "The share of one device's marks on lesions whose lesion the other one marked too, and of its false marks "
            "that lie where the other one has one. Cases with an output of both devices.",
            material.method_note(chosen),
        ),
    )


def _ratios(material: Material, found: list[tuple[int, Finding]]) -> Table | None:
    """Candidate over baseline, where the protocol asks for it."""
    chosen = [(i, f) for i, f in found if f.metric.endswith(RATIO)]
    if not chosen:
        return None
    rows = []
    for index, f in chosen[:_MOST_ROWS]:
        title = f"{metric_title(f.metric.removesuffix(RATIO))} · {clean(f.endpoint, longest=80)}"
        e = f.estimate
        code = material.method_codes.get(e.method, "") if e.value is not None else "–"
        cells = (
            Cell(text=title, sub=format_stratum(f.stratum) if f.stratum else "whole test set"),
            Cell(text=format_estimate(f.metric, e), kind="number" if e.value is not None else "muted"),
            Cell(text=format_count(e.n), kind="number"),
            Cell(text=code, kind="muted"),
            Cell(text=anchor(index), kind="muted"),
        )
        rows.append(Row(cells=cells, anchor=anchor(index)))
    notes = [material.method_note(f.estimate for _, f in chosen), material.set_note]
    if len(chosen) > _MOST_ROWS:
        notes.append(f"{len(chosen) - _MOST_ROWS} more rows are in the attached evidence.json (analysis: comparison).")
    return Table(
        label="",
        caption="Ratios of shares, candidate over baseline",
        columns=(
            Column(title="Ratio of", width=36),
            Column(title=f"Ratio, {material.interval_title}", align="right", width=32),
            Column(title="n", align="right", width=10),
            Column(title="Method", width=10),
            Column(title="Finding", align="right", width=12),
        ),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def _groups(material: Material, found: list[tuple[int, Finding]]) -> Table | None:
    inside = [(i, f) for i, f in found if f.stratum and is_difference(f.metric)]
    if not inside:
        return None
    rows: list[Row] = []
    name = ""
    for index, finding in inside[:_MOST_ROWS]:
        if finding.endpoint != name:
            name = finding.endpoint
            title = f"{metric_title(finding.metric)} · {clean(name, longest=80)}"
            rows.append(Row(cells=(Cell(text=title),), group=True))
        e = finding.estimate
        rows.append(
            Row(
                cells=(
                    Cell(text=format_stratum(finding.stratum)),
                    Cell(text=format_estimate(finding.metric, e), kind="number" if e.value is not None else "muted"),
                    Cell(text=format_count(e.n), kind="number"),
                    Cell(text=anchor(index), kind="muted"),
                ),
                anchor=anchor(index),
            )
        )
    notes = [f"Estimate and {material.interval_title}. {material.set_note}"]
    if len(inside) > _MOST_ROWS:
        notes.append(f"{len(inside) - _MOST_ROWS} more rows are in the attached evidence.json (analysis: comparison).")
    return Table(
        label="",
        caption="Differences between candidate and baseline in groups",
        columns=(
            Column(title="Group", width=34),
            Column(title="Difference", align="right", width=40),
            Column(title="n", align="right", width=12),
            Column(title="Finding", align="right", width=14),
        ),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def _tests(material: Material) -> Table | None:
    names = {c.name for c in material.protocol.comparisons}
    tests = [t for t in material.evidence.tests if t.endpoint in names and t.p_adjusted is None]
    return _test_table("Tests of differences", tests, adjusted=False, material=material) if tests else None


def adjustment(material: Material) -> list[Block]:
    """Every test of the protocol's claims with its p-value adjusted; nothing where the protocol adjusts nothing."""
    own = [t for t in material.evidence.tests if t.analysis is None]
    tests = [t for t in own if t.p_adjusted is not None or _would_be_adjusted(t)]
    if not any(t.p_adjusted is not None for t in tests):
        return []
    return [
        Heading(text="Adjustment for several claims", id="multiplicity"),
        _test_table("p-values adjusted for multiplicity", tests, adjusted=True, material=material),
    ]


def tests_of_goals(material: Material) -> list[Block]:
    """Tests of the endpoints' goals (exact binomial, t) beside the intervals that decide; nothing without any."""
    names = {e.name for e in material.protocol.endpoints}
    own = [t for t in material.evidence.tests if t.analysis is None]
    tests = [t for t in own if t.endpoint in names and t.method.startswith(_OF_GOALS)]
    if not tests:
        return []
    return [
        Heading(text="Tests of the goals", id="tests-of-goals"),
        _test_table("Tests of the goals; the intervals decide", tests, adjusted=False, material=material),
    ]


def _would_be_adjusted(test: TestOutcome) -> bool:
    return test.undefined is not None and "by inverting the interval" in test.method and " over " in test.method


def _test_table(caption: str, tests: list[TestOutcome], *, adjusted: bool, material: Material) -> Table:
    methods = list(dict.fromkeys(t.method for t in tests))
    codes = {method: f"T{k}" for k, method in enumerate(methods, start=1)}
    rows = []
    for t in tests:
        where = format_stratum(t.stratum) if t.stratum else ""
        cells = [Cell(text=clean(t.name, longest=120).replace(" -", " −"), sub=where)]
        if t.p_value is None:
            why = clean(given(t.undefined, "no reason recorded"), longest=160)
            cells.append(Cell(text=f"no test: {why}", kind="muted"))
        else:
            cells.append(Cell(text=format_p(t.p_value), kind="number"))
        if adjusted:
            cells.append(Cell(text=format_p(t.p_adjusted), kind="number"))
        else:
            cells.append(Cell(text="–" if t.statistic is None else format_number(t.statistic), kind="number"))
        cells.append(Cell(text=codes[t.method], kind="muted"))
        rows.append(Row(cells=tuple(cells), of=tested(material, t)))
    notes = [f"Methods: {'; '.join(f'{code} {clean(m, longest=300)}' for m, code in codes.items())}."]
    if adjusted:
        alpha = material.protocol.confidence.alpha
        notes.append(f"An adjusted p-value is compared with the study's one-sided error rate, {round(alpha, 10):g}.")
    return Table(
        label="",
        caption=caption,
        columns=(
            Column(title="Test", width=46),
            Column(title="p", align="right", width=22),
            Column(title="adjusted p" if adjusted else "Statistic", align="right", width=20),
            Column(title="Method", width=12),
        ),
        rows=tuple(rows),
        notes=tuple(notes),
    )

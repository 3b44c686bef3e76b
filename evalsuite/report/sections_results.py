"""Sections of results for the whole set: criteria, performance table, curves and calibration."""

from __future__ import annotations

from evalsuite.report.format import (
    format_count,
    format_fraction,
    format_interval,
    format_number,
    format_stratum,
    format_value,
)
from evalsuite.report.judged import criteria_table, judgement, ranked
from evalsuite.report.material import ROLE_ORDER, Material, anchor, finding_at, question
from evalsuite.report.sections_classes import class_tables, has_several
from evalsuite.report.sections_comparison import adjustment, tests_of_goals
from evalsuite.report.text import clean, sentence
from evalsuite.report.view import Block, Bullets, Cell, Column, Heading, Notice, Row, Section, Table
from evalsuite.types import Finding


def primary_results(material: Material) -> Section:
    overall = judgement(material)
    blocks: list[Block] = [
        Notice(title=f"{overall.mark} {overall.word}", text=overall.reason, tone=overall.tone),
        criteria_table(
            material,
            ranked(material),
            label="",
            caption="Acceptance criteria, estimates and verdicts",
            most=60,
            reasons=True,
        ),
    ]
    reasons = tuple(
        f"{clean(c.endpoint, longest=80)}{_where(c.stratum)}: {sentence(clean(c.reason, longest=300))}"
        for c in ranked(material)[:60]
    )
    if reasons:
        judged = (material.judged(c) for c in ranked(material)[:60])
        of = tuple(() if found is None else (anchor(found[0]),) for found in judged)
        blocks += [Heading(text="Why each criterion is judged as it is", id="reasons"), Bullets(items=reasons, of=of)]
    blocks += tests_of_goals(material)
    blocks += adjustment(material)
    if material.flags:
        blocks += [
            Heading(text="Flags", id="flags"),
            Bullets(items=tuple(sentence(clean(flag)) for flag in material.flags[:30])),
        ]
    return Section(id="primary-results", number="", title="Primary results", code="R12", blocks=tuple(blocks))


def _where(stratum: object) -> str:
    return f" ({format_stratum(stratum)})" if isinstance(stratum, dict) and stratum else ""


def performance_tables(material: Material) -> list[Block]:
    """A 2×2 table for each operating point, and every estimate of the whole set."""
    return [
        *(_confusion(material, name) for name in _points_with_counts(material)),
        _performance_table(material),
        *class_tables(material),
    ]


def _points_with_counts(material: Material) -> list[str]:
    names: list[str] = []
    if has_several(material):
        return names
    for point in material.protocol.operating_points:
        pair = (finding_at(material, "sensitivity", point.name), finding_at(material, "specificity", point.name))
        if all(f is not None and f.estimate.numerator is not None for f in pair):
            names.append(point.name)
    return names


def _confusion(material: Material, point: str) -> Table:
    """The 2×2 table, from the counts that sensitivity and specificity carry."""
    positive, negative = finding_at(material, "sensitivity", point), finding_at(material, "specificity", point)
    assert positive is not None
    assert negative is not None
    tp, n_positive = positive.estimate.numerator or 0, positive.estimate.denominator or 0
    tn, n_negative = negative.estimate.numerator or 0, negative.estimate.denominator or 0

    at = {f.metric: i for i, f in material.findings(overall=True) if f.operating_point == point}
    places = (anchor(at["sensitivity"]), anchor(at["specificity"]))

    def row(label: str, pos: float, neg: float, *, head: bool = False) -> Row:
        kind = "head" if head else "number"
        return Row(
            cells=(
                Cell(text=label, kind="head" if head else "text"),
                Cell(text=format_count(pos), kind=kind, of=places[:1]),  # type: ignore[arg-type]
                Cell(text=format_count(neg), kind=kind, of=places[1:]),  # type: ignore[arg-type]
                Cell(text=format_count(pos + neg), kind=kind, of=places),  # type: ignore[arg-type]
            )
        )

    missing = material.protocol.missing_outputs.primary.replace("_", " ")
    spec = material.protocol.operating_point(point)
    sign = "≥" if spec.comparison == ">=" else ">"
    name = clean(point, longest=60)
    counted = f"They are those of findings {' and '.join(places)}. "
    return Table(
        label="",
        caption=f"Calls against the reference standard at operating point {name} (score {sign} {spec.threshold:g})",
        columns=(
            Column(title="", width=34),
            Column(title="Reference positive", align="right"),
            Column(title="Reference negative", align="right"),
            Column(title="Total", align="right"),
        ),
        rows=(
            row("Called positive", tp, n_negative - tn),
            row("Called negative", n_positive - tp, tn),
            row("Total", n_positive, n_negative, head=True),
        ),
        notes=(f"Counts are cases; missing outputs: {missing}. {counted}{material.set_note}",),
    )


def _performance_table(material: Material) -> Table:
    rows: list[Row] = []
    order = material.endpoint_order
    several = len(material.protocol.operating_points) > 1
    chosen = [
        (i, f)
        for i, f in material.findings(overall=True)
        # Figures of one class or label that the protocol does not name stand in the tables by class.
        if f.analysis != "calibration" and not (f.target is not None and f.role == "descriptive")
    ]
    chosen.sort(key=lambda item: (ROLE_ORDER.get(item[1].role, 9), order.get(item[1].endpoint, 999), item[0]))
    titles = {
        "primary": "Primary endpoints",
        "secondary": "Secondary endpoints",
        "exploratory": "Exploratory endpoints",
        "descriptive": "Standard table: not named by the protocol, descriptive only",
    }
    role = ""
    for index, finding in chosen:
        if finding.role != role:
            role = finding.role
            rows.append(Row(cells=(Cell(text=titles.get(role, role)),), group=True))
        rows.append(estimate_row(material, index, finding, several=several))
    return Table(
        label="",
        caption="Performance in the whole test set",
        columns=estimate_columns(material),
        rows=tuple(rows),
        notes=(
            material.method_note(f.estimate for _, f in chosen),
            "The last column is the finding's place in the attached evidence.json.",
            material.set_note,
        ),
    )


def estimate_columns(material: Material) -> tuple[Column, ...]:
    return (
        Column(title="Metric", width=27),
        Column(title="n/N", align="right", width=14),
        Column(title="Estimate", align="right", width=9),
        Column(title=material.interval_title, align="right", width=17.5),
        Column(title="Cases / patients", align="right", width=13.5),
        Column(title="Method", width=10),
        Column(title="Finding", align="right", width=7),
    )


def estimate_row(material: Material, index: int, finding: Finding, *, several: bool) -> Row:
    """One finding as a row: metric, counts, estimate, interval, n, method and its place in the evidence."""
    e = finding.estimate
    title = question(finding, several_points=several)
    name = clean(finding.endpoint, longest=80)
    described = finding.role == "descriptive" or name.lower() in (title.lower(), finding.metric)
    endpoint = material.endpoint(finding.endpoint)
    extra = f"at prevalence {endpoint.prevalence:g}" if endpoint and endpoint.prevalence else ""
    judged = (
        f"judged in {format_stratum(endpoint.stratum)}; this row: whole set" if endpoint and endpoint.stratum else ""
    )
    sub = " · ".join(part for part in ("" if described else name, extra, judged) if part)
    patients = f" / {format_count(e.n_patients)}" if e.n_patients is not None else ""
    if e.value is None:
        numbers: tuple[Cell, ...] = (Cell(text=format_value(finding.metric, e), kind="muted", span=3),)
    else:
        effect = f"design effect {format_number(e.design_effect, 2)}" if e.design_effect not in (None, 1.0) else ""
        numbers = (
            Cell(text=format_fraction(e), kind="number"),
            Cell(text=format_value(finding.metric, e), kind="number"),
            Cell(text=format_interval(finding.metric, e), kind="number", sub=effect),
        )
    return Row(
        cells=(
            Cell(text=title, sub=sub),
            *numbers,
            Cell(text=f"{format_count(e.n)}{patients}", kind="number"),
            Cell(text=material.method_codes.get(e.method, "") if e.value is not None else "–", kind="muted"),
            Cell(text=anchor(index), kind="muted"),
        ),
        anchor=anchor(index),
    )

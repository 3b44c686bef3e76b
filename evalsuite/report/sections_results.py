"""Sections of results for the whole set: criteria, performance table, curves and calibration."""

from __future__ import annotations

from evalsuite.report.figures import Mark, histogram, precision_recall, reliability, roc
from evalsuite.report.format import (
    format_count,
    format_estimate,
    format_fraction,
    format_interval,
    format_number,
    format_value,
)
from evalsuite.report.judged import criteria_table, judgement, ranked
from evalsuite.report.material import ROLE_ORDER, Material, anchor, metric_title, question
from evalsuite.report.text import clean, sentence
from evalsuite.report.view import (
    Block, Bullets, Cell, Column, Figure, FigurePair, Heading, Notice, Prose, Row, Section, Table,
)  # fmt: skip
from evalsuite.types import Curve, Finding


def primary_results(material: Material) -> Section:
    verdict = material.verdict
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
        blocks += [Heading(text="Why each criterion is judged as it is", id="reasons"), Bullets(items=reasons)]
    if verdict.flags:
        blocks += [
            Heading(text="Flags", id="flags"),
            Bullets(items=tuple(sentence(clean(flag)) for flag in verdict.flags[:30])),
        ]
    return Section(id="primary-results", number="", title="Primary results", code="R12", blocks=tuple(blocks))


def _where(stratum: object) -> str:
    from evalsuite.report.format import format_stratum

    return f" ({format_stratum(stratum)})" if isinstance(stratum, dict) and stratum else ""


def performance(material: Material) -> Section:
    blocks: list[Block] = [_confusion(material, name) for name in _points_with_counts(material)]
    blocks.append(_performance_table(material))
    blocks += _curves(material)
    return Section(id="performance", number="", title="Standard performance", code="R13", blocks=tuple(blocks))


def _at(material: Material, metric: str, point: str) -> Finding | None:
    return next(
        (
            f
            for _, f in material.findings(overall=True)
            if f.metric == metric and f.operating_point == point and f.condition is None
        ),
        None,
    )


def _points_with_counts(material: Material) -> list[str]:
    names = []
    for point in material.protocol.operating_points:
        pair = (_at(material, "sensitivity", point.name), _at(material, "specificity", point.name))
        if all(f is not None and f.estimate.numerator is not None for f in pair):
            names.append(point.name)
    return names


def _confusion(material: Material, point: str) -> Table:
    """The 2×2 table, from the counts that sensitivity and specificity carry."""
    positive, negative = _at(material, "sensitivity", point), _at(material, "specificity", point)
    assert positive is not None
    assert negative is not None
    tp, n_positive = positive.estimate.numerator or 0, positive.estimate.denominator or 0
    tn, n_negative = negative.estimate.numerator or 0, negative.estimate.denominator or 0

    def row(label: str, pos: float, neg: float, *, head: bool = False) -> Row:
        kind = "head" if head else "number"
        return Row(
            cells=(
                Cell(text=label, kind="head" if head else "text"),
                Cell(text=format_count(pos), kind=kind),  # type: ignore[arg-type]
                Cell(text=format_count(neg), kind=kind),  # type: ignore[arg-type]
                Cell(text=format_count(pos + neg), kind=kind),  # type: ignore[arg-type]
            )
        )

    missing = material.protocol.missing_outputs.primary.replace("_", " ")
    spec = material.protocol.operating_point(point)
    sign = "≥" if spec.comparison == ">=" else ">"
    name = clean(point, longest=60)
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
        notes=(f"Counts are cases; missing outputs: {missing}. {material.set_note}",),
    )


def _performance_table(material: Material) -> Table:
    rows: list[Row] = []
    order = material.endpoint_order
    several = len(material.protocol.operating_points) > 1
    chosen = [(i, f) for i, f in material.findings(overall=True) if f.analysis != "calibration"]
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
            "n counts the cases in the denominator. The last column is the finding's place in the attached "
            "evidence.json.",
            material.set_note,
        ),
    )


def estimate_columns(material: Material) -> tuple[Column, ...]:
    return (
        Column(title="Metric", width=29),
        Column(title="n/N", align="right", width=12),
        Column(title="Estimate", align="right", width=11),
        Column(title=material.interval_title, align="right", width=15),
        Column(title="n", align="right", width=8),
        Column(title="Interval method", width=17),
        Column(title="Finding", align="right", width=8),
    )


def estimate_row(material: Material, index: int, finding: Finding, *, several: bool) -> Row:
    """One finding as a row: metric, counts, estimate, interval, n, method and its place in the evidence."""
    e = finding.estimate
    title = question(finding, several_points=several)
    name = clean(finding.endpoint, longest=80)
    described = finding.role == "descriptive" or name.lower() == title.lower()
    endpoint = material.endpoint(finding.endpoint)
    extra = f"at prevalence {endpoint.prevalence:g}" if endpoint and endpoint.prevalence else ""
    sub = " · ".join(part for part in ("" if described else name, extra) if part)
    patients = f"{format_count(e.n_patients)} patients" if e.n_patients not in (None, e.n) else ""
    if e.value is None:
        numbers = (
            Cell(text=""),
            Cell(text=format_value(finding.metric, e), kind="muted"),
            Cell(text="–", kind="number"),
        )
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
            Cell(text=format_count(e.n), sub=patients, kind="number"),
            Cell(text=clean(e.method, longest=120) if e.value is not None else "–", kind="muted"),
            Cell(text=anchor(index), kind="muted"),
        ),
        anchor=anchor(index),
    )


def _marks(material: Material) -> list[Mark]:
    marks = []
    for point in material.protocol.operating_points[:5]:
        positive, negative = _at(material, "sensitivity", point.name), _at(material, "specificity", point.name)
        if positive is None or negative is None:
            continue
        p, q = positive.estimate, negative.estimate
        if p.value is None or q.value is None:
            continue
        marks.append(
            Mark(
                name=point.name,
                x=1 - q.value,
                y=p.value,
                x_interval=(1 - q.high, 1 - q.low) if q.low is not None and q.high is not None else None,
                y_interval=(p.low, p.high) if p.low is not None and p.high is not None else None,
            )
        )
    return marks


def _curves(material: Material) -> list[Block]:
    blocks: list[Block] = []
    line = next(iter(material.curves("roc", series="curve") or material.curves("roc")), None)
    band = next((c for c in material.curves("roc") if c.low is not None), None)
    left = _roc_figure(material, line, band) if line is not None else None
    right = _histogram_figure(material)
    pr = next(iter(material.curves("pr")), None)
    third = _pr_figure(material, pr) if pr is not None else None
    drawn = [f for f in (left, right, third) if f is not None]
    if not drawn:
        return [
            Prose(
                paragraphs=("No curve can be drawn: the analysed cases have one class of the reference standard only.",)
            )
        ]
    if left is not None and right is not None:
        blocks.append(FigurePair(left=left, right=right))
        if third is not None:
            blocks.append(third)
    else:
        blocks += drawn
    return blocks


def _legend(material: Material, metric: str) -> tuple[str, str]:
    found = next((f for _, f in material.findings(overall=True) if f.metric == metric and f.condition is None), None)
    if found is None:
        return metric_title(metric), f"{metric_title(metric)} was not estimated."
    words = f"{metric_title(metric)} {format_estimate(metric, found.estimate)}"
    return words, f"{words}, {clean(found.estimate.method, longest=120)}."


def _roc_figure(material: Material, line: Curve, band: Curve | None) -> Figure:
    legend, words = _legend(material, "auroc")
    n = line.n if isinstance(line.n, int) else None
    alt = f"ROC curve of {format_count(n)} cases, from (0, 0) to (1, 1). {words}" if n else f"ROC curve. {words}"
    notes = []
    if band is not None:
        notes.append(f"Band: {material.interval_title}, {clean(band.method or 'method not recorded', longest=160)}.")
    notes.append(f"Circles: operating points with {material.interval_title} in both directions.")
    return Figure(
        label="", caption="ROC curve", alt=alt, notes=tuple(notes),
        svg=roc(line, band=band, marks=_marks(material), legend=legend, alt=alt),
    )  # fmt: skip


def _pr_figure(material: Material, curve: Curve) -> Figure:
    legend, words = _legend(material, "average_precision")
    prevalence = next((f.estimate.value for _, f in material.findings(overall=True) if f.metric == "prevalence"), None)
    alt = f"Precision-recall curve. {words}"
    notes = ["Predictive values hold at the test set's own prevalence"]
    notes[0] += f", {format_number(prevalence)} (dashed line)." if prevalence is not None else "."
    return Figure(
        label="", caption="Precision-recall curve", alt=alt, notes=tuple(notes),
        svg=precision_recall(curve, prevalence=prevalence, legend=legend, alt=alt),
    )  # fmt: skip


def _histogram_figure(material: Material) -> Figure | None:
    positive = next(iter(material.curves("histogram", series="positive")), None)
    negative = next(iter(material.curves("histogram", series="negative")), None)
    if positive is None and negative is None:
        return None
    n = [c.n if c is not None and isinstance(c.n, int) else 0 for c in (positive, negative)]
    alt = (
        f"Histogram of the score: {format_count(n[0])} reference-positive cases upwards, "
        f"{format_count(n[1])} reference-negative cases downwards."
    )
    score = material.protocol.task.score
    name = " + ".join(score) if isinstance(score, list) else score
    thresholds = [(p.name, p.threshold) for p in material.protocol.operating_points]
    return Figure(
        label="",
        caption="Scores by reference standard",
        alt=alt,
        notes=(
            f"n = {format_count(n[0])} positive, {format_count(n[1])} negative cases with output and reference. "
            "Dashed: operating points.",
        ),
        svg=histogram(positive, negative, thresholds=thresholds, x_title=f"Score ({clean(name, longest=60)})", alt=alt),
    )


def calibration(material: Material) -> Section:
    chosen = [(i, f) for i, f in material.findings(overall=True, analysis="calibration")]
    curve = next(iter(material.curves("reliability")), None)
    blocks: list[Block] = []
    if not chosen and curve is None:
        text = (
            "The protocol declares that the score is not a probability; calibration is not estimated."
            if not material.protocol.task.probability
            else "No calibration estimate is in the evidence."
        )
        blocks.append(Prose(paragraphs=(text,)))
        return Section(id="calibration", number="", title="Calibration", code="R15", blocks=tuple(blocks))
    if chosen:
        several = len(material.protocol.operating_points) > 1
        blocks.append(
            Table(
                label="",
                caption="Calibration of the predicted probability",
                columns=estimate_columns(material),
                rows=tuple(estimate_row(material, i, f, several=several) for i, f in chosen),
                notes=(
                    "Ideal: intercept 0, slope 1, errors 0. Calibration holds at this test set's prevalence; an enriched "
                    "set shifts the intercept.",
                    material.set_note,
                ),
            )
        )
    if curve is not None:
        counts = curve.n if isinstance(curve.n, tuple) else ()
        points = "; ".join(
            f"{format_number(x, 2)} predicted, {format_number(y, 2)} observed"
            for x, y in zip(curve.x, curve.y, strict=True)
        )
        alt = f"Reliability diagram. {points}."
        total = format_count(sum(counts)) if counts else ""
        blocks.append(
            Figure(
                label="",
                caption="Reliability diagram",
                svg=reliability(curve, alt=alt),
                alt=alt,
                notes=(
                    f"{'n = ' + total + ' cases. ' if total else ''}{clean(curve.method or 'Binning not recorded', longest=160)}, "
                    f"{material.interval_title}. Dashed: perfect calibration.",
                    material.set_note,
                ),
            )
        )
    return Section(id="calibration", number="", title="Calibration", code="R15", blocks=tuple(blocks))

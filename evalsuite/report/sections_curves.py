"""Curves and calibration: ROC, precision-recall, scores by reference standard, and predicted against observed."""

from __future__ import annotations

from evalsuite.report.figures import Mark, histogram, precision_recall, reliability, roc
from evalsuite.report.figures_utility import benefit_difference, net_benefit
from evalsuite.report.format import format_count, format_estimate, format_number
from evalsuite.report.material import Material, drawn_from, finding_at, metric_title, places
from evalsuite.report.sections_agreement import agreement_figures
from evalsuite.report.sections_classes import has_several, is_detection, is_measurement, is_segmentation
from evalsuite.report.sections_lesions import distribution_figures, froc_figures
from evalsuite.report.sections_many_curves import band_note, reliability_small, target_curves
from evalsuite.report.sections_results import estimate_columns, estimate_row, performance_tables
from evalsuite.report.text import clean
from evalsuite.report.view import Block, Cell, Column, Figure, Pair, Prose, Row, Section, Table
from evalsuite.types import Curve, Finding


def performance(material: Material) -> Section:
    """The standard results of a binary study: tables, then curves."""
    blocks = (*performance_tables(material), *performance_curves(material))
    return Section(id="performance", number="", title="Standard performance", code="R13", blocks=blocks)


def _marks(material: Material) -> list[Mark]:
    marks = []
    for point in material.protocol.operating_points[:5]:
        names = ("ppa", "npa") if is_comparator(material) else ("sensitivity", "specificity")
        positive, negative = (finding_at(material, name, point.name) for name in names)
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


def performance_curves(material: Material) -> list[Block]:
    """ROC and precision-recall side by side, the score histogram below."""
    line = next(iter(material.curves("roc", series="curve") or material.curves("roc")), None)
    band = next((c for c in material.curves("roc") if c.low is not None), None)
    pr = next(iter(material.curves("pr")), None)
    scores = _histogram_figure(material)
    blocks: list[Block] = []
    if line is not None and pr is not None:
        blocks.append(
            Pair(left=_roc_figure(material, line, band, *_legend(material, "auroc")), right=_pr_figure(material, pr))
        )
    elif line is not None:
        blocks.append(_roc_figure(material, line, band, *_legend(material, "auroc")))
    if scores is not None:
        blocks.append(scores)
    utility = _utility_figure(material)
    if utility is not None:
        blocks.append(utility)
    difference = _benefit_difference(material)
    if difference is not None:
        blocks.append(difference)
    if is_measurement(material):
        return agreement_figures(material)
    if is_detection(material):
        return froc_figures(material)
    if is_segmentation(material):
        return distribution_figures(material)
    if has_several(material):
        return [*blocks, *target_curves(material)]
    if line is None:
        text = "The evidence holds no ROC curve: it takes positive and negative cases."
        blocks.insert(0, Prose(paragraphs=(text,)))
    return blocks


def _whole(material: Material, metric: str) -> Finding | None:
    """The whole set's finding of a metric."""
    return next((f for _, f in material.findings(overall=True) if f.metric == metric and f.condition is None), None)


def _legend(material: Material, metric: str) -> tuple[str, str]:
    found = _whole(material, metric)
    if found is None:
        return metric_title(metric), f"{metric_title(metric)} was not estimated."
    words = f"{metric_title(metric)} {format_estimate(metric, found.estimate)}"
    return words, f"{words}, {clean(found.estimate.method, longest=120)}."


def _roc_figure(
    material: Material, line: Curve, band: Curve | None, legend: str, words: str, *, caption: str = "ROC curve"
) -> Figure:
    n = line.n if isinstance(line.n, int) else None
    alt = f"{caption} of {format_count(n)} cases, from (0, 0) to (1, 1). {words}" if n else f"{caption}. {words}"
    notes = []
    if band is not None:
        notes.append(f"Band: {material.interval_title}, {clean(band.method or 'method not recorded', longest=160)}.")
    marks = _marks(material) if line.target is None else []
    if line.target is None:
        notes.append(f"Circles: operating points with {material.interval_title} in both directions.")
    return Figure(
        label="", caption=caption, alt=alt, notes=tuple(notes), source=drawn_from(material, line),
        of=places(material, [_whole(material, "auroc")] if line.target is None else []),
        svg=roc(line, band=band, marks=marks, legend=legend, alt=alt, comparator=is_comparator(material)),
    )  # fmt: skip


def is_comparator(material: Material) -> bool:
    """Whether the reference is another test, so that nothing may be called a sensitivity."""
    return material.protocol.task.reference_is == "comparator"


def _pr_figure(material: Material, curve: Curve) -> Figure:
    legend, words = _legend(material, "average_precision")
    prevalence = next((f.estimate.value for _, f in material.findings(overall=True) if f.metric == "prevalence"), None)
    alt = f"Precision-recall curve. {words}"
    share = "Shares of positive calls" if is_comparator(material) else "Predictive values"
    notes = [f"{share} hold at the test set's own prevalence"]
    notes[0] += f", {format_number(prevalence)} (dashed line)." if prevalence is not None else "."
    return Figure(
        label="", caption="Precision-recall curve", alt=alt, notes=tuple(notes), source=drawn_from(material, curve),
        of=places(material, [_whole(material, "average_precision"), _whole(material, "prevalence")]),
        svg=precision_recall(
            curve, prevalence=prevalence, legend=legend, alt=alt, comparator=is_comparator(material)
        ),
    )  # fmt: skip


def _histogram_figure(material: Material) -> Figure | None:
    positive = next(iter(material.curves("histogram", series="positive")), None)
    negative = next(iter(material.curves("histogram", series="negative")), None)
    if positive is None and negative is None:
        return None
    n = [c.n if c is not None and isinstance(c.n, int) else 0 for c in (positive, negative)]
    alt = (
        f"Histograms of the score: {format_count(n[0])} reference-positive and {format_count(n[1])} "
        "reference-negative cases."
    )
    score = material.protocol.task.score
    name = " + ".join(score) if isinstance(score, list) else score
    thresholds = [(p.name, p.threshold) for p in material.protocol.operating_points]
    return Figure(
        label="",
        caption="Scores of cases by reference standard",
        alt=alt,
        notes=(
            f"n = {format_count(n[0])} positive, {format_count(n[1])} negative cases with output and reference. "
            "The panels have scales of their own. Dashed: operating points.",
        ),
        source="evidence.json#/curves",
        svg=histogram(positive, negative, thresholds=thresholds, x_title=f"Score ({clean(name, longest=60)})", alt=alt),
    )


def _utility_figure(material: Material) -> Figure | None:
    """The decision curve, where the evidence holds one."""
    curves = material.curves("net_benefit")
    model = next((c for c in curves if c.series == "model"), None)
    if model is None:
        return None
    n = model.n if isinstance(model.n, int) else None
    everyone = next((c for c in curves if c.series == "treat all"), None)
    alt = (
        f"Decision curve of {format_count(n)} cases: net benefit of the model, of treating all and of treating none, "
        f"over threshold probabilities from {format_number(model.x[0], 2)} to {format_number(model.x[-1], 2)}."
    )
    names = {"model": "Model", "baseline": "Baseline", "treat all": "Treat all", "treat none": "Treat none"}
    notes = [
        f"Band: {material.interval_title} of the model, {clean(model.method or 'method not recorded', longest=160)}.",
        f"Net benefit per case at {clean(everyone.method or '', longest=120)}."
        if everyone is not None and everyone.method
        else "Net benefit per case.",
        "Dashed verticals: operating points. A threshold says how many false alarms one true finding is worth.",
    ]
    return Figure(
        label="",
        caption="Decision curve",
        alt=alt,
        notes=tuple(notes),
        source=drawn_from(material, model),
        svg=net_benefit(
            curves, thresholds=[p.threshold for p in material.protocol.operating_points], names=names, alt=alt
        ),
    )


def _benefit_difference(material: Material) -> Figure | None:
    """Net benefit of the candidate less the baseline's, where there is a baseline."""
    curves = material.curves("net_benefit")
    line = next((c for c in curves if c.series == "difference"), None)
    if line is None:
        return None
    band = next((c for c in curves if c.series in ("difference", "difference band") and c.low is not None), None)
    n = line.n if isinstance(line.n, int) else None
    least, most = min(line.y), max(line.y)
    alt = (
        f"Net benefit of the candidate less that of the baseline in {format_count(n)} cases, over threshold "
        f"probabilities from {format_number(line.x[0], 2)} to {format_number(line.x[-1], 2)}: between "
        f"{format_number(least)} and {format_number(most)}."
    )
    note = (
        f"Above the dashed line the candidate does more good. Band: {material.interval_title} at each threshold by "
        f"itself, {clean(line.method or 'method not recorded', longest=160)}. n = {format_count(n)} cases."
    )
    return Figure(
        label="",
        caption="Difference in net benefit, candidate less baseline",
        alt=alt,
        notes=(note,),
        source=drawn_from(material, line),
        svg=benefit_difference(
            line, band, thresholds=[p.threshold for p in material.protocol.operating_points], alt=alt
        ),
    )


def calibration(material: Material) -> Section:
    chosen = [(i, f) for i, f in material.findings(overall=True, analysis="calibration")]
    curve = next((c for c in material.curves("reliability") if c.series is None), None)
    blocks: list[Block] = []
    if is_measurement(material):
        text = "A measurement is no probability: its agreement with the reference stands under standard performance."
        return Section(
            id="calibration", number="", title="Calibration", code="R15", blocks=(Prose(paragraphs=(text,)),)
        )
    if is_segmentation(material):
        text = "Masks are no probabilities: how well they fit the reference stands under standard performance."
        return Section(
            id="calibration", number="", title="Calibration", code="R15", blocks=(Prose(paragraphs=(text,)),)
        )
    if is_detection(material):
        text = "Marks are scored one by one; whether a score is the probability of a lesion was not examined."
        return Section(
            id="calibration", number="", title="Calibration", code="R15", blocks=(Prose(paragraphs=(text,)),)
        )
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
                    material.method_note(f.estimate for _, f in chosen),
                    "Ideal: intercept 0, slope 1, errors 0. Calibration holds at this test set's prevalence; an "
                    "enriched set shifts the intercept.",
                    material.set_note,
                ),
            )
        )
    if curve is not None:
        blocks.append(_reliability(material, curve))
    blocks += reliability_small(material)
    return Section(id="calibration", number="", title="Calibration", code="R15", blocks=tuple(blocks))


def _reliability(material: Material, curve: Curve) -> Pair:
    """The reliability diagram and, beside it, the same bins as a table."""
    counts = curve.n if isinstance(curve.n, tuple) else ()
    rows, words = [], []
    for i, (x, y) in enumerate(zip(curve.x, curve.y, strict=True)):
        interval = ""
        if curve.low is not None and curve.high is not None:
            interval = f"{format_number(curve.low[i])}–{format_number(curve.high[i])}"
        words.append(f"{format_number(x, 2)} predicted, {format_number(y, 2)} observed")
        rows.append(
            Row(
                cells=(
                    Cell(text=format_number(x), kind="number"),
                    Cell(text=format_number(y), kind="number"),
                    Cell(text=interval, kind="number"),
                    Cell(text=format_count(counts[i]) if counts else "–", kind="number"),
                )
            )
        )
    alt = f"Reliability diagram. {'; '.join(words)}."
    band = next(iter(material.curves("reliability", series="consistency")), None)
    total = f"n = {format_count(sum(counts))} cases. " if counts else ""
    method = clean(curve.method or "binning not recorded", longest=160)
    figure = Figure(
        label="", caption="Reliability diagram", svg=reliability(curve, band=band, alt=alt), alt=alt,
        source=drawn_from(material, curve),
        notes=(f"Bars on points: {material.interval_title}. Dashed: perfect calibration.{band_note(band)}",),
    )  # fmt: skip
    table = Table(
        label="",
        caption="Reliability by bin",
        columns=(
            Column(title="Predicted", align="right", width=22),
            Column(title="Observed", align="right", width=22),
            Column(title=material.interval_title, align="right", width=34),
            Column(title="Cases", align="right"),
        ),
        rows=tuple(rows),
        notes=(f"{total}{method}.", material.set_note),
        compact=True,
        source=drawn_from(material, curve),
    )
    return Pair(left=figure, right=table)

"""Figures of a measurement: the Bland-Altman plot, and device against reference."""

from __future__ import annotations

from collections.abc import Callable

from evalsuite.report.figures_agreement import bland_altman, scatter
from evalsuite.report.format import format_count, format_estimate
from evalsuite.report.material import Material, drawn_from, metric_title
from evalsuite.report.text import clean
from evalsuite.report.view import Block, Figure, Prose
from evalsuite.types import Curve, CurveKind


def agreement_figures(material: Material) -> list[Block]:
    """Both plots of the whole set, or why there are none."""
    made: list[Block] = []
    drawings: tuple[tuple[CurveKind, Callable[[Material, Curve, list[Curve]], Figure]], ...] = (
        ("bland_altman", _bland_altman),
        ("scatter", _scatter),
    )
    for kind, draw in drawings:
        curves = [c for c in material.curves(kind) if not c.stratum]
        points = next((c for c in curves if c.series == "cases"), None)
        if points is not None:
            made.append(draw(material, points, curves))
    if not made:
        made.append(
            Prose(paragraphs=("Fewer than two cases have an output and a reference: there is nothing to draw.",))
        )
    return made


def _said(material: Material, *metrics: str) -> str:
    """The estimates that a figure shows, in words."""
    words = []
    for metric in metrics:
        found = next(
            (f for _, f in material.findings(overall=True) if f.metric == metric and f.condition is None), None
        )
        if found is not None and found.estimate.value is not None:
            words.append(f"{metric_title(metric)} {format_estimate(metric, found.estimate)}")
    return "; ".join(words) + "." if words else ""


def _cases(points: Curve) -> str:
    return format_count(points.n) if isinstance(points.n, int) else format_count(len(points.x))


def _bland_altman(material: Material, points: Curve, curves: list[Curve]) -> Figure:
    lines = [c for c in curves if c.series != "cases"]
    alt = f"Bland-Altman plot of {_cases(points)} cases. {_said(material, 'bias', 'loa_lower', 'loa_upper')}"
    notes = [
        "Points: cases with output and reference, difference over mean. Lines: bias and limits of agreement of these "
        f"cases; bands: {material.interval_title}. Cases that lack either count in the tables, not here."
    ]
    if points.method and "drawn" in points.method:
        notes.append(clean(points.method, longest=160) + ".")
    return Figure(
        label="",
        caption="Difference between device and reference over their mean (Bland-Altman plot)",
        alt=alt,
        notes=tuple(notes),
        source=drawn_from(material, points),
        svg=bland_altman(points, lines, alt=alt),
    )


def _scatter(material: Material, points: Curve, curves: list[Curve]) -> Figure:
    alt = f"Device against reference, {_cases(points)} cases. {_said(material, 'deming_slope', 'ccc')}"
    notes = ["Dashed: perfect agreement. Solid: Deming line, errors of both taken as equally large."]
    return Figure(
        label="",
        caption="Device against reference",
        alt=alt,
        notes=tuple(notes),
        source=drawn_from(material, points),
        svg=scatter(points, [c for c in curves if c.series != "cases"], alt=alt),
    )

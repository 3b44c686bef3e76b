"""Figures of performance: ROC and precision-recall curves, score histogram and reliability diagram, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evalsuite.report import svg
from evalsuite.report.svg import BLUE, BLUE_LIGHT, HAIR, INK, LINE, MUTED, ORANGE_LIGHT, RULE, SMALL, STRONG, Frame
from evalsuite.types import Curve

HALF = 308.0
UNIT_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_MOST_POINTS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """An operating point on a plot: where it lies, its name, and its intervals in both directions."""

    name: str
    x: float
    y: float
    x_interval: tuple[float, float] | None = None
    y_interval: tuple[float, float] | None = None


def thin(points: Sequence[tuple[float, float]], most: int = _MOST_POINTS) -> list[tuple[float, float]]:
    """At most about `most` of the points, ends included: more would be invisible and slow to print."""
    if len(points) <= most:
        return list(points)
    step = (len(points) - 1) / (most - 1)
    return [points[round(i * step)] for i in range(most)]


def _band(curve: Curve, frame: Frame) -> list[str]:
    if curve.low is None or curve.high is None:
        return []
    upper = thin([(frame.x(x), frame.y(v)) for x, v in zip(curve.x, curve.high, strict=True)])
    lower = thin([(frame.x(x), frame.y(v)) for x, v in zip(curve.x, curve.low, strict=True)])
    return [svg.polygon([*upper, *reversed(lower)], fill=BLUE_LIGHT)]


def _marks(marks: Sequence[Mark], frame: Frame) -> list[str]:
    parts: list[str] = []
    for mark in marks:
        x, y = frame.x(mark.x), frame.y(mark.y)
        if mark.x_interval:
            parts.append(
                svg.line(frame.x(mark.x_interval[0]), y, frame.x(mark.x_interval[1]), y, stroke=INK, width=LINE)
            )
        if mark.y_interval:
            parts.append(
                svg.line(x, frame.y(mark.y_interval[0]), x, frame.y(mark.y_interval[1]), stroke=INK, width=LINE)
            )
        point = svg.circle(x, y, 3.6, fill="#ffffff", stroke=INK, width=LINE)
        parts.append(svg.hint(f"{mark.name}: {mark.x:.3f}, {mark.y:.3f}", [point]))
        label = svg.fit(mark.name, 120, SMALL)
        right = x + 10 + svg.text_width(label, SMALL) <= frame.right
        parts.append(
            svg.text(
                x + 9 if right else x - 9, y + 14, label, size=SMALL, anchor="start" if right else "end", halo=True
            )
        )
    return parts


def roc(
    curve: Curve, *, band: Curve | None, marks: Sequence[Mark], legend: str, alt: str, comparator: bool = False
) -> str:
    """ROC curve with its band, chance line and operating points; with a comparator its axes are percent agreements."""
    frame = Frame(left=52, top=10, width=244, height=244)
    x_title, y_title = (
        ("1 − negative percent agreement", "Positive percent agreement")
        if comparator
        else ("1 − specificity", "Sensitivity")
    )
    parts = frame.axes(x_title=x_title, y_title=y_title, x_ticks=UNIT_TICKS, y_ticks=UNIT_TICKS)
    parts += _band(band or curve, frame)
    parts.append(svg.line(frame.left, frame.bottom, frame.right, frame.top, stroke=MUTED, dash="3 3"))
    points = thin([(frame.x(x), frame.y(y)) for x, y in zip(curve.x, curve.y, strict=True)])
    parts.append(svg.path(points, stroke=BLUE, width=STRONG, axes=(frame, x_title, y_title)))
    parts += _marks(marks, frame)
    parts.append(svg.text(frame.right - 8, frame.bottom - 10, legend, anchor="end", bold=True, halo=True))
    return svg.drawing(HALF, 296, parts, title=alt)


def precision_recall(curve: Curve, *, prevalence: float | None, legend: str, alt: str, comparator: bool = False) -> str:
    """Positive predictive value against sensitivity, with the set's prevalence as the line of no skill."""
    frame = Frame(left=52, top=10, width=244, height=244)
    x_title, y_title = (
        ("Positive percent agreement", "Comparator-positive share of calls")
        if comparator
        else ("Sensitivity", "Positive predictive value")
    )
    parts = frame.axes(x_title=x_title, y_title=y_title, x_ticks=UNIT_TICKS, y_ticks=UNIT_TICKS)
    parts += _band(curve, frame)
    if prevalence is not None:
        y = frame.y(prevalence)
        parts.append(svg.line(frame.left, y, frame.right, y, stroke=MUTED, dash="3 3"))
    points = thin([(frame.x(x), frame.y(y)) for x, y in zip(curve.x, curve.y, strict=True)])
    parts.append(svg.path(points, stroke=BLUE, width=STRONG, axes=(frame, x_title, y_title)))
    parts.append(svg.text(frame.left + 8, frame.bottom - 10, legend, bold=True, halo=True))
    return svg.drawing(HALF, 296, parts, title=alt)


def histogram(
    positive: Curve | None, negative: Curve | None, *, thresholds: Sequence[tuple[str, float]], x_title: str, alt: str
) -> str:
    """Counts of cases by score, one panel for each class of the reference standard, each with its own scale."""
    curves = [c for c in (positive, negative) if c is not None and c.x]
    low = min((min(c.x) for c in curves), default=0.0)
    high = max((max(c.x) for c in curves), default=1.0)
    longest = max((len(c.x) for c in curves), default=1)
    half_bin = (high - low) / (2 * (longest - 1)) if longest > 1 else 0.5
    x_range = (low - half_bin, high + half_bin)
    if abs(x_range[0]) < 1e-9 and abs(x_range[1] - 1.0) < 1e-9:
        x_range = (0.0, 1.0)
    panel, gap, top = 74.0, 12.0, 22.0
    parts: list[str] = []
    frame = Frame(left=52, top=top, width=574, height=panel, x_range=x_range)
    for row, (curve, name, fill, stroke) in enumerate(
        ((positive, "Positive", BLUE, BLUE), (negative, "Negative", ORANGE_LIGHT, "#a04700"))
    ):
        most = max((max(c.y) for c in (curve,) if c is not None and c.y), default=0.0)
        frame = Frame(
            left=52, top=top + row * (panel + gap), width=574, height=panel, x_range=x_range,
            y_range=(0.0, max(most, 1.0) * 1.08),
        )  # fmt: skip
        last = row == 1
        ticks = tuple(t for t in svg.nice_ticks(0.0, max(most, 1.0), about=3) if t == int(t))
        parts += frame.axes(
            x_title=svg.fit(x_title, 500) if last else "", y_title=name,
            x_ticks=svg.nice_ticks(*x_range, about=10) if last else (), y_ticks=ticks,
        )  # fmt: skip
        for centre, count in zip(curve.x, curve.y, strict=True) if curve is not None else ():
            if count > 0:
                x1, x2, y = frame.x(centre - half_bin), frame.x(centre + half_bin), frame.y(count)
                bar = svg.rect(x1 + 0.6, y, x2 - x1 - 1.2, frame.bottom - y, fill=fill, stroke=stroke, line_width=0.4)
                ends = f"{centre - half_bin:.3g} to {centre + half_bin:.3g}"
                parts.append(svg.hint(f"{name.lower()}, {ends}: {count:g} cases", [bar]))
        parts.append(svg.line(frame.left, frame.bottom, frame.right, frame.bottom, stroke=INK, width=HAIR))
    taken = frame.left
    for name, value in sorted(thresholds, key=lambda item: item[1]):
        if not x_range[0] <= value <= x_range[1]:
            continue
        x = frame.x(value)
        parts.append(svg.line(x, top - 5, x, frame.bottom, stroke=INK, width=LINE, dash="4 3"))
        label = svg.fit(name, 130, SMALL)
        half = svg.text_width(label, SMALL) / 2
        place = min(max(x, taken + half), frame.right - half)
        parts.append(svg.text(place, top - 9, label, size=SMALL, anchor="middle"))
        taken = place + half + 8
    return svg.drawing(634, frame.bottom + 40, parts, title=alt)


def reliability(curve: Curve, *, alt: str, band: Curve | None = None) -> str:
    """Observed proportion against predicted probability per bin, with intervals, and how many cases each bin has;
    `band` is what would be observed if every probability were right."""
    frame = Frame(left=52, top=10, width=244, height=172)
    parts = frame.axes(x_title="", y_title="Observed proportion", x_ticks=UNIT_TICKS, y_ticks=UNIT_TICKS)
    if band is not None and len(band.x) > 1:
        parts += _band(band, frame)
    parts.append(svg.line(frame.left, frame.bottom, frame.right, frame.top, stroke=MUTED, dash="3 3"))
    centres = [(frame.x(x), frame.y(y)) for x, y in zip(curve.x, curve.y, strict=True)]
    if curve.low is not None and curve.high is not None:
        for (x, _), low, high in zip(centres, curve.low, curve.high, strict=True):
            parts.append(svg.line(x, frame.y(low), x, frame.y(high), stroke=BLUE, width=LINE))
            parts.append(svg.line(x - 3, frame.y(low), x + 3, frame.y(low), stroke=BLUE, width=LINE))
            parts.append(svg.line(x - 3, frame.y(high), x + 3, frame.y(high), stroke=BLUE, width=LINE))
    parts.append(svg.path(centres, stroke=BLUE, width=HAIR))
    counts = curve.n if isinstance(curve.n, tuple) else ()
    for i, (x, y) in enumerate(centres):
        said = f"predicted {curve.x[i]:.3f}, observed {curve.y[i]:.3f}"
        if curve.low is not None and curve.high is not None:
            said += f" ({curve.low[i]:.3f}–{curve.high[i]:.3f})"
        said += f", {counts[i]} cases" if i < len(counts) else ""
        parts.append(svg.hint(said, [svg.circle(x, y, 3.2, fill=BLUE)]))
    top, height = frame.bottom + 20, 28.0
    most = max(counts, default=0)
    parts.append(svg.line(frame.left, top + height, frame.right, top + height, stroke=RULE))
    for (x, _), count in zip(centres, counts, strict=False):
        tall = height * count / most if most else 0.0
        parts.append(svg.rect(x - 5, top + height - tall, 10, tall, fill=BLUE_LIGHT, stroke=BLUE, line_width=0.4))
    if counts:
        parts.append(svg.text(frame.left - 7, top + height, "0", size=SMALL, anchor="end", fill=MUTED))
        parts.append(svg.text(frame.left - 7, top + 7, f"{most}", size=SMALL, anchor="end", fill=MUTED))
    title = "Predicted probability (bars: cases per bin)" if counts else "Predicted probability"
    parts.append(svg.text(frame.left + frame.width / 2, top + height + 15, title, anchor="middle"))
    return svg.drawing(HALF, 252, parts, title=alt)

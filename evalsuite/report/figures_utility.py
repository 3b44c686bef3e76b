"""The drawing of a decision curve: net benefit over threshold probability, beside treating everyone or no one."""

from __future__ import annotations

from collections.abc import Sequence

from evalsuite.report import svg
from evalsuite.report.figures import thin
from evalsuite.report.svg import BLUE, BLUE_LIGHT, INK, MUTED, ORANGE, SMALL, STRONG, Frame
from evalsuite.types import Curve

_LINES = {
    "model": (BLUE, STRONG, ""),
    "baseline": (ORANGE, STRONG, "6 2"),
    "treat all": (INK, 1.0, "3 3"),
    "treat none": (MUTED, 1.0, ""),
}


def net_benefit(curves: Sequence[Curve], *, thresholds: Sequence[float], names: dict[str, str], alt: str) -> str:
    """The lines of a decision curve and the model's band; `names` gives the legend's words for each series."""
    lines = {c.series: c for c in curves if c.series in _LINES}
    band = next((c for c in curves if c.series in ("model", "model band") and c.low is not None), None)
    shown = [lines[s] for s in ("model", "baseline") if s in lines]
    values = [v for c in shown for v in c.y] + [0.0]
    values += list(band.high or ()) if band is not None else []
    everyone = lines.get("treat all")
    if everyone is not None:
        values.append(everyone.y[0])
    high = max(values)
    # Treating everyone falls without bound; a reader needs no more of it than where it crosses zero.
    low = -0.2 * high if high > 0 else -0.05
    xs = [x for c in lines.values() for x in c.x]
    frame = Frame(
        left=52,
        top=10,
        width=452,
        height=190,
        x_range=(min(0.0, *xs), max(xs)),
        y_range=(low, high * 1.05 if high > 0 else 0.05),
    )
    parts = frame.axes(
        x_title="Threshold probability",
        y_title="Net benefit",
        x_ticks=svg.nice_ticks(*frame.x_range, about=10),
        y_ticks=svg.nice_ticks(*frame.y_range, about=4),
    )
    if band is not None and band.low is not None and band.high is not None:
        upper = [(frame.x(x), frame.y(v)) for x, v in zip(band.x, band.high, strict=True)]
        lower = [(frame.x(x), frame.y(v)) for x, v in zip(band.x, band.low, strict=True)]
        parts.append(svg.polygon([*upper, *reversed(lower)], fill=BLUE_LIGHT))
    for threshold in thresholds:
        if frame.x_range[0] <= threshold <= frame.x_range[1]:
            x = frame.x(threshold)
            parts.append(svg.line(x, frame.top, x, frame.bottom, stroke=MUTED, dash="2 3"))
    for series in ("treat none", "treat all", "baseline", "model"):
        curve = lines.get(series)
        if curve is None:
            continue
        stroke, width, dash = _LINES[series]
        for piece in _pieces(curve, low):
            points = thin([(frame.x(x), frame.y(y)) for x, y in piece])
            axes = (frame, "Threshold probability", f"net benefit ({names.get(series, series)})")
            parts.append(svg.path(points, stroke=stroke, width=width, dash=dash, axes=axes))
    drawn = [s for s in _LINES if s in lines]
    for row, series in enumerate(drawn):
        stroke, width, dash = _LINES[series]
        x, y = frame.right + 14, frame.top + 12 + 16 * row
        label = svg.fit(names.get(series, series), 84, SMALL)
        parts.append(svg.line(x, y - 3, x + 24, y - 3, stroke=stroke, width=width, dash=dash))
        parts.append(svg.text(x + 30, y, label, size=SMALL, halo=True))
    return svg.drawing(634, frame.bottom + 40, parts, title=alt)


def benefit_difference(curve: Curve, band: Curve | None, *, thresholds: Sequence[float], alt: str) -> str:
    """Net benefit of one model less that of another over threshold probability, with its band and the line of none."""
    values = [*curve.y, 0.0, *(band.low or () if band else ()), *(band.high or () if band else ())]
    room = 0.05 * (max(values) - min(values)) or 0.01
    frame = Frame(
        left=52,
        top=10,
        width=452,
        height=150,
        x_range=(min(0.0, *curve.x), max(curve.x)),
        y_range=(min(values) - room, max(values) + room),
    )
    parts = frame.axes(
        x_title="Threshold probability",
        y_title="Difference",
        x_ticks=svg.nice_ticks(*frame.x_range, about=10),
        y_ticks=svg.nice_ticks(*frame.y_range, about=4),
    )
    if band is not None and band.low is not None and band.high is not None:
        upper = [(frame.x(x), frame.y(v)) for x, v in zip(band.x, band.high, strict=True)]
        lower = [(frame.x(x), frame.y(v)) for x, v in zip(band.x, band.low, strict=True)]
        parts.append(svg.polygon([*upper, *reversed(lower)], fill=BLUE_LIGHT))
    parts.append(svg.line(frame.left, frame.y(0.0), frame.right, frame.y(0.0), stroke=MUTED, dash="3 3"))
    for threshold in thresholds:
        if frame.x_range[0] <= threshold <= frame.x_range[1]:
            parts.append(
                svg.line(frame.x(threshold), frame.top, frame.x(threshold), frame.bottom, stroke=MUTED, dash="2 3")
            )
    points = thin([(frame.x(x), frame.y(y)) for x, y in zip(curve.x, curve.y, strict=True)])
    parts.append(svg.path(points, stroke=BLUE, width=STRONG))
    return svg.drawing(634, frame.bottom + 40, parts, title=alt)


def _pieces(curve: Curve, low: float) -> list[list[tuple[float, float]]]:
    """The stretches of a line above `low`, each cut off where it meets it: what lies below is not drawn."""
    pieces: list[list[tuple[float, float]]] = [[]]
    before: tuple[float, float] | None = None
    for x, y in zip(curve.x, curve.y, strict=True):
        if before is not None and (before[1] >= low) != (y >= low):
            share = (low - before[1]) / (y - before[1])
            crossing = (before[0] + share * (x - before[0]), low)
            if y >= low:
                pieces.append([crossing])
            else:
                pieces[-1].append(crossing)
        if y >= low:
            pieces[-1].append((x, y))
        before = (x, y)
    return [p for p in pieces if len(p) > 1]

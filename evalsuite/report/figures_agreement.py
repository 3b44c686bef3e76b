"""The drawings of a measurement: differences over means with their limits, and device against reference."""

from __future__ import annotations

from collections.abc import Sequence

from evalsuite.report import svg
from evalsuite.report.svg import BLUE, BLUE_LIGHT, INK, MUTED, SMALL, STRONG, Frame
from evalsuite.types import Curve

_NAMES = {"bias": "Bias", "lower limit": "Lower limit", "upper limit": "Upper limit"}


def _range(values: Sequence[float], *, room: float = 0.06) -> tuple[float, float]:
    """The values' range with some room; never without width."""
    low, high = min(values), max(values)
    margin = room * (high - low) if high > low else max(1.0, abs(low)) * room
    return low - margin, high + margin


def bland_altman(points: Curve, lines: Sequence[Curve], *, alt: str) -> str:
    """Points of the cases; bias and limits as lines across, each with its interval as a band."""
    ys = [*points.y, 0.0]
    for c in lines:
        ys += [*c.y, *(c.low or ()), *(c.high or ())]
    frame = Frame(left=58, top=10, width=452, height=230, x_range=_range(points.x), y_range=_range(ys))
    parts = frame.axes(
        x_title="Mean of device and reference",
        y_title="Device − reference",
        x_ticks=_inside(svg.nice_ticks(*frame.x_range, about=8), frame.x_range),
        y_ticks=_inside(svg.nice_ticks(*frame.y_range, about=6), frame.y_range),
    )
    for c in lines:
        if c.low is not None and c.high is not None:
            top, bottom = frame.y(c.high[0]), frame.y(c.low[0])
            corners = [(frame.left, top), (frame.right, top), (frame.right, bottom), (frame.left, bottom)]
            parts.append(svg.polygon(corners, fill=BLUE_LIGHT))
    zero = frame.y(0.0)
    parts.append(svg.line(frame.left, zero, frame.right, zero, stroke=MUTED))
    parts += [svg.circle(frame.x(x), frame.y(y), 1.9, fill=INK) for x, y in zip(points.x, points.y, strict=True)]
    for c in lines:
        at = frame.y(c.y[0])
        dash = "" if c.series == "bias" else "6 3"
        parts.append(svg.line(frame.left, at, frame.right, at, stroke=BLUE, width=STRONG, dash=dash))
        words = f"{_NAMES.get(c.series or '', c.series or '')} {svg.tick_text(_short(c.y[0]))}"
        parts.append(svg.text(frame.right + 8, at + 3.2, svg.fit(words, 110, SMALL), size=SMALL, halo=True))
    return svg.drawing(634, frame.bottom + 40, parts, title=alt)


def scatter(points: Curve, lines: Sequence[Curve], *, alt: str) -> str:
    """Points of the cases, the line of identity and the fitted one, on equal axes."""
    span = _range([*points.x, *points.y])
    frame = Frame(left=58, top=10, width=280, height=280, x_range=span, y_range=span)
    ticks = _inside(svg.nice_ticks(*span, about=6), span)
    parts = frame.axes(x_title="Reference", y_title="Device", x_ticks=ticks, y_ticks=ticks)
    parts += [svg.circle(frame.x(x), frame.y(y), 1.9, fill=INK) for x, y in zip(points.x, points.y, strict=True)]
    row = 0
    for series, stroke, width, dash, name in (
        ("identity", MUTED, 1.0, "4 3", "Perfect agreement"),
        ("Deming line", BLUE, STRONG, "", "Deming line"),
    ):
        line = next((c for c in lines if c.series == series), None)
        if line is None:
            continue
        ends = [(frame.x(x), frame.y(y)) for x, y in zip(line.x, line.y, strict=True)]
        parts.append(svg.path(ends, stroke=stroke, width=width, dash=dash))
        x, y = frame.right + 14, frame.top + 12 + 16 * row
        parts.append(svg.line(x, y - 3, x + 24, y - 3, stroke=stroke, width=width, dash=dash))
        parts.append(svg.text(x + 30, y, name, size=SMALL, halo=True))
        row += 1
    return svg.drawing(634, frame.bottom + 40, parts, title=alt)


def _inside(ticks: Sequence[float], span: tuple[float, float]) -> tuple[float, ...]:
    return tuple(t for t in ticks if span[0] <= t <= span[1])


def _short(value: float) -> float:
    """Three significant digits: the exact value stands in the table."""
    return float(f"{value:.3g}")

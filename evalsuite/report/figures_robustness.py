"""The drawing of an endpoint on degraded images: one small panel per kind of degradation, severity by severity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evalsuite.report import svg
from evalsuite.report.svg import BLUE, LINE, MUTED, ORANGE, SMALL, Frame

_ACROSS = 3
_WIDTH, _HEIGHT = 150.0, 92.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An estimate at a severity (0: the unchanged images) with its interval, where there is one."""

    severity: int
    value: float
    low: float | None
    high: float | None


def ladders(panels: Sequence[tuple[str, Sequence[Step]]], *, goal: float | None, unit_range: bool, alt: str) -> str:
    """Panels of one scale; the first point of each is that of the unchanged images, the dashed line the goal."""
    values = [v for _, steps in panels for s in steps for v in (s.value, s.low, s.high) if v is not None]
    values += [] if goal is None else [goal]
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.05
    low, high = low - margin, high + margin
    if unit_range:
        low, high = max(0.0, low), min(1.0, high)
    parts: list[str] = []
    bottom = 0.0
    for number, (title, steps) in enumerate(panels):
        frame = Frame(
            left=56 + (number % _ACROSS) * (_WIDTH + 48), top=22 + (number // _ACROSS) * (_HEIGHT + 46), width=_WIDTH,
            height=_HEIGHT, x_range=(-0.4, 5.4), y_range=(low, high),
        )  # fmt: skip
        parts += frame.axes(
            x_title="", y_title="", x_ticks=(0, 1, 2, 3, 4, 5), y_ticks=svg.nice_ticks(low, high, about=4)
        )
        parts.append(
            svg.text(frame.left, frame.top - 7, svg.fit(title, _WIDTH, SMALL, bold=True), size=SMALL, bold=True)
        )
        if goal is not None:
            parts.append(svg.line(frame.left, frame.y(goal), frame.right, frame.y(goal), stroke=ORANGE, dash="4 3"))
        points = [(frame.x(s.severity), frame.y(s.value)) for s in steps]
        parts.append(svg.path(points, stroke=BLUE, width=LINE))
        for (x, y), s in zip(points, steps, strict=True):
            if s.low is not None and s.high is not None:
                parts.append(svg.line(x, frame.y(s.low), x, frame.y(s.high), stroke=BLUE, width=LINE))
            parts.append(svg.circle(x, y, 2.6, fill=BLUE if s.severity else "#ffffff", stroke=BLUE))
        bottom = max(bottom, frame.bottom)
    parts.append(svg.text(317, bottom + 31, "Severity (0: images as they are)", anchor="middle", fill=MUTED))
    return svg.drawing(634, bottom + 42, parts, title=alt)

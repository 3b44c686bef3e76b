"""Drawings of a drift audit: a detector's path, limits while labels arrive, and figures of all audits in a row."""

from __future__ import annotations

import math
from collections.abc import Mapping

from evalsuite.report import svg
from evalsuite.report.svg import BLUE, BLUE_LIGHT, MUTED, ORANGE, SMALL, STRONG, Frame
from evalsuite.types import Curve

_WIDTH = 634


def detector_path(curve: Curve, *, alt: str) -> str:
    """The evidence against the device over the patients of this window, on a logarithmic scale; dashed: the alarm."""
    limit = curve.high[0] if curve.high else max(curve.y)
    low, high = min(0.0, *curve.y), max(limit, *curve.y)
    frame = _frame(curve.x, (low, high + 0.05 * (high - low)))
    ticks = svg.nice_ticks(*frame.y_range, about=5)
    parts = frame.axes(
        x_title="Patients with labels in this calendar",
        y_title="Evidence of a loss (log)",
        x_ticks=_x_ticks(frame),
        y_ticks=ticks,
    )
    parts.append(_level(frame, limit, "alarm"))
    parts.append(svg.path(_points(frame, curve.x, curve.y), stroke=BLUE, width=STRONG))
    return svg.drawing(_WIDTH, frame.bottom + 40, parts, title=alt)


def limits_while_labels_arrive(curve: Curve, *, action: float, warning: float, alt: str) -> str:
    """A share with its limits at every look, over the patients of this window; dashed: action and warning limits."""
    assert curve.low is not None
    assert curve.high is not None
    low = min(action, *curve.low)
    frame = _frame(curve.x, (max(0.0, low - 0.05), 1.0))
    parts = frame.axes(
        x_title="Patients with labels in this window",
        y_title="Share",
        x_ticks=_x_ticks(frame),
        y_ticks=svg.nice_ticks(*frame.y_range, about=5),
    )
    upper, lower = _points(frame, curve.x, curve.high), _points(frame, curve.x, curve.low)
    parts.append(svg.polygon([*upper, *reversed(lower)], fill=BLUE_LIGHT))
    parts.append(svg.path(_points(frame, curve.x, curve.y), stroke=BLUE, width=STRONG))
    parts += [_level(frame, action, "action"), _level(frame, warning, "warning", stroke=MUTED)]
    return svg.drawing(_WIDTH, frame.bottom + 40, parts, title=alt)


def audits_in_a_row(series: Curve, *, changes: Mapping[int, str], alt: str) -> str:
    """A figure of every audit so far; dashed: the baseline. `changes` marks audits in which something else changed."""
    base = series.low[0] if series.low else series.y[0]
    low, high = min(base, *series.y), max(base, *series.y)
    room = 0.15 * (high - low) or 0.05
    last = max(2.0, series.x[-1])
    frame = _frame((1.0, last), (max(0.0, low - room), min(1.0, high + room)), height=110)
    parts = frame.axes(
        x_title="Audit of this calendar",
        y_title="Share",
        x_ticks=[float(t) for t in range(1, int(last) + 1, max(1, math.ceil(last / 14)))],
        y_ticks=svg.nice_ticks(*frame.y_range, about=4),
    )
    for place, (number, what) in enumerate(sorted(changes.items())):
        at, y = frame.x(float(number)), frame.top + 11 + 10 * (place % 3)
        parts.append(svg.line(at, frame.top, at, frame.bottom, stroke=ORANGE, dash="2 3"))
        # Within the frame: to the right of its line in the left half, to the left of it in the right half.
        left = at < frame.left + 0.5 * frame.width
        x, end = (at + 3, "start") if left else (at - 3, "end")
        words = svg.fit(what, 130, SMALL)
        parts.append(svg.text(x, y, words, size=SMALL, fill=ORANGE, anchor=end, halo=True))
    parts.append(_level(frame, base, "baseline", stroke=MUTED))
    points = _points(frame, series.x, series.y)
    parts.append(svg.path(points, stroke=BLUE, width=STRONG))
    parts += [svg.circle(x, y, 2.6, fill=BLUE) for x, y in points]
    return svg.drawing(_WIDTH, frame.bottom + 40, parts, title=alt)


def _frame(x: tuple[float, ...], y_range: tuple[float, float], height: float = 170) -> Frame:
    low, high = min(x), max(x)
    return Frame(
        left=60, top=10, width=480, height=height, x_range=(low, high if high > low else low + 1.0), y_range=y_range
    )


def _x_ticks(frame: Frame) -> list[float]:
    low, high = frame.x_range
    return [t for t in svg.nice_ticks(low, high, about=8) if low <= t <= high]


def _points(frame: Frame, x: tuple[float, ...], y: tuple[float, ...]) -> list[tuple[float, float]]:
    return [(frame.x(a), frame.y(b)) for a, b in zip(x, y, strict=True)]


def _level(frame: Frame, value: float, word: str, *, stroke: str = ORANGE) -> str:
    y = frame.y(value)
    return svg.line(frame.left, y, frame.right, y, stroke=stroke, width=1.0, dash="5 3") + svg.text(
        frame.right + 6, y + 3, word, size=SMALL, fill=stroke
    )

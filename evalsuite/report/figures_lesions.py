"""The drawings of tasks that find and outline: the FROC curve, and how cases' figures are distributed."""

from __future__ import annotations

from collections.abc import Sequence

from evalsuite.report import svg
from evalsuite.report.figures import HALF, UNIT_TICKS, Mark, thin
from evalsuite.report.svg import BLUE, BLUE_LIGHT, INK, LINE, SMALL, STRONG, Frame
from evalsuite.types import Curve


def froc(curve: Curve, *, marks: Sequence[Mark], legend: str, alt: str) -> str:
    """Sensitivity per lesion over false positives per case, with its band and the operating points."""
    largest = max([*curve.x, *(m.x for m in marks)], default=0.0)
    span = (0.0, largest * 1.04 if largest > 0.0 else 1.0)
    frame = Frame(left=58, top=10, width=500, height=244, x_range=span)
    ticks = tuple(t for t in svg.nice_ticks(*span, about=8) if t <= span[1])
    parts = frame.axes(
        x_title="False positives per case", y_title="Sensitivity per lesion", x_ticks=ticks, y_ticks=UNIT_TICKS
    )
    if curve.low is not None and curve.high is not None:
        upper = thin([(frame.x(x), frame.y(v)) for x, v in zip(curve.x, curve.high, strict=True)])
        lower = thin([(frame.x(x), frame.y(v)) for x, v in zip(curve.x, curve.low, strict=True)])
        parts.append(svg.polygon([*upper, *reversed(lower)], fill=BLUE_LIGHT))
    points = thin([(frame.x(x), frame.y(y)) for x, y in zip(curve.x, curve.y, strict=True)])
    names = ("False positives per case", "sensitivity per lesion")
    parts.append(svg.path(points, stroke=BLUE, width=STRONG, axes=(frame, *names)))
    for mark in marks:
        x, y = frame.x(mark.x), frame.y(mark.y)
        if mark.y_interval:
            parts.append(
                svg.line(x, frame.y(mark.y_interval[0]), x, frame.y(mark.y_interval[1]), stroke=INK, width=LINE)
            )
        parts.append(svg.circle(x, y, 3.6, fill="#ffffff", stroke=INK, width=LINE))
        label = svg.fit(mark.name, 160, SMALL)
        right = x + 10 + svg.text_width(label, SMALL) <= frame.right
        parts.append(
            svg.text(
                x + 9 if right else x - 9, y + 14, label, size=SMALL, anchor="start" if right else "end", halo=True
            )
        )
    parts.append(svg.text(frame.right - 8, frame.bottom - 10, legend, anchor="end", bold=True, halo=True))
    return svg.drawing(634, 296, parts, title=alt)


def across(curves: Sequence[Curve], *, own: float | None, alt: str) -> str:
    """Sensitivity over the smallest overlap that counts, a line per operating point; the protocol's own dashed."""
    frame = Frame(left=58, top=10, width=500, height=170)
    ticks = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    parts = frame.axes(
        x_title="Smallest intersection over union", y_title="Sensitivity per lesion", x_ticks=ticks, y_ticks=UNIT_TICKS
    )
    if own is not None:
        parts.append(svg.line(frame.x(own), frame.top, frame.x(own), frame.bottom, stroke=INK, width=LINE, dash="4 3"))
    for i, curve in enumerate(curves):
        points = [(frame.x(x), frame.y(y)) for x, y in zip(curve.x, curve.y, strict=True)]
        parts.append(svg.path(points, stroke=BLUE if i == 0 else INK, width=STRONG, dash="" if i == 0 else "3 2"))
        x, y = points[0]
        parts.append(svg.text(x + 6, y - 5, svg.fit(curve.operating_point or "", 160, SMALL), size=SMALL, halo=True))
    return svg.drawing(634, 222, parts, title=alt)


def distribution(curve: Curve, *, name: str, alt: str) -> str:
    """How many cases have which figure between 0 and 1, as bars."""
    most = max([*curve.y, 1.0])
    frame = Frame(left=52, top=10, width=244, height=120, y_range=(0.0, most * 1.08))
    ticks = tuple(t for t in svg.nice_ticks(0.0, most, about=4) if t == int(t))
    parts = frame.axes(x_title=svg.fit(name, 230, SMALL), y_title="Cases", x_ticks=UNIT_TICKS, y_ticks=ticks)
    half = 0.5 / max(len(curve.x), 1)
    for centre, count in zip(curve.x, curve.y, strict=True):
        if count > 0:
            left, right, top = frame.x(centre - half), frame.x(centre + half), frame.y(count)
            parts.append(
                svg.rect(
                    left + 0.6, top, right - left - 1.2, frame.bottom - top, fill=BLUE, stroke=BLUE, line_width=0.4
                )
            )
    return svg.drawing(HALF, 172, parts, title=alt)

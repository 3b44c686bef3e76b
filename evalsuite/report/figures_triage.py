"""The drawing of the wait a triage device saves, over how much there is to read."""

from __future__ import annotations

from collections.abc import Sequence

from evalsuite.report import svg
from evalsuite.report.svg import BLUE, BLUE_LIGHT, MUTED, ORANGE, SMALL, STRONG, Frame
from evalsuite.types import Curve

_LINES = {"nonpreemptive": (BLUE, ""), "preemptive": (ORANGE, "6 2")}


def wait_saved(curves: Sequence[Curve], *, assumed: float, names: dict[str, str], alt: str) -> str:
    """Minutes saved over arrivals per hour, a line per discipline and the first one's band; `assumed` is marked."""
    shown = [c for s in _LINES for c in curves if c.series == s]
    low = min([0.0, *(v for c in shown for v in (c.low or c.y))])
    high = max(v for c in shown for v in (c.high or c.y))
    last = max(x for c in shown for x in c.x)
    frame = Frame(left=60, top=10, width=430, height=190, x_range=(0.0, last), y_range=(low, 1.05 * high or 1.0))
    parts = frame.axes(
        x_title="Images arriving per hour",
        y_title="Minutes saved",
        x_ticks=[t for t in svg.nice_ticks(0.0, last, about=8) if t <= last],
        y_ticks=svg.nice_ticks(*frame.y_range, about=5),
    )
    band = shown[0]
    if band.low is not None and band.high is not None:
        upper = [(frame.x(x), frame.y(v)) for x, v in zip(band.x, band.high, strict=True)]
        lower = [(frame.x(x), frame.y(v)) for x, v in zip(band.x, band.low, strict=True)]
        parts.append(svg.polygon([*upper, *reversed(lower)], fill=BLUE_LIGHT))
    at = frame.x(assumed)
    parts.append(svg.line(at, frame.top, at, frame.bottom, stroke=MUTED, dash="2 3"))
    for number, curve in enumerate(shown):
        stroke, dash = _LINES[str(curve.series)]
        points = [(frame.x(x), frame.y(y)) for x, y in zip(curve.x, curve.y, strict=True)]
        parts.append(svg.path(points, stroke=stroke, width=STRONG, dash=dash))
        x, y = frame.right + 10, frame.top + 12 + 16 * number
        parts.append(svg.line(x, y - 3, x + 24, y - 3, stroke=stroke, width=STRONG, dash=dash))
        parts.append(svg.text(x + 30, y, svg.fit(names[str(curve.series)], 106, SMALL), size=SMALL, halo=True))
    return svg.drawing(634, frame.bottom + 40, parts, title=alt)

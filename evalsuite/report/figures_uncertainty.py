"""The drawing of errors among the cases a device is surest of, over the share of cases accepted."""

from __future__ import annotations

from evalsuite.report import svg
from evalsuite.report.svg import BLUE, BLUE_LIGHT, MUTED, STRONG, Frame
from evalsuite.types import Curve


def risk_coverage(curve: Curve, band: Curve | None, *, alt: str) -> str:
    """Share of errors among the accepted over coverage, with its band and the share among all as a dashed line."""
    top = max([0.02, *curve.y, *((band.high or ()) if band is not None else ())])
    frame = Frame(left=60, top=10, width=430, height=190, x_range=(0.0, 1.0), y_range=(0.0, min(1.0, 1.1 * top)))
    parts = frame.axes(
        x_title="Share of cases accepted, surest first",
        y_title="Errors among them",
        x_ticks=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        y_ticks=svg.nice_ticks(*frame.y_range, about=5),
    )
    if band is not None and band.low is not None and band.high is not None:
        upper = [(frame.x(x), frame.y(v)) for x, v in zip(band.x, band.high, strict=True)]
        lower = [(frame.x(x), frame.y(v)) for x, v in zip(band.x, band.low, strict=True)]
        parts.append(svg.polygon([*upper, *reversed(lower)], fill=BLUE_LIGHT))
    all_of_them = frame.y(curve.y[-1])
    parts.append(svg.line(frame.left, all_of_them, frame.right, all_of_them, stroke=MUTED, dash="3 3"))
    points = [(frame.x(x), frame.y(y)) for x, y in zip(curve.x, curve.y, strict=True)]
    parts.append(svg.path(points, stroke=BLUE, width=STRONG))
    return svg.drawing(634, frame.bottom + 40, parts, title=alt)

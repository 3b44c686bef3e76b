"""The drawing of a reader study: the readers' mean curve with each treatment."""

from __future__ import annotations

from collections.abc import Sequence

from evalsuite.report import svg
from evalsuite.report.figures import UNIT_TICKS, thin
from evalsuite.report.svg import BLUE, INK, MUTED, SMALL, STRONG, Frame
from evalsuite.types import Curve

_LINES = ((BLUE, ""), (INK, "5 3"))


def mean_curves(curves: Sequence[Curve], *, x_title: str, y_title: str, chance: bool, alt: str) -> str:
    """Curves over shares of cases, a line per treatment, the test treatment's first; `chance` draws the diagonal."""
    frame = Frame(left=58, top=10, width=300, height=244)
    parts = frame.axes(x_title=x_title, y_title=y_title, x_ticks=UNIT_TICKS, y_ticks=UNIT_TICKS)
    if chance:
        parts.append(svg.line(frame.left, frame.bottom, frame.right, frame.top, stroke=MUTED, dash="3 3"))
    for number, (curve, (stroke, dash)) in enumerate(zip(curves, _LINES, strict=False)):
        points = thin([(frame.x(x), frame.y(y)) for x, y in zip(curve.x, curve.y, strict=True)])
        parts.append(svg.path(points, stroke=stroke, width=STRONG, dash=dash))
        x, y = frame.right + 14, frame.top + 12 + 16 * number
        parts.append(svg.line(x, y - 3, x + 24, y - 3, stroke=stroke, width=STRONG, dash=dash))
        parts.append(svg.text(x + 30, y, svg.fit(str(curve.series), 200, SMALL), size=SMALL, halo=True))
    return svg.drawing(634, 296, parts, title=alt)

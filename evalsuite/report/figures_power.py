"""Power against the number of cases: what a larger or smaller study would be worth."""

from __future__ import annotations

from collections.abc import Sequence

from evalsuite.report import svg
from evalsuite.report.svg import Frame


def power_curve(
    n: Sequence[int], power: Sequence[float], *, goal: float, needed: int, planned: int | None, counted: str, alt: str
) -> str:
    """Power over the number of cases of one kind, with the power aimed at, the cases it takes and those planned."""
    ticks = [t for t in svg.nice_ticks(0, n[-1]) if 0 <= t <= n[-1]]
    frame = Frame(left=52, top=10, width=420, height=220, x_range=(0, n[-1]), y_range=(0.0, 1.0))
    parts = frame.axes(x_title=counted, y_title="Power", x_ticks=ticks, y_ticks=(0, 0.2, 0.4, 0.6, 0.8, 1), y_labels=())
    parts.append(svg.line(frame.left, frame.y(goal), frame.right, frame.y(goal), stroke=svg.MUTED, dash="3 3"))
    points = [(frame.x(x), frame.y(y)) for x, y in zip(n, power, strict=True)]
    parts.append(svg.path(points, stroke=svg.BLUE, width=svg.STRONG))
    for at, label, colour in ((needed, "needed", svg.BLUE), (planned, "planned", svg.ORANGE)):
        if at is not None and at <= n[-1]:
            x = frame.x(at)
            parts.append(svg.line(x, frame.top, x, frame.bottom, stroke=colour, width=svg.LINE))
            end = x > (frame.left + frame.right) / 2
            y = frame.bottom - (10 if label == "needed" else 26)
            parts.append(
                svg.text(
                    x - 5 if end else x + 5, y, f"{label} {at:,}", size=svg.SMALL, anchor="end" if end else "start",
                    halo=True,
                )
            )  # fmt: skip
    return svg.drawing(500, 272, parts, title=alt)

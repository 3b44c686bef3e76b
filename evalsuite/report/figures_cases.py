"""Figures of cases: the flow diagram from locked to analysed, and the forest plot of an endpoint over strata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evalsuite.report import svg
from evalsuite.report.svg import BLUE, HAIR, INK, LINE, MUTED, RULE, SMALL, TEXT, TINT, Frame

FULL = 634.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A box of the flow diagram: its title, and lines below it."""

    title: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestRow:
    """A row of a forest plot. `group` rows are headings; rows without a point carry their reason in `text`; `of` is the
    finding drawn."""

    label: str
    text: str = ""
    counts: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    group: bool = False
    overall: bool = False
    small: bool = False
    of: str = ""


def _box(x: float, y: float, width: float, box: Box, *, fill: str = "#ffffff") -> tuple[list[str], float]:
    title = svg.wrap(box.title, width - 22, TEXT, lines=2)
    body = [entry for item in box.lines for entry in svg.wrap(item, width - 22, SMALL, lines=2)]
    height = 12 + 14 * len(title) + 13 * len(body) + 4
    parts = [svg.rect(x, y, width, height, fill=fill, stroke=INK, line_width=HAIR, radius=2)]
    parts += [svg.text(x + 11, y + 19 + 14 * i, entry, bold=True) for i, entry in enumerate(title)]
    start = y + 19 + 14 * len(title)
    parts += [svg.text(x + 11, start + 13 * i, entry, size=SMALL, fill=MUTED) for i, entry in enumerate(body)]
    return parts, height


def _arrow(x1: float, y1: float, x2: float, y2: float) -> list[str]:
    head = (
        [(x2, y2), (x2 - 3.4, y2 - 6), (x2 + 3.4, y2 - 6)]
        if x1 == x2
        else [(x2, y2), (x2 - 6, y2 - 3.4), (x2 - 6, y2 + 3.4)]
    )
    return [svg.line(x1, y1, x2, y2, stroke=INK, width=HAIR), svg.polygon(head, fill=INK)]


def flow(steps: Sequence[tuple[Box, Box | None]], ends: Sequence[Box], *, alt: str) -> str:
    """Main boxes down the left, what leaves the flow to the right, and the analysed classes side by side at the end."""
    left_width, right_width, gap = 268.0, 300.0, 24.0
    right_x = FULL - right_width
    centre = left_width / 2
    parts: list[str] = []
    y = 2.0
    for main, aside in steps:
        drawn, height = _box(0, y, left_width, main)
        parts += drawn
        bottom = y + height
        if aside is not None:
            side_y = bottom + 8
            drawn, side_height = _box(right_x, side_y, right_width, aside, fill=TINT)
            parts += drawn
            middle = side_y + side_height / 2
            following = max(bottom + gap, side_y + side_height + 8)
            parts += _arrow(centre, middle, right_x, middle)
        else:
            following = bottom + gap
        parts += _arrow(centre, bottom, centre, following)
        y = following
    width = (FULL - 14 * (len(ends) - 1)) / max(len(ends), 1)
    lowest = y
    if len(ends) > 1:
        parts.pop()  # the last arrow head: the line branches instead
        spine = y + 2
        parts.append(svg.line(centre, y - 1, centre, spine, stroke=INK, width=HAIR))
        last_centre = (width + 14) * (len(ends) - 1) + width / 2
        first_centre = width / 2
        parts.append(
            svg.line(min(first_centre, centre), spine, max(last_centre, centre), spine, stroke=INK, width=HAIR)
        )
        y = spine + 16
        for index in range(len(ends)):
            x = (width + 14) * index + width / 2
            parts += _arrow(x, spine, x, y)
    for index, box in enumerate(ends):
        drawn, height = _box((width + 14) * index, y, width, box)
        parts += drawn
        lowest = max(lowest, y + height)
    return svg.drawing(FULL, lowest + 2, parts, title=alt)


def forest_range(
    rows: Sequence[ForestRow], goal: float | None, *, bounds: tuple[float | None, float | None]
) -> tuple[float, float]:
    """The range of the axis: all intervals and the goal, a little air, inside the metric's own bounds."""
    values = [v for row in rows for v in (row.value, row.low, row.high) if v is not None]
    if goal is not None:
        values.append(goal)
    low, high = min(values, default=0.0), max(values, default=1.0)
    air = 0.05 * (high - low) or 0.1
    low, high = low - air, high + air
    if bounds[0] is not None:
        low = max(low, bounds[0])
    if bounds[1] is not None:
        high = min(high, bounds[1])
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def forest(
    rows: Sequence[ForestRow], *, axis_title: str, goal: float | None, goal_text: str, reference: float | None,
    bounds: tuple[float | None, float | None], counts_title: str, alt: str, of: str = "Group",
    reference_text: str = "whole set",
) -> str:  # fmt: skip
    """One line per group (`of` says of what): name, counts, point and interval, and the same numbers in words.

    The solid vertical line is the whole set's estimate, the dashed one the acceptance goal. Hollow points are small
    groups.
    """
    step, top = 13.4, 22.0
    label_x, counts_x, plot_x, plot_width, text_x = 0.0, 228.0, 240.0, 216.0, 470.0
    height = step * len(rows)
    frame = Frame(
        left=plot_x, top=top, width=plot_width, height=height, x_range=forest_range(rows, goal, bounds=bounds)
    )
    parts = [
        svg.text(label_x, 12, of, size=SMALL, bold=True),
        svg.text(counts_x, 12, counts_title, size=SMALL, bold=True, anchor="end"),
        svg.text(text_x, 12, "Estimate (interval)", size=SMALL, bold=True),
        svg.line(0, 18, FULL, 18, stroke=INK),
    ]
    for tick in svg.nice_ticks(*frame.x_range):
        x = frame.x(tick)
        parts.append(svg.line(x, top, x, frame.bottom, stroke=TINT))
        parts.append(svg.line(x, frame.bottom, x, frame.bottom + 4, stroke=MUTED))
        parts.append(svg.text(x, frame.bottom + 15, svg.tick_text(tick), size=SMALL, anchor="middle", fill=MUTED))
    parts.append(svg.line(frame.left, frame.bottom, frame.right, frame.bottom, stroke=MUTED))
    if reference is not None:
        parts.append(svg.line(frame.x(reference), top, frame.x(reference), frame.bottom, stroke=MUTED, width=HAIR))
    if goal is not None:
        parts.append(svg.line(frame.x(goal), top, frame.x(goal), frame.bottom, stroke=INK, width=LINE, dash="4 3"))
    for index, row in enumerate(rows):
        y = top + step * (index + 0.5)
        base = y + 3.5
        indent = 0.0 if row.group or row.overall else 10.0
        room = 168 - indent if row.counts else 400
        parts.append(
            svg.text(label_x + indent, base, svg.fit(row.label, room, TEXT, bold=row.group),
                     bold=row.group or row.overall)
        )  # fmt: skip
        if row.group:
            continue
        parts.append(svg.text(counts_x, base, row.counts, size=SMALL, anchor="end", fill=MUTED))
        parts.append(svg.text(text_x, base, svg.fit(row.text, FULL - text_x, SMALL), size=SMALL, bold=row.overall))
        if row.value is None:
            continue
        drawn = []
        if row.low is not None and row.high is not None:
            drawn.append(svg.line(frame.x(row.low), y, frame.x(row.high), y, stroke=BLUE, width=LINE))
            for end in (row.low, row.high):
                drawn.append(svg.line(frame.x(end), y - 2.6, frame.x(end), y + 2.6, stroke=BLUE, width=LINE))
        x = frame.x(row.value)
        if row.overall:
            drawn.append(svg.polygon([(x, y - 5), (x + 5, y), (x, y + 5), (x - 5, y)], fill=INK))
        else:
            drawn.append(svg.circle(x, y, 3.2, fill="#ffffff" if row.small else BLUE, stroke=BLUE, width=LINE))
        parts.append(svg.hint(f"{row.label}: {row.text}", drawn))
        parts.append(svg.line(0, top + step * (index + 1), FULL, top + step * (index + 1), stroke=TINT))
    parts.append(svg.text(plot_x + plot_width / 2, frame.bottom + 31, svg.fit(axis_title, 300), anchor="middle"))
    if goal is not None:
        parts.append(
            svg.line(text_x, frame.bottom + 12, text_x + 20, frame.bottom + 12, stroke=INK, width=LINE, dash="4 3")
        )
        parts.append(
            svg.text(text_x + 26, frame.bottom + 15, svg.fit(goal_text, FULL - text_x - 26, SMALL), size=SMALL)
        )
    if reference is not None:
        parts.append(svg.line(text_x, frame.bottom + 27, text_x + 20, frame.bottom + 27, stroke=MUTED))
        parts.append(svg.text(text_x + 26, frame.bottom + 30, reference_text, size=SMALL))
    parts.append(svg.line(0, frame.bottom, 1, frame.bottom, stroke=RULE))
    return svg.drawing(FULL, frame.bottom + 38, parts, title=alt)

"""Figures of gaps between groups: intervals against margins, and a map of every combination of two attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evalsuite.report import svg
from evalsuite.report.figures_cases import FULL, ForestRow, forest_range
from evalsuite.report.svg import BLUE, BLUE_LIGHT, HAIR, INK, LINE, MUTED, SMALL, TEXT, TINT, Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRow:
    """One gap: its name, interval, margin and outcome in words; `group` rows are headings."""

    label: str
    text: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    group: bool = False


def gap_plot(
    rows: Sequence[GapRow], *, alt: str, of: str = "Group less other", axis_title: str = "Gap; 0 is no difference"
) -> str:
    """One line per gap: point and interval around 0, the declared margin as a shaded band, and the outcome in words.

    `of` heads the names of the lines.
    """
    step, top = 14.0, 22.0
    plot_x, plot_width, text_x = 246.0, 240.0, 498.0
    seen = [ForestRow(label="", value=r.value, low=r.low, high=r.high) for r in rows]
    seen += [ForestRow(label="", value=v) for r in rows if r.margin is not None for v in (r.margin, -r.margin)]
    seen.append(ForestRow(label="", value=0.0))
    frame = Frame(
        left=plot_x,
        top=top,
        width=plot_width,
        height=step * len(rows),
        x_range=forest_range(seen, None, bounds=(None, None)),
    )
    parts = [
        svg.text(0, 12, of, size=SMALL, bold=True),
        svg.text(text_x, 12, "Outcome", size=SMALL, bold=True),
        svg.line(0, 18, FULL, 18, stroke=INK),
    ]
    for tick in svg.nice_ticks(*frame.x_range):
        x = frame.x(tick)
        parts.append(svg.line(x, top, x, frame.bottom, stroke=TINT))
        parts.append(svg.line(x, frame.bottom, x, frame.bottom + 4, stroke=MUTED))
        parts.append(svg.text(x, frame.bottom + 15, svg.tick_text(tick), size=SMALL, anchor="middle", fill=MUTED))
    for index, row in enumerate(rows):
        if row.margin is not None and not row.group:
            y = top + step * index
            left, right = frame.x(-row.margin), frame.x(row.margin)
            parts.append(svg.rect(left, y + 1, right - left, step - 2, fill=BLUE_LIGHT))
    parts.append(svg.line(frame.x(0.0), top, frame.x(0.0), frame.bottom, stroke=INK, width=HAIR))
    parts.append(svg.line(frame.left, frame.bottom, frame.right, frame.bottom, stroke=MUTED))
    for index, row in enumerate(rows):
        y = top + step * (index + 0.5)
        label = svg.fit(row.label, plot_x - 18, TEXT, bold=row.group)
        parts.append(svg.text(0 if row.group else 10, y + 3.5, label, bold=row.group))
        if row.group:
            continue
        parts.append(svg.text(text_x, y + 3.5, svg.fit(row.text, FULL - text_x, SMALL), size=SMALL))
        if row.value is None:
            continue
        if row.low is not None and row.high is not None:
            parts.append(svg.line(frame.x(row.low), y, frame.x(row.high), y, stroke=BLUE, width=LINE))
            for end in (row.low, row.high):
                parts.append(svg.line(frame.x(end), y - 2.6, frame.x(end), y + 2.6, stroke=BLUE, width=LINE))
        parts.append(svg.circle(frame.x(row.value), y, 3.2, fill=BLUE, stroke=BLUE, width=LINE))
        parts.append(svg.line(0, top + step * (index + 1), FULL, top + step * (index + 1), stroke=TINT))
    parts.append(svg.text(plot_x + plot_width / 2, frame.bottom + 31, axis_title, anchor="middle"))
    if any(r.margin is not None for r in rows):
        parts.append(svg.rect(text_x, frame.bottom + 8, 20, 9, fill=BLUE_LIGHT))
        parts.append(svg.text(text_x + 26, frame.bottom + 16, "within the margin", size=SMALL))
    return svg.drawing(FULL, frame.bottom + 38, parts, title=alt)


@dataclass(frozen=True, slots=True, kw_only=True)
class MapCell:
    """One combination: the figure in words, its number of cases in words; no value where it cannot be assessed."""

    text: str
    counts: str
    value: float | None = None


def heat_map(
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Mapping[tuple[str, str], MapCell],
    *,
    title: str,
    alt: str,
) -> str:
    """A cell for every combination, darker where the figure is lower, grey where it cannot be assessed; n in each."""
    left, top, height = 150.0, 42.0, 30.0
    width = min(120.0, (FULL - left) / max(1, len(columns)))
    values = [c.value for c in cells.values() if c.value is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    parts = [svg.text(0, 12, svg.fit(title, FULL, TEXT, bold=True), bold=True)]
    for j, column in enumerate(columns):
        name = svg.fit(column, width - 6, SMALL)
        parts.append(svg.text(left + width * (j + 0.5), top - 8, name, size=SMALL, anchor="middle"))
    for i, row in enumerate(rows):
        y = top + height * i
        parts.append(svg.text(left - 8, y + height / 2 + 3, svg.fit(row, left - 12, SMALL), size=SMALL, anchor="end"))
        for j, column in enumerate(columns):
            x = left + width * j
            cell = cells.get((row, column))
            if cell is None:
                parts.append(svg.rect(x, y, width - 2, height - 2, fill="#ffffff", stroke=TINT))
                continue
            fill = "#dcdcdc" if cell.value is None else _shade(cell.value, low, high)
            parts.append(svg.rect(x, y, width - 2, height - 2, fill=fill, stroke=TINT))
            first = svg.fit(cell.text, width - 6, SMALL, bold=True)
            parts.append(svg.text(x + width / 2 - 1, y + 12, first, size=SMALL, anchor="middle", bold=True))
            second = svg.fit(cell.counts, width - 6, SMALL)
            parts.append(svg.text(x + width / 2 - 1, y + 23, second, size=SMALL, anchor="middle"))
    return svg.drawing(FULL, top + height * len(rows) + 4, parts, title=alt)


def _shade(value: float, low: float, high: float) -> str:
    """White for the highest figure, a light blue on which black text stays readable for the lowest."""
    share = 0.0 if high <= low else (high - value) / (high - low)
    pale, deep = (255, 255, 255), (158, 197, 232)
    mixed = (round(a + (b - a) * share) for a, b in zip(pale, deep, strict=True))
    return "#" + "".join(f"{channel:02x}" for channel in mixed)

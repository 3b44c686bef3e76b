"""A small drawing kit: lines, text and scales as SVG, one set of line widths, sizes and colours for every figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

from evalsuite.report.text import clean
from evalsuite.resources import bundled

# One unit is one CSS pixel (1/96 inch), so that text in figures has the size of text in tables.
TEXT, SMALL = 10.4, 9.2
INK, MUTED, RULE, TINT = "#1a2430", "#5a6675", "#c6ced8", "#eef2f6"
# Okabe-Ito blue and vermilion: distinct for all common kinds of colour vision, and dark against light in grey.
BLUE, BLUE_LIGHT, ORANGE, ORANGE_LIGHT = "#0b4f8a", "#d5e3f0", "#d55e00", "#f3b98e"
HAIR, LINE, STRONG = 0.6, 1.2, 1.8


def n(value: float) -> str:
    """A coordinate: two decimals, no trailing zeros, never "-0"."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def line(x1: float, y1: float, x2: float, y2: float, *, stroke: str = RULE, width: float = HAIR, dash: str = "") -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{n(x1)}" y1="{n(y1)}" x2="{n(x2)}" y2="{n(y2)}" stroke="{stroke}" stroke-width="{width}"{dashes}/>'
    )


def rect(
    x: float, y: float, width: float, height: float, *, fill: str = "none", stroke: str = "none",
    line_width: float = HAIR, radius: float = 0,
) -> str:  # fmt: skip
    return (
        f'<rect x="{n(x)}" y="{n(y)}" width="{n(max(width, 0))}" height="{n(max(height, 0))}" rx="{n(radius)}" '
        f'fill="{fill}" stroke="{stroke}" stroke-width="{line_width}"/>'
    )


def circle(x: float, y: float, r: float, *, fill: str = INK, stroke: str = "none", width: float = LINE) -> str:
    return f'<circle cx="{n(x)}" cy="{n(y)}" r="{n(r)}" fill="{fill}" stroke="{stroke}" stroke-width="{width}"/>'


def path(
    points: Iterable[tuple[float, float]], *, stroke: str = INK, width: float = STRONG, dash: str = "",
    axes: tuple[Frame, str, str] | None = None,
) -> str:  # fmt: skip
    """A line through points. With `axes`, its frame and what they are called, it can be read off on screen."""
    d = " ".join(f"{'M' if i == 0 else 'L'}{n(x)} {n(y)}" for i, (x, y) in enumerate(points))
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    readable = "" if axes is None else _readable(*axes)
    style = f'fill="none" stroke="{stroke}" stroke-width="{width}" stroke-linejoin="round"'
    return f'<path d="{d}" {style}{dashes}{readable}/>'


def _readable(frame: Frame, x_name: str, y_name: str) -> str:
    ends = (frame.left, frame.top, frame.width, frame.height, *frame.x_range, *frame.y_range)
    numbers = " ".join(f"{end:.6g}" for end in ends)
    return f' data-frame="{numbers}" data-x="{escape(clean(x_name))}" data-y="{escape(clean(y_name))}"'


def hint(words: str, parts: Iterable[str]) -> str:
    """Parts of a drawing that say `words` where a pointer rests on them."""
    return f'<g class="hint"><title>{escape(clean(words))}</title>{"".join(parts)}</g>'


def polygon(points: Iterable[tuple[float, float]], *, fill: str, stroke: str = "none", width: float = HAIR) -> str:
    d = " ".join(f"{n(x)},{n(y)}" for x, y in points)
    return f'<polygon points="{d}" fill="{fill}" stroke="{stroke}" stroke-width="{width}"/>'


def text(
    x: float, y: float, content: str, *, size: float = TEXT, anchor: str = "start", fill: str = INK, bold: bool = False,
    turn: bool = False, halo: bool = False,
) -> str:  # fmt: skip
    """A line of text with its baseline at `y`. `turn` reads bottom to top; `halo` keeps it legible over lines."""
    weight = "600" if bold else "400"
    rotate = f' transform="rotate(-90 {n(x)} {n(y)})"' if turn else ""
    common = (
        f'x="{n(x)}" y="{n(y)}" font-family="Inter" font-size="{n(size)}" font-weight="{weight}" '
        f'text-anchor="{anchor}"{rotate}'
    )
    body = escape(content)
    under = (
        f'<text {common} fill="#ffffff" stroke="#ffffff" stroke-width="3" stroke-linejoin="round">{body}</text>'
        if halo
        else ""
    )
    return f'{under}<text {common} fill="{fill}">{body}</text>'


def drawing(width: float, height: float, parts: Sequence[str], *, title: str) -> str:
    """A whole drawing. `title` is its text equivalent and comes first, where readers of tagged PDF look for it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{n(width)}" height="{n(height)}" '
        f'viewBox="0 0 {n(width)} {n(height)}"><title>{escape(title)}</title>{"".join(parts)}</svg>'
    )


@cache
def _advances(bold: bool) -> tuple[dict[str, float], float]:
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped]

    name = "Inter-SemiBold.otf" if bold else "Inter-Regular.otf"
    with TTFont(Path(bundled("reports", "style", "fonts")) / name, lazy=True) as font:
        em = float(font["head"].unitsPerEm)
        widths = font["hmtx"].metrics
        table = {chr(point): widths[glyph][0] / em for point, glyph in font.getBestCmap().items()}
    return table, table["n"]


def text_width(content: str, size: float = TEXT, *, bold: bool = False) -> float:
    """Width of a line of text in pixels, from the font's own advance widths."""
    table, usual = _advances(bold)
    return size * sum(table.get(character, usual) for character in content)


def fit(content: str, width: float, size: float = TEXT, *, bold: bool = False) -> str:
    """`content`, cut with an ellipsis where it is wider than `width` pixels."""
    content = clean(content, longest=200)
    if text_width(content, size, bold=bold) <= width:
        return content
    while content and text_width(content + "…", size, bold=bold) > width:
        content = content[:-1]
    return content.rstrip() + "…"


def wrap(content: str, width: float, size: float = TEXT, *, lines: int = 3) -> tuple[str, ...]:
    """`content` broken at spaces into at most `lines` lines; the last one is cut where more follows."""
    words = clean(content, longest=400).split(" ")
    done: list[str] = []
    current = ""
    for index, word in enumerate(words):
        trial = f"{current} {word}".strip()
        if current and text_width(trial, size) > width:
            if len(done) == lines - 1:
                return (*done, fit(" ".join([current, *words[index:]]), width, size))
            done.append(current)
            current = word
        else:
            current = trial
    return tuple(fit(entry, width, size) for entry in (*done, current))


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A plotting area in pixels and the data ranges it shows."""

    left: float
    top: float
    width: float
    height: float
    x_range: tuple[float, float] = (0.0, 1.0)
    y_range: tuple[float, float] = (0.0, 1.0)

    def x(self, value: float) -> float:
        low, high = self.x_range
        share = (value - low) / (high - low)
        return self.left + self.width * min(max(share, 0.0), 1.0)

    def y(self, value: float) -> float:
        low, high = self.y_range
        share = (value - low) / (high - low)
        return self.top + self.height * (1.0 - min(max(share, 0.0), 1.0))

    @property
    def bottom(self) -> float:
        return self.top + self.height

    @property
    def right(self) -> float:
        return self.left + self.width

    def axes(
        self, *, x_title: str, y_title: str, x_ticks: Sequence[float], y_ticks: Sequence[float],
        y_labels: Sequence[str] = (),
    ) -> list[str]:  # fmt: skip
        """Grid, frame, tick labels and axis titles."""
        parts = [rect(self.left, self.top, self.width, self.height, stroke=RULE)]
        for tick in x_ticks:
            parts.append(line(self.x(tick), self.top, self.x(tick), self.bottom, stroke=TINT))
            parts.append(line(self.x(tick), self.bottom, self.x(tick), self.bottom + 4, stroke=MUTED))
            parts.append(text(self.x(tick), self.bottom + 15, tick_text(tick), size=SMALL, anchor="middle", fill=MUTED))
        labels = y_labels or [tick_text(tick) for tick in y_ticks]
        for tick, label in zip(y_ticks, labels, strict=True):
            parts.append(line(self.left, self.y(tick), self.right, self.y(tick), stroke=TINT))
            parts.append(line(self.left - 4, self.y(tick), self.left, self.y(tick), stroke=MUTED))
            parts.append(text(self.left - 7, self.y(tick) + 3.2, label, size=SMALL, anchor="end", fill=MUTED))
        parts.append(rect(self.left, self.top, self.width, self.height, stroke=RULE))
        if x_title:
            parts.append(text(self.left + self.width / 2, self.bottom + 31, x_title, anchor="middle"))
        parts.append(text(self.left - 36, self.top + self.height / 2, y_title, anchor="middle", turn=True))
        return parts


def tick_text(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def nice_ticks(low: float, high: float, *, about: int = 5) -> tuple[float, ...]:
    """Round numbers between `low` and `high`, about `about` of them."""
    if not high > low:
        return (low,)
    raw = (high - low) / about
    power = 1.0
    while power > raw:
        power /= 10
    while power * 10 <= raw:
        power *= 10
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first = int(low / step) - 1
    ticks = (round(step * k, 10) for k in range(first, first + 4 * about + 4))
    return tuple(t for t in ticks if low - step * 1e-6 <= t <= high + step * 1e-6)

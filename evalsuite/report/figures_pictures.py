"""Galleries: parts of images side by side, with outlines and marks drawn over them, and a key."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape

import numpy as np

from evalsuite.imaging.picture import coloured
from evalsuite.report import svg
from evalsuite.report.svg import BLUE, HAIR, INK, MUTED, RULE, SMALL, TINT, n
from evalsuite.report.text import clean
from evalsuite.types import Drawn, Picture

FULL, GAP, EDGE = 634.0, 14.0, 198.0
#: Colour, width and dashes of what is drawn, and its word in the key. Dashes and shapes tell them apart without colour.
STYLES: dict[str, tuple[str, float, str, str]] = {
    "reference": ("#f0e442", 1.3, "", "reference (unbroken)"),
    "device": ("#56b4e9", 1.3, "3 2", "device (dashed)"),
    "found": ("#56b4e9", 1.4, "", "lesion found (circle or box, unbroken)"),
    "missed": ("#f0e442", 1.6, "3 2", "lesion missed (dashed)"),
    "mark": ("#56b4e9", 1.2, "", "mark on a lesion (cross)"),
    "false": ("#ff6f3c", 1.8, "", "false mark (bold cross)"),
}


def gallery(pictures: Sequence[Picture], *, alt: str, across: int = 3) -> str:
    """Pictures in rows of `across`, each with two lines of text below, and the key of what is drawn at the end, where
    anything is."""
    parts: list[str] = []
    edge = EDGE if across == 3 else (FULL - GAP * (across - 1)) / across
    row_height = edge + 34.0
    for i, picture in enumerate(pictures):
        x, y = (i % across) * (edge + GAP), (i // across) * row_height
        below = ", ".join(t for t in (picture.case_id, picture.note) if t)
        parts.append(f'<g class="case" data-kind="{escape(clean(picture.group, longest=60))}">')
        parts.append(f"<title>{escape(clean(f'{picture.title}: {below}', longest=200))}</title>")
        parts += _panel(picture, x, y, edge)
        parts.append(svg.text(x, y + edge + 13, svg.fit(picture.title, edge, SMALL, bold=True), size=SMALL, bold=True))
        parts.append(svg.text(x, y + edge + 25, svg.fit(below, edge, SMALL), size=SMALL, fill=MUTED))
        parts.append("</g>")
    y = -(-len(pictures) // across) * row_height + 4
    kinds = dict.fromkeys(d.kind for p in pictures for d in p.drawn if d.lines)
    if not kinds:
        return svg.drawing(FULL, y, parts, title=alt)
    parts.append(svg.rect(0, y, FULL, 18, fill="#3a4450", stroke=RULE, line_width=HAIR))
    left = 8.0
    for kind in kinds:
        colour, width, dash, word = STYLES[kind]
        parts.append(svg.line(left, y + 9, left + 20, y + 9, stroke=colour, width=width, dash=dash))
        parts.append(svg.text(left + 25, y + 12.4, word, size=SMALL, fill="#ffffff"))
        left += 37 + svg.text_width(word, SMALL)
    return svg.drawing(FULL, y + 20, parts, title=alt)


def colour_bar(y: float) -> list[str]:
    """The colours of maps from their smallest to their largest value, with words at both ends."""
    parts = [svg.text(0, y + 9, "smallest value of the map", size=SMALL)]
    left, width = 132.0, 220.0
    for k in range(64):
        red, green, blue = (int(v) for v in coloured(np.array([[k / 63]]))[0, 0])
        fill = f"#{red:02x}{green:02x}{blue:02x}"
        parts.append(svg.rect(left + k * width / 64, y, width / 64 + 0.3, 11, fill=fill))
    parts.append(
        svg.text(left + width + 8, y + 9, "largest value; the ends of each map are given below it", size=SMALL)
    )
    return parts


def map_gallery(pictures: Sequence[Picture], *, alt: str, across: int) -> str:
    """Rows of an image and its maps, with two lines of text below each picture, and the bar of colours at the end."""
    parts: list[str] = []
    edge = min(EDGE, (FULL - GAP * (across - 1)) / across)
    for i, picture in enumerate(pictures):
        x, y = (i % across) * (edge + GAP), (i // across) * (edge + 34.0)
        title = clean(picture.title, longest=60).replace("_", " ")
        below = picture.note or clean(picture.case_id, longest=60)
        parts += _panel(picture, x, y, edge)
        parts.append(svg.text(x, y + edge + 13, svg.fit(title, edge, SMALL, bold=True), size=SMALL, bold=True))
        parts.append(svg.text(x, y + edge + 25, svg.fit(below, edge, SMALL), size=SMALL, fill=MUTED))
    y = -(-len(pictures) // across) * (edge + 34.0) + 4
    return svg.drawing(FULL, y + 16, [*parts, *colour_bar(y)], title=alt)


def _panel(picture: Picture, x: float, y: float, edge: float) -> list[str]:
    """The picture as large as fits into a square, in the middle, with true proportions."""
    height = picture.height * picture.aspect
    scale = edge / max(picture.width, height)
    wide, high = picture.width * scale, height * scale
    left, top = x + (edge - wide) / 2.0, y + (edge - high) / 2.0
    parts = [svg.rect(x, y, edge, edge, fill=TINT if picture.image is None else INK, stroke=RULE)]
    if picture.image is not None:
        data = b64encode(picture.image).decode("ascii")
        parts.append(
            f'<image x="{n(left)}" y="{n(top)}" width="{n(wide)}" height="{n(high)}" preserveAspectRatio="none" '
            f'image-rendering="pixelated" href="data:image/png;base64,{data}"/>'
        )
    for drawn in picture.drawn:
        parts.append(_lines(drawn, picture, left, top, scale))
    return parts


def _lines(drawn: Drawn, picture: Picture, left: float, top: float, scale: float) -> str:
    colour, width, dash, _ = STYLES[drawn.kind]
    if picture.image is None and colour == "#f0e442":
        colour = BLUE  # yellow does not show on a light ground
    pieces = []
    for x0, y0, x1, y1 in drawn.lines:
        inside = all(0 <= v <= picture.width for v in (x0, x1)) and all(0 <= v <= picture.height for v in (y0, y1))
        if inside:
            a, b = left + x0 * scale, top + y0 * scale * picture.aspect
            c, d = left + x1 * scale, top + y1 * scale * picture.aspect
            pieces.append(f"M{n(a)} {n(b)}L{n(c)} {n(d)}")
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path d="{"".join(pieces)}" fill="none" stroke="{colour}" stroke-width="{width}"{dashes}/>'

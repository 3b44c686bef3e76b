"""Faults of a laid-out report, found in the boxes it is made of: text off the page, empty pages, lonely headings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Page:
    number: int
    text: str
    faults: tuple[str, ...]


def laid_out(html: str) -> Any:
    import weasyprint

    from evalsuite.report.pdf import closed_fetcher

    return weasyprint.HTML(string=html, url_fetcher=closed_fetcher()).render()


def examine(document: Any) -> list[Page]:
    """Each page's running text, and what is wrong with it."""
    from weasyprint.formatting_structure import boxes

    pages = []
    for number, page in enumerate(document.pages, start=1):
        box = page._page_box
        left, right = box.content_box_x(), box.content_box_x() + box.width
        bottom = box.content_box_y() + box.height
        faults, words, blocks = [], [], []
        margin = {id(d) for child in box.children if isinstance(child, boxes.MarginBox) for d in child.descendants()}
        for d in box.descendants():
            if not isinstance(d, boxes.TextBox) or not d.text.strip():
                continue
            if d.position_x < -0.5 or d.position_x + d.width > box.margin_width() + 0.5:
                faults.append(f"page {number}: off the paper: {d.text[:60]!r}")
            if id(d) in margin:
                continue
            words.append(d.text)
            blocks.append((d.position_y, d.element_tag))
            if d.position_x < left - 1 or d.position_x + d.width > right + 1:
                faults.append(f"page {number}: outside the margins: {d.text[:60]!r}")
            if d.position_y + d.height > bottom + 1:
                faults.append(f"page {number}: below the text area: {d.text[:60]!r}")
        faults += [f"page {number}: {fault}" for fault in _wider_than_their_cell(box)]
        text = " ".join(words)
        if len(text) < 40 and not any(isinstance(d, boxes.ReplacedBox) for d in box.descendants()):
            faults.append(f"page {number}: (nearly) empty: {text!r}")
        if blocks:
            lowest = max(blocks)
            figures = [d.position_y for d in box.descendants() if isinstance(d, boxes.ReplacedBox)]
            if lowest[1] in ("h2", "h3", "caption", "figcaption") and not any(y > lowest[0] for y in figures):
                faults.append(f"page {number}: ends with a heading: {text[-60:]!r}")
        pages.append(Page(number, text, tuple(faults)))
    return pages


def _wider_than_their_cell(page: Any) -> list[str]:
    """Text, or a drawing, that runs out of its table cell, and cells that run out of their table."""
    from weasyprint.formatting_structure import boxes

    faults = []
    for table in page.descendants():
        if not isinstance(table, boxes.TableBox):
            continue
        edge = table.position_x + table.border_width() + 0.5
        for cell in table.descendants():
            if not isinstance(cell, boxes.TableCellBox):
                continue
            left, right = cell.position_x - 0.5, cell.position_x + cell.border_width() + 0.5
            if right > edge + 0.5:
                faults.append(f"a cell is wider than its table: {cell.element_tag}")
            for inside in cell.descendants():
                if isinstance(inside, boxes.TextBox) and inside.text.strip():
                    at, end, shown = inside.position_x, inside.position_x + inside.width, inside.text[:60]
                elif isinstance(inside, boxes.ReplacedBox):
                    at, end, shown = inside.position_x, inside.position_x + inside.width, "a drawing"
                else:
                    continue
                if at < left or end > right:
                    faults.append(f"wider than its cell: {shown!r}")
    return faults

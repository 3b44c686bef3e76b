"""Pictures of report pages for the README, from a run of the demo: `make samples`. Needs pdftoppm (poppler-utils)."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

SHOWN = (
    "Document control",
    "Acceptance criteria",
    "ROC curve",
    "Sensitivity by group",
    r"Figure \d+ +False negatives",
    "Shortcuts, by behaviour",
)
"""Patterns of the pages that are shown."""
GAP = 16
WIDTH = 1800


def pages_with(words: Sequence[str], pdf: Path) -> list[int]:
    """The first page of each, in the order of the report; the contents are passed over, where words only point."""
    text = subprocess.run(["pdftotext", "-layout", str(pdf), "-"], check=True, capture_output=True, text=True).stdout
    pages = text.split("\f")
    found: list[int] = []
    for word in words:
        after = found[-1] if found else 0
        here = (
            k for k, page in enumerate(pages[after:], after + 1) if re.search(word, page) and "How to read" not in page
        )
        found += [next(here)]
    return found


def pictures(pdf: Path, pages: list[int], folder: Path) -> list[Image.Image]:
    """The pages as images, 80 dots per inch."""
    found = []
    for page in pages:
        stem = folder / f"page-{page}"
        command = ["pdftoppm", "-r", "80", "-png", "-f", str(page), "-l", str(page), "-singlefile", str(pdf), str(stem)]
        subprocess.run(command, check=True)
        found.append(Image.open(stem.with_suffix(".png")).convert("RGB"))
    return found


def main() -> int:
    """Write the strip of pages; 2 where there is no report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("--pages", type=int, nargs="+", help="other pages than those with " + ", ".join(SHOWN))
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("demo-pages.png"))
    arguments = parser.parse_args()
    if not arguments.report.is_file():
        sys.stderr.write(f"{arguments.report} does not exist: run `make demo` first.\n")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        shown = arguments.pages or pages_with(SHOWN, arguments.report)
        pages = pictures(arguments.report, shown, Path(folder))
        width, height = pages[0].size
        strip = Image.new("RGB", (len(pages) * (width + GAP) + GAP, height + 2 * GAP), (226, 229, 233))
        for k, page in enumerate(pages):
            strip.paste(page, (GAP + k * (width + GAP), GAP))
        scale = WIDTH / strip.width
        strip = strip.resize((WIDTH, round(strip.height * scale)), Image.Resampling.LANCZOS)
        strip.save(arguments.out, optimize=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

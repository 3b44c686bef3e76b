"""Text from outside, made safe to print: no control characters, no missing glyphs, nothing hidden, nothing endless."""

from __future__ import annotations

import unicodedata
from functools import cache
from pathlib import Path

from evalsuite.resources import bundled

LONGEST = 600
_FACES = ("Inter-Regular.otf", "Inter-Italic.otf", "Inter-SemiBold.otf", "Inter-Bold.otf")
_SPACE = {"\t", "\n", "\r", "\v", "\f", "\u2028", "\u2029", "\u0085"}


@cache
def glyphs() -> frozenset[int]:
    """Code points that every face of the report's text family can draw."""
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped]

    folder = bundled("reports", "style", "fonts")
    covered: frozenset[int] | None = None
    for name in _FACES:
        with TTFont(Path(folder) / name, lazy=True) as font:
            points = frozenset(font.getBestCmap())
        covered = points if covered is None else covered & points
    return covered or frozenset()


def clean(value: object, *, longest: int = LONGEST) -> str:
    """`value` as one line of printable text.

    White space of any kind becomes one space. A character the report's fonts cannot draw, and every control,
    direction-changing or invisible character, is printed as its code point, ‹U+202E›, so nothing is lost and nothing
    can reorder or hide text. Text longer than `longest` characters is cut with
    an ellipsis; a long text says how long it was.
    """
    text = unicodedata.normalize("NFC", str(value))
    known = glyphs()
    parts: list[str] = []
    length = 0
    cut = False
    for character in text:
        if character in _SPACE or character == " ":
            piece = "" if not parts or parts[-1] == " " else " "
        elif ord(character) in known and unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn"):
            piece = character
        else:
            piece = f"‹U+{ord(character):04X}›"
        if length + len(piece) > longest:
            cut = True
            break
        if piece:
            parts.append(piece)
            length += len(piece)
    line = "".join(parts).strip()
    if not cut:
        return line
    # A short label is cut quietly, a long text says so.
    return f"{line}…" if longest < 250 else f"{line} … [cut: {len(text):,} characters in all]"


def given(value: object, missing: str = "not stated") -> str:
    """`value` cleaned, or `missing` where it is None or empty."""
    if value is None:
        return missing
    return clean(value) or missing


def short_digest(digest: object, length: int = 12) -> str:
    """The first characters of a digest, for reading; the full digest stands elsewhere in the report."""
    text = given(digest, "")
    return f"{text[:length]}…" if len(text) > length else (text or "not recorded")


def sentence(text: str) -> str:
    """`text` with a capital first letter and a full stop."""
    text = text.strip()
    if not text:
        return text
    text = text[0].upper() + text[1:]
    return text if text[-1] in ".!?…]" else text + "."

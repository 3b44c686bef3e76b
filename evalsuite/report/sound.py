"""What must never be printed: characters without a glyph, links to nowhere, two places of one name."""

from __future__ import annotations

import re
from collections import Counter
from html import unescape

from evalsuite.errors import OutputError, Problem
from evalsuite.report.text import glyphs

_NOT_TEXT = re.compile(r"<(style|script)\b.*?</\1>|<!--.*?-->|<[^>]*>", re.S)
_PLACE = re.compile(r"""\sid="([^"]*)\"""")
_LINK = re.compile(r"""\shref="#([^"]*)\"""")
_MOST_NAMED = 20
_HINT = "This is a fault of the suite: text from outside is made printable before it gets here. Report it."


def require_sound(html: str) -> None:
    """OutputError, naming every fault, unless each character has a glyph and each link leads to exactly one place.

    A missing glyph would be printed as an empty box, or in whatever font the machine happens to have.
    """
    problems = [*_undrawable(html), *_astray(html)]
    if problems:
        raise OutputError("The report is not written, as it would be faulty.", problems=problems, hint=_HINT)


def _undrawable(html: str) -> list[Problem]:
    missing = sorted({ord(c) for c in unescape(_NOT_TEXT.sub(" ", html)) if not c.isspace()} - glyphs())
    return [Problem("no glyph in the report's fonts", f"U+{point:04X}") for point in missing[:_MOST_NAMED]]


def _astray(html: str) -> list[Problem]:
    places = Counter(_PLACE.findall(html))
    lost = dict.fromkeys(name for name in _LINK.findall(html) if name not in places)
    twice = [name for name, count in places.items() if count > 1]
    return [
        *(Problem("a link leads nowhere", name) for name in list(lost)[:_MOST_NAMED]),
        *(Problem("two places have one name", name) for name in twice[:_MOST_NAMED]),
    ]

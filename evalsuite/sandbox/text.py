"""Text that a package wrote, made fit to be shown: no control characters, no escape sequences, bounded length."""

from __future__ import annotations

import unicodedata
from typing import Any

_MAX_DEPTH = 12
_MAX_ITEMS = 10_000


def clean(text: object, *, limit: int = 500) -> str:
    """One line of at most `limit` characters, each of which prints as itself.

    Control, formatting (such as right-to-left override) and unassigned characters become "?"; line breaks and tabs a
    space.
    """
    line = " ".join(str(text)[: 4 * limit].split())
    shown = "".join("?" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn") else c for c in line)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def clean_lines(text: str) -> str:
    """Several lines, each cleaned as by `clean`; for log files."""
    return "".join(clean(line, limit=2000) + "\n" for line in text.splitlines())


def clean_json(value: Any, *, depth: int = 0) -> Any:
    """JSON values with every text cleaned.

    Raises
    ------
    ValueError
        If they are nested too deep or too many.
    """
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deep")
    if isinstance(value, str):
        return clean(value, limit=4000)
    if isinstance(value, dict | list) and len(value) > _MAX_ITEMS:
        raise ValueError("too many items")
    if isinstance(value, dict):
        return {clean(k): clean_json(v, depth=depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return [clean_json(v, depth=depth + 1) for v in value]
    return value

"""Recorded marks of a detection device: one row per mark, with a score and a place, or one row that says there is none.

A place is a point `x, y` (or `x, y, z`) or a box `x0, y0, x1, y1` (or with `z0` and `z1`), in millimetres.
"""

from __future__ import annotations

from collections.abc import Collection

POINT = ("x", "y", "z")
BOX = ("x0", "y0", "z0", "x1", "y1", "z1")


def place_columns(columns: Collection[str]) -> tuple[str, ...] | None:
    """The columns of a table that say where its rows lie: of a box, lower corner first, of a point, or None."""
    for wanted in (BOX, tuple(c for c in BOX if not c.startswith("z")), POINT, POINT[:2]):
        if all(c in columns for c in wanted):
            return wanted
    return None


def is_box(place: Collection[str]) -> bool:
    """Whether such columns are those of a box."""
    return "x0" in place

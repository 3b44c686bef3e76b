"""Which outputs of a model are together an embedding of the image."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

_KEYS = ("case_id", "rater", "condition", "status", "reason")


def embedding_columns(asked: Sequence[str], outputs: Sequence[str]) -> tuple[list[str], list[str]]:
    """Outputs that the names (`*` stands for any ending) mean, in the model's order, and the names that mean none."""
    given = [o for o in outputs if o not in _KEYS]
    columns = [o for o in given if any(fnmatchcase(o, name) for name in asked)]
    return columns, [name for name in asked if not any(fnmatchcase(o, name) for o in given)]

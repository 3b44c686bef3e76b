"""Rows of a table kept as they are made, so that a benchmark that was stopped goes on with the next row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Kept:
    """Rows by name, in a JSON file where one is given; made for one set of options only."""

    def __init__(self, path: Path | None, options: str) -> None:
        self._path = path
        self._rows: dict[str, Any] = {}
        self._options = options
        if path is not None and path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["options"] != options:
                raise SystemExit(f"{path} holds rows made with other options: remove it, or give another --keep")
            self._rows = found["rows"]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the rows that were made."""
        return tuple(self._rows)

    def row(self, name: str, make: Callable[[], Any]) -> Any:
        """The row of this name: as it was kept, or made now."""
        if name not in self._rows:
            self._rows[name] = make()
            if self._path is not None:
                text = json.dumps({"options": self._options, "rows": self._rows}, indent=1)
                self._path.write_text(text, encoding="utf-8")
        return self._rows[name]

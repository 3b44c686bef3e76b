"""Finished pieces of the campaign, one line of JSON each, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.coverage.study import Cell, Tallies, Tally

PLACE = Path(".coverage-study")
"""Git-ignored, beside the checkout's other caches."""


def append(place: Path, cell: Cell, piece: int, tallies: Tallies) -> None:
    """Add one finished piece."""
    place.mkdir(parents=True, exist_ok=True)
    rows = [{"quantity": q, "method": m, **asdict(t)} for (q, m), t in tallies.items()]
    line = json.dumps({"cell": cell.key, "piece": piece, "size": cell.piece, "rows": rows})
    with (place / "pieces.jsonl").open("a", encoding="utf-8") as out:
        out.write(line + "\n")


def _lines(place: Path) -> Iterable[dict]:
    path = place / "pieces.jsonl"
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def finished(place: Path) -> set[tuple[str, int, int]]:
    """Cell, piece and its size of all that is done."""
    return {(line["cell"], line["piece"], line["size"]) for line in _lines(place)}


def results(place: Path, cells: Sequence[Cell]) -> dict[str, Tallies]:
    """Tallies of each cell that has any, by its key; pieces of another size than the cell's are left out."""
    wanted = {cell.key: cell for cell in cells}
    found: dict[str, Tallies] = {}
    seen: set[tuple[str, int]] = set()
    for line in _lines(place):
        cell = wanted.get(line["cell"])
        if cell is None or line["size"] != cell.piece or line["piece"] >= cell.pieces:
            continue
        # Two campaigns may have simulated the same piece; it is the same piece then, and counts once.
        if (cell.key, line["piece"]) in seen:
            continue
        seen.add((cell.key, line["piece"]))
        tallies = found.setdefault(cell.key, {})
        for row in line["rows"]:
            key = (row.pop("quantity"), row.pop("method"))
            made = Tally(**row)
            tallies[key] = tallies[key] + made if key in tallies else made
    return found

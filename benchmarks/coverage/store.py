"""Finished pieces of the campaign: those of this checkout's runs, and the counts that are kept with the tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.coverage.study import Cell, Tallies, Tally

PLACE = Path(".coverage-study")
"""Git-ignored, beside the checkout's other caches: one line of JSON for each piece."""
KEPT = Path("docs/statistics/coverage/tallies.jsonl")
"""Counts behind the published tables, one line of JSON for each design; `KEPT` may be taken as finished work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What was counted in some pieces of a design."""

    cell: str
    size: int
    pieces: frozenset[int]
    tallies: Tallies


def append(place: Path, cell: Cell, piece: int, tallies: Tallies) -> None:
    """Add one finished piece."""
    place.mkdir(parents=True, exist_ok=True)
    rows = [{"quantity": q, "method": m, **asdict(t)} for (q, m), t in tallies.items()]
    line = json.dumps({"cell": cell.key, "piece": piece, "size": cell.piece, "rows": rows})
    with (place / "pieces.jsonl").open("a", encoding="utf-8") as out:
        out.write(line + "\n")


def _all(place: Path, kept: Path) -> Iterator[Done]:
    """Counts that are kept first, then pieces."""
    for line in _lines(kept):
        counts = line["counts"].items()
        yield Done(
            cell=line["cell"],
            size=line["size"],
            pieces=frozenset(k for first, last in line["pieces"] for k in range(first, last + 1)),
            tallies={(q, m): _tally(row) for q, methods in counts for m, row in methods.items()},
        )
    for line in _lines(place / "pieces.jsonl"):
        tallies = {(row.pop("quantity"), row.pop("method")): Tally(**row) for row in line["rows"]}
        yield Done(cell=line["cell"], size=line["size"], pieces=frozenset([line["piece"]]), tallies=tallies)


def _lines(path: Path) -> Iterable[dict]:
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def _tally(row: Sequence[float]) -> Tally:
    truth, *counts = row
    held, below, above, none = (int(k) for k in counts)
    return Tally(truth=truth, held=held, truth_below=below, truth_above=above, none=none)


def finished(place: Path, kept: Path = KEPT) -> set[tuple[str, int, int]]:
    """Cell, piece and its size of all that is done."""
    return {(done.cell, piece, done.size) for done in _all(place, kept) for piece in done.pieces}


def results(place: Path, cells: Sequence[Cell], kept: Path = KEPT) -> dict[str, Done]:
    """What was counted of each cell that has any, by its key; pieces of another size than the cell's are left out."""
    wanted = {cell.key: cell for cell in cells}
    found: dict[str, Done] = {}
    for done in _all(place, kept):
        cell = wanted.get(done.cell)
        if cell is None or done.size != cell.piece or max(done.pieces) >= cell.pieces:
            continue
        before = found.get(done.cell)
        if before is None:
            found[done.cell] = done
        # Two campaigns may have simulated the same piece; it is the same piece then, and counts once.
        elif not before.pieces & done.pieces:
            tallies = dict(before.tallies)
            for key, tally in done.tallies.items():
                tallies[key] = tallies[key] + tally if key in tallies else tally
            pieces = before.pieces | done.pieces
            found[done.cell] = Done(cell=done.cell, size=done.size, pieces=pieces, tallies=tallies)
    return found


def keep(path: Path, found: Iterable[Done]) -> None:
    """Write the counts of all designs as one file, small enough to be kept with the tables made of it."""
    lines = []
    for done in found:
        counts: dict[str, dict[str, list[float]]] = {}
        for (quantity, method), tally in done.tallies.items():
            counts.setdefault(quantity, {})[method] = list(astuple(tally))
        line = {"cell": done.cell, "size": done.size, "pieces": _ranges(sorted(done.pieces)), "counts": counts}
        lines.append(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
    path.write_text("".join(lines), encoding="utf-8")


def _ranges(numbers: Sequence[int]) -> list[list[int]]:
    """First and last of each run of consecutive numbers."""
    starts = [numbers[0], *(b for a, b in pairwise(numbers) if b > a + 1)]
    ends = [*(a for a, b in pairwise(numbers) if b > a + 1), numbers[-1]]
    return [list(run) for run in zip(starts, ends, strict=True)]

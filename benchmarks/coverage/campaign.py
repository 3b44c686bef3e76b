"""All designs of the study, and in which order their pieces are simulated."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.coverage import (
    beyond,
    calibrated,
    calibrated_further,
    counts,
    further,
    measured,
    ranks,
    resampled,
    several,
    store,
)
from benchmarks.coverage.study import LATER, Cell, Family, Tallies, run_piece

FAMILIES: tuple[Family, ...] = (
    *counts.FAMILIES,
    *ranks.FAMILIES,
    *calibrated.FAMILIES,
    *resampled.FAMILIES,
    *several.FAMILIES,
    *measured.FAMILIES,
    *beyond.FAMILIES,
    *calibrated_further.FAMILIES,
    *further.FAMILIES,
)
BY_NAME = {family.name: family for family in FAMILIES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One piece of one cell."""

    cell: Cell
    number: int


def of_piece(piece: Piece) -> tuple[Tallies, float]:
    """Simulate it, and say how long that took."""
    start = time.perf_counter()
    return run_piece(BY_NAME[piece.cell.family], piece.cell, piece.number), time.perf_counter() - start


def _asked(cell: Cell, only: str) -> bool:
    """Whether the design is of the family named, or its key begins so ("labels|n=30|")."""
    return cell.family == only or ("|" in only and cell.key.startswith(only))


def remaining(place: Path, only: Sequence[str], studies: int | None, kept: Path = store.KEPT) -> list[Piece]:
    """What is not finished, by stage; within a stage every cell gets its first piece before any gets its second.

    Raises
    ------
    SystemExit
        For an unknown family or design.
    """
    unknown = [o for o in only if not any(_asked(cell, o) for family in FAMILIES for cell in family.cells)]
    if unknown:
        raise SystemExit(f"unknown family or design: {', '.join(unknown)}; one of {', '.join(BY_NAME)}")
    finished = store.finished(place, kept)
    todo: list[tuple[int, int, Piece]] = []
    for family in FAMILIES:
        for cell in family.cells:
            if only and not any(_asked(cell, o) for o in only):
                continue
            for number in range(cell.pieces):
                enough = studies is not None and number * cell.piece >= studies
                if not enough and (cell.key, number, cell.piece) not in finished:
                    waits = family.first is not None and number >= family.first
                    stage = family.stage + (LATER if waits else 0)
                    todo.append((stage, number, Piece(cell=cell, number=number)))
    return [piece for _, _, piece in sorted(todo, key=lambda item: item[:2])]

"""Small test sets for these tests."""

from __future__ import annotations

import random
from pathlib import Path

from evalsuite.testset import LockedTestSet, lock_testset

UTC = "2026-01-02T03:04:05Z"


def write_table(folder: Path, rows: list[dict[str, str]], name: str = "cases.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [",".join(rows[0])] + [",".join(row.values()) for row in rows]
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_image(path: Path, seed: int = 0, size: int = 500) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(random.Random(seed).randbytes(size))


def lock(table: Path, out: Path, **options: object) -> LockedTestSet:
    return lock_testset(table, out, actor="A. Tester", utc=UTC, **options)  # type: ignore[arg-type]

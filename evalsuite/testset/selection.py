"""Which rows of a table become the test set: all but the retired ones, or a random part of a growing pool."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import CaseTableError, InputError, Problem
from evalsuite.testset.manifest import table_digest
from evalsuite.testset.table import read_table, row_list, suggest

if TYPE_CHECKING:
    import pandas as pd

ALGORITHM = "sha256-rank/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Draw at least `n` cases at random, patients whole; `by` keeps the shares of that column's groups."""

    n: int
    seed: int
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    """A case that is no longer evaluated, and why."""

    case_id: str
    reason: str

    def to_json(self) -> dict[str, str]:
        return {"case_id": self.case_id, "reason": self.reason}


def read_retired(path: Path, case_column: str) -> tuple[Retired, ...]:
    """Read a table of retired cases: the case column and `reason`.

    Raises
    ------
    InputError
        If a column is absent, a case is named twice, or a reason is empty; everything listed.
    """
    frame = read_table(path, error=InputError)
    problems = [
        Problem(what=f"no column {name!r}", hint=suggest(name, frame.columns))
        for name in (case_column, "reason")
        if name not in frame.columns
    ]
    if not problems:
        ids, reasons = frame[case_column].tolist(), frame["reason"].tolist()
        empty = [i for i, (c, r) in enumerate(zip(ids, reasons, strict=True)) if not c.strip() or not r.strip()]
        twice = [i for i, c in enumerate(ids) if c in ids[:i]] if len(set(ids)) < len(ids) else []
        problems += [Problem(what="a case without a reason, or a reason without a case", where=row_list(empty))] * bool(
            empty
        )
        problems += [Problem(what="a case that is named before", where=row_list(twice))] * bool(twice)
    if problems:
        raise InputError(
            f"{path} cannot be used to retire cases", problems=problems, hint="One row per case: its id and the reason."
        )
    return tuple(Retired(case_id=c, reason=r.strip()) for c, r in zip(ids, reasons, strict=True))


def without_retired(frame: pd.DataFrame, case_column: str, retired: Sequence[Retired], table: Path) -> pd.DataFrame:
    """The rows that are not retired. CaseTableError if that leaves none."""
    if not retired or case_column not in frame.columns:
        return frame
    gone = {r.case_id for r in retired}
    kept = frame[~frame[case_column].isin(gone)].reset_index(drop=True)
    if kept.empty:
        raise CaseTableError(f"{table}: every case is retired", hint="A test set needs at least one case.")
    return kept


def draw_cases(
    frame: pd.DataFrame, draw: Draw, *, case_column: str, patient_column: str | None, table: Path
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The drawn rows in the order of the pool, and the record that lets anybody draw them again.

    Patients are ranked by SHA-256 of seed and patient identifier, and taken whole in that order until at least `n`
    cases are drawn; so the draw depends neither on the order of the rows nor on the version of any library, and in a
    pool that grows the earlier patients keep their rank. With `by`, every group gets its share of `n` (largest
    remainders), and a patient whose cases differ in that column belongs to a group of those values together.

    Raises
    ------
    InputError
        If the pool is too small, or lacks the column.
    """
    if draw.by is not None and draw.by not in frame.columns:
        raise InputError(f"{table} has no column {draw.by!r}", hint=suggest(draw.by, frame.columns))
    if draw.n > len(frame):
        raise InputError(f"{table} has {len(frame)} cases, {draw.n} were to be drawn", hint="Draw fewer.")
    ids = frame[case_column].tolist()
    named = frame[patient_column].tolist() if patient_column in frame.columns else [""] * len(ids)
    patients = [f"p:{p}" if p.strip() else f"c:{c}" for p, c in zip(named, ids, strict=True)]
    rows: dict[str, list[int]] = defaultdict(list)
    for i, patient in enumerate(patients):
        rows[patient].append(i)
    groups = _groups(frame, draw.by, rows)
    wanted = _shares({g: sum(len(rows[p]) for p in members) for g, members in groups.items()}, draw.n)
    chosen: list[int] = []
    counts = []
    for group, members in groups.items():
        taken: list[int] = []
        for patient in sorted(members, key=lambda p: (_rank(draw.seed, p), p)):
            if len(taken) >= wanted[group]:
                break
            taken += rows[patient]
        chosen += taken
        counts.append({"pool": sum(len(rows[p]) for p in members), "wanted": wanted[group], "drawn": len(taken)})
    drawn = frame.iloc[sorted(chosen)].reset_index(drop=True)
    record = {
        "algorithm": ALGORITHM,
        "seed": draw.seed,
        "by": draw.by,
        "wanted": draw.n,
        "drawn_cases": len(drawn),
        "drawn_patients": len({patients[i] for i in chosen}),
        "pool_cases": len(frame),
        "pool_patients": len(rows),
        "pool_digest": table_digest(frame),
        # without their names, which may be values of a sealed column
        "groups": sorted(counts, key=lambda c: (-c["pool"], c["drawn"])),
    }
    return drawn, record


def _rank(seed: int, patient: str) -> str:
    return hashlib.sha256(f"{seed}\n{patient}".encode()).hexdigest()


def _groups(frame: pd.DataFrame, by: str | None, rows: Mapping[str, Sequence[int]]) -> dict[tuple[str, ...], list[str]]:
    if by is None:
        return {(): list(rows)}
    cells = [c.strip() for c in frame[by].tolist()]
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for patient, at in rows.items():
        groups[tuple(sorted({cells[i] for i in at}))].append(patient)
    return dict(sorted(groups.items()))


def _shares(sizes: Mapping[tuple[str, ...], int], n: int) -> dict[tuple[str, ...], int]:
    """Split `n` in proportion to `sizes` by largest remainders; ties go to the larger, then the first group."""
    total = sum(sizes.values())
    exact = {g: divmod(n * size, total) for g, size in sizes.items()}
    shares = Counter({g: whole for g, (whole, _) in exact.items()})
    rest = n - sum(shares.values())
    for group in sorted(sizes, key=lambda g: (-exact[g][1], -sizes[g], g))[:rest]:
        shares[group] += 1
    return dict(shares)

"""The lesions of the reference standard, case by case: where they lie, how large they are, and what they are called.

A lesion table (CSV or Parquet) has one row per lesion: `case_id`, a place (`x, y[, z]` of the centre, or a box `x0,
y0[, z0], x1, y1[, z1]`, in mm), optionally `diameter_mm`, and any columns to group lesions by. The case table names it
in the reference column, one for all cases or one each. A case that names a table and has no row in it has no lesion; an
empty cell is a missing reference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from evalsuite.errors import EvalsuiteError, InputError, Problem
from evalsuite.imaging.points import Lie
from evalsuite.models.marks import is_box, place_columns
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.testset.reference_files import ReferenceFiles
from evalsuite.testset.table import parse_table, row_list

DIAMETER = "diameter_mm"
_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionMask:
    """Where the lesions of one case lie, voxel by voxel: `voxel (v,)`, ascending, counts through the image along its
    last axis first; `lesion (v,)` says whose each is, from 0."""

    lie: Lie
    voxel: np.ndarray
    lesion: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseLesions:
    """The lesions of one case: `place (k, axes)` of their centres, or `(k, 2 axes)` of boxes, lower corner first;
    `diameter_mm (k,)` NaN where not stated; `groups` the texts of the columns that lesions are grouped by, `(k,)`;
    `mask` their voxels, where the reference is a mask."""

    place: np.ndarray
    box: bool
    diameter_mm: np.ndarray
    groups: dict[str, tuple[str, ...]]
    mask: LesionMask | None = None

    @property
    def n(self) -> int:
        """How many there are."""
        return len(self.place)


def with_lesions(
    protocol: StudyProtocol, frame: pd.DataFrame, case_id: Sequence[str], files: ReferenceFiles
) -> pd.DataFrame:
    """The frame with its reference column's cells, names of lesion tables, replaced by what these say of each case:
    `CaseLesions`, or "" where the cell is empty.

    Raises
    ------
    InputError
        Everything that is wrong with the lesion tables at once, by table, column and case.
    LockError
        If a table is not the one that was locked.
    """
    column = str(protocol.task.reference)
    if column not in frame.columns:
        raise InputError(
            f"The locked test set has no reference column '{column}'.",
            hint=f"Sealed columns: {', '.join(map(str, frame.columns))}. Correct task.reference or lock the set again.",
        )
    cells = [str(c) for c in frame[column]]
    problems: list[Problem] = []
    tables: dict[str, dict[str, CaseLesions]] = {}
    for cell in dict.fromkeys(c for c in cells if c.strip()):
        made = lesion_table(protocol, cell, files, problems)
        if made is not None:
            tables[cell] = made
    if len({(lesions.box, lesions.place.shape[1]) for made in tables.values() for lesions in made.values()}) > 1:
        problems.append(Problem("some tables have points and some boxes, or their axes differ", f"column {column}"))
    if problems:
        raise InputError(
            f"The lesion tables of reference column '{column}' have {len(problems)} problem"
            f"{'s' if len(problems) > 1 else ''}.",
            problems=problems,
            hint="One row per lesion: case_id, x, y, z of its centre or x0, y0, x1, y1 of its box, in millimetres.",
        )
    like = next((lesions for made in tables.values() for lesions in made.values()), None)
    found = [
        "" if not cell.strip() else tables[cell].get(case, _none(protocol, like))
        for cell, case in zip(cells, case_id, strict=True)
    ]
    return frame.assign(**{column: pd.Series(found, index=frame.index, dtype=object)})


def _none(protocol: StudyProtocol, like: CaseLesions | None) -> CaseLesions:
    axes = 2 if like is None else like.place.shape[1]
    return CaseLesions(
        place=np.zeros((0, axes)),
        box=like is not None and like.box,
        diameter_mm=np.zeros(0),
        groups=dict.fromkeys(_columns(protocol), ()),
    )


def _columns(protocol: StudyProtocol) -> list[str]:
    return [s.column or s.name for s in protocol.task.lesion_strata]


def lesion_table(
    protocol: StudyProtocol, cell: str, files: ReferenceFiles, problems: list[Problem]
) -> dict[str, CaseLesions] | None:
    """The lesions of one table by case; what is wrong with it goes to `problems`, and there is nothing."""
    data = files.read(cell)
    if data is None:
        problems.append(Problem("no file of the locked test set", cell, "lock the set again with --protocol"))
        return None
    try:
        table = parse_table(data, Path(cell), error=InputError)
    except EvalsuiteError as error:
        problems.append(Problem(error.message))
        problems.extend(error.problems)
        return None
    case_column = next((c for c in (protocol.unit.case, "case_id") if c in table.columns), None)
    place = place_columns(table.columns)
    groups = _columns(protocol)
    n_before = len(problems)
    if case_column is None:
        problems.append(Problem(f"no column '{protocol.unit.case}'", cell))
    if place is None:
        problems.append(Problem("no columns that say where a lesion lies", cell, "x, y, z or x0, y0, x1, y1"))
    problems += [Problem(f"no column '{c}'", cell, "task.lesion_strata names it") for c in groups if c not in table]
    if case_column is None or place is None or len(problems) > n_before:
        return None
    ids = [str(c) for c in table[case_column]]
    numbers = np.array([[_number(str(v)) for v in table[c]] for c in place], dtype=np.float64).T.reshape(-1, len(place))
    diameter = np.full(len(ids), np.nan)
    if DIAMETER in table.columns:
        texts = [str(v).strip() for v in table[DIAMETER]]
        diameter = np.array([_number(v) for v in texts])
        wrong = np.array([bool(v) for v in texts]) & ~(diameter > 0.0)
        if wrong.any():
            where = f"{cell}, {row_list(np.flatnonzero(wrong).tolist())}"
            problems.append(Problem(f"{DIAMETER} is not a number above 0", where))
    strange = ~np.isfinite(numbers).all(axis=1)
    if strange.any():
        where = f"{cell}, {row_list(np.flatnonzero(strange).tolist())}"
        problems.append(Problem("a place is not given in finite numbers", where, "in millimetres, with a point"))
    elif is_box(place):
        axes = len(place) // 2
        turned = (numbers[:, axes:] <= numbers[:, :axes]).any(axis=1)
        if turned.any():
            where = f"{cell}, {row_list(np.flatnonzero(turned).tolist())}"
            problems.append(Problem("a box has no extent, or its corners are exchanged", where))
    if len(problems) > n_before:
        return None
    rows_of: dict[str, list[int]] = {}
    for i, case in enumerate(ids):
        rows_of.setdefault(case, []).append(i)
    return {
        case: CaseLesions(
            place=numbers[rows],
            box=is_box(place),
            diameter_mm=diameter[rows],
            groups={c: tuple(str(table[c].iat[i]) for i in rows) for c in groups},
        )
        for case, rows in rows_of.items()
    }


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan

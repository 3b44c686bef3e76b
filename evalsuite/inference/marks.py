"""Recorded marks: joining a detection device's marks to the cases of a locked test set, none added, none lost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evalsuite.errors import CaseTableError, Problem
from evalsuite.inference.predictions import (
    DEVICE,
    NO_PREDICTION,
    Predictions,
    cells_of_lists,
    make_predictions,
    to_frame,
)
from evalsuite.models.marks import is_box

if TYPE_CHECKING:
    import pandas as pd

INCOMPLETE = "a mark lacks its score or a part of its place"
NOT_FINITE = "a mark's score or place is not finite"
OUTSIDE = "a mark lies outside the image"
WRONG_CORNERS = "a box has its upper corner below its lower one"
_SHOWN = 5
#: Whether any of a case's places (m, axes), or boxes (m, 2 axes), shares nothing with its image.
Outside = Callable[[str, np.ndarray], bool]


def join_marks(
    table: pd.DataFrame,
    *,
    case_ids: Sequence[str],
    all_ids: Sequence[str],
    model: dict[str, Any],
    place: Sequence[str],
    required: Sequence[str] | None = None,
    outside: Outside | None = None,
    conditions: Collection[str] = (),
) -> Predictions:
    """Marks of each of `case_ids`, in their order, from a table with one row per mark (`open_recorded`).

    Readers' marks follow the device's, by `rater` and `condition`: what is said of a case holds of each reading of it,
    but that a reading without any row is not there at all. So do the device's under `conditions` (degraded images).

    - A case without any row of the device is failed, "no prediction recorded": that a device found nothing must be
      said, by one row without score and place.
    - A row whose status is not ok makes its case so; the case's marks, if it has any, are left out and counted.
    - A mark with a score or place that is missing or not finite, or a box with its corners exchanged, fails its case;
      so does one that shares nothing with the case's image, where `outside` can tell: it was made on another image, or
      in other coordinates.

    The marks of a case are ordered by descending score, then by place, whatever order the table has. Of `required` the
    first names the scores; any further one is a figure of the whole reading (its time), which every row of the reading
    states or leaves empty.

    Raises
    ------
    CaseTableError
        Everything wrong with the table at once: marks of cases the set (`all_ids`) does not have, of the device under
        conditions, a required column that is absent, a case with several statuses or times.
    """
    score, *timed = required or ("score",)
    columns = (score, *place)
    statuses = table["status"].tolist()
    problems = [*_problems(table, set(all_ids), score, conditions), *_of_readings(table, timed)]
    if problems:
        raise CaseTableError("the recorded marks do not fit the test set", problems=problems)
    numbers = table[list(columns)].to_numpy(dtype=np.float64)
    rows_of: dict[str, dict[tuple[str, str], list[int]]] = {}
    for i, (case, *who) in enumerate(zip(table["case_id"], table["rater"], table["condition"], strict=True)):
        rows_of.setdefault(case, {}).setdefault((who[0], who[1]), []).append(i)
    keys: dict[str, list[str | None]] = {n: [] for n in ("case_id", "rater", "condition", "status", "reason")}
    cells: list[np.ndarray | None] = []
    stated_once: dict[str, list[float]] = {name: [] for name in timed}
    of_rows = {name: table[name].to_numpy(dtype=np.float64) for name in timed}
    left_out = duplicates = 0
    alone = (DEVICE, "")
    readings = [
        (case, who, found.get(who, []))
        for case, found in ((case, rows_of.get(case, {})) for case in case_ids)
        for who in (alone, *sorted(set(found) - {alone}))
    ]
    for case, (rater, condition), rows in readings:
        stated = next((statuses[i] for i in rows if statuses[i] != "ok"), None)
        marks = numbers[rows]
        marks = marks[~np.isnan(marks).all(axis=1)]
        reason = _said(table, rows)
        if not rows:
            status, reason = "failed", NO_PREDICTION
        elif stated is not None:
            status, left_out = stated, left_out + len(marks)
        else:
            reason = _unusable(marks, place)
            if reason is None and outside is not None and len(marks) and outside(case, marks[:, 1:]):
                reason = OUTSIDE
            status = "ok" if reason is None else "failed"
        for name, value in zip(keys, (case, rater, condition or None, status, reason), strict=True):
            keys[name].append(value)
        if status == "ok":
            marks = marks[np.lexsort((*marks.T[:0:-1], -marks[:, 0]))]
            duplicates += len(marks) - len(np.unique(marks, axis=0))
        cells.append(marks if status == "ok" else None)
        for name, values in stated_once.items():
            known = of_rows[name][rows]
            values.append(next((float(v) for v in known if not np.isnan(v)), np.nan))
    frame = to_frame(keys, {name: np.array(values, dtype=np.float64) for name, values in stated_once.items()})
    for k, name in enumerate(columns):
        frame[name] = cells_of_lists(None if c is None else c[:, k] for c in cells)
    record: dict[str, Any] = {"inference": {"kind": "recorded", "n_cases": len(case_ids)}}
    record["inference"]["n_marks"] = sum(len(c) for c in cells if c is not None)
    if left_out:
        record["inference"]["marks_of_cases_not_ok_left_out"] = left_out
    if duplicates:
        record["inference"]["marks_given_twice"] = duplicates
    return make_predictions(frame, outputs=tuple(timed), lists=columns, model=model, record=record)


def _said(table: pd.DataFrame, rows: Sequence[int]) -> str | None:
    """The reason that the table gives for a case that is not ok."""
    if "reason" not in table.columns:
        return None
    return next((str(table["reason"].iat[i]) for i in rows if str(table["reason"].iat[i]).strip()), None)


def _unusable(marks: np.ndarray, place: Sequence[str]) -> str | None:
    """Why the marks of a case cannot be used, or None."""
    if np.isnan(marks).any():
        return INCOMPLETE
    if not np.isfinite(marks).all():
        return NOT_FINITE
    axes = len(place) // 2
    if is_box(place) and bool((marks[:, 1 + axes :] < marks[:, 1 : 1 + axes]).any()):
        return WRONG_CORNERS
    return None


def _problems(table: pd.DataFrame, known: set[str], score: str, conditions: Collection[str]) -> list[Problem]:
    problems: list[Problem] = []
    if score not in table.columns:
        problems.append(
            Problem(f"the score {score} is absent", hint="name the column of the marks' scores in task.score")
        )
    unknown = list(dict.fromkeys(case for case in table["case_id"].tolist() if case not in known))
    if unknown:
        problems.append(
            Problem(
                f"{len(unknown)} case(s) are not in the test set",
                where=_first(unknown),
                hint="leave their rows out, or lock a test set that has them",
            )
        )
    if ((table["rater"] == DEVICE) & ~table["condition"].isin(["", *conditions])).any():
        what = "marks of the device under a condition are not read"
        problems.append(
            Problem(what, "column condition", "leave the device's condition empty: one table per condition")
        )
    several = table[table["status"] != "ok"].groupby(["case_id", "rater", "condition"])["status"].nunique()
    mixed = list(dict.fromkeys(str(case) for case, *_ in several[several > 1].index))
    if mixed:
        problems.append(Problem(f"{len(mixed)} case(s) have several statuses", _first(mixed), "give each case one"))
    return problems


def _of_readings(table: pd.DataFrame, names: Sequence[str]) -> Iterator[Problem]:
    """What is wrong with columns that state one number for a whole reading."""
    for name in names:
        if name not in table.columns:
            yield Problem(f"the column {name} is absent", hint="record it, or leave its endpoints out of the protocol")
            continue
        several = table.groupby(["case_id", "rater", "condition"])[name].nunique()
        cases = list(dict.fromkeys(str(case) for case, *_ in several[several > 1].index))
        if cases:
            yield Problem(
                f"{len(cases)} case(s) have a reading with several values of {name}", _first(cases),
                hint="give every row of a reading the same, or state it once",
            )  # fmt: skip


def _first(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_SHOWN]) + (", …" if len(ids) > _SHOWN else "")

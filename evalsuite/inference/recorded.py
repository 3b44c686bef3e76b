"""Recorded predictions: joining a device's answers to the cases of a locked test set, none added, none lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evalsuite.errors import CaseTableError, Problem
from evalsuite.inference.predictions import (
    DEVICE,
    MISSING,
    NO_PREDICTION,
    NOT_FINITE,
    Predictions,
    make_predictions,
    to_frame,
)
from evalsuite.types import OUTPUT_STATUSES

if TYPE_CHECKING:
    import pandas as pd

NOT_OUTPUTS = ("case_id", "rater", "condition", "status", "reason", "model_digest")
NOT_A_NUMBER = "output is not a number"
_SHOWN = 5
_MISSING_WORDS = frozenset(("", "na", "n/a", "null", "none"))


def join_recorded(
    table: pd.DataFrame,
    *,
    case_ids: Sequence[str],
    all_ids: Sequence[str],
    model: dict[str, Any],
    required: Sequence[str] | None = None,
) -> Predictions:
    """Predictions for `case_ids`, in their order, from a table with one row per case (and rater, and condition).

    - A case without a row for the rater "device" is failed: "no prediction recorded".
    - `status` is honoured (empty: ok); rows that are not ok carry no output, and `record` counts outputs left out.
    - An ok row with an output that is missing or not finite is failed with that reason. Where `required` names the
      outputs that matter, only those decide; else all do. Columns without a single number are no outputs.

    Raises
    ------
    CaseTableError
        Everything wrong with the table at once: rows for cases the set (`all_ids`) does not have, two rows for one
        case, rater and condition, an unknown status, a required output that is absent, no output column.
    """
    if "case_id" not in table.columns:
        raise CaseTableError("the recorded predictions have no column case_id", hint="Add it: one row per case.")
    ids = _texts(table, "case_id")
    raters = [r or DEVICE for r in _texts(table, "rater")]
    conditions = _texts(table, "condition")
    statuses = [s or "ok" for s in _texts(table, "status")]
    reasons = _texts(table, "reason")
    numbers, states, skipped = _outputs(table)
    names = tuple(numbers)
    deciding = names if required is None else tuple(n for n in names if n in set(required))

    problems = _problems(ids, raters, conditions, statuses, set(all_ids), names, required)
    if problems:
        raise CaseTableError("the recorded predictions do not fit the test set", problems=problems)

    order = {case: i for i, case in enumerate(case_ids)}
    # A case whose only answers are in some condition (on degraded images, say) has none of its own.
    own = zip(ids, raters, conditions, strict=True)
    has_device = {case for case, rater, condition in own if rater == DEVICE and condition is None}
    rows: list[tuple[tuple[int, bool, str, str], int | None, str]] = [
        ((order[case], raters[i] != DEVICE, raters[i], conditions[i] or ""), i, case)
        for i, case in enumerate(ids)
        if case in order
    ]
    rows += [((order[case], False, DEVICE, ""), None, case) for case in case_ids if case not in has_device]
    rows.sort(key=lambda row: row[0])

    keys: dict[str, list[str | None]] = {n: [] for n in ("case_id", "rater", "condition", "status", "reason")}
    source: list[int] = []
    n_discarded = 0
    for (_, _, rater, _), i, case in rows:
        status, reason = ("failed", NO_PREDICTION) if i is None else (statuses[i], reasons[i])
        if i is not None and status == "ok":
            reason = next((states[n][i] for n in deciding if states[n][i]), None)
            status = "failed" if reason else "ok"
        elif i is not None:
            n_discarded += any(np.isfinite(numbers[n][i]) for n in names)
        cells = (case, rater, conditions[i] if i is not None else None, status, reason)
        for name, value in zip(keys, cells, strict=True):
            keys[name].append(value)
        source.append(i if i is not None and status == "ok" else -1)
    take = np.array(source, dtype=np.intp)
    outputs = {n: np.where(take >= 0, np.append(numbers[n], np.nan)[take], np.nan) for n in names}
    record: dict[str, Any] = {"inference": {"kind": "recorded", "n_cases": len(case_ids)}}
    if skipped:
        record["inference"]["columns_without_numbers"] = skipped
    if n_discarded:
        record["inference"]["rows_not_ok_with_outputs_left_out"] = n_discarded
    digests = sorted({d for d in _texts(table, "model_digest") if d})
    if digests:
        record["inference"]["model_digests_in_table"] = digests
    return make_predictions(to_frame(keys, outputs), outputs=names, model=model, record=record)


def _texts(table: pd.DataFrame, name: str) -> list[str | None]:
    if name not in table.columns:
        return [None] * len(table)
    return [None if v is None or v != v or str(v).strip() == "" else str(v).strip() for v in table[name].tolist()]


def _outputs(table: pd.DataFrame) -> tuple[dict[str, np.ndarray], dict[str, list[str | None]], list[str]]:
    """Numbers (NaN where there is none), the reason per cell where it is no usable number, columns without numbers."""
    numbers: dict[str, np.ndarray] = {}
    states: dict[str, list[str | None]] = {}
    skipped: list[str] = []
    for name in (str(c) for c in table.columns if c not in NOT_OUTPUTS):
        cells = [_number(cell) for cell in table[name].tolist()]
        is_text = table[name].dtype.kind not in "fiub"
        if is_text and all(state in (NOT_A_NUMBER, MISSING) for _, state in cells):
            skipped.append(name)
            continue
        numbers[name] = np.array([value for value, _ in cells], dtype=np.float64)
        states[name] = [state for _, state in cells]
    return numbers, states, skipped


def _number(cell: object) -> tuple[float, str | None]:
    if cell is None or str(cell).strip().lower() in _MISSING_WORDS:
        return np.nan, MISSING
    try:
        value = float(cell if isinstance(cell, (int, float)) else str(cell))
    except ValueError:
        return np.nan, NOT_A_NUMBER
    if isinstance(cell, float) and np.isnan(value):  # how an empty cell of a column of numbers is read
        return np.nan, MISSING
    return (value, None) if np.isfinite(value) else (np.nan, NOT_FINITE)


def _problems(
    ids: list[str | None],
    raters: list[str],
    conditions: list[str | None],
    statuses: list[str],
    known: set[str],
    names: tuple[str, ...],
    required: Sequence[str] | None,
) -> list[Problem]:
    problems: list[Problem] = []
    if n_empty := sum(case is None for case in ids):
        problems.append(Problem(f"{n_empty} row(s) have no case_id"))
    unknown = list(dict.fromkeys(case for case in ids if case is not None and case not in known))
    if unknown:
        problems.append(
            Problem(
                f"{len(unknown)} case(s) are not in the test set",
                where=_first(unknown),
                hint="leave their rows out, or lock a test set that has them",
            )
        )
    seen: set[tuple[str | None, str, str | None]] = set()
    twice: dict[str, None] = {}
    for key in zip(ids, raters, conditions, strict=True):
        if key in seen and key[0] is not None:
            twice[key[0]] = None
        seen.add(key)
    if twice:
        problems.append(
            Problem(
                f"{len(twice)} case(s) have several rows for one rater and condition",
                where=_first(list(twice)),
                hint="keep one row each",
            )
        )
    if n_bad := sum(status not in OUTPUT_STATUSES for status in statuses):
        problems.append(
            Problem(
                f"{n_bad} row(s) have an unknown status",
                where="column status",
                hint=f"use {', '.join(OUTPUT_STATUSES)}",
            )
        )
    if not names:
        problems.append(Problem("no column has numbers", hint="add one column per output, such as p_malignant"))
    for name in required or ():
        if name not in names:
            problems.append(
                Problem(f"the output {name} is absent", where=f"columns with numbers: {', '.join(names) or 'none'}")
            )
    return problems


def _first(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_SHOWN]) + (", …" if len(ids) > _SHOWN else "")

"""Recorded predictions: a table somebody's device (or a reader) filled in elsewhere, opened like any other model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from evalsuite.errors import CaseTableError, Problem
from evalsuite.models.base import RecordedPredictions
from evalsuite.models.contract import Contract, OutputSpec, contract_digest, load_contract
from evalsuite.models.marks import place_columns
from evalsuite.record.digest import digest_json, sha256_file
from evalsuite.types import OUTPUT_STATUSES

_SCORE = "score"  # a table with a score and a place in every row is one of marks
KEYS = ("rater", "condition", "status", "reason", "model_digest")
_SHOWN = 5


def open_recorded(path: Path, *, contract: Path | None = None, case_column: str = "case_id") -> RecordedPredictions:
    """Read a table of predictions (CSV or Parquet).

    Parameters
    ----------
    contract
        Optional contract naming the outputs; without one every column that holds numbers is an output.
    case_column
        Column with the case identifiers; `case_id` is taken where it is absent.

    Raises
    ------
    CaseTableError
        If the case column is missing, a (case, rater, condition) occurs twice (but in a table of marks), a status is
        unknown, a cell of an output is not a number, or no output is left. All problems at once, with case identifiers
        and never with cell contents.
    """
    from evalsuite.testset.table import read_table

    path = Path(path)
    frame = read_table(path, error=CaseTableError)
    column = next((c for c in (case_column, "case_id") if c in frame.columns), None)
    if column is None:
        raise CaseTableError(
            f"predictions {path.name} have no column {case_column}",
            problems=[Problem(what=f"columns found: {', '.join(map(str, frame.columns))}")],
            hint="One row per case, with the case identifier of the case table in this column.",
        )
    if frame.empty:
        raise CaseTableError(f"predictions {path.name} have no rows")
    notes: list[str] = []
    problems: list[Problem] = []
    table = pd.DataFrame({"case_id": frame[column].astype(str)})
    table["rater"] = _texts(frame, "rater", default="device")
    table["condition"] = _texts(frame, "condition", default="")
    table["status"] = _texts(frame, "status", default="ok")
    if "reason" in frame.columns:
        table["reason"] = _texts(frame, "reason", default="")
    place = (place_columns(frame.columns) or ()) if _SCORE in frame.columns else ()
    _check_keys(table, problems, marks=bool(place))
    declared = load_contract(contract) if contract is not None else None
    files = {} if place else _file_columns(frame, path.parent, {column, "case_id", *KEYS})
    outputs = _add_outputs(frame.drop(columns=list(files)), table, column, declared, problems, notes, files)
    if problems:
        n = len(problems)
        raise CaseTableError(f"predictions {path.name} have {n} problem{'s' * (n != 1)}", problems=problems)
    agreed = declared or Contract(outputs=tuple(OutputSpec(name=name, meaning="value") for name in outputs))
    digests = sorted(set(frame["model_digest"]) - {""}) if "model_digest" in frame.columns else []
    held = _digests_of(files, path.parent)
    return RecordedPredictions(
        name=path.stem,
        digest=_digest(path, held),
        table=table,
        contract=agreed,
        contract_digest=contract_digest(agreed),
        model_digests=tuple(map(str, digests)),
        notes=("Predictions were recorded elsewhere; this suite did not run the model.", *notes),
        size_bytes=path.stat().st_size,
        place=place,
        folder=path.parent,
        files=files,
        file_digests=held,
    )


def _file_columns(frame: pd.DataFrame, folder: Path, reserved: set[str]) -> dict[str, pd.Series]:
    """Columns of which half or more of the cells that are not empty name an existing file: masks."""
    found = {}
    for name in (str(c) for c in frame.columns if c not in reserved):
        cells = frame[name].astype(str).str.strip()
        given = [c for c in cells.unique() if c]
        if given and _half_are_files(given, folder):
            found[name] = cells
    return found


def _half_are_files(cells: list[str], folder: Path) -> bool:
    """Whether at least half of the cells name a file; a long column of numbers is left as soon as that is settled."""
    absent = 0
    for cell in cells:
        absent += not os.path.isfile(os.path.join(folder, cell))  # texts, not Path: there may be a million
        if 2 * absent > len(cells):
            return False
    return True


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a text that cannot be the name of a file
        return False


def _digests_of(files: Mapping[str, pd.Series], folder: Path) -> dict[str, str]:
    cells = sorted({cell for column in files.values() for cell in column if cell and _is_file(folder / cell)})
    return {cell: sha256_file(folder / cell) for cell in cells}


def _digest(path: Path, held: Mapping[str, str]) -> str:
    """The SHA-256 of the table; with those of all files it names, where it names any."""
    table = sha256_file(path)
    return table if not held else digest_json({"table": table, "files": dict(held)})


def _texts(frame: pd.DataFrame, name: str, *, default: str) -> pd.Series[str]:
    if name not in frame.columns:
        return pd.Series(default, index=frame.index, dtype=object)
    values = frame[name].astype(str).str.strip()
    return values.mask(values == "", default)


def _check_keys(table: pd.DataFrame, problems: list[Problem], *, marks: bool) -> None:
    empty = np.flatnonzero((table["case_id"].str.strip() == "").to_numpy())
    if empty.size:
        problems.append(
            Problem(what="no case identifier", where=f"row {', '.join(str(i + 2) for i in empty[:_SHOWN])}")
        )
    keys = ["case_id", "rater", "condition"]
    twice = table[table.duplicated(keys)]
    if len(twice) and not marks:
        what = (
            "several rows for one case" if set(table["rater"]) == {"device"} else "several rows for one case and rater"
        )
        problems.append(Problem(what=what, where=_cases(twice["case_id"]), hint="Keep one row each."))
    unknown = table[~table["status"].isin(OUTPUT_STATUSES)]
    if len(unknown):
        hint = f"allowed: {', '.join(OUTPUT_STATUSES)}"
        problems.append(Problem(what="unknown status", where=_cases(unknown["case_id"]), hint=hint))


def _add_outputs(
    frame: pd.DataFrame,
    table: pd.DataFrame,
    column: str,
    declared: Contract | None,
    problems: list[Problem],
    notes: list[str],
    files: Mapping[str, pd.Series],
) -> list[str]:
    reserved = {column, "case_id", *KEYS}
    if declared is None:
        names = [str(c) for c in frame.columns if c not in reserved]
    else:
        names = list(declared.columns)
        for name in (n for n in names if n not in frame.columns and n not in files):
            problems.append(Problem(what=f"column {name} is missing", hint="The contract names it as an output."))
        names = [n for n in names if n in frame.columns]
    outputs, ignored = [], []
    for name in names:
        text = frame[name].astype(str).str.strip()
        numbers = pd.to_numeric(text.mask(text == ""), errors="coerce").to_numpy(dtype=np.float64)
        bad = np.isnan(numbers) & ~text.str.lower().isin(("", "nan", "na", "none", "null")).to_numpy()
        if declared is None and bad.sum() > (~np.isnan(numbers)).sum():
            ignored.append(name)  # mostly words: a description, not a score
            continue
        if bad.any():
            problems.append(Problem(what=f"{name} is not a number", where=_cases(table["case_id"][bad])))
        table[name] = numbers
        outputs.append(name)
    if ignored:
        notes.append(f"Columns of words were left out: {', '.join(ignored)}.")
    outputs += [name for name in files if name not in outputs]
    if not outputs and not problems:
        problems.append(Problem(what="no column of numbers beside the case identifier"))
    return outputs


def _cases(ids: pd.Series[str]) -> str:
    unique = list(dict.fromkeys(ids))
    more = f" and {len(unique) - _SHOWN} more" if len(unique) > _SHOWN else ""
    return f"case {', '.join(unique[:_SHOWN])}{more}"

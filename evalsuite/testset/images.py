"""From the cells of a case table to the files they name: one image, or a folder that holds a DICOM series."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evalsuite.errors import Problem
from evalsuite.record.files import walk_files

if TYPE_CHECKING:
    import pandas as pd

# Where a copied file lies that the table names as ../x: a folder name no table uses by chance.
_PARENT = "__parent__"
_SAMPLE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A path column: its cells relative to the table's folder ("" where empty), and what is wrong with them."""

    cells: tuple[str, ...]
    problems: tuple[Problem, ...]


def path_columns(frame: pd.DataFrame, folder: Path, never: Iterable[str]) -> list[str]:
    """Columns whose cells name files or folders.

    `image` always is one. Any other column is one when at least half of its distinct non-empty cells (of 64 evenly
    spaced ones, where there are more) name an existing file, or a folder that no second case of the column names. So a
    forgotten file shows as missing instead of turning its column into text, and a word that happens to be the name of a
    folder does not.
    """
    never = set(never)
    found = []
    for name in frame.columns:
        candidate = name not in never and not name.startswith("dicom:")
        if name == "image" or (candidate and _names_files(frame[name], folder)):
            found.append(name)
    return found


def _names_files(column: pd.Series[str], folder: Path) -> bool:
    counts = column[column != ""].value_counts(sort=False)
    step = max(1, -(-len(counts) // _SAMPLE))
    sample = list(counts.iloc[::step].items())
    hits = 0
    for cell, n in sample:
        kind = _kind(os.path.join(folder, _relative(str(cell), folder)))
        hits += kind == "file" or (n == 1 and kind == "folder")
    return hits > 0 and 2 * hits >= len(sample)


def resolve(cells: Sequence[str], case_ids: Sequence[str], column: str, folder: Path) -> Resolved:
    """Paths of one column relative to `folder`, and a problem for every file that is not there."""
    known: dict[str, tuple[str, str]] = {}
    paths, problems = [], []
    for cell, case_id in zip(cells, case_ids, strict=True):
        if cell not in known:
            known[cell] = _resolve_cell(cell, folder) if cell.strip() else ("", "")
        path, fault = known[cell]
        paths.append(path)
        if fault:
            problems.append(Problem(what=f"{path}: {fault}", where=f"case {case_id}, column {column!r}"))
    return Resolved(cells=tuple(paths), problems=tuple(problems))


def _resolve_cell(cell: str, folder: Path) -> tuple[str, str]:
    relative = _relative(cell, folder)
    path = os.path.join(folder, relative)  # texts, not Path: a table may name a million files
    kind = _kind(path)
    if kind == "" and "\\" in cell:
        # a table written on Windows
        relative = _relative(cell.replace("\\", "/"), folder)
        path = os.path.join(folder, relative)
        kind = _kind(path)
    if kind == "folder":
        try:
            return relative, "" if walk_files(Path(path)) else "the folder is empty"
        except OSError as e:
            return relative, f"the folder cannot be read ({e.strerror})"
    if kind != "file":
        return relative, "no such file"
    return relative, "" if os.access(path, os.R_OK) else "no permission to read it"


def _relative(cell: str, folder: Path) -> str:
    text = os.path.relpath(cell, folder) if os.path.isabs(cell) else os.path.normpath(cell)
    return text.replace(os.sep, "/")


def _kind(path: str) -> str:
    """ "file", "folder", or "" for what is neither, or not there."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # ValueError: a text with a null character
        return ""
    return "file" if stat.S_ISREG(mode) else ("folder" if stat.S_ISDIR(mode) else "")


def expand(paths: Iterable[str], root: Path) -> dict[str, tuple[str, ...]]:
    """Files each path below `root` stands for: itself, or all files inside the folder, sorted by name."""
    found: dict[str, tuple[str, ...]] = {}
    for path in paths:
        if path and path not in found:
            place = os.path.join(root, path)
            found[path] = (
                tuple(os.path.normpath(f"{path}/{name}") for name in walk_files(Path(place)))
                if os.path.isdir(place)
                else (path,)
            )
    return found


def stored_name(path: str) -> str:
    """Name of a file below the image root of a copied set: as in the table, `..` as a folder of its own name."""
    return "/".join(_PARENT if part == ".." else part for part in path.split("/"))


def files_of(paths: Iterable[str], files: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """Which locked files each path stands for: itself, or all locked files below it. `files` is sorted."""
    wanted = {p for p in paths if p}
    known = set(files)
    below: dict[str, list[str]] = {p: [] for p in wanted if p not in known}
    if below:
        for name in files:
            parent = name
            while "/" in parent:
                parent = parent.rsplit("/", 1)[0]
                if parent in below:
                    below[parent].append(name)
            if "." in below and not name.startswith("../"):
                below["."].append(name)
    return {p: (p,) if p in known else tuple(below[p]) for p in wanted}

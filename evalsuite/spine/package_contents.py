"""What of a run goes into a submission package: its sealed files, a line listing of its outputs, its software."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.record.canonical import canonical_json, read_json
from evalsuite.record.files import walk_files, writing
from evalsuite.record.sbom import bill_of_materials
from evalsuite.spine.folder import RunFolder
from evalsuite.spine.package_index import LISTINGS, RUNS, SBOMS, WITHHELD, build_index

if TYPE_CHECKING:
    import pandas as pd

INDEX, PAGE = "index.json", "index.html"


def copy_run(folder: RunFolder, data: Path, name: str) -> RunFolder:
    """Copy a run into the payload, without masks, maps and logs. Raises OutputError if it cannot be written."""
    target = data / RUNS / name
    for file in walk_files(folder.path):
        if file.startswith(WITHHELD):
            continue
        with writing(target / file):
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder.path / file, target / file)
    return RunFolder(target)


def derived_files(data: Path, software: str) -> Iterator[tuple[str, bytes]]:
    """Files that are made from the others, each as (path in the payload, bytes); the index last, as it names them.

    `verify` makes them again and compares. Write each before asking for the next.
    """
    from evalsuite.report.package_page import package_page

    for place in sorted((data / RUNS).iterdir()):
        folder = RunFolder(place)
        yield f"{SBOMS}/{place.name}.cdx.json", _readable(bill_of_materials(read_json(folder.record)))
        for table, suffix in (
            (folder.predictions, ""), (folder.baseline, ".baseline"), (folder.original, ".original")
        ):  # fmt: skip
            if table.exists():
                yield f"{LISTINGS}/{place.name}{suffix}.csv", line_listing(table)
    index = build_index(data, software)
    yield INDEX, canonical_json(index)
    yield PAGE, package_page(index).encode()


def line_listing(predictions: Path) -> bytes:
    """Sealed predictions as CSV: a row per case (and rater and condition), as the device answered; no reference.

    Numbers are written so that they read back equal, what was not there is empty, and lists are JSON.
    """
    from evalsuite.inference.predictions import read_predictions

    table = read_predictions(predictions).table
    lines = io.StringIO(newline="")
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow([str(c) for c in table.columns])
    writer.writerows([_cell(v) for v in row] for row in _rows(table))
    return lines.getvalue().encode()


def _rows(table: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    yield from table.itertuples(index=False, name=None)


def _cell(value: Any) -> str:
    import pandas as pd

    plain = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(plain, list | tuple | dict):
        return json.dumps(plain, separators=(",", ":"))
    if pd.isna(plain):
        return ""
    return repr(plain) if isinstance(plain, float) else str(plain)


def _readable(value: Any) -> bytes:
    """JSON for other programs and people: indented, keys in the order of its specification."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()

"""Maps of single cases in files: those of a run that is not finished, and those of its folder with their tables."""

from __future__ import annotations

import hashlib
import io
import math
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evalsuite.attribution.job import Attributed
from evalsuite.errors import IntegrityError, OutputError
from evalsuite.inference.predictions import read_parquet, write_parquet
from evalsuite.protocol.interpretability import Interpretability
from evalsuite.record.files import atomic_write

if TYPE_CHECKING:
    import pandas as pd

    from evalsuite.testset.types import Case

FOLDER, INDEX, VALUES = "attribution", "index.parquet", "values.parquet"
SCHEMA = "evalsuite/attribution/1"
_COLUMNS = ("case_id", "method", "measure", "variant", "value")
_INDEX = ("case_id", "method", "sign", "normalisation", "target", "file", "digest")
#: case_id, method, measure, variant, and the value where there is one.
Value = tuple[str, str, str, str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributions:
    """Files of maps by label and case id, a row per value (case, map, measure, variant, value), and for the record."""

    maps: Mapping[str, Mapping[str, Path]]
    values: tuple[Value, ...]
    asked: Interpretability
    target: str
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A group's values, and where its maps lie: those of hundreds of volumes do not fit into memory."""

    cases: tuple[Case, ...]
    found: Attributed
    files: dict[str, list[Path]]
    resumed: bool = False

    def map_of(self, label: str, i: int) -> np.ndarray:
        return read_map(self.files[label][i])

    def rows(self) -> Iterator[Value]:
        for (map_, measure, variant), values in self.found.values.items():
            for case, value in zip(self.cases, values.tolist(), strict=True):
                yield case.case_id, map_, measure, variant, value if math.isfinite(value) else None


def map_name(case_id: str) -> str:
    """The file of a case's map: a digest, because a case id may hold what a file name may not."""
    return f"{hashlib.sha256(case_id.encode()).hexdigest()[:24]}.npz"


def write_map(map_: np.ndarray, path: Path) -> None:
    """A map as `map` in a compressed numpy archive; the same bytes for the same map."""
    stream = io.BytesIO()
    np.savez_compressed(stream, map=np.asarray(map_, dtype=np.float32))
    atomic_write(path, stream.getvalue())


def read_map(path: Path) -> np.ndarray:
    """A map that `write_map` wrote, (*spatial) float32. IntegrityError if it is none."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = np.asarray(stored["map"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError):
        raise IntegrityError(f"{path.name} is not the map that was stored") from None
    if found.dtype != np.float32:
        raise IntegrityError(f"{path.name} is not the map that was stored")
    return found


def write_attributions(found: Attributions, arrays: Path) -> None:
    """`arrays`/attribution: a folder of maps per label, `index.parquet` of them and `values.parquet`.

    index: case_id, method, sign, normalisation, target, file (below that folder), digest (SHA-256 of the file).
    values: case_id, method, measure, variant, value (empty where there is none).

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    import pyarrow as pa

    folder = arrays / FOLDER
    signs = {m.label: "positive" if m.method == "grad_cam" else m.sign for m in found.asked.methods}
    rows = []
    try:
        shutil.rmtree(folder, ignore_errors=True)
        for label in found.maps:
            (folder / label).mkdir(parents=True)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}") from error
    for label, files in found.maps.items():
        for case_id, path in files.items():
            content = path.read_bytes()
            place = f"{label}/{path.name}"
            atomic_write(folder / place, content)
            digest = hashlib.sha256(content).hexdigest()
            rows.append((case_id, label, signs.get(label, "positive"), "none", found.target, place, digest))
    meta = {"schema": SCHEMA}
    table = {name: pa.array([row[k] for row in rows], pa.string()) for k, name in enumerate(_INDEX)}
    write_parquet(pa.table(table), meta, folder / INDEX)
    columns = {n: pa.array([v[k] for v in found.values], pa.string()) for k, n in enumerate(_COLUMNS[:-1])}
    columns["value"] = pa.array([v[-1] for v in found.values], pa.float64())
    write_parquet(pa.table(columns), meta, folder / VALUES)


def read_values(arrays: Path) -> pd.DataFrame | None:
    """The table of values of a run, NaN where there is none; None where the run has no maps.

    Raises IntegrityError if the file is damaged.
    """
    return _read(arrays / FOLDER / VALUES, _COLUMNS)


def read_index(arrays: Path) -> pd.DataFrame | None:
    """The table of a run's maps; None where it has none. Raises IntegrityError if the file is damaged."""
    return _read(arrays / FOLDER / INDEX, _INDEX)


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame | None:
    if not path.exists():
        return None
    found = read_parquet(path)
    if found is None or found[0].column_names != list(columns):
        raise IntegrityError(f"{path.name} in {path.parent.name} is damaged", hint="Restore the run folder.")
    table: pd.DataFrame = found[0].to_pandas()
    return table

"""What the device said about every case: one table, one digest, the same bytes whenever it is written."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evalsuite.errors import InputError, IntegrityError
from evalsuite.record.canonical import canonical_json
from evalsuite.record.files import output_error, sync_folder

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

PREDICTIONS_SCHEMA = "evalsuite/predictions/1"
KEYS = ("case_id", "rater", "condition", "status", "reason")
DEVICE = "device"
NO_PREDICTION = "no prediction recorded"
MISSING = "output is missing"
NOT_FINITE = "output is not finite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """The index test's answers on a locked test set.

    `table` has the columns case_id, rater, condition, status, reason and then `outputs` (float64, NaN where a case has
    none), in the order of the lock; every case has a row for the rater "device". Only rows with status ``ok`` carry
    outputs. `lists` are further columns whose cells hold several numbers, a tuple per case, such as the scores of its
    marks (None where it has no output). `digest` covers the table's contents, not the file they lie in. `record` says
    what ran, where and how long (empty when read back from a file); it never enters the file or the digest. `masks` is
    the digest of the masks of a model that draws them (see `evalsuite.inference.mask_store`), `mask_files` are where
    they lie; after reading back they are in the folder `arrays` beside the file.
    """

    table: pd.DataFrame
    outputs: tuple[str, ...]
    model: Mapping[str, Any]
    digest: str
    record: Mapping[str, Any] = field(default_factory=dict)
    masks: str | None = None
    mask_files: tuple[Path, ...] = ()
    lists: tuple[str, ...] = ()


def predictions_digest(
    table: pd.DataFrame, outputs: tuple[str, ...], masks: str | None = None, *, lists: tuple[str, ...] = ()
) -> str:
    """SHA-256 (hex) of the rows and columns, the same whatever library and version wrote the file.

    Column by column: name and length, then texts as JSON, one line each (null where absent), numbers as little-endian
    float64 with every NaN written as one and the same; of lists the length of each cell (-1 where there is none) and
    then all their numbers. Where there are masks, their digest follows.
    """
    sha = hashlib.sha256(f"{PREDICTIONS_SCHEMA}\n{len(table)}\n".encode())
    for name in KEYS:
        texts = [None if _absent(v) else str(v) for v in table[name].tolist()]
        sha.update(f"{json.dumps(name)} text\n".encode())
        sha.update(json.dumps(texts, ensure_ascii=False, separators=("\n", ":")).encode())
    for name in outputs:
        numbers = np.array(table[name].to_numpy(dtype=np.float64), dtype="<f8")
        numbers[np.isnan(numbers)] = np.nan
        sha.update(f"\n{json.dumps(name)} float64\n".encode())
        sha.update(numbers.tobytes())
    for name in lists:
        cells = table[name].tolist()
        sha.update(f"\n{json.dumps(name)} lists of float64\n".encode())
        sha.update(np.array([-1 if c is None else len(c) for c in cells], dtype="<i8").tobytes())
        sha.update(np.array([v for c in cells if c is not None for v in c], dtype="<f8").tobytes())
    if masks is not None:
        sha.update(f"\nmasks {masks}\n".encode())
    return sha.hexdigest()


def make_predictions(
    table: pd.DataFrame,
    *,
    outputs: tuple[str, ...],
    model: Mapping[str, Any],
    record: Mapping[str, Any],
    masks: str | None = None,
    mask_files: tuple[Path, ...] = (),
    lists: tuple[str, ...] = (),
) -> Predictions:
    """Predictions with their digest computed."""
    return Predictions(
        table=table,
        outputs=outputs,
        model=model,
        digest=predictions_digest(table, outputs, masks, lists=lists),
        record=record,
        masks=masks,
        mask_files=mask_files,
        lists=lists,
    )


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Write as Parquet (zstd): the same predictions give the same bytes with the same pyarrow.

    Raises
    ------
    OutputError
        If the file cannot be written: permission, disk full.
    """
    import pyarrow as pa

    columns = {name: pa.array(_texts(predictions.table[name]), pa.string()) for name in KEYS}
    for name in predictions.outputs:
        columns[name] = pa.array(predictions.table[name].to_numpy(dtype=np.float64), pa.float64(), from_pandas=True)
    for name in predictions.lists:
        columns[name] = pa.array(predictions.table[name].tolist(), pa.list_(pa.float64()))
    meta = {
        "schema": PREDICTIONS_SCHEMA,
        "outputs": list(predictions.outputs),
        "model": dict(predictions.model),
        "digest": predictions.digest,
        **({} if predictions.masks is None else {"masks": predictions.masks}),
        **({"lists": list(predictions.lists)} if predictions.lists else {}),
    }
    write_parquet(pa.table(columns), meta, path)


def read_predictions(path: Path) -> Predictions:
    """Read what `write_predictions` wrote; `record` is empty.

    Raises
    ------
    InputError
        If the file is not a predictions file.
    IntegrityError
        If its contents do not match the digest it carries.
    """
    found = read_parquet(path)
    if found is None or found[1].get("schema") != PREDICTIONS_SCHEMA:
        raise InputError(f"{path.name} is not a predictions file of this suite", hint="Run 'evalsuite predict' again.")
    parquet, meta = found
    outputs, lists = tuple(meta["outputs"]), tuple(meta.get("lists", ()))
    if parquet.column_names != [*KEYS, *outputs, *lists]:
        raise IntegrityError(f"{path.name} does not have the columns it says it has", hint=_CHANGED)
    table = to_frame({n: parquet.column(n).to_pylist() for n in KEYS}, {n: _floats(parquet, n) for n in outputs})
    for name in lists:
        table[name] = cells_of_lists(parquet.column(name).to_pylist())
    masks = meta.get("masks")
    digest = predictions_digest(table, outputs, masks, lists=lists)
    if digest != meta["digest"]:
        raise IntegrityError(f"{path.name} does not match the digest it carries", hint=_CHANGED)
    return Predictions(table=table, outputs=outputs, model=meta["model"], digest=digest, masks=masks, lists=lists)


_CHANGED = "The file was changed after it was written: restore it, or run 'evalsuite predict' again."


def to_frame(keys: Mapping[str, list[str | None]], outputs: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """The table of `Predictions` from its columns (texts with None for absent, float64 with NaN for absent)."""
    import pandas as pd

    frame = {name: pd.Series(keys[name], dtype=object) for name in KEYS}
    return pd.DataFrame({**frame, **{n: pd.Series(v, dtype="float64") for n, v in outputs.items()}})


def cells_of_lists(cells: Iterable[Iterable[float] | None]) -> pd.Series[Any]:
    """A column of tuples, None where there is none."""
    import pandas as pd

    return pd.Series([None if c is None else tuple(map(float, c)) for c in cells], dtype=object)


def write_parquet(table: pa.Table, meta: Mapping[str, Any], path: Path, *, row_group_size: int = 1 << 20) -> None:
    """Write to a temporary name, flush to disk, rename: a reader sees the whole file or none.

    `meta` goes into the file's metadata under ``evalsuite`` as canonical JSON; nothing else of this environment does.
    """
    import pyarrow.parquet as pq

    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as sink:
            pq.write_table(
                table.replace_schema_metadata({b"evalsuite": canonical_json(meta)}),
                sink,
                compression="zstd",
                compression_level=3,
                version="2.6",
                row_group_size=row_group_size,
            )
            sink.flush()
            os.fsync(sink.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise output_error(path, error) from error


def read_parquet(path: Path) -> tuple[pa.Table, dict[str, Any]] | None:
    """Table and ``evalsuite`` metadata of a file, None where it is absent, damaged or not ours."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
        meta = json.loads((table.schema.metadata or {})[b"evalsuite"])
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return None
    return (table, meta) if isinstance(meta, dict) else None


def _floats(table: pa.Table, name: str) -> np.ndarray:
    numbers: np.ndarray = table.column(name).to_numpy(zero_copy_only=False)
    return numbers.astype(np.float64)


def _texts(column: pd.Series) -> list[str | None]:
    return [None if _absent(v) else str(v) for v in column.tolist()]


def _absent(value: object) -> bool:
    return value is None or type(value).__name__ == "NAType" or (isinstance(value, float) and value != value)

"""The lock file's shape, and the digests that bind files, rows and reference standard into one identity."""

from __future__ import annotations

import hashlib
import io
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import LockError
from evalsuite.record.canonical import canonical_json, parse_json
from evalsuite.record.digest import digest_json, merkle_root, sha256_bytes
from evalsuite.record.envelope import envelope_path
from evalsuite.record.store import LEDGER_NAME

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

LOCK_SCHEMA = "evalsuite/testset/1"
LOCK_NAME = "testset.lock.json"
CASES_NAME = "cases.parquet"
REFERENCE_NAME = "reference.parquet"
LOCATION_NAME = "location.json"
INTAKE_NAME = "intake.json"
FILES_NAME = "files"
LOCATION_SCHEMA = "evalsuite/location/1"
ENCRYPTED_NAME = "reference.parquet.aes"
OWN_NAMES = (LOCK_NAME, CASES_NAME, REFERENCE_NAME, LOCATION_NAME, LEDGER_NAME, INTAKE_NAME)
SIGNATURE_NAMES = tuple(envelope_path(Path(name)).name for name in (LOCK_NAME, LEDGER_NAME, INTAKE_NAME))

COUNTS = ("cases", "patients", "cases_without_patient", "cases_with_image", "files", "bytes")

_HEX64 = re.compile(r"[0-9a-f]{64}")
_ROLE_LISTS = ("image", "unsealed", "sealed", "reference_files", "dicom")
_KEYS = {
    "schema": str,
    "set_id": str,
    "version": str,
    "created_utc": str,
    "files": list,
    "merkle_root": str,
    "rows": dict,
    "reference": dict,
    "counts": dict,
    "columns": dict,
    "unit": dict,
    "attributes": dict,
    "reuse_policy": dict,
    "protocol": (dict, type(None)),
    "copied": bool,
    "signature": (dict, type(None)),
    "root": str,
}

# Keys that locks of earlier versions do not have.
_LATER = {
    "intake": dict,
    "series": dict,
    "draw": (dict, type(None)),
    "retired": list,
    "lineage": (dict, type(None)),
}


def reference_name(lock: Mapping[str, Any]) -> str:
    """Name of the file that holds the reference standard: another one where it is encrypted."""
    return ENCRYPTED_NAME if "encryption" in lock["reference"] else REFERENCE_NAME


def table_digest(frame: pd.DataFrame) -> str:
    """SHA-256 of a table's logical content: column names and cells, whatever the file format or library version."""
    # The canonical JSON of {"cells": [[…], …], "columns": […]}, a column at a time: the whole text of a large table is
    # several times the table.
    found = hashlib.sha256(b'{"cells":[')
    for i, name in enumerate(frame.columns):
        found.update(b"," if i else b"")
        found.update(_cells_json(frame[name]))
    found.update(b'],"columns":' + canonical_json(list(frame.columns)) + b"}")
    return found.hexdigest()


#: Bytes of UTF-8 that JSON escapes nowhere.
_PLAIN = bytes(b for b in range(0x20, 256) if b not in b'"\\')
_BETWEEN = '","'


def _cells_json(column: pd.Series[str]) -> bytes:
    """The canonical JSON of a column's cells, written at once where it is text of which nothing is escaped."""
    import pyarrow as pa
    import pyarrow.compute as pc

    cells = _texts(column)
    if cells is None or len(cells) == 0:
        return canonical_json(column.tolist())
    whole = pa.ListArray.from_arrays(pa.array([0, len(cells)], pa.int32()), cells)
    joined: bytes = pc.binary_join(whole, _BETWEEN)[0].as_buffer().to_pybytes()
    if joined.translate(None, _PLAIN) != b'"' * (2 * (len(cells) - 1)):
        return canonical_json(column.tolist())
    return b'["' + joined + b'"]'


def _texts(column: pd.Series[str]) -> pa.StringArray | None:
    """A text column in one piece, as Arrow holds it; None where it is not text, lacks a cell or is too large."""
    import pyarrow as pa

    if str(column.dtype) != "str" or column.isna().any():
        return None
    cells = pa.array(column, type=pa.string())
    if isinstance(cells, pa.ChunkedArray):
        cells = cells.combine_chunks()
    return cells if isinstance(cells, pa.StringArray) else None


def files_root(files: Sequence[Mapping[str, Any]]) -> str:
    """Merkle root (RFC 6962) over the canonical JSON of the entries {path, sha256, size}."""
    return merkle_root([canonical_json(entry) for entry in files])


def set_root(lock: Mapping[str, Any]) -> str:
    """The set's identity: binds files, rows, reference, the columns' roles and the reuse policy; not time or place."""
    return digest_json(
        {
            "schema": "evalsuite/testset-root/1",
            "merkle_root": lock["merkle_root"],
            "rows": lock["rows"]["digest"],
            "reference": lock["reference"]["digest"],
            "columns": lock["columns"],
            "reuse_policy": lock["reuse_policy"],
        }
    )


def parquet_bytes(frame: pd.DataFrame) -> bytes:
    """A text table as Parquet: the same content gives the same bytes with the same library version."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {c: _texts(frame[c]) for c in frame.columns}
    table = pa.table(
        {c: pa.array(frame[c].tolist(), type=pa.string()) if cells is None else cells for c, cells in columns.items()}
    )
    target = io.BytesIO()
    pq.write_table(table, target, compression="zstd", version="2.6")
    return target.getvalue()


def parquet_frame(data: bytes, name: str) -> pd.DataFrame:
    """Read back what `parquet_bytes` wrote. LockError if it is damaged."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(data))
        table.validate(full=True)  # texts that are not UTF-8 too
    except (pa.ArrowException, OSError, ValueError) as e:
        raise LockError(f"{name} is damaged: it is no Parquet file any more", hint="Restore the file.") from e
    if not all(column.null_count == 0 and pa.types.is_string(column.type) for column in table.columns):
        raise LockError(f"{name} is not a table of texts", hint="Restore the file.")
    frame: pd.DataFrame = table.to_pandas(ignore_metadata=True).astype("str")
    return frame.set_axis(pd.RangeIndex(table.num_rows), axis=0)


def table_entry(frame: pd.DataFrame, data: bytes) -> dict[str, str]:
    """A table's entry in the lock: its logical digest and the SHA-256 of its file."""
    return {"digest": table_digest(frame), "sha256": sha256_bytes(data)}


def parse_lock(data: bytes, name: str = LOCK_NAME) -> dict[str, Any]:
    """Read a lock file and check that it is whole and agrees with itself.

    Raises
    ------
    LockError
        If it is not canonical JSON, lacks a field, or its Merkle root or root does not follow from its content.
    """
    lock = parse_json(data, name, error=LockError)
    if not isinstance(lock, dict) or not _has_shape(lock):
        raise LockError(f"{name} does not have the fields of a lock", hint="The file is damaged: restore it.")
    try:
        intact = canonical_json(lock) == data
        roots = files_root(lock["files"]) == lock["merkle_root"] and set_root(lock) == lock["root"]
    except ValueError:
        intact = roots = False
    if not roots:
        raise LockError(f"{name} was changed: its root does not follow from its content", hint="Restore the file.")
    if not intact:
        raise LockError(f"{name} was changed: it is not in the form it was written in", hint="Restore the file.")
    return lock


def _has_shape(lock: dict[str, Any]) -> bool:
    kinds = {**_KEYS, **{k: t for k, t in _LATER.items() if k in lock}}
    if set(lock) != set(kinds) or not all(isinstance(lock[k], t) for k, t in kinds.items()):  # type: ignore[arg-type]
        return False
    paths: list[Any] = [f.get("path") for f in lock["files"] if isinstance(f, dict)]
    columns, unit = lock["columns"], lock["unit"]
    return (
        lock["schema"] == LOCK_SCHEMA
        and len(paths) == len(lock["files"])
        and all(isinstance(p, str) for p in paths)
        and all(a < b for a, b in itertools.pairwise(paths))
        and all(set(f) == {"path", "size", "sha256"} and _is_digest(f["sha256"]) for f in lock["files"])
        and all(type(f["size"]) is int and f["size"] >= 0 for f in lock["files"])
        and set(lock["rows"]) == {"digest", "sha256"}
        and set(lock["reference"]) - {"encryption"} == {"digest", "sha256"}
        and _is_encryption(lock["reference"].get("encryption", _NOT_ENCRYPTED))
        and set(lock["counts"]) == set(COUNTS)
        and all(type(n) is int and n >= 0 for n in lock["counts"].values())
        and set(columns) == {"case", "patient", *_ROLE_LISTS}
        and isinstance(columns["case"], str)
        and isinstance(columns["patient"], str | None)
        and all(isinstance(columns[k], list) and all(isinstance(c, str) for c in columns[k]) for k in _ROLE_LISTS)
        and _later_shape(lock)
        and unit == {"case_column": columns["case"], "patient_column": columns["patient"]}
    )


_NOT_ENCRYPTED = {"cipher": "", "key_id": "0" * 64, "sha256": "0" * 64}


def _is_encryption(value: object) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"cipher", "key_id", "sha256"}
        and isinstance(value["cipher"], str)
        and _is_digest(value["key_id"])
        and _is_digest(value["sha256"])
    )


def _later_shape(lock: dict[str, Any]) -> bool:
    intake, series, retired = lock.get("intake"), lock.get("series", {}), lock.get("retired", [])
    return (
        (intake is None or (set(intake) == {"digest", "problems", "warnings"} and _is_digest(intake["digest"])))
        and all(
            isinstance(order, list) and sorted(map(str, order)) == sorted(map(str, range(len(order))))
            for order in series.values()
        )
        and all(isinstance(r, dict) and set(r) == {"case_id", "reason"} for r in retired)
    )


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and _HEX64.fullmatch(value) is not None

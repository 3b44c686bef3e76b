"""Finished parts of a run, each named by everything that decides its contents, so that a stopped run can go on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evalsuite.inference.predictions import read_parquet, write_parquet
from evalsuite.record.digest import digest_json

if TYPE_CHECKING:
    from evalsuite.inference.masks import StoredMask

SHARD_SCHEMA = "evalsuite/shard/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Answers for a fixed range of cases: reason is None where a case is ok; outputs (n,) float64, NaN where failed.

    `masks` are those of the cases in their order, where the model draws any and they are not on disk yet;
    `mask_digests` their digests. `prepared` counts what was done to the images before the model saw them.
    """

    reasons: tuple[str | None, ...]
    outputs: Mapping[str, np.ndarray]
    masks: tuple[StoredMask, ...] = ()
    mask_digests: tuple[str, ...] = ()
    prepared: Mapping[str, int] = field(default_factory=dict)


def shard_key(
    *, model: str, contract: str | None, testset: str, case_ids: Sequence[str], policy: Mapping[str, Any]
) -> str:
    """Digest (hex) of what decides a shard's contents: model, contract, images, cases, and how numbers are computed."""
    identity = {
        "schema": SHARD_SCHEMA,
        "model": model,
        "contract": contract,
        "testset": testset,
        "cases": list(case_ids),
        "policy": dict(policy),
    }
    return digest_json(identity)


def shard_path(folder: Path, key: str) -> Path:
    """Where the shard of this key lies."""
    return folder / f"{key}.parquet"


def masks_path(folder: Path, key: str) -> Path:
    """Where the masks of the shard of this key lie, where it has any."""
    return folder / f"{key}.masks.parquet"


def write_shard(folder: Path, key: str, shard: Shard) -> None:
    """Store a finished shard; after a crash it is there whole or not at all. Its masks are written before it.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    import pyarrow as pa

    if shard.masks:
        from evalsuite.inference.mask_store import write_masks

        write_masks(masks_path(folder, key), shard.masks)
    columns = {"reason": pa.array(list(shard.reasons), pa.string())}
    for name, numbers in shard.outputs.items():
        columns[f"output:{name}"] = pa.array(numbers, pa.float64(), from_pandas=True)
    meta: dict[str, Any] = {"schema": SHARD_SCHEMA, "key": key, "content": _content(shard)}
    if shard.mask_digests:
        meta["masks"] = list(shard.mask_digests)
    if shard.prepared:
        meta["prepared"] = dict(shard.prepared)
    write_parquet(pa.table(columns), meta, shard_path(folder, key))


def read_shard(folder: Path, key: str, *, n: int) -> Shard | None:
    """The shard of this key, or None where it is absent, damaged, not what it says it is, or not of `n` cases.

    Masks stay on disk; a shard whose masks are not there is no shard.
    """
    found = read_parquet(shard_path(folder, key))
    if found is None:
        return None
    table, meta = found
    if meta.get("schema") != SHARD_SCHEMA or meta.get("key") != key or table.num_rows != n:
        return None
    names = [name for name in table.column_names if name.startswith("output:")]
    if table.column_names != ["reason", *names]:
        return None
    shard = Shard(
        reasons=tuple(table.column("reason").to_pylist()),
        outputs={
            name.removeprefix("output:"): table.column(name).to_numpy(zero_copy_only=False).astype(np.float64)
            for name in names
        },
        mask_digests=tuple(meta.get("masks", ())),
        prepared=meta.get("prepared", {}),
    )
    if shard.mask_digests:
        from evalsuite.inference.mask_store import file_digests

        if file_digests(masks_path(folder, key)) != shard.mask_digests:
            return None
    return shard if meta.get("content") == _content(shard) else None


def _content(shard: Shard) -> str:
    sha = hashlib.sha256(json.dumps([list(shard.reasons), list(shard.outputs)], ensure_ascii=False).encode())
    for numbers in shard.outputs.values():
        column = np.array(numbers, dtype="<f8")
        column[np.isnan(column)] = np.nan
        sha.update(column.tobytes())
    if shard.mask_digests or shard.prepared:
        more = [list(shard.mask_digests), sorted(shard.prepared.items())]
        sha.update(json.dumps(more, ensure_ascii=False).encode())
    return sha.hexdigest()

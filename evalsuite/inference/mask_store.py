"""Masks on disk: Parquet files of run lengths, the same bytes for the same masks, read back one case at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evalsuite.errors import InputError, IntegrityError, OutputError
from evalsuite.imaging.grid import Grid
from evalsuite.inference.masks import Runs, StoredMask
from evalsuite.inference.predictions import Predictions, write_parquet
from evalsuite.record.files import copy_file

MASKS_SCHEMA = "evalsuite/masks/1"
ROWS_PER_GROUP = 64  # read together: a case in the middle of a file costs no more than these
_CHANGED = "The file was changed after it was written: restore it, or run 'evalsuite predict' again."


def masks_digest(digests: Iterable[str]) -> str:
    """SHA-256 (hex) of the masks of a run, from their own digests in the order of cases and outputs."""
    sha = hashlib.sha256(f"{MASKS_SCHEMA}\n".encode())
    for digest in digests:
        sha.update(bytes.fromhex(digest))
    return sha.hexdigest()


def write_masks(path: Path, masks: Sequence[StoredMask]) -> tuple[str, ...]:
    """Store masks in one file (zstd), and return the digest of each.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    import pyarrow as pa

    digests = tuple(mask.digest for mask in masks)
    grids = [mask.grid for mask in masks]
    table = pa.table(
        {
            "case_id": pa.array([m.case_id for m in masks], pa.string()),
            "output": pa.array([m.output for m in masks], pa.string()),
            "channel": pa.array([m.channel for m in masks], pa.string()),
            "classes": pa.array([list(m.classes) for m in masks], pa.list_(pa.string())),
            "shape": pa.array([list(g.shape) for g in grids], pa.list_(pa.int64())),
            "spacing_mm": pa.array(
                [None if g.spacing_mm is None else list(g.spacing_mm) for g in grids], pa.list_(pa.float64())
            ),
            "affine": pa.array(
                [None if g.affine is None else [v for row in g.affine for v in row] for g in grids],
                pa.list_(pa.float64()),
            ),
            "lengths": pa.array(
                [np.ascontiguousarray(m.runs.lengths, dtype="<u4").tobytes() for m in masks], pa.large_binary()
            ),
            "labels": pa.array([m.runs.labels.tobytes() for m in masks], pa.large_binary()),
            "digest": pa.array(list(digests), pa.string()),
        }
    )
    meta = {"schema": MASKS_SCHEMA, "n": len(masks), "digest": masks_digest(digests)}
    write_parquet(table, meta, path, row_group_size=ROWS_PER_GROUP)
    return digests


def file_digests(path: Path) -> tuple[str, ...] | None:
    """The digests a file of masks states for its rows; None where it is absent, damaged or not what it says it is."""
    found = _open(path)
    if found is None:
        return None
    file, meta = found
    digests = tuple(file.read(columns=["digest"]).column("digest").to_pylist())
    return digests if meta.get("digest") == masks_digest(digests) else None


def copy_masks(files: Sequence[Path], folder: Path) -> None:
    """Copy the files of a run's masks into `folder`, numbered in the order of the cases.

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    if not files:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}") from error
    for i, file in enumerate(files):
        copy_file(file, folder / f"masks-{i:05d}.parquet")


def mask_files(folder: Path) -> tuple[Path, ...]:
    """The files of masks of a run folder, or of its folder `arrays`, in the order of the cases."""
    place = folder / "arrays" if (folder / "arrays").is_dir() else folder
    return tuple(sorted(place.glob("masks-*.parquet")))


def read_masks(
    place: Path | Sequence[Path],
    *,
    case_ids: Collection[str] | None = None,
    outputs: Collection[str] | None = None,
) -> Iterator[StoredMask]:
    """The masks of a run, one at a time, in the order of its cases; memory holds those of a few dozen cases.

    Parameters
    ----------
    place
        A run folder, its folder `arrays`, or files of masks.
    case_ids, outputs
        Only these; all by default.

    Raises
    ------
    InputError
        If there are no masks at `place`.
    IntegrityError
        If a file is damaged, or a mask does not match the digest it carries.
    """
    files = mask_files(place) if isinstance(place, Path) else tuple(place)
    if not files:
        raise InputError(f"{place} holds no masks", hint="Give a run folder of a model whose output is a mask.")
    for path in files:
        found = _open(path)
        if found is None:
            raise IntegrityError(f"{path.name} is not a file of masks, or is damaged", hint=_CHANGED)
        file, _ = found
        for group in range(file.metadata.num_row_groups):
            keys = file.read_row_group(group, columns=["case_id", "output"]).to_pydict()
            wanted = [
                i
                for i, (case, output) in enumerate(zip(keys["case_id"], keys["output"], strict=True))
                if (case_ids is None or case in case_ids) and (outputs is None or output in outputs)
            ]
            if not wanted:
                continue
            for row in file.read_row_group(group).take(wanted).to_pylist():
                yield _mask(row, path)


def with_masks(predictions: Predictions, folder: Path) -> Predictions:
    """Predictions that were read back, with the files of their masks in `folder`, each compared with its digest.

    Raises IntegrityError where they are not those that were sealed.
    """
    if predictions.masks is None:
        return predictions
    files = mask_files(folder)
    verify_masks(files, predictions.masks)
    return replace(predictions, mask_files=files)


def verify_masks(files: Sequence[Path], digest: str) -> int:
    """Compare every mask with the digest it carries, and all of them with `digest`; how many there are.

    Raises
    ------
    IntegrityError
        If a mask was changed, added, removed or put elsewhere.
    """
    digests = [mask.digest for mask in (read_masks(files) if files else ())]
    if masks_digest(digests) != digest:
        raise IntegrityError("the masks are not those the predictions were sealed with", hint=_CHANGED)
    return len(digests)


def _open(path: Path) -> tuple[Any, Mapping[str, Any]] | None:
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        meta = json.loads((file.schema_arrow.metadata or {})[b"evalsuite"])
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return None
    if not isinstance(meta, dict) or meta.get("schema") != MASKS_SCHEMA or meta.get("n") != file.metadata.num_rows:
        return None
    return file, meta


def _mask(row: Mapping[str, Any], path: Path) -> StoredMask:
    try:
        affine = row["affine"]
        mask = StoredMask(
            case_id=row["case_id"],
            output=row["output"],
            channel=row["channel"],
            classes=tuple(row["classes"]),
            grid=Grid(
                shape=tuple(row["shape"]),
                spacing_mm=None if row["spacing_mm"] is None else tuple(row["spacing_mm"]),
                affine=None if affine is None else tuple(tuple(affine[4 * i : 4 * i + 4]) for i in range(4)),
            ),
            runs=Runs(
                shape=tuple(row["shape"]),
                lengths=np.frombuffer(row["lengths"], dtype="<u4").astype(np.uint32, copy=False),
                labels=np.frombuffer(row["labels"], dtype=np.uint8),
            ),
        )
    except (KeyError, TypeError, ValueError):
        raise IntegrityError(f"{path.name} is damaged", hint=_CHANGED) from None
    if mask.digest != row["digest"]:
        raise IntegrityError(f"{path.name} holds a mask that does not match its digest", hint=_CHANGED)
    return mask

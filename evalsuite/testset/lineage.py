"""Versions of a test set: what a new version took over from the old one, and what changed in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import InputError
from evalsuite.record.usage import inherited_uses, use_segments
from evalsuite.testset.encryption import ReferenceKey
from evalsuite.testset.open import ledger_of, open_record, open_reference, read_rows
from evalsuite.testset.selection import Retired
from evalsuite.testset.types import LockedTestSet

if TYPE_CHECKING:
    import pandas as pd

CHANGES = ("added", "removed", "retired", "changed", "relabelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Old:
    """The version that is superseded; `sealed` is None where its reference standard cannot be opened."""

    testset: LockedTestSet
    frame: pd.DataFrame
    sealed: pd.DataFrame | None
    retired: tuple[Retired, ...]


def open_old(path: Path, reference_key: ReferenceKey | None = None) -> Old:
    """Open the set that is to be superseded; its digests are in its lock, and its files may have changed."""
    testset = open_record(path, reference_key=reference_key)
    try:
        sealed = open_reference(testset)[list(testset.lock["columns"]["sealed"])]
    except InputError:  # encrypted, and the key is not here: labels cannot be compared, and the record says so
        sealed = None
    retired = tuple(Retired(case_id=r["case_id"], reason=r["reason"]) for r in testset.lock.get("retired") or ())
    return Old(testset=testset, frame=read_rows(testset), sealed=sealed, retired=retired)


def lineage(
    old: Old,
    *,
    frame: pd.DataFrame,
    roles_unsealed: Sequence[str],
    roles_sealed: Sequence[str],
    case_column: str,
    image_columns: Sequence[str],
    digests_of: Mapping[str, Sequence[str]],
    retired: Sequence[Retired],
) -> dict[str, Any]:
    """What changed from the old version to the new table, as the lock records it: counts and case ids.

    `changed` are cases whose images (by digest) or open columns differ; `relabelled` those whose sealed columns do.
    Columns that only one version has are listed apart, not counted as a change of every case.

    Raises
    ------
    InputError
        If the two versions name their cases in different columns.
    """
    lock = old.testset.lock
    if lock["columns"]["case"] != case_column:
        raise InputError(
            f"{old.testset.path} names its cases in column {lock['columns']['case']!r}, the new table in "
            f"{case_column!r}",
            hint="Use the same case column in both versions.",
        )
    before = _records(old.frame, case_column)
    after = _records(frame, case_column)
    gone = {r.case_id for r in retired}
    shared = [c for c in after if c in before]
    open_columns = [c for c in roles_unsealed if c in old.frame.columns and c not in (*image_columns, case_column)]
    old_digests = _old_digests(old)
    changed = [
        c
        for c in shared
        if any(before[c][k] != after[c][k] for k in open_columns) or old_digests.get(c, ()) != tuple(digests_of[c])
    ]
    relabelled: list[str] | None = None
    columns_before = [*lock["columns"]["unsealed"], *lock["columns"]["sealed"]]
    if old.sealed is not None:
        names = [c for c in roles_sealed if c in old.sealed.columns]
        labels = (
            dict(
                zip(
                    old.frame[case_column].tolist(),
                    zip(*(old.sealed[c].tolist() for c in names), strict=True),
                    strict=True,
                )
            )
            if names
            else {}
        )
        relabelled = [c for c in shared if names and labels[c] != tuple(after[c][k] for k in names)]
    listed: dict[str, list[str] | None] = {
        "added": [c for c in after if c not in before],
        "removed": [c for c in before if c not in after and c not in gone],
        "retired": [c for c in before if c in gone],
        "changed": changed,
        "relabelled": relabelled,
    }
    now = [*roles_unsealed, *roles_sealed]
    return {
        "supersedes": {
            "set_id": old.testset.set_id,
            "version": old.testset.version,
            "root": old.testset.root,
            "lock": old.testset.digest,
        },
        "counts": {"kept": len(shared), **{k: None if v is None else len(v) for k, v in listed.items()}},
        **listed,
        "columns_added": [c for c in now if c not in columns_before],
        "columns_removed": [c for c in columns_before if c not in now],
    }


def uses_brought_along(old: Old, case_ids: Sequence[str]) -> str:
    """How often each of `case_ids` was used in the old version, for the new ledger's first entry; "" for never.

    A case is the same where its id is: a new version is no way to use it afresh.
    """
    kept = ledger_of(old.testset.path, old.testset.lock)
    before = old.frame[old.testset.lock["columns"]["case"]].tolist()
    segments = use_segments(kept.entries(), len(before))
    uses_of = {before[i - 1]: s.uses for s in segments for i in range(s.first, s.last + 1)}
    return inherited_uses(uses_of, case_ids)


def described(found: Mapping[str, Any]) -> str:
    """ "3 added, 1 removed, 0 retired, 0 changed, 2 relabelled": for ledgers and terminals; no case is named."""
    counts = found["counts"]
    return ", ".join(
        f"{counts[k]} {k}" if counts[k] is not None else f"{k} not verifiable (the old reference standard is closed)"
        for k in CHANGES
    )


def _records(frame: pd.DataFrame, case_column: str) -> dict[str, dict[str, str]]:
    columns = list(frame.columns)
    cells = [frame[c].tolist() for c in columns]
    ids = frame[case_column].tolist()
    return {c: dict(zip(columns, row, strict=True)) for c, row in zip(ids, zip(*cells, strict=True), strict=True)}


def _old_digests(old: Old) -> dict[str, tuple[str, ...]]:
    """Digests of every case's images, in the order of the columns and of the files' names."""
    from evalsuite.testset.images import files_of

    lock = old.testset.lock
    digest = {f["path"]: f["sha256"] for f in lock["files"]}
    columns = sorted(lock["columns"]["image"])
    members = files_of((cell for c in columns for cell in old.frame[c].tolist()), list(digest))
    ids = old.frame[lock["columns"]["case"]].tolist()
    rows = zip(*(old.frame[c].tolist() for c in columns), strict=True) if columns else (() for _ in ids)
    return {
        case_id: tuple(digest[name] for cell in row if cell for name in members[cell])
        for case_id, row in zip(ids, rows, strict=True)
    }

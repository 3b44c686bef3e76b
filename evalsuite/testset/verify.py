"""Checking a locked test set without opening it: a list of what holds and what does not."""

from __future__ import annotations

from pathlib import Path

from evalsuite.errors import LockError
from evalsuite.record.seal import Check
from evalsuite.testset.open import OnProgress, examine


def verify_testset(path: Path, *, on_progress: OnProgress | None = None) -> list[Check]:
    """Compare a set with its lock and say how each part stands.

    Returns
    -------
    list of Check
        `lock`, `case rows`, `reference standard`, `files`, `no extra files`, `ledger`, `signature`; only a broken
        `lock` where the lock file itself is damaged.

    Raises
    ------
    InputError
        If there is no locked test set at `path`.
    """
    try:
        return list(examine(Path(path), hash_images=True, on_progress=on_progress).checks)
    except LockError as e:
        return [Check(name="lock", status="broken", detail=e.message)]

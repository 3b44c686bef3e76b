"""Checking a locked test set without opening it: a list of what holds and what does not."""

from __future__ import annotations

from pathlib import Path

from evalsuite.errors import LockError
from evalsuite.record.trust import NO_TRUST, Check, Trust
from evalsuite.testset.encryption import ReferenceKey
from evalsuite.testset.open import OnProgress, examine


def verify_testset(
    path: Path,
    *,
    trust: Trust = NO_TRUST,
    reference_key: ReferenceKey | None = None,
    on_progress: OnProgress | None = None,
    store: str | None = None,
) -> list[Check]:
    """Compare a set with its lock and say how each part stands.

    Returns
    -------
    list of Check
        `lock`, `case rows`, `reference standard`, `files`, `no extra files`, `ledger`, `ledger head`, `signature`; only
        a broken `lock` where the lock file itself is damaged.

    Raises
    ------
    InputError
        If there is no locked test set at `path`.
    """
    try:
        seen = examine(
            Path(path),
            hash_images=True,
            trust=trust,
            reference_key=reference_key,
            on_progress=on_progress,
            store=store,
        )
        return list(seen.checks)
    except LockError as e:
        return [Check(name="lock", status="broken", detail=e.message)]

"""What a locked test set is to the rest of the suite: its identity and its cases, without the reference standard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalsuite.testset.encryption import ReferenceKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of the case table. `images` maps an image column to its files: one, or a series' files in the order of
    their positions (of their names where the headers state none).

    Where the table has no patient column, or the cell is empty, the case is a patient of its own. Texts are as in the
    table, "" where the column is absent or the cell empty (`study_id`, `site`, `acquired_at`).
    """

    case_id: str
    patient_id: str
    study_id: str
    site: str
    acquired_at: str
    sample_weight: float | None
    images: Mapping[str, tuple[Path, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedTestSet:
    """A test set that was compared with its lock. Cases are in the order of the case table.

    `root` is the set's identity: it binds files, rows, reference standard and reuse policy, and not the time or place
    of locking. `digest` is the SHA-256 of the lock file itself. `lock` is the lock file's content. `reference_key`
    opens an encrypted reference standard, for whoever was given it.
    """

    path: Path
    lock: Mapping[str, Any]
    root: str
    digest: str
    set_id: str
    version: str
    cases: tuple[Case, ...]
    has_images: bool
    reference_key: ReferenceKey | None = field(default=None, repr=False)

"""Files of the reference standard (masks, tables of lesions): read whole, and compared with the lock while reading."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evalsuite.errors import LockError
from evalsuite.record.digest import sha256_bytes
from evalsuite.record.shared import read_bytes
from evalsuite.testset.places import locked_places
from evalsuite.testset.types import LockedTestSet


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceFiles:
    """Where the files of a locked set lie: a cell of the case table → path and SHA-256."""

    places: dict[str, tuple[Path, str]]

    @classmethod
    def of(cls, testset: LockedTestSet) -> ReferenceFiles:
        """Those of a set. LockError where it no longer says where its files are."""
        return cls(places=locked_places(testset))

    def read(self, cell: str) -> bytes | None:
        """The bytes of the file that a cell names; None where the cell names no file of the set.

        Raises
        ------
        LockError
            If the file is gone, or is not the one that was locked.
        """
        if cell not in self.places:
            return None
        path, sha256 = self.places[cell]
        try:
            data = read_bytes(path)
        except OSError as e:
            raise LockError(f"{cell} cannot be read ({e.strerror})", hint="Restore the file.") from e
        if sha256_bytes(data) != sha256:
            raise LockError(f"{cell} differs from the locked copy", hint="Restore the file.")
        return data

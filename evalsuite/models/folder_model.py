"""A model that takes a folder of cases and fills a folder with predictions: a program, or a container."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from evalsuite.models.contract import Contract


class FolderRunner(Protocol):
    """How such a model is run."""

    @property
    def isolation(self) -> str | Mapping[str, object]:
        """What keeps it from everything but its two folders, for the record ("docker, no network"; "none")."""
        ...

    def run(self, cases: Path, predictions: Path, *, log: Path) -> None:
        """Run once: `cases` is read, `predictions` is empty and filled, `log` gets what the program printed.

        Raises
        ------
        ModelRunError
            If it cannot be started, ends with an error, or takes longer than it may; nothing of it is left running.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderModel:
    """A model run on folders; what goes into them is in docs/models.md. The facts are those of every model."""

    name: str
    format: str
    digest: str
    contract: Contract
    contract_digest: str
    notes: tuple[str, ...] = ()
    size_bytes: int
    runner: FolderRunner
    log: Path = field(default_factory=lambda: _log_file())

    def keep_log(self, path: Path) -> None:
        """Copy what the program printed in its last call to `path`; nothing where it was not called or was silent."""
        if self.log.is_file() and self.log.stat().st_size:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.log, path)

    def close(self) -> None:
        """Throw the log away; between calls nothing runs."""
        self.log.unlink(missing_ok=True)


def _log_file() -> Path:
    handle, name = tempfile.mkstemp(prefix="evalsuite-program-", suffix=".log")
    os.close(handle)
    return Path(name)

"""The run folder: what each file is called, who may work in it, and what an earlier run left there."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalsuite.errors import InputError, IntegrityError, OutputError, Problem
from evalsuite.record.canonical import read_json
from evalsuite.record.seal import SEAL_NAME, check_seal

PLAN = "plan.json"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Names of the files of a run (contracts, "Run folder")."""

    path: Path

    @property
    def protocol(self) -> Path:
        return self.path / "protocol.yaml"

    @property
    def lock(self) -> Path:
        return self.path / "testset.lock.json"

    @property
    def model(self) -> Path:
        return self.path / "model.json"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions.parquet"

    @property
    def arrays(self) -> Path:
        """Masks the device drew, listings of cases and pictures of them, where there are any."""
        return self.path / "arrays"

    @property
    def pictures(self) -> Path:
        """Pictures of single cases that the report shows, where there are any."""
        return self.arrays / "pictures.json"

    @property
    def baseline(self) -> Path:
        """Predictions of what the device is compared with; only in a comparison."""
        return self.path / "baseline.parquet"

    @property
    def original(self) -> Path:
        """Predictions of the original version; only where the device is compared with that one too."""
        return self.path / "original.parquet"

    def compared(self, who: str) -> Path:
        """The predictions of the baseline or of the original version."""
        return self.path / f"{who}.parquet"

    @property
    def drift_baseline(self) -> Path:
        """The baseline's cases and outputs; only in a drift audit."""
        return self.path / "drift_baseline.parquet"

    @property
    def drift_ciphertext(self) -> Path:
        """The same, encrypted; only where the baseline's reference standard is."""
        return self.path / "drift_baseline.parquet.enc"

    @property
    def drift_encryption(self) -> Path:
        """Which key opens it, and the digest of what is in it."""
        return self.path / "drift_baseline.json"

    @property
    def drift_earlier(self) -> Path:
        """What the deployment's earlier audits left; only in a drift audit."""
        return self.path / "drift_earlier.json"

    @property
    def drift_images(self) -> Path:
        """Numbers of the window's images; only in a drift audit that compares them."""
        return self.path / "drift_images.parquet"

    @property
    def drift_former(self) -> Path:
        """Outputs of the version that was replaced; only in a drift audit that was given them."""
        return self.path / "drift_former.parquet"

    @property
    def evidence(self) -> Path:
        return self.path / "evidence.json"

    @property
    def verdict(self) -> Path:
        return self.path / "verdict.json"

    @property
    def record(self) -> Path:
        return self.path / "record.json"

    @property
    def pdf(self) -> Path:
        return self.path / "report.pdf"

    @property
    def html(self) -> Path:
        return self.path / "report.html"

    @property
    def ledger(self) -> Path:
        return self.path / "ledger.jsonl"

    @property
    def seal(self) -> Path:
        return self.path / SEAL_NAME

    @property
    def work(self) -> Path:
        """Shards and plan of a run that is not finished; gone once it is sealed."""
        return self.path / "work"

    @property
    def plan(self) -> Path:
        return self.work / PLAN


@contextmanager
def claimed(folder: RunFolder) -> Iterator[None]:
    """Make the folder and hold it, so that two commands never write one run.

    Raises InputError if another process holds it, OutputError if it cannot be made.
    """
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        probe = folder.path / ".writable"
        probe.touch()
        probe.unlink()
        handle = os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise OutputError(
            f"Cannot write the run folder {folder.path}: {error.strerror or type(error).__name__}.",
            hint="Choose a folder you may write to with --out.",
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"Another command is working in {folder.path}.", hint="Wait for it, or choose another --out."
            ) from error
        yield
    finally:
        os.close(handle)


def clear_work(folder: RunFolder) -> None:
    """Remove what only an unfinished run needs."""
    shutil.rmtree(folder.work, ignore_errors=True)


def require_intact(folder: RunFolder) -> None:
    """IntegrityError naming every sealed file that is no longer what it was."""
    broken = [c for c in check_seal(folder.path) if c.status == "broken"]
    if broken:
        raise IntegrityError(
            f"{folder.path.name} is not as it was sealed.",
            problems=[Problem(c.detail, c.name) for c in broken],
            hint="Restore the run folder from its copy; a changed run cannot be scored or reported.",
        )


def plan_of(folder: RunFolder) -> Mapping[str, Any] | None:
    """What the unfinished run in this folder was started with, or None."""
    if not folder.plan.exists():
        return None
    plan: Mapping[str, Any] = read_json(folder.plan)
    return plan

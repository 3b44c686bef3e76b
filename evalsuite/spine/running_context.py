"""What every stage of a run is told: its folder, its test set, who runs it, what was asked for, and who watches."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import InputError, Interrupted, OutputError
from evalsuite.record.canonical import read_json
from evalsuite.record.signing import Signer
from evalsuite.record.store import LedgerStore
from evalsuite.sandbox.policy import SANDBOXED, Sandbox
from evalsuite.spine.folder import RunFolder
from evalsuite.types import Verdict

if TYPE_CHECKING:
    from evalsuite.inference.runners import Runner
    from evalsuite.spine.audit_inputs import AuditOf
    from evalsuite.testset.encryption import ReferenceKey

#: Of a request's overrides, what decides how fast a run is and nothing else: another one goes on with the same run.
CHANGE_NO_BYTE = ("workers", "cache", "decoders")

#: Called with (stage, done, total); stages are "verify", "predict", "degrade", "shortcuts", "attribute" (in image
#: passes), "evaluate", "report".
OnStage = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """Who runs this, as what, when and why: parameters, so that every output can be reproduced.

    With `signer` everything that is written in this person's name is signed: ledger entries, freeze, seal.
    """

    actor: str
    role: str = "operator"
    now: Callable[[], str]
    reason: str = ""
    command: str = ""
    signer: Signer | None = None


def account_name() -> str:
    """The account the suite runs under; a number where the account has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"account {os.getuid()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A finished run: its folder, verdict, where the report is, and what the record flags beside the verdict."""

    folder: RunFolder
    verdict: Verdict
    flags: tuple[str, ...] = ()
    already_done: bool = False


def finished(folder: RunFolder, verdict: Verdict, *, already_done: bool = False) -> RunResult:
    """The result of the run in `folder`, with the flags its record carries."""
    flags = tuple(str(f) for f in read_json(folder.record)["flags"])
    return RunResult(folder=folder, verdict=verdict, flags=flags, already_done=already_done)


def nobody_watches(stage: str, done: int, total: int) -> None:
    """Progress that is not shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """The surroundings of a stage: where it works, on which test set, for whom, and who may stop it.

    `store` is the database of the ledger where the caller named one, `ledger` the ledger itself. `reference_key` opens
    an encrypted reference standard, once the predictions are sealed; `baseline_key` what a drift audit is held against.
    """

    folder: RunFolder
    testset_path: Path
    ledger: LedgerStore
    store: str | None = None
    who: Who
    on_stage: OnStage = nobody_watches
    should_stop: Callable[[], bool] | None = None
    reference_key: ReferenceKey | None = None
    baseline_key: ReferenceKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a run was asked to be: protocol, model, baseline and original version (path and contract), settings, whether
    it goes on to open the reference standard, what a drift audit is held against, a waiver of the reuse limit, who
    computes (no part of what the run is), how packages that can execute code are run, and the study description where
    it is not beside the protocol.
    """

    protocol_path: Path | str
    model_path: Path
    contract: Path | None = None
    baseline: tuple[Path, Path | None] | None = None
    original: tuple[Path, Path | None] | None = None
    limit: int | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    audit: AuditOf | None = None
    then_score: bool = False
    waiver: Path | None = None
    runner: Runner | None = None
    sandbox: Sandbox = SANDBOXED
    study: Path | None = None


def stoppable(on_stage: OnStage, should_stop: Callable[[], bool] | None) -> OnStage:
    """The same progress callback, which also ends the command where the user asked for that."""

    def watched(stage: str, done: int, total: int) -> None:
        on_stage(stage, done, total)
        # The engine asks by itself before every batch, and keeps what is finished.
        if stage not in ("predict", "degrade", "shortcuts", "attribute") and should_stop is not None and should_stop():
            raise Interrupted("Interrupted.", hint="The same command goes on where it stopped.")

    return watched


def while_there(folder: RunFolder, should_stop: Callable[[], bool] | None) -> Callable[[], bool]:
    """`should_stop`, which also ends the command where somebody has removed the folder it holds and works in.

    The folder is known by its number, which the kernel gives to no other while the command holds it
    (`folder.claimed`); it is asked for the first time once that is so.
    """
    known: list[tuple[int, int]] = []

    def asked() -> bool:
        if should_stop is not None and should_stop():
            return True
        try:
            found = folder.path.stat()
        except OSError:
            found = None
        if found is not None and not known:
            known.append((found.st_dev, found.st_ino))
        if found is None or (found.st_dev, found.st_ino) != known[0]:
            raise OutputError(
                f"The run folder {folder.path} was removed while the command was working in it.",
                hint="What had been finished there is lost; the same command starts anew.",
            )
        return False

    return asked


def other_run(folder: RunFolder) -> InputError:
    """The error for a folder that holds something else than what was asked for."""
    return InputError(
        f"{folder.path} holds a run of another protocol, test set, model, baseline or limit.",
        hint="Choose another --out; a run is never overwritten.",
    )

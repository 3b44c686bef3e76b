"""What ends or excuses a run: declaring it void or superseded, and granting a waiver of the reuse limit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalsuite.errors import InputError
from evalsuite.record.canonical import read_json
from evalsuite.spine import history, states
from evalsuite.spine.folder import RunFolder
from evalsuite.spine.running_context import Who
from evalsuite.spine.running_score import remembered_set
from evalsuite.spine.waivers import WAIVER, Waiver, write_waiver

_WHY = 10


def end_run(
    run_path: Path,
    *,
    who: Who,
    superseded_by: Path | None = None,
    testset_path: Path | None = None,
    store: str | None = None,
) -> dict[str, Any]:
    """Enter in the ledger that a run is void, or superseded by another one of the same test set. For good.

    The run folder stays as it is: what happened is on record, and its uses of the cases still count.

    Raises
    ------
    InputError
        Without a reason, or where the run has ended already.
    LedgerError
        If the ledger does not know the run, or the one that replaces it.
    """
    if len(who.reason.strip()) < _WHY:
        raise InputError("A run is ended with a reason.", hint="Say why in a few words with --reason.")
    record = read_json(RunFolder(run_path).record)
    kept = history.open_ledger(testset_path or remembered_set(record), store)
    action, objects = "void", {}
    if superseded_by is not None:
        action, objects = "superseded", {"by": str(read_json(RunFolder(superseded_by).record)["run"]["id"])}
        states.state_of(kept.entries(), objects["by"])
    name = record["run"]["id"]
    chain = history.step(kept, action, who, name, objects, reason=who.reason)
    return {"run": name, "state": action, **objects, "ledger_entry": chain[-1].seq}


def waive(
    testset_path: Path, *, out: Path, who: Who, runs: int | None, until: str | None, store: str | None = None
) -> Waiver:
    """Write a signed waiver of the reuse limit for this set, and enter it in the ledger.

    Raises InputError without a key, or where it says too little (reason; a number of runs or a last day).
    """
    from evalsuite.testset.open import read_lock

    lock, _ = read_lock(testset_path)
    if who.signer is None:
        raise InputError("A waiver is signed.", hint="Give the custodian's key with --key.")
    signature = lock.get("signature") or {}
    if signature.get("keyid") != who.signer.keyid:
        raise InputError(
            "This key did not sign the lock of the test set: a waiver signed with it would be refused.",
            hint="Use the custodian's key. (An unsigned lock has no custodian: lock the set with --key.)",
        )
    kept = history.open_ledger(testset_path, store)
    waiver = write_waiver(
        out,
        testset=str(lock["root"]),
        reason=who.reason,
        who=who.actor,
        role=who.role,
        runs=runs,
        until=until,
        signer=who.signer,
        utc=who.now(),
    )
    history.add(kept, "waived", who, {WAIVER: waiver.digest}, reason=who.reason)
    return waiver

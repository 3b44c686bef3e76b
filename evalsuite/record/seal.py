"""The seal of a run folder: every file's size and digest, and the ledger's head, so that a later change shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evalsuite.errors import EvalsuiteError, IntegrityError, OutputError
from evalsuite.record import ledger
from evalsuite.record.canonical import read_json, write_json
from evalsuite.record.digest import hash_files
from evalsuite.record.files import walk_files

SEAL_SCHEMA = "evalsuite/seal/1"
SEAL_NAME = "SEAL.json"
LEDGER_NAME = "ledger.jsonl"

CheckStatus = Literal["holds", "broken", "absent", "not checked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was verified: its name, how it stands, and the detail a person needs to act."""

    name: str
    status: CheckStatus
    detail: str = ""


def write_seal(run: Path) -> None:
    """Write SEAL.json over every file of `run` but itself and the ledger, whose count and head it records.

    Raises
    ------
    LedgerError
        If the ledger's chain does not hold.
    OutputError
        If a file cannot be read or SEAL.json cannot be written.
    """
    try:
        names = [n for n in walk_files(run) if n not in (SEAL_NAME, LEDGER_NAME)]
        digests = hash_files(run / n for n in names)
        sizes = {n: (run / n).stat().st_size for n in names}
    except OSError as e:
        raise OutputError(f"{run} cannot be sealed: {e.filename} cannot be read ({e.strerror})") from e
    seal: dict[str, Any] = {
        "schema": SEAL_SCHEMA,
        "files": {n: {"size": sizes[n], "sha256": digests[run / n]} for n in names},
        "ledger": None,
    }
    if (run / LEDGER_NAME).exists():
        head = ledger.head(run / LEDGER_NAME)
        seal["ledger"] = {"count": head.count, "head": head.digest}
    write_json(run / SEAL_NAME, seal)


def check_seal(run: Path) -> list[Check]:
    """Compare a run folder with its seal; never raises for a damaged run.

    Returns
    -------
    list of Check
        `seal` (SEAL.json is there and readable), `files` (none changed, missing or extra; a file added later is allowed
        when a later ledger entry records its digest, as signing does), `ledger` (chain intact up to its recorded head).
    """
    try:
        seal = _valid_seal(read_json(run / SEAL_NAME, error=IntegrityError))
    except EvalsuiteError as e:
        missing = not (run / SEAL_NAME).exists()
        detail = "SEAL.json is missing: the run is unfinished, or the seal was removed" if missing else e.message
        return [Check(name="seal", status="broken", detail=detail)]
    entries, ledger_check = _check_ledger(run, seal["ledger"])
    added_later = {d for e in entries[_count(seal) :] for d in e.objects.values()}
    return [
        Check(name="seal", status="holds", detail=f"{len(seal['files'])} files sealed"),
        _check_files(run, seal["files"], added_later),
        ledger_check,
    ]


def _count(seal: dict[str, Any]) -> int:
    return int(seal["ledger"]["count"]) if seal["ledger"] else 0


def _valid_seal(seal: Any) -> dict[str, Any]:
    ok = (
        isinstance(seal, dict)
        and set(seal) == {"schema", "files", "ledger"}
        and seal["schema"] == SEAL_SCHEMA
        and isinstance(seal["files"], dict)
        and all(
            isinstance(f, dict) and isinstance(f.get("sha256"), str) and type(f.get("size")) is int
            for f in seal["files"].values()
        )
        and (
            seal["ledger"] is None
            or (
                isinstance(seal["ledger"], dict)
                and type(seal["ledger"].get("count")) is int
                and seal["ledger"]["count"] >= 0
                and isinstance(seal["ledger"].get("head"), str)
            )
        )
    )
    if not ok:
        raise IntegrityError(f"{SEAL_NAME} does not have the fields of a seal")
    return dict(seal)


def _check_files(run: Path, sealed: dict[str, dict[str, Any]], added_later: set[str]) -> Check:
    try:
        present = [n for n in walk_files(run) if n not in (SEAL_NAME, LEDGER_NAME)]
    except OSError as e:
        return Check(name="files", status="broken", detail=f"{e.filename} cannot be read ({e.strerror})")
    unreadable: list[str] = []
    digests = hash_files((run / n for n in present), on_error=lambda p, _: unreadable.append(str(p)))
    faults = [f"missing: {n}" for n in sorted(set(sealed) - set(present))]
    for name in present:
        digest = digests.get(run / name)
        if name in sealed:
            if digest != sealed[name]["sha256"]:
                faults.append(f"changed: {name}" if digest else f"unreadable: {name}")
        elif digest not in added_later:
            faults.append(f"extra: {name}")
    if faults:
        return Check(name="files", status="broken", detail="; ".join(faults))
    return Check(name="files", status="holds", detail=f"{len(sealed)} files as sealed")


def _check_ledger(run: Path, recorded: dict[str, Any] | None) -> tuple[tuple[ledger.Entry, ...], Check]:
    path = run / LEDGER_NAME
    if recorded is None and not path.exists():
        return (), Check(name="ledger", status="absent", detail="the run was sealed without a ledger")
    try:
        entries = ledger.read(path)
    except EvalsuiteError as e:
        return (), Check(name="ledger", status="broken", detail=e.message)
    head = ledger.LedgerHead(count=recorded["count"], digest=recorded["head"]) if recorded else ledger.head_of(())
    if not ledger.holds_head(entries, head):
        return (), Check(
            name="ledger", status="broken", detail=f"does not contain the {head.count} entries it had when sealed"
        )
    later = len(entries) - head.count
    return entries, Check(name="ledger", status="holds", detail=f"{len(entries)} entries, {later} since the seal")

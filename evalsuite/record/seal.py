"""The seal of a run folder: every file's size and digest, and the ledger's head, so that a later change shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalsuite.errors import EvalsuiteError, InputError, IntegrityError, OutputError
from evalsuite.record import ledger
from evalsuite.record.canonical import canonical_json, parse_json
from evalsuite.record.digest import hash_files, sha256_bytes
from evalsuite.record.envelope import declaration, envelope_path, sign
from evalsuite.record.files import atomic_write, walk_files
from evalsuite.record.signing import Signer
from evalsuite.record.trust import NO_TRUST, Check, CheckStatus, Expected, Trust, check_file_signature

__all__ = [
    "LEDGER_NAME",
    "SEAL_NAME",
    "SEAL_SCHEMA",
    "SIGNED_REPORT",
    "Check",
    "CheckStatus",
    "check_seal",
    "write_seal",
]

SEAL_SCHEMA = "evalsuite/seal/1"
SEAL_NAME = "SEAL.json"
SEAL_ENVELOPE = envelope_path(Path(SEAL_NAME)).name
LEDGER_NAME = "ledger.jsonl"
LEDGER_ENVELOPE = envelope_path(Path(LEDGER_NAME)).name
#: The report with its signatures, which come after the seal: the ledger has its digest.
SIGNED_REPORT = "report.signed.pdf"
#: Not sealed: the seal itself; the ledger, which goes on, with its signed head; and what the ledger vouches for.
_UNSEALED = (SEAL_NAME, SEAL_ENVELOPE, LEDGER_NAME, LEDGER_ENVELOPE)
#: What only an unfinished run needs; removed as soon as it is sealed, and an extra file like any other after that.
_WORK = "work/"


def write_seal(run: Path, *, signer: Signer | None = None, utc: str = "") -> None:
    """Write SEAL.json over every file of `run` but itself and the ledger, whose count and head it records.

    The signed report is not sealed either: it comes later, and the ledger has its digest.

    With `signer` the seal is signed (SEAL.dsse.json). Without, a signed seal over the very same contents stays as it
    is, and over others it is refused: nobody's signature is dropped unsaid.

    Raises
    ------
    LedgerError
        If the ledger's chain does not hold.
    InputError
        If the run is sealed with a signature, has changed since, and no key is given.
    OutputError
        If a file cannot be read or SEAL.json cannot be written.
    """
    seal = _seal_of(run)
    before = signature_of(run)
    if signer is None and before is not None:
        if canonical_json({**seal, "signature": before}) == (run / SEAL_NAME).read_bytes():
            return
        raise needs_key(run, before)
    seal["signature"] = declaration(run / SEAL_NAME, signer)
    data = canonical_json(seal)
    if signer is not None:
        atomic_write(run / SEAL_ENVELOPE, sign(SEAL_NAME, sha256_bytes(data), {"utc": utc}, signer))
    atomic_write(run / SEAL_NAME, data)


def require_same_signing(run: Path, signer: Signer | None) -> None:
    """InputError where the seal of `run` is signed and there is no key to sign a new one with."""
    signature = signature_of(run)
    if signature is not None and signer is None:
        raise needs_key(run, signature)


def needs_key(run: Path, signature: dict[str, Any]) -> InputError:
    """The refusal to write over a signed seal without a key."""
    return InputError(
        f"{run.name} is sealed and signed by key {signature.get('keyid')}; its seal would have to be signed again.",
        hint="Give the key with --key, or work on a copy in another folder.",
    )


def signature_of(run: Path) -> dict[str, Any] | None:
    """What the seal of `run` says of its signature; None where there is no seal or it is unsigned."""
    try:
        found = _read_seal(run).get("signature")
    except EvalsuiteError:
        return None
    return found if isinstance(found, dict) else None


def _seal_of(run: Path) -> dict[str, Any]:
    try:
        names = [n for n in walk_files(run) if n not in (*_UNSEALED, SIGNED_REPORT) and not n.startswith(_WORK)]
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
    return seal


def check_seal(
    run: Path,
    *,
    trust: Trust = NO_TRUST,
    signed_by: Expected | None = None,
    withheld: frozenset[str] = frozenset(),
) -> list[Check]:
    """Compare a run folder with its seal; never raises for a damaged run.

    Parameters
    ----------
    trust
        Keys the reader knows; the seal must then be signed by one of them.
    signed_by
        Who sealed the run according to its ledger.
    withheld
        Files that a copy of the run need not hold; where they are there they must be as sealed.

    Returns
    -------
    list of Check
        `seal` (SEAL.json is there and readable), `seal signature`, `files` (none changed, missing or extra; a file
        added later is allowed when a later ledger entry records its digest, as signing does), `ledger` (chain intact
        up to its recorded head).
    """
    try:
        seal = _read_seal(run)
    except EvalsuiteError as e:
        missing = not (run / SEAL_NAME).exists()
        detail = "SEAL.json is missing: the run is unfinished, or the seal was removed" if missing else e.message
        return [Check(name="seal", status="broken", detail=detail)]
    entries, ledger_check = _check_ledger(run, seal["ledger"])
    added_later = {d for e in entries[_count(seal) :] for d in e.objects.values()}
    return [
        Check(name="seal", status="holds", detail=f"{len(seal['files'])} files sealed"),
        check_file_signature("seal signature", run / SEAL_NAME, seal.get("signature"), trust=trust, expected=signed_by),
        _check_files(run, seal["files"], added_later, withheld),
        ledger_check,
    ]


def _count(seal: dict[str, Any]) -> int:
    return int(seal["ledger"]["count"]) if seal["ledger"] else 0


def _read_seal(run: Path) -> dict[str, Any]:
    path = run / SEAL_NAME
    try:
        data = path.read_bytes()
    except OSError as e:
        raise IntegrityError(f"{path} cannot be read ({e.strerror})") from e
    seal = _valid_seal(parse_json(data, str(path), error=IntegrityError))
    if canonical_json(seal) != data:
        raise IntegrityError(f"{SEAL_NAME} is not in the form it was written in")
    return seal


def _valid_seal(seal: Any) -> dict[str, Any]:
    ok = (
        isinstance(seal, dict)
        and set(seal) - {"signature"} == {"schema", "files", "ledger"}
        and seal["schema"] == SEAL_SCHEMA
        and isinstance(seal["files"], dict)
        and all(
            isinstance(f, dict)
            and set(f) == {"size", "sha256"}
            and isinstance(f["sha256"], str)
            and type(f["size"]) is int
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


def _check_files(
    run: Path, sealed: dict[str, dict[str, Any]], added_later: set[str], withheld: frozenset[str]
) -> Check:
    try:
        # A file that was sealed is compared whatever it is called: earlier seals name the signed head too.
        present = [n for n in walk_files(run) if n in sealed or n not in _UNSEALED]
    except OSError as e:
        return Check(name="files", status="broken", detail=f"{e.filename} cannot be read ({e.strerror})")
    unreadable: list[str] = []
    digests = hash_files((run / n for n in present), on_error=lambda p, _: unreadable.append(str(p)))
    missing = set(sealed) - set(present)
    faults = [f"missing: {n}" for n in sorted(missing - withheld)]
    for name in present:
        digest = digests.get(run / name)
        if name in sealed:
            if digest is None:
                faults.append(f"unreadable: {name}")
            elif digest != sealed[name]["sha256"] or (run / name).stat().st_size != sealed[name]["size"]:
                faults.append(f"changed: {name}")
        elif digest not in added_later:
            faults.append(f"extra: {name}")
    if faults:
        return Check(name="files", status="broken", detail="; ".join(faults))
    left = f"; {len(missing)} left with the run" if missing else ""
    return Check(name="files", status="holds", detail=f"{len(sealed) - len(missing)} files as sealed{left}")


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

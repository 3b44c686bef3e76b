"""The ledger's signed head: how many entries there were and the digest of the last, signed beside the ledger.

A ledger that was cut back to an earlier state looks whole in itself; against a head that was signed later it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from evalsuite.errors import EvalsuiteError, IntegrityError
from evalsuite.record.envelope import Statement, envelope_path, open_envelope, sign
from evalsuite.record.ledger import Draft, Entry, Outline, outline, outline_of
from evalsuite.record.signing import Signer
from evalsuite.record.trust import NO_TRUST, Check, Expected, Trust, fault_of_key, signed_by

#: The object under which a ledger entry names the key of the person who made it.
KEY_OBJECT = "key"
_LEDGER_FILE = "ledger.jsonl"


def sign_head(last: Entry, signer: Signer) -> bytes:
    """The signed head of a ledger that ends with `last`: an envelope, which lies beside the ledger's file."""
    return sign(_LEDGER_FILE, last.digest, {"count": last.seq, "utc": last.utc}, signer)


def named(draft: Draft, signer: Signer | None) -> Draft:
    """The same entry, which names the key of the person who makes it."""
    return draft if signer is None else replace(draft, objects={**draft.objects, KEY_OBJECT: signer.keyid})


def check_head(
    ledger_path: Path, entries: Sequence[Entry] | None = None, *, trust: Trust = NO_TRUST, required: bool = False
) -> Check:
    """Compare a ledger with its signed head: which entries that covers, and by whom it was signed.

    Without a head that is `absent`, unless an entry says that one was signed, or `required` and keys are trusted.
    `entries` are those of the ledger at `ledger_path`, where they are in memory and verified already.
    """
    return check_ledger(ledger_path, entries, trust=trust, required=required)[1]


def check_ledger(
    ledger_path: Path, entries: Sequence[Entry] | None = None, *, trust: Trust = NO_TRUST, required: bool = False
) -> tuple[Check, Check]:
    """The chain of a ledger of any length, and its signed head (`check_head`).

    Where they do not fit and the head has changed meanwhile, both are read once more: somebody was adding an entry.
    """
    head = _bytes_of(envelope_path(ledger_path))
    found = _check_once(ledger_path, entries, trust, required)
    if found[1].status == "broken" and entries is None and _bytes_of(envelope_path(ledger_path)) != head:
        return _check_once(ledger_path, entries, trust, required)
    return found


def _bytes_of(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _check_once(
    ledger_path: Path, entries: Sequence[Entry] | None, trust: Trust, required: bool
) -> tuple[Check, Check]:
    path = envelope_path(ledger_path)
    statement, fault = None, ""
    try:
        statement = open_envelope(path.read_bytes(), path.name)
        at = _count(statement, path.name)
    except FileNotFoundError:
        at = 0
    except EvalsuiteError as e:
        at, fault = 0, e.message
    except OSError as e:
        at, fault = 0, f"{path.name} cannot be read ({e.strerror})"
    try:
        if entries is None:
            found = outline(ledger_path, at=at, having=KEY_OBJECT)
        else:
            found = outline_of(entries, at=at, having=KEY_OBJECT)
    except EvalsuiteError as e:
        head = Check(name=_HEAD, status="not checked", detail="the chain does not hold")
        return Check(name=_CHAIN, status="broken", detail=e.message), head
    detail = f"{found.head.count} entr{'y' if found.head.count == 1 else 'ies'}, head {found.head.digest}"
    chain = Check(name=_CHAIN, status="holds", detail=detail)
    if fault:
        return chain, Check(name=_HEAD, status="broken", detail=fault)
    if statement is None:
        return chain, _without_head(path.name, found, trust, required)
    return chain, _with_head(statement, at, found, trust)


_CHAIN, _HEAD = "ledger chain", "ledger head"


def _without_head(name: str, found: Outline, trust: Trust, required: bool) -> Check:
    last = found.last_with
    if last is not None:
        detail = (
            f"{name} is missing, though entry {last.seq} was signed by key {last.objects[KEY_OBJECT]}: it was removed, "
            "or a command was cut off just then (the next one with --key writes it again)"
        )
        return Check(name=_HEAD, status="broken", detail=detail)
    if trust.keys and required:
        return Check(name=_HEAD, status="broken", detail=f"is unsigned; trusted were: {trust.names()}")
    return Check(name=_HEAD, status="absent", detail="unsigned: that entries were cut off its end would not show")


def _with_head(statement: Statement, count: int, found: Outline, trust: Trust) -> Check:
    if found.at is None or found.at.digest != statement.sha256:
        detail = (
            f"the {count} entries that key {statement.key.keyid} signed are not all in this ledger: it was rolled "
            "back, or is another"
        )
        return Check(name=_HEAD, status="broken", detail=detail)
    last = found.last_with
    if last is not None and last.seq > count:
        detail = (
            f"covers entries 1 to {count} only, though entry {last.seq} was signed by key {last.objects[KEY_OBJECT]}: "
            "an earlier head was put back, or a command was cut off just then (the next one with --key writes it again)"
        )
        return Check(name=_HEAD, status="broken", detail=detail)
    keyid = found.at.objects.get(KEY_OBJECT)
    # whoever signed the head made the last entry it covers
    expected = None if keyid is None else Expected(keyid=keyid, by=f"ledger entry {found.at.seq}")
    fault = fault_of_key(statement, trust=trust, expected=[expected])
    if fault:
        return Check(name=_HEAD, status="broken", detail=fault)
    rest = found.head.count - count
    covered = "all entries" if not rest else f"entries 1 to {count}; the last {rest} added without a key"
    return Check(name=_HEAD, status="holds", detail=f"{covered}; {signed_by(statement, trust)}")


def _count(statement: Statement, name: str) -> int:
    count = statement.facts.get("count")
    if type(count) is not int or count < 1:
        raise IntegrityError(f"{name} does not say how many entries it covers", hint="Restore the file.")
    return count

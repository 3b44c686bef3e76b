"""Whether a signature holds, by whom it was made, and whether that is somebody the reader trusts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from evalsuite.errors import EvalsuiteError
from evalsuite.record.digest import sha256_bytes
from evalsuite.record.envelope import Statement, envelope_path, open_envelope
from evalsuite.record.signing import PublicKey

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

CheckStatus = Literal["holds", "broken", "absent", "not checked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was verified: its name, how it stands, and the detail a person needs to act."""

    name: str
    status: CheckStatus
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The keys a reader knows from elsewhere. None: signatures are checked by the key they carry, and that is said.

    `certificates` are those of the people who sign reports, or of their authorities.
    """

    keys: tuple[PublicKey, ...] = ()
    certificates: tuple[Certificate, ...] = ()

    def knows(self, keyid: str) -> bool:
        return any(key.keyid == keyid for key in self.keys)

    def names(self) -> str:
        """The ids of the trusted keys, for a sentence."""
        return ", ".join(key.keyid for key in self.keys)


NO_TRUST = Trust()


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A key that something else says made the signature: `by` names what says so."""

    keyid: str
    by: str


def check_file_signature(
    name: str,
    file: Path,
    declared: object,
    *,
    trust: Trust = NO_TRUST,
    expected: Expected | None = None,
    required: bool = True,
) -> Check:
    """Check the signature of `file`, which declares in its own bytes that it has one (or None).

    Parameters
    ----------
    declared
        The file's `signature` field.
    expected
        Who signed according to the ledger; another key, or no signature, is then broken.
    required
        Whether a reader who names trusted keys wants this file signed by one of them; otherwise an unsigned one is
        only said.

    Returns
    -------
    Check
        `absent` for a file that was never signed, `broken` for a signature that was taken away, does not verify, is of
        another file, or by a key other than the expected or trusted ones (both are named).
    """
    envelope = envelope_path(file)
    if declared is None:
        return _unsigned(name, envelope, trust, expected, required)
    keyid = declared.get("keyid") if isinstance(declared, Mapping) else None
    if not isinstance(keyid, str) or not isinstance(declared, Mapping) or declared.get("envelope") != envelope.name:
        return Check(name=name, status="broken", detail="the file does not say by which key it was signed")
    try:
        data = envelope.read_bytes()
    except FileNotFoundError:
        return Check(name=name, status="broken", detail=f"{envelope.name} was removed: it was signed by key {keyid}")
    except OSError as e:
        return Check(name=name, status="broken", detail=f"{envelope.name} cannot be read ({e.strerror})")
    try:
        statement = open_envelope(data, envelope.name)
        found = sha256_bytes(file.read_bytes())
    except EvalsuiteError as e:
        return Check(name=name, status="broken", detail=e.message)
    except OSError as e:
        return Check(name=name, status="broken", detail=f"{file.name} cannot be read ({e.strerror})")
    if (statement.name, statement.sha256) != (file.name, found):
        detail = f"{envelope.name} signs {statement.name} with SHA-256 {statement.sha256}; here is {found}"
        return Check(name=name, status="broken", detail=detail)
    fault = fault_of_key(statement, trust=trust, expected=(Expected(keyid=keyid, by=file.name), expected))
    if fault:
        return Check(name=name, status="broken", detail=fault)
    return Check(name=name, status="holds", detail=signed_by(statement, trust))


def fault_of_key(statement: Statement, *, trust: Trust, expected: Iterable[Expected | None]) -> str:
    """A sentence where a signature is by another key than it should be, naming both; "" where it is not."""
    found = statement.key.keyid
    for other in expected:
        if other is not None and other.keyid != found:
            return f"signed by key {found}, but {other.by} names key {other.keyid}"
    if trust.keys and not trust.knows(found):
        return f"signed by key {found}, which is not among the trusted: {trust.names()}"
    return ""


def signed_by(statement: Statement, trust: Trust) -> str:
    """Who signed and when, and whether that key is one the reader knows."""
    when = _time(statement.facts)
    known = "trusted" if trust.keys else "whose key that is was not checked: --trust KEY.pub"
    return f"signed by key {statement.key.keyid}{when} ({known})"


def _time(facts: Mapping[str, Any]) -> str:
    utc = facts.get("utc")
    return f", {utc} by its own clock" if isinstance(utc, str) and utc else ""


def _unsigned(name: str, envelope: Path, trust: Trust, expected: Expected | None, required: bool) -> Check:
    if expected is not None:
        detail = f"is unsigned, but {expected.by} says that it was signed by key {expected.keyid}"
        return Check(name=name, status="broken", detail=detail)
    if envelope.exists():
        return Check(name=name, status="broken", detail=f"is unsigned, but {envelope.name} lies beside it")
    if trust.keys and required:
        return Check(name=name, status="broken", detail=f"is unsigned; trusted were: {trust.names()}")
    return Check(name=name, status="absent", detail="unsigned: any change shows, but not who made it")

"""Signatures beside the files they sign: one DSSE envelope per file, over a statement that names the file's SHA-256."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalsuite.errors import IntegrityError
from evalsuite.record.canonical import canonical_json, parse_json
from evalsuite.record.digest import sha256_bytes
from evalsuite.record.files import atomic_write
from evalsuite.record.signing import PublicKey, Signer, public_key_from

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "urn:evalsuite:signature:1"
_SUFFIX = ".dsse.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What was signed: the subject's name and SHA-256, the facts stated with it, and the key that signed."""

    name: str
    sha256: str
    facts: Mapping[str, Any]
    key: PublicKey


def envelope_path(file: Path) -> Path:
    """Where the envelope of `file` lies: `SEAL.json` has `SEAL.dsse.json`, `ledger.jsonl` has `ledger.dsse.json`."""
    return file.with_name(file.name.removesuffix(".json").removesuffix(".jsonl") + _SUFFIX)


def declaration(file: Path, signer: Signer | None) -> dict[str, str] | None:
    """What a file says of its own signature, inside the bytes that are signed; None where it is unsigned.

    A file that declares a key and has no envelope beside it was signed and is so no longer.
    """
    return None if signer is None else {"keyid": signer.keyid, "envelope": envelope_path(file).name}


def sign(name: str, sha256: str, facts: Mapping[str, Any], signer: Signer) -> bytes:
    """The envelope, as canonical JSON: an in-toto statement about `sha256`, signed with Ed25519.

    References
    ----------
    DSSE 1.0 (secure-systems-lab/dsse); in-toto Statement v1.
    """
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner

    statement = {
        "_type": _STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": sha256}}],
        "predicateType": _PREDICATE,
        "predicate": {**facts, "public_key": signer.public.pem},
    }
    envelope = Envelope(canonical_json(statement), PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(signer.private, signer.public.verifier()))
    return canonical_json(envelope.to_dict())


def sign_file(file: Path, signer: Signer, *, utc: str) -> None:
    """Write the envelope of `file` beside it. OutputError if it cannot be written."""
    atomic_write(envelope_path(file), sign(file.name, sha256_bytes(file.read_bytes()), {"utc": utc}, signer))


def open_envelope(data: bytes, name: str) -> Statement:
    """The statement in an envelope, after checking its signature by the key it carries.

    Whose key that is remains open: compare `key.keyid` with one that is known from elsewhere.

    Raises
    ------
    IntegrityError
        If it is no envelope in the form it was written in, or the signature does not verify.
    """
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError

    broken = IntegrityError(f"{name} is not a signature envelope as it was written", hint="Restore the file.")
    found = parse_json(data, name, error=IntegrityError)
    try:
        # `from_dict` changes its argument, and base64 has several spellings: the bytes must be the one we write.
        envelope = Envelope.from_dict(parse_json(data, name, error=IntegrityError))
        if canonical_json(found) != data or canonical_json(envelope.to_dict()) != data:
            raise broken
        statement = parse_json(envelope.payload, name, error=IntegrityError)
        (subject,) = statement["subject"]
        key = public_key_from(statement["predicate"]["public_key"])
        made = Statement(
            name=str(subject["name"]),
            sha256=str(subject["digest"]["sha256"]),
            facts={k: v for k, v in statement["predicate"].items() if k != "public_key"},
            key=key,
        )
        kinds = (envelope.payload_type, statement["_type"], statement["predicateType"], *envelope.signatures)
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise broken from e
    if kinds != (PAYLOAD_TYPE, _STATEMENT, _PREDICATE, key.keyid):
        raise broken
    try:
        envelope.verify([key.verifier()], 1)
    except VerificationError as e:
        raise IntegrityError(
            f"{name}: the signature does not verify by key {key.keyid}", hint="Restore the file."
        ) from e
    return made

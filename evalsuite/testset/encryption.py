"""The reference standard under lock and key: encrypted where it lies, opened only in memory, by who holds the key."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import InputError, LockError
from evalsuite.record.signing import require_absent, write_secret

if TYPE_CHECKING:
    from evalsuite.testset.types import LockedTestSet

CIPHER = "AES-256-GCM"
_NONCE_BYTES = 12
_HEX64 = re.compile(r"[0-9a-f]{64}\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceKey:
    """256 random bits that open a reference standard; `keyid` is their SHA-256 and gives nothing of them away."""

    keyid: str
    secret: bytes = field(repr=False)


def write_reference_key(path: Path) -> ReferenceKey:
    """Make a key file (64 hexadecimal digits, mode 600); `openssl rand -hex 32` makes the same.

    Raises InputError if the file exists, OutputError if it cannot be written.
    """
    require_absent(path)
    secret = secrets.token_bytes(32)
    write_secret(path, secret.hex().encode() + b"\n")
    return _key(secret)


def load_reference_key(path: Path) -> ReferenceKey:
    """Read a key file. InputError if it is absent, unreadable, or not 64 hexadecimal digits."""
    hint = "Make one with: evalsuite keygen FILE --reference"
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError as e:
        raise InputError(f"The reference key {path} does not exist.", hint=hint) from e
    except OSError as e:
        raise InputError(f"The reference key {path} cannot be read ({e.strerror}).", hint="Check permissions.") from e
    except UnicodeDecodeError as e:
        raise InputError(f"{path} is not a reference key: 64 hexadecimal digits.", hint=hint) from e
    if not _HEX64.fullmatch(text):
        raise InputError(f"{path} is not a reference key: 64 hexadecimal digits.", hint=hint)
    return _key(bytes.fromhex(text.strip()))


def encrypt(data: bytes, key: ReferenceKey, *, root: str) -> bytes:
    """A fresh nonce of 12 bytes, then the ciphertext with its tag; bound to `root`, so that sets cannot be swapped."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key.secret).encrypt(nonce, data, root.encode())


def decrypt(data: bytes, key: ReferenceKey, *, root: str) -> bytes:
    """The plain bytes, in memory. LockError if they do not authenticate: another key, another set, or changed."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key.secret).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], root.encode())
    except (InvalidTag, ValueError) as e:
        raise LockError(
            f"The reference standard does not open with key {key.keyid}: it was changed, or belongs to another set.",
            hint="Restore the test set, or give the key it was locked with.",
        ) from e


def encryption_entry(key: ReferenceKey, ciphertext: bytes) -> dict[str, str]:
    """What the lock says of it: cipher, which key opens it, and the digest by which anyone can check the ciphertext."""
    return {"cipher": CIPHER, "key_id": key.keyid, "sha256": hashlib.sha256(ciphertext).hexdigest()}


def encryption_of(lock: Mapping[str, Any]) -> Mapping[str, str] | None:
    """How the reference standard of a lock is encrypted; None where it is not."""
    found: Mapping[str, str] | None = lock["reference"].get("encryption")
    return found


def require_reference_key(testset: LockedTestSet, key: ReferenceKey | None) -> None:
    """Check that the reference standard could be opened later, without opening it.

    Raises
    ------
    InputError
        If it is encrypted and no key is given, or it is not and one is.
    LockError
        If the key is not the one it was encrypted with.
    """
    require_key(testset.lock, key)


def require_key(lock: Mapping[str, Any], key: ReferenceKey | None) -> None:
    """The same for the content of a lock file."""
    found = encryption_of(lock)
    if found is None:
        if key is not None:
            raise InputError("The reference standard of this test set is not encrypted.", hint="Leave the key out.")
        return
    if key is None:
        raise InputError(
            f"The reference standard of this test set is encrypted with key {found['key_id']}.",
            hint="Give the key file with --reference-key.",
        )
    if key.keyid != found["key_id"]:
        raise LockError(
            f"This is reference key {key.keyid}; the test set was encrypted with key {found['key_id']}.",
            hint="Give the key file it was locked with.",
        )


def _key(secret: bytes) -> ReferenceKey:
    return ReferenceKey(keyid=hashlib.sha256(b"evalsuite reference key\0" + secret).hexdigest(), secret=secret)

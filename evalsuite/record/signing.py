"""Keys that sign: an Ed25519 private key in a PEM file, and the public key by which anyone can check what it signed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from evalsuite.errors import InputError
from evalsuite.record.files import sync_folder, writing

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from securesystemslib.signer import SSlibKey

#: Asked for a passphrase only where the key has one; None where nobody can be asked.
AskPassphrase = Callable[[], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A public key as PEM text, and its name: the SHA-256 of its DER form (SubjectPublicKeyInfo), 64 hex digits.

    The name can be computed without this suite: `openssl pkey -pubin -in KEY.pub -outform DER | sha256sum`.
    """

    keyid: str
    pem: str

    def verifier(self) -> SSlibKey:
        """The key in the form the envelope library checks signatures with."""
        from securesystemslib.signer import SSlibKey

        return SSlibKey.from_crypto(_parse_public(self.pem), keyid=self.keyid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A private key in memory, ready to sign; its representation shows the public half only."""

    public: PublicKey
    private: Ed25519PrivateKey = field(repr=False, compare=False)

    @property
    def keyid(self) -> str:
        return self.public.keyid


def write_key_pair(path: Path, *, passphrase: str | None = None) -> PublicKey:
    """Make a key: `path` holds the private half (PEM, PKCS #8, mode 600), `path`.pub the public half.

    Raises
    ------
    InputError
        If either file exists: a key is never overwritten.
    OutputError
        If they cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public_path = path.with_name(f"{path.name}.pub")
    require_absent(path, public_path)
    private = Ed25519PrivateKey.generate()
    protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        protection = serialization.BestAvailableEncryption(passphrase.encode())
    write_secret(path, private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection))
    public = _public(private.public_key())
    write_secret(public_path, public.pem.encode(), mode=0o644)
    return public


def require_absent(*paths: Path) -> None:
    """InputError if anything is at one of `paths`."""
    taken = [p.name for p in paths if os.path.lexists(p)]
    if taken:
        raise InputError(
            f"{' and '.join(taken)} exist{'s' if len(taken) == 1 else ''} already.",
            hint="A key is never overwritten: choose another name.",
        )


def write_secret(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a new file with `mode` from its first byte on. OutputError if it exists or cannot be written."""
    with writing(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)


def load_signer(path: Path, *, ask: AskPassphrase | None = None) -> Signer:
    """Read a private key made by `evalsuite keygen` or `openssl genpkey -algorithm ed25519`.

    Raises
    ------
    InputError
        If the file is absent, is no private key in PEM form, is a key of another kind, or its passphrase is missing or
        wrong.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _read(path)
    passphrase: bytes | None = None
    if b"ENCRYPTED" in data:
        given = ask() if ask is not None else None
        if not given:
            raise InputError(
                f"The key {path} is protected by a passphrase.",
                hint="Set EVALSUITE_KEY_PASSPHRASE, or run this in a terminal.",
            )
        passphrase = given.encode()
    try:
        private = load_pem_private_key(data, passphrase)
    except (ValueError, TypeError) as e:
        if passphrase is not None:
            raise InputError(f"The passphrase does not open the key {path}.", hint="Try again.") from e
        raise InputError(
            f"{path} is not a private key in PEM form.",
            hint="Give the private key, not KEY.pub. Make one with: evalsuite keygen KEY",
        ) from e
    except Exception as e:  # the library has its own classes for algorithms it does not know
        raise InputError(f"{path} is a key this suite cannot read ({type(e).__name__}).", hint=_MAKE) from e
    if not isinstance(private, Ed25519PrivateKey):
        raise InputError(f"{path} is not an Ed25519 key.", hint=_MAKE)
    return Signer(public=_public(private.public_key()), private=private)


def load_public_key(path: Path) -> PublicKey:
    """Read a public key (PEM). InputError if it is absent, no public key, or of another kind than Ed25519."""
    data = _read(path)
    try:
        return public_key_from(data.decode("ascii"))
    except (ValueError, UnicodeDecodeError) as e:
        private = b"PRIVATE KEY" in data
        raise InputError(
            f"{path} is not an Ed25519 public key in PEM form.",
            hint="This is a private key: give KEY.pub." if private else "Give the KEY.pub that evalsuite keygen wrote.",
        ) from e


def public_key_from(pem: str) -> PublicKey:
    """A public key from PEM text. ValueError if it is none."""
    return _public(_parse_public(pem))


_MAKE = "Make one with: evalsuite keygen KEY"


def _parse_public(pem: str) -> Ed25519PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem.encode())
    except UnsupportedAlgorithm as e:
        raise ValueError("unknown kind of key") from e
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("not an Ed25519 key")
    return key


def _public(key: Ed25519PublicKey) -> PublicKey:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
    return PublicKey(keyid=hashlib.sha256(der).hexdigest(), pem=pem)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as e:
        raise InputError(f"The key {path} does not exist.", hint=_MAKE) from e
    except OSError as e:
        raise InputError(f"The key {path} cannot be read ({e.strerror}).", hint="Check its permissions.") from e

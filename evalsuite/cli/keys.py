"""Keys on the command line: read from files, passphrases asked for or taken from the environment, never shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from evalsuite.errors import InputError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from evalsuite.record.identity import Identity
    from evalsuite.record.signing import PublicKey, Signer
    from evalsuite.record.trust import Trust
    from evalsuite.testset.encryption import ReferenceKey

PASSPHRASE = "EVALSUITE_KEY_PASSPHRASE"
P12_PASSWORD = "EVALSUITE_P12_PASSWORD"
TOKEN_PIN = "EVALSUITE_PKCS11_PIN"


def signer(path: Path | None) -> Signer | None:
    """The key to sign with; its passphrase comes from EVALSUITE_KEY_PASSPHRASE or is asked for."""
    if path is None:
        return None
    from evalsuite.record.signing import load_signer

    return load_signer(path, ask=lambda: _passphrase(f"Passphrase of {path}"))


def trust(paths: Sequence[Path] | None) -> Trust:
    """The public keys a reader trusts, and the certificates of those who sign reports (or of their authorities)."""
    from evalsuite.record.identity import load_trusted_certificates
    from evalsuite.record.signing import load_public_key
    from evalsuite.record.trust import Trust

    known: list[PublicKey] = []
    certified: list[Certificate] = []
    for path in paths or ():
        data = path.read_bytes() if path.is_file() else b""
        if b"-----BEGIN CERTIFICATE-----" in data:
            certified += load_trusted_certificates(data, path)
        else:
            known.append(load_public_key(path))
    return Trust(keys=tuple(known), certificates=tuple(certified))


def identity(path: Path, password_file: Path | None) -> Identity:
    """Certificate and key from PKCS#12 or a token (`pkcs11:…`); the password from a file, the environment, or asked.

    EVALSUITE_P12_PASSWORD opens a file, EVALSUITE_PKCS11_PIN a token.
    """
    from evalsuite.record.identity import load_identity
    from evalsuite.record.token import is_token, load_token_identity

    variable, what = (TOKEN_PIN, "PIN of the token") if is_token(path) else (P12_PASSWORD, f"Password of {path}")

    def ask() -> str | None:
        if password_file is not None:
            return _first_line(password_file)
        return os.environ.get(variable) or _asked(what)

    return load_token_identity(str(path), ask=ask) if is_token(path) else load_identity(path, ask=ask)


def _identity_made(path: Path, name: str, ask_password: bool) -> dict[str, Any]:
    from evalsuite.record.identity import write_identity

    given = os.environ.get(P12_PASSWORD) or (_asked("Password", confirm=True) if ask_password else None)
    if ask_password and not given:
        raise InputError("There is nobody to ask for a password.", hint=f"Set {P12_PASSWORD}, or use a terminal.")
    public, digest = write_identity(path, name, password=given)
    return {
        "kind": "identity",
        "keyid": digest,
        "private": str(path),
        "public": str(public),
        "keep": f"to yourself; give {public.name} to whoever is to check your signatures",
        "next": [f"evalsuite sign RUN --role ROLE --key {path}", f"evalsuite verify RUN --trust {public}"],
    }


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").split("\n")[0].removesuffix("\r")
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"The password file {path} cannot be read.", hint="One line of text, UTF-8.") from e


def certificates(path: Path | None) -> tuple[Certificate, ...]:
    """Certificates of a timestamp authority."""
    if path is None:
        return ()
    from evalsuite.record.timestamp import load_certificates

    return load_certificates(path)


def reference_key(path: Path | None) -> ReferenceKey | None:
    """The key that opens a reference standard."""
    if path is None:
        return None
    from evalsuite.testset.encryption import load_reference_key

    return load_reference_key(path)


def reference_key_to_lock(path: Path | None, *, wanted: bool) -> ReferenceKey | None:
    """The key to encrypt with. InputError where only one of the two options is given."""
    if wanted and path is None:
        raise InputError(
            "--encrypt-reference needs the key to encrypt with.",
            hint="Make one with: evalsuite keygen reference.key --reference; then add --reference-key reference.key",
        )
    if path is not None and not wanted:
        raise InputError("--reference-key encrypts nothing without --encrypt-reference.", hint="Add it, or leave both.")
    return reference_key(path)


def make(path: Path, *, reference: bool, ask_passphrase: bool, name: str | None = None) -> dict[str, Any]:
    """Make a key, and say what it is called, where it lies, and what to do with it."""
    if reference:
        from evalsuite.testset.encryption import write_reference_key

        keyid = write_reference_key(path).keyid
        return {
            "kind": "reference",
            "keyid": keyid,
            "private": str(path),
            "public": None,
            "keep": "with the custodian, apart from the test set; without it the reference standard is lost",
            "next": [f"evalsuite lock CASES --out SET --encrypt-reference --reference-key {path}"],
        }
    if name is not None:
        return _identity_made(path, name, ask_passphrase)
    from evalsuite.record.signing import write_key_pair

    given = os.environ.get(PASSPHRASE) or (_passphrase("Passphrase", confirm=True) if ask_passphrase else None)
    if ask_passphrase and not given:
        raise InputError("There is nobody to ask for a passphrase.", hint=f"Set {PASSPHRASE}, or use a terminal.")
    made = write_key_pair(path, passphrase=given)
    return {
        "kind": "signing",
        "keyid": made.keyid,
        "private": str(path),
        "public": f"{path}.pub",
        "keep": "to yourself; give KEY.pub to whoever is to check your signatures",
        "next": [f"evalsuite lock CASES --out SET --key {path}", f"evalsuite verify SET --trust {path}.pub"],
    }


def _passphrase(prompt: str, *, confirm: bool = False) -> str | None:
    given = os.environ.get(PASSPHRASE)
    return given or _asked(prompt, confirm=confirm)


def _asked(prompt: str, *, confirm: bool = False) -> str | None:
    """What the person at the terminal types, unseen; None where there is no terminal."""
    if not sys.stdin.isatty():
        return None
    asked: str = typer.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True)
    return asked

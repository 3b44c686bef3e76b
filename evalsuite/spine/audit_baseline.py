"""The baseline's cases as an audit seals them: encrypted where the baseline's reference standard is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalsuite.errors import InputError, IntegrityError, LockError
from evalsuite.record.canonical import read_json, write_json
from evalsuite.record.digest import sha256_bytes
from evalsuite.record.files import atomic_write
from evalsuite.spine.folder import RunFolder

if TYPE_CHECKING:
    from evalsuite.testset.encryption import ReferenceKey

SCHEMA = "evalsuite/drift-baseline/1"


def write_baseline(folder: RunFolder, table: bytes, key: ReferenceKey | None, *, root: str) -> None:
    """Put the table of the baseline's cases into the run; with `key` only its ciphertext, bound to the `root` of the
    baseline's set, and beside it which key opens it and the digest of what is in it."""
    from evalsuite.testset.encryption import CIPHER, encrypt

    if key is None:
        atomic_write(folder.drift_baseline, table)
        return
    said = {"schema": SCHEMA, "cipher": CIPHER, "key_id": key.keyid, "root": root, "sha256": sha256_bytes(table)}
    atomic_write(folder.drift_ciphertext, encrypt(table, key, root=root))
    write_json(folder.drift_encryption, said)


def encrypted(folder: RunFolder) -> bool:
    """Whether the run's baseline needs a key."""
    return folder.drift_encryption.exists()


def baseline_digest(folder: RunFolder) -> str | None:
    """Digest of the table, without opening it; None where the run is no audit. IntegrityError if it does not say."""
    if encrypted(folder):
        return str(_entry(folder)["sha256"])
    return sha256_bytes(folder.drift_baseline.read_bytes()) if folder.drift_baseline.exists() else None


def read_baseline(folder: RunFolder, key: ReferenceKey | None) -> bytes:
    """The table of the baseline's cases.

    Raises
    ------
    InputError
        If it is encrypted and no key is given, or it is not and one is.
    LockError
        If the key is another one, or the table was changed.
    """
    from evalsuite.testset.encryption import decrypt, require_key

    if not encrypted(folder):
        if key is not None:
            raise InputError("The baseline of this audit is not encrypted.", hint="Leave the key out.")
        return folder.drift_baseline.read_bytes()
    said = _entry(folder)
    require_key({"reference": {"encryption": said}}, key)
    assert key is not None, "required just now"
    table = decrypt(folder.drift_ciphertext.read_bytes(), key, root=str(said["root"]))
    if sha256_bytes(table) != said["sha256"]:
        raise LockError("The baseline of this audit is not the one it was made with.", hint="Restore the run folder.")
    return table


def _entry(folder: RunFolder) -> dict[str, Any]:
    found: dict[str, Any] = read_json(folder.drift_encryption, error=IntegrityError)
    if not isinstance(found, dict) or not {"key_id", "root", "sha256"} <= found.keys():
        raise IntegrityError(
            f"{folder.drift_encryption.name} is not what an audit writes.",
            hint="Restore the run folder from its copy.",
        )
    return found

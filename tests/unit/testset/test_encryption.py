import json
import stat

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from testset_making import lock, write_table

from evalsuite.errors import InputError, LockError
from evalsuite.testset import open_reference, open_testset, verify_testset
from evalsuite.testset.encryption import (
    decrypt,
    encrypt,
    load_reference_key,
    require_reference_key,
    write_reference_key,
)

CANARY = "CANARY-REFERENCE-7741"


@pytest.fixture
def key(tmp_path):
    return write_reference_key(tmp_path / "reference.key")


@pytest.fixture
def cases(tmp_path):
    rows = [{"case_id": f"c{i}", "truth": CANARY if i % 2 else "0", "sex": "f"} for i in range(6)]
    return write_table(tmp_path / "data", rows)


def test_the_key_file_is_64_hexadecimal_digits_for_its_owner(tmp_path, key):
    path = tmp_path / "reference.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text().strip()) == 64
    assert load_reference_key(path) == key
    assert key.secret.hex() not in repr(key)
    with pytest.raises(InputError, match="exists"):
        write_reference_key(path)
    for wrong in ("", "ab", "zz" * 32, "ab" * 33, "é" * 64):
        path.write_text(wrong)
        with pytest.raises(InputError, match="64 hexadecimal digits"):
            load_reference_key(path)
    with pytest.raises(InputError, match="does not exist"):
        load_reference_key(tmp_path / "absent")
    with pytest.raises(InputError, match="cannot be read"):
        load_reference_key(tmp_path)


def test_the_cipher_is_aes_256_gcm_bound_to_the_root(key):
    made = encrypt(b"plain", key, root="ab" * 32)
    assert AESGCM(key.secret).decrypt(made[:12], made[12:], ("ab" * 32).encode()) == b"plain"
    assert encrypt(b"plain", key, root="ab" * 32) != made  # a nonce is used once
    assert decrypt(made, key, root="ab" * 32) == b"plain"
    with pytest.raises(LockError, match="does not open with key"):
        decrypt(made, key, root="cd" * 32)
    for i in range(8 * len(made)):
        changed = bytearray(made)
        changed[i // 8] ^= 1 << (i % 8)
        with pytest.raises(LockError):
            decrypt(bytes(changed), key, root="ab" * 32)
    for i in range(len(made)):
        with pytest.raises(LockError):
            decrypt(made[:i], key, root="ab" * 32)


def test_encryption_changes_no_identity_and_leaves_nothing_to_read(tmp_path, cases, key):
    plain = lock(cases, tmp_path / "plain", set_id="s")
    hidden = lock(cases, tmp_path / "hidden", set_id="s", reference_key=key)
    assert hidden.root == plain.root
    assert hidden.lock["reference"]["digest"] == plain.lock["reference"]["digest"]
    assert open_reference(hidden).equals(open_reference(plain))
    for path in sorted((tmp_path / "hidden").rglob("*")):
        assert CANARY.encode() not in (path.read_bytes() if path.is_file() else b""), path
    assert not (tmp_path / "hidden" / "reference.parquet").exists()
    assert key.secret.hex() not in json.dumps(hidden.lock)


def test_without_the_key_everything_but_the_content_is_checked(tmp_path, cases, key):
    lock(cases, tmp_path / "set", reference_key=key)
    closed = open_testset(tmp_path / "set")
    with pytest.raises(InputError, match="encrypted with key"):
        open_reference(closed)
    with pytest.raises(InputError, match="encrypted with key"):
        require_reference_key(closed, None)
    other = write_reference_key(tmp_path / "other.key")
    with pytest.raises(LockError, match=other.keyid):
        require_reference_key(closed, other)
    with pytest.raises(LockError, match=key.keyid):
        open_testset(tmp_path / "set", reference_key=other)
    assert all(c.status != "broken" for c in verify_testset(tmp_path / "set"))
    path = tmp_path / "set" / "reference.parquet.aes"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(LockError, match="differs from the locked copy"):
        open_testset(tmp_path / "set")


def test_a_ciphertext_that_fits_its_lock_but_not_its_key_is_seen_when_opened(tmp_path, cases, key):
    """Somebody without the key replaced the ciphertext and made the lock anew around it."""
    import hashlib

    from evalsuite.record.canonical import canonical_json

    lock(cases, tmp_path / "set", reference_key=key)
    forged = encrypt(b"another table", write_reference_key(tmp_path / "forger.key"), root="ab" * 32)
    path = tmp_path / "set" / "testset.lock.json"
    content = json.loads(path.read_bytes())
    content["reference"]["encryption"]["sha256"] = hashlib.sha256(forged).hexdigest()
    path.write_bytes(canonical_json(content))
    (tmp_path / "set" / "reference.parquet.aes").write_bytes(forged)
    found = {c.name: c.status for c in verify_testset(tmp_path / "set", reference_key=key)}
    assert found["reference standard"] == "broken"
    assert found["ledger"] == "broken"  # its first line has the lock's digest


def test_cleartext_beside_an_encrypted_reference_is_an_extra_file(tmp_path, cases, key):
    lock(cases, tmp_path / "plain")
    lock(cases, tmp_path / "set", reference_key=key)
    plain = tmp_path / "plain" / "reference.parquet"
    (tmp_path / "set" / "reference.parquet").write_bytes(plain.read_bytes())
    with pytest.raises(LockError, match="not part of the locked test set"):
        open_testset(tmp_path / "set")


def test_a_key_for_a_set_in_the_clear_is_a_mistake(tmp_path, cases, key):
    lock(cases, tmp_path / "set")
    with pytest.raises(InputError, match="not encrypted"):
        open_testset(tmp_path / "set", reference_key=key)

import stat
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from evalsuite.errors import InputError, IntegrityError, OutputError
from evalsuite.record.canonical import canonical_json
from evalsuite.record.envelope import PAYLOAD_TYPE, envelope_path, open_envelope, sign, sign_file
from evalsuite.record.signing import load_public_key, load_signer, public_key_from, write_key_pair
from evalsuite.record.trust import Expected, Trust, check_file_signature

UTC = "2026-01-02T03:04:05Z"
# RFC 8410, section 10.3: the example private key in PKCS #8 and, in 10.1, its public key.
RFC8410_PRIVATE = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
"""
RFC8410_PUBLIC = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
"""


@pytest.fixture
def signer(tmp_path):
    write_key_pair(tmp_path / "a.key")
    return load_signer(tmp_path / "a.key")


@pytest.fixture
def signed(tmp_path, signer):
    file = tmp_path / "thing.json"
    file.write_bytes(b"{}")
    sign_file(file, signer, utc=UTC)
    return file


def declared(signer):
    return {"keyid": signer.keyid, "envelope": "thing.dsse.json"}


def test_the_example_key_of_rfc_8410(tmp_path):
    (tmp_path / "k").write_text(RFC8410_PRIVATE)
    (tmp_path / "k.pub").write_text(RFC8410_PUBLIC)
    signer = load_signer(tmp_path / "k")
    assert signer.public.pem == RFC8410_PUBLIC
    assert load_public_key(tmp_path / "k.pub") == signer.public
    # printf '%s' "$PUBLIC" | openssl pkey -pubin -outform DER | sha256sum        (OpenSSL 3.0)
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "DER"],
        input=RFC8410_PUBLIC.encode(),
        capture_output=True,
        check=False,
    )
    if der.returncode:
        pytest.skip("openssl is not installed")
    found = subprocess.run(["sha256sum"], input=der.stdout, capture_output=True, check=True).stdout
    assert found.decode().split()[0] == signer.keyid


def test_private_halves_are_private(tmp_path, signer):
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600
    assert "PRIVATE" not in repr(signer)
    with pytest.raises(InputError, match="exist"):
        write_key_pair(tmp_path / "a.key")
    with pytest.raises(OutputError):
        write_key_pair(tmp_path / "no" / "a.key")


def test_passphrases(tmp_path):
    write_key_pair(tmp_path / "p.key", passphrase="correct horse")
    assert load_signer(tmp_path / "p.key", ask=lambda: "correct horse").keyid
    for ask in (None, lambda: None, lambda: "wrong"):
        with pytest.raises(InputError, match="passphrase"):
            load_signer(tmp_path / "p.key", ask=ask)


def test_files_that_are_no_keys(tmp_path):
    path = tmp_path / "x"
    for content in (b"", b"nonsense", RFC8410_PUBLIC.encode(), b"\xff\xfe", RFC8410_PRIVATE[:60].encode()):
        path.write_bytes(content)
        with pytest.raises(InputError):
            load_signer(path)
    path.write_text(RFC8410_PRIVATE)
    with pytest.raises(InputError, match="not an Ed25519 public key"):
        load_public_key(path)
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(InputError, match="not an Ed25519 key"):
        load_signer(path)
    path.write_bytes(other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(InputError, match="not an Ed25519 public key"):
        load_public_key(path)
    with pytest.raises(ValueError, match="Ed25519"):
        public_key_from(path.read_text())
    with pytest.raises(InputError, match="does not exist"):
        load_signer(tmp_path / "absent")
    with pytest.raises(InputError, match="cannot be read"):
        load_public_key(tmp_path)


def test_names_of_envelopes(tmp_path):
    assert envelope_path(tmp_path / "SEAL.json").name == "SEAL.dsse.json"
    assert envelope_path(tmp_path / "testset.lock.json").name == "testset.lock.dsse.json"
    assert envelope_path(tmp_path / "ledger.jsonl").name == "ledger.dsse.json"


def test_an_envelope_states_what_was_signed_and_by_whom(signer):
    data = sign("thing.json", "ab" * 32, {"utc": UTC, "count": 3}, signer)
    found = open_envelope(data, "x")
    assert (found.name, found.sha256, dict(found.facts)) == ("thing.json", "ab" * 32, {"utc": UTC, "count": 3})
    assert found.key == signer.public
    assert sign("thing.json", "ab" * 32, {"utc": UTC, "count": 3}, signer) == data


def test_the_signature_is_over_the_pre_authentication_encoding_of_dsse(signer):
    """By hand, with the protocol's definition: PAE = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body."""
    import base64
    import json

    envelope = json.loads(sign("thing.json", "ab" * 32, {}, signer))
    body = base64.b64decode(envelope["payload"])
    pae = b"DSSEv1 %d %b %d %b" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(body), body)
    signer.private.public_key().verify(base64.b64decode(envelope["signatures"][0]["sig"]), pae)


def test_every_changed_bit_of_an_envelope_is_seen(signer):
    data = sign("thing.json", "ab" * 32, {"utc": UTC}, signer)
    for i in range(8 * len(data)):
        changed = bytearray(data)
        changed[i // 8] ^= 1 << (i % 8)
        with pytest.raises(IntegrityError):
            open_envelope(bytes(changed), "x")
    for i in range(len(data)):
        with pytest.raises(IntegrityError):
            open_envelope(data[:i], "x")


@pytest.mark.parametrize("content", [b"[]", b"1", b"null", b"{}", b'{"payload":1,"payloadType":"x","signatures":{}}'])
def test_what_is_no_envelope(content):
    with pytest.raises(IntegrityError):
        open_envelope(content, "x")


def test_two_signatures_or_none_are_not_ours(signer):
    from evalsuite.record.canonical import parse_json

    envelope = parse_json(sign("thing.json", "ab" * 32, {}, signer), "x")
    for signatures in ([], envelope["signatures"] * 2, [{**envelope["signatures"][0], "keyid": "0" * 64}]):
        with pytest.raises(IntegrityError):
            open_envelope(canonical_json({**envelope, "signatures": signatures}), "x")


def test_a_good_signature(signed, signer):
    check = check_file_signature("s", signed, declared(signer))
    assert check.status == "holds"
    assert signer.keyid in check.detail
    assert "not checked" in check.detail
    trusted = check_file_signature("s", signed, declared(signer), trust=Trust(keys=(signer.public,)))
    assert trusted.status == "holds"
    assert "(trusted)" in trusted.detail


def test_what_breaks_a_signature(signed, signer, tmp_path):
    other = write_key_pair(tmp_path / "other.key")
    mine = declared(signer)

    def detail(said, **options):
        check = check_file_signature("s", signed, said, **options)
        assert check.status == "broken"
        return check.detail

    assert other.keyid in detail(mine, trust=Trust(keys=(other,)))
    assert signer.keyid in detail(mine, trust=Trust(keys=(other,)))
    assert f"line 1 names key {other.keyid}" in detail(mine, expected=Expected(keyid=other.keyid, by="line 1"))
    assert f"thing.json names key {other.keyid}" in detail({**mine, "keyid": other.keyid})
    assert "lies beside it" in detail(None)
    assert "does not say" in detail({"keyid": 1})
    assert "does not say" in detail({**mine, "envelope": "../elsewhere.dsse.json"})
    signed.write_bytes(b"{ }")
    assert "signs thing.json with SHA-256" in detail(mine)
    signed.unlink()
    assert "cannot be read" in detail(mine)
    envelope_path(signed).unlink()
    assert "was removed" in detail(mine)


def test_an_unsigned_file_is_said_and_fails_only_an_expectation(tmp_path, signer):
    file = tmp_path / "thing.json"
    file.write_bytes(b"{}")
    trust = Trust(keys=(signer.public,))
    assert check_file_signature("s", file, None).status == "absent"
    assert check_file_signature("s", file, None, trust=trust, required=False).status == "absent"
    assert check_file_signature("s", file, None, trust=trust).status == "broken"
    assert check_file_signature("s", file, None, expected=Expected(keyid="k", by="line 1")).status == "broken"

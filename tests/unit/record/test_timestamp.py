import contextlib
import hashlib
import socket

import pytest

from evalsuite.errors import InputError, IntegrityError
from evalsuite.record.timestamp import check_timestamp, load_certificates, request_timestamp, timestamp_path
from tests.tsa import make_authority, openssl, running_tsa

DATA = b"what was frozen\n"


@pytest.fixture(scope="module")
def tsa(tmp_path_factory):
    with running_tsa(tmp_path_factory.mktemp("tsa")) as running:
        yield running


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def stamp(tsa):
    return request_timestamp(DATA, tsa.url, roots=load_certificates(tsa.certificate))


def test_a_timestamp_is_of_its_data_and_by_its_authority(stamp, tsa):
    assert stamp.utc.endswith("Z")
    assert check_timestamp(stamp.response, DATA, roots=load_certificates(tsa.certificate)) == stamp
    with pytest.raises(IntegrityError, match="of other data"):
        check_timestamp(stamp.response, DATA + b" ")


def test_openssl_agrees(stamp, tsa, tmp_path):
    (tmp_path / "freeze.json").write_bytes(DATA)
    (tmp_path / "freeze.tsr").write_bytes(stamp.response)
    openssl(
        *("ts", "-verify", "-data", tmp_path / "freeze.json", "-in", tmp_path / "freeze.tsr"),
        *("-CAfile", tsa.certificate),
    )


def test_another_authority_does_not_vouch_for_it(stamp, tmp_path):
    other = load_certificates(make_authority(tmp_path / "other", "Another TSA"))
    with pytest.raises(IntegrityError, match="does not verify under the given certificates"):
        check_timestamp(stamp.response, DATA, roots=other)


def test_no_changed_bit_of_imprint_time_or_signature_goes_unseen(stamp, tsa):
    roots = load_certificates(tsa.certificate)
    imprint = stamp.response.index(hashlib.sha256(DATA).digest())
    stated = stamp.utc.replace("-", "").replace(":", "").replace("T", "").encode()
    time = stamp.response.index(stated)
    signature = len(stamp.response) - 256  # RSA-2048, at the end
    tried = [*range(imprint, imprint + 32), *range(time, time + len(stated)), *range(signature, len(stamp.response), 5)]
    for i in tried:
        changed = bytearray(stamp.response)
        changed[i] ^= 1 << (i % 8)
        with pytest.raises(IntegrityError):
            check_timestamp(bytes(changed), DATA, roots=roots)


def test_a_mutilated_token_is_a_typed_error_or_still_says_the_same(stamp, tsa):
    """The certificate inside the token is not what it is checked by: the reader's own is."""
    roots = load_certificates(tsa.certificate)
    for i in range(0, len(stamp.response), 5):
        changed = bytearray(stamp.response)
        changed[i] ^= 1 << (i % 8)
        with contextlib.suppress(IntegrityError):
            assert check_timestamp(bytes(changed), DATA, roots=roots).utc == stamp.utc
        with contextlib.suppress(IntegrityError):
            check_timestamp(stamp.response[:i], DATA)
            pytest.fail("a truncated token passed")


@pytest.mark.parametrize("end", ["garbage", "other", "fails"])
def test_an_answer_that_is_no_timestamp_of_the_data_is_refused(tsa, end):
    with pytest.raises(InputError, match=r"No timestamp from 127\.0\.0\.1"):
        request_timestamp(DATA, tsa.url.replace("/tsa", f"/{end}"))


def test_nobody_there_and_no_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(InputError, match="No timestamp"):
        request_timestamp(DATA, f"http://127.0.0.1:{port}/", timeout_s=2)
    for url in ("file:///etc/hosts", "ftp://x/", "nonsense", "http://"):
        with pytest.raises(InputError, match="not the address"):
            request_timestamp(DATA, url)


def test_certificates_that_are_none(tmp_path):
    (tmp_path / "a.pem").write_text("no certificate")
    with pytest.raises(InputError, match="holds no certificate"):
        load_certificates(tmp_path / "a.pem")
    with pytest.raises(InputError, match="cannot be read"):
        load_certificates(tmp_path / "absent.pem")


def test_where_it_lies(tmp_path):
    assert timestamp_path(tmp_path / "freeze.json").name == "freeze.tsr"

"""Keys that stay on their token: how one is named, and a signature by one (SoftHSM2, where it is installed)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from evalsuite.errors import InputError
from evalsuite.record.token import is_token, load_token_identity, parse_address

PIN = "271828"
MODULES = [
    *(f"/usr/lib/{a}/softhsm/libsofthsm2.so" for a in ("x86_64-linux-gnu", "aarch64-linux-gnu")),
    "/usr/lib/softhsm/libsofthsm2.so",
]
BOXES = "".join(f'<div id="signature-{role}">{role}</div>' for role in ("author", "reviewer", "qa"))


def test_an_address_is_read() -> None:
    found = parse_address("pkcs11:token=QA%20team;object=Q.%20Approver;id=%01?module-path=/usr/lib/x.so")
    assert found == {"token": "QA team", "object": "Q. Approver", "id": "\x01", "module-path": "/usr/lib/x.so"}
    assert is_token("pkcs11:token=a")
    assert not is_token(Path("author.p12"))


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("pkcs11:", "no token and no module-path and no object"),
        ("pkcs11:token=a;object=b", "no module-path"),
        ("pkcs11:token=a?module-path=/x.so", "no object"),
        ("pkcs11:token?module-path=/x.so", "cannot be read"),
        ("pkcs11:token=a;object=b?module-path=/x.so&pin-value=1", "does not belong"),
    ],
)
def test_an_address_that_lacks_something_is_refused(address: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_address(address)


def test_a_library_that_is_not_there_is_said() -> None:
    pytest.importorskip("pkcs11")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_token_identity("pkcs11:token=a;object=b?module-path=/nowhere/x.so")


def _person(name: str) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = dict.fromkeys(
        ("key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign", "encipher_only",
         "decipher_only"), False,
    )  # fmt: skip
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.KeyUsage(digital_signature=True, content_commitment=True, **usage), critical=True)
        .sign(key, hashes.SHA256())
    )
    return key, made


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A token in software with one person's key and certificate."""
    pkcs11 = pytest.importorskip("pkcs11")
    module = next((m for m in MODULES if Path(m).exists()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM2 is not installed (apt-get install softhsm2)")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\n")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    key, certificate = _person("T. Oken")
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    for command in (
        ["--init-token", "--free", "--label", "QA team", "--pin", PIN, "--so-pin", PIN],
        ["--import", str(folder / "key.pem"), "--token", "QA team", "--label", "T. Oken", "--id", "A1", "--pin", PIN],
    ):
        subprocess.run(["softhsm2-util", *command], check=True, capture_output=True)
    token = pkcs11.lib(module).get_token(token_label="QA team")
    with token.open(user_pin=PIN, rw=True) as session:
        session.create_object(
            {
                pkcs11.Attribute.CLASS: pkcs11.ObjectClass.CERTIFICATE,
                pkcs11.Attribute.CERTIFICATE_TYPE: pkcs11.constants.CertificateType.X_509,
                pkcs11.Attribute.TOKEN: True,
                pkcs11.Attribute.LABEL: "T. Oken",
                pkcs11.Attribute.ID: b"\xa1",
                pkcs11.Attribute.SUBJECT: certificate.subject.public_bytes(),
                pkcs11.Attribute.VALUE: certificate.public_bytes(Encoding.DER),
            }
        )
    yield f"pkcs11:token=QA%20team;object=T.%20Oken?module-path={module}"
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before


def test_a_report_is_signed_with_a_key_that_stays_on_its_token(address: str) -> None:
    from evalsuite.report.pdf import make_pdf
    from evalsuite.report.pdf_signatures import read_signatures
    from evalsuite.report.pdf_signing import Signing, sign_report

    identity = load_token_identity(address, ask=lambda: PIN)
    assert identity.name == "T. Oken"
    page = f'<!DOCTYPE html><html lang="en"><head><title>t</title></head><body>{BOXES}</body></html>'
    plain = make_pdf(page, attachments=(), identifier=b"x", created="")
    signed = sign_report(
        plain, Signing(identity=identity, role="author", utc="2026-01-01T00:00:00Z", meaning="Author of this report")
    )
    identity.key.session.close()  # type: ignore[union-attr]
    assert signed.startswith(plain)
    (one,) = read_signatures(signed, roots=(identity.certificate,))
    assert (one.name, one.role, one.trusted) == ("T. Oken", "author", True)
    assert one.certificate == identity.fingerprint


def test_what_is_wrong_with_a_token_is_said(address: str) -> None:
    for changed, pin, said in (
        (address, "000000", "does not open"),
        (address.replace("QA%20team", "other"), PIN, "no token of that name"),
        (address.replace("T.%20Oken", "nobody"), PIN, "no private key of that name"),
    ):
        with pytest.raises(InputError, match=said):
            load_token_identity(changed, ask=lambda pin=pin: pin)  # type: ignore[misc]

"""People who sign reports: a certificate authority of the tests, and PKCS#12 files made out by it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, pkcs12
from cryptography.x509.oid import NameOID

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PASSWORD = "correct horse"


@dataclass(frozen=True)
class Authority:
    """A certificate authority: its certificate, as object and as PEM file, and its key."""

    certificate: x509.Certificate
    pem: Path
    key: ec.EllipticCurvePrivateKey


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: str, issuer: x509.Name, key: Private, days: tuple[int, int]) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=days[0]))
        .not_valid_after(now + dt.timedelta(days=days[1]))
    )


def _usage(*, signs: bool, certifies: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=signs,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certifies,
        crl_sign=certifies,
        encipher_only=False,
        decipher_only=False,
    )


def make_ca(folder: Path, name: str = "Test CA") -> Authority:
    """A new authority; its certificate is written as ca.pem."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    made = (
        _builder(name, _name(name), key, (-2, 3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(signs=False, certifies=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / f"{name.replace(' ', '-').lower()}.pem"
    pem.write_bytes(made.public_bytes(Encoding.PEM))
    return Authority(certificate=made, pem=pem, key=key)


def make_person(
    path: Path,
    name: str,
    authority: Authority,
    *,
    password: str | None = None,
    key: Private | None = None,
    days: tuple[int, int] = (-1, 1000),
    signs: bool = True,
) -> Path:
    """A PKCS#12 file of a person, valid over `days` from today; an elliptic curve key where none is given."""
    private = key or ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(name, authority.certificate.subject, private, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=signs, certifies=False), critical=True)
        .sign(authority.key, hashes.SHA256())
    )
    protection = NoEncryption() if password is None else BestAvailableEncryption(password.encode())
    path.write_bytes(
        pkcs12.serialize_key_and_certificates(name.encode(), private, certificate, [authority.certificate], protection)
    )
    return path

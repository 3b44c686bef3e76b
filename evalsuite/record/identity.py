"""Who signs a report: a certificate with its private key, from a PKCS#12 file such as an authority hands out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import InputError
from evalsuite.record.signing import require_absent, write_secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.x509 import Certificate, KeyUsage

#: Asked for a password only where the file has one; None where nobody can be asked.
AskPassword = Callable[[], str | None]
_SMALLEST_RSA = 2048
_NOT_P12 = "A PKCS#12 file (.p12 or .pfx) holds a certificate and its private key; openssl pkcs12 -export makes one."


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenKey:
    """A private key that stays on its token: an open session, and by what the key is found there."""

    session: Any = field(repr=False, compare=False)
    label: str
    key_id: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A person's certificate, its private key, and the certificates between it and its authority."""

    certificate: Certificate
    key: RSAPrivateKey | EllipticCurvePrivateKey | TokenKey = field(repr=False, compare=False)
    chain: tuple[Certificate, ...] = ()

    @property
    def name(self) -> str:
        """The name the certificate was made out to."""
        return certificate_name(self.certificate)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate; `openssl x509 -in CERT.pem -outform DER | sha256sum` gives the same."""
        return certificate_digest(self.certificate)


def certificate_name(certificate: Certificate) -> str:
    """The common name, or the whole subject where there is none."""
    from cryptography.x509.oid import NameOID

    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else certificate.subject.rfc4514_string()


def certificate_digest(certificate: Certificate) -> str:
    """SHA-256 of the certificate in DER form, 64 hex digits."""
    from cryptography.hazmat.primitives import hashes

    return certificate.fingerprint(hashes.SHA256()).hex()


def issuers(certificate: Certificate, among: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """The certificates that stand above `certificate`, as far as `among` has them; each verified to issue the last."""
    from cryptography.exceptions import InvalidSignature

    found: list[Certificate] = []
    last = certificate
    while last.issuer != last.subject:
        for other in among:
            if other in found or other.subject != last.issuer:
                continue
            try:
                last.verify_directly_issued_by(other)
            except (ValueError, TypeError, InvalidSignature):
                continue
            found.append(other)
            break
        else:
            return tuple(found)
        last = found[-1]
    return tuple(found)


def load_identity(path: Path, *, ask: AskPassword | None = None, at: datetime | None = None) -> Identity:
    """Read a PKCS#12 file.

    Parameters
    ----------
    ask
        Gives the password; called only where the file does not open without one.
    at
        When the certificate has to be valid; by default now.

    Raises
    ------
    InputError
        If the file is absent or no PKCS#12, the password is missing or wrong, it lacks the certificate or its key, the
        certificate is not valid at that time or may not sign, or the key is neither RSA of 2048 bits or more nor an
        elliptic curve.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    key, certificate, chain = _opened(path, ask)
    if key is None or certificate is None:
        lacking = "no private key" if key is None else "no certificate that belongs to its key"
        raise InputError(f"{path} holds {lacking}.", hint=_NOT_P12)
    if isinstance(key, RSAPrivateKey) and key.key_size < _SMALLEST_RSA:
        raise InputError(f"The RSA key in {path} has {key.key_size} bits.", hint="Use one of 3072 bits.")
    if not isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey):
        raise InputError(f"The key in {path} is of a kind that PDF readers do not check.", hint="Use RSA or ECDSA.")
    require_usable(certificate, path, at or datetime.now(UTC))
    return Identity(certificate=certificate, key=key, chain=issuers(certificate, chain))


def load_trusted_certificates(data: bytes, path: Path) -> tuple[Certificate, ...]:
    """Certificates (PEM, one or more) of signers or their authorities. InputError if they cannot be read."""
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return tuple(load_pem_x509_certificates(data))
    except ValueError as e:
        raise InputError(f"{path} holds a certificate that cannot be read.", hint="Export it again as PEM.") from e


def _opened(path: Path, ask: AskPassword | None) -> tuple[object, Certificate | None, tuple[Certificate, ...]]:
    try:
        data = path.read_bytes()
    except FileNotFoundError as e:
        raise InputError(f"The key {path} does not exist.", hint=_NOT_P12) from e
    except OSError as e:
        raise InputError(f"The key {path} cannot be read ({e.strerror}).", hint="Check its permissions.") from e
    if data.startswith(b"-----BEGIN"):
        raise InputError(f"{path} is a PEM file, not a PKCS#12 file.", hint=_NOT_P12)
    if not data.startswith(b"\x30"):
        raise InputError(f"{path} is not a PKCS#12 file.", hint=_NOT_P12)
    found = _parsed(data, None)
    if found is None:
        given = ask() if ask is not None else None
        if not given:
            raise InputError(
                f"{path} is protected by a password, or is not a PKCS#12 file.",
                hint="Give --password-file, set EVALSUITE_P12_PASSWORD, or run this in a terminal.",
            )
        found = _parsed(data, given.encode())
    if found is None:
        raise InputError(f"The password does not open {path}, or the file is damaged.", hint="Try again.")
    return found


def _parsed(data: bytes, password: bytes | None) -> tuple[object, Certificate | None, tuple[Certificate, ...]] | None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

    try:
        found = load_pkcs12(data, password)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    own = None if found.cert is None else found.cert.certificate
    return found.key, own, tuple(c.certificate for c in found.additional_certs)


def require_usable(certificate: Certificate, path: Path, at: datetime) -> None:
    """InputError unless a certificate is valid at that time and may be used for signatures; `path` is where it is."""
    from cryptography.x509 import ExtensionNotFound, KeyUsage

    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not first <= at <= last:
        raise InputError(
            f"The certificate in {path} is valid from {first:%Y-%m-%d} to {last:%Y-%m-%d} only.",
            hint="Ask your authority for a new one.",
        )
    try:
        usage = certificate.extensions.get_extension_for_class(KeyUsage).value
    except (ExtensionNotFound, ValueError):
        return
    if not (usage.digital_signature or usage.content_commitment):
        raise InputError(f"The certificate in {path} may not be used for signatures.", hint="Use one that may.")


def write_identity(path: Path, name: str, *, password: str | None = None, days: int = 1096) -> tuple[Path, str]:
    """Make a certificate that is signed by itself, for those who have no authority to get one from.

    `path` holds certificate and key (PKCS#12, RSA of 3072 bits, mode 600, protected where there is a password),
    `path`.pem the certificate for whoever checks. Returns the latter's path and the certificate's SHA-256.

    Raises
    ------
    InputError
        If either file exists, or the name is empty or longer than a certificate's may be (64 characters).
    OutputError
        If they cannot be written.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, pkcs12
    from cryptography.x509.oid import NameOID

    public = path.with_name(f"{path.name}.pem")
    require_absent(path, public)
    try:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    except ValueError as e:
        raise InputError("A certificate's name has 1 to 64 characters.", hint="For example --name 'A. Author'.") from e
    key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    begins = datetime.now(UTC).replace(microsecond=0)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_may_sign(), critical=True)
        .sign(key, hashes.SHA256())
    )
    protection = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    write_secret(path, pkcs12.serialize_key_and_certificates(name.encode(), key, made, None, protection))
    write_secret(public, made.public_bytes(Encoding.PEM), mode=0o644)
    return public, certificate_digest(made)


def _may_sign() -> KeyUsage:
    from cryptography.x509 import KeyUsage

    others = ("key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign")
    unused = dict.fromkeys((*others, "encipher_only", "decipher_only"), False)
    return KeyUsage(digital_signature=True, content_commitment=True, **unused)

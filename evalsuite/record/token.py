"""Who signs a report with a key that never leaves its device: a smart card or security module, over PKCS#11."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from evalsuite.errors import InputError
from evalsuite.record.identity import AskPassword, Identity, TokenKey, issuers, require_usable

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

SCHEME = "pkcs11:"
_EXAMPLE = "pkcs11:token=TOKEN;object=LABEL?module-path=/usr/lib/MODULE.so"


def is_token(key: Path | str) -> bool:
    """Whether a key is named by an address of PKCS#11 (RFC 7512) and not by a file."""
    return str(key).startswith(SCHEME)


def parse_address(address: str) -> Mapping[str, str]:
    """The attributes of an RFC 7512 address, decoded. InputError where it lacks what it takes to find one key."""
    path, _, query = address.removeprefix(SCHEME).partition("?")
    parts = [p for p in (*path.split(";"), *query.split("&")) if p]
    if any("=" not in p for p in parts):
        raise InputError("The address of the key cannot be read.", hint=f"For example {_EXAMPLE}")
    found = {name: unquote(value) for name, _, value in (p.partition("=") for p in parts)}
    missing = [n for n in ("token", "module-path") if not found.get(n)]
    if not found.get("object") and not found.get("id"):
        missing.append("object")
    if missing:
        raise InputError(f"The address of the key names no {' and no '.join(missing)}.", hint=f"For example {_EXAMPLE}")
    if "pin-value" in found:
        raise InputError(
            "A PIN does not belong into the address of a key, where others may read it.",
            hint="Give --password-file, set EVALSUITE_PKCS11_PIN, or type it when asked.",
        )
    return found


def load_token_identity(address: str, *, ask: AskPassword | None = None, at: datetime | None = None) -> Identity:
    """Find certificate and key on a token. The session stays open as long as the identity is used.

    Parameters
    ----------
    address
        RFC 7512: `token` (its label), `object` (label of key and certificate) or `id` (percent-encoded), and
        `module-path` (the maker's library). Certificates of authorities on the token become the chain.
    ask
        Gives the PIN; None, or no answer, leaves it to the token's own keypad.
    at
        When the certificate has to be valid; by default now.

    Raises
    ------
    InputError
        If the address lacks something, the library, token, key or certificate is not there, the PIN is wrong, or the
        certificate is not valid at that time or may not sign.
    """
    wanted = parse_address(address)
    pkcs11 = _library()
    session = _session(pkcs11, wanted, ask)
    try:
        key, own, others = _found(pkcs11, session, wanted)
        require_usable(own, Path(wanted["token"]), at or datetime.now(UTC))
    except BaseException:
        session.close()
        raise
    return Identity(certificate=own, key=key, chain=issuers(own, others))


def _found(
    pkcs11: Any, session: Any, wanted: Mapping[str, str]
) -> tuple[TokenKey, Certificate, tuple[Certificate, ...]]:
    """The key, its certificate, and the other certificates of the token."""
    from cryptography.x509 import load_der_x509_certificate
    from pkcs11 import Attribute, KeyType, ObjectClass
    from pkcs11.constants import CertificateType

    try:
        named: dict[Any, Any] = {}
        if wanted.get("object"):
            named[Attribute.LABEL] = wanted["object"]
        if wanted.get("id"):
            named[Attribute.ID] = wanted["id"].encode("latin-1")
        keys = list(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, **named}))
        x509 = {Attribute.CLASS: ObjectClass.CERTIFICATE, Attribute.CERTIFICATE_TYPE: CertificateType.X_509}
        own = [bytes(c[Attribute.VALUE]) for c in session.get_objects({**x509, **named})]
        others = [bytes(c[Attribute.VALUE]) for c in session.get_objects(x509)]
        for what, found in (("private key", keys), ("certificate", own)):
            if len(found) != 1:
                raise InputError(
                    f"The token has {len(found) or 'no'} {what}{'s' * (len(found) > 1)} of that name.",
                    hint="Give object (label) or id as `pkcs11-tool --list-objects` shows them.",
                )
        if keys[0][Attribute.KEY_TYPE] not in (KeyType.RSA, KeyType.EC):
            raise InputError("The key is of a kind that PDF readers do not check.", hint="Use RSA or ECDSA.")
        label, key_id = str(keys[0][Attribute.LABEL]), bytes(keys[0][Attribute.ID])
    except pkcs11.PKCS11Error as e:
        raise InputError(f"The token does not give its key ({type(e).__name__}).", hint="Is it still there?") from e
    key = TokenKey(session=session, label=label, key_id=key_id or None)
    rest = tuple(load_der_x509_certificate(c) for c in others if c != own[0])
    return key, load_der_x509_certificate(own[0]), rest


def _library() -> Any:
    try:
        import pkcs11
    except ImportError as e:
        raise InputError("Keys on tokens need python-pkcs11.", hint="pip install 'evalsuite[token]'") from e
    return pkcs11


def _session(pkcs11: Any, wanted: Mapping[str, str], ask: AskPassword | None) -> Any:
    try:
        library = pkcs11.lib(wanted["module-path"])
    except (RuntimeError, OSError, pkcs11.PKCS11Error) as e:
        raise InputError("The PKCS#11 library (module-path) cannot be loaded.", hint="Give the maker's .so.") from e
    try:
        token = library.get_token(token_label=wanted["token"])
    except pkcs11.PKCS11Error as e:
        raise InputError("There is no token of that name.", hint="Plugged in? pkcs11-tool --list-slots") from e
    pin = ask() if ask is not None else None
    try:
        return token.open(user_pin=pin if pin else pkcs11.PROTECTED_AUTH)
    except pkcs11.PKCS11Error as e:
        raise InputError(
            f"The token does not open ({type(e).__name__}).",
            hint="Check the PIN before you try again: most tokens lock themselves after a few wrong ones.",
        ) from e

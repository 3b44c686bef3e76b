"""Proof of when: an RFC 3161 timestamp from an authority, asked for only where one is configured."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from evalsuite.errors import InputError, IntegrityError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

TIMEOUT_S = 30.0
_LARGEST = 1 << 20  # a response is a few kilobytes; a megabyte is not one


@dataclass(frozen=True, slots=True, kw_only=True)
class Timestamp:
    """A timestamp response (DER) and the time it states, ISO 8601 in UTC."""

    response: bytes
    utc: str


def timestamp_path(file: Path) -> Path:
    """Where the timestamp of `file` lies: `freeze.json` has `freeze.tsr`."""
    return file.with_suffix(".tsr")


def request_timestamp(
    data: bytes, url: str, *, roots: Sequence[Certificate] = (), timeout_s: float = TIMEOUT_S
) -> Timestamp:
    """Ask the authority at `url` to timestamp the SHA-256 of `data` (only the digest is sent), and check the answer.

    With `roots` its signature and certificate are verified too.

    Raises
    ------
    InputError
        If `url` is no http(s) address, the authority cannot be reached, refuses, or answers with something else than a
        timestamp of `data`.

    References
    ----------
    RFC 3161, sections 2.4 and 3.4.
    """
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    query = TimestampRequestBuilder(data=data, hash_algorithm=HashAlgorithm.SHA256).build()
    body = ask_authority(query.as_bytes(), url, timeout_s=timeout_s)
    try:
        found = check_timestamp(body, data, roots=roots)
    except IntegrityError as e:
        raise no_answer(url, e.message) from e
    if _decode(body).tst_info.nonce != query.nonce:
        raise no_answer(url, "its answer belongs to another request")
    return found


def ask_authority(query: bytes, url: str, *, timeout_s: float = TIMEOUT_S) -> bytes:
    """What the authority at `url` answers to a timestamp request (DER), unchecked.

    Raises InputError if `url` is no http(s) address, or the authority cannot be reached or refuses.
    """
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise InputError(f"{url!r} is not the address of a timestamp authority.", hint="It begins with https://.")
    request = urllib.request.Request(
        url, data=query, headers={"Content-Type": "application/timestamp-query"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            found: bytes = answer.read(_LARGEST)
            return found
    except urllib.error.HTTPError as e:
        e.close()
        raise no_answer(url, f"it answered {e.code}") from e
    except (OSError, ValueError) as e:
        cause = getattr(e, "reason", e)
        raise no_answer(url, getattr(cause, "strerror", None) or type(cause).__name__) from e


def check_timestamp(response: bytes, data: bytes, *, roots: Sequence[Certificate] = ()) -> Timestamp:
    """Check that a timestamp is of `data`, and with `roots` that an authority under them made it.

    Certificates have to be valid at the time stated, not today. Without `roots` nobody vouches for the time.

    Raises
    ------
    IntegrityError
        If it is no timestamp, was refused, is of other data, or does not verify under `roots`.
    """
    from rfc3161_client import VerificationError, VerifierBuilder

    found = _decode(response)
    if found.status != 0:
        said = "; ".join(found.status_string)
        raise IntegrityError(f"the timestamp was not granted (status {found.status}){': ' + said if said else ''}")
    try:
        imprint, stated = found.tst_info.message_imprint, found.tst_info.gen_time
    except ValueError as e:
        raise IntegrityError("the timestamp does not have the form of RFC 3161") from e
    if imprint.message != _hashed(data, imprint.hash_algorithm.dotted_string):
        raise IntegrityError("the timestamp is of other data")
    if roots:
        verifier = VerifierBuilder(roots=list(roots)).build()
        try:
            verifier.verify(found, imprint.message)
        except Exception as e:  # a mutilated certificate raises what it likes: in no case does the timestamp verify
            why = str(e) if isinstance(e, VerificationError) else f"its certificate is damaged: {type(e).__name__}"
            raise IntegrityError(f"the timestamp does not verify under the given certificates ({why})") from e
    return Timestamp(response=response, utc=stated.isoformat().replace("+00:00", "Z"))


def load_certificates(path: Path) -> tuple[Certificate, ...]:
    """Certificates (PEM, one or more) to check timestamps with. InputError if the file holds none."""
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return tuple(load_pem_x509_certificates(path.read_bytes()))
    except OSError as e:
        raise InputError(f"The certificate {path} cannot be read ({e.strerror}).", hint="Check the path.") from e
    except ValueError as e:
        raise InputError(f"{path} holds no certificate in PEM form.", hint="Give the authority's certificate.") from e


def _decode(response: bytes) -> Any:
    from rfc3161_client import decode_timestamp_response

    try:
        return decode_timestamp_response(response)
    except ValueError as e:
        raise IntegrityError("this is not an RFC 3161 timestamp") from e


def _hashed(data: bytes, oid: str) -> bytes:
    import hashlib

    names = {
        "2.16.840.1.101.3.4.2.1": "sha256",
        "2.16.840.1.101.3.4.2.2": "sha384",
        "2.16.840.1.101.3.4.2.3": "sha512",
    }
    if oid not in names:
        raise IntegrityError("the timestamp uses a hash function that is not one of SHA-2")
    return hashlib.new(names[oid], data).digest()


def no_answer(url: str, cause: str) -> InputError:
    """The refusal of a stage that was to be timestamped and is not."""
    return InputError(
        f"No timestamp from {urlsplit(url).hostname}: {cause}.",
        hint="Try again, or leave --tsa out: the time is then that of the local clock, and reports say so.",
    )

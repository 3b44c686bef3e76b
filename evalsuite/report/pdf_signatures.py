"""Reading the signatures of a report: are they whole, in their order, over every byte, and by whom."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from evalsuite.errors import IntegrityError
from evalsuite.record.identity import certificate_digest, certificate_name, issuers
from evalsuite.report.approval import APPROVERS, box_id

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from pyhanko.pdf_utils.reader import PdfFileReader
    from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature


@dataclass(frozen=True, slots=True, kw_only=True)
class PdfSignature:
    """One signature that holds: over the first `length` bytes of the file but its own value.

    `trusted` says whether the certificate leads to one the reader trusts; None where the reader named none.
    `stamped_utc` is the time an authority attests, `stamp_trusted` whether that one is trusted; else None.
    """

    role: str
    name: str
    certificate: str
    utc: str
    meaning: str
    length: int
    trusted: bool | None
    stamped_utc: str | None
    stamp_trusted: bool | None


def is_signed(pdf: bytes) -> bool:
    """Whether a PDF has a form, as only signing gives it to a report."""
    return b"/AcroForm" in pdf


def read_signatures(
    pdf: bytes, *, roots: Sequence[Certificate] = (), tsa_roots: Sequence[Certificate] = ()
) -> tuple[PdfSignature, ...]:
    """The signatures of a report in their order, each of them checked.

    Certificates have to be valid at the time of the signature, not today.

    Raises
    ------
    IntegrityError
        If the file cannot be read, a signature does not verify, does not cover everything before it, was made in
        another order, something other than a signature was added afterwards, or bytes that nothing covers were changed.
    """
    from pyhanko.pdf_utils.reader import PdfFileReader

    try:
        with _quiet():
            reader = PdfFileReader(io.BytesIO(pdf))
            found = list(reader.embedded_signatures)
            _require_nothing_else(reader, found)
            return tuple(_checked(pdf, one, place, len(found), roots, tsa_roots) for place, one in enumerate(found))
    except IntegrityError:
        raise
    except Exception as e:  # a mutilated file or certificate raises what it likes: in no case does it verify
        raise IntegrityError(f"its signatures cannot be read ({type(e).__name__})") from e


#: What a signature may change in the catalogue and in its own field; every other object stays as the author signed it.
_IN_CATALOGUE, _IN_FIELD = {"/Extensions", "/Version"}, {"/V", "/AP"}


def _require_nothing_else(reader: PdfFileReader, found: Sequence[EmbeddedPdfSignature]) -> None:
    """IntegrityError where a revision after the author's signature does anything but fill the next signature's field.

    The library's own comparison takes minutes where a report is tagged and long; this one looks at what a revision
    replaces: the catalogue, the file's metadata, and the field.
    """
    from pyhanko.pdf_utils.misc import PdfReadError

    if not found:
        return
    first, count = found[0].signed_revision, reader.xrefs.total_revisions
    if [one.signed_revision for one in found] != list(range(first, count)):
        raise IntegrityError("something other than signatures was added to the report")
    catalogue = reader.trailer.raw_get("/Root").reference
    about = {reader.root.raw_get("/Metadata").reference, reader.trailer.raw_get("/Info").reference}
    for one in found[1:]:
        revision = one.signed_revision
        before, after = (reader.get_historical_resolver(r) for r in (revision - 1, revision))
        allowed = {catalogue: _IN_CATALOGUE, one.sig_field.container_ref: _IN_FIELD}
        for ref in reader.xrefs.explicit_refs_in_revision(revision):
            if ref in about:
                continue
            try:
                old = before.get_object(ref)
            except PdfReadError:
                continue  # a new object
            new = after.get_object(ref)
            if _differing(old, new) - allowed.get(ref, set()):
                raise IntegrityError(f"the report was changed when {one.field_name} was filled in")
        if reader.xrefs.refs_freed_in_revision(revision):
            raise IntegrityError(f"something was taken out of the report when {one.field_name} was filled in")


def _differing(old: object, new: object) -> set[str]:
    """Keys in which two dictionaries of a PDF differ; {""} for other objects that are not the same."""
    from pyhanko.pdf_utils.generic import DictionaryObject, StreamObject

    plain = isinstance(old, DictionaryObject) and isinstance(new, DictionaryObject)
    if not plain or isinstance(old, StreamObject) or isinstance(new, StreamObject):
        return set() if old == new else {""}
    assert isinstance(old, DictionaryObject)
    assert isinstance(new, DictionaryObject)
    keys = {str(k) for k in (*old, *new)}
    return {k for k in keys if (k in old) != (k in new) or (k in old and old.raw_get(k) != new.raw_get(k))}


def _checked(
    pdf: bytes,
    one: EmbeddedPdfSignature,
    place: int,
    count: int,
    roots: Sequence[Certificate],
    tsa_roots: Sequence[Certificate],
) -> PdfSignature:
    from cryptography.x509 import load_der_x509_certificate
    from pyhanko.sign.fields import MDPPerm
    from pyhanko.sign.validation import validate_pdf_signature
    from pyhanko.sign.validation.settings import KeyUsageConstraints
    from pyhanko.sign.validation.status import SignatureCoverageLevel

    wanted = [a.role for a in APPROVERS][place] if place < len(APPROVERS) else None
    if wanted is None or one.field_name != box_id(wanted):
        raise IntegrityError(f"signature {place + 1} is in the field {one.field_name}, not that of the {wanted}")
    at = one.self_reported_timestamp
    usage = KeyUsageConstraints(key_usage={"digital_signature", "non_repudiation"}, match_all_key_usages=False)
    status = validate_pdf_signature(
        one, _context(roots, at), _context(tsa_roots, at), key_usage_settings=usage, skip_diff=True
    )
    if not (status.intact and status.valid):
        raise IntegrityError(f"the signature of the {wanted} does not verify")
    last = place == count - 1
    covers = SignatureCoverageLevel.ENTIRE_FILE if last else SignatureCoverageLevel.ENTIRE_REVISION
    if status.coverage is None or status.coverage < covers:
        raise IntegrityError(f"the signature of the {wanted} does not cover the whole {'file' if last else 'revision'}")
    if (one.docmdp_level == MDPPerm.FILL_FORMS) != (place == 0):
        raise IntegrityError(f"the signature of the {wanted} does not certify the report as it should")
    _require_plain_gap(pdf, one, wanted)
    certificate = load_der_x509_certificate(one.signer_cert.dump())
    _require_whole_chain(certificate, one, wanted)
    stamp = status.timestamp_validity
    if stamp is not None and not (stamp.intact and stamp.valid):
        raise IntegrityError(f"the timestamp of the {wanted}'s signature does not verify")
    return PdfSignature(
        role=wanted,
        name=certificate_name(certificate),
        certificate=certificate_digest(certificate),
        utc=_utc(at),
        meaning=str(one.sig_object.get("/Reason", "")),
        length=_length(one),
        trusted=bool(status.trusted) if roots else None,
        stamped_utc=None if stamp is None else _utc(stamp.timestamp),
        stamp_trusted=None if stamp is None or not tsa_roots else bool(stamp.trusted),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """A certificate that leads nowhere is a result here, not a message of the library on the terminal."""
    names = ("pyhanko", "pyhanko_certvalidator")
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def _context(roots: Sequence[Certificate], at: datetime | None) -> Any:
    """Trust in `roots` and nobody else, at the time of the signature, without asking anybody over the network."""
    from asn1crypto import x509
    from cryptography.hazmat.primitives.serialization import Encoding
    from pyhanko_certvalidator import ValidationContext

    known = [x509.Certificate.load(root.public_bytes(Encoding.DER)) for root in roots]
    return ValidationContext(trust_roots=known, allow_fetching=False, revocation_mode="soft-fail", moment=at)


_HEX = re.compile(rb"<([0-9A-F]+)>")


def _require_plain_gap(pdf: bytes, one: EmbeddedPdfSignature, role: str) -> None:
    """A signature's own value is not covered by it: nothing may stand in it that is not checked by itself."""
    from asn1crypto import cms

    start, length, after, _ = (int(x) for x in one.byte_range)
    gap = _HEX.fullmatch(pdf[start + length : after])
    content = b"" if gap is None else bytes.fromhex(gap[1].decode("ascii"))
    size = len(cms.ContentInfo.load(content).dump()) if content else 0
    data, info = one.signed_data, one.signer_info
    digests = [a.dump() for a in data["digest_algorithms"]]
    unsigned = {a["type"].native for a in info["unsigned_attrs"]}
    if (
        not size
        or cms.ContentInfo({"content_type": "signed_data", "content": data}).dump() != content[:size]
        or any(content[size:])
        or digests != [info["digest_algorithm"].dump()]
        or (data["version"].native, info["version"].native) != ("v1", "v1")
        or data["crls"].native
        or unsigned - {"signature_time_stamp_token"}
    ):
        raise IntegrityError(f"the value of the {role}'s signature is not in the form it was written in")


def _require_whole_chain(certificate: Certificate, one: EmbeddedPdfSignature, role: str) -> None:
    """Certificates that came with the signature are those above the signer's, each signed by the next one."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.x509 import load_der_x509_certificate

    others = [load_der_x509_certificate(c.dump()) for c in one.other_embedded_certs]
    chain = (certificate, *issuers(certificate, others))
    top = chain[-1]
    try:
        if top.issuer == top.subject:
            top.verify_directly_issued_by(top)
    except (ValueError, TypeError, InvalidSignature) as e:
        raise IntegrityError(f"a certificate of the {role}'s signature was changed") from e
    if len(chain) != 1 + len(others):
        raise IntegrityError(f"a certificate of the {role}'s signature was changed")


def _length(one: EmbeddedPdfSignature) -> int:
    _, _, start, length = (int(x) for x in one.byte_range)
    return start + length


def _utc(at: datetime | None) -> str:
    if at is None:
        return ""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

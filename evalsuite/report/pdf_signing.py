"""Signing a report: every signature is added behind the bytes that were there, and changes none of them."""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import InputError, IntegrityError
from evalsuite.record.identity import Identity, TokenKey
from evalsuite.record.timestamp import ask_authority, no_answer
from evalsuite.report.approval import APPROVERS, BOX_MM, box_id
from evalsuite.report.pdf_metadata import withdraw_accessibility
from evalsuite.report.stamp import Stamp, make_stamp

if TYPE_CHECKING:
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.sign.timestamps import TimeStamper

_POINTS = 72 / 25.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """Who signs in which role, when, what it means, and the timestamp authority, where there is one."""

    identity: Identity
    role: str
    utc: str
    meaning: str
    tsa: str | None = None


def sign_report(pdf: bytes, signing: Signing) -> bytes:
    """`pdf` with one more signature.

    The first one makes the boxes of all roles into signature fields and certifies the document: from then on only those
    fields may be filled in. PAdES B-B; B-T where there is a timestamp authority.

    Raises
    ------
    InputError
        If the report has no box for the signature, is signed in this role already, or the authority does not answer.
    IntegrityError
        If the file is no PDF as this suite writes it.

    References
    ----------
    ETSI EN 319 142-1 (PAdES baseline signatures); 21 CFR 11.50 (what a signature shows).
    """
    from pyhanko.pdf_utils.content import ImportedPdfPage
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.pdf_utils.layout import AxisAlignment, SimpleBoxLayoutRule
    from pyhanko.pdf_utils.misc import PdfError
    from pyhanko.sign import fields, signers
    from pyhanko.sign.general import SigningError
    from pyhanko.sign.timestamps.common_utils import TimestampRequestError
    from pyhanko.stamp import StaticStampStyle

    stamp = make_stamp(
        Stamp(
            name=signing.identity.name,
            utc=signing.utc,
            clock="local clock" if signing.tsa is None else "local clock; timestamped by an authority",
            meaning=signing.meaning,
            certificate=signing.identity.fingerprint,
        )
    )
    out = io.BytesIO()
    try:
        writer = IncrementalPdfFileWriter(io.BytesIO(pdf))
        first = "/AcroForm" not in writer.root
        if first:
            _make_fields(pdf, writer)
            withdraw_accessibility(writer)
        with tempfile.TemporaryDirectory(prefix="evalsuite-") as folder:
            page = Path(folder) / "stamp.pdf"
            page.write_bytes(stamp)
            signers.PdfSigner(
                signers.PdfSignatureMetadata(
                    field_name=box_id(signing.role),
                    md_algorithm="sha256",
                    name=signing.identity.name,
                    reason=signing.meaning,
                    certify=first,
                    docmdp_permissions=fields.MDPPerm.FILL_FORMS,
                    subfilter=fields.SigSeedSubFilter.PADES,
                ),
                signer=_signer(signing.identity),
                timestamper=None if signing.tsa is None else _timestamper(signing.tsa),
                stamp_style=StaticStampStyle(
                    background=ImportedPdfPage(str(page)),  # type: ignore[no-untyped-call]
                    background_layout=SimpleBoxLayoutRule(AxisAlignment.ALIGN_MID, AxisAlignment.ALIGN_MID),
                    background_opacity=1.0,
                    border_width=0,
                ),
            ).sign_pdf(writer, output=out, existing_fields_only=True)
    except TimestampRequestError as e:
        raise no_answer(str(signing.tsa), "its answer is not a timestamp of this signature") from e
    except SigningError as e:
        raise InputError(
            f"The report cannot be signed as {signing.role}: {e}.", hint="See who has signed: evalsuite verify RUN"
        ) from e
    except PdfError as e:
        raise IntegrityError(f"The report is not a PDF as it was written ({type(e).__name__}).") from e
    return out.getvalue()


def _make_fields(pdf: bytes, writer: IncrementalPdfFileWriter) -> None:
    """A signature field in every box: one that came after the first signature would invalidate it."""
    from pyhanko.sign import fields

    width, height = (side * _POINTS for side in BOX_MM)
    for name, (page, left, top) in _boxes(pdf).items():
        box = (round(left), round(top - height), round(left + width), round(top))
        fields.append_signature_field(writer, fields.SigFieldSpec(sig_field_name=name, on_page=page, box=box))


def _boxes(pdf: bytes) -> dict[str, tuple[int, float, float]]:
    """Page (from 0), left and top edge in points of each box, by their names in the document."""
    import pikepdf

    wanted = [box_id(approver.role) for approver in APPROVERS]
    try:
        with pikepdf.open(io.BytesIO(pdf)) as document:
            places = pikepdf.NameTree(document.Root.Names.Dests)
            pages = [page.obj.objgen for page in document.pages]
            found = {name: places[name] for name in wanted if name in places}
            boxes = {n: (pages.index(p[0].objgen), float(p[2]), float(p[3])) for n, p in found.items()}
    except (pikepdf.PdfError, AttributeError, KeyError, ValueError, IndexError, TypeError) as e:
        raise IntegrityError(f"The report is not a PDF as it was written ({type(e).__name__}).") from e
    if set(boxes) != set(wanted):
        raise InputError(
            "This report has no page for signatures: it was written by an earlier version of the suite.",
            hint="Write it again with: evalsuite report RUN",
        )
    return boxes


def _signer(identity: Identity) -> Any:
    from asn1crypto import keys, x509
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from pyhanko.sign import signers
    from pyhanko_certvalidator.registry import SimpleCertificateStore

    registry = SimpleCertificateStore()  # type: ignore[no-untyped-call]
    for certificate in identity.chain:
        registry.register(x509.Certificate.load(certificate.public_bytes(Encoding.DER)))
    own = x509.Certificate.load(identity.certificate.public_bytes(Encoding.DER))
    if isinstance(identity.key, TokenKey):
        from pyhanko.sign.pkcs11 import PKCS11Signer

        return PKCS11Signer(
            identity.key.session,
            signing_cert=own,
            ca_chain=list(registry),
            key_label=identity.key.label,
            key_id=identity.key.key_id,
        )
    private = identity.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return signers.SimpleSigner(
        signing_cert=own,
        signing_key=keys.PrivateKeyInfo.load(private),
        cert_registry=registry,
    )


def _timestamper(url: str) -> TimeStamper:
    """Asks the authority in the way the freeze does; the library has its own ways to the network, which stay unused."""
    from asn1crypto import tsp
    from pyhanko.sign.timestamps import TimeStamper
    from pyhanko.sign.timestamps.common_utils import TimestampRequestError

    class Ours(TimeStamper):
        async def async_request_tsa_response(self, req: tsp.TimeStampReq) -> tsp.TimeStampResp:
            answer = ask_authority(req.dump(), url)
            try:
                return tsp.TimeStampResp.load(answer, strict=True)
            except (ValueError, TypeError) as e:
                raise TimestampRequestError("not a timestamp response") from e

    return Ours()  # type: ignore[no-untyped-call]

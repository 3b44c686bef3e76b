"""The signatures of a report: whose they are, in which order, over which bytes, and whether the ledger has them all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evalsuite.errors import EvalsuiteError
from evalsuite.record.digest import sha256_bytes
from evalsuite.record.ledger import Entry
from evalsuite.record.seal import SIGNED_REPORT
from evalsuite.record.trust import Check, CheckStatus
from evalsuite.spine.signing import CERTIFICATE, REPORT
from evalsuite.spine.verification_parts import Reader, checked

if TYPE_CHECKING:
    from evalsuite.report.pdf_signatures import PdfSignature

_NAME = "signed report"


def check_signed_run(folder: Path, signed: Sequence[Entry], reader: Reader) -> list[Check]:
    """The signed report of a run against the run's own ledger, whose `signed` entries are given.

    Returns
    -------
    list of Check
        `signed report` (its bytes are the sealed report and, one after the other, what each signer's entry recorded;
        `absent` where nobody signed), and one for each signature.
    """
    path = folder / SIGNED_REPORT
    if not signed and not path.exists():
        return [Check(name=_NAME, status="absent", detail="nobody has signed the report")]
    if not signed:
        return [Check(name=_NAME, status="broken", detail="the ledger of the run knows of no signature")]
    try:
        pdf, sealed = path.read_bytes(), (folder / "report.pdf").read_bytes()
    except FileNotFoundError as error:
        return [Check(name=_NAME, status="broken", detail=f"{Path(error.filename).name} is missing: it was signed")]
    except OSError as error:
        return [Check(name=_NAME, status="broken", detail=f"cannot be read ({error.strerror})")]
    whole = checked(_NAME, lambda: _as_entered(pdf, sealed, signed))
    if whole.status == "broken":
        return [whole]
    return [whole, *_each(pdf, signed, reader)]


def check_signed_pdf(pdf: bytes, reader: Reader) -> list[Check]:
    """The signatures of a report that lies by itself, without the ledger of its run."""
    return _each(pdf, (), reader)


def _as_entered(pdf: bytes, sealed: bytes, signed: Sequence[Entry]) -> tuple[CheckStatus, str]:
    last = signed[-1]
    digest = sha256_bytes(pdf)
    if digest != last.objects.get(REPORT):
        earlier = next((e for e in signed if e.objects.get(REPORT) == digest), None)
        if earlier is not None:
            said = f"it was rolled back to the signature of the {earlier.role}; the {last.role} signed after that"
            return "broken", f"{said} (ledger entry {last.seq})"
        return "broken", f"it is not the file of ledger entry {last.seq}: its SHA-256 is {digest}"
    if not pdf.startswith(sealed):
        return "broken", "it does not begin with the bytes of the sealed report"
    return "holds", f"the sealed report and {_count(len(signed))}, SHA-256 as in ledger entry {last.seq}"


def _each(pdf: bytes, signed: Sequence[Entry], reader: Reader) -> list[Check]:
    from evalsuite.report.pdf_signatures import read_signatures

    try:
        found = read_signatures(pdf, roots=reader.trust.certificates, tsa_roots=reader.tsa_roots)
    except EvalsuiteError as error:
        return [Check(name="signatures", status="broken", detail=error.message)]
    if not found:
        return [Check(name="signatures", status="broken", detail="there is none: the report was signed once")]
    if signed and [s.role for s in found] != [e.role for e in signed]:
        says = ", ".join(e.role for e in signed)
        return [Check(name="signatures", status="broken", detail=f"the ledger has those of {says}, in this order")]
    checks = []
    for place, one in enumerate(found):
        entry = signed[place] if signed else None
        status, detail = _one(pdf, one, entry)
        checks.append(Check(name=f"signature of the {one.role}", status=status, detail=detail))
    return checks


def _one(pdf: bytes, one: PdfSignature, entry: Entry | None) -> tuple[CheckStatus, str]:
    if entry is not None and entry.objects.get(CERTIFICATE) != one.certificate:
        return "broken", (
            f"by certificate {one.certificate}, but ledger entry {entry.seq} names {entry.objects.get(CERTIFICATE)}"
        )
    if entry is not None and entry.objects.get(REPORT) != sha256_bytes(pdf[: one.length]):
        return "broken", f"what was signed is not the file of ledger entry {entry.seq}"
    if one.trusted is False:
        return "broken", f"by {one.name}, certificate {one.certificate}, which leads to none of the trusted ones"
    if one.stamp_trusted is False:
        return "broken", f"{one.name}: the timestamp is not by one of the authorities given with --tsa-cert"
    known = "trusted" if one.trusted else "whose certificate that is was not checked: --trust CERT.pem"
    return "holds", f"{one.name}, {_when(one)}; {one.meaning} Certificate {one.certificate} ({known})"


def _when(one: PdfSignature) -> str:
    if one.stamped_utc is None:
        return f"{one.utc} by the local clock"
    by = "an authority that is trusted" if one.stamp_trusted else "an authority (whose was not checked: --tsa-cert)"
    return f"{one.stamped_utc} by {by}"


def _count(n: int) -> str:
    return f"{n} signature{'s' if n != 1 else ''}"

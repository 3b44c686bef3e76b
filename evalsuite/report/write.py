"""Writing a report: evidence, verdict and record in, one PDF/A-3 file and its HTML twin out."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evalsuite.errors import IntegrityError
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record.canonical import canonical_json
from evalsuite.record.digest import sha256_bytes
from evalsuite.record.files import atomic_write
from evalsuite.report.dossier import build_dossier
from evalsuite.report.pdf import Attached, make_pdf
from evalsuite.report.render import render_html
from evalsuite.types import Evidence, Exhibits, Verdict


def write_report(
    pdf_path: Path,
    *,
    protocol: StudyProtocol,
    evidence: Evidence,
    verdict: Verdict,
    record: Mapping[str, Any],
    exhibits: Exhibits | None = None,
    html_path: Path | None = None,
) -> None:
    """Write the report as PDF/A-3a to `pdf_path` and, where asked, as one self-contained HTML file to `html_path`.

    Attached to the PDF: evidence.json (canonical bytes, whose SHA-256 is the verdict's evidence digest), verdict.json,
    protocol.yaml and, where there are any, the intake report and the listings of single cases (`exhibits`). The same
    arguments give the same bytes.

    Raises
    ------
    IntegrityError
        If the verdict was reached on other evidence than this.
    OutputError
        If a file cannot be written.
    """
    evidence_bytes = canonical_json(evidence.to_json())
    found = sha256_bytes(evidence_bytes)
    if found != verdict.evidence_digest:
        raise IntegrityError(
            "The verdict was reached on other evidence than this.",
            hint=f"verdict names sha256 {verdict.evidence_digest}, evidence is {found}. Score the run again.",
        )
    dossier = build_dossier(protocol, evidence, verdict, record, exhibits)
    attachments = (
        Attached(
            name="evidence.json", data=evidence_bytes, description="Every finding, curve and count of this report"
        ),
        Attached(
            name="verdict.json", data=canonical_json(verdict.to_json()), description="The verdict with its reasons"
        ),
        Attached(name="protocol.yaml", data=_protocol_yaml(protocol), description="The protocol as it was executed"),
        *_intake(record),
        *_listings(exhibits),
    )
    html = render_html(dossier, medium="print")
    pdf = make_pdf(html, attachments=attachments, identifier=dossier.report_id.encode(), created=dossier.created)
    if html_path is not None:
        atomic_write(html_path, render_html(dossier, medium="screen").encode("utf-8"))
    atomic_write(pdf_path, pdf)


def _intake(record: Mapping[str, Any]) -> tuple[Attached, ...]:
    """The intake report with every case concerned, where the record has one: the same bytes as SET/intake.json."""
    found = (record.get("testset") or {}).get("intake")
    if not found:
        return ()
    described = "What was found when the test set was taken in, with every case concerned"
    return (Attached(name="intake.json", data=canonical_json(found), description=described),)


def _listings(exhibits: Exhibits | None) -> Iterator[Attached]:
    """One CSV per listing, as it lies in the run folder."""
    for listing in () if exhibits is None else exhibits.listings:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows((listing.columns, *listing.rows))
        described = f"Line listing of {listing.name}: one row each"
        yield Attached(name=f"{listing.name}.csv", data=text.getvalue().encode("utf-8"), description=described)


def _protocol_yaml(protocol: StudyProtocol) -> bytes:
    import yaml

    plain = protocol.model_dump(mode="json", by_alias=True)
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100).encode("utf-8")

"""Writing a report: evidence, verdict and record in, one PDF/A-3 file and its HTML twin out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalsuite.errors import IntegrityError
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record.canonical import canonical_json
from evalsuite.record.digest import sha256_bytes
from evalsuite.record.files import atomic_write
from evalsuite.report.attachments import attachments, custom_entries
from evalsuite.report.dossier import build_dossier, build_model_card
from evalsuite.report.pdf import make_pdf
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
    protocol.yaml, the model card, the run's record, its software as a bill of materials, and, where there are any, the
    intake report and the listings of single cases (`exhibits`). The same arguments give the same bytes.

    Raises
    ------
    IntegrityError
        If the verdict was reached on other evidence than this.
    OutputError
        If a file cannot be written.
    """
    found = sha256_bytes(canonical_json(evidence.to_json()))
    if found != verdict.evidence_digest:
        raise IntegrityError(
            "The verdict was reached on other evidence than this.",
            hint=f"verdict names sha256 {verdict.evidence_digest}, evidence is {found}. Score the run again.",
        )
    dossier = build_dossier(protocol, evidence, verdict, record, exhibits)
    card = build_model_card(protocol, evidence, verdict, record)
    files = attachments(protocol, evidence, verdict, record, exhibits, card)
    html = render_html(dossier, medium="print")
    pdf = make_pdf(
        html,
        attachments=files,
        identifier=dossier.report_id.encode(),
        created=dossier.created,
        custom=custom_entries(files, record),
    )
    if html_path is not None:
        atomic_write(html_path, render_html(dossier, medium="screen").encode("utf-8"))
    atomic_write(pdf_path, pdf)

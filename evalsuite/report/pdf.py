"""HTML to PDF/A-3a: tagged, fonts embedded, machine-readable evidence attached, the same bytes every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A file inside the PDF."""

    name: str
    data: bytes
    description: str


def parse_utc(text: str) -> datetime:
    """An ISO time; the epoch where it cannot be read, so that a report never depends on the clock."""
    try:
        parsed = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return datetime(1970, 1, 1, tzinfo=UTC)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def make_pdf(html: str, *, attachments: Sequence[Attached], identifier: bytes, created: str) -> bytes:
    """`html` as PDF/A-3a. `identifier` names the file's contents; `created` (ISO time) dates the attachments.

    Nothing is fetched but data: addresses; anything else in the document is an error rather than a request.
    """
    import weasyprint
    from weasyprint.urls import URLFetcher

    when = parse_utc(created)
    fetcher = URLFetcher(allowed_protocols=["data"], fail_on_errors=True)
    files = [
        weasyprint.Attachment(
            string=a.data, name=a.name, description=a.description, created=when, modified=when, relationship="Data"
        )
        for a in attachments
    ]
    document = weasyprint.HTML(string=html, url_fetcher=fetcher, base_url=None)
    data = document.write_pdf(
        pdf_variant="pdf/a-3a", pdf_tags=True, pdf_identifier=identifier, attachments=files, optimize_images=False
    )
    assert isinstance(data, bytes)
    return data

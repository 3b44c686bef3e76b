"""HTML to PDF/A-3a: tagged, fonts embedded, machine-readable evidence attached, the same bytes every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from evalsuite.report.render import FONT_SCHEME, fonts


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


def closed_fetcher() -> Any:
    """What answers the document's requests: the report's fonts by name and data: addresses, never a file or network."""
    from weasyprint.urls import URLFetcher, URLFetcherResponse

    class ClosedFetcher(URLFetcher):  # type: ignore[misc]
        def fetch(self, url: str, headers: Any = None) -> Any:
            scheme, _, name = url.partition(":")
            if scheme == FONT_SCHEME and name in fonts():
                return URLFetcherResponse(url, fonts()[name])
            return super().fetch(url, headers)

    return ClosedFetcher(allowed_protocols=["data"], fail_on_errors=True)


def make_pdf(html: str, *, attachments: Sequence[Attached], identifier: bytes, created: str) -> bytes:
    """`html` as PDF/A-3a. `identifier` names the file's contents; `created` (ISO time) dates the attachments.

    Nothing is fetched but data: addresses and the report's own fonts; anything else in the document is an error
    rather than a request.
    """
    import weasyprint

    when = parse_utc(created)
    files = [
        weasyprint.Attachment(
            string=a.data, name=a.name, description=a.description, created=when, modified=when, relationship="Data"
        )
        for a in attachments
    ]
    document = weasyprint.HTML(string=html, url_fetcher=closed_fetcher(), base_url=None)
    data = document.write_pdf(
        pdf_variant="pdf/a-3a", pdf_tags=True, pdf_identifier=identifier, attachments=files, optimize_images=False
    )
    assert isinstance(data, bytes)
    return data

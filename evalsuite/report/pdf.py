"""HTML to PDF/A-3a and PDF/UA-1: tagged, fonts embedded, files attached, the same bytes every time, or an error."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, Literal

from evalsuite.errors import OutputError, Problem
from evalsuite.report.pdf_metadata import claim_accessibility
from evalsuite.report.render import FONT_SCHEME, fonts
from evalsuite.report.sound import require_sound

Relationship = Literal["Data", "Source", "Supplement", "Alternative"]

#: Types of attached files. Named here, because the system's own table differs from machine to machine.
_TYPES = {
    ".json": "application/json",
    ".csv": "text/csv",
    ".yaml": "application/yaml",
    ".xml": "application/xml",
    ".md": "text/markdown",
}
#: What WeasyPrint says where a report would be wrong: a link to nowhere, a character without a glyph, a lost resource.
_FAULTS = {
    "No anchor": "a link leads nowhere",
    ".notdef": "a character has no glyph",
    "Failed to load": "something the page shows cannot be loaded",
    "no required alt": "a picture has no text equivalent",
    "Missing required": "the language is not stated",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A file inside the PDF. `relationship` is what it is to the report (ISO 32000-2, 7.11.3)."""

    name: str
    data: bytes
    description: str
    relationship: Relationship = "Data"


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


def make_pdf(
    html: str,
    *,
    attachments: Sequence[Attached],
    identifier: bytes,
    created: str,
    custom: Sequence[tuple[str, str]] = (),
) -> bytes:
    """`html` as PDF/A-3a that is PDF/UA-1 too. `identifier` names the contents, `created` (ISO) dates the attachments.

    Nothing is fetched but data: addresses and the report's own fonts; anything else in the document is an error
    rather than a request. `custom` are further entries of the document's information (ASCII).

    Raises
    ------
    OutputError
        If a character has no glyph, a link leads nowhere, or a figure has no text equivalent.
    """
    import weasyprint

    require_sound(html)
    when = parse_utc(created)
    files = [
        weasyprint.Attachment(
            string=a.data, name=a.name, description=a.description, created=when, modified=when,
            relationship=a.relationship,
        )
        for a in attachments
    ]  # fmt: skip
    options: dict[str, Any] = {"pdf_variant": "pdf/a-3a", "pdf_tags": True, "optimize_images": False}
    with _no_faults(), _collecting_rarely():
        document = weasyprint.HTML(string=html, url_fetcher=closed_fetcher(), base_url=None).render(**options)
        claim_accessibility(document.metadata)
        data = document.write_pdf(
            finisher=lambda _, pdf: _finish(pdf, custom), pdf_identifier=identifier, attachments=files, **options
        )
    assert isinstance(data, bytes)
    return data


def _finish(pdf: Any, custom: Sequence[tuple[str, str]]) -> None:
    """What the PDF maker leaves to chance or does twice: types of attached files, and the list of them."""
    import pydyf  # type: ignore[import-untyped]

    for item in pdf.objects:
        if isinstance(item, dict) and item.get("Type") == "/Filespec":
            stream = pdf.objects[int(item["EF"]["F"].split()[0])]
            kind = _TYPES.get(PurePosixPath(item["UF"].string).suffix, "application/octet-stream")
            stream.extra["Subtype"] = f"/{kind.replace('/', '#2f')}"
    if "AF" in pdf.catalog:
        pdf.catalog["AF"] = pydyf.Array(dict.fromkeys(pdf.catalog["AF"]))
    for name, value in custom:
        pdf.info[name] = pydyf.String(value)


@contextmanager
def _collecting_rarely() -> Iterator[None]:
    """Layout makes millions of small objects that live to its end: looking for garbage among them costs a fifth."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def _no_faults() -> Iterator[None]:
    """OutputError where WeasyPrint reports, in its log, what would make the report wrong."""
    found: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            fault = next((f for f in _FAULTS if f in str(record.msg)), None)
            if fault is not None:
                found.append(_FAULTS[fault])

    log = logging.getLogger("weasyprint")
    listener = Listener(level=logging.WARNING)
    log.addHandler(listener)
    try:
        yield
    finally:
        log.removeHandler(listener)
    if found:
        raise OutputError(
            f"The report is not written: {len(found)} fault{'s' * (len(found) != 1)} in its layout.",
            problems=[Problem(text) for text in dict.fromkeys(found)],
            hint="This is a fault of the suite. Report it.",
        )

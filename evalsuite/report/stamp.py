"""What a signature looks like on its page: who signed, when by which clock, what it means, and by which certificate."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from evalsuite.report.approval import BOX_MM
from evalsuite.report.pdf import closed_fetcher
from evalsuite.report.render import font_faces
from evalsuite.report.text import clean


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """Name, time (ISO 8601, UTC), meaning, and SHA-256 of the certificate; `clock` says whose time it is."""

    name: str
    utc: str
    clock: str
    meaning: str
    certificate: str


_STYLE = """
@page { size: %(width)smm %(height)smm; margin: 0; }
html { font: 8pt/1.35 Inter; color: #1a2430; }
body { margin: 1.6mm 2.4mm; }
p { margin: 0 0 0.5mm; overflow-wrap: anywhere; }
.name { font-size: 10pt; font-weight: 600; }
.digest { font: 5.4pt/1.3 "JetBrains Mono", Inter; color: #5a6675; margin: 0; }
"""


def make_stamp(stamp: Stamp) -> bytes:
    """The stamp as a PDF page of the size of a signature box, its fonts embedded; nothing outside is read."""
    import weasyprint

    width, height = BOX_MM
    lines = (
        ("name", clean(stamp.name, longest=60)),
        ("", clean(f"{stamp.utc} ({stamp.clock})", longest=80)),
        ("", clean(stamp.meaning, longest=140)),
        ("digest", f"certificate SHA-256 {stamp.certificate}"),
    )
    body = "".join(f'<p class="{kind}">{escape(text)}</p>' for kind, text in lines)
    style = font_faces("print") + _STYLE % {"width": width, "height": height}
    head = f'<!DOCTYPE html><html lang="en"><head><title>Signature</title><style>{style}</style></head>'
    html = f"{head}<body>{body}</body></html>"
    data = weasyprint.HTML(string=html, url_fetcher=closed_fetcher(), base_url=None).write_pdf(pdf_variant="pdf/a-3b")
    assert isinstance(data, bytes)
    return data

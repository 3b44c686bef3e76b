"""Structural faults of a report's PDF: what PDF/A-3a and PDF/UA-1 ask for and a program can see without a validator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pikepdf

LONGEST_STRING = 32_767  # ISO 19005-2, 6.1.13
RELATIONS = {"/Data", "/Source", "/Supplement", "/Alternative"}
FORBIDDEN = {"/JavaScript", "/Launch", "/URI", "/GoToR", "/SubmitForm", "/ImportData", "/Movie", "/Sound"}


def structure_faults(path: Path, *, signed: bool = False) -> list[str]:
    """Everything that is wrong; empty for a good file."""
    with pikepdf.open(path) as pdf:
        kinds = list(_elements(pdf.Root.StructTreeRoot))
        return [
            *_metadata(pdf, signed),
            *_objects(pdf),
            *_fonts(pdf),
            *_content(pdf),
            *_tags(kinds),
            *_links(pdf),
            *_attachments(pdf),
        ]


def _elements(node: Any) -> Iterator[Any]:
    if isinstance(node, pikepdf.Dictionary) and "/S" in node:
        yield node
    kids = node.get("/K") if isinstance(node, pikepdf.Dictionary) else None
    for kid in kids if isinstance(kids, pikepdf.Array) else [kids]:
        if isinstance(kid, pikepdf.Dictionary):
            yield from _elements(kid)


def _metadata(pdf: pikepdf.Pdf, signed: bool) -> Iterator[str]:
    xmp = pdf.Root.Metadata.read_bytes().decode()
    metadata = pdf.open_metadata()
    if (metadata.get("pdfaid:part"), metadata.get("pdfaid:conformance")) != ("3", "A"):
        yield "it does not say that it is PDF/A-3a"
    claims = "http://www.aiim.org/pdfua/ns/id/" in xmp
    if claims == signed:
        yield f"it {'claims' if claims else 'does not claim'} PDF/UA-1"
    if xmp.count("<rdf:RDF") != 1:
        yield "its metadata are not one RDF element"
    for key, name in (("dc:title", "/Title"), ("dc:description", "/Subject"), ("xmp:CreatorTool", "/Creator")):
        if str(metadata.get(key)) != str(pdf.docinfo.get(name)):
            yield f"{name} differs between document information and metadata"
    if not pdf.Root.MarkInfo.Marked or not str(pdf.Root.get("/Lang", "")):
        yield "it is not marked as tagged, or has no language"
    if not pdf.Root.ViewerPreferences.get("/DisplayDocTitle", False):
        yield "readers would show its file name instead of its title"
    if pdf.is_encrypted or "/ID" not in pdf.trailer or "/OutputIntents" not in pdf.Root:
        yield "it is encrypted, or has no identifier or output intent"
    if any(page.obj.get("/Tabs") != "/S" for page in pdf.pages):
        yield "a page has no tab order"


def _objects(pdf: pikepdf.Pdf) -> Iterator[str]:
    for item in pdf.objects:
        if not isinstance(item, pikepdf.Dictionary | pikepdf.Stream):
            continue
        if item.get("/Interpolate") is True:
            yield "an image asks for interpolation"
        if "/AA" in item or "/JS" in item or str(item.get("/S", "")) in FORBIDDEN:
            yield "something would act on its own, or reach outside"
        for key, value in item.items():
            if isinstance(value, pikepdf.String) and len(bytes(value)) > LONGEST_STRING:
                yield f"{key} is longer than a string of PDF/A may be"


def _fonts(pdf: pikepdf.Pdf) -> Iterator[str]:
    seen = False
    for item in pdf.objects:
        if not isinstance(item, pikepdf.Dictionary) or item.get("/Type") != "/Font":
            continue
        if item.get("/Subtype") == "/Type0":
            seen = True
            if "/ToUnicode" not in item:
                yield f"{item.BaseFont} does not say which characters it shows"
            continue
        descriptor = item.get("/FontDescriptor")
        if descriptor is None or not any(str(k).startswith("/FontFile") for k in descriptor):
            yield f"{item.get('/BaseFont')} is not embedded"
    if not seen:
        yield "no font was found"


def _content(pdf: pikepdf.Pdf) -> Iterator[str]:
    """Glyph 0 is .notdef; text outside marked content is invisible to a screen reader."""
    for number, page in enumerate(pdf.pages, start=1):
        depth = 0
        for operands, operator in pikepdf.parse_content_stream(page, "BDC BMC EMC Tj TJ"):
            name = str(operator)
            if name in ("BDC", "BMC"):
                depth += 1
            elif name == "EMC":
                depth -= 1
            else:
                parts = operands[0] if isinstance(operands[0], pikepdf.Array) else [operands[0]]
                for part in parts:
                    if isinstance(part, pikepdf.String):
                        data = bytes(part)
                        if any(data[i : i + 2] == b"\0\0" for i in range(0, len(data), 2)):
                            yield f"page {number}: a character has no glyph"
                if not depth:
                    yield f"page {number}: text without a tag"


def _tags(elements: list[Any]) -> Iterator[str]:
    level = 0
    ids: set[bytes] = set()
    for node in elements:
        kind = str(node.S)
        if kind in ("/H1", "/H2", "/H3", "/H4"):
            if int(kind[2]) > level + 1:
                yield f"{kind[1:]} follows a heading of level {level}"
            level = int(kind[2])
        elif kind == "/Figure" and len(str(node.get("/Alt", ""))) < 10:
            yield "a figure has no text equivalent"
        elif kind == "/TH" and "/ID" in node:
            ids.add(bytes(node.ID))
    kinds = {str(n.S) for n in elements}
    yield from (f"there is no {k}" for k in {"/Document", "/H1", "/H2", "/Table", "/TH", "/TD", "/P", "/L"} - kinds)
    for node in elements:
        if str(node.S) == "/TD":
            headers = [bytes(h) for h in node.A.get("/Headers", [])]
            if not headers:
                yield "a cell has no heading"
            if not ids.issuperset(headers):
                yield "a cell names a heading that is not there"


def _links(pdf: pikepdf.Pdf) -> Iterator[str]:
    places = pikepdf.NameTree(pdf.Root.Names.Dests) if "/Dests" in pdf.Root.get("/Names", {}) else {}
    known = {page.obj.objgen for page in pdf.pages}
    for number, page in enumerate(pdf.pages, start=1):
        for link in page.obj.get("/Annots", []):
            if link.Subtype != "/Link":
                continue
            if "/StructParent" not in link or "/Contents" not in link:
                yield f"page {number}: a link has no tag or no text"
            place = link.get("/Dest")
            if isinstance(place, pikepdf.String):
                place = places.get(str(place))
            if place is None or place[0].objgen not in known:
                yield f"page {number}: a link leads nowhere"


def _attachments(pdf: pikepdf.Pdf) -> Iterator[str]:
    named = {str(spec.obj.UF): spec.obj for spec in pdf.attachments.values()}
    listed = [str(spec.UF) for spec in pdf.Root.get("/AF", [])]
    if sorted(listed) != sorted(named):
        yield "the document is not associated with each attached file exactly once"
    for name, spec in named.items():
        stream = spec.EF.F
        if str(spec.get("/AFRelationship")) not in RELATIONS:
            yield f"{name}: what it is to the report is not said"
        if str(stream.get("/Subtype")) in ("", "None", "/application/octet-stream") or "/ModDate" not in stream.Params:
            yield f"{name} has no type or no date"
        if not str(spec.get("/Desc", "")) or "/F" not in spec:
            yield f"{name} is not described"

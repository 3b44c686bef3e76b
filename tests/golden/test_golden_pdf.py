"""The PDF of a made-up study: archival, tagged, complete, the same bytes twice, and laid out without a fault."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pikepdf
import pytest
from factory import Study, study
from factory_odd import ODD
from layout import examine, laid_out

from evalsuite.errors import IntegrityError, OutputError
from evalsuite.record.canonical import canonical_json
from evalsuite.report import build_dossier, write_report
from evalsuite.report.render import render_html
from evalsuite.types import Evidence, Verdict

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def final(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(folder / "report.pdf", html_path=folder / "report.html", **study().arguments())
    return folder


@pytest.fixture
def pdf(final: Path) -> Iterator[pikepdf.Pdf]:
    with pikepdf.open(final / "report.pdf") as opened:
        yield opened


def _walk(node: Any) -> Iterator[Any]:
    if isinstance(node, pikepdf.Dictionary) and "/S" in node:
        yield node
    kids = node.get("/K") if isinstance(node, pikepdf.Dictionary) else None
    for kid in kids if isinstance(kids, pikepdf.Array) else [kids]:
        if isinstance(kid, pikepdf.Dictionary):
            yield from _walk(kid)


def test_it_declares_pdf_a_3a_and_fixed_dates(pdf: pikepdf.Pdf) -> None:
    metadata = pdf.open_metadata()
    assert metadata["pdfaid:part"] == "3"
    assert metadata["pdfaid:conformance"] == "A"
    assert pdf.docinfo["/CreationDate"] == "D:20260114091358Z"
    assert pdf.Root.MarkInfo.Marked
    assert pdf.Root.Lang == "en"
    assert "/OutputIntents" in pdf.Root


def test_it_has_pages_bookmarks_and_headings(pdf: pikepdf.Pdf) -> None:
    assert 15 <= len(pdf.pages) <= 30
    with pdf.open_outline() as outline:
        titles = [item.title for item in outline.root]
    assert titles[:3] == ["Summary", "Contents", "0 Document control"]
    assert titles[-1].endswith("Glossary")
    kinds = [str(node.S) for node in _walk(pdf.Root.StructTreeRoot)]
    assert kinds.count("/H2") == len(titles)
    assert {"/Table", "/TH", "/TD", "/Figure", "/Caption", "/H1", "/P"} <= set(kinds)


def test_every_figure_has_a_text_equivalent(pdf: pikepdf.Pdf) -> None:
    figures = [node for node in _walk(pdf.Root.StructTreeRoot) if node.S == "/Figure"]
    assert len(figures) == 8
    assert all(len(str(f.get("/Alt", ""))) > 20 for f in figures)


def test_it_carries_evidence_verdict_and_protocol(pdf: pikepdf.Pdf) -> None:
    s = study()
    relations = {name: str(spec.obj["/AFRelationship"]) for name, spec in pdf.attachments.items()}
    assert relations == {
        "evidence.json": "/Data",
        "verdict.json": "/Data",
        "protocol.yaml": "/Source",
        "intake.json": "/Data",
        "record.json": "/Data",
        "software.cdx.json": "/Supplement",
        "model-card.xml": "/Supplement",
        "model-card.md": "/Supplement",
    }
    assert pdf.attachments["record.json"].get_file().read_bytes() == canonical_json(dict(s.record))
    bill = json.loads(pdf.attachments["software.cdx.json"].get_file().read_bytes())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    data = pdf.attachments["evidence.json"].get_file().read_bytes()
    assert data == canonical_json(s.evidence.to_json())
    assert hashlib.sha256(data).hexdigest() == s.verdict.evidence_digest
    assert b"synthetic-lesion-standalone" in pdf.attachments["protocol.yaml"].get_file().read_bytes()


def test_all_fonts_are_the_reports_own_and_embedded(pdf: pikepdf.Pdf) -> None:
    fonts = {}
    for page in pdf.pages:
        for font in page.Resources.get("/Font", {}).values():
            descriptor = font.DescendantFonts[0].FontDescriptor
            fonts[str(font.BaseFont)] = any(key.startswith("/FontFile") for key in descriptor)
    assert fonts
    assert all(fonts.values())
    assert all(re.fullmatch(r"/[A-Z]{6}\+(Inter|Inter-.*|JetBrains-Mono)", name) for name in fonts)


def test_no_image_asks_for_interpolation_and_no_script_is_inside(pdf: pikepdf.Pdf) -> None:
    for item in pdf.objects:
        if isinstance(item, pikepdf.Dictionary | pikepdf.Stream):
            assert item.get("/Interpolate") is not True
            assert "/JS" not in item
            assert "/JavaScript" not in item
            assert "/URI" not in item


def test_qpdf_finds_nothing_wrong(final: Path) -> None:
    if shutil.which("qpdf") is None:
        pytest.skip("qpdf is not installed")
    done = subprocess.run(["qpdf", "--check", str(final / "report.pdf")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_another_process_writes_the_same_bytes(final: Path, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r}); from pathlib import Path; from factory import study\n"
        "from evalsuite.report import write_report\n"
        f"out = Path({str(tmp_path)!r}); write_report(out / 'b.pdf', html_path=out / 'b.html', **study().arguments())"
    )
    environment = {
        "PYTHONPATH": str(HERE.parents[1]),
        "PYTHONHASHSEED": "12345",
        "PATH": "/usr/bin:/bin",
        "TZ": "Asia/Tokyo",
    }
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert (tmp_path / "b.pdf").read_bytes() == (final / "report.pdf").read_bytes()
    assert (tmp_path / "b.html").read_bytes() == (final / "report.html").read_bytes()


def test_the_html_twin_refers_to_nothing_outside(final: Path) -> None:
    html = (final / "report.html").read_text(encoding="utf-8")
    assert len(html) < 3_000_000
    scripts = re.findall(r"<script>(.*?)</script>", html, flags=re.S)
    assert len(scripts) == html.count("<script") == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"default-src &#39;none&#39;; script-src &#39;sha256-{digest}&#39;;" in html, "no other script may run"
    assert not re.search(r"\son\w+=", re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.S))
    assert not re.findall(r"""(?:src|href)=["'](?!#)[^"']*""", html)
    assert all(u.startswith("data:") for u in re.findall(r"url\(([^)]*)\)", html))
    assert not re.search("https?:", html.replace("http://www.w3.org/2000/svg", ""))


def test_no_placeholder_of_a_missing_value_is_printed(final: Path) -> None:
    html = (final / "report.html").read_text(encoding="utf-8")
    text = re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", html, flags=re.S)
    assert not re.search(r">\s*(None|nan|NaN|null|undefined)\s*<", text)
    assert "None," not in text


def _faults(s: Study) -> tuple[list[str], list[str]]:
    html = render_html(build_dossier(s.protocol, s.evidence, s.verdict, s.record), medium="print")
    pages = examine(laid_out(html))
    return [p.text for p in pages], [fault for p in pages for fault in p.faults]


@pytest.mark.parametrize("name", ["final", "draft", *ODD])
def test_no_page_is_cut_empty_or_ends_with_a_heading(name: str) -> None:
    made = {"final": study, "draft": lambda: study(outcome="not_met", frozen=False, complete=False), **ODD}[name]()
    texts, faults = _faults(made)
    assert not faults
    # The cover and the summary are one page each, whatever is written into them.
    assert texts[1].startswith("Summary")
    assert texts[2].startswith("Contents")


def test_a_run_that_is_not_evidence_says_so_on_every_page(tmp_path: Path) -> None:
    s = study(frozen=False, few=True)
    write_report(tmp_path / "draft.pdf", **s.arguments())
    if shutil.which("pdftotext") is None:
        pytest.skip("poppler is not installed")
    done = subprocess.run(["pdftotext", str(tmp_path / "draft.pdf"), "-"], capture_output=True, text=True, check=True)
    pages = done.stdout.split("\f")[:-1]
    assert len(pages) > 10
    assert all("NOT EVIDENCE — the protocol is not frozen" in page for page in pages)
    assert all(s.verdict.evidence_digest in page for page in pages)


def test_a_report_is_made_again_from_json() -> None:
    s = study(few=True)
    evidence = Evidence.from_json(json.loads(canonical_json(s.evidence.to_json())))
    verdict = Verdict.from_json(json.loads(canonical_json(s.verdict.to_json())))
    assert build_dossier(s.protocol, evidence, verdict, s.record) == build_dossier(
        s.protocol, s.evidence, s.verdict, s.record
    )


def test_a_verdict_on_other_evidence_is_refused(tmp_path: Path) -> None:
    s, other = study(), study(missing=False)
    with pytest.raises(IntegrityError, match="other evidence"):
        write_report(
            tmp_path / "x.pdf", protocol=s.protocol, evidence=other.evidence, verdict=s.verdict, record=s.record
        )
    assert not (tmp_path / "x.pdf").exists()


def test_an_unwritable_place_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        write_report(tmp_path / "absent" / "x.pdf", **study(few=True).arguments())


def test_nothing_outside_the_document_is_fetched() -> None:
    from weasyprint.urls import FatalURLFetchingError

    from evalsuite.report.pdf import make_pdf

    for address in ("file:///etc/passwd", "http://example.invalid/x.png"):
        with pytest.raises(FatalURLFetchingError):
            make_pdf(f'<html lang="en"><img alt="x" src="{address}">', attachments=(), identifier=b"x", created="")

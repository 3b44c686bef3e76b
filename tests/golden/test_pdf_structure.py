"""The PDF as a validator would see it, the ways a faulty one is refused, and its first pages as pictures."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pikepdf
import pytest
from factory import study
from factory_odd import overfull
from layout import examine, laid_out
from pdf_structure import structure_faults
from PIL import Image

from evalsuite.errors import OutputError
from evalsuite.report import write_report
from evalsuite.report.pdf import make_pdf
from evalsuite.report.sound import require_sound

HERE = Path(__file__).resolve().parent
#: The smallest PNG: one grey dot.
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
HEAD = '<!DOCTYPE html><html lang="en"><head><title>t</title></head><body>'


@pytest.fixture(scope="module")
def final(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("structure") / "report.pdf"
    write_report(path, **study(few=True).arguments())
    return path


def test_nothing_is_wrong_with_the_structure(final: Path) -> None:
    assert structure_faults(final) == []


def test_hostile_text_changes_nothing_about_the_structure(tmp_path: Path) -> None:
    write_report(tmp_path / "report.pdf", **overfull().arguments())
    assert structure_faults(tmp_path / "report.pdf") == []


def _no_alt(pdf: pikepdf.Pdf) -> None:
    for item in pdf.objects:
        if isinstance(item, pikepdf.Dictionary) and item.get("/S") == "/Figure":
            del item["/Alt"]


def _no_font(pdf: pikepdf.Pdf) -> None:
    for item in pdf.objects:
        if isinstance(item, pikepdf.Dictionary) and item.get("/Type") == "/FontDescriptor":
            for key in [k for k in item.keys() if k.startswith("/FontFile")]:  # noqa: SIM118
                del item[key]


def _no_relation(pdf: pikepdf.Pdf) -> None:
    for spec in pdf.attachments.values():
        del spec.obj["/AFRelationship"]


def _lost_link(pdf: pikepdf.Pdf) -> None:
    link = next(a for p in pdf.pages for a in p.obj.get("/Annots", []))
    link.Dest = pikepdf.String("nowhere")


def _no_claim(pdf: pikepdf.Pdf) -> None:
    pdf.Root.Metadata.write(pdf.Root.Metadata.read_bytes().replace(b"pdfua/ns", b"other/ns"))


def _notdef(pdf: pikepdf.Pdf) -> None:
    page = pdf.pages[0]
    page.contents_add(b"/P <</MCID 9999>> BDC BT <0000> Tj ET EMC")


def _untagged(pdf: pikepdf.Pdf) -> None:
    pdf.pages[0].contents_add(b"BT <0001> Tj ET")


def _interpolated(pdf: pikepdf.Pdf) -> None:
    pdf.Root["/Test"] = pdf.make_indirect(pikepdf.Dictionary(Interpolate=True))


def _headless(pdf: pikepdf.Pdf) -> None:
    for item in pdf.objects:
        if isinstance(item, pikepdf.Dictionary) and item.get("/S") == "/H2":
            item.S = pikepdf.Name("/H3")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_no_alt, "no text equivalent"),
        (_no_font, "not embedded"),
        (_no_relation, "is not said"),
        (_lost_link, "leads nowhere"),
        (_no_claim, "does not claim PDF/UA-1"),
        (_notdef, "has no glyph"),
        (_untagged, "without a tag"),
        (_interpolated, "interpolation"),
        (_headless, "H3 follows a heading of level 1"),
    ],
)
def test_a_spoilt_file_is_noticed(final: Path, tmp_path: Path, spoil: Callable[[pikepdf.Pdf], None], said: str) -> None:
    with pikepdf.open(final) as pdf:
        spoil(pdf)
        pdf.save(tmp_path / "spoilt.pdf")
    assert any(said in fault for fault in structure_faults(tmp_path / "spoilt.pdf"))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<p>\u6f22</p>", "no glyph in the report's fonts @ U+6F22"),
        ("<svg><text>&#x6f22;</text></svg>", "U+6F22"),
        ('<a href="#lost">x</a>', "a link leads nowhere @ lost"),
        ('<p id="a">x</p><p id="a">y</p>', "two places have one name @ a"),
        (f'<p>x</p><img src="data:image/png;base64,{DOT}">', "a picture has no text equivalent"),
    ],
)
def test_a_faulty_report_is_refused(body: str, said: str) -> None:
    with pytest.raises(OutputError) as caught:
        make_pdf(f"{HEAD}{body}</body></html>", attachments=(), identifier=b"x", created="")
    assert said in str(caught.value)


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(OutputError) as caught:
        require_sound('<a href="#a">\u6f22</a><a href="#b">\u5b57</a>')
    assert len(caught.value.problems) == 4


def test_a_table_wider_than_its_page_is_noticed() -> None:
    wide = "W" * 80
    good = f"{HEAD}<table style='table-layout: fixed; width: 100%'><tr><td>fits</td><td>{wide}</td></tr></table>"
    pages = examine(laid_out(f"<style>@page {{ size: A4 }}</style>{good}"))
    assert any("wider than its cell" in fault for page in pages for fault in page.faults)


@pytest.mark.parametrize("page", [1, 2])
def test_the_first_pages_look_as_reviewed(final: Path, page: int, request: pytest.FixtureRequest) -> None:
    """Cover and summary in grey at 50 dpi. Small shifts of a newer rasteriser pass; a lost box or line does not."""
    if shutil.which("pdftoppm") is None:
        pytest.skip("poppler is not installed")
    command = ["pdftoppm", "-r", "50", "-gray", "-png", "-f", str(page), "-l", str(page), "-singlefile", str(final)]
    made = subprocess.run(command, check=True, capture_output=True).stdout
    reviewed, failed = HERE / "pages" / f"page-{page}.png", HERE / "failed"
    if request.config.getoption("update_golden", default=False):
        reviewed.parent.mkdir(exist_ok=True)
        reviewed.write_bytes(made)
    new, old = _grey(made), _grey(reviewed.read_bytes())
    worst = _worst_block(new, old)
    if worst > 40:
        failed.mkdir(exist_ok=True)
        (failed / f"page-{page}.png").write_bytes(made)
        Image.fromarray(np.abs(new - old).astype(np.uint8)).save(failed / f"page-{page}-difference.png")
    assert worst <= 40, f"see tests/golden/failed/page-{page}-difference.png; --update-golden if it is meant"


def _grey(data: bytes) -> Any:
    import io

    return np.asarray(Image.open(io.BytesIO(data)).convert("L"), dtype=float)


def _worst_block(a: Any, b: Any, side: int = 8) -> float:
    """Largest mean difference of a block of 8 by 8 pixels (4 mm), 0 to 255."""
    if a.shape != b.shape:
        return 255.0
    high, wide = (d - d % side for d in a.shape)
    difference = np.abs(a - b)[:high, :wide]
    return float(difference.reshape(high // side, side, wide // side, side).mean(axis=(1, 3)).max())

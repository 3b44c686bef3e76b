"""The HTML report where people read it: nothing is fetched, tables sort and filter, everybody can use it, it prints."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pikepdf
import pytest

from evalsuite.report import build_dossier
from evalsuite.report.render import render_html
from evalsuite.types import Exhibits, Listing, Picture
from tests.browser.chromium import Browser, browser, find_chromium

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "golden"))

from factory import study  # noqa: E402
from factory_odd import overfull  # noqa: E402

AXE = Path(os.environ.get("EVALSUITE_AXE", ROOT / ".axe" / "node_modules" / "axe-core" / "axe.min.js"))
TABLE = "Array.from(document.querySelectorAll('#strata table.data')).find(t => t.querySelectorAll('.sort').length > 1)"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium here: make accessibility installs one")
    folder = tmp_path_factory.mktemp("browser")
    s = study(outcome="not_met")
    (folder / "report.html").write_text(render_html(build_dossier(**s.arguments()), medium="screen"), encoding="utf-8")
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(browser(program, folder / "profile"))
        except (OSError, RuntimeError) as e:
            pytest.skip(f"Chromium does not start here ({e})")
        opened.ask("Emulation.setDeviceMetricsOverride", width=1280, height=1000, deviceScaleFactor=1, mobile=False)
        opened.open(folder / "report.html")
        yield opened


def test_it_asks_for_nothing_and_complains_about_nothing(page: Browser) -> None:
    assert page.console == []
    assert [r for r in page.requests if not r.startswith(("file:///", "data:"))] == []
    assert sum(r.startswith("file:///") for r in page.requests) == 1


def test_its_policy_stops_what_would_reach_outside(page: Browser) -> None:
    """What somebody may have smuggled in neither runs nor asks; an event handler is a script too."""
    page.run(
        'document.body.insertAdjacentHTML(\'beforeend\', \'<div id="in"><img src="http://127.0.0.1:9/x">'
        '<a href="javascript:window.hit=1">x</a><b onclick="window.hit=1">y</b></div>\')'
    )
    page.run(
        "(() => { const s = document.createElement('script'); s.text = 'window.hit=1'; document.body.append(s); })()"
    )
    page.run("document.querySelectorAll('#in a, #in b').forEach(x => x.click())")
    assert page.run("window.hit === undefined") is True
    assert page.run("fetch('http://127.0.0.1:9/').then(() => 'got', () => 'refused')") == "refused"
    page.run("document.querySelector('#in').remove()")
    page.console.clear()


def test_a_column_sorts_up_down_and_back(page: Browser) -> None:
    order = f"Array.from(({TABLE}).tBodies[0].rows).map(r => r.textContent)"
    # Rows are sorted within their stratum: a list of numbers for each.
    values = (
        f"Array.from(({TABLE}).tBodies[0].rows).reduce((all, r) => (r.classList.contains('group') ? all.push([])"
        " : all.at(-1).push(r.cells[1].dataset.sort), all), [[]])"
        ".map(g => g.filter(v => v !== undefined).map(Number))"
    )
    said = f"({TABLE}).tHead.rows[0].cells[1].getAttribute('aria-sort')"
    click = f"({TABLE}).tHead.rows[0].cells[1].querySelector('button').click()"
    before = page.run(order)
    assert page.run(said) == "none"
    page.run(click)
    assert page.run(said) == "ascending"
    up = page.run(values)
    assert up == [sorted(group) for group in up]
    assert max(map(len, up)) > 2
    page.run(click)
    assert page.run(said) == "descending"
    assert page.run(values) == [sorted(group, reverse=True) for group in up]
    assert sorted(page.run(order)) == sorted(before), "every row is still there"
    page.run(click)
    assert page.run(said) == "none"
    assert page.run(order) == before


def test_a_section_is_filtered_by_words_and_outcome(page: Browser) -> None:
    shown = "Array.from(document.querySelectorAll('{0} tbody tr')).filter(r => r.offsetParent).map(r => r.textContent)"
    status = "document.querySelector('#strata .tools [role=status]').textContent"
    all_rows = page.run(shown.format("#strata .data"))
    page.run("(i => { i.value = 'PHANTOM optics'; i.dispatchEvent(new Event('input')); })"
             "(document.querySelector('#strata .tools input'))")  # fmt: skip
    found = page.run(shown.format("#strata .data"))
    assert 0 < len(found) < len(all_rows)
    assert any("Phantom Optics" in row for row in found)
    assert not any("female" in row for row in found)
    assert re.fullmatch(r"Showing \d+ of \d+ rows", page.run(status))
    assert page.run("getComputedStyle(document.querySelector('#strata .data tr.off')).display") == "none"
    page.run("document.querySelector('#strata .tools button').click()")
    assert page.run(shown.format("#strata .data")) == all_rows
    outcomes = page.run(
        "(i => { i.value = Array.from(i.options).find(o => o.value.includes('Not met')).value;"
        " i.dispatchEvent(new Event('change')); return Array.from(i.options).map(o => o.value); })"
        "(document.querySelector('#summary .tools select'))"
    )
    assert len(outcomes) > 2
    judged = page.run(shown.format("#summary .data"))
    assert judged
    assert all("Not met" in row for row in judged)
    page.run("document.querySelectorAll('.tools button').forEach(b => b.click())")


def test_a_curve_is_read_off_where_the_pointer_is(page: Browser) -> None:
    at = page.run(
        "(p => { const s = p.ownerSVGElement; s.scrollIntoView({behavior: 'instant', block: 'center'});"
        " const m = p.getPointAtLength(p.getTotalLength() / 2).matrixTransform(s.getScreenCTM()); return [m.x, m.y]; })"
        "(document.querySelector('path[data-frame]'))"
    )
    page.ask("Input.dispatchMouseEvent", type="mouseMoved", x=at[0], y=at[1])
    tip = page.run("document.querySelector('.tip:not(.off)').textContent")
    assert re.fullmatch(r"1 − specificity 0\.\d{3}, Sensitivity 0\.\d{3}", tip)
    assert page.run("document.querySelectorAll('g.hint > title').length") > 20


def test_it_works_from_the_keyboard(page: Browser) -> None:
    page.reload()
    page.press("Tab")
    assert page.run("document.activeElement.className") == "skip"
    assert page.run("document.activeElement.getBoundingClientRect().left >= 0") is True
    page.press("Enter")
    assert page.run("location.hash") == "#summary"
    page.run("document.querySelector('#strata .sort').focus()")
    page.press("Enter")
    assert page.run("document.activeElement.closest('th').getAttribute('aria-sort')") == "ascending"
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") != "none"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_shut_out(page: Browser, scheme: str) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not here: make accessibility installs it")
    page.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    page.run(AXE.read_text(encoding="utf-8") + "; 0")
    found = page.run(
        "axe.run(document, {resultTypes: ['violations']}).then(r => r.violations"
        ".filter(v => ['serious', 'critical'].includes(v.impact)).map(v => v.id + ': ' + v.nodes[0].html))"
    )
    assert found == []


def test_print_holds_everything_whatever_is_filtered(page: Browser) -> None:
    page.run("(i => { i.value = 'nothing has these words'; i.dispatchEvent(new Event('input')); })"
             "(document.querySelector('#strata .tools input'))")  # fmt: skip
    page.ask("Emulation.setEmulatedMedia", media="print")
    hidden = page.run(
        "Array.from(document.querySelectorAll('#strata .data tbody tr, details p'))"
        ".filter(x => !x.checkVisibility()).length"
    )
    page.ask("Emulation.setEmulatedMedia", media="")
    page.run("document.querySelector('#strata .tools button').click()")
    assert hidden == 0
    with pikepdf.open(io.BytesIO(page.print_pdf())) as printed:
        assert len(printed.pages) > 10


def test_cases_are_chosen_by_kind_and_words(page: Browser, tmp_path: Path) -> None:
    pictures = tuple(
        Picture(case_id=f"case-{kind}-{i}", group=kind, title=f"{kind} {i}", note="site north" if i else "site south",
                image=None, width=8, height=8, aspect=1.0, drawn=())
        for kind in ("missed", "false") for i in range(3)
    )  # fmt: skip
    listing = Listing(name="lesions", columns=("case_id",), rows=(("case-missed-0",),))
    dossier = build_dossier(**study(few=True).arguments(), exhibits=Exhibits(listings=(listing,), pictures=pictures))
    (tmp_path / "cases.html").write_text(render_html(dossier, medium="screen"), encoding="utf-8")
    page.open(tmp_path / "cases.html")
    section = "document.querySelector('g.case').closest('section')"
    drawn = "g => getComputedStyle(g).display !== 'none'"
    shown = f"Array.from({section}.querySelectorAll('g.case')).filter({drawn}).map(g => g.dataset.kind)"
    assert sorted(set(page.run(shown))) == ["false", "missed"]
    page.run(
        f"(s => {{ s.value = 'missed'; s.dispatchEvent(new Event('change')); }})({section}.querySelector('select'))"
    )
    assert page.run(shown) == ["missed"] * 3
    assert page.run(f"Array.from({section}.querySelectorAll('figure')).filter(f => f.offsetParent).length") == 1
    page.run(
        f"(i => {{ i.value = 'south'; i.dispatchEvent(new Event('input')); }})({section}.querySelector('.tools input'))"
    )
    assert page.run(shown) == ["missed"]
    assert "1 of 6 pictures" in page.run(f"{section}.querySelector('[role=status]').textContent")
    page.run(f"{section}.querySelector('.tools button').click()")
    assert len(page.run(shown)) == 6


def test_without_its_script_nothing_is_missing(page: Browser, tmp_path: Path) -> None:
    path = tmp_path / "overfull.html"
    s = overfull()
    path.write_text(render_html(build_dossier(**s.arguments()), medium="screen"), encoding="utf-8")
    page.ask("Emulation.setScriptExecutionDisabled", value=True)
    page.requests.clear()
    page.open(path)
    page.ask("Emulation.setScriptExecutionDisabled", value=False)
    assert page.console == []
    assert [r for r in page.requests if not r.startswith(("file:///", "data:"))] == []
    assert page.run("document.querySelectorAll('.tools, .sort').length") == 0
    hidden = (
        "Array.from(document.querySelectorAll('main table, main section, main svg')).filter(x => !x.checkVisibility())"
    )
    assert page.run(f"{hidden}.length") == 0

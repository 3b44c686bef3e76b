"""Every figure of a report names its finding: places, their names, and the check that nothing is left out."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from evalsuite.report import build_dossier
from evalsuite.report.anchors import named, pointer, untraced
from evalsuite.report.render import render_html
from evalsuite.report.view import Bullets, Cell, Column, Dossier, Figure, Row, Section, Table
from tests.golden.factory import Study, study


def _table(*rows: Row, source: str = "") -> Table:
    return Table(label="", caption="A table", columns=(Column(title="A"), Column(title="B")), rows=rows, source=source)


def _section(*blocks: Any) -> Section:
    return Section(id="s", number="1", title="S", code="R13", blocks=blocks)


@pytest.fixture(scope="module")
def made() -> tuple[Study, Dossier]:
    s = study()
    return s, build_dossier(s.protocol, s.evidence, s.verdict, s.record)


def test_a_figure_without_a_finding_is_found() -> None:
    row = Row(cells=(Cell(text="sensitivity"), Cell(text="0.912", kind="number")))
    assert untraced([_section(_table(row))]) == [", A table: 0.912"]
    text = Row(cells=(Cell(text="sensitivity"), Cell(text="−0.4 (−0.7 to 0.1)")))
    assert len(untraced([_section(_table(text))])) == 1, (
        "a cell that begins like a number is a figure, whatever its kind"
    )
    drawn = Figure(label="", caption="A drawing", svg="", alt="")
    assert untraced([_section(drawn)]) == [", A drawing: drawing"]
    named_row = replace(row, of=("f-0003",))
    assert (
        untraced([_section(_table(named_row), _table(row, source="protocol.yaml"), replace(drawn, source="x"))]) == []
    )


def test_each_place_has_a_name_of_its_own_and_the_row_keeps_the_finding_s() -> None:
    copy = Row(cells=(Cell(text="a"),), of=("f-0003",))
    home = Row(cells=(Cell(text="a"),), anchor="f-0003")
    told = Bullets(items=("x", "y"), of=(("f-0003", "f-0004"), ()))
    summary, _, (section,) = named(_table(copy), (), [_section(_table(copy), _table(home), told, _table(copy))])
    assert summary.rows[0].of == ("f-0003.2",)
    blocks: Any = section.blocks
    assert blocks[0].rows[0].of == ("f-0003.3",)
    assert blocks[1].rows[0].anchor == "f-0003"
    assert blocks[2].of == (("f-0003.4", "f-0004"), ()), "what has no row of its own has its place where it comes first"
    assert blocks[3].rows[0].of == ("f-0003.5",)


def test_a_place_points_into_the_attached_evidence() -> None:
    assert pointer("f-0012") == pointer("f-0012.3") == "/findings/12"
    assert pointer("t-0004") == "/tests/4"


def test_every_figure_of_a_report_names_a_finding_that_says_it(made: tuple[Study, Dossier]) -> None:
    """In both documents: no figure without a source, no place twice, and each place's number is the finding's."""
    s, dossier = made
    assert untraced(dossier.sections) == []
    for medium in ("print", "screen"):
        html = render_html(dossier, medium=medium)  # type: ignore[arg-type]
        places = re.findall(r' id="([ft]-\d+(?:\.\d+)?)"', html)
        assert len(places) == len(set(places)) > 300
        for place, said in re.findall(r' id="(f-[\d.]+)" data-finding="([^"]+)"', html):
            assert pointer(place) in said.split()
            assert int(pointer(place).rpartition("/")[2]) < len(s.evidence.findings)


def test_the_number_in_a_cell_is_the_number_of_its_finding(made: tuple[Study, Dossier]) -> None:
    s, dossier = made
    checked = 0
    for cell in (
        c for sec in dossier.sections for b in sec.blocks if isinstance(b, Table) for r in b.rows for c in r.cells
    ):
        number = re.fullmatch(r"(\d\.\d{3})( †)?", cell.text)
        if number is None or not cell.anchor:
            continue
        estimate = s.evidence.findings[int(pointer(cell.anchor).rpartition("/")[2])].estimate
        assert estimate.value is not None
        assert f"{estimate.value:.3f}" == number[1]
        checked += 1
    assert checked > 50

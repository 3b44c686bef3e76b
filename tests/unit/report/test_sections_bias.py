"""The section on bias: every gap with its outcome, words in the right direction, a map with n in every cell."""

from __future__ import annotations

import re

import pytest

from evalsuite.judging import judge
from evalsuite.report import build_dossier
from evalsuite.report.sections_bias import _up_to
from evalsuite.report.view import Bullets, Cell, Dossier, Figure, Notice, Row, Section, Table
from evalsuite.types import Evidence
from tests.unit.analyses.test_beside_performance import SENSITIVITY, goal, protocol, run
from tests.unit.analyses.test_bias import sites

STRATA = [
    {"name": "site", "column": "site"},
    {"name": "sex", "column": "sex"},
    {"name": "severity", "column": "severity"},
    {"name": "both", "cross": ["sex", "site"]},
]
BLOCK = {
    "attributes": [{"stratum": "site", "reference": "b"}, "both"],
    "metrics": ["sensitivity", "specificity", "fnr", "auroc"],
    "margins": {"sensitivity": 0.1},
    "case_mix": ["severity"],
    "criteria": [{"name": "by site", "attribute": "site", "metric": "sensitivity", "margin": 0.1}],
}


def made(weak: tuple[int, int], **more: object) -> tuple[Dossier, Evidence]:
    columns = sites(a=(weak, (90, 100)), b=((170, 200), (90, 100)), c=((4, 5), (90, 100)))
    n = len(columns["p"])
    columns["sex"] = ["f" if i % 2 else "m" for i in range(n)]
    columns["severity"] = ["mild" if i % 3 else "severe" for i in range(n)]
    p = protocol(goal(SENSITIVITY, 0.3), strata=STRATA, analyses={"bias": {**BLOCK, **more}})
    results = run(p, columns)
    evidence = Evidence(
        protocol={"id": "t", "version": "1"},
        testset={"set_id": "s", "version": "1"},
        model={"name": "m"},
        predictions={},
        software={},
        findings=results.findings,
        curves=results.curves,
        accounting=results.accounting,
        tests=results.tests,
        notes=results.notes,
    )
    return build_dossier(p, evidence, judge(p, evidence), {}), evidence


@pytest.fixture(scope="module")
def weak():
    return made((100, 200))


def section(d: Dossier) -> Section:
    return next(s for s in d.sections if s.id == "bias")


def words(d: Dossier) -> str:
    return " ".join(item for b in section(d).blocks if isinstance(b, Bullets) for item in b.items)


def table(d: Dossier, caption: str) -> Table:
    return next(b for b in section(d).blocks if isinstance(b, Table) and b.caption == caption)


@pytest.mark.parametrize(
    ("found", "way", "meaning"), [((100, 200), "lower", "worse"), ((200, 200), "higher", "better")]
)
def test_the_weak_group_is_named_and_the_strong_one_is_not_called_weak(found, way, meaning):
    d, _ = made(found)
    text = words(d)
    assert re.search(rf"Sensitivity is [\d.]+ points {way} in a than in b", text)
    assert f"a is served {meaning}" in text
    opposite = {"worse": "better", "better": "worse"}[meaning]
    assert f"a is served {opposite}" not in text


def test_every_declared_gap_stands_in_the_table_with_its_outcome(weak):
    d, evidence = weak
    t = table(d, "Gaps between groups of site")
    rows = {r.cells[0].text: r for r in t.rows if not r.group and len(r.cells) == 7}
    gaps = [
        f
        for f in evidence.findings
        if f.metric == "sensitivity_difference"
        and f.condition is None
        and f.prespecified
        and set(f.stratum) == {"site"}
    ]
    assert {f"{f.stratum['site']} less b" for f in gaps} <= set(rows)
    assert [c.text for r in t.rows if not r.group for c in r.cells][6] == "✗ disparity"
    assert "not assessable" in rows["c less b"].cells[6].text


def test_a_cross_has_a_map_with_n_in_every_cell_and_grey_where_too_few(weak):
    d, _ = weak
    (figure,) = [b for b in section(d).blocks if isinstance(b, Figure) and b.caption.startswith("Sensitivity in every")]
    assert figure.svg.count("n = ") >= 2 * 6  # drawn, and in words
    assert figure.svg.count("#dcdcdc") == 2
    assert "not assessable (n = 2)" in figure.alt or "not assessable (n = 3)" in figure.alt


def test_gaps_are_drawn_against_their_margin(weak):
    d, _ = weak
    (figure,) = [b for b in section(d).blocks if isinstance(b, Figure) and b.caption == "Gaps between groups of site"]
    assert "within the margin" in figure.svg
    assert "a less b: ✗ disparity" in figure.alt


def test_case_mix_stands_beside_the_gap(weak):
    d, _ = weak
    t = table(d, "site: gaps as they are, and at the same case mix")
    assert t.rows[0].cells[0].text == "Sensitivity: a less b"
    assert "does not explain the gap" in words(d)


def test_the_criterion_is_in_the_table_of_criteria(weak):
    d, _ = weak
    named = [s.id for s in d.sections if "text='by site'" in str(s)]
    assert named
    assert "bias" not in named


def test_without_the_block_there_is_no_section():
    p = protocol(goal(SENSITIVITY, 0.3))
    results = run(p, sites(a=((80, 100), (60, 60))))
    evidence = Evidence(protocol={}, testset={}, model={}, predictions={}, software={}, findings=results.findings)
    d = build_dossier(p, evidence, judge(p, evidence), {})
    assert not [s for s in d.sections if s.id == "bias"]


def test_a_reference_group_without_cases_is_an_open_item_and_every_gap_is_not_assessable():
    d, evidence = made((100, 200), attributes=[{"stratum": "site", "reference": "elsewhere"}], criteria=[])
    against = [f for f in evidence.findings if f.reference_group == "elsewhere" and f.metric.endswith("_difference")]
    assert against
    assert {f.outcome for f in against if f.condition is None} == {"not_assessable"}
    (notice,) = [b for b in section(d).blocks if isinstance(b, Notice)]
    assert notice.title == "Open: no case belongs to the reference group"
    assert "'elsewhere' of 'site'" in notice.text
    (said,) = [i.value for i in d.summary.facts if i.name == "Open items"]
    assert "reference group without a case" in said
    limits = next(s for s in d.sections if s.id == "limitations")
    assert any("eference group without a case" in i for b in limits.blocks if isinstance(b, Bullets) for i in b.items)


def test_a_table_that_is_cut_ends_with_no_heading():
    heading, row = Row(cells=(Cell(text="Brier score"),), group=True), Row(cells=(Cell(text="0.1"),))
    assert _up_to([heading, row, row, heading, row], 4) == (heading, row, row)
    assert _up_to([heading, row, row, heading, row], 5) == (heading, row, row, heading, row)
    assert _up_to([heading, heading], 2) == ()

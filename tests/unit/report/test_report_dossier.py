"""The view model selects, sorts and words; it invents nothing and loses nothing a reader must know."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "golden"))

from factory import Study, study
from factory_odd import ODD, bare, crowded, one_class

from evalsuite.report import Dossier, build_dossier
from evalsuite.report.format import format_value
from evalsuite.report.judged import digits_for
from evalsuite.report.render import render_html
from evalsuite.report.view import Table


def dossier(s: Study) -> Dossier:
    return build_dossier(s.protocol, s.evidence, s.verdict, s.record)


def tables(d: Dossier) -> Iterator[Table]:
    yield d.summary.table
    for section in d.sections:
        for block in section.blocks:
            if block.block == "table":
                yield block
            elif block.block == "pair" and block.right.block == "table":
                yield block.right


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def section_text(d: Dossier, identifier: str) -> str:
    section = next(s for s in d.sections if s.id == identifier)
    from evalsuite.report.view import _plain

    return "\n".join(strings(_plain(section)))


STUDIES = {"final": study, "draft": lambda: study(outcome="not_met", frozen=False, complete=False), **ODD}


@pytest.mark.parametrize("name", STUDIES)
def test_structure_holds_for_every_study(name: str) -> None:
    d = dossier(STUDIES[name]())
    anchors = [r.anchor for t in tables(d) for r in t.rows if r.anchor]
    anchors += [c.anchor for t in tables(d) for r in t.rows for c in r.cells if c.anchor]
    assert len(anchors) == len(set(anchors))
    links = {c.link for t in tables(d) for r in t.rows for c in r.cells if c.link}
    assert links <= {*anchors, *(s.id for s in d.sections), "summary"}
    for table in tables(d):
        assert sum(c.width for c in table.columns) <= 100.01
        assert all(sum(c.span for c in r.cells) == len(table.columns) for r in table.rows if not r.group)
        assert table.rows
    for words in strings(d.to_json()):
        assert words not in ("None", "nan", "NaN", "null")
        assert "None," not in words
        assert "nan (" not in words
    ids = [s.id for s in d.sections]
    assert len(ids) == len(set(ids))


def test_every_criterion_stands_in_the_results_and_the_primary_ones_first() -> None:
    s = study(outcome="not_met")
    d = dossier(s)
    table = next(t for t in tables(d) if t.caption.startswith("Acceptance criteria, estimates"))
    names = [row.cells[0].text for row in table.rows]
    assert names == ["discrimination", "sensitivity", "specificity", "sensitivity in women", "Brier score"]
    assert [row.cells[-1].text for row in table.rows][2] == "■ Not met"
    assert d.cover.verdict.word == "Acceptance criteria not met"


def test_numbers_in_the_table_are_those_of_the_evidence() -> None:
    s = study()
    d = dossier(s)
    rows = {row.anchor: row for t in tables(d) for row in t.rows if row.anchor}
    shown = 0
    for index, finding in enumerate(s.evidence.findings):
        row = rows.get(f"f-{index:04d}")
        if row is None or finding.estimate.value is None:
            continue
        shown += 1
        printed = row.cells[2].text
        value = float(printed.removesuffix("\u00a0%").lstrip("<>").replace("−", "-"))
        actual = finding.estimate.value * (100 if printed.endswith("%") else 1)
        assert abs(value - actual) <= (0.0501 if printed.endswith("%") else 0.000501)
    assert shown >= 15


def test_the_least_favourable_group_is_named_in_the_summary() -> None:
    facts = {f.name: f.value for f in dossier(study()).summary.facts}
    assert "Phantom Optics International" in facts["Least favourable groups"]
    assert "11 of 1\u202f057 cases without a usable output (4 rejected, 7 failed)" in facts["Missing and failed"]
    assert facts["Evidence status"].startswith("Counts as evidence")


def test_a_run_that_is_not_evidence_says_so() -> None:
    d = dossier(study(frozen=False))
    assert d.banner == "NOT EVIDENCE — the protocol is not frozen (and 1 more)"
    assert d.cover.status == "DRAFT — NOT EVIDENCE"
    assert "NOT FROZEN" in section_text(d, "protocol")
    assert "This run does not count as evidence." in d.summary.conclusion
    assert dossier(study()).banner is None


def test_empty_intended_use_fields_are_open_items() -> None:
    d = dossier(study(complete=False))
    assert section_text(d, "intended-use").count("Open item: not stated in the protocol") == 7
    assert (
        "placeholder goal still to be justified: sensitivity"
        in {f.name: f.value for f in d.summary.facts}["Open items"]
    )
    assert "Operating point without a source: confirmatory." in section_text(d, "limitations")


def test_groups_too_small_are_printed_with_their_counts() -> None:
    words = section_text(dossier(study()), "strata")
    assert "not assessable" in words
    assert "(n+ = 4)" in words
    assert "†" in words


def test_the_flow_of_cases_adds_up() -> None:
    words = section_text(dossier(study()), "case-flow")
    assert (
        "1\u202f041 analysed + 11 without output + 5 without reference = 1\u202f057; equals the 1\u202f057 cases locked"
        in words
    )
    s = study()
    record = {**s.record, "testset": {**s.record["testset"], "n_cases": 1060}}
    assert "DIFFERS FROM the 1\u202f060 cases locked" in section_text(dossier(replace(s, record=record)), "case-flow")


def test_limitations_are_seeded_from_the_evidence() -> None:
    words = section_text(dossier(study(frozen=False)), "limitations")
    for expected in (
        "was not frozen", "unsigned", "no usable output", "Not assessable for at least one primary endpoint",
        "Small groups", "24.0 %", "device alone", "Stratum 'scanner' has 4 positive cases",
    ):  # fmt: skip
        assert expected in words, expected


def test_one_class_only_is_reported_not_refused() -> None:
    d = dossier(one_class())
    words = section_text(d, "performance")
    assert "The evidence holds no ROC curve" in words
    assert "not estimable (n = 1\u202f052: no reference-negative cases)" in words
    assert d.cover.verdict.word == "Inconclusive"


def test_an_empty_record_is_said_not_guessed() -> None:
    d = dossier(bare())
    assert "not recorded" in section_text(d, "environment")
    assert d.created == "1970-01-01T00:00:00Z"
    assert "No case accounting" in section_text(d, "case-flow")


def test_too_many_groups_are_capped_and_it_is_said() -> None:
    d = dossier(crowded())
    words = section_text(d, "strata")
    assert "more groups are in the attached evidence.json" in words
    assert 5 <= len(d.summary.table.rows) <= 9
    assert "more criteria are in the section" in d.summary.table.notes[0]


def test_a_bound_next_to_its_goal_is_printed_with_enough_digits() -> None:
    result = study().verdict.criteria[0]
    near = replace(result, estimate=replace(result.estimate, low=0.85004))
    assert digits_for(result) == 3
    assert digits_for(near) == 5


def test_two_endpoints_with_the_same_numbers_share_a_column_and_a_plot() -> None:
    d = dossier(study())
    captions = [b.caption for s in d.sections for b in s.blocks if b.block == "figure"]
    assert sum(c.startswith("Sensitivity at screening by group") for c in captions) == 1


def test_the_report_id_follows_run_evidence_and_verdict() -> None:
    s = study()
    first = dossier(s).report_id
    assert dossier(s).report_id == first
    assert dossier(replace(s, record={**s.record, "run": {**s.record["run"], "id": "other"}})).report_id != first
    assert dossier(study(outcome="not_met")).report_id != first


@pytest.mark.parametrize("name", STUDIES)
def test_every_printed_finding_is_in_the_evidence_with_the_value_printed(name: str) -> None:
    s = STUDIES[name]()
    d = dossier(s)
    shown = 0
    for row in (r for t in tables(d) for r in t.rows):
        spots = [
            (row.anchor, row.cells),
            *((c.anchor, (c,)) for c in row.cells),
            *((c.link, row.cells) for c in row.cells),
        ]
        for place, cells in spots:
            if place is None or not place.startswith("f-"):
                continue
            f = s.evidence.findings[int(place[2:])]
            said = " ".join(f"{c.text} {c.sub}" for c in cells)
            if f.estimate.value is None:
                assert "not estimable" in said or "not assessable" in said, (place, said)
            else:
                assert format_value(f.metric, f.estimate) in said, (place, said)
            shown += 1
    assert shown


def test_every_primary_estimate_leads_to_its_finding_and_the_page_names_it_for_programs() -> None:
    s = study()
    d = dossier(s)
    wanted = {(c.endpoint, tuple(c.stratum.items())) for c in s.verdict.criteria}
    criteria = next(t for t in tables(d) if t.caption.startswith("Acceptance criteria, estimates"))
    links = [r.anchor or next(c.link for c in r.cells if c.link) for r in criteria.rows]
    found = {(f.endpoint, tuple(f.stratum.items())) for f in (s.evidence.findings[int(x[2:])] for x in links)}
    assert found == wanted
    html = render_html(d, medium="screen")
    pointers = re.findall(r'id="f-(\d+)[^"]*" data-finding="([^"]+)"', html)
    assert len(pointers) > 50
    assert all(f"/findings/{int(a)}" in b.split() and int(a) < len(s.evidence.findings) for a, b in pointers)
    assert len(pointers) + html.count('<span id="f-') == html.count(' id="f-')

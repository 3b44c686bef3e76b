"""Checklists against a report: every status has its reason, nothing is a score, and sections keep their numbers."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "golden"))
from factory import study

from evalsuite.protocol.checklists import ChecklistItem, load_checklists
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.report.anchors import printed_findings
from evalsuite.report.contents import ORDER, why_absent
from evalsuite.report.dossier import build_dossier
from evalsuite.report.facts import Fact, facts_of, not_applicable
from evalsuite.report.gaps import gaps_of
from evalsuite.report.material import Material
from evalsuite.report.render import render_html
from evalsuite.report.sound import require_sound
from evalsuite.report.view import Facts, Table

STATED = {
    "protocol": "synthetic-lesion-standalone",
    "dataset": {"inclusion": "adults", "exclusion": "none", "sites": [{"id": "A", "country": "X"}]},
    "design": {"deviations": []},
    "risks": [
        {"hazard": "H1 lesion missed", "control": "threshold", "requirement": "REQ-7", "endpoints": ["sensitivity"]},
        {"hazard": "H2 overload", "control": "specificity", "requirement": "REQ-8", "endpoints": []},
    ],
    "monitoring": {"plan": "quarterly sample"},
    "not_applicable": {"device.udi_di": "not yet assigned", "claim2024 31": "shows no explanation"},
    "checklists": ["gmlp_n88"],
}


def made(stated=None, **more):
    s = study(**more)
    record = dict(s.record)
    if stated is not None:
        record["study"] = {"stated": stated, "sha256": "5" * 64, "completed": None}
    return replace(s, record=record)


def material(s) -> Material:
    return Material(protocol=s.protocol, evidence=s.evidence, verdict=s.verdict, record=s.record)


def fact(name: str, state: str, reason: str = "") -> Fact:
    return Fact(name=name, words=name, section="R05", state=state, reason=reason)


@pytest.mark.parametrize(
    ("states", "waived", "expected"),
    [
        (("reported", "reported"), "", "reported"),
        (("reported", "open"), "", "partly"),
        (("open", "open"), "", "not_reported"),
        (("not_applicable", "not_applicable"), "", "not_applicable"),
        (("not_applicable", "reported"), "", "reported"),
        (("not_applicable", "open"), "", "not_reported"),
        (("open", "open"), "no such thing", "not_applicable"),
        (("reported", "reported"), "no such thing", "reported"),
    ],
)
def test_the_status_of_an_item_follows_from_its_facts(states, waived, expected):
    item = ChecklistItem(id="1", text="something", where=["R05"], needs=["a", "b"])
    checklist = load_checklists()["claim2024"].model_copy(update={"items": [item]})
    facts = {n: fact(n, s, "task" if s == "not_applicable" else "") for n, s in zip("ab", states, strict=True)}
    (gap,) = gaps_of(checklist, facts, {"claim2024 1": waived} if waived else {})
    assert gap.status == expected
    if gap.status == "not_applicable":
        assert gap.reason


def test_what_no_report_can_answer_says_why():
    gaps = {g.item.id: g for g in gaps_of(load_checklists()["eu_ai_act"], facts_of(material(made())), {})}
    assert gaps["IV.8"].status == "not_applicable"
    assert gaps["IV.8"].reason


def test_facts_come_from_run_protocol_and_description():
    facts = facts_of(material(made(STATED)))
    assert facts["run.frozen"].state == "reported"
    assert facts["run.case_mix.sex"].state == "reported"
    assert facts["run.case_mix.race"].state == "open"
    assert facts["run.froc"].state == "not_applicable"
    assert facts["run.froc"].reason == "the task is binary"
    assert facts["dataset.inclusion"].state == "reported"
    assert facts["dataset.ethics"].state == "open"
    assert facts["device.udi_di"].state == "not_applicable"
    assert facts["design.deviations"].state == "reported"
    bare = facts_of(material(made(frozen=False, complete=False)))
    assert bare["run.frozen"].state == "open"
    assert bare["protocol.intended_use.users"].state == "open"


def test_a_person_may_waive_an_item_with_a_reason():
    m = material(made(STATED))
    gaps = {g.item.id: g for g in gaps_of(load_checklists()["claim2024"], facts_of(m), not_applicable(m))}
    assert (gaps["31"].status, gaps["31"].reason) == ("not_applicable", "shows no explanation")


def dossier(s):
    return build_dossier(s.protocol, s.evidence, s.verdict, s.record)


def words(section) -> str:
    return str(list(section.blocks))


def test_sections_follow_the_order_of_contents_and_absent_ones_are_listed():
    d = dossier(made(STATED))
    codes = [s.code for s in d.sections]
    assert codes == sorted(codes)
    assert {s.number.partition(".")[0] for s in d.sections} == {str(int(c[1:])) for c in codes}
    reference = next(s for s in d.sections if s.code == "R33")
    absent = next(b for b in reference.blocks if isinstance(b, Table) and b.caption.startswith("Not in this report"))
    listed = {f"R{int(r.cells[0].text):02d}" for r in absent.rows}
    assert listed | set(codes) | {"R01"} == {code for code, *_ in ORDER}
    assert not listed & set(codes)
    assert all(r.cells[2].text.strip(".") for r in absent.rows)


def test_why_a_section_is_absent_follows_from_the_protocol():
    s = made()
    assert "asks for no analysis of bias" in why_absent(material(s), "R18")
    protocol = s.protocol.model_dump(by_alias=True, exclude_defaults=True)
    asked = StudyProtocol.model_validate({**protocol, "analyses": {"failures": {}}})
    assert "asks for no" not in why_absent(material(replace(s, protocol=asked)), "R17")


def test_what_is_stated_is_printed_and_what_is_open_is_listed_in_its_section():
    sections = {s.code: s for s in dossier(made(STATED)).sections}
    assert "adults" in words(sections["R05"])
    open_items = [i for b in sections["R05"].blocks if isinstance(b, Facts) for i in b.items if i.name == "Open items"]
    assert "ethics" in open_items[0].value
    assert "inclusion" not in open_items[0].value.lower()
    assert "quarterly sample" in words(sections["R24"])
    assert "Not applicable: not yet assigned" in words(sections["R03"])
    overview = next(b for b in sections["R25"].blocks if isinstance(b, Table) and "Open items" in b.caption)
    assert any("ethics" in r.cells[1].text.lower() for r in overview.rows)


def test_without_a_description_everything_is_open_and_nothing_is_made_up():
    d = dossier(made())
    sections = {s.code: s for s in d.sections}
    assert "R24" not in sections
    assert "None given" in words(sections["R00"])
    assert any("no study description" in i.value for i in d.summary.facts if i.name == "Open items")


def test_a_description_completed_afterwards_says_so():
    s = made(STATED)
    done = {"at_start": None, "stated_at_start": {}, "utc": "2026-03-01T10:00:00Z", "by": "A", "changed": ["risks"]}
    s = replace(s, record={**s.record, "study": {**s.record["study"], "completed": done}})
    control = next(x for x in dossier(s).sections if x.code == "R00")
    assert "after the reference standard was opened" in words(control)
    assert "risks" in words(control)


def test_traceability_runs_from_hazard_to_verdict_and_reports_orphans_both_ways():
    d = dossier(made(STATED))
    section = next(s for s in d.sections if s.code == "R26")
    matrix = next(b for b in section.blocks if isinstance(b, Table))
    first, second = matrix.rows[0].cells, matrix.rows[1].cells
    assert (first[0].text, first[1].text, first[2].text) == ("H1 lesion missed", "REQ-7", "sensitivity")
    assert first[3].link in printed_findings(d.sections)
    assert first[4].text.endswith("Met")
    assert second[2].text == "no endpoint"
    said = words(section)
    assert "Endpoint discrimination (primary) answers no hazard" in said
    assert "H2 overload" in said


def test_checklists_are_printed_as_the_description_chooses_and_never_scored():
    d = dossier(made(STATED))
    section = next(s for s in d.sections if s.code == "R33")
    table = next(b for b in section.blocks if isinstance(b, Table) and b.caption.startswith("Good machine learning"))
    assert len(table.rows) == len(load_checklists()["gmlp_n88"].items)
    assert "%" not in words(section)


def test_a_view_for_others_holds_nothing_of_the_description():
    s = made(STATED)
    s = replace(s, record={**s.record, "view": "developers' view: a summary"})
    d = dossier(s)
    assert not {"R00", "R26"} & {x.code for x in d.sections}
    assert "quarterly sample" not in str(d.to_json())
    absent = next(b for x in d.sections if x.code == "R33" for b in x.blocks if isinstance(b, Table))
    # what the protocol asked for may be withheld: a view does not say that it was not asked for
    assert all(r.cells[2].text.startswith("Not part of this view") for r in absent.rows)


def test_hostile_words_of_a_description_are_inert_in_the_page():
    nasty = '<script>alert(1)</script><img src="file:///etc/passwd"> \u202e' + "x" * 3000
    stated = {
        "protocol": "p",
        "report": {
            "sponsor": nasty,
            "distribution": [nasty],
            "revisions": [{"version": nasty, "date": "2026", "change": nasty}],
        },
        "dataset": {"sites": [{"id": nasty, "country": nasty}], "ethics": nasty},
        "risks": [
            {"hazard": nasty, "control": nasty, "requirement": nasty, "endpoints": ["sensitivity"], "residual": nasty}
        ],
        "anomalies": [{"description": nasty, "found_by": nasty, "impact": nasty, "rationale": nasty}],
        "not_applicable": {"device.udi_di": nasty[:400], "claim2024 31": nasty[:400]},
    }
    s = made(stated)
    done = {"at_start": None, "stated_at_start": {}, "utc": nasty, "by": nasty, "changed": [nasty]}
    s = replace(s, record={**s.record, "study": {**s.record["study"], "completed": done}})
    html = render_html(dossier(s), medium="print")
    require_sound(html)
    assert "<script>alert" not in html
    assert "\u202e" not in html
    assert 'src="file:' not in html
    assert "&lt;script&gt;" in html

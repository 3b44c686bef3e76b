"""The study description: read with every problem at once, empty where nothing is stated, and its template loads."""

from __future__ import annotations

import jsonschema
import pytest
import yaml

from evalsuite.errors import InputError
from evalsuite.protocol.checklists import load_checklists
from evalsuite.protocol.jsonschema import json_schema
from evalsuite.protocol.load import load_protocol
from evalsuite.protocol.study_load import (
    changed_paths,
    is_stated,
    load_study,
    parse_study,
    stated_values,
    study_fields,
    study_template,
)
from evalsuite.report.facts import fact_names, section_of
from evalsuite.spine import inspect

PROTOCOL = load_protocol("generic_binary_standalone")
HEAD = f"schema: evalsuite/study/1\nprotocol: {PROTOCOL.id}\n"


def parsed(text: str):
    return parse_study((HEAD + text).encode(), "study.yaml", PROTOCOL)


def test_the_template_loads_states_nothing_and_fits_its_schema():
    text = study_template(PROTOCOL.id)
    study = parse_study(text.encode(), "study.yaml", PROTOCOL)
    says = stated_values(study)
    assert [f.path for f in study_fields() if is_stated(says, f.path)] == []
    assert study.checklists == ["claim2024"]
    filled = {k: v for k, v in yaml.safe_load(text).items() if not isinstance(v, dict) and v is not None}
    jsonschema.validate(filled, json_schema("study"))
    # every field stands in it, with what it asks for
    for field in study_fields():
        assert f"{field.path.rpartition('.')[2]}:" in text
        assert field.asks


def test_every_problem_is_said_at_once_with_its_place():
    text = "dataset: {sampeling: consecutive}\ndesign: {collection: sometimes}\nrisks:\n  - {hazard: H1}\nfoo: 1\n"
    with pytest.raises(InputError) as caught:
        parsed(text)
    said = str(caught.value)
    assert "4 problems" in said
    assert "did you mean 'sampling'?" in said
    assert "design.collection" in said
    assert "risks[0].control" in said
    assert "foo" in said


def test_what_does_not_fit_the_protocol_is_refused():
    text = (
        "risks:\n  - {hazard: H1, control: C1, endpoints: [nonsense]}\n"
        "checklists: [claim2025]\nnot_applicable: {device.udi: none yet, claim2024 31: shows nothing}\n"
    )
    with pytest.raises(InputError) as caught:
        parse_study((text + "schema: evalsuite/study/1\nprotocol: other\n").encode(), "study.yaml", PROTOCOL)
    said = [(p.where, p.what) for p in caught.value.problems]
    assert [w for w, _ in said] == ["protocol", "risks[0].endpoints[0]", "checklists[0]", "not_applicable.device.udi"]


def test_an_empty_list_says_none_only_where_it_can_mean_that():
    says = stated_values(parsed("anomalies: []\ndataset: {sites: []}\ndesign: {deviations: []}\n"))
    assert is_stated(says, "anomalies")
    assert is_stated(says, "design.deviations")
    assert not is_stated(says, "dataset.sites")
    assert not is_stated(says, "risks")


def test_a_field_left_empty_is_open_and_changes_are_found():
    before = stated_values(parsed("use:\n  background:\ndataset: {ethics: board A}\n"))
    after = stated_values(parsed("use: {background: chest pain}\ndataset: {ethics: board A}\n"))
    assert not is_stated(before, "use.background")
    assert changed_paths(before, after) == ("use.background",)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"- a\n", b"schema: evalsuite/study/9\nprotocol: x\n", b"a: [1\n"])
def test_files_that_are_no_description_are_refused(data: bytes):
    with pytest.raises(InputError):
        parse_study(data, "study.yaml", PROTOCOL)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_study(tmp_path / "absent.yaml", PROTOCOL)


def test_every_item_of_every_checklist_can_be_answered_or_says_why_not():
    known = fact_names()
    lists = load_checklists()
    assert {"claim2024", "tripod_ai", "fda_lifecycle_draft_2025", "part11"} <= set(lists)
    for checklist in lists.values():
        ids = [i.id for i in checklist.items]
        assert len(ids) == len(set(ids))
        for item in checklist.items:
            assert bool(item.needs) != bool(item.outside), (checklist.name, item.id)
            assert set(item.needs) <= known, (checklist.name, item.id)


def test_every_field_has_its_section():
    assert {section_of(f.path) for f in study_fields()} >= {"R00", "R08", "R10", "R20", "R24", "R29", "R31"}


def test_inspect_says_what_a_description_states_and_leaves_open(tmp_path):
    path = tmp_path / "any-name.yaml"
    path.write_text(HEAD + "use: {background: chest pain}\nnot_applicable: {device.udi_di: none assigned}\n")
    found = inspect(path)
    assert found["kind"] == "study description"
    assert found["stated"] == f"1 of {len(study_fields())} fields"
    assert "use.background" not in found["open"]
    assert "device.udi_di" not in found["open"]
    assert "dataset.ethics" in found["open"]
    path.write_text(HEAD + "use: {backgrund: x}\n")
    with pytest.raises(InputError, match="did you mean 'background'"):
        inspect(path)

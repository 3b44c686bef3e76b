"""A study description from start to report through the command line: picked up, completed after the run, verified."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import pytest

from evalsuite.protocol.jsonschema import json_schema
from evalsuite.record.canonical import read_json
from evalsuite.report.pdf_places import PdfPlaces, Place
from evalsuite.spine import gaps

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "recorded_predictions"
STUDY = """schema: evalsuite/study/1
protocol: recorded-predictions-example
dataset: {inclusion: adults of two invented sites, ethics: none needed}
risks:
  - {hazard: H1 missed finding, control: threshold 0.5, requirement: REQ-1, endpoints: [sensitivity]}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory, cli):
    """A folder with protocol, description, locked set and one run that is scored and has no report yet."""
    root = tmp_path_factory.mktemp("study")
    for name in ("cases.csv", "predictions.csv", "protocol.yaml"):
        shutil.copy(EXAMPLE / name, root / name)
    (root / "study.yaml").write_text(STUDY)
    model = ("--model", root / "predictions.csv")
    assert cli("lock", root / "cases.csv", "--out", root / "set", "--protocol", root / "protocol.yaml").code == 0
    frozen = ("freeze", root / "protocol.yaml", "--testset", root / "set", *model, "--out", root / "frozen")
    assert cli(*frozen).code == 0
    made = cli("predict", root / "frozen", "--testset", root / "set", *model, "--out", root / "run")
    assert made.code == 0, made.err
    assert cli("score", root / "run").code in (0, 1)
    return root


def test_a_description_beside_the_frozen_protocol_is_recorded_before_unblinding(place):
    record = read_json(place / "run" / "record.json")
    assert record["study"]["stated"]["dataset"]["ethics"] == "none needed"
    assert record["study"]["completed"] is None
    entries = [json.loads(line) for line in (place / "run" / "ledger.jsonl").read_text().splitlines()]
    sealed = next(e for e in entries if e["action"] == "predictions_sealed")
    assert sealed["objects"]["study"] == record["study"]["sha256"]
    assert record["selftest"]["id"].startswith("ST-")
    assert record["selftest"]["failed"] == []


def test_gaps_say_what_is_missing(place, cli):
    found = cli("gaps", place / "run", "--checklist", "claim2024", "--checklist", "part11", "--json")
    assert found.code == 0
    jsonschema.validate(found.json(), json_schema("gaps"))
    claim, part11 = found.json()["checklists"]
    items = {i["item"]: i for i in claim["items"]}
    assert items["8"]["status"] == "partly"
    assert [f["fact"] for f in items["8"]["missing"]] == ["dataset.exclusion"]
    assert {i["item"]: i["status"] for i in part11["items"]}["11.10(e)"] == "reported"
    assert cli("gaps", place / "run", "--checklist", "claim2025").code == 2
    short = cli("gaps", place / "run", "--checklist", "fda_lifecycle", "--json").json()["checklists"]
    assert [c["name"] for c in short] == ["fda_lifecycle_draft_2025"]
    assert cli("gaps", place / "run", "--checklist", "fda").code == 2
    assert cli("gaps", place / "set", "--checklist", "claim2024").code == 2
    assert "claim2024" in cli("gaps", place / "run", "--checklist", "none").err


def test_a_description_completed_after_the_run_changes_no_result(place, cli, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(place / "run", run)
    before = {n: (run / n).read_bytes() for n in ("evidence.json", "verdict.json", "protocol.yaml")}
    later = tmp_path / "later.yaml"
    later.write_text(STUDY + "design: {deviations: []}\n")
    assert cli("report", run, "--study", later).code in (0, 1)
    assert {n: (run / n).read_bytes() for n in before} == before
    study = read_json(run / "record.json")["study"]
    assert study["completed"]["changed"] == ["design.deviations"]
    assert study["completed"]["at_start"] == read_json(place / "run" / "record.json")["study"]["sha256"]
    assert cli("verify", run).code == 0
    html = (run / "report.html").read_text(encoding="utf-8")
    assert "after the reference standard" in html
    assert "design.deviations" in html


def test_a_description_with_problems_stops_before_anything_is_used(place, cli, tmp_path):
    before = (place / "set" / "ledger.jsonl").read_bytes()
    bad = tmp_path / "bad.yaml"
    bad.write_text(STUDY.replace("ethics", "ethiks"))
    made = cli(
        "run", place / "frozen", "--testset", place / "set", "--model", place / "predictions.csv",
        "--out", tmp_path / "run", "--study", bad,
    )  # fmt: skip
    assert made.code == 2
    assert "did you mean 'ethics'" in made.err
    assert (place / "set" / "ledger.jsonl").read_bytes() == before
    refused = cli("report", place / "run", "--study", bad)
    assert refused.code == 2
    assert cli("verify", place / "run").code == 0


def test_the_self_test_runs_from_the_command_line(cli):
    found = cli("selftest", "--json")
    assert found.code == 0
    assert found.json()["failed"] == []


def test_every_use_of_the_set_is_on_record_and_in_the_report(place, cli, tmp_path, monkeypatch):
    model = ("--model", place / "predictions.csv")
    again = cli(
        "run", place / "protocol.yaml", "--testset", place / "set", *model, "--out", tmp_path / "second",
        "--reason", "tried a second time", "--json",
    )  # fmt: skip
    assert again.code in (0, 1)
    history = read_json(tmp_path / "second" / "record.json")["history"]
    assert [u["state"] for u in history] == ["reported", "analysed"]
    pages = {
        "sections": (Place(page=2, section="Summary"), Place(page=7, section="6  Case accounting")),
        "pages": 9,
    }
    monkeypatch.setattr(gaps, "pdf_places", lambda path: PdfPlaces(**pages))
    found = cli("gaps", tmp_path / "second", "--checklist", "claim2024", "--json").json()["checklists"][0]["items"]
    assert {i["item"]: i["pages"] for i in found if i["pages"]}["35"] == [7]
    assert {i["item"]: i["pages"] for i in found if i["pages"]}["2"] == [2]
    assert history[1]["reason"] == "tried a second time"
    html = (tmp_path / "second" / "report.html").read_text(encoding="utf-8")
    assert "Every use of this test set" in html
    assert "tried a second time" in html

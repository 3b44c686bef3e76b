"""The process around a run: reuse and waivers, a shared ledger, roles, amendments, views, and the end of a run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from evalsuite.protocol.jsonschema import json_schema
from tests.end_to_end.conftest import Outcome, Study, protocol_text
from tests.postgres import cluster

Cli = Callable[..., Outcome]


def begin(s: Study, cli: Cli, *lock_options: object, **changes: Any) -> None:
    s.protocol.write_text(protocol_text(**changes))
    done = cli("lock", s.cases, "--protocol", s.protocol, "--out", s.testset, "--actor", "carl", *lock_options)
    assert done.code == 0, done.err


def freeze(s: Study, cli: Cli, out: Path | None = None) -> dict[str, Any]:
    common = ("--testset", s.testset, "--model", s.predictions, "--actor", "ada", "--json")
    done = cli("freeze", s.protocol, *common, "--out", out or s.frozen)
    assert done.code == 0, done.err
    return done.json()


def go(s: Study, cli: Cli, out: Path, *more: object, verb: str = "run") -> Outcome:
    common = ("--testset", s.testset, "--model", s.predictions, "--actor", "olga", "--json")
    return cli(verb, s.frozen, *common, "--out", out, *more)


def test_a_use_too_many_needs_the_custodians_signed_waiver(study, cli):
    s = study
    key, other = s.folder / "carl.key", s.folder / "eve.key"
    assert cli("keygen", key).code == 0
    assert cli("keygen", other).code == 0
    begin(s, cli, "--key", key, reuse_policy={"max_uses_per_case": 1, "on_excess": "refuse"})
    freeze(s, cli)
    assert go(s, cli, s.folder / "a", "--limit", 40, verb="predict").code == 0  # a use, though nothing was scored
    refused = go(s, cli, s.run)
    assert refused.code == 2
    assert "40 of 120 cases of this run had been used once or more" in refused.err + refused.out
    assert not list(s.run.iterdir())

    waiver = s.folder / "waiver.yaml"
    grant = ("waive", s.testset, "--reason", "the operator stopped the first run", "--runs", 1, "--actor", "carl")
    assert cli(*grant, "--out", waiver).code == 2  # no key
    assert cli(*grant, "--out", waiver, "--key", other).code == 2  # not the custodian's
    assert cli(*grant, "--out", waiver, "--key", key).code == 0
    envelope = s.folder / "waiver.yaml.dsse.json"
    signature = envelope.read_bytes()
    jsonschema.validate(json.loads(signature), json_schema("envelope"))
    jsonschema.validate(yaml.safe_load(waiver.read_text()), json_schema("waiver"))
    envelope.unlink()
    unsigned = go(s, cli, s.run, "--waiver", waiver)
    assert unsigned.code == 2
    assert "not signed" in unsigned.err + unsigned.out
    envelope.write_bytes(signature)
    text = waiver.read_text()
    waiver.write_text(text.replace("runs: 1", "runs: 9"))
    assert go(s, cli, s.run, "--waiver", waiver).code == 3
    waiver.write_text(text)

    done = go(s, cli, s.run, "--waiver", waiver)
    assert done.code == 0, done.err
    record = json.loads((s.run / "record.json").read_text())
    assert record["use"]["waiver"]["reason"] == "the operator stopped the first run"
    assert "the operator stopped the first run" in (s.run / "report.html").read_text()
    line = next(e for e in entries(s.run) if e["action"] == "run_started" and e["objects"].get("waiver"))
    assert line["objects"]["waiver"] == record["use"]["waiver"]["digest"]
    assert line["objects"]["cases"] == "1-120"
    assert "used up" in go(s, cli, s.folder / "again", "--waiver", waiver).err

    # some cases had been used before, and some not: both are shown, and scoring again changes nothing
    evidence = (s.run / "evidence.json").read_bytes()
    split = [f for f in json.loads(evidence)["findings"] if f["analysis"] == "reuse"]
    assert {(f["endpoint"], f["stratum"]["use"]) for f in split} == {
        (name, use) for name in ("discrimination", "sensitivity") for use in ("never used", "used before")
    }
    assert {f["estimate"]["n"] for f in split if f["endpoint"] == "discrimination"} == {80, 40}
    assert cli("score", s.run).code == 0
    assert (s.run / "evidence.json").read_bytes() == evidence
    assert cli("verify", s.run).code == 0
    found = cli("inspect", s.testset, "--json").json()
    assert found["uses per case"] == "least 1, median 1, most 2"
    assert [line.split(": ")[1].split(",")[0] for line in found["runs"]] == ["executed", "reported"]


def entries(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "ledger.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_team_shares_one_ledger(study, cli, kind, request):
    s = study
    url = f"sqlite:///{s.folder}/team.sqlite"
    if kind == "postgresql":
        context = cluster()
        url = context.__enter__()
        request.addfinalizer(lambda: context.__exit__(None, None, None))
    begin(s, cli, "--store", url)
    assert not (s.testset / "ledger.jsonl").exists()
    freeze(s, cli)
    assert go(s, cli, s.run, "--store", url).code == 0
    assert [e["action"] for e in entries(s.run)] == [
        *("locked", "frozen", "run_started", "predictions_sealed", "unblinded", "analysed", "reported")
    ]
    assert cli("verify", s.run).code == 0
    assert cli("verify", s.testset, "--store", url).code == 0
    assert cli("verify", s.run / "ledger.jsonl").code == 0
    # The same set, locked by somebody else from the same table, shares its past.
    again = s.folder / "copy"
    assert cli("lock", s.cases, "--protocol", s.protocol, "--out", again, "--store", url).code == 0
    assert cli("inspect", again, "--json").json()["uses per case"] == "least 1, median 1, most 1"
    assert cli("verify", again).code == 0


def test_roles_that_are_enforced_decide_whether_a_run_is_evidence(study, cli):
    s = study
    begin(s, cli, roles={"operator": ["oscar"], "custodian": ["carl"], "enforce": True})
    freeze(s, cli)
    done = go(s, cli, s.run)
    assert done.code == 1
    said = done.json()["not_evidence_because"]
    assert said == ["separation of duties: olga acted as operator and is not named for that role (ledger entries 3-5)"]
    assert said[0] in (s.run / "report.html").read_text()
    assert cli("verify", s.run).code == 0
    assert go(s, cli, s.folder / "b", "--role", "boss").code == 2


def test_an_amendment_is_a_new_version_with_its_kind_and_reason(study, cli):
    s = study
    begin(s, cli)
    assert "amendment" not in freeze(s, cli)
    s.protocol.write_text(protocol_text(title="Another title"))
    assert freeze(s, cli, s.folder / "b")["amendment"] == "unclassified"
    amendment = {"of": "1.0.0", "kind": "minor", "reason": "the title says what the study is"}
    s.protocol.write_text(protocol_text(title="A better title", version="1.1.0", amendment=amendment))
    assert freeze(s, cli, s.folder / "c")["amendment"] == "minor"
    common = ("--testset", s.testset, "--model", s.predictions, "--json")
    bad = cli("run", s.folder / "b", *common, "--out", s.folder / "run-b")
    assert bad.code == 1
    assert "without a new version that says how" in bad.json()["not_evidence_because"][0]
    # After that run the answers are known: even a classified amendment is post hoc.
    late = cli("run", s.folder / "c", *common, "--out", s.folder / "run-c")
    assert late.code == 0, late.out  # it had been frozen before
    s.protocol.write_text(protocol_text(version="1.2.0", amendment={**amendment, "of": "1.1.0"}))
    freeze(s, cli, s.folder / "d")
    late = cli("run", s.folder / "d", *common, "--out", s.folder / "run-d")
    assert late.code == 1
    assert "changed after the reference standard had been opened" in late.json()["not_evidence_because"][0]


def test_developers_get_a_summary_and_assessors_everything(study, cli):
    s = study
    begin(s, cli, roles={"developer": ["dave"]}, disclose=["sex"])
    freeze(s, cli)
    assert go(s, cli, s.run).code == 0
    small, whole = s.folder / "developer", s.folder / "assessor"
    assert cli("export", s.run, "--view", "developer", "--out", small, "--actor", "dave").code == 0
    assert {p.name for p in small.iterdir()} == {"summary.json", "report.pdf", "report.html"}
    summary = json.loads((small / "summary.json").read_text())
    jsonschema.validate(summary, json_schema("developer_view"))
    assert {json.dumps(f["stratum"]) for f in summary["findings"]} == {"{}"}
    assert {c["endpoint"] for c in summary["verdict"]["criteria"]} == {"discrimination", "sensitivity"}
    shown = (small / "report.html").read_text() + (small / "summary.json").read_text()
    for hidden in ("c001", "female", "carl", "predictions.csv", str(s.folder)):
        # Whole words: four characters of a digest may be a case's name by chance.
        assert not re.search(rf"(?<!\w){re.escape(hidden)}(?!\w)", shown), hidden
    assert cli("verify", small / "report.pdf").code == 0

    view = ("export", s.run, "--view", "assessor", "--out", whole)
    assert cli(*view, "--actor", "olga").code == 2
    assert cli(*view, "--actor", "dave", "--role", "reviewer").code == 2
    assert not whole.exists()
    assert cli(*view, "--actor", "quinn", "--role", "QA").code == 0
    assert cli("verify", whole).code == 0
    ledger = [json.loads(line) for line in (s.testset / "ledger.jsonl").read_text().splitlines()]
    assert [(e["action"], e["actor"], e["role"]) for e in ledger[-4:]] == [
        ("exported", "dave", "operator"),
        ("export_refused", "olga", "operator"),
        ("export_refused", "dave", "reviewer"),
        ("exported", "quinn", "qa"),
    ]
    assert cli("export", s.run, "--view", "assessor", "--out", whole, "--role", "qa").code == 2  # not empty


def test_a_run_that_is_void_or_of_another_ledger_is_not_scored(study, cli):
    s = study
    begin(s, cli)
    freeze(s, cli)
    assert go(s, cli, s.run, verb="predict").code == 0
    before = (s.testset / "ledger.jsonl").read_bytes()
    assert cli("void", s.run, "--reason", "short").code == 2
    assert cli("void", s.run, "--reason", "wrong camera settings", "--actor", "carl").code == 0
    ended = cli("score", s.run)
    assert ended.code == 2
    assert "is void" in ended.err
    (s.testset / "ledger.jsonl").write_bytes(b"".join(before.splitlines(keepends=True)[:2]))
    lost = cli("score", s.run)
    assert lost.code == 3
    assert "does not know the run" in lost.err


def test_an_interruption_before_the_plan_is_complete_costs_no_second_use(study, cli, monkeypatch):
    import evalsuite.spine.running_begin as beginning

    s = study
    begin(s, cli)
    freeze(s, cli)
    real, calls = beginning.write_json, []

    def cut_off(path: Path, content: Any) -> None:
        calls.append(path)
        if len(calls) == 2:  # the line is in the ledger, the plan does not say so yet
            raise KeyboardInterrupt
        real(path, content)

    monkeypatch.setattr(beginning, "write_json", cut_off)
    go(s, cli, s.run, verb="predict")
    monkeypatch.undo()
    assert go(s, cli, s.run, verb="predict").code == 0
    actions = [e["action"] for e in entries(s.run)]
    assert actions.count("run_started") == 1
    assert yaml.safe_load((s.run / "protocol.yaml").read_text())["id"] == "small-study"

"""From a case table to a verified report, and every way the process can be cut short."""

from __future__ import annotations

import hashlib
import json

import pytest

from evalsuite.record.canonical import canonical_json


@pytest.mark.full_pdf
def test_a_frozen_study_ends_in_a_verdict_that_verifies(locked, cli):
    s = locked
    assert cli("freeze", s.protocol, "--testset", s.testset, "--model", s.predictions, "--out", s.frozen).code == 0
    done = cli("run", s.frozen, "--testset", s.testset, "--model", s.predictions, "--out", s.run, "--json")
    assert done.code == 0, done.err
    verdict = done.json()
    assert verdict["overall"] == "met"
    assert verdict["evidence"] is True
    for name in (
        "protocol.yaml",
        "testset.lock.json",
        "model.json",
        "predictions.parquet",
        "evidence.json",
        "verdict.json",
        "record.json",
        "report.pdf",
        "report.html",
        "ledger.jsonl",
        "SEAL.json",
    ):
        assert (s.run / name).is_file(), name
    checked = cli("verify", s.run, "--json")
    assert checked.code == 0, checked.out
    assert {c["name"] for c in checked.json()["checks"] if c["status"] == "absent"} == {
        *("seal signature", "ledger head", "lock signature", "freeze signature", "timestamp", "signed report")
    }
    assert {c["status"] for c in checked.json()["checks"]} == {"holds", "absent"}


def test_an_unfrozen_run_is_judged_but_never_met(locked, cli):
    s = locked
    done = cli("run", s.protocol, "--testset", s.testset, "--model", s.predictions, "--out", s.run, "--json")
    assert done.code == 1
    verdict = done.json()
    assert verdict["overall"] == "inconclusive"
    assert verdict["evidence"] is False
    assert any("frozen" in reason for reason in verdict["not_evidence_because"])
    assert {c["outcome"] for c in verdict["criteria"]} == {"met"}
    assert cli("verify", s.run).code == 0


def test_the_same_yaml_counts_as_frozen_once_the_ledger_says_so(locked, cli):
    s = locked
    cli("freeze", s.protocol, "--testset", s.testset, "--model", s.predictions, "--out", s.frozen)
    done = cli("run", s.protocol, "--testset", s.testset, "--model", s.predictions, "--out", s.run, "--json")
    assert done.code == 0
    assert done.json()["evidence"] is True


def test_a_protocol_changed_after_the_labels_were_opened_is_post_hoc(locked, cli):
    s = locked
    cli("run", s.protocol, "--testset", s.testset, "--model", s.predictions, "--out", s.run)
    s.protocol.write_text(s.protocol.read_text().replace("value: 0.7", "value: 0.6"))
    cli("freeze", s.protocol, "--testset", s.testset, "--model", s.predictions, "--out", s.frozen)
    second = s.folder / "run-2"
    done = cli("run", s.frozen, "--testset", s.testset, "--model", s.predictions, "--out", second, "--json")
    assert done.code == 1
    assert any("changed after" in reason for reason in done.json()["not_evidence_because"])


def test_limit_is_marked_not_evidence(locked, cli):
    s = locked
    cli("freeze", s.protocol, "--testset", s.testset, "--model", s.predictions, "--out", s.frozen)
    done = cli(
        "run", s.frozen, "--testset", s.testset, "--model", s.predictions, "--out", s.run, "--limit", 60, "--json"
    )
    assert done.code == 1
    assert done.json()["evidence"] is False
    evidence = json.loads((s.run / "evidence.json").read_text())
    assert sum(a["n"] for a in evidence["accounting"] if not a["stratum"]) == 60


def test_the_stages_alone_give_the_same_evidence_as_run(locked, cli):
    s = locked
    cli("run", s.protocol, "--testset", s.testset, "--model", s.predictions, "--out", s.run)
    staged = s.folder / "staged"
    assert cli("predict", s.protocol, "--testset", s.testset, "--model", s.predictions, "--out", staged).code == 0
    assert not (staged / "evidence.json").exists()
    assert cli("score", staged).code == 1
    assert cli("report", staged).code == 1
    assert (staged / "evidence.json").read_bytes() == (s.run / "evidence.json").read_bytes()
    assert cli("verify", staged).code == 0


def test_the_same_command_again_returns_the_finished_run_and_counts_no_second_use(locked, cli):
    s = locked
    command = ("run", s.protocol, "--testset", s.testset, "--model", s.predictions, "--out", s.run, "--json")
    first = cli(*command)
    ledger = (s.testset / "ledger.jsonl").read_bytes()
    again = cli(*command)
    assert again.code == first.code
    assert again.json()["already_done"] is True
    assert (s.testset / "ledger.jsonl").read_bytes() == ledger


def test_another_model_in_the_same_run_folder_is_refused(locked, cli):
    s = locked
    cli("run", s.protocol, "--testset", s.testset, "--model", s.predictions, "--out", s.run)
    other = s.folder / "other.csv"
    lines = s.predictions.read_text().splitlines()
    other.write_text("\n".join([lines[0], "c000,0.123456", *lines[2:]]) + "\n")
    done = cli("run", s.protocol, "--testset", s.testset, "--model", other, "--out", s.run)
    assert done.code == 2
    assert "--out" in done.err


@pytest.mark.full_pdf
def test_report_again_gives_the_same_bytes_and_keeps_the_seal(locked, cli):
    s = locked
    cli("run", s.protocol, "--testset", s.testset, "--model", s.predictions, "--out", s.run)
    before = {
        n: hashlib.sha256((s.run / n).read_bytes()).hexdigest() for n in ("report.pdf", "report.html", "SEAL.json")
    }
    assert cli("report", s.run).code == 1
    after = {n: hashlib.sha256((s.run / n).read_bytes()).hexdigest() for n in before}
    assert after == before


def test_evidence_holds_no_time_path_host_or_run_id(locked, cli):
    s = locked
    cli("run", s.protocol, "--testset", s.testset, "--model", s.predictions, "--out", s.run, "--actor", "operator-77")
    text = (s.run / "evidence.json").read_text()
    record = json.loads((s.run / "record.json").read_text())
    for forbidden in (str(s.folder), record["run"]["id"], record["run"]["started_utc"][:10], "operator-77"):
        assert forbidden not in text
    assert canonical_json(json.loads(text)) == (s.run / "evidence.json").read_bytes().strip()


def test_a_changed_file_of_a_run_breaks_it(locked, cli):
    s = locked
    cli("run", s.protocol, "--testset", s.testset, "--model", s.predictions, "--out", s.run)
    for name in ("evidence.json", "verdict.json", "record.json", "predictions.parquet", "report.pdf", "SEAL.json"):
        path = s.run / name
        kept = path.read_bytes()
        middle = len(kept) // 2
        path.write_bytes(kept[:middle] + bytes([kept[middle] ^ 1]) + kept[middle + 1 :])
        assert cli("verify", s.run).code == 3, name
        path.write_bytes(kept)
    assert cli("verify", s.run).code == 0


def test_a_run_verifies_without_its_test_set_and_says_so(locked, cli):
    s = locked
    cli("run", s.protocol, "--testset", s.testset, "--model", s.predictions, "--out", s.run)
    s.testset.rename(s.folder / "elsewhere")
    checked = cli("verify", s.run, "--json")
    assert checked.code == 0
    assert any(c["name"] == "test set" and c["status"] == "absent" for c in checked.json()["checks"])


def test_a_ledger_rolled_back_behind_a_run_is_noticed(locked, cli):
    s = locked
    before = (s.testset / "ledger.jsonl").read_bytes()
    cli("run", s.protocol, "--testset", s.testset, "--model", s.predictions, "--out", s.run)
    (s.testset / "ledger.jsonl").write_bytes(before)
    assert cli("verify", s.run).code == 3


def test_init_scaffolds_a_study_whose_protocol_loads(tmp_path, cli):
    out = tmp_path / "new"
    assert cli("init", out).code == 0
    assert {p.name for p in out.iterdir()} == {"protocol.yaml", "study.yaml", "cases.csv", "README.md"}
    assert cli("inspect", out / "protocol.yaml", "--json").json()["kind"] == "protocol"
    assert cli("init", out).code == 2


def test_list_schema_doctor_and_inspect_answer(locked, cli):
    s = locked
    for what in ("protocols", "metrics", "models", "analyses"):
        assert cli("list", what, "--json").json()[what]
    assert cli("list", "nonsense").code == 2
    kinds = cli("schema").json()["kinds"]
    assert {"protocol", "evidence", "verdict"} <= set(kinds)
    for kind in kinds:
        assert cli("schema", kind).json()
    assert cli("schema", "nonsense").code == 2
    assert cli("doctor", "--json").code == 0
    assert cli("inspect", s.testset, "--json").json()["n_cases"] == 120
    assert cli("inspect", s.predictions, "--json").json()["kind"] == "model"


def test_published_schemas_accept_what_is_written(locked, cli):
    import jsonschema

    s = locked
    cli("freeze", s.protocol, "--testset", s.testset, "--model", s.predictions, "--out", s.frozen)
    cli("run", s.frozen, "--testset", s.testset, "--model", s.predictions, "--out", s.run)
    files = {
        "evidence": s.run / "evidence.json",
        "verdict": s.run / "verdict.json",
        "record": s.run / "record.json",
        "seal": s.run / "SEAL.json",
        "model": s.run / "model.json",
        "lock": s.run / "testset.lock.json",
        "frozen": s.frozen / "freeze.json",
        "location": s.testset / "location.json",
        "intake": s.testset / "intake.json",
    }
    for kind, path in files.items():
        jsonschema.validate(json.loads(path.read_text()), cli("schema", kind).json())
    for line in (s.run / "ledger.jsonl").read_text().splitlines():
        jsonschema.validate(json.loads(line), cli("schema", "ledger").json())


def test_cases_are_clustered_by_the_protocols_column_whatever_the_set_was_locked_by(study, cli):
    lines = study.cases.read_text().splitlines()
    rows = [f"{line},l{i // 3}" for i, line in enumerate(lines[1:])]
    study.cases.write_text("\n".join([lines[0] + ",lesion_id", *rows]) + "\n")
    assert cli("lock", study.cases, "--out", study.testset).code == 0
    text = study.protocol.read_text()
    common = ("--testset", study.testset, "--model", study.predictions)
    patients = {}
    for cluster in ("patient_id", "lesion_id"):
        study.protocol.write_text(text.replace("cluster: patient_id", f"cluster: {cluster}"))
        out = study.folder / cluster
        assert cli("run", study.protocol, *common, "--out", out).code == 1
        findings = json.loads((out / "evidence.json").read_text())["findings"]
        patients[cluster] = next(
            f["estimate"]["n_patients"] for f in findings if f["metric"] == "auroc" and not f["stratum"]
        )
    assert patients == {"patient_id": 120, "lesion_id": 40}
    study.protocol.write_text(text.replace("cluster: patient_id", "cluster: nothing"))
    done = cli("run", study.protocol, *common, "--out", study.folder / "none")
    assert done.code == 2
    assert "nothing" in done.err

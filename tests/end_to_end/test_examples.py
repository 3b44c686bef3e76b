"""Every example runs as its README says, and so does the Python of the documentation."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pandas as pd
import pytest

import evalsuite as es
from evalsuite.protocol.schema import ReusePolicy
from evalsuite.record import ledger


def test_the_recorded_example_runs_as_its_readme_says(checkout, tmp_path, cli):
    example = checkout / "examples" / "recorded_predictions"
    protocol, model = example / "protocol.yaml", example / "predictions.csv"
    common = ("--testset", tmp_path / "set", "--model", model)
    assert cli("lock", example / "cases.csv", "--protocol", protocol, "--out", tmp_path / "set").code == 0
    assert cli("freeze", protocol, *common, "--out", tmp_path / "frozen").code == 0
    done = cli("run", tmp_path / "frozen", *common, "--out", tmp_path / "run", "--json")
    assert done.code == 1
    assert done.json()["evidence"] is True
    evidence = json.loads((tmp_path / "run" / "evidence.json").read_text())
    lost = {a["status"]: a["n"] for a in evidence["accounting"] if not a["stratum"] and a["status"] != "ok"}
    assert lost == {"failed": 1, "rejected": 1}


def test_the_demo_walks_from_phantoms_to_a_verified_report(checkout, tmp_path):
    command = [sys.executable, "examples/chest_phantom/demo.py", "--out", str(tmp_path / "demo"), "--patients", "40"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Intact" in done.stdout
    assert (tmp_path / "demo" / "run-1" / "report.pdf").is_file()


def test_the_demo_of_a_reader_study_is_verified(checkout, tmp_path):
    command = [
        sys.executable,
        "examples/reader_study/demo.py",
        "--out",
        str(tmp_path),
        "--patients",
        "40",
        "--readers",
        "3",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Intact" in done.stdout
    text = (tmp_path / "run-1" / "report.html").read_text()
    assert "an evaluation of readers" in text
    assert "no reader study was performed" not in text
    assert "reader by reader" in text
    _holds_times_and_agreement(tmp_path)


def _holds_times_and_agreement(demo):
    """Findings of the run against plain arithmetic on the table of readings."""
    table = pd.read_csv(demo / "data" / "readings.csv").dropna(subset="condition")
    findings = json.loads((demo / "run-1" / "evidence.json").read_text())["findings"]
    found = {
        (f["endpoint"], f["condition"]): f["estimate"]
        for f in findings
        if f["rater"] == "device" and not f["stratum"] and f["analysis"] == "readers"
    }
    mean = table.groupby("condition").seconds.mean()
    assert found["reading time with the device", None]["value"] == pytest.approx(mean["aided"])
    assert found["reading time with the device", None]["high"] > mean["aided"]
    assert found["change in reading time", None]["value"] == pytest.approx(mean["aided"] - mean["unaided"])
    for condition, key in (("aided", None), ("unaided", "unaided")):
        called = (
            table[table.condition == condition].pivot(index="case_id", columns="rater", values="suspicion") >= 50
        ).sum(axis=1)
        k, n = table.rater.nunique(), len(called)
        agreed = (called * (called - 1) + (k - called) * (k - called - 1)).sum() / (n * k * (k - 1))
        p = called.sum() / (n * k)
        by_chance = p**2 + (1 - p) ** 2
        assert found["agreement on recalls", key]["value"] == pytest.approx((agreed - by_chance) / (1 - by_chance))
        assert found["agreement on suspicion", key]["low"] is not None


@pytest.mark.parametrize("package", ["bundle", "torchscript/model.ts", "exported/model.pt2", "onnx/model.onnx"])
def test_every_package_of_the_demo_says_what_it_is(checkout, cli, package):
    found = cli(
        "inspect", checkout / "examples" / "chest_phantom" / "models" / package, "--unsandboxed", "--json"
    ).json()
    assert found["kind"] == "model"
    assert found["outputs"] == ["p_nodule"]


def test_the_python_of_the_documentation(study, tmp_path, cli):
    protocol = es.load_protocol(study.protocol)
    es.lock_testset(
        study.cases, study.testset, reference=None, protocol=protocol, actor="someone", utc="2026-01-01T00:00:00Z"
    )
    testset = es.open_testset(study.testset)
    model = es.open_model(study.predictions)
    predictions = es.predict(model, testset, device="cpu")
    evidence = es.evaluate(protocol, testset, predictions)
    entry = ledger.read(study.testset / "ledger.jsonl")[-1]
    assert (entry.action, entry.reason) == ("unblinded", "evaluated from Python"), "entered before it was opened"
    assert es.evaluate(protocol, testset, predictions) == evidence
    assert ledger.read(study.testset / "ledger.jsonl")[-1] == entry, "the same question again is the same use"
    uses = cli("inspect", study.testset).out
    assert "least 1, median 1, most 1" in uses
    strict = protocol.model_copy(update={"reuse_policy": ReusePolicy(max_uses_per_case=1, on_excess="refuse")})
    with pytest.raises(es.EvalsuiteError, match="This run is refused"):
        es.evaluate(strict, testset, predictions)
    verdict = es.judge(protocol, evidence)
    es.write_report(tmp_path / "report.pdf", protocol, evidence, verdict, predictions.record)
    assert verdict.overall in ("met", "not_met", "inconclusive")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")

"""A monitoring study, two visits of every patient, from protocol to a verified report."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

N = 40


def write(folder) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    first = rng.gamma(6, 10, N) + 10
    truth = np.round(np.c_[first, first * rng.choice([0.5, 1.0, 1.5], N) * np.exp(rng.normal(0, 0.03, N))], 3)
    device = np.round(truth * np.exp(rng.normal(0.05, 0.04, truth.shape)), 3)
    rows, table = ["case_id,patient_id,visit,volume"], ["case_id,v_ml"]
    for i in range(N):
        for j, visit in enumerate(("baseline", "month 6")):
            rows.append(f"c{i:02d}{j},p{i:02d},{visit},{truth[i, j]}")
            table.append(f"c{i:02d}{j},{device[i, j]}")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    (folder / "predictions.csv").write_text("\n".join(table) + "\n")
    protocol = {
        "schema": "evalsuite/protocol/1",
        "id": "monitoring",
        "version": "1.0.0",
        "title": "Change of a volume over six months",
        "kind": "standalone",
        "intended_use": {"indications": "none: a test"},
        "task": {"kind": "regression", "reference": "volume", "score": "v_ml"},
        "unit": {"case": "case_id", "cluster": "patient_id"},
        "endpoints": [
            {
                "name": "response called alike",
                "metric": "response_agreement",
                "role": "primary",
                "criterion": {"bound": "lower", "op": ">", "value": 0.7},
            },
            {
                "name": "upper limit of change",
                "metric": "change_loa_upper",
                "maximum": 1.0,
                "role": "primary",
                "criterion": {"bound": "upper", "op": "<", "value": 0.4},
            },
        ],
        "confidence": {"bootstrap": {"replicates": 100}},
        "analyses": {
            "change": {
                "visit": "visit", "before": "baseline", "after": "month 6", "relative": True, "thresholds": [-0.3, 0.2],
            }
        },
        "seed": 3,
    }  # fmt: skip
    (folder / "protocol.yaml").write_text(yaml.safe_dump(protocol, sort_keys=False))
    return truth, device


def test_change_is_judged_and_the_response_table_printed(tmp_path, cli):
    truth, device = write(tmp_path)
    protocol, testset, model = tmp_path / "protocol.yaml", tmp_path / "set", tmp_path / "predictions.csv"
    for command in (
        ("lock", tmp_path / "cases.csv", "--protocol", protocol, "--out", testset),
        ("freeze", protocol, "--testset", testset, "--model", model, "--out", tmp_path / "frozen"),
    ):
        done = cli(*command)
        assert done.code == 0, done.err
    done = cli("run", tmp_path / "frozen", "--testset", testset, "--model", model, "--out", tmp_path / "run", "--json")
    assert done.code == 0, done.err
    assert done.json()["overall"] == "met"
    evidence = json.loads((tmp_path / "run" / "evidence.json").read_text())
    (same,) = [f["estimate"] for f in evidence["findings"] if f["endpoint"] == "response called alike"]
    d, r = (np.digitize(x[:, 1] / x[:, 0] - 1, [-0.3, 0.2]) for x in (device, truth))
    assert same["value"] == pytest.approx((d == r).mean())
    assert same["n"] == N
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Response: category of the reference" in page
    assert "Change between visits" in page
    assert cli("verify", tmp_path / "run").code == 0
    assert "visit" in json.loads((testset / "testset.lock.json").read_text())["columns"]["sealed"]


def test_two_cases_at_one_visit_are_told(tmp_path, cli):
    write(tmp_path)
    cases = tmp_path / "cases.csv"
    cases.write_text(cases.read_text().replace("c051,p05,month 6", "c051,p05,baseline"))
    testset = tmp_path / "set"
    assert cli("lock", cases, "--protocol", tmp_path / "protocol.yaml", "--out", testset).code == 0
    model = tmp_path / "predictions.csv"
    done = cli("run", tmp_path / "protocol.yaml", "--testset", testset, "--model", model, "--out", tmp_path / "run")
    assert done.code == 2
    assert "a second case at the same visit" in done.err
    assert "c051" in done.err

"""A study of repeated acquisitions by several cameras, from protocol to report: measurements and calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from evalsuite.stats.variance_components import gauge_study

PATIENTS, CAMERAS, R = 20, 3, 2
COMMON: dict[str, Any] = {
    "schema": "evalsuite/protocol/1",
    "id": "repeats",
    "version": "1.0.0",
    "title": "Repeated acquisitions",
    "kind": "standalone",
    "intended_use": {"indications": "none: a test"},
    "unit": {"case": "case_id", "cluster": "patient_id"},
    "confidence": {"bootstrap": {"replicates": 100}},
    "analyses": {"variance_components": {"factors": ["camera"]}},
    "seed": 5,
}
MEASURED: dict[str, Any] = {
    "task": {"kind": "regression", "reference": "truth", "score": "size_mm"},
    "endpoints": [
        {
            "name": "any camera",
            "metric": "reproducibility_coefficient",
            "role": "primary",
            "criterion": {"bound": "upper", "op": "<", "value": 30},
        },
        {"name": "offset", "metric": "bias", "maximum": 50},
    ],
}
BINARY: dict[str, Any] = {
    "task": {"kind": "binary", "reference": "large", "score": "p_large"},
    "operating_points": [{"name": "primary", "threshold": 0.5, "source": "fixed beforehand"}],
    "endpoints": [
        {
            "name": "area",
            "metric": "auroc",
            "role": "primary",
            "criterion": {"bound": "lower", "op": ">", "value": 0.5},
        }
    ],
}


def _data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(8)
    patient = np.repeat(np.arange(PATIENTS), CAMERAS * R)
    camera = np.tile(np.repeat(np.arange(CAMERAS), R), PATIENTS)
    truth = rng.normal(50, 8, PATIENTS)[patient]
    device = truth + np.array([-2.0, 0.0, 1.5])[camera] + rng.normal(0, 1.5, patient.size)
    return patient, camera, truth, np.round(device, 3)


def _run(folder: Path, cli: Any, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    patient, camera, truth, device = _data()
    rows, table = ["case_id,patient_id,camera,truth,large"], ["case_id,size_mm,p_large"]
    for i in range(patient.size):
        rows.append(f"c{i:03d},p{patient[i]:02d},unit {camera[i]},{truth[i]:.2f},{int(truth[i] > 50)}")
        table.append(f"c{i:03d},{device[i]},{1 / (1 + np.exp(-(device[i] - 50) / 4)):.5f}")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    (folder / "predictions.csv").write_text("\n".join(table) + "\n")
    (folder / "protocol.yaml").write_text(yaml.safe_dump({**COMMON, **more}, sort_keys=False))
    protocol, testset, model = folder / "protocol.yaml", folder / "set", folder / "predictions.csv"
    for command in (
        ("lock", folder / "cases.csv", "--protocol", protocol, "--out", testset),
        ("freeze", protocol, "--testset", testset, "--model", model, "--out", folder / "frozen"),
    ):
        done = cli(*command)
        assert done.code == 0, done.err
    done = cli("run", folder / "frozen", "--testset", testset, "--model", model, "--out", folder / "run", "--json")
    assert done.code in (0, 1), done.err
    assert cli("verify", folder / "run").code == 0
    return done.json(), json.loads((folder / "run" / "evidence.json").read_text())


def test_a_measurement_is_judged_on_its_reproducibility(tmp_path, cli):
    summary, evidence = _run(tmp_path, cli, **MEASURED)
    patient, camera, _, device = _data()
    want = gauge_study(device, patient, camera).reproducibility_coefficient
    (judged,) = [f["estimate"] for f in evidence["findings"] if f["endpoint"] == "any camera" and not f["stratum"]]
    assert judged["high"] == pytest.approx(want.high)
    assert summary["overall"] == ("met" if want.high < 30 else "inconclusive")
    sources = {f["condition"] for f in evidence["findings"] if f["metric"] == "component_sd"}
    assert sources == {"source=subject", "source=camera", "source=subject by camera", "source=residual"}
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Where the spread of repeated acquisitions comes from" in page
    assert "camera" in json.loads((tmp_path / "set" / "testset.lock.json").read_text())["columns"]["sealed"]


def test_scores_and_calls_of_a_binary_device_stand_beside_each_other(tmp_path, cli):
    _, evidence = _run(tmp_path, cli, **BINARY)
    found = {(f["endpoint"], f["metric"], f["condition"]): f["estimate"] for f in evidence["findings"]}
    assert found["score", "component_sd", "source=camera"]["value"] is not None
    *_, device = _data()
    called = (device >= 50).reshape(PATIENTS, CAMERAS, R)
    same = found["call at primary", "calls_that_differ", "same_conditions"]
    assert same["value"] == pytest.approx((called[:, :, 0] != called[:, :, 1]).mean())
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Calls that differ: another camera" in page


def test_a_column_that_is_not_there_is_told_before_the_set_is_locked(tmp_path, cli):
    (tmp_path / "cases.csv").write_text("case_id,patient_id,truth,cam\nc1,p1,3,a\n")
    (tmp_path / "protocol.yaml").write_text(yaml.safe_dump({**COMMON, **MEASURED}, sort_keys=False))
    done = cli("lock", tmp_path / "cases.csv", "--protocol", tmp_path / "protocol.yaml", "--out", tmp_path / "set")
    assert done.code == 2
    assert "'camera'" in done.err
    assert "analyses.variance_components.factors[0]" in done.err

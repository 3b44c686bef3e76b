"""A phantom study of linearity and quantitation, from protocol to report, against the statistics themselves."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from evalsuite.stats.linearity import limit_of_quantitation, linearity

LEVELS = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0)
R = 5


def write(folder, *, lost: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(6)
    truth = np.repeat(LEVELS, R)
    device = np.round(0.3 + 1.02 * truth + rng.normal(0, 0.25 + 0.01 * truth), 4)
    rows, table = ["case_id,patient_id,volume,scanner"], ["case_id,v_ml"]
    for i, (t, d) in enumerate(zip(truth, device, strict=True)):
        rows.append(f"c{i:02d},phantom {i},{t:g},{'A' if i % 2 else 'B'}")
        if i >= lost:
            table.append(f"c{i:02d},{d}")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    (folder / "predictions.csv").write_text("\n".join(table) + "\n")
    protocol = {
        "schema": "evalsuite/protocol/1",
        "id": "linearity",
        "version": "1.0.0",
        "title": "Linearity of a volume",
        "kind": "standalone",
        "intended_use": {"indications": "none: a test"},
        "task": {"kind": "regression", "reference": "volume", "score": "v_ml"},
        "unit": {"case": "case_id", "cluster": "patient_id"},
        "endpoints": [
            {
                "name": "straight enough",
                "metric": "nonlinearity",
                "role": "primary",
                "criterion": {"bound": "upper", "op": "<", "value": 3},
            }
        ],
        "confidence": {"bootstrap": {"replicates": 100}},
        "strata": ["scanner"],
        "analyses": {"linearity": {"levels": [2, 20, 80], "cv_goal": 0.15}},
        "seed": 3,
    }
    (folder / "protocol.yaml").write_text(yaml.safe_dump(protocol, sort_keys=False))
    return truth, device


def run(folder, cli) -> tuple[str, dict]:
    protocol, testset, model = folder / "protocol.yaml", folder / "set", folder / "predictions.csv"
    for command in (
        ("lock", folder / "cases.csv", "--protocol", protocol, "--out", testset),
        ("freeze", protocol, "--testset", testset, "--model", model, "--out", folder / "frozen"),
    ):
        done = cli(*command)
        assert done.code == 0, done.err
    done = cli("run", folder / "frozen", "--testset", testset, "--model", model, "--out", folder / "run", "--json")
    assert done.code in (0, 1), done.err
    return done.json()["overall"], json.loads((folder / "run" / "evidence.json").read_text())


def test_linearity_is_judged_on_the_largest_deviation_and_printed_by_level(tmp_path, cli):
    truth, device = write(tmp_path)
    overall, evidence = run(tmp_path, cli)
    want = linearity(device, truth, levels=[2, 20, 80])
    found = {
        (f["analysis"], f["metric"], f["condition"]): f["estimate"] for f in evidence["findings"] if not f["stratum"]
    }
    judged = found["performance", "nonlinearity", None]
    assert (judged["value"], judged["high"]) == pytest.approx((want.largest.value, want.largest.high))
    assert overall == ("met" if want.largest.high < 3 else "inconclusive")
    for at, e in zip((2, 20, 80), want.deviations, strict=True):
        assert found["linearity", "deviation", f"level={at}"]["value"] == pytest.approx(e.value)
    limit = limit_of_quantitation(device, truth, 0.15)
    assert found["linearity", "limit_of_quantitation", None]["value"] == limit.limit.value
    assert ("linearity", "level_cv", "level=5") in found
    assert len([t for t in evidence["tests"] if t["endpoint"] == "linearity"]) == 3
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Deviation from linearity, and precision by level" in page
    assert "Limit of quantitation, by upper confidence limits" in page
    assert cli("verify", tmp_path / "run").code == 0


def test_a_lost_output_has_no_worst_case(tmp_path, cli):
    write(tmp_path, lost=1)
    overall, evidence = run(tmp_path, cli)
    assert overall == "inconclusive"
    (judged,) = [
        f["estimate"]
        for f in evidence["findings"]
        if f["endpoint"] == "straight enough" and f["condition"] is None and not f["stratum"]
    ]
    assert "no worst case" in judged["undefined"]
    assert any("1 cases without an output or a reference" in n for n in evidence["notes"])

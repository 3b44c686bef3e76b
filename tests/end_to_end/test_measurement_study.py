"""A measurement study from a case table to a verified report, with its figures checked against plain formulas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats

pytestmark = pytest.mark.traced

N = 120
PROTOCOL: dict[str, Any] = {
    "schema": "evalsuite/protocol/1",
    "id": "volume-study",
    "version": "1.0.0",
    "title": "A small measurement study",
    "kind": "standalone",
    "intended_use": {"indications": "none: a test"},
    "task": {"kind": "regression", "reference": "truth_ml", "score": "volume_ml"},
    "unit": {"case": "case_id", "cluster": "patient_id"},
    "endpoints": [
        {
            "name": "upper limit",
            "metric": "loa_upper",
            "role": "primary",
            "maximum": 30,
            "criterion": {"bound": "upper", "op": "<", "value": 20},
        },
        {
            "name": "lower limit",
            "metric": "loa_lower",
            "role": "primary",
            "maximum": 30,
            "criterion": {"bound": "lower", "op": ">", "value": -20},
        },
        {"name": "error", "metric": "mae", "maximum": 30},
        {"name": "offset", "metric": "bias", "maximum": 30},
        {"name": "within 10 ml", "metric": "coverage_probability", "tolerance": 10},
        {"name": "same category", "metric": "category_agreement", "cuts": [50, 100]},
        {"name": "most errors", "metric": "tdi", "coverage": 0.8, "maximum": 30},
        {"name": "repeatability", "metric": "within_subject_cv", "repeats": "lesion"},
    ],
    "confidence": {"bootstrap": {"replicates": 200}},
    "strata": ["sex"],
    "disclose": ["sex"],
    "seed": 5,
}


def _data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(8)
    truth = np.round(rng.gamma(4, 20, N) + 5, 1)
    return truth, np.round(truth + rng.normal(0.8, 5, N), 2)


def _write(folder: Path, *, lost: int = 0, unresolved: int = 0, per_patient: int = 1, **changes: Any) -> None:
    (folder / "protocol.yaml").write_text(yaml.safe_dump({**PROTOCOL, **changes}, sort_keys=False))
    truth, device = _data()
    rows, table = ["case_id,patient_id,truth_ml,lesion,sex"], ["case_id,volume_ml"]
    for i in range(N):
        reference = "" if i >= N - unresolved else f"{truth[i]}"
        rows.append(f"c{i:03d},p{i // per_patient:03d},{reference},l{i // 2:03d},{'female' if i % 3 else 'male'}")
        if i >= lost:
            table.append(f"c{i:03d},{device[i]}")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    (folder / "predictions.csv").write_text("\n".join(table) + "\n")


def _run(folder: Path, cli: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    protocol, testset, model = folder / "protocol.yaml", folder / "testset", folder / "predictions.csv"
    for command in (
        ("lock", folder / "cases.csv", "--protocol", protocol, "--out", testset),
        ("freeze", protocol, "--testset", testset, "--model", model, "--out", folder / "frozen"),
    ):
        done = cli(*command)
        assert done.code == 0, done.err
    done = cli("run", folder / "frozen", "--testset", testset, "--model", model, "--out", folder / "run", "--json")
    assert done.code in (0, 1), done.err
    evidence = json.loads((folder / "run" / "evidence.json").read_text())
    return done.json(), evidence


def _find(evidence: dict[str, Any], endpoint: str, stratum: dict[str, str] | None = None, condition: str | None = None):
    (found,) = [
        f["estimate"]
        for f in evidence["findings"]
        if f["endpoint"] == endpoint and f["stratum"] == (stratum or {}) and f["condition"] == condition
    ]
    return found


def test_a_measurement_study_ends_in_a_verdict_and_a_report_that_verify(tmp_path, cli):
    _write(tmp_path, per_patient=2)
    summary, evidence = _run(tmp_path, cli)
    assert summary["overall"] == "met"
    truth, device = _data()
    d = device - truth
    assert _find(evidence, "offset")["value"] == pytest.approx(d.mean(), rel=1e-9)
    assert _find(evidence, "error")["value"] == pytest.approx(np.abs(d).mean(), rel=1e-9)
    assert _find(evidence, "rmse")["value"] == pytest.approx(np.sqrt((d**2).mean()), rel=1e-9)
    assert _find(evidence, "within 10 ml")["value"] == pytest.approx((np.abs(d) <= 10).mean())
    alike = np.digitize(device, [50, 100]) == np.digitize(truth, [50, 100])
    assert 0 < _find(evidence, "same category")["numerator"] == alike.sum() < N
    ccc = 2 * np.cov(device, truth, bias=True)[0, 1] / (device.var() + truth.var() + d.mean() ** 2)
    assert _find(evidence, "ccc")["value"] == pytest.approx(ccc, rel=1e-6)
    assert "bootstrap" in _find(evidence, "ccc")["method"]
    assert _find(evidence, "error", {"sex": "male"})["n"] == 40
    kinds = {c["kind"] for c in evidence["curves"]}
    assert {"bland_altman", "scatter"} <= kinds
    assert cli("verify", tmp_path / "run").code == 0
    assert (tmp_path / "run" / "report.pdf").stat().st_size > 10_000
    page = " ".join((tmp_path / "run" / "report.html").read_text().split())
    assert "Bland-Altman plot" in page
    assert "Device against reference" in page
    assert "a measured value, in its own unit" in page
    for wrong in ("target condition", "do not add up", "ROC curve", "positives (or negatives)"):
        assert wrong not in page, wrong


def test_independent_cases_have_the_closed_intervals(tmp_path, cli):
    repeats = [e for e in PROTOCOL["endpoints"] if e["metric"] != "within_subject_cv"]
    _write(tmp_path, endpoints=repeats)
    _, evidence = _run(tmp_path, cli)
    truth, device = _data()
    d = device - truth
    t = stats.t.interval(0.95, N - 1, d.mean(), d.std(ddof=1) / np.sqrt(N))
    offset = _find(evidence, "offset")
    assert (offset["low"], offset["high"]) == pytest.approx(t, rel=1e-9)
    upper = _find(evidence, "upper limit")
    z = stats.norm.ppf(0.975)
    assert upper["value"] == pytest.approx(d.mean() + z * d.std(ddof=1), rel=1e-9)
    k = stats.nct.ppf([0.025, 0.975], N - 1, np.sqrt(N) * z) / np.sqrt(N)
    assert (upper["low"], upper["high"]) == pytest.approx(d.mean() + k * d.std(ddof=1), rel=1e-6)


def test_lost_outputs_are_as_wrong_as_the_protocol_says(tmp_path, cli):
    _write(tmp_path, lost=6)
    summary, evidence = _run(tmp_path, cli)
    assert summary["overall"] != "met"
    truth, device = _data()
    d = (device - truth)[6:]
    assert _find(evidence, "error")["value"] == pytest.approx((np.abs(d).sum() + 6 * 30) / N, rel=1e-9)
    assert _find(evidence, "within 10 ml")["numerator"] == (np.abs(d) <= 10).sum()
    assert _find(evidence, "within 10 ml")["n"] == N
    alike = (np.digitize(device, [50, 100]) == np.digitize(truth, [50, 100]))[6:]
    assert _find(evidence, "same category")["numerator"] == alike.sum()
    assert _find(evidence, "same category", condition="missing_outputs=best_case")["numerator"] == alike.sum() + 6
    assert "no worst case" in _find(evidence, "ccc")["undefined"]
    kept = _find(evidence, "error", condition="missing_outputs=exclude")
    assert kept["value"] == pytest.approx(np.abs(d).mean(), rel=1e-9)
    best = _find(evidence, "error", condition="missing_outputs=best_case")
    assert best["value"] == pytest.approx(np.abs(d).sum() / N, rel=1e-9)
    statuses = {a["status"]: a["n"] for a in evidence["accounting"] if not a["stratum"]}
    assert statuses == {"ok": N - 6, "failed": 6}


def test_unresolved_references_count_too(tmp_path, cli):
    _write(tmp_path, unresolved=5, per_patient=2)
    _, evidence = _run(tmp_path, cli)
    truth, device = _data()
    d = (device - truth)[:-5]
    assert _find(evidence, "error")["value"] == pytest.approx((np.abs(d).sum() + 5 * 30) / N, rel=1e-9)
    assert _find(evidence, "repeatability")["value"] is not None
    statuses = {a["status"]: a["n"] for a in evidence["accounting"] if not a["stratum"]}
    assert statuses == {"ok": N - 5, "reference_missing": 5}


def test_without_a_declared_maximum_nothing_is_assumed(tmp_path, cli):
    bare = [{k: v for k, v in e.items() if k != "maximum"} for e in PROTOCOL["endpoints"]]
    _write(tmp_path, lost=1, endpoints=bare)
    summary, evidence = _run(tmp_path, cli)
    assert summary["overall"] == "inconclusive"
    assert "no largest error (maximum)" in _find(evidence, "error")["undefined"]
    assert _find(evidence, "error", condition="missing_outputs=exclude")["value"] is not None
    assert _find(evidence, "within 10 ml")["value"] is not None


def test_a_reference_that_is_no_number_is_an_error(tmp_path, cli):
    _write(tmp_path)
    cases = tmp_path / "cases.csv"
    cases.write_text(cases.read_text().replace(f",{_data()[0][3]},", ",12 ml,", 1))
    protocol, testset, model = tmp_path / "protocol.yaml", tmp_path / "testset", tmp_path / "predictions.csv"
    assert cli("lock", cases, "--protocol", protocol, "--out", testset).code == 0
    done = cli("run", protocol, "--testset", testset, "--model", model, "--out", tmp_path / "run")
    assert done.code == 2
    assert "not a finite number" in done.err
    assert "c003" in done.err
    assert "12 ml" not in done.err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"missing_outputs": {"primary": "as_negative"}}, "means nothing for a measurement"),
        ({"task": {**PROTOCOL["task"], "classes": ["a", "b"]}}, "a measurement has no classes"),
        ({"task": {**PROTOCOL["task"], "reference": ["a", "b"]}}, "one reference column"),
        ({"endpoints": [{**PROTOCOL["endpoints"][0], "maximum": -1}]}, "above 0"),
        ({"endpoints": [{**PROTOCOL["endpoints"][0], "metric": "coverage_probability"}]}, "needs it"),
        ({"endpoints": [{**PROTOCOL["endpoints"][0], "metric": "auroc"}]}, "does not fit a regression task"),
    ],
)
def test_contradictions_are_told_before_the_run(tmp_path, cli, changes, said):
    _write(tmp_path, **changes)
    done = cli("inspect", tmp_path / "protocol.yaml")
    assert done.code == 2
    assert said in " ".join((done.err + done.out).split())


def test_tipping_points_of_errors_and_shares_are_printed(tmp_path, cli):
    within = {
        "name": "within 10 ml",
        "metric": "coverage_probability",
        "tolerance": 10,
        "criterion": {"bound": "lower", "op": ">", "value": 0.85},
    }
    endpoints = [*PROTOCOL["endpoints"][:2], within]
    _write(tmp_path, unresolved=9, endpoints=endpoints, missing_reference={"primary": "tipping_point"})
    _, evidence = _run(tmp_path, cli)
    tipping = [f for f in evidence["findings"] if f["analysis"] == "tipping_point"]
    found = {(f["endpoint"], f["metric"]): f["estimate"] for f in tipping}
    assert 0 < found["upper limit", "error_to_fail"]["value"] < 30
    assert found["within 10 ml", "cases_wrong_to_fail"]["n"] == 9
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Tipping points: cases without a reference standard" in page
    assert "in every one of them" in page
    assert "Errors of measurements" in page

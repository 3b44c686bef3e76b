"""Stated uncertainty and degraded images from the command line: recorded answers and wrong input."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from tests.end_to_end.conftest import N, protocol_text

pytestmark = pytest.mark.traced
BLOCKS = {
    "uncertainty": {
        "selective": {"coverages": [0.8, 1.0]},
        "conformal": {"alpha": 0.2},
        "outliers": {
            "stratum": "sex", "groups": ["male"], "scores": ["max_softmax", "neighbours"], "embedding": ["emb_*"],
            "neighbours": 3,
        },
    },
    "robustness": {"modality": "xray", "perturbations": ["dose"], "severities": [2, 5], "groups": ["sex"]},
}  # fmt: skip


def record(study, conditions: tuple[str, ...]) -> None:
    """Recorded answers with an embedding, and those on degraded images of the first 60 cases."""
    with study.predictions.open() as file:
        scores = {r["case_id"]: float(r["p_disease"]) for r in csv.DictReader(file)}
    rng = np.random.default_rng(2)
    rows = ["case_id,condition,p_disease,emb_0,emb_1"]
    for i, (case, score) in enumerate(scores.items()):
        rows.append(f"{case},,{score:.6f},{rng.normal() + 3 * (i % 2 == 0):.4f},{rng.normal() + 3:.4f}")
    for name in conditions:
        loss = 0.0 if name == "identity" else 0.04 * int(name[-1])
        rows += [f"{c},{name},{max(s - loss, 0.0):.6f},0,0" for c, s in list(scores.items())[:60]]
    study.predictions.write_text("\n".join(rows) + "\n")
    study.protocol.write_text(protocol_text(analyses=BLOCKS, strata=["sex"], disclose=["sex"]))


def test_from_recorded_answers_to_the_report(study, cli):
    record(study, ("identity", "dose/2", "dose/5"))
    assert cli("lock", study.cases, "--protocol", study.protocol, "--out", study.testset).code == 0
    done = cli("run", study.protocol, "--testset", study.testset, "--model", study.predictions, "--out", study.run)
    assert done.code == 1, done.err  # not frozen, so no evidence
    evidence = json.loads((study.run / "evidence.json").read_text())
    assert evidence["predictions"]["n_cases"] == N
    by = {
        (f["analysis"], f["metric"], f["condition"]): f["estimate"]
        for f in evidence["findings"]
        if not f["stratum"]
    }  # fmt: skip
    change = by["robustness", "score_change", "dose/5"]
    assert change["n"] == 60
    assert -0.2 <= change["value"] < -0.15
    assert by["robustness", "flip_rate", "identity"]["value"] == 0.0
    assert by["uncertainty", "ood_auroc", "neighbours"]["value"] > 0.8
    assert by["uncertainty", "conformal_expected", None]["method"].startswith("beta-binomial, 60 cases")
    html = (study.run / "report.html").read_text()
    for words in ("Stated uncertainty", "Robustness to degraded images", "24 dB PSNR"):
        assert words in html
    assert cli("verify", study.run).code == 0


def test_conditions_without_answers_are_an_error_before_the_run(study, cli):
    record(study, ("identity", "dose/2"))
    assert cli("lock", study.cases, "--protocol", study.protocol, "--out", study.testset).code == 0
    done = cli("run", study.protocol, "--testset", study.testset, "--model", study.predictions, "--out", study.run)
    assert done.code == 2
    assert "dose/5" in done.err
    assert not (study.run / "predictions.parquet").exists()

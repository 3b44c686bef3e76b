"""Studies with several classes, labels or grades, from a case table to a verified report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score, f1_score, matthews_corrcoef, roc_auc_score

pytestmark = pytest.mark.traced

N = 150
CLASSES = ["mel", "nv", "bcc", "bkl"]
LABELS = ["effusion", "nodule", "oedema"]
GRADES = ["none", "mild", "severe"]
_ABOVE = {"bound": "lower", "op": ">", "value": 0.3}

TASKS: dict[str, dict[str, Any]] = {
    "multiclass": {
        "task": {"kind": "multiclass", "reference": "truth", "classes": CLASSES, "score": [f"p_{c}" for c in CLASSES]},
        "endpoints": [
            {"name": "balanced accuracy", "metric": "macro_sensitivity", "role": "primary", "criterion": _ABOVE},
            {
                "name": "melanoma found",
                "metric": "sensitivity",
                "target": "mel",
                "role": "primary",
                "criterion": _ABOVE,
            },
            {"name": "among the first two", "metric": "top_k_accuracy", "top": 2},
        ],
    },
    "multilabel": {
        "task": {"kind": "multilabel", "reference": LABELS, "score": [f"p_{c}" for c in LABELS]},
        "operating_points": [{"name": "primary", "threshold": 0.5, "source": "fixed beforehand"}],
        "endpoints": [
            {"name": "mAP", "metric": "macro_average_precision", "role": "primary", "criterion": _ABOVE},
            {"name": "effusions found", "metric": "sensitivity", "at": "primary", "target": "effusion"},
        ],
    },
    "ordinal": {
        "task": {"kind": "ordinal", "reference": "truth", "classes": GRADES, "score": "grade"},
        "endpoints": [
            {"name": "agreement", "metric": "quadratic_kappa", "role": "primary", "criterion": _ABOVE},
            {"name": "within one grade", "metric": "adjacent_agreement"},
        ],
    },
}


def _columns(kind: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Reference columns and output columns of a good device."""
    rng = np.random.default_rng(3)
    if kind == "multilabel":
        truth = rng.random((N, 3)) < [0.4, 0.3, 0.5]
        p = 1 / (1 + np.exp(-(rng.normal(size=(N, 3)) + 3 * truth - 1.5)))
        return (
            {c: [str(int(t)) for t in truth[:, i]] for i, c in enumerate(LABELS)},
            {f"p_{c}": [f"{x:.4f}" for x in p[:, i]] for i, c in enumerate(LABELS)},
        )
    names = CLASSES if kind == "multiclass" else GRADES
    truth = rng.integers(0, len(names), N)
    if kind == "ordinal":
        grade = np.clip(truth + (rng.random(N) < 0.15) * rng.choice([-1, 1], N), 0, 2)
        return {"truth": [names[t] for t in truth]}, {"grade": [str(g) for g in grade]}
    p = rng.dirichlet(np.ones(4), N) + 0.6 * np.eye(4)[truth]
    p /= p.sum(axis=1, keepdims=True)
    return (
        {"truth": [names[t] for t in truth]},
        {f"p_{c}": [f"{x:.4f}" for x in p[:, i]] for i, c in enumerate(names)},
    )


def write_study(folder: Path, sort: str, *, lost: int = 0, **changes: Any) -> None:
    """protocol.yaml, cases.csv and predictions.csv; the first `lost` cases have no prediction."""
    protocol = {
        "schema": "evalsuite/protocol/1",
        "id": f"{sort}-study",
        "version": "1.0.0",
        "title": f"A small {sort} study",
        "kind": "standalone",
        "intended_use": {"indications": "none: a test"},
        "unit": {"case": "case_id", "cluster": "patient_id"},
        "confidence": {"bootstrap": {"replicates": 200}},
        "strata": ["sex", {"name": "age", "column": "age", "bins": [50]}],
        "disclose": ["sex", "age"],
        "seed": 11,
        **TASKS[sort],
        **changes,
    }
    (folder / "protocol.yaml").write_text(yaml.safe_dump(protocol, sort_keys=False))
    reference, outputs = _columns(sort)
    rows = [",".join(["case_id", "patient_id", *reference, "sex", "age"])]
    table = [",".join(["case_id", *outputs])]
    for i in range(N):
        own = [reference[c][i] for c in reference]
        sex, age = "female" if i % 2 else "male", str(30 + (i * 7) % 50)
        rows.append(",".join([f"c{i:03d}", f"p{i // 2:03d}", *own, sex, age]))
        if i >= lost:
            table.append(",".join([f"c{i:03d}", *(outputs[c][i] for c in outputs)]))
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    (folder / "predictions.csv").write_text("\n".join(table) + "\n")


def _run(folder: Path, cli: Any) -> dict[str, Any]:
    protocol, testset, model = folder / "protocol.yaml", folder / "testset", folder / "predictions.csv"
    for command in (
        ("lock", folder / "cases.csv", "--protocol", protocol, "--out", testset),
        ("freeze", protocol, "--testset", testset, "--model", model, "--out", folder / "frozen"),
    ):
        done = cli(*command)
        assert done.code == 0, done.err
    done = cli("run", folder / "frozen", "--testset", testset, "--model", model, "--out", folder / "run", "--json")
    assert done.code in (0, 1), done.err
    return done.json()


@pytest.mark.parametrize("kind", list(TASKS))
def test_a_study_ends_in_a_verdict_and_a_report_that_verify(kind, tmp_path, cli):
    write_study(tmp_path, kind)
    verdict = _run(tmp_path, cli)
    assert verdict["overall"] == "met", verdict["reason"]
    assert verdict["evidence"] is True
    checked = cli("verify", tmp_path / "run", "--json")
    assert checked.code == 0, checked.out
    evidence = json.loads((tmp_path / "run" / "evidence.json").read_text())
    assert {a["reference"] for a in evidence["accounting"]} == {"known"}
    assert (tmp_path / "run" / "report.pdf").stat().st_size > 10_000
    page = (tmp_path / "run" / "report.html").read_text()
    for name in {"multiclass": CLASSES, "multilabel": LABELS, "ordinal": GRADES}[kind]:
        assert name in page


COMPARED: dict[str, list[dict[str, Any]]] = {
    "multiclass": [
        {"name": "mean area", "metric": "macro_auroc", "role": "primary", "hypothesis": "superiority"},
        {"name": "melanoma gain", "metric": "sensitivity", "target": "mel", "hypothesis": "superiority"},
        {"name": "right", "metric": "accuracy", "role": "primary", "hypothesis": "non_inferiority", "margin": 0.1},
    ],
    "multilabel": [
        {"name": f"area of {c}", "metric": "auroc", "target": c, "role": "primary", "hypothesis": "superiority"}
        for c in LABELS
    ],
    "ordinal": [
        {"name": "kappa gain", "metric": "quadratic_kappa", "role": "primary", "hypothesis": "superiority"},
        {"name": "near", "metric": "adjacent_agreement", "hypothesis": "superiority"},
    ],
}


@pytest.mark.parametrize("kind", list(COMPARED))
def test_a_device_is_compared_with_a_worse_one(kind, tmp_path, cli):
    write_study(
        tmp_path,
        kind,
        kind="comparison",
        comparisons=COMPARED[kind],
        decision_rule="any_primary",
        multiplicity={"method": "hommel"},
        analyses={"generalisation": {"site": "sex", "endpoints": [TASKS[kind]["endpoints"][0]["name"]]}},
    )
    worse = pd.read_csv(tmp_path / "predictions.csv", dtype=str)
    columns = [c for c in worse.columns if c != "case_id"]
    mixed = np.random.default_rng(8).permutation(N)
    some = np.arange(N) % 3 == 0
    for c in columns:
        worse[c] = np.where(some, worse[c].to_numpy()[mixed], worse[c].to_numpy())
    worse.to_csv(tmp_path / "worse.csv", index=False)
    protocol, testset, model = tmp_path / "protocol.yaml", tmp_path / "testset", tmp_path / "predictions.csv"
    assert cli("lock", tmp_path / "cases.csv", "--protocol", protocol, "--out", testset).code == 0
    two = ("--testset", testset, "--model", model, "--baseline", tmp_path / "worse.csv")
    frozen = cli("freeze", protocol, *two, "--out", tmp_path / "frozen")
    assert frozen.code == 0, frozen.err
    done = cli("compare", tmp_path / "frozen", *two, "--out", tmp_path / "run", "--json")
    assert done.code == 0, done.err
    verdict = done.json()
    assert verdict["overall"] == "met", verdict["reason"]
    evidence = json.loads((tmp_path / "run" / "evidence.json").read_text())
    differences = [f for f in evidence["findings"] if f["reference_group"] == "baseline" and not f["stratum"]]
    assert {f["endpoint"] for f in differences if f["analysis"] == "comparison"} == {c["name"] for c in COMPARED[kind]}
    assert any("Hommel over" in t["method"] for t in evidence["tests"])
    assert cli("verify", tmp_path / "run").code == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Candidate and baseline in the whole test set" in page
    assert "p-values adjusted for multiplicity" in page
    assert "How much results differ by sex" in page
    drawn = {"multiclass": CLASSES, "multilabel": LABELS, "ordinal": []}[kind]
    assert all(f"ROC curve of {name}" in page and f"Reliability of {name}" in page for name in drawn)


def test_cases_without_output_are_counted_as_wrong_and_said(tmp_path, cli):
    write_study(tmp_path, "multiclass", lost=6)
    verdict = _run(tmp_path, cli)
    evidence = json.loads((tmp_path / "run" / "evidence.json").read_text())
    assert sum(a["n"] for a in evidence["accounting"] if a["status"] == "failed" and not a["stratum"]) == 6
    conditions = {f["condition"] for f in evidence["findings"] if f["analysis"] == "missing_data"}
    assert conditions == {"missing_outputs=worst_case", "missing_outputs=best_case", "missing_outputs=exclude"}
    assert verdict["overall"] in ("met", "inconclusive")


def test_every_contradiction_of_a_multiclass_protocol_is_said_at_once(tmp_path, cli):
    write_study(
        tmp_path,
        "multiclass",
        task={"kind": "multiclass", "reference": "truth", "classes": ["a", "b", "b"], "score": ["p_a", "p_b"]},
        endpoints=[
            {"name": "one", "metric": "sensitivity", "role": "primary", "criterion": _ABOVE},
            {"name": "two", "metric": "sensitivity", "target": "c"},
            {"name": "three", "metric": "accuracy", "at": "primary"},
            {"name": "four", "metric": "quadratic_kappa"},
        ],
        missing_outputs={"primary": "as_negative"},
    )
    done = cli("inspect", tmp_path / "protocol.yaml")
    assert done.code == 2
    for words in (
        "class 'b' given twice",
        "2 outputs for 3 classes",
        "is of one class against the others",
        "unknown class 'c'",
        "does not fit a multiclass task",
        "means nothing where a case has one of several classes",
    ):
        assert words in done.err, words


def test_seven_diagnoses_of_real_lesions_agree_with_scikit_learn(shared_real, tmp_path, cli):
    """Recorded predictions of a real seven-class model on 1,000 dermoscopic images, one lesion each."""
    source = Path(shared_real) / "derm_ham10000"
    classes = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
    labels = pd.read_csv(source / "labels.csv", dtype=str, keep_default_na=False)
    labels.drop(columns="image").to_csv(tmp_path / "cases.csv", index=False)
    given = pd.read_csv(source / "predictions_derm_mnv2_7class.csv")
    given.to_csv(tmp_path / "predictions.csv", index=False)
    protocol = {
        "schema": "evalsuite/protocol/1",
        "id": "seven-diagnoses",
        "version": "1",
        "title": "Seven diagnoses",
        "kind": "standalone",
        "intended_use": {},
        "task": {"kind": "multiclass", "reference": "dx", "classes": classes, "score": [f"p_{c}" for c in classes]},
        "unit": {"case": "image_id", "cluster": "lesion_id"},
        "endpoints": [
            {"name": "discrimination", "metric": "hand_till", "role": "primary", "criterion": _ABOVE},
            {"name": "balanced accuracy", "metric": "macro_sensitivity"},
        ],
        "confidence": {"bootstrap": {"replicates": 200}},
        "strata": ["sex"],
        "seed": 3,
    }
    (tmp_path / "protocol.yaml").write_text(yaml.safe_dump(protocol))
    assert _run(tmp_path, cli)["overall"] == "met"
    evidence = json.loads((tmp_path / "run" / "evidence.json").read_text())
    found = {
        f["endpoint"]: f["estimate"]
        for f in evidence["findings"]
        if not f["stratum"] and f["analysis"] not in ("missing_data", "confusion")
    }
    table = labels.merge(given, on="image_id", validate="one_to_one")
    truth = np.array([classes.index(c) for c in table["dx"]])
    p = table[[f"p_{c}" for c in classes]].to_numpy()
    called = p.argmax(axis=1)
    expected = {
        "discrimination": roc_auc_score(truth, p / p.sum(axis=1, keepdims=True), multi_class="ovo"),
        "balanced accuracy": balanced_accuracy_score(truth, called),
        "kappa": cohen_kappa_score(truth, called),
        "mcc": matthews_corrcoef(truth, called),
        "macro_f1": f1_score(truth, called, average="macro"),
    }
    for endpoint, value in expected.items():
        # Dividing by the row sum can turn a tie at the sixth decimal.
        assert found[endpoint]["value"] == pytest.approx(value, abs=1e-5), endpoint
    assert found["sensitivity of mel"]["denominator"] == (truth == 4).sum()
    assert found["sensitivity of mel"]["numerator"] == ((truth == 4) & (called == 4)).sum()

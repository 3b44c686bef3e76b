"""The report of a study with several classes: confusion matrix, each class, no word of positive and negative cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import yaml

from evalsuite.analyses.tasks import evaluate_task
from evalsuite.judging import judge
from evalsuite.protocol.load import parse_protocol
from evalsuite.report.dossier import build_dossier
from evalsuite.types import Evidence

N = 120


def dossier(k: int = 3, kind: str = "multiclass") -> dict[str, Any]:
    rng = np.random.default_rng(2)
    names = [f"kind {chr(97 + i)}" for i in range(k)]
    truth = rng.integers(0, k, N)
    p = rng.dirichlet(np.ones(k), N) + 0.5 * np.eye(k)[truth]
    p /= p.sum(axis=1, keepdims=True)
    task = {"kind": kind, "reference": "dx", "classes": names, "score": [f"p{i}" for i in range(k)]}
    endpoints = [
        {
            "name": "agreement" if kind == "ordinal" else "right",
            "metric": "quadratic_kappa" if kind == "ordinal" else "accuracy",
            "role": "primary",
            "criterion": {"bound": "lower", "op": ">", "value": 0.1},
        }
    ]
    if kind == "multiclass":
        endpoints.append({"name": "found", "metric": "sensitivity", "target": names[0]})
        endpoints.append({"name": "found too", "metric": "sensitivity", "target": names[1]})
    protocol = parse_protocol(
        yaml.safe_dump(
            {
                "schema": "evalsuite/protocol/1",
                "id": "t",
                "version": "1",
                "title": "t",
                "kind": "standalone",
                "intended_use": {},
                "task": task,
                "unit": {},
                "endpoints": endpoints,
                "strata": ["sex"],
                "confidence": {"bootstrap": {"replicates": 100}},
                "seed": 1,
            }
        ).encode()
    )
    ids = tuple(f"c{i}" for i in range(N))
    frame = pd.DataFrame({"dx": [names[t] for t in truth], "sex": rng.choice(["female", "male"], N)})
    table = pd.DataFrame({"case_id": ids, "rater": "device", "condition": None, "status": "ok", "reason": None})
    for i in range(k):
        table[f"p{i}"] = p[:, i]
    results = evaluate_task(protocol, case_id=ids, patient_id=ids, frame=frame, predictions=table)
    evidence = Evidence(
        protocol={},
        testset={"n_cases": N},
        model={},
        predictions={},
        software={},
        findings=results.findings,
        accounting=results.accounting,
        tests=results.tests,
        notes=results.notes,
    )
    return build_dossier(protocol, evidence, judge(protocol, evidence), {}).to_json()


def tables(plain: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {b["caption"]: b for s in plain["sections"] for b in s["blocks"] if b["block"] == "table"}


def test_the_confusion_matrix_adds_up_and_each_class_has_its_row():
    found = tables(dossier())
    matrix = found["Confusion matrix: reference class in rows, predicted class in columns"]
    for row in matrix["rows"]:
        *counts, total = [int(cell["text"]) for cell in row["cells"][1:]]
        assert sum(counts) == total
    assert sum(int(row["cells"][-1]["text"]) for row in matrix["rows"]) == N
    by_class = [t for caption, t in found.items() if caption.startswith("Class by class")]
    assert [[row["cells"][0]["text"] for row in t["rows"]] for t in by_class] == [["kind a", "kind b", "kind c"]] * 2


def test_the_test_of_equal_use_stands_under_the_matrix_however_large():
    matrix = tables(dossier())["Confusion matrix: reference class in rows, predicted class in columns"]
    (said,) = [n for n in matrix["notes"] if "equally often" in n]
    assert "Stuart-Maxwell" in said
    assert "classes equally often" in said
    assert "p = " in said or "p < " in said
    large = [
        p for s in dossier(k=10)["sections"] for b in s["blocks"] if b["block"] == "prose" for p in b["paragraphs"]
    ]
    assert any("equally often" in p for p in large)


def test_two_endpoints_of_one_metric_are_told_apart():
    found = tables(dossier())
    names = [c["title"] for c in next(t for caption, t in found.items() if caption.startswith("sex:"))["columns"]]
    assert "Sensitivity of kind a" in names
    assert "Sensitivity of kind b" in names
    assert "Cases" in names


def test_case_accounting_knows_no_positive_and_negative_cases():
    found = tables(dossier())
    assert [c["title"] for c in found["Outcome of every case by reference standard"]["columns"]] == [
        "Outcome",
        "Established",
        "Equivocal",
        "Missing",
        "Total",
    ]
    whole = found["Case mix: cases by group and reference standard"]["rows"][0]
    assert [c["text"] for c in whole["cells"]] == ["Whole test set", "120", "120", "0"]


def test_a_large_matrix_is_left_to_the_evidence():
    plain = dossier(k=10)
    assert not any(caption.startswith("Confusion") for caption in tables(plain))
    said = [p for s in plain["sections"] for b in s["blocks"] if b["block"] == "prose" for p in b["paragraphs"]]
    assert any("confusion matrix of 10 classes" in text for text in said)


def test_grades_are_called_grades():
    found = tables(dossier(kind="ordinal"))
    assert "Confusion matrix: reference grade in rows, predicted grade in columns" in found

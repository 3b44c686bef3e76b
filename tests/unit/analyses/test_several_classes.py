"""Every finding of multiclass, multilabel and ordinal protocols: values, strata, missing data, edges, verdict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn import metrics as sk

from evalsuite.analyses.probability_metrics import UTILITY
from evalsuite.analyses.tasks import computable, evaluate_task
from evalsuite.errors import InputError
from evalsuite.judging import judge
from evalsuite.protocol.load import parse_protocol
from evalsuite.protocol.metrics import METRICS
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.contingency import stuart_maxwell
from evalsuite.types import Evidence

N = 160
CLASSES = ["mel", "nv", "bcc"]
LABELS = ["effusion", "nodule"]
GRADES = ["none", "mild", "severe"]


def protocol(task: dict[str, Any], endpoints: list[dict[str, Any]], **more: Any) -> StudyProtocol:
    base = {
        "schema": "evalsuite/protocol/1",
        "id": "t",
        "version": "1",
        "title": "t",
        "kind": "standalone",
        "intended_use": {},
        "task": task,
        "unit": {},
        "endpoints": [
            {"role": "primary", "criterion": {"bound": "lower", "op": ">", "value": 0.1}, **endpoints[0]},
            *endpoints[1:],
        ],
        "strata": ["sex"],
        "confidence": {"bootstrap": {"replicates": 100}},
        "seed": 7,
        **more,
    }
    return parse_protocol(yaml.safe_dump(base).encode())


MULTICLASS = {"kind": "multiclass", "reference": "truth", "classes": CLASSES, "score": [f"p_{c}" for c in CLASSES]}
MULTILABEL = {"kind": "multilabel", "reference": LABELS, "score": [f"p_{c}" for c in LABELS]}
ORDINAL = {"kind": "ordinal", "reference": "truth", "classes": GRADES, "score": [f"p_{c}" for c in GRADES]}
POINT = [{"name": "primary", "threshold": 0.5}]


def study(names: list[str], seed: int = 1):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, len(names), N)
    p = rng.dirichlet(np.ones(len(names)), N) + 0.6 * np.eye(len(names))[truth]
    p /= p.sum(axis=1, keepdims=True)
    frame = pd.DataFrame({"truth": [names[i] for i in truth], "sex": rng.choice(["female", "male"], N)})
    return truth, p, frame, outputs({f"p_{c}": p[:, i] for i, c in enumerate(names)})


def labelled(seed: int = 1):
    rng = np.random.default_rng(seed)
    truth = rng.random((N, 2)) < [0.4, 0.3]
    p = 1 / (1 + np.exp(-(rng.normal(size=(N, 2)) + 2 * truth - 1)))
    frame = pd.DataFrame({c: np.where(truth[:, i], "1", "0") for i, c in enumerate(LABELS)})
    frame["sex"] = rng.choice(["female", "male"], N)
    return truth, p, frame, outputs({f"p_{c}": p[:, i] for i, c in enumerate(LABELS)})


def outputs(columns: dict[str, np.ndarray]) -> pd.DataFrame:
    ids = [f"c{i:03d}" for i in range(N)]
    return pd.DataFrame(
        {"case_id": ids, "rater": "device", "condition": None, "status": "ok", "reason": None, **columns}
    )


def lose(table: pd.DataFrame, rows: list[int]) -> pd.DataFrame:
    table = table.copy()
    table.loc[rows, "status"] = "failed"
    table.loc[rows, [c for c in table.columns if c.startswith("p_")]] = np.nan
    return table


def run(p: StudyProtocol, frame: pd.DataFrame, table: pd.DataFrame, *, patients: int = N):
    ids = tuple(table["case_id"])
    who = tuple(f"p{i % patients}" for i in range(N))
    return evaluate_task(p, case_id=ids, patient_id=who, frame=frame, predictions=table)


def found(results, endpoint: str, stratum: dict[str, str] | None = None, condition: str | None = None):
    hits = [
        f
        for f in results.findings
        if f.endpoint == endpoint and dict(f.stratum) == (stratum or {}) and f.condition == condition
    ]
    assert len(hits) == 1, f"{endpoint} {stratum} {condition}: {len(hits)} findings"
    return hits[0].estimate


# --- multiclass -------------------------------------------------------------------------------------------------------


def test_a_multiclass_study_has_every_figure_and_those_agree_with_scikit_learn():
    truth, p, frame, table = study(CLASSES)
    asked = [
        {"name": "right", "metric": "accuracy"},
        {"name": "melanoma found", "metric": "sensitivity", "target": "mel"},
        {"name": "top 2", "metric": "top_k_accuracy", "top": 2},
        {"name": "log loss", "metric": "log_loss"},
    ]
    results = run(protocol(MULTICLASS, asked), frame, table)
    called = p.argmax(axis=1)
    assert found(results, "right").value == pytest.approx(sk.accuracy_score(truth, called), abs=1e-12)
    assert found(results, "right").method == "Clopper-Pearson"
    assert found(results, "top 2").value == pytest.approx(sk.top_k_accuracy_score(truth, p, k=2), abs=1e-12)
    assert found(results, "log loss").value == pytest.approx(sk.log_loss(truth, p), abs=1e-12)
    assert found(results, "melanoma found").value == pytest.approx(np.mean(called[truth == 0] == 0), abs=1e-12)
    assert found(results, "hand_till").value == pytest.approx(sk.roc_auc_score(truth, p, multi_class="ovo"), abs=1e-12)
    assert found(results, "macro_f1").value == pytest.approx(sk.f1_score(truth, called, average="macro"), abs=1e-12)
    assert found(results, "auroc of bcc").value == pytest.approx(sk.roc_auc_score(truth == 2, p[:, 2]), abs=1e-12)
    assert found(results, "kappa").value == pytest.approx(sk.cohen_kappa_score(truth, called), abs=1e-12)
    matrix = sk.confusion_matrix(truth, called)
    for i, own in enumerate(CLASSES):
        for j, other in enumerate(CLASSES):
            e = found(results, f"{own} called {other}", condition=f"predicted={other}")
            assert (e.numerator, e.denominator) == (matrix[i, j], matrix[i].sum())
    assert sum(a.n for a in results.accounting if not a.stratum and a.reference == "known") == N


def test_each_finding_of_the_whole_set_and_of_strata_is_there_once():
    _, _, frame, table = study(CLASSES)
    results = run(protocol(MULTICLASS, [{"name": "right", "metric": "accuracy"}]), frame, table)
    keys = [(f.analysis, f.endpoint, tuple(f.stratum.items()), f.condition) for f in results.findings]
    assert len(keys) == len(set(keys))
    for endpoint in ("right", "macro_auroc", "sensitivity of nv", "classwise_ece"):
        assert found(results, endpoint, {"sex": "female"}).n < N
    named = {f.target for f in results.findings if f.metric == "sensitivity"}
    assert named == set(CLASSES)
    assert all(f.target is None for f in results.findings if f.metric.startswith(("macro_", "micro_", "weighted_")))


def test_a_case_without_output_counts_as_wrong_in_every_figure():
    truth, p, frame, table = study(CLASSES)
    asked = [
        {"name": "right", "metric": "accuracy"},
        {"name": "mel", "metric": "sensitivity", "target": "mel"},
        {"name": "spec", "metric": "specificity", "target": "mel"},
        {"name": "M", "metric": "hand_till"},
        {"name": "brier", "metric": "multiclass_brier"},
        {"name": "balanced", "metric": "macro_sensitivity"},
    ]
    lost = [0, 5, 9, 33]
    results = run(protocol(MULTICLASS, asked), frame, lose(table, lost))
    called = p.argmax(axis=1)
    called[lost] = -1
    right = called == truth
    assert found(results, "right").numerator == right.sum()
    assert found(results, "right").denominator == N
    assert found(results, "mel").numerator == (right & (truth == 0)).sum()
    wrong_mel = (called == 0) | (np.isin(np.arange(N), lost))
    assert found(results, "spec").numerator == (~wrong_mel & (truth != 0)).sum()
    assert found(results, "balanced").value == pytest.approx(
        np.mean([right[truth == c].mean() for c in range(3)]), abs=1e-12
    )
    worst = p.copy()
    for i in lost:
        worst[i] = [9.0] * 3
        worst[i, truth[i]] = -9.0
    pairs = []
    for i in range(3):
        for j in range(3):
            if i != j:
                sub = np.isin(truth, [i, j])
                pairs.append(sk.roc_auc_score(truth[sub] == i, worst[sub, i]))
    assert found(results, "M").value == pytest.approx(np.mean(pairs), abs=1e-12)
    kept = np.setdiff1d(np.arange(N), lost)
    brier = ((p[kept] - np.eye(3)[truth[kept]]) ** 2).sum()
    assert found(results, "brier").value == pytest.approx((brier + 2 * len(lost)) / N, abs=1e-12)
    left_out = found(results, "right", condition="missing_outputs=exclude")
    assert (left_out.numerator, left_out.denominator) == (right.sum(), N - 4)
    assert found(results, "right", condition="missing_outputs=best_case").numerator == right.sum() + 4
    for e in asked:
        best, worst_case = (
            found(results, e["name"], condition=f"missing_outputs={c}_case").value for c in ("best", "worst")
        )
        assert worst_case <= best if e["name"] != "brier" else worst_case >= best
    matrix = [f for f in results.findings if f.condition == "predicted=(no usable output)" and not f.stratum]
    assert sum(f.estimate.numerator for f in matrix) == 4


def test_a_case_without_reference_gets_the_class_its_output_finds_least_likely():
    truth, p, frame, table = study(CLASSES)
    frame.loc[[3, 4], "truth"] = ""
    asked = [
        {"name": "right", "metric": "accuracy"},
        {"name": "brier", "metric": "multiclass_brier"},
        {"name": "M", "metric": "hand_till"},
    ]
    results = run(protocol(MULTICLASS, asked), frame, table)
    given = truth.copy()
    given[[3, 4]] = p[[3, 4]].argmin(axis=1)
    called = p.argmax(axis=1)
    assert found(results, "right").numerator == (called == given).sum()
    assert found(results, "right").denominator == N
    assert found(results, "brier").value == pytest.approx(((p - np.eye(3)[given]) ** 2).sum(axis=1).mean(), abs=1e-12)
    assert "2 cases lack a reference" in found(results, "M").undefined
    assert found(results, "M", condition="missing_reference=exclude").value is not None
    assert {a.status for a in results.accounting} == {"ok", "reference_missing"}
    assert found(results, "prevalence of mel").denominator == N - 2


def test_an_absent_class_is_a_reason_and_a_note():
    _truth, _, frame, table = study(CLASSES)
    frame.loc[frame["truth"] == "bcc", "truth"] = "nv"
    results = run(protocol(MULTICLASS, [{"name": "M", "metric": "hand_till"}]), frame, table)
    assert found(results, "M").undefined == "class 'bcc': no cases"
    assert found(results, "macro_sensitivity").undefined == "class 'bcc': no reference-positive cases"
    assert found(results, "sensitivity of bcc").undefined == "no reference-positive cases"
    assert found(results, "accuracy").value is not None
    assert any("'bcc'" in note for note in results.notes)


def test_small_strata_are_not_assessable_and_say_why():
    _, _, frame, table = study(CLASSES)
    frame["sex"] = ["rare" if i < 6 else "common" for i in range(N)]
    results = run(protocol(MULTICLASS, [{"name": "right", "metric": "accuracy"}]), frame, table)
    for endpoint in ("right", "hand_till", "macro_f1", "sensitivity of mel"):
        assert found(results, endpoint, {"sex": "rare"}).undefined.startswith("not assessable"), endpoint


def test_repeated_patients_are_clusters():
    _, _, frame, table = study(CLASSES)
    results = run(protocol(MULTICLASS, [{"name": "right", "metric": "accuracy"}]), frame, table, patients=40)
    e = found(results, "right")
    assert e.n_patients == 40
    assert e.method.startswith("Clopper-Pearson on the effective")
    assert found(results, "macro_f1").n_patients == 40
    assert any("40 patients" in note for note in results.notes)


def test_what_is_none_of_the_classes_is_an_error_without_the_cells():
    _, _, frame, table = study(CLASSES)
    frame.loc[7, "truth"] = "Mr Smith"
    with pytest.raises(InputError, match="none of the declared classes") as error:
        run(protocol(MULTICLASS, [{"name": "right", "metric": "accuracy"}]), frame, table)
    assert "Smith" not in str(error.value)
    assert "c007" in str(error.value)


def test_outputs_that_are_no_probabilities_have_no_calibration():
    _, _, frame, table = study(CLASSES)
    for c in CLASSES:
        table[f"p_{c}"] *= 3
    results = run(protocol(MULTICLASS, [{"name": "right", "metric": "accuracy"}]), frame, table)
    assert found(results, "multiclass_brier").undefined == "the outputs are not probabilities"
    assert found(results, "hand_till").value is not None
    assert any("not probabilities" in note for note in results.notes)


def test_a_set_of_one_class_is_never_met():
    _, _p, frame, table = study(CLASSES)
    frame["truth"] = "mel"
    study_protocol = protocol(MULTICLASS, [{"name": "right", "metric": "accuracy"}])
    results = run(study_protocol, frame, table)
    assert found(results, "kappa").value is not None or found(results, "kappa").undefined
    verdict = judge(study_protocol, evidence(study_protocol, results))
    assert verdict.overall == "inconclusive"
    assert "one class only" in verdict.criteria[0].reason
    _, _, frame, table = study(CLASSES)
    assert judge(study_protocol, evidence(study_protocol, run(study_protocol, frame, table))).overall == "met"


def evidence(p: StudyProtocol, results) -> Evidence:
    return Evidence(
        protocol={},
        testset={},
        model={},
        predictions={},
        software={},
        findings=results.findings,
        accounting=results.accounting,
        tests=results.tests,
        notes=results.notes,
    )


# --- multilabel -------------------------------------------------------------------------------------------------------


def test_a_multilabel_study_agrees_with_scikit_learn():
    truth, p, frame, table = labelled()
    asked = [
        {"name": "effusion found", "metric": "sensitivity", "at": "primary", "target": "effusion"},
        {"name": "mAP", "metric": "macro_average_precision"},
        {"name": "all right", "metric": "subset_accuracy", "at": "primary"},
    ]
    results = run(protocol(MULTILABEL, asked, operating_points=POINT), frame, table)
    called = p >= 0.5
    assert found(results, "effusion found").value == pytest.approx(called[truth[:, 0], 0].mean(), abs=1e-12)
    assert found(results, "mAP").value == pytest.approx(sk.average_precision_score(truth, p), abs=1e-12)
    assert found(results, "all right").value == pytest.approx(sk.accuracy_score(truth, called), abs=1e-12)
    assert found(results, "all right").method == "Clopper-Pearson"
    assert found(results, "hamming_loss").value == pytest.approx(sk.hamming_loss(truth, called), abs=1e-12)
    assert found(results, "micro_f1").value == pytest.approx(sk.f1_score(truth, called, average="micro"), abs=1e-12)
    assert found(results, "brier of nodule").value == pytest.approx(
        sk.brier_score_loss(truth[:, 1], p[:, 1]), abs=1e-12
    )
    assert found(results, "macro_auroc", {"sex": "male"}).value is not None
    keys = [(f.analysis, f.endpoint, tuple(f.stratum.items()), f.condition) for f in results.findings]
    assert len(keys) == len(set(keys))


def test_labels_without_output_or_reference_are_each_taken_at_their_worst():
    truth, p, frame, table = labelled()
    frame.loc[[2], "nodule"] = ""
    table = lose(table, [0, 1])
    asked = [
        {"name": "all right", "metric": "subset_accuracy", "at": "primary"},
        {"name": "wrong", "metric": "hamming_loss", "at": "primary"},
        {"name": "macro", "metric": "macro_sensitivity", "at": "primary"},
        {"name": "ranked", "metric": "macro_auroc"},
    ]
    results = run(protocol(MULTILABEL, asked, operating_points=POINT), frame, table)
    wrong = (p >= 0.5) != truth
    wrong[:2] = True
    wrong[2, 1] = True
    assert found(results, "all right").numerator == (~wrong.any(axis=1)).sum()
    assert found(results, "wrong").value == pytest.approx(wrong.mean(), abs=1e-12)
    kept = np.ones((N, 2), dtype=bool)
    kept[2, 1] = False
    left_out = found(results, "wrong", condition="missing_reference=exclude")
    assert left_out.value == pytest.approx(wrong[kept].mean(), abs=1e-12)
    assert found(results, "ranked").value < found(results, "ranked", condition="missing_outputs=best_case").value
    states = {a.status: a.n for a in results.accounting if not a.stratum}
    assert states == {"ok": N - 3, "failed": 2, "reference_missing": 1}


def test_a_label_nobody_has_is_a_reason_and_a_note():
    _, _, frame, table = labelled()
    frame["nodule"] = "0"
    results = run(protocol(MULTILABEL, [{"name": "mAP", "metric": "macro_average_precision"}]), frame, table)
    assert found(results, "mAP").undefined == "label 'nodule': no reference-positive cases"
    assert any("Label 'nodule'" in note for note in results.notes)


# --- ordinal ----------------------------------------------------------------------------------------------------------


def test_an_ordinal_study_agrees_with_scikit_learn_and_definitions():
    truth, p, frame, table = study(GRADES)
    results = run(protocol(ORDINAL, [{"name": "agreement", "metric": "quadratic_kappa"}]), frame, table)
    called = p.argmax(axis=1)
    kappa = sk.cohen_kappa_score(called, truth, weights="quadratic")
    assert found(results, "agreement").value == pytest.approx(kappa, abs=1e-12)
    assert "Fleiss" in found(results, "agreement").method
    assert found(results, "adjacent_agreement").value == pytest.approx(np.mean(np.abs(called - truth) <= 1), abs=1e-12)
    cumulative = p.cumsum(axis=1)[:, :2] - (truth[:, None] <= np.arange(2))
    assert found(results, "rps").value == pytest.approx((cumulative**2).sum(axis=1).mean() / 2, abs=1e-9)
    assert found(results, "vus").value > 1 / 6
    clustered = run(protocol(ORDINAL, [{"name": "agreement", "metric": "quadratic_kappa"}]), frame, table, patients=40)
    assert "bootstrap" in found(clustered, "agreement").method
    assert found(clustered, "agreement").value == pytest.approx(kappa, abs=1e-12)


def test_a_missing_grade_is_the_farthest():
    truth, p, frame, table = study(GRADES)
    asked = [
        {"name": "agreement", "metric": "quadratic_kappa"},
        {"name": "near", "metric": "adjacent_agreement"},
        {"name": "volume", "metric": "vus"},
    ]
    results = run(protocol(ORDINAL, asked), frame, lose(table, [0, 1, 2, 3]))
    called = p.argmax(axis=1)
    called[:4] = np.where(truth[:4] >= 2, 0, 2)
    worst = sk.cohen_kappa_score(called, truth, weights="quadratic")
    assert found(results, "agreement").value == pytest.approx(worst, abs=1e-12)
    assert found(results, "near").numerator == (np.abs(called - truth) <= 1).sum()
    values = [
        found(results, "volume", condition=f"missing_outputs={c}").value for c in ("worst_case", "exclude", "best_case")
    ]
    assert values == sorted(values)


def test_a_grade_given_as_a_number_is_the_nearest_and_far_numbers_are_no_output():
    task = {"kind": "ordinal", "reference": "truth", "classes": ["1", "2", "4"], "score": "p_grade"}
    truth, _, frame, table = study(["1", "2", "4"])
    numbers = np.array([1.0, 2.0, 4.0])[truth] + 0.4
    numbers[0], numbers[1] = 40.0, -3.0
    table = table[["case_id", "rater", "condition", "status", "reason"]].assign(p_grade=numbers)
    results = run(protocol(task, [{"name": "right", "metric": "accuracy"}]), frame, table)
    assert found(results, "right").numerator == N - 2
    assert {a.status: a.n for a in results.accounting if not a.stratum} == {"ok": N - 2, "failed": 2}


# --- catalogue --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "names"), [(MULTICLASS, CLASSES), (ORDINAL, GRADES), (MULTILABEL, LABELS)])
def test_every_metric_of_a_task_is_computed_within_its_range(task, names):
    _truth, _, frame, table = labelled() if task is MULTILABEL else study(names)
    kind = task["kind"]
    endpoints = []
    for name, info in METRICS.items():
        if name not in computable() or name in ("ppa", "npa", "opa"):  # of a binary task with a comparator
            continue
        extra: dict[str, Any] = {"at": "primary"} if info.needs_threshold(kind) else {}
        extra |= {"top": 2} if name == "top_k_accuracy" else {}
        extra |= {"range": [0.8, 1.0]} if name == "partial_auroc" else {}
        extra |= {"specificity": 0.8} if name == "sensitivity_at_specificity" else {}
        extra |= {"sensitivity": 0.8} if name == "specificity_at_sensitivity" else {}
        if kind in info.tasks:
            endpoints.append({"name": name, "metric": name, **extra})
        elif info.per_target and kind != "ordinal" and not (kind == "multiclass" and name in UTILITY):
            endpoints.append({"name": f"{name} one", "metric": name, "target": names[0], **extra})
    endpoints.sort(key=lambda e: e["metric"] != ("accuracy" if kind != "multilabel" else "macro_f1"))
    points = POINT if kind == "multilabel" else []
    results = run(protocol(task, endpoints, strata=[], operating_points=points), frame, table)
    for e in endpoints:
        info, estimate = METRICS[e["metric"]], found(results, e["name"])
        assert estimate.value is not None, (e, estimate.undefined)
        assert estimate.low is not None or estimate.interval_undefined, e
        assert info.lower is None or estimate.value >= info.lower, e
        assert info.upper is None or estimate.value <= info.upper, e


@pytest.mark.parametrize(("task", "names"), [(MULTICLASS, CLASSES), (ORDINAL, GRADES)])
def test_the_use_of_the_classes_is_tested_against_the_references(task, names):
    truth, p, frame, table = study(names)
    endpoint = {"name": "right", "metric": "accuracy"}
    (plain,) = [t for t in run(protocol(task, [endpoint]), frame, table).tests if "Stuart" in t.method]
    want = stuart_maxwell(sk.confusion_matrix(p.argmax(axis=1), truth))
    assert plain.statistic == pytest.approx(want.statistic)
    assert plain.p_value == pytest.approx(want.p_value)
    (clustered,) = [t for t in run(protocol(task, [endpoint]), frame, table, patients=40).tests if "Stuart" in t.method]
    assert "patients as clusters" in clustered.method
    assert clustered.statistic != pytest.approx(want.statistic)
    lost = lose(table, list(range(20)))
    (fewer,) = [t for t in run(protocol(task, [endpoint]), frame, lost).tests if "Stuart" in t.method]
    want = stuart_maxwell(sk.confusion_matrix(p.argmax(axis=1)[20:], truth[20:]))
    assert fewer.statistic == pytest.approx(want.statistic)

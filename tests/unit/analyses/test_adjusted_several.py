"""Several claims on classes, labels, grades and measurements: adjusted p-values and bounds, against R and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from evalsuite.analyses.tasks import evaluate_task
from evalsuite.judging import judge
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.types import Evidence

# R version 4.2.2 Patched (2022-11-10 r83330)
# > x <- c(56, 43, 51, 36); n <- c(60, 48, 60, 40)
# > p <- mapply(function(a, b) binom.test(a, b, .75, alternative = "greater")$p.value, x, n)
# > p; p.adjust(p, "holm"); p.adjust(p, "hochberg"); p.adjust(p, "hommel")
LABELS = ["effusion", "nodule", "oedema", "fracture"]
FOUND = {"effusion": (56, 60), "nodule": (43, 48), "oedema": (51, 60), "fracture": (36, 40)}
R_P = (0.000239354447969, 0.010301181181644, 0.045167481492480, 0.016042239818770)
R_ADJUSTED = {
    "holm": (0.000957417791875, 0.030903543544933, 0.045167481492480, 0.032084479637539),
    "hochberg": (0.000957417791875, 0.030903543544933, 0.045167481492480, 0.032084479637539),
    "hommel": (0.000957417791875, 0.024063359728155, 0.045167481492480, 0.032084479637539),
}
N = 80


def protocol(task: dict[str, Any], endpoints: list[dict[str, Any]], **more: Any) -> StudyProtocol:
    return StudyProtocol.model_validate(
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
            "confidence": {"bootstrap": {"replicates": 200}},
            "decision_rule": "any_primary",
            "seed": 7,
            **more,
        }
    )


def endpoint(name: str, metric: str, goal: float, op: str = ">", **more: Any) -> dict[str, Any]:
    bound = "lower" if op == ">" else "upper"
    return {
        "name": name,
        "metric": metric,
        "role": "primary",
        "criterion": {"bound": bound, "op": op, "value": goal},
        **more,
    }


def run(study: StudyProtocol, frame: dict[str, Any], outputs: dict[str, Any], *, per_patient: int = 1):
    n = len(next(iter(frame.values())))
    ids = tuple(f"c{i}" for i in range(n))
    some = np.asarray(next(iter(outputs.values())), dtype=float)
    status = ["failed" if np.isnan(v) else "ok" for v in some]
    results = evaluate_task(
        study,
        case_id=ids,
        patient_id=tuple(f"p{i // per_patient}" for i in range(n)),
        frame=pd.DataFrame(frame),
        predictions=pd.DataFrame({"case_id": ids, "status": status, **outputs}),
    )
    evidence = Evidence(
        protocol={},
        testset={},
        model={},
        predictions={},
        software={},
        findings=results.findings,
        accounting=results.accounting,
        tests=results.tests,
    )
    return results, judge(study, evidence)


def adjusted(results) -> dict[str, Any]:
    return {t.endpoint: t for t in results.tests if t.p_adjusted is not None}


def labels_found() -> tuple[dict[str, list[str]], dict[str, np.ndarray]]:
    """Labels with as many positives, and as many of them called, as `FOUND` says."""
    frame, outputs = {}, {}
    for name, (x, n) in FOUND.items():
        frame[name] = ["1"] * n + ["0"] * (N - n)
        outputs[f"p_{name}"] = np.where(np.arange(N) < x, 0.9, 0.1)
    return frame, outputs


@pytest.mark.parametrize("method", ["holm", "hochberg", "hommel"])
def test_adjusted_p_over_labels_are_those_of_r(method: str) -> None:
    study = protocol(
        {"kind": "multilabel", "reference": LABELS, "score": [f"p_{c}" for c in LABELS]},
        [endpoint(f"{c} found", "sensitivity", 0.75, at="primary", target=c) for c in LABELS],
        operating_points=[{"name": "primary", "threshold": 0.5}],
        multiplicity={"method": method},
    )
    results, verdict = run(study, *labels_found())
    tests = adjusted(results)
    for i, c in enumerate(LABELS):
        assert tests[f"{c} found"].p_value == pytest.approx(R_P[i], rel=1e-6)
        assert tests[f"{c} found"].p_adjusted == pytest.approx(R_ADJUSTED[method][i], rel=1e-6)
    for criterion in verdict.criteria:
        assert (criterion.outcome == "met") == (tests[criterion.endpoint].p_adjusted <= 0.025), criterion.endpoint
    assert verdict.overall == "met"
    bounds = {f.endpoint: f.estimate for f in results.findings if f.condition == f"multiplicity={method}"}
    for c, (x, n) in FOUND.items():
        e = bounds[f"{c} found"]
        exact = scipy_stats.binomtest(x, n).proportion_ci(e.level, "exact")
        assert (e.low, e.high) == pytest.approx((exact.low, exact.high), abs=1e-9)


def classes(n: int = N, seed: int = 3):
    rng = np.random.default_rng(seed)
    names = ["mel", "nv", "bcc"]
    truth = rng.integers(0, 3, n)
    p = rng.dirichlet(np.ones(3), n) + 0.7 * np.eye(3)[truth]
    p /= p.sum(axis=1, keepdims=True)
    return names, truth, p


def test_bounds_of_resampled_figures_are_those_of_a_protocol_with_that_level() -> None:
    names, truth, p = classes()
    task = {"kind": "multiclass", "reference": "truth", "classes": names, "score": [f"p_{c}" for c in names]}
    asked = [
        endpoint("macro", "macro_auroc", 0.6),
        endpoint("kappa", "kappa", 0.95),
        endpoint("right", "accuracy", 0.99),
        endpoint("nevi f1", "f1", 0.5, target="nv"),
    ]
    data = {"truth": [names[t] for t in truth]}, {f"p_{c}": p[:, i] for i, c in enumerate(names)}
    results, verdict = run(protocol(task, asked, multiplicity={"method": "holm"}), *data, per_patient=2)
    assert verdict.overall == "met"
    bounds = {f.endpoint: f.estimate for f in results.findings if f.condition == "multiplicity=holm"}
    assert bounds["macro"].level > 0.95
    for e in asked:
        level = bounds[e["name"]].level
        plain = protocol(
            task, [e], decision_rule="all_primary", confidence={"level": level, "bootstrap": {"replicates": 200}}
        )
        alone, _ = run(plain, *data, per_patient=2)
        own = next(f.estimate for f in alone.findings if f.endpoint == e["name"] and f.condition is None)
        assert bounds[e["name"]] == own


def test_grades_and_measurements_are_adjusted_under_every_assumption_about_missing_outputs() -> None:
    rng = np.random.default_rng(5)
    grades = ["none", "mild", "severe"]
    truth = rng.integers(0, 3, N)
    grade = np.clip(truth + (rng.random(N) < 0.15) * rng.choice([-1, 1], N), 0, 2).astype(float)
    grade[:2] = np.nan
    task = {"kind": "ordinal", "reference": "truth", "classes": grades, "score": "grade"}
    asked = [endpoint("kappa", "quadratic_kappa", 0.5), endpoint("near", "adjacent_agreement", 0.8)]
    study = protocol(task, asked, multiplicity={"method": "hommel"})
    results, verdict = run(study, {"truth": [grades[t] for t in truth]}, {"grade": grade})
    assert verdict.overall == "met"
    conditions = {f.condition for f in results.findings if f.analysis == "multiplicity"}
    assert conditions == {
        "multiplicity=hommel",
        *(f"multiplicity=hommel; missing_outputs={p}" for p in ("worst_case", "best_case", "exclude")),
    }

    size = rng.gamma(5, 10, N)
    measured = size + rng.normal(0.5, 2, N)
    study = protocol(
        {"kind": "regression", "reference": "size", "score": "mm"},
        [endpoint("bias", "bias", 1.5, "<"), endpoint("error", "mae", 2.5, "<")],
        decision_rule="gatekeeping",
        multiplicity={"order": ["bias", "error"]},
    )
    results, verdict = run(study, {"size": [repr(float(v)) for v in size]}, {"mm": measured})
    expected = scipy_stats.ttest_1samp(measured - size, 1.5, alternative="less").pvalue
    assert adjusted(results)["bias"].p_value == pytest.approx(expected, rel=1e-5)
    assert [c.outcome for c in verdict.criteria] == ["met", "met"]


def test_exploratory_claims_on_classes_carry_false_discovery_rates_and_decide_nothing() -> None:
    names, truth, p = classes()
    task = {"kind": "multiclass", "reference": "truth", "classes": names, "score": [f"p_{c}" for c in names]}
    asked = [endpoint("right", "accuracy", 0.5)]
    asked += [{**endpoint(f"{c} found", "sensitivity", 0.6, target=c), "role": "exploratory"} for c in names]
    results, verdict = run(
        protocol(task, asked, decision_rule="all_primary"),
        {"truth": [names[t] for t in truth]},
        {f"p_{c}": p[:, i] for i, c in enumerate(names)},
    )
    tests = adjusted(results)
    assert set(tests) == {f"{c} found" for c in names}
    assert all("exploratory only" in t.method for t in tests.values())
    order = [f"{c} found" for c in names]
    expected = scipy_stats.false_discovery_control([tests[e].p_value for e in order])
    assert [tests[e].p_adjusted for e in order] == pytest.approx(list(expected))
    assert verdict.overall == "met"

"""Every finding of a binary protocol: strata, small cells, missing data, and the same bytes twice."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from evalsuite.analyses.metrics import COMPUTABLE
from evalsuite.analyses.performance import evaluate_binary
from evalsuite.protocol.metrics import METRICS
from evalsuite.protocol.schema import StudyProtocol

N = 200


def protocol(**more: object) -> StudyProtocol:
    return StudyProtocol.model_validate(
        {
            "schema": "evalsuite/protocol/1",
            "id": "t",
            "version": "1",
            "title": "t",
            "kind": "standalone",
            "intended_use": {},
            "task": {"kind": "binary", "reference": "truth", "score": "p"},
            "unit": {},
            "operating_points": [{"name": "primary", "threshold": 0.5}],
            "endpoints": [
                {"name": "discrimination", "metric": "auroc", "role": "primary"},
                {
                    "name": "sens",
                    "metric": "sensitivity",
                    "at": "primary",
                    "role": "primary",
                    "criterion": {"bound": "lower", "op": ">", "value": 0.5},
                },
                {"name": "brier", "metric": "brier"},
                {"name": "slope", "metric": "calibration_slope"},
                {"name": "ppv at 5 %", "metric": "ppv", "at": "primary", "prevalence": 0.05},
            ],
            "strata": [
                {"name": "sex", "column": "sex"},
                {"name": "age", "column": "age", "bins": [40, 60]},
                {"name": "both", "cross": ["sex", "age"]},
            ],
            "confidence": {"bootstrap": {"replicates": 200}},
            "seed": 7,
            **more,
        }
    )


def data(seed: int = 3, *, patients: int = N) -> tuple[tuple[str, ...], tuple[str, ...], pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    truth = rng.random(N) < 0.4
    score = 1 / (1 + np.exp(-(rng.normal(size=N) + np.where(truth, 1.0, -1.0))))
    ids = tuple(f"c{i:03d}" for i in range(N))
    frame = pd.DataFrame(
        {
            "truth": np.where(truth, "1", "0"),
            "sex": rng.choice(["female", "male", ""], N, p=[0.5, 0.46, 0.04]),
            "age": rng.integers(20, 90, N).astype(str),
        }
    )
    table = pd.DataFrame(
        {"case_id": ids, "rater": "device", "condition": None, "status": "ok", "reason": None, "p": score}
    )
    return ids, tuple(f"p{i % patients}" for i in range(N)), frame, table


def run(p: StudyProtocol, seed: int = 3, *, patients: int = N, lose: int = 0):
    ids, who, frame, table = data(seed, patients=patients)
    if lose:
        table.loc[: lose - 1, "status"] = "failed"
        table.loc[: lose - 1, "p"] = np.nan
    return evaluate_binary(p, case_id=ids, patient_id=who, frame=frame, predictions=table), frame, table


def found(results, endpoint: str, stratum: dict[str, str] | None = None, condition: str | None = None):
    hits = [
        f
        for f in results.findings
        if f.endpoint == endpoint and dict(f.stratum) == (stratum or {}) and f.condition == condition
    ]
    assert len(hits) == 1, f"{endpoint} {stratum} {condition}: {len(hits)} findings"
    return hits[0].estimate


def test_overall_values_agree_with_scikit_learn():
    results, frame, table = run(protocol())
    truth = (frame["truth"] == "1").to_numpy()
    assert found(results, "discrimination").value == pytest.approx(roc_auc_score(truth, table["p"]), abs=1e-12)
    assert found(results, "brier").value == pytest.approx(brier_score_loss(truth, table["p"]), abs=1e-12)
    e = found(results, "sens")
    assert (e.numerator, e.denominator) == (int((truth & (table["p"] >= 0.5)).sum()), int(truth.sum()))
    assert e.method == "Clopper-Pearson"


def test_every_endpoint_has_a_finding_in_every_cell_and_none_twice():
    results, _, _ = run(protocol())
    keys = [(f.analysis, f.endpoint, tuple(sorted(f.stratum.items())), f.condition) for f in results.findings]
    assert len(keys) == len(set(keys))
    cells = {tuple(sorted(f.stratum.items())) for f in results.findings}
    for endpoint in ("discrimination", "sens", "brier", "slope", "ppv at 5 %", "specificity", "ece"):
        assert {tuple(sorted(f.stratum.items())) for f in results.findings if f.endpoint == endpoint} == cells
    assert (("sex", "missing"),) in cells
    assert (("age", "40-<60"), ("sex", "female")) in cells


def test_small_strata_are_not_assessable_with_their_counts():
    results, frame, _ = run(protocol())
    e = found(results, "discrimination", {"sex": "missing"})
    assert e.value is None
    assert e.undefined is not None
    assert e.n == int((frame["sex"] == "").sum())
    assert e.n_positive is not None


def test_strata_of_one_column_add_up_to_the_whole():
    results, _, _ = run(protocol(small_strata={"suppress_below": 1}))
    whole = found(results, "sens")
    parts = [found(results, "sens", {"sex": s}) for s in ("female", "male", "missing")]
    assert sum(p.denominator or 0 for p in parts) == whole.denominator
    assert sum(p.numerator or 0 for p in parts) == whole.numerator
    assert sum(a.n for a in results.accounting if not a.stratum) == N
    assert sum(a.n for a in results.accounting if "sex" in a.stratum and len(a.stratum) == 1) == N


def test_missing_outputs_count_as_wrong_and_every_other_assumption_is_reported():
    results, frame, table = run(protocol(), lose=12)
    truth = (frame["truth"] == "1").to_numpy()
    hits = int((truth & (table["p"] >= 0.5).to_numpy()).sum())
    assert found(results, "sens").numerator == hits
    assert found(results, "sens").denominator == truth.sum()
    assert found(results, "sens", condition="missing_outputs=exclude").denominator == truth[12:].sum()
    best = found(results, "sens", condition="missing_outputs=best_case")
    assert best.numerator == hits + truth[:12].sum()
    assert "no worst case" in (found(results, "slope").undefined or "")
    assert found(results, "slope", condition="missing_outputs=exclude").value is not None
    worst = np.where(np.arange(N) < 12, np.where(truth, 0.0, 1.0), table["p"])
    assert found(results, "brier").value == pytest.approx(np.mean((worst - truth) ** 2), abs=1e-12)
    assert sum(a.n for a in results.accounting if a.status == "failed" and not a.stratum) == 12


def test_nothing_missing_means_no_alternates():
    results, _, _ = run(protocol())
    assert not [f for f in results.findings if f.analysis == "missing_data"]


def test_repeated_patients_widen_intervals_and_are_said():
    single, _, _ = run(protocol())
    repeated, _, _ = run(protocol(), patients=40)
    assert any("40 patients" in note for note in repeated.notes)
    assert found(repeated, "sens").n_patients is not None
    assert found(repeated, "sens").design_effect is not None
    assert found(single, "sens").value == found(repeated, "sens").value


def test_one_class_only_is_a_result_with_reasons_and_not_an_error():
    ids, who, frame, table = data()
    frame["truth"] = "1"
    results = evaluate_binary(protocol(), case_id=ids, patient_id=who, frame=frame, predictions=table)
    assert found(results, "discrimination").undefined == "no reference-negative cases"
    assert found(results, "sens").value is not None
    assert any("reference-positive" in note for note in results.notes)


def test_the_same_inputs_give_the_same_results_and_another_endpoint_moves_no_interval():
    first, _, _ = run(protocol())
    again, _, _ = run(protocol())
    assert first == again
    base = protocol()
    extra = base.model_copy(
        update={
            "endpoints": [
                *base.endpoints,
                base.endpoints[2].model_copy(update={"name": "ap", "metric": "average_precision"}),
            ]
        }
    )
    more, _, _ = run(extra)
    assert found(more, "brier") == found(first, "brier")


def test_every_metric_that_is_offered_can_be_computed():
    """A protocol with every binary metric: each has a value on an ordinary set, within its declared range."""
    settings = {
        "partial_auroc": {"range": [0.8, 1.0], "over": "specificity"},
        "sensitivity_at_specificity": {"specificity": 0.8},
        "specificity_at_sensitivity": {"sensitivity": 0.8},
    }
    endpoints = [
        {"name": n, "metric": n, **({"at": "primary"} if m.needs_call else {}), **settings.get(n, {})}
        for n, m in COMPUTABLE.items()
    ]
    results, _, _ = run(protocol(endpoints=endpoints, strata=[]))
    for name in COMPUTABLE:
        e = found(results, name)
        assert e.value is not None, (name, e.undefined)
        assert e.low is not None or e.interval_undefined, name
        low, high = METRICS[name].lower, METRICS[name].upper
        assert low is None or e.value >= low, name
        assert high is None or e.value <= high, name


def test_a_bootstrap_interval_can_be_asked_for_by_name():
    endpoints = [{"name": "a", "metric": "auroc", "interval": "percentile"}]
    results, _, _ = run(protocol(endpoints=endpoints))
    assert "percentile" in found(results, "a").method

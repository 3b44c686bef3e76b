"""Which interval an endpoint or a comparison gets: the one named, else one that covers (decision 0018)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.metrics import average_precision_score

from evalsuite.errors import ProtocolError
from evalsuite.protocol.load import dump_protocol, parse_protocol
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats import contingency
from evalsuite.stats.differences import paired_counts
from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.paired_ratio import paired_ratio
from evalsuite.types import Finding
from tests.unit.analyses.test_comparison import difference, evaluated, protocol, simulated


def _endpoint(metric: str, interval: str | None, per_patient: int = 1) -> Finding:
    truth, first, _ = simulated()
    asked = {"name": "x", "metric": metric, "at": "primary", **({"interval": interval} if interval else {})}
    results = evaluated(protocol(endpoints=[asked]), truth, first, first, per_patient=per_patient)
    return next(f for f in results.findings if f.endpoint == "x" and f.condition is None)


@pytest.mark.parametrize(
    ("metric", "interval", "function", "options"),
    [
        ("youden", None, contingency.youden, {}),
        ("youden", "rectangle", contingency.youden, {"method": "rectangle"}),
        ("balanced_accuracy", "newcombe", contingency.balanced_accuracy, {}),
        ("mcc", None, contingency.mcc, {}),
        ("mcc", "fisher-z", contingency.mcc, {}),
        ("kappa", "fleiss", contingency.cohen_kappa, {}),
        ("f1", "clopper-pearson", contingency.f1, {"method": "clopper-pearson"}),
    ],
)
def test_summaries_of_the_table_have_their_closed_interval(
    metric: str, interval: str | None, function: Any, options: dict[str, Any]
) -> None:
    truth, first, _ = simulated()
    call = first >= 0.5
    cells = {
        "tp": int((call & (truth == 1)).sum()),
        "fn": int((~call & (truth == 1)).sum()),
        "fp": int((call & (truth == 0)).sum()),
        "tn": int((~call & (truth == 0)).sum()),
    }
    wanted, got = function(**cells, **options), _endpoint(metric, interval).estimate
    assert (got.value, got.low, got.high, got.method) == (wanted.value, wanted.low, wanted.high, wanted.method)


@pytest.mark.parametrize("metric", ["youden", "balanced_accuracy", "mcc"])
def test_with_several_cases_per_patient_the_bootstrap_serves(metric: str) -> None:
    assert "patient bootstrap, BCa" in _endpoint(metric, None, per_patient=4).estimate.method
    assert "patient bootstrap, BCa" in _endpoint(metric, "bca").estimate.method


@pytest.mark.parametrize(
    ("metric", "expected"), [("f1", "basic"), ("brier", "basic"), ("npv", "basic"), ("average_precision", "percentile")]
)
def test_a_paired_difference_has_the_interval_that_covers(metric: str, expected: str) -> None:
    truth, first, second = simulated()
    at = {} if metric in ("brier", "average_precision") else {"at": "primary"}
    for general, wanted in (("bca", expected), ("percentile", "percentile")):
        confidence = {"bootstrap": {"replicates": 200, "interval": general}}
        study = protocol({"name": "d", "metric": metric, **at}, confidence=confidence)
        assert f", {wanted}, B=200" in difference(evaluated(study, truth, first, second), "d").estimate.method
    study = protocol({"name": "d", "metric": metric, "interval": "bca", **at})
    assert ", BCa, B=200" in difference(evaluated(study, truth, first, second), "d").estimate.method


def test_each_device_keeps_the_interval_of_single_figures() -> None:
    truth, first, second = simulated()
    results = evaluated(protocol({"name": "d", "metric": "brier"}), truth, first, second)
    own = [f for f in results.findings if f.endpoint == "d" and f.condition in ("candidate", "baseline")]
    assert len(own) == 2
    assert all("patient bootstrap, BCa" in f.estimate.method for f in own)


@pytest.mark.parametrize("per_patient", [1, 4])
def test_a_ratio_of_shares_stands_beside_their_difference(per_patient: int) -> None:
    truth, first, second = simulated()
    study = protocol({"name": "d", "metric": "sensitivity", "at": "primary", "ratio": True})
    results = evaluated(study, truth, first, second, per_patient=per_patient)
    found = [f for f in results.findings if f.metric == "sensitivity_ratio"]
    assert [(f.role, f.reference_group, f.endpoint) for f in found] == [("descriptive", "baseline", "d")]
    sick = truth == 1
    wanted = paired_ratio(paired_counts(first[sick] >= 0.5, second[sick] >= 0.5))
    e = found[0].estimate
    assert (e.value, e.n) == (wanted.value, int(sick.sum()))
    if per_patient == 1:
        assert (e.low, e.high) == (wanted.low, wanted.high)
    else:
        assert e.low is None
        assert "several cases" in str(e.interval_undefined)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"comparisons": [{"name": "d", "metric": "brier", "ratio": True}]}, "no ratio of 'brier' is estimated"),
        (
            {
                "confidence": {"bootstrap": {"stratified": True}},
                "task": {"kind": "regression", "reference": "truth", "score": "mm"},
                "endpoints": [{"name": "x", "metric": "mae"}],
                "operating_points": [],
                "comparisons": [{"name": "d", "metric": "mae"}],
            },
            "binary tasks only",
        ),
        ({"endpoints": [{"name": "x", "metric": "mcc", "at": "primary", "interval": "tango"}]}, "does not fit 'mcc'"),
    ],
)
def test_what_cannot_be_had_is_refused(more: dict[str, Any], problem: str) -> None:
    text = yaml.safe_dump({**protocol({"name": "d", "metric": "brier"}).model_dump(by_alias=True, mode="json"), **more})
    with pytest.raises(ProtocolError) as caught:
        parse_protocol(text.encode())
    assert problem in str(caught.value)


def test_closed_forms_of_two_classes_are_refused_for_several() -> None:
    names = ["a", "b", "c"]
    study = {
        **protocol({"name": "d", "metric": "brier"}).model_dump(by_alias=True, mode="json"),
        "kind": "standalone",
        "task": {"kind": "multiclass", "reference": "truth", "classes": names, "score": [f"p_{c}" for c in names]},
        "operating_points": [],
        "comparisons": [],
        "endpoints": [{"name": "x", "metric": "kappa", "interval": "fleiss"}],
    }
    with pytest.raises(ProtocolError) as caught:
        parse_protocol(yaml.safe_dump(study).encode())
    assert "interval 'fleiss' does not fit 'kappa'" in str(caught.value)


def test_a_comparison_of_all_right_and_all_right_has_a_ratio_of_one() -> None:
    truth = np.repeat([1, 0], 20)
    study = protocol({"name": "d", "metric": "accuracy", "at": "primary", "ratio": True})
    results = evaluated(study, truth, truth.astype(float), truth.astype(float))
    e = next(f for f in results.findings if f.metric == "accuracy_ratio").estimate
    assert e.value == 1.0
    assert e.low is not None
    assert e.low < 1.0


def test_a_stratified_bootstrap_keeps_the_numbers_of_both_classes() -> None:
    """Prevalence cannot vary then: predictive values resampled so have a narrower interval, and the method says it."""
    truth, first, second = simulated()
    endpoint = {"name": "x", "metric": "partial_auroc", "range": [0.8, 1.0]}
    area = {"name": "ap", "metric": "average_precision"}
    estimates = {}
    for stratified in (False, True):
        confidence = {"bootstrap": {"replicates": 400, "interval": "percentile", "stratified": stratified}}
        study = protocol({"name": "d", "metric": "brier"}, endpoints=[endpoint, area], confidence=confidence)
        results = evaluated(study, truth, first, second)
        estimates[stratified] = {f.endpoint: f.estimate for f in results.findings if f.condition is None}
    for name in ("x", "ap", "d"):
        assert ", stratified" in estimates[True][name].method
        assert "stratified" not in estimates[False][name].method
    draw = PatientDraw(np.arange(len(truth)), 400, 7, stratify=truth)
    drawn = [average_precision_score(truth[i], first[i]) for i in _cases(draw)]
    wanted = np.quantile(drawn, [0.025, 0.975])
    assert [estimates[True]["ap"].low, estimates[True]["ap"].high] == pytest.approx(wanted, abs=1e-9)


def _cases(draw: PatientDraw) -> list[np.ndarray]:
    return [np.repeat(np.arange(draw.n), count) for count in draw.counts(0, draw.replicates)]


def test_a_default_written_out_changes_no_interval() -> None:
    """A run evaluates the protocol it wrote down, with every default in it: the same protocol, the same figures."""
    truth, first, _ = simulated()
    asked = [
        {"name": "reading", "metric": "sensitivity_at_specificity", "specificity": 0.8},
        {"name": "area", "metric": "partial_auroc", "range": [0.8, 1.0]},
        {"name": "benefit", "metric": "net_benefit", "at": "primary"},
    ]
    brief = protocol(endpoints=asked, confidence={"bootstrap": {"replicates": 200}})
    whole = StudyProtocol.model_validate(yaml.safe_load(dump_protocol(brief)))
    assert "interval" in whole.confidence.bootstrap.model_fields_set
    results = [evaluated(p, truth, first, first) for p in (brief, whole)]
    assert results[0].findings == results[1].findings
    methods = {f.endpoint: f.estimate.method for f in results[1].findings if f.condition is None and not f.stratum}
    assert all("percentile" in methods[e["name"]] for e in asked)

"""fairlearn's MetricFrame agrees wherever it is defined; where it is not, the suite says so and fairlearn prints 0."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from tests.unit.analyses.test_beside_performance import AREA, SENSITIVITY, goal, of, protocol, run
from tests.unit.analyses.test_bias import sites

fairlearn = pytest.importorskip("fairlearn.metrics")
METRICS = ["sensitivity", "specificity", "ppv", "npv", "accuracy", "fpr", "fnr", "selection_rate", "auroc", "brier"]


@pytest.fixture(scope="module")
def columns():
    rng = np.random.default_rng(4)
    n = 900
    truth = rng.random(n) < 0.4
    site = np.array(["a", "b", "c"])[rng.integers(0, 3, n)]
    score = 1 / (1 + np.exp(-(rng.normal(size=n) + 1.5 * truth - 0.6 - 0.5 * (site == "c"))))
    return {
        "truth": ["1" if t else "0" for t in truth],
        "p": [float(s) for s in score],
        "site": [str(s) for s in site],
        "sex": [str(s) for s in np.array(["f", "m"])[rng.integers(0, 2, n)]],
    }


@pytest.fixture(scope="module")
def results(columns):
    strata = [
        {"name": "site", "column": "site"},
        {"name": "sex", "column": "sex"},
        {"name": "both", "cross": ["sex", "site"]},
    ]
    block = {"attributes": ["site", "both"], "metrics": METRICS}
    return run(protocol(goal(SENSITIVITY, 0.3), AREA, strata=strata, analyses={"bias": block}), columns)


def frame(columns, features: list[str]):
    """MetricFrame of the same figures; its calls are made outside, as it has no threshold of its own."""
    from sklearn.metrics import accuracy_score, brier_score_loss, precision_score, roc_auc_score

    truth, score = np.array(columns["truth"]) == "1", np.array(columns["p"])
    call = score >= 0.5
    groups = {name: columns[name] for name in features}
    called = fairlearn.MetricFrame(
        metrics={
            "sensitivity": fairlearn.true_positive_rate,
            "specificity": fairlearn.true_negative_rate,
            "fpr": fairlearn.false_positive_rate,
            "fnr": fairlearn.false_negative_rate,
            "selection_rate": fairlearn.selection_rate,
            "ppv": precision_score,
            "npv": lambda y, p: precision_score(~y.astype(bool), ~p.astype(bool)),
            "accuracy": accuracy_score,
        },
        y_true=truth,
        y_pred=call,
        sensitive_features=groups,
    )
    scored = fairlearn.MetricFrame(
        metrics={"auroc": roc_auc_score, "brier": brier_score_loss},
        y_true=truth,
        y_pred=score,
        sensitive_features=groups,
    )
    return called, scored


@pytest.mark.parametrize("features", [["site"], ["sex", "site"]], ids=["one attribute", "every combination"])
def test_every_figure_of_every_group(columns, results, features):
    for peer in frame(columns, features):
        for group, row in peer.by_group.iterrows():
            key = dict(zip(features, group if isinstance(group, tuple) else (group,), strict=True))
            for metric, expected in row.items():
                (own,) = [
                    f
                    for f in of(results, "bias")
                    if f.metric == metric and dict(f.stratum) == key and f.condition is None and not f.reference_group
                ]
                assert own.estimate.value == pytest.approx(expected, abs=1e-12), (metric, key)


def test_the_fairness_metrics_by_name(columns, results):
    truth, call = np.array(columns["truth"]) == "1", np.array(columns["p"]) >= 0.5
    site = columns["site"]
    options = {"y_true": truth, "y_pred": call, "sensitive_features": site}
    called, _ = frame(columns, ["site"])
    expected = {
        "demographic_parity_difference": fairlearn.demographic_parity_difference(**options),
        "demographic_parity_ratio": fairlearn.demographic_parity_ratio(**options),
        "equalised_odds_difference": fairlearn.equalized_odds_difference(**options),
        "equal_opportunity_difference": fairlearn.equal_opportunity_difference(**options),
        "equal_opportunity_ratio": fairlearn.equal_opportunity_ratio(**options),
        "predictive_parity_difference": called.difference()["ppv"],
    }
    whole = {f.metric: f.estimate for f in of(results, "bias") if f.condition == "attribute=site"}
    for name, value in expected.items():
        assert whole[name].value == pytest.approx(value, abs=1e-12), name


def test_a_group_without_positives_is_zero_there_and_not_estimable_here():
    columns = sites(a=((0, 0), (60, 60)), b=((85, 100), (60, 60)))
    truth, call = np.array(columns["truth"]) == "1", np.array(columns["p"]) >= 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = fairlearn.MetricFrame(
            metrics=fairlearn.true_positive_rate, y_true=truth, y_pred=call, sensitive_features=columns["site"]
        )
    assert peer.by_group["a"] == 0.0
    assert peer.difference() == pytest.approx(0.85)  # a false gap
    results = run(protocol(goal(SENSITIVITY, 0.3), analyses={"bias": {"attributes": ["site"]}}), columns)
    (own,) = [f for f in of(results, "bias") if f.metric == "sensitivity" and f.stratum == {"site": "a"}]
    assert own.estimate.value is None
    (gap,) = [f for f in of(results, "bias") if f.metric == "sensitivity_difference" and f.condition is None]
    assert gap.outcome == "not_assessable"

"""What must hold for any classification with several classes, whatever the numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalsuite.stats import averages, multiclass
from evalsuite.stats.draw import PatientDraw

K = 3


@st.composite
def samples(draw):
    n = draw(st.integers(6, 30))
    truth = np.array([0, 1, 2, *draw(st.lists(st.integers(0, K - 1), min_size=n - 3, max_size=n - 3))])
    raw = np.array(draw(st.lists(st.integers(1, 9), min_size=n * K, max_size=n * K)), float).reshape(n, K)
    return truth, raw / raw.sum(axis=1, keepdims=True)


def values(truth, p, names=("a", "b", "c"), order=None):
    n = len(truth)
    draw = PatientDraw(np.arange(n), replicates=5, seed=1)
    sample = multiclass.class_sample(truth, names, probability=p)
    whole = multiclass.multiclass_bootstrap(draw, sample, multiclass.METRICS, top=2, method="percentile", threads=1)
    mean = averages.averaged(draw, multiclass.one_vs_rest(sample), averages.METRICS, method="percentile", threads=1)
    return dict(zip((*multiclass.METRICS, *averages.METRICS), [e.value for e in (*whole[0], *mean[0])], strict=True))


@given(samples())
@settings(max_examples=25, deadline=None)
def test_the_order_of_cases_changes_nothing(sample):
    truth, p = sample
    there, back = values(truth, p), values(truth[::-1], p[::-1])
    assert there == pytest.approx(back, abs=1e-12, nan_ok=False)


@given(samples(), st.permutations(range(K)))
@settings(max_examples=25, deadline=None)
def test_the_names_of_classes_change_nothing(sample, order):
    """Ties between classes go to the first, so the claim is for scores without such ties."""
    truth, p = sample
    p = p + np.arange(K) * 1e-7 * np.arange(1, len(truth) + 1)[:, None]
    p /= p.sum(axis=1, keepdims=True)
    order = np.array(order)
    renamed = np.argsort(order)[truth]
    there, back = values(truth, p), values(renamed, p[:, order])
    for metric in ("accuracy", "kappa", "mcc", "hand_till", "multiclass_brier", "macro_f1", "macro_auroc"):
        assert there[metric] == pytest.approx(back[metric], abs=1e-12), metric


@given(samples())
@settings(max_examples=25, deadline=None)
def test_every_value_lies_in_its_range_and_known_identities_hold(sample):
    v = values(*sample)
    for metric, value in v.items():
        if value is not None:
            low, high = {"kappa": (-1, 1), "mcc": (-1, 1), "multiclass_brier": (0, 2), "log_loss": (0, 99)}.get(
                metric, (0, 1)
            )
            assert low - 1e-12 <= value <= high + 1e-12, metric
    assert v["micro_sensitivity"] == v["micro_ppv"] == v["accuracy"]
    assert v["weighted_sensitivity"] == pytest.approx(v["accuracy"], abs=1e-12)
    assert v["top_k_accuracy"] >= v["accuracy"]


@given(samples())
@settings(max_examples=15, deadline=None)
def test_an_increasing_map_of_scores_changes_no_ranking(sample):
    truth, p = sample
    n = len(truth)
    draw = PatientDraw(np.arange(n), replicates=5, seed=1)
    names = ("a", "b", "c")
    first = multiclass.class_sample(truth, names, score=p)
    mapped = multiclass.class_sample(truth, names, score=np.exp(5 * p) - 3)
    for metrics in (["hand_till"], ["top_k_accuracy"]):
        a, b = (
            multiclass.multiclass_bootstrap(draw, s, metrics, top=2, method="percentile")[0][0].value
            for s in (first, mapped)
        )
        assert a == b


@given(samples())
@settings(max_examples=15, deadline=None)
def test_every_case_twice_in_its_patient_changes_no_value(sample):
    truth, p = sample
    again = values(np.repeat(truth, 2), np.repeat(p, 2, axis=0))
    assert values(truth, p) == pytest.approx(again, abs=1e-12)

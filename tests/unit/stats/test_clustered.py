"""Proportions with several cases per patient."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats.clustered import cluster_variance, clustered_proportion, compact
from evalsuite.stats.proportions import METHOD_NAMES, proportion

METHODS = sorted(METHOD_NAMES)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("x", "n"), [(0, 1), (1, 1), (27, 30), (30, 30), (0, 7), (1, 2)])
def test_one_case_per_patient_is_exactly_the_proportion(method, x, n):
    success = np.arange(n) < x
    got = clustered_proportion(success, np.arange(n) + 100, method=method, n_positive=n)
    want = proportion(x, n, method=method)
    assert (got.value, got.low, got.high, got.method) == (want.value, want.low, want.high, want.method)
    assert (got.numerator, got.denominator, got.n, got.n_patients, got.design_effect) == (x, n, n, n, 1.0)
    assert got.n_positive == n


def test_all_right_from_ten_patients_counts_ten():
    e = clustered_proportion(np.ones(29, bool), np.arange(29) % 10)
    assert e.low == pytest.approx(0.025**0.1, abs=1e-14)
    assert round(e.low, 3) == 0.692
    assert e.high == 1.0
    assert e.n_patients == 10
    assert e.design_effect == pytest.approx(2.9)
    assert round(clustered_proportion(np.ones(29, bool), np.arange(29)).low, 3) == 0.881


def test_none_right_mirrors_all_right():
    cluster = np.arange(29) % 10
    right = clustered_proportion(np.ones(29, bool), cluster)
    wrong = clustered_proportion(np.zeros(29, bool), cluster)
    assert wrong.low == 0.0
    assert wrong.high == pytest.approx(1 - right.low, abs=1e-14)


def test_every_patient_alike_is_no_variance_and_counts_patients():
    e = clustered_proportion([1, 0] * 6, np.repeat(np.arange(6), 2))
    want = proportion(3, 6)
    assert (e.low, e.high) == pytest.approx((want.low, want.high), abs=1e-14)


def test_identical_cases_within_patients_count_patients_with_the_t_correction():
    # Every patient's four cases agree: deff = 4 m/(m-1).
    y = np.repeat([1, 1, 1, 0, 1, 1, 0, 1], 4)
    e = clustered_proportion(y, np.repeat(np.arange(8), 4))
    assert e.design_effect == pytest.approx(4 * 8 / 7)
    assert e.high - e.low > proportion(6, 8).high - proportion(6, 8).low


def test_design_effect_below_one_is_floored():
    y = [1, 0, 1, 0, 1, 0, 1, 1]
    seen = cluster_variance(y, np.repeat(np.arange(4), 2))
    assert seen.design_effect < 1
    assert clustered_proportion(y, np.repeat(np.arange(4), 2)).design_effect == 1.0


def test_one_patient_with_several_cases_has_a_value_and_no_interval():
    e = clustered_proportion([1, 1, 0], [7, 7, 7])
    assert e.value == pytest.approx(2 / 3)
    assert e.low is None
    assert "one patient" in e.interval_undefined
    assert (e.n, e.n_patients) == (3, 1)


def test_no_cases_is_not_estimable():
    e = clustered_proportion(np.zeros(0, bool), np.zeros(0, int), n_positive=0)
    assert e.undefined == "no cases in the denominator"
    assert (e.n, e.n_patients, e.n_positive) == (0, 0, 0)
    assert clustered_proportion([1, 0], [1, 2], weight=[0, 0]).undefined is not None


def test_equal_weights_change_nothing():
    rng = np.random.default_rng(3)
    y, c = rng.random(60) < 0.8, rng.integers(0, 20, 60)
    plain = clustered_proportion(y, c)
    for w in (1.0, 2.5):
        got = clustered_proportion(y, c, weight=np.full(60, w))
        assert (got.value, got.low, got.high) == pytest.approx((plain.value, plain.low, plain.high), abs=1e-12)


def test_a_weight_of_zero_removes_the_case():
    y, c = [1, 1, 0, 1, 0, 0], [1, 1, 2, 3, 3, 4]
    dropped = clustered_proportion(y, c, weight=[1, 1, 1, 1, 1, 0])
    without = clustered_proportion(y[:5], c[:5])
    assert (dropped.low, dropped.high, dropped.n, dropped.n_patients) == (without.low, without.high, 5, 3)


def test_unequal_weights_move_value_and_widen():
    y, c = np.array([1, 0] * 50), np.arange(100)
    e = clustered_proportion(y, c, weight=np.where(np.arange(100) < 50, 9.0, 1.0))
    plain = proportion(50, 100)
    assert e.high - e.low > plain.high - plain.low
    assert e.design_effect > 1.5


def test_unequal_weights_without_variance_use_kishs_effective_number():
    w = np.array([1.0, 1, 1, 5])
    e = clustered_proportion(np.ones(4, bool), np.arange(4), weight=w)
    n_eff = w.sum() ** 2 / (w @ w)
    assert e.low == pytest.approx(0.025 ** (1 / n_eff), abs=1e-12)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="shape"):
        clustered_proportion([1, 0], [1])
    with pytest.raises(ValueError, match="true and false"):
        clustered_proportion([1, 2], [1, 2])
    with pytest.raises(ValueError, match="weights"):
        clustered_proportion([1, 0], [1, 2], weight=[1, -1])
    with pytest.raises(ValueError, match="weight has shape"):
        clustered_proportion([1, 0], [1, 2], weight=[1])
    with pytest.raises(ValueError, match="true and false"):
        clustered_proportion([1.0, float("nan")], [1, 2])
    with pytest.raises(ValueError, match="one-dimensional"):
        cluster_variance([], [])


def test_text_clusters_are_allowed():
    e = clustered_proportion([1, 1, 0, 1], np.array(["a", "a", "b", "c"]))
    assert e.n_patients == 3


@pytest.mark.parametrize("labels", [[5, 5, 0, 9], [-3, 7, 7], [10**12, 0, 0], ["b", "a", "b"], [2.5, 2.5, 1.0]])
def test_compact_labels_are_a_dense_index_of_the_same_groups(labels):
    labels = np.array(labels)
    index = compact(labels)
    assert sorted(set(index.tolist())) == list(range(len(np.unique(labels))))
    assert ((index[:, None] == index[None, :]) == (labels[:, None] == labels[None, :])).all()

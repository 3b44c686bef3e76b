"""Sampling weights at the edges: equal weights, one stratum's single patient, one class, perfect scores, no cases."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats import weighting as w
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.roc import auroc

RNG = np.random.default_rng(5)
Y = np.tile([True, False, False], 20)
S = RNG.normal(size=60) + Y
W = RNG.uniform(1, 5, 60)
PATIENT = np.arange(60) // 2


def test_equal_weights_change_nothing():
    assert w.weighted_auroc(Y, S, np.full(60, 3.0)) == auroc(Y, S)
    assert w.weighted_auroc(Y, S, patient=PATIENT) == auroc(Y, S, cluster=PATIENT)
    plain = clustered_proportion(S[Y] > 0, PATIENT[Y], n_positive=20, n_negative=0)
    assert w.weighted_call_metric("sensitivity", Y, S > 0, np.full(60, 2.0), patient=PATIENT) == plain


def test_no_cases_and_one_class_give_reasons():
    assert w.weighted_auroc([], []).undefined == "no cases"
    assert w.weighted_brier([], []).undefined == "no cases"
    none = np.zeros(60, bool)
    assert "positive" in w.weighted_auroc(none, S, W).undefined
    assert "negative" in w.weighted_auroc(~none, S, W).undefined
    assert w.weighted_call_metric("sensitivity", none, S > 0, W).undefined
    assert w.mean_at_prevalence(S > 0, none, 0.1).undefined
    assert w.weighted_auroc_bootstrap(PatientDraw(PATIENT, 10, 1), none, S, W).undefined


def test_a_perfect_score_has_an_interval_as_wide_as_the_effective_patients():
    e = w.weighted_auroc(Y, Y + 0.0, W)
    assert e.value == 1.0
    assert e.low < 0.95
    assert e.high == 1.0
    assert e.low < auroc(Y, Y + 0.0).low
    heavy = w.weighted_auroc(Y, Y + 0.0, np.r_[np.full(58, 0.01), 10, 10])
    assert heavy.low < 0.6


def test_complete_success_in_sampling_strata_is_not_certainty():
    stratum = np.repeat([0, 1], 30)
    e = w.weighted_proportion(np.ones(60, bool), W, patient=PATIENT, stratum=stratum)
    assert e.value == 1.0
    assert e.low < 0.92
    assert "effective" in e.method


def test_a_single_patient_in_a_sampling_stratum_is_told():
    stratum = np.r_[np.zeros(58, int), 1, 1]
    for e in (
        w.weighted_proportion(S > 0, W, patient=PATIENT, stratum=stratum),
        w.weighted_brier(Y, np.full(60, 0.4), W, patient=PATIENT, stratum=stratum),
        w.weighted_auroc(Y, S, W, patient=PATIENT, stratum=stratum),
    ):
        assert e.value is not None
        assert "single patient" in e.interval_undefined


def test_one_patient_and_no_variation_have_no_interval():
    assert "one patient" in w.weighted_mean([1.0, 2.0], patient=[1, 1]).interval_undefined
    assert w.weighted_mean([1.0]).interval_undefined == "one case"
    assert "variation" in w.weighted_mean([2.0, 2.0, 2.0], [1, 2, 3]).interval_undefined
    e = w.weighted_auroc([True, True, False], [2, 1, 1.5], [1, 2, 1], patient=[1, 1, 2])
    assert "one patient" in e.interval_undefined


def test_equal_values_under_unequal_weights_have_no_interval():
    e = w.weighted_brier([1, 0, 1, 0, 1], np.full(5, 0.5), [0.69, 0.63, 0.26, 0.48, 0.97])
    assert e.value == pytest.approx(0.25)
    assert "no variation" in e.interval_undefined


def test_strata_that_differ_narrow_the_interval_and_enrichment_is_undone():
    stratum = np.repeat([0, 1], 100)
    success = np.r_[np.arange(100) < 95, np.arange(100) < 20]
    weight = np.repeat([1.0, 1.2], 100)
    within = w.weighted_proportion(success, weight, stratum=stratum)
    pooled = w.weighted_proportion(success, weight)
    assert within.value == pooled.value
    assert within.high - within.low <= pooled.high - pooled.low
    y = np.repeat([True, False], [50, 50])
    weight = np.where(y, 0.02 / 0.5, 0.98 / 0.5)
    call = np.r_[np.arange(50) < 45, np.arange(50) < 5]
    assert w.weighted_call_metric("prevalence", y, call, weight).value == pytest.approx(0.02)
    ppv = w.weighted_call_metric("ppv", y, call, weight).value
    assert ppv == pytest.approx(0.9 * 0.02 / (0.9 * 0.02 + 0.1 * 0.98))


def test_accuracy_at_a_prevalence():
    e = w.mean_at_prevalence((S > 0.5) == Y, Y, 0.05, patient=PATIENT)
    se, sp = (S > 0.5)[Y].mean(), (S <= 0.5)[~Y].mean()
    assert e.value == pytest.approx(0.05 * se + 0.95 * sp)
    assert 0 <= e.low < e.value < e.high <= 1
    perfect = w.mean_at_prevalence(np.ones(60, bool), Y, 0.05)
    assert perfect.low < perfect.high == 1


def test_faults_are_named():
    for bad in (np.zeros(60), -W, np.where(W > 2, np.nan, W)):
        with pytest.raises(ValueError, match="positive finite"):
            w.weighted_auroc(Y, S, bad)
    with pytest.raises(ValueError, match="two sampling strata"):
        w.weighted_mean(S, W, patient=PATIENT, stratum=np.arange(60))
    with pytest.raises(ValueError, match="metric is one of"):
        w.weighted_call_metric("f1", Y, S > 0, W)
    with pytest.raises(ValueError, match="prevalence"):
        w.mean_at_prevalence(S > 0, Y, 1.0)
    with pytest.raises(ValueError, match="outside"):
        w.mean_at_prevalence(S * 9, Y, 0.1)
    with pytest.raises(ValueError, match="percentile or basic"):
        w.weighted_auroc_bootstrap(PatientDraw(PATIENT, 10, 1), Y, S, W, method="bca")
    with pytest.raises(ValueError, match="shape"):
        w.weighted_mean(S, W[:5])


def test_kish():
    assert w.kish_effective_n([2, 2, 2]) == pytest.approx(3)
    assert w.kish_effective_n([]) == 0
    assert w.kish_effective_n([1, 0, 0]) == 1
    with pytest.raises(ValueError, match="finite"):
        w.kish_effective_n([-1.0])

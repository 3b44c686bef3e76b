"""Correction for partial verification: what it needs, where it ends, and that full verification is left as it is."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats.verification_bias import begg_greenes


def _arrays(n1, v1, d1, n0, v0, d0):
    call = np.repeat([True, False], [n1, n0])
    verified = np.repeat([True, False, True, False], [v1, n1 - v1, v0, n0 - v0])
    disease = np.repeat([True, False, True, False], [d1, n1 - d1, d0, n0 - d0])
    return call, verified, disease


def test_with_everyone_verified_it_is_the_plain_proportion():
    r = begg_greenes(*_arrays(50, 50, 40, 60, 60, 8))
    assert r.sensitivity.value == pytest.approx(r.naive_sensitivity.value) == 40 / 48
    assert r.specificity.value == pytest.approx(r.naive_specificity.value) == 52 / 62
    assert r.prevalence.value == pytest.approx(48 / 110)
    assert r.verified_positive.value == r.verified_negative.value == 1


def test_labelled_as_secondary_with_its_assumption():
    r = begg_greenes(*_arrays(50, 30, 20, 60, 20, 4), covariate=np.arange(110) % 2)
    assert "secondary" in r.sensitivity.method
    assert "the covariate" in r.sensitivity.method


def test_a_call_that_was_never_verified_has_no_correction():
    r = begg_greenes(*_arrays(50, 30, 20, 60, 0, 0))
    assert "none of 60 test-negative cases" in r.sensitivity.undefined
    assert r.specificity.undefined == r.sensitivity.undefined
    assert begg_greenes([], [], []).sensitivity.undefined == "no cases"


def test_no_verified_disease():
    r = begg_greenes(*_arrays(50, 30, 0, 60, 20, 0))
    assert "with disease" in r.sensitivity.undefined
    assert r.specificity.value == pytest.approx(60 / 110)
    assert r.prevalence.value == 0
    assert r.prevalence.low == 0 < r.prevalence.high


def test_no_false_negative_seen_is_not_perfect_sensitivity():
    r = begg_greenes(*_arrays(50, 40, 30, 500, 20, 0))
    assert r.sensitivity.value == 1
    assert r.sensitivity.low < 0.8
    assert "half a case" in r.sensitivity.method
    more = begg_greenes(*_arrays(50, 40, 30, 500, 400, 0))
    assert more.sensitivity.low > r.sensitivity.low


def test_all_called_alike():
    r = begg_greenes(*_arrays(50, 40, 30, 0, 0, 0))
    assert r.sensitivity.value == 1
    assert r.sensitivity.low < 1
    assert r.specificity.value == 0
    assert r.specificity.high > 0


def test_cases_of_one_patient_count_less():
    call, verified, disease = _arrays(60, 40, 30, 80, 40, 10)
    alone = begg_greenes(call, verified, disease).sensitivity
    twice = begg_greenes(
        *(np.repeat(a, 2) for a in (call, verified, disease)), patient=np.repeat(np.arange(140), 2)
    ).sensitivity
    assert twice.value == pytest.approx(alone.value)
    assert (twice.low, twice.high) == pytest.approx((alone.low, alone.high), abs=0.003)
    assert "patients as clusters" in twice.method
    one = begg_greenes(call, verified, disease, patient=np.zeros(140)).sensitivity
    assert "one patient" in one.interval_undefined


def test_disease_is_not_looked_at_where_unverified():
    call, verified, disease = _arrays(60, 40, 30, 80, 40, 10)
    other = np.where(verified, disease, np.nan)
    assert begg_greenes(call, verified, other) == begg_greenes(call, verified, disease)


def test_faults_are_named():
    with pytest.raises(ValueError, match="one value per case"):
        begg_greenes([True], [True, False], [True])
    with pytest.raises(ValueError, match="call holds"):
        begg_greenes([2], [True], [True])
    with pytest.raises(ValueError, match="where verified"):
        begg_greenes([True], [True], [np.nan])
    with pytest.raises(ValueError, match="covariate"):
        begg_greenes([True], [True], [True], covariate=[1, 2])

"""Bland-Altman, mean errors, total deviation index, coverage probability, TOST: edges and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evalsuite.stats.agreement import bias, bland_altman, mean_absolute_error, root_mean_square_error
from evalsuite.stats.deviation import coverage_probability, tost, total_deviation_index

RNG = np.random.default_rng(12)
REFERENCE = RNG.normal(50, 10, 40)
DEVICE = REFERENCE + RNG.normal(1, 3, 40)
PATIENT = np.repeat(np.arange(10), 4)
MEANS = [bias, mean_absolute_error, root_mean_square_error]
PARTS = ["bias", "sd", "lower_limit", "upper_limit"]


@pytest.mark.parametrize("method", ["exact", "mover", "bland-altman"])
@pytest.mark.parametrize("patient", [None, PATIENT])
def test_every_part_has_an_interval_around_it(method, patient):
    r = bland_altman(DEVICE, REFERENCE, method=method, patient=patient)
    for part in [*PARTS, "proportional_bias", "spread_trend"]:
        e = getattr(r, part)
        assert e.low < e.value < e.high
        assert e.n == 40
        assert e.n_patients == (10 if patient is not None else 40)
    assert r.coverage == 0.95
    if patient is not None:
        assert "between- and within-patient" in r.upper_limit.method


def test_all_methods_agree_for_many_cases():
    d = np.random.default_rng(1).normal(2, 3, 20000)
    widths = [
        (e.low, e.high)
        for e in (bland_altman(d, np.zeros(d.size), method=m).upper_limit for m in ("exact", "mover", "bland-altman"))
    ]
    assert widths[1] == pytest.approx(widths[0], abs=2e-3)
    assert widths[2] == pytest.approx(widths[0], abs=2e-3)


def test_one_case_per_patient_is_the_plain_analysis():
    plain = bland_altman(DEVICE, REFERENCE, method="mover")
    named = bland_altman(DEVICE, REFERENCE, method="mover", patient=np.arange(40) + 5)
    assert plain == named


def test_no_cases():
    r = bland_altman([], [])
    for part in [*PARTS, "proportional_bias", "spread_trend"]:
        assert getattr(r, part).undefined == "no cases"
    for function in MEANS:
        assert function([], []).undefined == "no cases"


def test_one_case_has_a_bias_and_nothing_else():
    r = bland_altman([3.0], [1.0])
    assert r.bias.value == 2.0
    assert r.bias.interval_undefined == "one case"
    assert r.sd.undefined == "one case"
    assert r.proportional_bias.undefined == "fewer than 3 cases"
    for function in MEANS:
        e = function([3.0], [1.0])
        assert e.value == 2.0
        assert e.interval_undefined == "one case"


def test_one_patient_with_all_cases():
    r = bland_altman([3.0, 4, 6], [1.0, 3, 3], patient=[7, 7, 7])
    assert r.bias.interval_undefined == "all cases come from one patient"
    assert r.upper_limit.undefined == "all cases come from one patient"
    assert bias([3.0, 4], [1.0, 3], patient=[7, 7]).interval_undefined == "all cases come from one patient"


def test_a_constant_difference():
    r = bland_altman([3.0, 4, 7, 9], [1.0, 2, 5, 7])
    assert r.bias.value == 2.0
    assert r.bias.interval_undefined == "the differences do not vary"
    assert r.sd.undefined == "the differences do not vary"
    for function in MEANS:
        assert function([3.0, 4, 7], [1.0, 2, 5]).interval_undefined == "no variation between cases was seen"


def test_two_patients_are_too_few_for_a_robust_slope():
    r = bland_altman([3.0, 4, 7, 9], [1.0, 2.5, 5, 7.5], patient=[1, 1, 2, 2])
    assert r.proportional_bias.interval_undefined == "fewer than 3 patients"
    assert bland_altman([5.0] * 4, [4.0, 6.0, 4.0, 6.0]).bias.low is not None
    same = bland_altman([4.0, 6, 5], [6.0, 4, 5])
    assert same.proportional_bias.undefined == "all cases measure the same"


def test_proportional_bias_is_found():
    r = bland_altman(1.1 * REFERENCE + RNG.normal(0, 1, 40), REFERENCE)
    assert r.proportional_bias.low > 0
    exact = bland_altman(1.1 * REFERENCE, REFERENCE)
    assert exact.proportional_bias.value == pytest.approx(0.2 / 2.1)
    assert exact.proportional_bias.interval_undefined == "the points lie on a line"


def test_clusters_widen_the_bias():
    effect = np.repeat(RNG.normal(0, 3, 10), 4)
    plain, clustered = bias(REFERENCE + effect, REFERENCE), bias(REFERENCE + effect, REFERENCE, patient=PATIENT)
    assert clustered.value == plain.value
    assert clustered.high - clustered.low > plain.high - plain.low
    assert clustered.design_effect > 2
    assert plain.design_effect is None


def test_mean_absolute_error_is_not_negative():
    e = mean_absolute_error([0.0, 0, 0, 9], [0.0, 0, 0, 0])
    assert e.low == 0.0


@pytest.mark.parametrize("bad", [([1.0, 2], [1.0]), ([1.0, math.nan], [1.0, 2]), ([[1.0]], [[1.0]])])
def test_unusable_measurements_are_refused(bad):
    for function in (*MEANS, bland_altman, total_deviation_index):
        with pytest.raises(ValueError, match=r"measurements|one value per case"):
            function(*bad)


def test_other_refusals():
    with pytest.raises(ValueError, match="exact"):
        bland_altman(DEVICE, REFERENCE, method="wald")
    with pytest.raises(ValueError, match="patient"):
        bias(DEVICE, REFERENCE, patient=[1])
    with pytest.raises(ValueError, match="tolerance"):
        coverage_probability(DEVICE, REFERENCE, tolerance=-1)
    with pytest.raises(ValueError, match="lower"):
        tost(DEVICE, REFERENCE, lower=1, upper=-1)


def test_total_deviation_index_edges():
    assert total_deviation_index([1.0], [2.0]).undefined == "fewer than 2 cases"
    assert total_deviation_index([1.0, 2], [2.0, 3]).undefined == "the differences do not vary"
    e = total_deviation_index(REFERENCE + 1000 + RNG.normal(0, 1, 40), REFERENCE)
    assert 999 < e.low < e.value < e.high < 1004


def test_coverage_probability_is_a_proportion():
    e = coverage_probability([1.0, 2, 3, 9], [1.0, 2, 3, 3], tolerance=0.5)
    assert (e.numerator, e.denominator, e.method) == (3, 4, "Clopper-Pearson")
    assert coverage_probability([], [], tolerance=1).undefined == "no cases in the denominator"
    assert coverage_probability([2.0], [1.0], tolerance=1.0).value == 1.0


def test_the_last_digit_of_a_subtraction_is_no_variation_and_breaks_no_tolerance():
    reference = np.array([12.2, 7.1, 101.4, 3.3, 0.2])
    device = np.round(reference + 0.1, 1)
    assert 0.0 < np.ptp(device - reference) < 1e-13
    assert coverage_probability(device, reference, tolerance=0.1).value == 1.0
    assert coverage_probability(device, reference, tolerance=0.0999).value == 0.0
    for figure in (bias, mean_absolute_error, root_mean_square_error):
        e = figure(device, reference)
        assert e.value == pytest.approx(0.1)
        assert "no variation" in e.interval_undefined
    assert "do not vary" in bland_altman(device, reference).bias.interval_undefined
    assert "do not vary" in total_deviation_index(device, reference).undefined
    assert "no variation" in tost(device, reference, lower=-1.0, upper=1.0).undefined


def test_tost_agrees_with_the_90_percent_interval():
    e = bias(DEVICE, REFERENCE, level=0.9)
    assert tost(DEVICE, REFERENCE, lower=e.low - 1e-6, upper=e.high + 9).p_value < 0.05
    assert tost(DEVICE, REFERENCE, lower=e.low + 1e-6, upper=e.high + 9).p_value > 0.05
    one_sided = tost(DEVICE, REFERENCE, lower=e.low, upper=math.inf)
    assert one_sided.p_value == pytest.approx(0.05)
    assert tost(DEVICE, REFERENCE, lower=-math.inf, upper=math.inf).p_value == 0.0


def test_tost_says_when_it_cannot():
    assert tost([], [], lower=-1, upper=1).undefined == "no cases"
    assert tost([1.0], [1.0], lower=-1, upper=1).undefined == "one case"
    assert tost([2.0, 3], [1.0, 2], lower=-1, upper=1).undefined == "no variation between cases was seen"
    assert tost([2.0, 3], [1.0, 1], lower=-1, upper=1, patient=[1, 1]).undefined == "all cases come from one patient"

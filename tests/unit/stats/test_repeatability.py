"""Within-subject spread, ICC, concordance: edges and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats.repeatability import (
    concordance,
    icc,
    repeatability_coefficient,
    within_subject_cv,
    within_subject_sd,
)

SPREADS = [within_subject_sd, repeatability_coefficient, within_subject_cv]


@pytest.mark.parametrize("function", SPREADS)
def test_single_measurements_carry_no_information(function):
    assert function([1.0, 2, 3], [1, 2, 3]).undefined == "no subject was measured more than once"
    assert function([], []).undefined == "no subject was measured more than once"
    with_single = function([1.0, 2, 5, 6, 9], [1, 1, 2, 2, 3])
    without = function([1.0, 2, 5, 6], [1, 1, 2, 2])
    assert with_single == without
    assert with_single.n == 2
    assert with_single.low < with_single.value < with_single.high


@pytest.mark.parametrize("function", SPREADS)
def test_identical_repeats_have_no_interval(function):
    e = function([2.0, 2, 5, 5], [1, 1, 2, 2], n_patients=2)
    assert e.value == 0.0
    assert e.interval_undefined == "repeated measurements never differ"
    assert e.n_patients == 2


@pytest.mark.parametrize("function", SPREADS)
def test_unusable_measurements_are_refused(function):
    with pytest.raises(ValueError, match="finite"):
        function([1.0, np.nan], [1, 1])
    with pytest.raises(ValueError, match="shapes"):
        function([1.0, 2.0], [1])


def test_a_coefficient_of_variation_needs_positive_values():
    assert "above 0" in within_subject_cv([-1.0, 1, 2, 3], [1, 1, 2, 2]).undefined
    assert "above 0" in within_subject_cv([0.0, 1, 2, 3], [1, 1, 2, 2], method="log").undefined
    assert within_subject_cv([0.0, 1, 2, 3], [1, 1, 2, 2]).value > 0
    with pytest.raises(ValueError, match="rms"):
        within_subject_cv([1.0, 2], [1, 1], method="mean")
    assert within_subject_cv([2.0, 2.0], [1, 1], method="log").value == 0.0


def test_cv_is_free_of_units():
    rng = np.random.default_rng(2)
    v, s = np.exp(rng.normal(3, 0.2, 30)), np.repeat(np.arange(10), 3)
    for method in ("rms", "log"):
        a, b = within_subject_cv(v, s, method=method), within_subject_cv(v * 1000, s, method=method)
        assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high))


@pytest.mark.parametrize("kind", ["icc(2,1)", "icc(3,1)"])
def test_icc_edges(kind):
    assert icc(np.zeros((0, 2)), kind).undefined == "fewer than 2 subjects"
    assert icc([[1.0, 2.0]], kind).undefined == "fewer than 2 subjects"
    assert icc(np.ones((4, 2)), kind).undefined == "the ratings do not vary"
    perfect = icc([[1.0, 1], [2, 2], [5, 5]], kind)
    assert perfect.value == 1.0
    assert perfect.interval_undefined == "raters never differ beyond a constant"
    # Subjects alike, raters apart by a constant: nothing to tell subjects apart by.
    flat = icc([[1.0, 2], [1, 2], [1, 2]], kind)
    assert flat.undefined == "subjects do not differ" or flat.value == 0.0
    two = icc([[1.0, 2], [4, 3]], kind)
    assert two.low <= two.value <= two.high


def test_a_constant_shift_lowers_agreement_not_consistency():
    rng = np.random.default_rng(3)
    truth = rng.normal(0, 3, 30)
    ratings = np.column_stack([truth + rng.normal(0, 1, 30), truth + 5 + rng.normal(0, 1, 30)])
    assert icc(ratings).value < icc(ratings, "icc(3,1)").value
    shifted = ratings - [0, 5]
    assert icc(ratings, "icc(3,1)").value == pytest.approx(icc(shifted, "icc(3,1)").value)


def test_icc_refusals():
    with pytest.raises(ValueError, match="kind"):
        icc([[1.0, 2]], "icc(1,1)")
    with pytest.raises(ValueError, match="raters"):
        icc([[1.0], [2.0]])
    with pytest.raises(ValueError, match="finite"):
        icc([[1.0, np.nan], [2, 3]])


def test_concordance_edges():
    assert concordance([1.0, 2], [1.0, 2]).undefined == "fewer than 3 cases"
    assert concordance([2.0] * 4, [3.0] * 4).undefined == "neither measurement varies"
    e = concordance([2.0] * 4, [1.0, 2, 3, 4])
    assert e.value == 0.0
    assert "does not vary" in e.interval_undefined
    assert "identity" in concordance([1.0, 2, 4], [1.0, 2, 4]).interval_undefined
    e = concordance([1.0, 2, 3], [3.0, 2, 1])
    assert e.value == -1.0
    assert "reversal" in e.interval_undefined


def test_concordance_is_symmetric_and_below_correlation():
    rng = np.random.default_rng(4)
    x = rng.normal(size=30)
    y = 0.5 + 1.5 * x + rng.normal(size=30)
    a, b = concordance(x, y), concordance(y, x)
    assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high))
    assert abs(a.value) < abs(np.corrcoef(x, y)[0, 1])
    uncorrelated = concordance([1.0, 2, 1, 2], [1.0, 1, 2, 2])
    assert uncorrelated.value == pytest.approx(0.0)
    assert uncorrelated.low < 0 < uncorrelated.high

"""Deming and Passing-Bablok regression: edges and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats.method_comparison import deming, passing_bablok

RNG = np.random.default_rng(9)
TRUE = RNG.uniform(10, 100, 60)
X, Y = TRUE + RNG.normal(0, 2, 60), 3 + 1.1 * TRUE + RNG.normal(0, 2, 60)
FITS = [deming, passing_bablok]


@pytest.mark.parametrize("fit", FITS)
def test_a_known_line_is_inside(fit):
    line = fit(Y, X)
    assert line.slope.low < 1.1 < line.slope.high
    assert line.intercept.low < 3 < line.intercept.high
    assert line.slope.n == 60


@pytest.mark.parametrize("fit", FITS)
def test_points_on_a_line(fit):
    line = fit(2 + 3 * np.arange(8.0), np.arange(8.0))
    assert line.slope.value == pytest.approx(3)
    assert line.intercept.value == pytest.approx(2)
    assert "on a line" in line.slope.interval_undefined


@pytest.mark.parametrize("fit", FITS)
def test_too_few(fit):
    for n in (0, 1, 2):
        assert "fewer than 3" in fit(np.arange(n, dtype=float), np.arange(n, dtype=float)).slope.undefined
    same = fit([1.0, 1, 1, 1], [2.0, 2, 2, 2])
    assert same.slope.undefined is not None
    assert same.intercept.undefined is not None


@pytest.mark.parametrize("fit", FITS)
def test_units_scale_the_line(fit):
    plain, scaled = fit(Y, X), fit(10 * Y, 10 * X)
    assert scaled.slope.value == pytest.approx(plain.slope.value)
    assert scaled.intercept.value == pytest.approx(10 * plain.intercept.value)
    assert (scaled.slope.low, scaled.slope.high) == pytest.approx((plain.slope.low, plain.slope.high))


@pytest.mark.parametrize("fit", FITS)
def test_exchanging_the_methods_inverts_the_slope(fit):
    # An odd number of slopes has a middle one; of two middle slopes the mean does not invert.
    n = 59 if fit is passing_bablok else 60
    line, back = fit(Y[:n], X[:n]), fit(X[:n], Y[:n])
    assert back.slope.value == pytest.approx(1 / line.slope.value)


def test_the_variance_ratio_inverts_when_methods_are_exchanged():
    line, back = deming(Y, X, variance_ratio=4), deming(X, Y, variance_ratio=0.25)
    assert back.slope.value == pytest.approx(1 / line.slope.value)
    for ratio in (0.0, -1.0, float("inf")):
        with pytest.raises(ValueError, match="variance_ratio"):
            deming(Y, X, variance_ratio=ratio)


def test_a_large_offset_costs_no_digits():
    line, far = deming(Y, X), deming(Y + 1e7, X + 1e7)
    assert far.slope.value == pytest.approx(line.slope.value, rel=1e-8)


def test_patients_are_left_out_together():
    patient = np.repeat(np.arange(15), 4)
    line = deming(Y, X, patient=patient)
    plain = deming(Y, X)
    assert line.slope.value == plain.slope.value
    assert line.slope.n_patients == 15
    assert line.slope.low < line.slope.value < line.slope.high
    assert "fewer than 3 patients" in deming(Y, X, patient=np.arange(60) % 2).slope.undefined


def test_uncorrelated_measurements_have_no_line():
    assert "do not vary together" in deming([1.0, 1, 2, 2], [1.0, 2, 1, 2]).slope.undefined
    # Leaving one out makes the rest vertical.
    e = deming([1.0, 2, 3, 4], [1.0, 1, 1, 2])
    assert e.slope.value is not None
    assert passing_bablok([1.0, 2, 3, 4], [5.0, 5, 5, 5]).slope.undefined is not None


def test_one_point_that_holds_the_line_up():
    # Without the last patient the two measurements do not vary together.
    e = deming([1.0, 1, 2, 2, 9], [1.0, 2, 1, 2, 9])
    assert "without one patient" in e.slope.interval_undefined
    assert e.slope.value > 0


def test_passing_bablok_with_few_cases_has_no_interval():
    e = passing_bablok([1.0, 2.2, 2.9], [1.0, 2, 3])
    assert e.slope.value is not None
    assert "too few" in e.slope.interval_undefined


def test_passing_bablok_ignores_an_outlier():
    y = Y.copy()
    y[0] = 1e6
    assert passing_bablok(y, X).slope.value == pytest.approx(passing_bablok(Y, X).slope.value, rel=0.02)


def test_passing_bablok_refuses_too_many_pairs():
    with pytest.raises(ValueError, match="20000"):
        passing_bablok(np.arange(20001.0), np.arange(20001.0))

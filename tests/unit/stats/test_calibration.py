"""Calibration at the edges: certain probabilities, constant ones, one class, separation, few cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from evalsuite.stats import calibration as c
from evalsuite.stats.bins import bin_index
from evalsuite.stats.reliability import reliability_curve
from evalsuite.stats.smoothing import (
    loess,
    lowess,
    smooth_calibration_error,
    smooth_calibration_errors,
    smooth_residual,
)

RNG = np.random.default_rng(0)
P = RNG.uniform(0.05, 0.95, 200)
Y = RNG.random(200) < P


@pytest.mark.parametrize("function", [c.calibration_intercept, c.calibration_slope, c.recalibration_intercept])
def test_recalibration_says_why_it_does_not_exist(function: object) -> None:
    assert callable(function)
    assert function(np.zeros(5), np.full(5, 0.2)).undefined == "no reference-positive cases"
    assert function(np.ones(5), np.full(5, 0.2)).undefined == "no reference-negative cases"
    assert function([], []).undefined == "no cases"
    certain = np.append(P[:-1], 1.0)
    assert function(Y, certain).undefined == "a probability of exactly 0 or 1 has no finite log-odds (1 cases)"


def test_slope_of_constant_or_separating_probabilities_does_not_exist() -> None:
    y = np.array([0, 1, 0, 1])
    assert c.calibration_slope(y, np.full(4, 0.3)).undefined == c.CONSTANT
    assert c.calibration_slope([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]).undefined == c.SEPARATED.format(what="slope")
    assert c.calibration_slope([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9]).undefined == c.SEPARATED.format(what="slope")
    # Quasi-separation: one value shared by the classes.
    assert c.calibration_slope([0, 0, 1, 1], [0.1, 0.2, 0.2, 0.9]).undefined == c.SEPARATED.format(what="slope")
    # The intercept still exists.
    assert c.calibration_intercept(y, np.full(4, 0.3)).value == pytest.approx(math.log(0.7 / 0.3))


def test_intercept_of_a_constant_is_the_log_odds_gap_with_its_known_error() -> None:
    y = np.repeat([0, 1], [80, 20])
    e = c.calibration_intercept(y, np.full(100, 0.5))
    assert e.value == pytest.approx(math.log(0.25))
    half = 1.959963984540054 / math.sqrt(100 * 0.2 * 0.8)
    assert e.low == pytest.approx(math.log(0.25) - half)


def test_profile_interval_needs_independent_cases() -> None:
    with pytest.raises(ValueError, match="independent"):
        c.calibration_intercept(Y, P, method="profile", cluster=np.arange(200) // 2)
    with pytest.raises(ValueError, match="wald or profile"):
        c.calibration_intercept(Y, P, method="exact")  # type: ignore[arg-type]


def test_probabilities_outside_or_missing_are_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        c.brier([0, 1], [0.2, 1.2])
    with pytest.raises(ValueError, match="NaN"):
        c.brier([0, 1], [0.2, np.nan])
    with pytest.raises(ValueError, match="no cases"):
        c.ece_value([], [])


def test_brier_edges() -> None:
    assert c.brier([], []).undefined == "no cases"
    one = c.brier([1], [0.7])
    assert one.value == pytest.approx(0.09)
    assert one.interval_undefined == "one case only"
    perfect = c.brier([0, 1], [0.0, 1.0])
    assert perfect.value == 0.0
    assert perfect.interval_undefined is not None
    assert c.brier([1, 1, 1], [0.9, 0.8, 0.7]).value == pytest.approx((0.01 + 0.04 + 0.09) / 3)
    together = c.brier(Y, P, cluster=np.zeros(200))
    assert together.interval_undefined == "one patient only"
    assert together.n_patients == 1


def test_log_loss_is_never_clipped() -> None:
    e = c.log_loss([1, 0, 1], [0.0, 0.2, 0.9])
    assert e.undefined == "infinite: 1 cases were given probability 0 or 1 for what did not happen"
    assert c.log_loss_value([1], [0.0]) == math.inf
    assert c.log_loss([1, 0], [1.0, 0.0]).value == 0.0


def test_observed_expected_edges() -> None:
    assert c.observed_expected([0, 0], [0.0, 0.0]).undefined == "the expected number is 0"
    none = c.observed_expected([0, 0], [0.1, 0.2])
    assert none.value == 0.0
    assert none.interval_undefined is not None
    e = c.observed_expected(Y, P)
    assert (e.numerator, e.denominator) == (float(Y.sum()), pytest.approx(P.sum()))


def test_clusters_of_identical_cases_widen_the_interval_by_their_size() -> None:
    y, p, patient = np.repeat(Y, 4), np.repeat(P, 4), np.repeat(np.arange(200), 4)
    for function in (c.brier, c.log_loss, c.calibration_intercept, c.calibration_slope, c.observed_expected):
        e, alone = function(y, p, cluster=patient), function(Y, P)
        assert e.value == pytest.approx(alone.value)
        assert e.design_effect == pytest.approx(4.0, rel=0.4)
        assert e.low is not None
        assert e.high is not None
        assert alone.low is not None
        assert alone.high is not None
        assert e.high - e.low == pytest.approx(alone.high - alone.low, rel=0.2)


def test_bins_hold_their_upper_edge() -> None:
    p = np.array([0.0, 0.1, 0.1000001, 0.3, 0.7, 1.0])
    assert bin_index(p, bins=10).tolist() == [0, 0, 1, 2, 6, 9]
    assert bin_index(np.array([0.2, 0.2, 0.2, 0.9]), bins=2, scheme="equal_mass").tolist() == [0, 0, 0, 1]
    with pytest.raises(ValueError, match="scheme"):
        bin_index(p, bins=10, scheme="quantile")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="bins"):
        bin_index(p, bins=0)


def test_binned_errors_by_hand() -> None:
    y, p = [0, 1, 1, 1], [0.05, 0.08, 0.95, 0.85]
    # Bins: {.05, .08}: |.5 − .065| = .435; {.85}: .15; {.95}: .05.
    assert c.ece_value(y, p) == pytest.approx((2 * 0.435 + 0.15 + 0.05) / 4)
    assert c.mce_value(y, p) == pytest.approx(0.435)
    assert c.debiased_ece_value(y, p, scheme="equal_width") < c.ece_value(y, p)


def test_ece_interval_holds_the_estimate_and_names_its_method() -> None:
    binned = (c.ece(Y, P, replicates=300), c.mce(Y, P, replicates=300))
    smooth = c.ici(Y, P, replicates=30, smoother="lowess")
    for e in (*binned, smooth):
        assert e.value is not None
        assert e.low is not None
        assert e.high is not None
        assert 0.0 <= e.low <= e.value <= e.high <= 1.0
        assert "lower limit by the size of the error" in e.method
    assert all("upper limit basic, lower" in e.method for e in binned)
    assert "upper limit basic or percentile, the larger" in smooth.method
    assert c.e50(Y, P, replicates=10).method.startswith("loess of degree 2, span 0.75")
    assert c.e90(np.zeros(3), [0.1, 0.2, 0.3], replicates=10).undefined == "no reference-positive cases"
    assert c.ece([], [], replicates=10).undefined == "no cases"


def test_well_calibrated_ece_interval_reaches_towards_zero() -> None:
    """Percentile intervals of ECE sit above the truth (0 here); this one must not."""
    hit = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        p = rng.random(300)
        e = c.ece(rng.random(300) < p, p, replicates=200, seed=seed)
        assert e.low is not None
        hit += e.low == 0.0
    assert hit >= 18


def test_tests_say_why_they_do_not_exist() -> None:
    assert c.spiegelhalter([0, 1], [0.5, 0.5]).undefined is not None
    assert c.hosmer_lemeshow([0, 1], [0.5, 0.5], fitted_on_same_data=True).undefined is not None
    assert c.hosmer_lemeshow([0, 1, 1], [0.0, 0.5, 0.7]).undefined is not None


def test_smoothers_follow_a_line_and_survive_ties() -> None:
    x = np.linspace(0, 1, 50)
    np.testing.assert_allclose(loess(x, x**2), x**2, atol=1e-10)
    np.testing.assert_allclose(lowess(x, 2 * x), 2 * x, atol=1e-10)
    y = np.array([0.0, 1.0, 1.0, 0.0])
    np.testing.assert_allclose(loess(np.full(4, 0.5), y), 0.5)
    np.testing.assert_allclose(lowess(np.full(4, 0.5), y), 0.5)
    assert lowess(np.array([0.3]), np.array([1.0])).tolist() == [1.0]
    big = np.sort(np.random.default_rng(1).random(5000))
    np.testing.assert_allclose(loess(big, np.sin(3 * big)), np.sin(3 * big), atol=0.05)


def test_smooth_residual_keeps_a_constant_bias() -> None:
    p = np.random.default_rng(2).random(20_000)
    # Every residual 0.1: smoothing a constant density with reflection changes nothing.
    assert smooth_residual(p, np.full(20_000, 0.1), 0.05) == pytest.approx(0.1, abs=1e-6)


def test_smooth_errors_side_by_side_are_those_found_one_by_one() -> None:
    rng = np.random.default_rng(8)
    p = rng.random(60)
    base = (rng.random(60) < p) - p
    rows = np.stack([base * rng.poisson(1.0, 60) for _ in range(6)] + [np.zeros(60), np.ones(60), base * 1e-9])
    start = smooth_calibration_error(p, base)
    made = smooth_calibration_errors(p, rows, base, start)
    for row, value, change in zip(rows, made.value, made.change, strict=True):
        assert change == pytest.approx(smooth_residual(p, row - base, start), abs=1e-12)
        if row.any() and not row.all():
            root = brentq(lambda w, r=row: smooth_residual(p, r, w) - w, 1e-12, 1.0, xtol=1e-13)
            assert value == pytest.approx(root, abs=1e-11)
    # No residuals: no error. All of them 1: as large as any width.
    assert made.value[6:8].tolist() == [0.0, pytest.approx(1.0, abs=1e-9)]


def test_reliability_curve_counts_every_case_once() -> None:
    curve = reliability_curve(Y, P, bins=10, consistency=True, replicates=200)
    assert int(curve.n.sum()) == 200
    assert (curve.low <= curve.observed).all()
    assert (curve.observed <= curve.high).all()
    assert curve.consistency_low is not None
    assert curve.consistency_high is not None
    assert (curve.consistency_low <= curve.consistency_high).all()
    inside = (curve.consistency_low <= curve.observed) & (curve.observed <= curve.consistency_high)
    assert inside.mean() >= 0.7


def test_reliability_intervals_at_the_boundary_and_by_patient() -> None:
    curve = reliability_curve([1, 1, 1, 0, 0], [0.95, 0.96, 0.97, 0.01, 0.02], interval="clopper-pearson")
    assert curve.observed.tolist() == [0.0, 1.0]
    # 3 of 3: Clopper-Pearson lower limit 0.025^(1/3).
    assert curve.low[1] == pytest.approx(0.025 ** (1 / 3))
    assert curve.high[0] == pytest.approx(1 - 0.025**0.5)
    one = reliability_curve([1, 1, 1, 0], [0.95, 0.96, 0.97, 0.05], cluster=[1, 1, 1, 2])
    assert one.n_patients is not None
    assert one.n_patients.tolist() == [1, 1]
    assert one.low[1] < curve.low[1]
    wide = reliability_curve(np.repeat(Y, 3), np.repeat(P, 3), cluster=np.repeat(np.arange(200), 3))
    narrow = reliability_curve(Y, P)
    np.testing.assert_allclose(wide.low, narrow.low, atol=0.03)
    with pytest.raises(ValueError, match="no cases"):
        reliability_curve([], [])
    with pytest.raises(ValueError, match="interval"):
        reliability_curve(Y, P, interval="wald")  # type: ignore[arg-type]

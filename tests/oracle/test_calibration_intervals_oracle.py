"""Intervals of calibration figures: replicates by writing the cases out, profiles by hand, coverage by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from evalsuite.stats import calibration as c
from evalsuite.stats import calibration_intervals as ci
from evalsuite.stats.draw import PatientDraw
from evalsuite.types import Estimate

RNG = np.random.default_rng(8)
P = RNG.uniform(0.05, 0.95, 150)
FUNCTIONS: dict[str, Callable[..., Estimate]] = {
    "smooth_ece": ci.smooth_ece,
    "debiased_ece": ci.debiased_ece,
    "reliability": partial(ci.brier_part, "reliability"),
}
Y = RNG.random(150) < expit(0.3 + 0.8 * logit(P))


def test_profile_ends_are_where_the_likelihood_ratio_is_the_chi_square() -> None:
    """Second derivation beside R's confint: the intercept maximised by scipy at each end."""

    def deviance(slope: float) -> float:
        def of(a: float) -> float:
            eta = a + slope * logit(P)
            return 2.0 * float(np.logaddexp(0.0, np.where(Y, -eta, eta)).sum())

        return float(minimize_scalar(of, bounds=(-5, 5), method="bounded", options={"xatol": 1e-10}).fun)

    e = ci.profile_slope(Y, P)
    assert e.value == pytest.approx(c.calibration_slope(Y, P).value, abs=1e-12)
    for end in (e.low, e.high):
        assert deviance(end) - deviance(e.value) == pytest.approx(3.841458820694124, abs=1e-6)


def test_resampled_slope_is_a_plain_loop_of_scikit_learn() -> None:
    e = ci.resampled_recalibration("slope", Y, P, method="percentile", replicates=60, seed=3)
    slopes = []
    for count in PatientDraw(np.arange(Y.size), 60, 3).counts(0, 60):
        i = np.repeat(np.arange(Y.size), count)
        fit = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(logit(P[i])[:, None], Y[i])
        slopes.append(float(fit.coef_[0, 0]))
    assert [e.low, e.high] == pytest.approx(np.quantile(slopes, [0.025, 0.975]), abs=1e-4)


@pytest.mark.parametrize("which", ["intercept", "slope", "recalibration_intercept", "scaled_brier"])
def test_resampled_and_closed_intervals_agree_in_large_samples(which: ci.Recalibration) -> None:
    rng = np.random.default_rng(2)
    p = rng.uniform(0.1, 0.9, 1500)
    y = rng.random(1500) < p
    closed = {
        "intercept": c.calibration_intercept,
        "slope": c.calibration_slope,
        "recalibration_intercept": c.recalibration_intercept,
        "scaled_brier": c.scaled_brier,
    }[which](y, p)
    e = ci.resampled_recalibration(which, y, p, method="percentile", replicates=400, seed=1)
    assert e.value == closed.value
    width = closed.high - closed.low
    assert [e.low, e.high] == pytest.approx([closed.low, closed.high], abs=0.12 * width)


@pytest.mark.parametrize("which", ["reliability", "resolution"])
def test_murphy_replicates_are_those_of_the_drawn_cases(which: ci.MurphyPart) -> None:
    """The upper limit is the basic one of the root: here from the decomposition of the cases written out."""
    e = ci.brier_part(which, Y, P, replicates=80, seed=5)
    roots = []
    for count in PatientDraw(np.arange(Y.size), 80, 5).counts(0, 80):
        i = np.repeat(np.arange(Y.size), count)
        roots.append(math.sqrt(getattr(c.brier_decomposition(Y[i], P[i]), which)))
    root = math.sqrt(e.value)
    assert e.high == pytest.approx(max(root, 2 * root - np.quantile(roots, 0.025)) ** 2, abs=1e-12)


def test_smooth_ece_replicates_are_those_of_the_drawn_cases() -> None:
    e = ci.smooth_ece(Y, P, replicates=60, seed=5)
    values = []
    for count in PatientDraw(np.arange(Y.size), 60, 5).counts(0, 60):
        i = np.repeat(np.arange(Y.size), count)
        values.append(c.smooth_ece_value(Y[i], P[i]))
    upper = [2 * e.value - np.quantile(values, 0.025), np.quantile(values, 0.975)]
    assert e.high == pytest.approx(max(upper), abs=1e-9)


@pytest.mark.parametrize("which", ["smooth_ece", "debiased_ece", "reliability"])
def test_a_calibrated_model_is_not_called_miscalibrated(which: str) -> None:
    """Truth 0: the lower limit reaches it as often as the level says, less three Monte Carlo errors."""
    rng = np.random.default_rng(9)
    studies, held = (40 if which == "smooth_ece" else 120), 0
    for i in range(studies):
        p = rng.uniform(0.02, 0.6, 150)
        y = rng.random(150) < p
        held += FUNCTIONS[which](y, p, replicates=100, seed=i).low == 0.0
    assert held / studies >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / studies)


def test_debiased_error_is_nearer_the_truth_than_the_plain_one() -> None:
    rng = np.random.default_rng(10)
    plain, debiased = [], []
    for i in range(60):
        p = rng.uniform(0.1, 0.9, 300)
        y = rng.random(300) < np.clip(p + 0.05, 0, 1)
        e = ci.debiased_ece(y, p, replicates=20, seed=i)
        plain.append(c.ece_value(y, p, scheme="equal_mass"))
        debiased.append(e.value)
        assert e.low is None or e.low <= e.value <= e.high
    assert abs(np.mean(debiased) - 0.05) < abs(np.mean(plain) - 0.05)


@pytest.mark.parametrize("function", FUNCTIONS.values())
def test_edges_have_reasons(function) -> None:
    assert function([], []).undefined == "no cases"
    one = function([True], [0.3], replicates=10)
    assert one.value is not None
    assert one.interval_undefined
    together = function(Y, P, cluster=np.zeros(Y.size), replicates=10)
    assert together.interval_undefined

"""Stated uncertainty against figures that do not come from this suite: by hand, by simulation, by another library."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from evalsuite.stats.conformal import coverage_band
from evalsuite.stats.outliers import ledoit_wolf
from evalsuite.stats.roc import auroc
from evalsuite.stats.roc_operating import sensitivity_at_specificity
from evalsuite.stats.selective import selective


def test_errors_ranked_last_have_the_area_worked_out_by_hand():
    # (0 + 0 + 0 + 1/4 + 2/5) / 5
    found = selective([0, 0, 0, 1, 1], [5, 4, 3, 2, 1], [0.6, 0.8, 1.0])
    assert found.aurc == pytest.approx(0.13, abs=1e-15)
    assert found.excess == pytest.approx(0.0, abs=1e-15)
    assert found.risk == pytest.approx((0.0, 0.25, 0.4))


def test_the_band_is_beta_binomial():
    band = coverage_band(200, 100, 0.1, covered=90)
    assert (band.a, band.b) == (181, 20)
    assert band.expected == pytest.approx(181 / 201)
    # The counts of independent splits of exchangeable scores.
    rng = np.random.default_rng(0)
    scores = rng.random((4000, 300))
    limit = np.sort(scores[:, :200], axis=1)[:, 180]
    share = (scores[:, 200:] <= limit[:, None]).mean(axis=1)
    inside = float(((share >= band.low) & (share <= band.high)).mean())
    assert 0.945 < inside < 0.975
    assert coverage_band(200, 100, 0.1, covered=60).p_value < 1e-6
    assert coverage_band(200, 100, 0.1, covered=90).p_value > 0.8


def test_two_normal_distributions_give_their_known_overlap():
    # AUROC Phi(1.5 / sqrt 2) = .8556; let through at 95 %: Phi(1.645 - 1.5) = .5576
    q = norm.ppf((np.arange(4000) + 0.5) / 4000)
    truth, score = np.repeat([False, True], 4000), np.r_[q, q + 1.5]
    assert auroc(truth, score).value == pytest.approx(0.8556, abs=2e-4)
    through = 1.0 - sensitivity_at_specificity(truth, score, 0.95, replicates=2, method="percentile").value
    assert through == pytest.approx(0.5576, abs=1e-3)


def test_the_covariance_is_that_of_another_implementation():
    covariance = pytest.importorskip("sklearn.covariance")
    rows = np.random.default_rng(2).normal(size=(30, 12)) @ np.diag(np.arange(1.0, 13.0))
    other = covariance.LedoitWolf().fit(rows)
    mine, shrinkage = ledoit_wolf(rows - rows.mean(axis=0))
    assert shrinkage == pytest.approx(other.shrinkage_)
    np.testing.assert_allclose(mine, other.covariance_)

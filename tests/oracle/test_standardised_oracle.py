"""Groups at the same case mix: odds ratios against statsmodels' clustered logistic regression."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats.standardised import odds_ratio


def test_odds_ratios_are_those_of_statsmodels():
    # Python 3.11, statsmodels 0.15.0, the data below with the columns intercept, in_group, severity 1 and 2, site 1:
    # >>> fit = sm.GLM(success, X, family=sm.families.Binomial()).fit(
    # ...     cov_type="cluster", cov_kwds={"groups": patient, "use_correction": False})
    # >>> fit.params[1], fit.bse[1]
    # (-0.5250472318652714, 0.19826077553665403)
    rng = np.random.default_rng(12)
    n = 500
    patient = rng.integers(0, 120, n)
    in_group = rng.random(n) < 0.4
    severity = rng.integers(0, 3, n)
    site = rng.integers(0, 2, n)
    eta = 0.3 + 0.7 * (severity == 2) - 0.6 * in_group + rng.normal(size=120)[patient]
    success = rng.random(n) < 1 / (1 + np.exp(-eta))
    assert (int(success.sum()), np.unique(patient).size) == (286, 118)  # the data of the session
    e = odds_ratio(success, in_group, patient, [severity, site])
    se = 0.19826077553665403 * np.sqrt(118 / 117)
    expected = np.exp(-0.5250472318652714 + np.array([0.0, -1.959964, 1.959964]) * se)
    assert (e.value, e.low, e.high) == pytest.approx(tuple(expected), rel=1e-6)

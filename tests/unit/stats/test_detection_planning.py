"""Sizes of detection studies: against simulated ones judged by the suite's own intervals, and worked limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from evalsuite.stats import detection_planning as planning
from evalsuite.stats.detection import froc_curve
from evalsuite.stats.detection_planning import Marking
from evalsuite.stats.planning import cases_for_proportion, proportion_power

MARKING = Marking(lesions=1.8, abnormal=0.4, marked=0.95, false_marks=6.0, correlation=0.3)


def test_simulated_studies_have_the_sensitivity_rate_and_correlation_that_are_assumed() -> None:
    far = planning.separation(MARKING, 0.8, 0.5)
    found = planning.simulate_marks(np.random.default_rng(3), 60_000, MARKING, far)
    curve = froc_curve(found)
    assert np.interp(0.5, curve.false_per_case, curve.sensitivity) == pytest.approx(0.8, abs=0.01)
    assert found.false_case.size / found.n == pytest.approx(6.0, rel=0.01)
    lesions = found.lesions_in_case[found.abnormal]
    assert lesions.mean() == pytest.approx(1.8, rel=0.01)
    hit = (found.lesion_score > norm.ppf(1 - 0.5 / 6.0)).astype(float)
    sums = np.bincount(found.lesion_case, weights=hit, minlength=found.n)
    two = found.lesions_in_case == 2
    p = hit.mean()
    assert (np.mean(sums[two] == 2) - p**2) / (p * (1 - p)) == pytest.approx(0.3, abs=0.03)


def test_power_is_near_that_of_simulated_studies() -> None:
    """300 studies of the planned size, each judged by its own bootstrap of patients: a standard error of 2.3 points.

    Of 1,200 studies in each of seven settings 78 to 81 % reached the goal, planned for 80 %.
    """
    asked = {"rate": 0.5}
    cases = planning.cases_for_froc(MARKING, 0.85, 0.68, **asked)
    assert cases is not None
    assert planning.froc_power(cases, MARKING, 0.85, 0.68, **asked) >= 0.8
    assert planning.froc_power(cases - 1, MARKING, 0.85, 0.68, **asked) < 0.8
    seen = planning.simulated_froc_power(cases, MARKING, 0.85, 0.68, **asked, studies=300, rng=np.random.default_rng(5))
    assert seen == pytest.approx(0.8, abs=0.07)


def test_lesions_of_a_case_count_for_fewer() -> None:
    apart = Marking(lesions=1.8, abnormal=0.4, marked=0.95, false_marks=6.0)
    more, fewer = (planning.cases_for_froc(m, 0.8, 0.7, rate=0.5) for m in (MARKING, apart))
    assert more is not None
    assert fewer is not None
    assert more > fewer
    # E[K²]/E[K] of K = 1 + Poisson(0.8) is (0.8 + 1.8²)/1.8.
    assert MARKING.per_lesion == pytest.approx(1 + ((0.8 + 1.8**2) / 1.8 - 1) * 0.3)
    # Counted in normal cases only, the threshold is known less well; with very many false marks it hardly matters.
    assert (planning.cases_for_froc(apart, 0.8, 0.7, rate=0.5, normal_only=True) or 0) > fewer
    half = planning.half_width_at(1000, MARKING, 0.8, rate=0.5)
    assert half == pytest.approx(2 * planning.half_width_at(4000, MARKING, 0.8, rate=0.5), rel=0.03)


def test_sensitivity_per_lesion_by_simulation() -> None:
    lesions = cases_for_proportion(0.85, 0.75)
    assert lesions is not None
    one = Marking(lesions=1.0, abnormal=0.5)
    seen = planning.simulated_sensitivity_power(
        2 * lesions, one, 0.85, 0.75, studies=1500, rng=np.random.default_rng(1)
    )
    assert seen == pytest.approx(proportion_power(lesions, 0.85, 0.75, bound="lower"), abs=0.035)


def test_what_cannot_be_is_said() -> None:
    assert planning.cases_for_froc(MARKING, 0.7, 0.7, rate=0.5) is None
    # A goal of nothing is reached as soon as the estimate has a lower limit; more than is ever marked, never.
    assert planning.froc_power(100, MARKING, 0.7, 0.0, rate=0.5) > 0.999
    assert planning.froc_power(100, MARKING, 0.7, 0.96, rate=0.5) == 0.0
    assert planning.froc_power(0, MARKING, 0.7, 0.6, rate=0.5) == 0.0
    assert planning.half_width_at(1, MARKING, 0.7, rate=0.5) == 0.5
    with pytest.raises(ValueError, match="not below the 6 marks"):
        planning.separation(MARKING, 0.8, 6.0)
    with pytest.raises(ValueError, match="share of lesions marked"):
        planning.separation(MARKING, 0.96, 0.5)
    assert math.isfinite(planning.separation(MARKING, 0.94, 0.5))

"""Stated uncertainty: ties, resamples and strata, too few cases, scores of single cases."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from evalsuite.stats._resampled import Material, Statistic, resampled
from evalsuite.stats.conformal import (
    conformal_rank,
    conformal_threshold,
    coverage_band,
    needed,
    prediction_sets,
)
from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.outliers import energy_score, mahalanobis_score, neighbour_score, softmax_score
from evalsuite.stats.selective import selective, selective_counted


def test_errors_ranked_first_have_the_largest_area():
    found = selective([1, 1, 0, 0, 0], [5, 4, 3, 2, 1])
    assert found.aurc == pytest.approx((1 + 1 + 2 / 3 + 2 / 4 + 2 / 5) / 5)
    assert found.excess == pytest.approx(found.aurc - 0.13)


def test_equally_sure_cases_count_as_the_mean_over_their_orders():
    error, sure = [1, 0, 0, 1, 0], [3, 2, 2, 2, 1]
    orders = [selective([1, *p, 0], [9, 8, 7, 6, 5], [0.4]) for p in itertools.permutations([0, 0, 1])]
    found = selective(error, sure, [0.4])
    assert found.aurc == pytest.approx(np.mean([o.aurc for o in orders]))
    assert found.risk[0] == pytest.approx(np.mean([o.risk[0] for o in orders]))


def test_a_resample_is_the_figure_of_the_cases_drawn():
    rng = np.random.default_rng(3)
    error, sure = rng.random(40) < 0.3, np.round(rng.random(40), 1)
    who = rng.integers(0, 15, 40)
    draw = PatientDraw(who, 20, 1)
    patients = np.unique(draw.patient)
    of_counts = selective_counted(draw, error, sure, [0.5, 1.0])(np.ones(40, dtype=bool), patients)
    counts = draw.counts(0, 20)
    found = of_counts(counts)
    for row, drawn in zip(found, counts, strict=True):
        cases = np.repeat(np.arange(40), drawn[draw.patient])
        again = selective(error[cases], sure[cases], [0.5, 1.0])
        assert row == pytest.approx([again.aurc, again.excess, *again.risk])


def test_a_stratum_sees_its_own_cases_only():
    error = np.array([0, 0, 0, 1, 1, 1])
    sure = np.array([5.0, 4, 3, 2, 1, np.nan])
    mask = np.array([[1, 1, 1, 1, 1, 0]], dtype=bool)
    draw = PatientDraw(np.arange(6), 50, 1)
    material = Material(counted={"s": selective_counted(draw, error, sure, [])})
    statistic = Statistic(value=lambda parts: parts.counted["s"][:, 0], reason=lambda parts: "none")
    ((estimate,),) = resampled(draw, material, [statistic], masks=mask, method="percentile")
    assert estimate.value == pytest.approx(0.13)
    assert estimate.n == 5


@pytest.mark.parametrize("bad", [([], []), ([1], [np.nan]), ([1, 0], [1.0])])
def test_what_cannot_be_ranked_is_refused(bad):
    with pytest.raises(ValueError, match="confidence"):
        selective(*bad)
    with pytest.raises(ValueError, match="coverage"):
        selective([1], [1.0], [0.0])


def test_the_threshold_is_the_ranked_score():
    assert conformal_rank(200, 0.1) == 181
    assert conformal_rank(9, 0.1) == 9
    assert conformal_threshold(np.arange(1, 201)[::-1], 0.1) == 181.0
    assert conformal_threshold(np.arange(8), 0.1) is None
    assert needed(0.1) == 9
    assert conformal_threshold(np.arange(9), 0.1) == 8.0
    assert prediction_sets([[0.1, 0.9], [0.5, 0.5]], 0.5).tolist() == [[True, False], [True, True]]


def test_a_band_needs_enough_cases():
    with pytest.raises(ValueError, match="too few"):
        coverage_band(8, 10, 0.1)
    with pytest.raises(ValueError, match="too few"):
        coverage_band(20, 0, 0.1)


def test_scores_of_single_cases():
    assert softmax_score([[0.2, 0.8]]) == pytest.approx([0.2])
    assert energy_score([[0.0, 0.0]]) == pytest.approx([-np.log(2.0)])
    assert energy_score([[0.0]]) == pytest.approx([-np.log(2.0)])
    assert energy_score([[1000.0, 0.0]]) == pytest.approx([-1000.0])


def test_distances_follow_the_familiar_cases():
    rng = np.random.default_rng(1)
    fit = rng.normal(size=(400, 2)) * [1.0, 10.0]
    shift = np.array([50.0, 0.0])
    near, far = mahalanobis_score(fit, np.zeros(400), [[0.0, 10.0], [10.0, 0.0]])
    assert near < far
    two = np.r_[fit + shift, fit - shift]
    at_a_mean, between = mahalanobis_score(two, np.repeat([0, 1], 400), [[50.0, 0.0], [0.0, 0.0]])
    assert at_a_mean < 1.0 < between
    assert neighbour_score([[1.0, 0.0], [0.0, 1.0]], [[5.0, 0.0]], neighbours=1) == pytest.approx([0.0])
    assert neighbour_score([[1.0, 0.0], [0.0, 1.0]], [[5.0, 0.0]], neighbours=2) == pytest.approx([np.sqrt(2.0)])
    with pytest.raises(ValueError, match="neighbours"):
        neighbour_score([[1.0, 0.0]], [[1.0, 0.0]], neighbours=2)
    with pytest.raises(ValueError, match="do not vary"):
        mahalanobis_score(np.ones((5, 2)), np.zeros(5), [[1.0, 1.0]])

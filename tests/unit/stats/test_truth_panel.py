"""Reference panels at the edges: ties, unread cases, one reader, agreement, undefined panels, measured references."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats import truth_panel as tp

RNG = np.random.default_rng(3)
TRAIT = RNG.normal(size=60)
VOTES = (TRAIT[:, None] + RNG.normal(0, 0.7, (60, 4)) > 0).astype(float)
SCORE = TRAIT + RNG.normal(0, 0.5, 60)


def test_ties_and_unread_cases():
    votes = np.array([[1, 0], [1, 1], [np.nan, 0], [np.nan, np.nan]])
    reference, known = tp.panel_reference(votes)
    assert known.tolist() == [False, True, True, False]
    assert reference[known].tolist() == [1, 0]
    assert tp.panel_reference(votes, ties="positive")[0][0] == 1
    assert tp.panel_reference(votes, ties="negative")[0][0] == 0
    assert tp.panel_reference([[1.0, 2.0, np.nan]], rule="mean")[0][0] == 1.5


def test_readers_who_agree_add_nothing():
    votes = np.repeat(VOTES[:, :1], 5, axis=1)
    r = tp.truth_panel(votes, tp.auroc_to(SCORE), replicates=100)
    assert r.sd_panel == 0
    assert "same value" in r.panel_only.interval_undefined
    assert r.sd_both == pytest.approx(r.sd_cases)
    assert len(set(r.each_reader)) == 1


def test_disagreement_widens_the_interval():
    noisy = np.where(RNG.random((60, 4)) < 0.35, 1 - VOTES, VOTES)
    r = tp.truth_panel(noisy, tp.auroc_to(SCORE), ties="negative", replicates=300)
    assert r.sd_both > r.sd_cases
    assert r.panel_only.low < r.panel_only.high
    assert r.estimate.low < r.estimate.value < r.estimate.high
    assert r.estimate.replicates == 300


def test_one_reader_has_no_panel_variability():
    r = tp.truth_panel(VOTES[:, :1], tp.auroc_to(SCORE), replicates=50)
    assert "one reader" in r.panel_only.interval_undefined
    assert r.sd_panel is None
    assert r.without_reader == (None,)


def test_undefined_against_the_panel():
    r = tp.truth_panel(np.zeros((10, 3)), tp.auroc_to(np.arange(10)), replicates=20)
    assert "full panel" in r.estimate.undefined
    assert r.each_reader == (None, None, None)
    tied = tp.truth_panel(np.tile([0.0, 1.0], (10, 1)), tp.auroc_to(np.arange(10)), replicates=20)
    assert tied.n_unresolved == 10
    assert tp.truth_panel(np.zeros((0, 3)), tp.auroc_to([]), replicates=5).estimate.undefined == "no cases"


def test_panels_for_which_it_is_undefined_are_counted():
    votes = np.zeros((12, 3))
    votes[:3, :2] = 1
    r = tp.truth_panel(votes, tp.sensitivity_to(np.arange(12) < 2), replicates=50)
    assert r.panel_only.replicates_undefined > 0
    assert "of panels" in r.panel_only.interval_undefined


def test_many_readers_are_drawn_instead_of_counted():
    votes = np.tile(VOTES, (1, 2)) if VOTES.shape[1] == 4 else VOTES
    r = tp.truth_panel(np.where(RNG.random(votes.shape) < 0.2, 1 - votes, votes), tp.auroc_to(SCORE), replicates=100)
    assert r.panel_only.replicates == 100
    assert "B=100" in r.panel_only.method


def test_reproducible_and_readers_drawn_apart_from_patients():
    a = tp.truth_panel(VOTES, tp.auroc_to(SCORE), replicates=60, seed=5)
    b = tp.truth_panel(VOTES, tp.auroc_to(SCORE), replicates=60, seed=5)
    assert a == b
    assert a != tp.truth_panel(VOTES, tp.auroc_to(SCORE), replicates=60, seed=6)


def test_a_measured_reference():
    readings = TRAIT[:, None] + RNG.normal(0, 0.3, (60, 3)) + np.array([0.0, 0.2, -0.2])
    r = tp.truth_panel(readings, tp.mean_difference_to(TRAIT + 1), rule="mean", replicates=100)
    assert r.estimate.value == pytest.approx(1, abs=0.1)
    assert r.sd_panel > r.sd_cases


def test_patients_are_the_resampling_unit():
    double = np.repeat(np.arange(60), 2)
    once = tp.truth_panel(VOTES, tp.auroc_to(SCORE), replicates=40, ties="positive")
    twice = tp.truth_panel(VOTES[double], tp.auroc_to(SCORE[double]), patient=double, replicates=40, ties="positive")
    assert (twice.estimate.low, twice.estimate.high) == pytest.approx((once.estimate.low, once.estimate.high))
    assert twice.estimate.n_patients == 60


def test_faults_are_named():
    with pytest.raises(ValueError, match="votes are 0, 1 or missing"):
        tp.panel_reference([[2.0, 1.0]])
    with pytest.raises(ValueError, match="rule is"):
        tp.panel_reference([[1.0]], rule="median")
    with pytest.raises(ValueError, match="ties is one of"):
        tp.panel_reference([[1.0]], ties="coin")
    with pytest.raises(ValueError, match="shape"):
        tp.panel_reference([1.0, 0.0])

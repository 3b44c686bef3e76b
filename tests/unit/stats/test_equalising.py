"""Rules that treat groups alike: hulls by hand, sensitivities reached, fairlearn as a second opinion."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from evalsuite.stats.equalising import for_odds, for_sensitivity, roc_hull


def sample(seed: int, n: int = 400):
    rng = np.random.default_rng(seed)
    y = rng.random(n) < 0.5
    group = rng.choice(["a", "b"], size=n)
    return 1 / (1 + np.exp(-(rng.normal(size=n) + y * np.where(group == "a", 2.0, 1.0)))), y, group


def test_the_highest_threshold_that_reaches_the_goal():
    score, positive = [0.9, 0.8, 0.7, 0.6, 0.95, 0.1], [True, True, True, True, False, False]
    for goal, threshold in ((1.0, 0.6), (0.75, 0.7), (0.74, 0.7), (0.25, 0.9)):
        rule = for_sensitivity(score, positive, goal)
        assert rule is not None
        assert rule.threshold == threshold
    none = for_sensitivity(score, positive, 0.0)
    assert none is not None
    assert none.chance(score).tolist() == [0, 0, 0, 0, 1, 0]  # above every positive; the negative above stays called


def test_without_positives_there_is_no_such_threshold():
    assert for_sensitivity([0.1, 0.2], [False, False], 0.8) is None
    assert roc_hull([0.1, 0.2], [False, False]) is None
    assert for_odds([([0.1, 0.2], [False, True]), ([0.3], [True])], 0.1) is None


def test_a_hull_by_hand():
    # ROC points (0, .5), (.5, .5), (.5, 1), (1, 1): the second lies below the line from the first to the third.
    hull = roc_hull([0.9, 0.8, 0.7, 0.6], [True, False, True, False])
    assert hull is not None
    assert list(zip(hull.fpr, hull.tpr, strict=True)) == [(0.0, 0.0), (0.0, 0.5), (0.5, 1.0), (1.0, 1.0)]
    assert hull.sensitivity(0.25) == pytest.approx(0.75)


def test_a_rule_has_the_rates_it_was_made_for():
    score, y, _ = sample(1)
    hull = roc_hull(score, y)
    assert hull is not None
    for fpr in (0.0, 0.07, 0.3, 0.62, 1.0):
        for sensitivity in (hull.sensitivity(fpr), 0.5 * (hull.sensitivity(fpr) + fpr)):
            chance = hull.rule(fpr, sensitivity).chance(score)
            assert chance[~y].mean() == pytest.approx(fpr, abs=1e-9)
            assert chance[y].mean() == pytest.approx(sensitivity, abs=1e-9)


def test_equal_odds_are_equal():
    score, y, group = sample(2)
    groups = [(score[group == g], y[group == g]) for g in "ab"]
    found = for_odds(groups, 0.2)
    assert found is not None
    reached, rules = found
    for (s, truth), rule in zip(groups, rules, strict=True):
        assert rule.chance(s)[truth].mean() == pytest.approx(reached, abs=1e-9)
        assert rule.chance(s)[~truth].mean() == pytest.approx(0.2, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_fairlearns_optimiser_reaches_the_same_sensitivity(seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fairlearn = pytest.importorskip("fairlearn.postprocessing", reason="fairlearn is not installed")
        from sklearn.base import BaseEstimator, ClassifierMixin

        class Given(ClassifierMixin, BaseEstimator):
            def fit(self, x, y):
                self.classes_ = np.array([0, 1])
                return self

            def predict_proba(self, x):
                return np.c_[1 - np.asarray(x)[:, 0], np.asarray(x)[:, 0]]

        score, y, group = sample(seed)
        optimiser = fairlearn.ThresholdOptimizer(
            estimator=Given().fit(None, None), constraints="equalized_odds", objective="balanced_accuracy_score",
            prefit=True, grid_size=1000, predict_method="predict_proba",
        )  # fmt: skip
        optimiser.fit(score[:, None], y.astype(int), sensitive_features=group)
        fpr, theirs = float(optimiser._x_best), float(optimiser._y_best)
        their_rules = optimiser.interpolated_thresholder_.interpolation_dict
    found = for_odds([(score[group == g], y[group == g]) for g in "ab"], fpr)
    assert found is not None
    reached, rules = found
    assert reached == pytest.approx(theirs, abs=1e-9)
    for name, rule in zip("ab", rules, strict=True):
        assert rule.ignored == pytest.approx(float(their_rules[name]["p_ignore"]), abs=1e-9)


def test_what_is_no_rate_or_no_score():
    with pytest.raises(ValueError, match="0 to 1"):
        for_sensitivity([0.1], [True], 1.2)
    with pytest.raises(ValueError, match="0 to 1"):
        for_odds([], -0.1)
    with pytest.raises(ValueError, match="finite"):
        roc_hull([np.nan, 0.2], [True, False])

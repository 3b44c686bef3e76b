"""Tests of "more frequent in the group": printed exact figures, exactness under clustering, and the edges."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from evalsuite.stats.excess import EXACT, FLIPPED, PERMUTED, excess_tests, score_tests


def test_the_lady_tasting_tea():
    # Fisher, The Design of Experiments (1935), II: 3 of 4 cups right has p = 17/70, 4 of 4 has p = 1/70.
    event = np.array([1, 1, 1, 1, 0, 0, 0, 0], bool)
    three, four = np.array([1, 1, 1, 0, 1, 0, 0, 0], bool), event
    found = excess_tests(event, np.array([three, four]), np.arange(8))
    assert found.p_value == pytest.approx([17 / 70, 1 / 70], abs=1e-12)
    assert set(found.method) == {EXACT}
    assert score_tests(event, np.array([three, four]), np.arange(8)) == pytest.approx([17 / 70, 1 / 70], abs=1e-12)


def test_dealing_patients_is_the_share_of_all_ways_to_choose_them():
    # Seven patients with one to three cases; the group is three of them. All 35 choices can be counted.
    sizes = [1, 2, 3, 2, 1, 2, 1]
    wrong = [1, 2, 1, 0, 0, 1, 0]
    cluster = np.repeat(np.arange(7), sizes)
    event = np.concatenate([np.arange(n) < k for n, k in zip(sizes, wrong, strict=True)])
    member = np.isin(cluster, [0, 1, 2])
    residual = np.array(wrong) - event.mean() * np.array(sizes)
    seen = residual[:3].sum()
    every = [residual[list(c)].sum() for c in itertools.combinations(range(7), 3)]
    exact = np.mean([x >= seen - 1e-12 for x in every])
    found = excess_tests(event, member[None], cluster, permutations=40_000, seed=5)
    assert found.method == (PERMUTED,)
    assert abs(found.p_value[0] - exact) < 4 * math.sqrt(exact * (1 - exact) / 40_000)


def test_a_group_that_splits_patients_is_tested_by_signs_and_has_a_direction():
    rng = np.random.default_rng(3)
    cluster = np.repeat(np.arange(150), 2)
    member = np.tile([True, False], 150)
    event = rng.random(300) < np.where(member, 0.45, 0.15)
    up = excess_tests(event, member[None], cluster, permutations=999, seed=1)
    down = excess_tests(event, ~member[None], cluster, permutations=999, seed=1)
    assert up.method == (FLIPPED,)
    assert up.p_value[0] < 0.01
    assert down.p_value[0] > 0.99
    assert score_tests(event, np.array([member, ~member]), cluster) == pytest.approx([0.0, 1.0], abs=1e-4)


def test_under_no_effect_each_test_keeps_its_level_with_dependent_cases():
    # 600 simulated sets of 80 patients with two to three correlated cases; 5 % of p-values lie at or below 0.05.
    rng = np.random.default_rng(11)
    cluster = np.repeat(np.arange(80), np.where(np.arange(80) % 2, 2, 3))
    hits = {"patients": 0, "images": 0, "score": 0}
    runs = 600
    for i in range(runs):
        proneness = rng.normal(size=80)[cluster]
        event = proneness + rng.normal(size=len(cluster)) > 1.2
        by_patient = (rng.random(80) < 0.4)[cluster]
        by_image = rng.random(len(cluster)) < 0.4
        p = excess_tests(event, np.array([by_patient, by_image]), cluster, permutations=99, seed=i).p_value
        hits["patients"] += p[0] <= 0.05
        hits["images"] += p[1] <= 0.05
        hits["score"] += score_tests(event, by_patient[None], cluster)[0] <= 0.05
    slack = 3 * math.sqrt(0.05 * 0.95 / runs)
    for name, n in hits.items():
        assert n / runs < 0.05 + slack + (0.01 if name == "score" else 0.0), name


def test_the_same_seed_gives_the_same_figures_whatever_else_is_asked():
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(40), 2)
    event, member = rng.random(80) < 0.3, np.repeat(rng.random(40) < 0.5, 2)
    one = excess_tests(event, member[None], cluster, permutations=199, seed=9).p_value
    two = excess_tests(event, np.array([member, member]), cluster, permutations=199, seed=9).p_value
    assert one[0] == two[0] == two[1]


@pytest.mark.parametrize("event", [np.zeros(6, bool), np.ones(6, bool)])
def test_where_all_or_none_is_wrong_nothing_is_shown(event):
    groups = np.array([[1, 1, 0, 0, 0, 0], [0] * 6, [1] * 6], bool)
    for cluster in (np.arange(6), np.array([0, 0, 1, 1, 2, 2])):
        p = excess_tests(event, groups, cluster, permutations=99).p_value
        assert p[0] == 1.0
        assert np.isnan(p[1:]).all()
        assert score_tests(event, groups, cluster)[0] == 1.0


def test_one_patient_alone_shows_nothing():
    event, cluster = np.array([1, 1, 0, 0], bool), np.zeros(4, int)
    assert excess_tests(event, np.array([[1, 1, 0, 0]], bool), cluster, permutations=99).p_value[0] > 0.3


def test_shapes_must_fit():
    with pytest.raises(ValueError, match="do not fit"):
        excess_tests(np.ones(3, bool), np.ones((1, 4), bool), np.arange(3))

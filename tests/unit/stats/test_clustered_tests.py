"""Tests with several cases per patient: agreement with their intervals, reduction to the plain tests, edges."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.clustered_tests import (
    clustered_goal_test,
    clustered_nam_test,
    clustered_paired_difference,
    clustered_stuart_maxwell,
)
from evalsuite.stats.contingency import stuart_maxwell
from evalsuite.stats.differences import nam_test, paired_counts, paired_difference
from evalsuite.stats.ordinal import grade_table
from evalsuite.stats.proportions import exact_binomial_test

RNG = np.random.default_rng(21)
PATIENT = np.repeat(np.arange(25), RNG.integers(1, 6, 25))
TALENT = RNG.beta(8, 2, 25)[PATIENT]
FIRST = RNG.random(PATIENT.size) < TALENT
SECOND = np.where(RNG.random(PATIENT.size) < 0.7, FIRST, RNG.random(PATIENT.size) < TALENT - 0.1)


@pytest.mark.parametrize("alpha", [0.001, 0.025, 0.1, 0.3])
def test_the_goal_at_a_limit_has_p_alpha(alpha):
    e = clustered_proportion(FIRST, PATIENT, level=1 - 2 * alpha)
    assert clustered_goal_test(FIRST, PATIENT, goal=e.low).p_value == pytest.approx(alpha, rel=1e-6)
    less = clustered_goal_test(FIRST, PATIENT, goal=e.high, alternative="less")
    assert less.p_value == pytest.approx(alpha, rel=1e-6)
    assert less.statistic == FIRST.sum()


@pytest.mark.parametrize("alpha", [0.001, 0.025, 0.1, 0.3])
def test_the_difference_at_a_limit_has_p_alpha(alpha):
    e = clustered_paired_difference(FIRST, SECOND, PATIENT, level=1 - 2 * alpha)
    assert clustered_nam_test(FIRST, SECOND, PATIENT, null=e.low).p_value == pytest.approx(alpha, rel=1e-6)
    got = clustered_nam_test(FIRST, SECOND, PATIENT, null=e.high, alternative="less")
    assert got.p_value == pytest.approx(alpha, rel=1e-6)


def test_one_case_per_patient_is_the_plain_test():
    n = FIRST.size
    own = np.arange(n)
    for alternative in ("greater", "less"):
        got = clustered_goal_test(FIRST, own, goal=0.7, alternative=alternative)
        assert got.p_value == exact_binomial_test(int(FIRST.sum()), n, 0.7, alternative)
        table = paired_counts(FIRST, SECOND)
        assert clustered_nam_test(FIRST, SECOND, own, null=-0.1, alternative=alternative) == nam_test(
            table, null=-0.1, alternative=alternative
        )
    got, want = clustered_paired_difference(FIRST, SECOND, own), paired_difference(table)
    assert (got.value, got.low, got.high, got.method) == (want.value, want.low, want.high, want.method)
    assert (got.n_patients, got.design_effect) == (n, 1.0)


def test_clusters_weaken_the_evidence():
    doubled = np.repeat(np.arange(FIRST.size), 3)
    first, second = np.repeat(FIRST, 3), np.repeat(SECOND, 3)
    tripled = clustered_paired_difference(first, second, doubled)
    plain = clustered_paired_difference(FIRST, SECOND, np.arange(FIRST.size))
    # Copies of every case say nothing new (but for m / (m - 1) and the t quantiles).
    assert (tripled.low, tripled.high) == pytest.approx((plain.low, plain.high), abs=5e-3)
    assert tripled.design_effect == pytest.approx(3, rel=0.05)
    copies = clustered_goal_test(first, doubled, goal=0.6)
    once = clustered_goal_test(FIRST, np.arange(FIRST.size), goal=0.6)
    assert copies.p_value == pytest.approx(once.p_value, rel=0.5)
    assert copies.p_value > exact_binomial_test(int(first.sum()), first.size, 0.6, "greater") * 10


def test_all_right_counts_patients():
    y, c = np.ones(29, bool), np.arange(29) % 10
    assert clustered_goal_test(y, c, goal=0.8).p_value == pytest.approx(0.8**10)
    assert clustered_goal_test(~y, c, goal=0.8).p_value == 1.0
    assert clustered_goal_test(~y, c, goal=0.2, alternative="less").p_value == pytest.approx(0.8**10)
    e = clustered_paired_difference(y, y, c)
    assert e.value == 0.0
    assert e.high == pytest.approx(1.959964**2 / (10 + 1.959964**2), abs=1e-6)
    assert e.low == -e.high
    assert clustered_nam_test(y, y, c).undefined == "no discordant pairs"
    assert clustered_nam_test(y, y, c, null=-0.5).p_value < 0.025
    assert clustered_paired_difference(y, ~y, c).value == 1.0
    assert clustered_paired_difference(y, ~y, c).low < 1.0


def test_overwhelming_evidence_stays_above_zero():
    y, c = np.ones(4000, bool), np.arange(4000) // 2
    y[:3] = False
    assert clustered_goal_test(y, c, goal=0.5).p_value == 1e-15
    assert clustered_goal_test(y, c, goal=0.9999).p_value > 0.5


def test_one_patient_and_none():
    assert clustered_goal_test([1, 0], [3, 3], goal=0.5).undefined == "all cases come from one patient"
    assert clustered_goal_test([], [], goal=0.5).undefined == "no cases"
    e = clustered_paired_difference([1, 0], [0, 0], [3, 3])
    assert e.value == 0.5
    assert "one patient" in e.interval_undefined
    assert clustered_nam_test([1, 0], [0, 0], [3, 3]).undefined == "all cases come from one patient"
    assert clustered_paired_difference([], [], []).undefined == "no cases"
    assert clustered_nam_test([], [], []).undefined == "no cases"


def test_refusals():
    with pytest.raises(ValueError, match="alternative"):
        clustered_goal_test([1, 0], [1, 2], goal=0.5, alternative="two-sided")
    with pytest.raises(ValueError, match="goal"):
        clustered_goal_test([1, 0], [1, 2], goal=1.5)
    with pytest.raises(ValueError, match="null"):
        clustered_nam_test([1, 0, 1], [0, 0, 1], [1, 1, 2], null=1.0)
    with pytest.raises(ValueError, match="shape"):
        clustered_paired_difference([1, 0], [1, 1], [1])


def test_the_paired_interval_covers_in_simulation():
    rng = np.random.default_rng(5)
    reps, held, truth = 1500, 0, 0.1
    for _ in range(reps):
        index = np.repeat(np.arange(30), rng.integers(1, 5, 30))
        base = rng.beta(4, 1, 30)[index] * 0.85
        first = rng.random(index.size) < base + truth
        second = rng.random(index.size) < base
        e = clustered_paired_difference(first, second, index)
        held += e.low <= truth <= e.high
    assert held / reps > 0.935 - 3 * math.sqrt(0.05 * 0.95 / reps)


def _grades(seed: int, n: int = 80) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 4, n)
    return a, np.where(rng.random(n) < 0.6, a, rng.integers(0, 4, n))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_stuart_maxwell_with_one_case_per_patient_is_the_plain_test(seed):
    a, b = _grades(seed)
    plain = stuart_maxwell(grade_table(a, b, 4))
    got = clustered_stuart_maxwell(a, b, np.arange(a.size), 4)
    assert got.statistic == pytest.approx(plain.statistic, rel=1e-10)
    assert got.p_value == pytest.approx(plain.p_value, rel=1e-10)
    assert got.method == "Stuart-Maxwell, 3 df"


def test_stuart_maxwell_of_two_categories_is_durkalskis_test():
    # Durkalski et al. 2003: (sum of b - c)² / sum of (b - c)² over patients, b and c the patient's discordant cases.
    gap = np.bincount(PATIENT, FIRST.astype(float) - SECOND)
    got = clustered_stuart_maxwell(FIRST, SECOND, PATIENT, 2)
    assert got.statistic == pytest.approx(gap.sum() ** 2 / (gap**2).sum())
    assert got.method == "Stuart-Maxwell, patients as clusters, 1 df"


def test_stuart_maxwell_of_copied_cases_says_no_more_than_of_the_cases():
    a, b = _grades(4)
    once = clustered_stuart_maxwell(a, b, np.arange(a.size), 4)
    thrice = clustered_stuart_maxwell(np.tile(a, 3), np.tile(b, 3), np.tile(np.arange(a.size), 3), 4)
    assert thrice.statistic == pytest.approx(once.statistic)


def test_stuart_maxwell_edges_with_clusters():
    same = clustered_stuart_maxwell([0, 1, 2, 2], [0, 1, 2, 2], [0, 0, 1, 1], 3)
    assert same.undefined == "no discordant pairs"
    one = clustered_stuart_maxwell([0, 1, 2, 2], [1, 1, 2, 2], [0, 0, 1, 1], 3)
    assert "only 1 patients" in str(one.undefined)
    assert clustered_stuart_maxwell([], [], [], 3).undefined == "no discordant pairs"
    with pytest.raises(ValueError, match="0 to 2"):
        clustered_stuart_maxwell([3], [0], [0], 3)
    with pytest.raises(ValueError, match="shapes"):
        clustered_stuart_maxwell([1, 2], [0], [0, 1], 3)

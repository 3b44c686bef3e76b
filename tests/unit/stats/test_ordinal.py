"""Ordered grades: edges and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evalsuite.stats.ordinal import (
    grade_agreement,
    grade_table,
    gwet_ac,
    kendall_tau_b,
    ranked_probability_score,
    vus,
    weighted_kappa,
)


def test_grade_table():
    assert grade_table([0, 1, 2, 2], [0, 1, 1, 2], 3).tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    assert grade_table([], [], 2).sum() == 0
    assert grade_table(np.array([0.0, 1.0]), [1, 0], 2).tolist() == [[0, 1], [1, 0]]
    for bad in ([0, 3], [0, -1], [0, 0.5], [[0, 1]]):
        with pytest.raises(ValueError, match="grade"):
            grade_table(bad, [0, 1], 3)
    with pytest.raises(ValueError, match="one grade per case"):
        grade_table([0, 1], [0], 3)
    with pytest.raises(ValueError, match="at least 2"):
        grade_table([0], [0], 1)


def test_weighted_kappa_edges():
    assert weighted_kappa([], [], 3).undefined == "no cases"
    assert "one category" in weighted_kappa([1, 1], [1, 1], 3).undefined
    perfect = weighted_kappa([0, 1, 2] * 10, [0, 1, 2] * 10, 3, n_patients=4)
    assert perfect.value == perfect.high == 1.0
    assert 0.5 < perfect.low < 1.0
    assert perfect.n_patients == 4


def test_grade_agreement():
    e = grade_agreement([0, 1, 2, 4], [0, 2, 2, 2])
    assert (e.numerator, e.denominator) == (2, 4)
    assert grade_agreement([0, 1, 2, 4], [0, 2, 2, 2], within=1).numerator == 3
    assert grade_agreement([], []).undefined is not None
    assert grade_agreement([0, 1], [0, 1], patient=[3, 3]).interval_undefined is not None
    with pytest.raises(ValueError, match="within"):
        grade_agreement([0], [0], within=-1)
    with pytest.raises(ValueError, match="shapes"):
        grade_agreement([0, 1], [0])


def test_gwet_edges():
    assert gwet_ac([[1, 0], [0, 0]]).undefined == "fewer than 2 cases"
    perfect = gwet_ac([[10, 0], [0, 5]])
    assert perfect.value == 1.0
    assert "complete agreement" in perfect.interval_undefined
    # One category only: kappa does not exist, AC1 does.
    assert gwet_ac([[10, 0], [0, 0]], weights="none").value == 1.0
    assert gwet_ac([[90, 2], [3, 5]], weights="none").low > 0.8
    with pytest.raises(ValueError, match="weights"):
        gwet_ac([[1, 2], [3, 4]], weights="cubic")


def test_a_gwet_coefficient_below_minus_one_lies_in_its_interval():
    table = np.zeros((4, 4))
    table[0, 2] = table[1, 3] = table[2, 0] = 1
    table[3, 0] = 2
    e = gwet_ac(table)
    assert e.low < e.value < -1.0 < e.high


def test_tau_b_edges():
    assert kendall_tau_b([[0, 0], [0, 0]]).undefined == "no cases"
    assert "same grade" in kendall_tau_b([[3, 4], [0, 0]]).undefined
    perfect = kendall_tau_b([[3, 0], [0, 4]])
    assert perfect.value == 1.0
    assert perfect.interval_undefined is not None
    assert kendall_tau_b([[0, 3], [4, 0]]).value == -1.0
    oblong = kendall_tau_b([[5, 3, 1], [1, 3, 6]])
    assert oblong.low < oblong.value < oblong.high
    for bad in ([1, 2], [[0.5]], [[-1]], [[math.nan]]):
        with pytest.raises(ValueError, match="table"):
            kendall_tau_b(bad)


def test_vus_edges():
    assert vus([1.0, 2.0], [0, 1]).undefined == "no cases of grade 2"
    assert vus([], []).undefined == "no cases of grade 0"
    single = vus([1.0, 2, 3, 4], [0, 1, 2, 2])
    assert single.value == 1.0
    assert single.interval_undefined == "a grade has a single case"
    perfect = vus([1.0, 2, 3, 4, 5, 6], [0, 0, 1, 1, 2, 2])
    assert perfect.value == 1.0
    assert perfect.interval_undefined == "the variance is 0"
    assert vus(np.ones(9), np.arange(9) % 3).value == pytest.approx(1 / 6)
    infinite = vus([-math.inf, 0, 1, 2, 1.5, math.inf], [0, 0, 1, 1, 2, 2])
    assert infinite.low < infinite.value < infinite.high
    with pytest.raises(ValueError, match="numbers"):
        vus([math.nan], [0])
    with pytest.raises(ValueError, match="shapes"):
        vus([1.0, 2.0], [0])


def test_reversing_scores_and_grades_changes_nothing():
    rng = np.random.default_rng(1)
    g = rng.integers(0, 3, 50)
    s = np.round(rng.normal(size=50) + g, 1)
    a, b = vus(s, g), vus(-s, 2 - g)
    assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high))


def test_ranked_probability_score_edges():
    assert ranked_probability_score(np.zeros((0, 3)), []).undefined == "no cases"
    one = ranked_probability_score([[0.5, 0.5]], [1])
    assert one.interval_undefined == "one case"
    perfect = ranked_probability_score([[1.0, 0], [0, 1]], [0, 1])
    assert perfect.value == 0.0
    assert "no variation" in perfect.interval_undefined
    worst = ranked_probability_score([[1.0, 0, 0], [0, 0, 1]], [2, 0])
    assert worst.value == 1.0
    assert ranked_probability_score([[1.0, 0, 0], [0, 0, 1]], [2, 0], normalised=False).value == 2.0
    clustered = ranked_probability_score(
        np.tile([[0.7, 0.3], [0.2, 0.8]], (4, 1)), [0, 0] * 4, patient=[1, 1, 2, 2, 3, 3, 4, 5]
    )
    assert "clusters" in clustered.method
    assert clustered.n_patients == 5
    for bad in ([[0.5, 0.6]], [[-0.1, 1.1]], [[math.nan, 1]], [0.5]):
        with pytest.raises(ValueError, match="probability"):
            ranked_probability_score(bad, [0])
    with pytest.raises(ValueError, match="one row"):
        ranked_probability_score([[0.5, 0.5]], [0, 1])

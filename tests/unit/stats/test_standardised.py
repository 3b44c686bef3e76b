"""Groups at the same case mix: the known answer, peers' regressions, clusters, and where nothing can be compared."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats.group_figures import share_figure
from evalsuite.stats.group_gaps import gap
from evalsuite.stats.proportions import wilson
from evalsuite.stats.standardised import (
    APART,
    dummies,
    matched_mix,
    odds_ratio,
    overlap_weighted,
    standard_of,
    standardised_difference,
    standardised_share,
)


def group(mild: int, severe: int, found_mild: int, found_severe: int):
    """Outcomes and cells (0 mild, 1 severe)."""
    outcome = np.concatenate([np.arange(mild) < found_mild, np.arange(severe) < found_severe])
    return outcome, np.repeat([0, 1], [mild, severe])


MORE_SEVERE, MORE_MILD = group(300, 700, 180, 665), group(700, 300, 420, 285)


def test_the_known_answer_of_a_gap_that_is_all_case_mix():
    """Mild .6, severe .95; mix 30/70 against 70/30: .845 and .705 crude, gap 0 standardised (analyses.md)."""
    (y1, c1), (y2, c2) = MORE_SEVERE, MORE_MILD
    assert (y1.mean(), y2.mean()) == (0.845, 0.705)
    standard, covered = standard_of(np.concatenate([c1, c2]), c1, c2, 2)
    assert covered == 1.0
    figures = [standardised_share(y, c, np.arange(1000), standard) for y, c in (MORE_SEVERE, MORE_MILD)]
    e = gap(*figures)
    assert e.value == pytest.approx(0.0, abs=1e-12)
    assert e.low < 0.0 < e.high
    # .775 x .225 over the variance within cells; Kish's number of 300 cases at 5/3 and 700 at 5/7 is 840.
    assert figures[0].effective_n == pytest.approx(0.775 * 0.225 / (0.25 * (0.24 / 299 + 0.0475 / 699)))


def test_at_its_own_case_mix_a_group_is_as_it_is():
    y, c = MORE_SEVERE
    f = standardised_share(y, c, np.arange(1000), np.array([0.3, 0.7]))
    assert f.value == pytest.approx(0.845)
    assert f.limits(0.95) == pytest.approx(wilson(845, 1000, 0.95), abs=1e-12)


def test_a_real_gap_stays_when_standardised():
    (y1, c1), (y2, c2) = MORE_SEVERE, group(700, 300, 350, 255)  # .5 and .85
    standard, _ = standard_of(np.concatenate([c1, c2]), c1, c2, 2)
    e = gap(*(standardised_share(y, c, np.arange(1000), standard) for y, c in ((y1, c1), (y2, c2))))
    assert e.value == pytest.approx(0.1)
    assert e.low > 0.0


def test_the_interval_covers_as_often_as_it_says_also_with_small_cells():
    rng = np.random.default_rng(6)
    truth = np.array([0.5, 0.8, 0.95])
    standard = np.array([0.3, 0.4, 0.3])
    cell = np.repeat([0, 1, 2], [6, 30, 64])
    hits = 0
    for _ in range(600):
        f = standardised_share(rng.random(100) < truth[cell], cell, np.arange(100), standard)
        low, high = f.limits(0.95)
        hits += low <= standard @ truth <= high
    assert hits / 600 > 0.93


def test_cases_of_one_patient_do_not_count_twice():
    y, c = MORE_SEVERE
    once = standardised_share(y, c, np.arange(1000), np.array([0.5, 0.5]))
    twice = standardised_share(np.repeat(y, 2), np.repeat(c, 2), np.repeat(np.arange(1000), 2), np.array([0.5, 0.5]))
    assert twice.value == pytest.approx(once.value)
    assert twice.effective_n == pytest.approx(binomial_over_variance(y, c), rel=0.01)


def binomial_over_variance(y, c):
    p = [y[c == k].mean() for k in (0, 1)]
    variance = sum(0.25 * q * (1 - q) / (c == k).sum() for k, q in enumerate(p))
    value = np.mean(p)
    return value * (1 - value) / variance


def test_cells_that_one_side_lacks_are_left_out_and_counted():
    cell = np.repeat([0, 1, 2], [50, 30, 20])
    standard, covered = standard_of(cell, np.array([0, 0, 1]), np.array([0, 1, 2]), 3)
    assert standard == pytest.approx([0.625, 0.375, 0.0])
    assert covered == pytest.approx(0.8)
    nothing, none = standard_of(cell, np.array([0]), np.array([2]), 3)
    assert not nothing.any()
    assert none == 0.0


def test_a_crude_odds_ratio_is_that_of_the_table():
    success, in_group = np.repeat([1, 0, 1, 0], [30, 20, 40, 10]) == 1, np.repeat([1, 1, 0, 0], [30, 20, 40, 10]) == 1
    e = odds_ratio(success, in_group, np.arange(100), [])
    assert e.value == pytest.approx((30 / 20) / (40 / 10))


def test_levels_where_every_case_has_one_outcome_are_left_out_and_said():
    success = np.concatenate([np.arange(60) % 3 > 0, np.ones(20, dtype=bool)])
    in_group, severity = np.arange(80) % 2 == 0, np.repeat([0, 1, 2], [30, 30, 20])
    e = odds_ratio(success, in_group, np.arange(80), [severity])
    within = odds_ratio(success[:60], in_group[:60], np.arange(60), [severity[:60]])
    assert (e.value, e.low, e.n) == (within.value, within.low, 60)
    assert "20 cases at levels with one outcome left out" in e.method


def test_overlap_weights_balance_the_case_mix_exactly():
    rng = np.random.default_rng(3)
    severity = rng.integers(0, 3, 400)
    in_group = rng.random(400) < np.array([0.2, 0.5, 0.8])[severity]
    x = dummies([severity], 400)
    design = np.hstack([np.ones((400, 1)), x])
    from scipy.special import expit

    from evalsuite.stats._logistic import fit_logistic

    chance = expit(design @ fit_logistic(in_group, design, np.zeros(400)).coefficients)
    first, second = 1 - chance[in_group], chance[~in_group]
    assert first @ x[in_group] / first.sum() == pytest.approx(second @ x[~in_group] / second.sum(), abs=1e-9)
    success = rng.random(400) < np.array([0.6, 0.75, 0.9])[severity]
    a, b = overlap_weighted(success, in_group, np.arange(400), [severity])
    assert a.value == pytest.approx(float(first @ success[in_group]) / first.sum())
    crude = gap(
        share_figure(success[in_group], np.arange(in_group.sum())),
        share_figure(success[~in_group], np.arange(400 - in_group.sum())),
    )
    assert abs(gap(a, b).value) < abs(crude.value)


def test_what_tells_the_groups_apart_cannot_be_adjusted_for():
    severity = np.repeat([0, 1], 50)
    success = np.arange(100) % 3 == 0
    assert overlap_weighted(success, severity == 0, np.arange(100), [severity]) == APART
    e = odds_ratio(success, severity == 0, np.arange(100), [severity])
    assert e.value is None


@pytest.mark.parametrize(("p", "q", "expected"), [(0.5, 0.5, 0.0), (0.6, 0.4, 0.2 / 0.24**0.5), (1.0, 0.0, None)])
def test_standardised_differences(p, q, expected):
    a, b = np.arange(10) < 10 * p, np.arange(10) < 10 * q
    assert standardised_difference(a, b) == (expected if expected is None else pytest.approx(expected))


def test_matching_is_the_average_of_all_pairings():
    """Oracle: 4,000 random one-to-one matchings within cells, drawn and averaged here."""
    rng = np.random.default_rng(3)
    c1, c2 = rng.integers(0, 3, 60), rng.integers(0, 4, 90)
    y1, y2 = rng.random(60) < 0.5 + 0.1 * c1, rng.random(90) < 0.4 + 0.1 * c2
    mix, pairs = matched_mix(c1, c2, 4)
    gaps = []
    for _ in range(4000):
        drawn = []
        for k in range(3):
            a, b = np.flatnonzero(c1 == k), np.flatnonzero(c2 == k)
            m = min(a.size, b.size)
            drawn.append((y1[rng.permutation(a)[:m]], y2[rng.permutation(b)[:m]]))
        gaps.append(np.concatenate([d[0] for d in drawn]).mean() - np.concatenate([d[1] for d in drawn]).mean())
    found = gap(standardised_share(y1, c1, np.arange(60), mix), standardised_share(y2, c2, np.arange(90), mix))
    assert pairs == sum(min((c1 == k).sum(), (c2 == k).sum()) for k in range(3))
    # Three standard errors of the mean of the matchings.
    assert found.value == pytest.approx(np.mean(gaps), abs=3 * np.std(gaps) / np.sqrt(4000))


def test_no_pair_no_mix():
    mix, pairs = matched_mix(np.array([0, 0]), np.array([1]), 2)
    assert pairs == 0
    assert not mix.any()


def test_a_confounded_gap_vanishes_when_matched():
    (y1, c1), (y2, c2) = MORE_SEVERE, group(700, 300, 420, 285)  # .6 and .95 again, at 70 to 30
    mix, pairs = matched_mix(c1, c2, 2)
    e = gap(*(standardised_share(y, c, np.arange(1000), mix) for y, c in ((y1, c1), (y2, c2))))
    assert pairs == 600
    assert e.value == pytest.approx(0.0, abs=1e-12)

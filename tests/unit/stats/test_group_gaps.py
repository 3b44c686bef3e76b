"""Gaps between groups: printed figures, peers' figures, patients in both groups, and what chance alone does."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.differences import difference, mover_difference
from evalsuite.stats.group_figures import auroc_figure, mean_figure, recalibration_figure, share_figure
from evalsuite.stats.group_gaps import (
    correlation,
    detectable_gap,
    gap,
    gap_p,
    holm_levels,
    largest_gap,
    omnibus,
    under_equality,
)
from evalsuite.stats.multiplicity import adjust_p
from evalsuite.stats.planning import minimal_detectable_gap
from evalsuite.stats.roc_compare import unpaired_auroc_difference


def share(x: int, n: int):
    return share_figure(np.arange(n) < x, np.arange(n))


def test_a_gap_of_shares_is_the_one_newcombe_printed():
    # Newcombe, Stat Med 17:873-890 (1998), table II, method 10, example (a)
    e = gap(share(56, 70), share(48, 80))
    assert (e.value, e.low, e.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert e.method == "Newcombe hybrid score"
    assert (e.n, e.n_patients) == (150, 150)


@pytest.mark.parametrize(("x1", "n1", "x2", "n2"), [(9, 10, 3, 10), (5, 56, 0, 29), (10, 10, 0, 20), (10, 10, 0, 10)])
def test_a_gap_of_shares_is_that_of_the_differences_module(x1, n1, x2, n2):
    e, other = gap(share(x1, n1), share(x2, n2)), difference(x1, n1, x2, n2)
    assert (e.value, e.low, e.high) == pytest.approx((other.value, other.low, other.high), abs=1e-12)


def test_several_cases_per_patient_are_counted_as_patients():
    rng = np.random.default_rng(1)
    cluster = rng.integers(0, 40, 150)
    success = rng.random(150) < np.where(cluster % 2 == 0, 0.9, 0.5)
    first, second = (np.isin(cluster % 4, c) for c in ((0, 1), (2, 3)))
    e = gap(*(share_figure(success[m], cluster[m]) for m in (first, second)))
    own = [clustered_proportion(success[m], cluster[m], method="wilson") for m in (first, second)]
    expected = mover_difference(*own)
    assert (e.low, e.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_areas_are_compared_as_delong_compares_two_samples():
    rng = np.random.default_rng(3)
    truth = rng.random(160) < 0.5
    score = rng.normal(size=160) + truth
    halves = np.arange(160) < 70
    e = gap(*(auroc_figure(truth[m], score[m], np.flatnonzero(m)) for m in (halves, ~halves)))
    expected = unpaired_auroc_difference((truth[halves], score[halves]), (truth[~halves], score[~halves])).estimate
    assert (e.value, e.low, e.high) == pytest.approx((expected.value, expected.low, expected.high), abs=1e-12)


def test_a_perfect_area_still_has_a_gap_with_a_width():
    perfect = auroc_figure(np.arange(20) < 10, -np.arange(20.0), np.arange(20))
    other = auroc_figure(np.arange(20) % 2 == 0, -np.arange(20.0), np.arange(20))
    e = gap(perfect, other)
    assert e.low is not None
    assert e.low < e.value < e.high


def test_patients_with_cases_in_both_groups_narrow_the_gap_as_a_paired_study_would():
    """200 patients with one case in each group and nearly the same outcome in both: almost paired."""
    rng = np.random.default_rng(5)
    outcome = rng.random(200) < 0.7
    other = outcome ^ (rng.random(200) < 0.05)
    patient = np.arange(200)
    known = [share_figure(s, patient, among_all=200) for s in (outcome, other)]
    ignored = [share_figure(s, patient) for s in (outcome, other)]
    assert correlation(*known) == pytest.approx(np.corrcoef(outcome, other)[0, 1], abs=1e-12)
    assert correlation(*ignored) == 0.0
    e, naive = gap(*known), gap(*ignored)
    assert e.high - e.low < 0.6 * (naive.high - naive.low)
    assert "patients with cases in both" in e.method
    assert e.n_patients is None


def test_influences_give_the_correlation_that_resampling_patients_shows():
    """Brier score, AUROC and calibration intercept of two groups that share half of their patients."""
    rng = np.random.default_rng(11)
    n, people = 900, 200
    patient = rng.integers(0, people, n)
    ability = rng.normal(size=people)[patient]
    truth = rng.random(n) < 0.5
    logit = 1.2 * (truth - 0.5) + 0.5 * rng.normal(size=n) + 0.8 * ability
    p = 1 / (1 + np.exp(-logit))
    group = rng.random(n) < np.where(patient < 100, 0.5, patient % 2)

    def figures(cases):
        made = []
        for m in (group, ~group):
            c = cases[m[cases]]
            made.append(
                (
                    mean_figure((p[c] - truth[c]) ** 2, patient[c], bounds=(-1, 1), among_all=people),
                    auroc_figure(truth[c], p[c], patient[c], among_all=people),
                    recalibration_figure(truth[c], p[c], patient[c], slope=False, among_all=people),
                )
            )
        return made

    first, second = figures(np.arange(n))
    by_patient = [np.flatnonzero(patient == i) for i in range(people)]
    drawn = np.array(
        [
            [[f.value for f in side] for side in figures(np.concatenate([by_patient[i] for i in who]))]
            for who in rng.integers(0, people, (400, people))
        ]
    )
    for k in range(3):
        seen = np.corrcoef(drawn[:, 0, k], drawn[:, 1, k])[0, 1]
        assert correlation(first[k], second[k]) == pytest.approx(seen, abs=0.15)
        assert first[k].standard_error == pytest.approx(drawn[:, 0, k].std(), rel=0.15)


@pytest.mark.parametrize("counts", [((56, 70), (48, 80)), ((30, 30), (20, 30)), ((5, 50), (6, 50))])
def test_the_p_value_is_where_the_interval_touches_zero(counts):
    first, second = (share(*c) for c in counts)
    z, p = gap_p(first, second)
    e = gap(first, second, level=1 - p)
    touching = e.low if e.value > 0 else e.high
    assert touching == pytest.approx(0.0, abs=1e-7)
    assert np.sign(z) == np.sign(e.value)


def test_no_gap_has_p_one_and_one_patient_has_no_interval():
    assert gap_p(share(5, 10), share(10, 20)) == (0.0, 1.0)
    alone = share_figure(np.array([True, False, True]), np.zeros(3, dtype=int))
    e = gap(alone, share(5, 10))
    assert e.low is None
    assert "one patient" in e.interval_undefined
    assert gap_p(alone, share(5, 10)) == (None, None)


def test_holm_levels_leave_out_zero_exactly_where_holm_rejects():
    rng = np.random.default_rng(2)
    for _ in range(200):
        p = list(rng.random(5) ** 3)
        levels = holm_levels(p, 0.05)
        assert [a >= v for a, v in zip(levels, p, strict=True)] == list(adjust_p(p, "holm") <= 0.05)


def test_the_test_of_all_groups_is_pearsons():
    groups = [(25, 30), (80, 100), (150, 200), (90, 100)]
    t = omnibus([share(*g) for g in groups], name="all")
    expected = chi2_contingency([[x for x, _ in groups], [n - x for x, n in groups]], correction=False)
    assert (t.statistic, t.p_value) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)


def test_cases_counted_twice_do_not_make_the_test_of_all_groups_surer():
    groups = [(25, 30), (80, 100), (150, 200), (90, 100)]
    twice = [share_figure(np.repeat(np.arange(n) < x, 2), np.repeat(np.arange(n), 2)) for x, n in groups]
    once, doubled = omnibus([share(*g) for g in groups], name="all"), omnibus(twice, name="all")
    assert doubled.statistic == pytest.approx(once.statistic, rel=0.06)
    assert "effective" in doubled.method


def test_the_smallest_gap_that_could_be_found():
    """analyses.md: a reference of 1,000 positives at 0.85, 80 % power, two-sided 5 %."""
    reference = share(850, 1000)
    found = {n: detectable_gap(reference, share(round(0.8 * n), n)) for n in (30, 100)}
    assert found == pytest.approx({30: 0.206, 100: 0.114}, abs=1e-3)
    # Larger groups by the normal approximation, checked against the exact power; and a reference without end.
    assert detectable_gap(reference, share(400, 500)) == pytest.approx(0.059, abs=1e-3)
    exact = minimal_detectable_gap(1000, 0.85, 620)
    assert detectable_gap(reference, share(480, 620)) == pytest.approx(exact, rel=0.015)
    few = detectable_gap(share(85_000, 100_000), share(80, 100))
    assert few == pytest.approx(minimal_detectable_gap(4_000, 0.85, 100), rel=0.03)


def test_chance_alone_makes_a_largest_gap_that_is_never_zero():
    groups = [share(80, 100) for _ in range(6)]
    chance = under_equality(groups, seed=(1,))
    # Range of six normal values: 2.534 standard deviations of 0.04 (David, Order Statistics, table).
    assert chance.spread[0] == pytest.approx(2.534 * 0.04, rel=0.03)
    assert chance.p_spread == 1.0
    assert chance.lowest[0] == pytest.approx(-1.267 * 0.04, rel=0.04)
    again = under_equality(groups, seed=(1,))
    assert (again.spread, again.lowest) == (chance.spread, chance.lowest)


def test_chance_alone_with_several_cases_per_patient_is_wider():
    rng = np.random.default_rng(4)
    made = []
    for _ in range(4):
        good = rng.random(60) < 0.8
        made.append(share_figure(np.repeat(good, 4), np.repeat(np.arange(60), 4)))
    chance = under_equality(made, seed=(3,))
    as_cases = 2.059 * np.sqrt(0.8 * 0.2 / 240)
    assert chance.spread[0] > 1.6 * as_cases


def test_the_interval_of_a_largest_gap_may_hold_zero_where_resampling_cannot():
    """statistics.md: with 3 to 8 equal groups a percentile interval of max - min covers 0 in 0 to 2.5 % of samples."""
    rng = np.random.default_rng(9)
    simultaneous = resampled = 0
    for _ in range(60):
        x = rng.binomial(100, 0.8, 6)
        e = largest_gap([share(int(v), 100) for v in x])
        simultaneous += e.low <= 0.0
        replicates = rng.binomial(100, x / 100, (300, 6)) / 100
        spread = replicates.max(axis=1) - replicates.min(axis=1)
        resampled += np.quantile(spread, 0.025) <= 0.0
    assert simultaneous >= 55
    assert resampled <= 3


def test_the_largest_gap_is_at_least_every_pair():
    groups = [share(30, 40), share(70, 80), share(25, 60), share(90, 100)]
    e = largest_gap(groups)
    pairs = [gap(a, b, level=1 - 0.05 / 6) for a, b in itertools.permutations(groups, 2)]
    assert e.value == pytest.approx(max(p.value for p in pairs))
    assert e.high == pytest.approx(max(p.high for p in pairs))
    assert e.low == pytest.approx(max(0.0, *(p.low for p in pairs)))


def test_patients_who_are_all_alike_show_no_variation_and_give_no_interval():
    truth, p = np.tile([True, False, True, False], 3), np.tile([0.8, 0.3, 0.4, 0.6], 3)
    patient = np.repeat([0, 1, 2], 4)
    for slope in (True, False):
        f = recalibration_figure(truth, p, patient, slope=slope)
        assert f.limits is None
        assert "no variation" in f.no_interval
    assert mean_figure((p - truth) ** 2, patient, bounds=(-1, 1)).limits is None

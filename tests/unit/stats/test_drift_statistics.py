"""Edges of the drift statistics: nothing undefined becomes 0, and chance is shown beside every effect."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats import mmd
from evalsuite.stats.control_charts import cusum, cusum_limit, cusum_run_length, ewma
from evalsuite.stats.distribution_shift import Covariate, population_stability, shifts, smallest_shuffles
from evalsuite.stats.mmd import median_distance, mmd_test
from evalsuite.stats.unlabelled import calibrated, expected_performance, label_shift


def _names(n: int, prefix: str = "p") -> list[str]:
    return [f"{prefix}{i}" for i in range(n)]


def test_a_cusum_by_hand() -> None:
    """Montgomery's rule on five points: sums of what exceeds ½."""
    chart = cusum([1.0, 2.0, 0.0, -3.0, -3.0], reference=0.5, limit=4.0)
    np.testing.assert_allclose(chart.upper, [0.5, 2.0, 1.5, 0.0, 0.0])
    np.testing.assert_allclose(chart.lower, [0.0, 0.0, 0.0, 2.5, 5.0])
    assert chart.alarm == 4
    assert cusum([1.0, 2.0, 0.0, -3.0, -3.0], reference=0.5, limit=4.0, sides="upper").alarm is None


def test_an_ewma_by_hand() -> None:
    chart = ewma([1.0, 1.0, 4.0], weight=0.5, limit=3.0)
    np.testing.assert_allclose(chart.upper, [0.5, 0.75, 2.375])
    assert chart.limit == pytest.approx(3.0 * np.sqrt(1 / 3))
    assert chart.alarm == 2


def test_a_chart_is_designed_for_its_run_length() -> None:
    assert cusum_run_length(0.5, cusum_limit(0.5, 500.0)) == pytest.approx(500.0, rel=1e-6)
    with pytest.raises(ValueError, match="between 2 and"):
        cusum_limit(0.5, 1.0)


def test_the_stability_index_without_drift_depends_on_the_window() -> None:
    """The trap: at 50 cases most driftless windows exceed .1, so that chance is printed beside the index."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=2000)
    over = []
    for _ in range(40):
        window = rng.normal(size=50)
        edges = np.quantile(base, np.linspace(0.1, 0.9, 9))
        counts = [np.bincount(np.searchsorted(edges, v), minlength=10).astype(float) for v in (base, window)]
        over.append(population_stability(*counts) > 0.1)
    assert np.mean(over) > 0.5
    (found,) = shifts(
        [Covariate(name="x", kind="numeric", baseline=base, window=rng.normal(size=50))],
        _names(2000),
        _names(50, "w"),
        shuffles=200,
        seed=1,
    )
    assert found.expected["psi"] > 0.1
    assert found.high["psi"] > found.expected["psi"]


def test_p_values_are_uniform_without_drift_in_clusters() -> None:
    """Ten cases per patient: p-values below .1 in a tenth of the windows; shuffling cases would exceed that by far."""
    rng = np.random.default_rng(7)
    small = 0
    for r in range(120):
        effect = np.repeat(rng.normal(size=24), 10)
        who = np.repeat(np.arange(24), 10).astype(str)
        values = effect + 0.3 * rng.normal(size=240)
        (found,) = shifts(
            [Covariate(name="x", kind="numeric", baseline=values[:160], window=values[160:])],
            list(who[:160]),
            list(who[160:]),
            shuffles=200,
            seed=r,
        )
        assert found.p_value is not None
        small += found.p_value <= 0.1
    # Binomial(120, .1): 22 or more has a chance of .3 %.
    assert small <= 21


def test_missing_and_empty_are_said() -> None:
    nothing = np.array([np.nan, np.nan])
    missing, none = shifts(
        [
            Covariate(name="a", kind="numeric", baseline=np.array([1.0, np.nan]), window=np.array([2.0, 3.0])),
            Covariate(name="b", kind="numeric", baseline=np.array([1.0, 2.0]), window=nothing),
        ],
        _names(2),
        _names(2, "w"),
        shuffles=200,
        seed=0,
    )
    assert (missing.n_baseline, missing.missing_baseline) == (1, 1)
    assert none.p_value is None
    assert none.undefined == "baseline or window has no value of it"
    (empty,) = shifts(
        [Covariate(name="a", kind="categorical", baseline=np.array([], dtype=object), window=np.array(["x"]))],
        [],
        ["w"],
        shuffles=200,
        seed=0,
    )
    assert empty.undefined == "baseline or window has no cases"


def test_a_p_value_can_fall_below_its_level() -> None:
    assert smallest_shuffles(0.05 / 12) == 2400
    with pytest.raises(ValueError, match="level"):
        smallest_shuffles(0.0)
    with pytest.raises(ValueError, match="at least 200"):
        shifts([], [], [], shuffles=100, seed=0)


def test_embeddings_that_moved_are_found_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(150, 8))
    bandwidth = median_distance(base)
    same = mmd_test(base, rng.normal(size=(100, 8)), bandwidth=bandwidth, permutations=199, seed=1)
    moved = mmd_test(base, rng.normal(0.4, 1, size=(100, 8)), bandwidth=bandwidth, permutations=199, seed=1)
    assert same.p_value > 0.05
    assert moved.p_value == pytest.approx(1 / 200)
    clustered = mmd_test(
        base,
        rng.normal(size=(100, 8)),
        bandwidth=bandwidth,
        permutations=99,
        seed=1,
        baseline_patients=[str(i // 3) for i in range(150)],
        window_patients=[str(i // 2) for i in range(100)],
    )
    assert clustered.n_window == 100
    with pytest.raises(ValueError, match="features"):
        mmd_test(base, base[:, :3], bandwidth=1.0, permutations=9, seed=0)


@pytest.mark.parametrize("rows", [7, 32, 1024])
def test_the_discrepancy_in_blocks_is_the_sum_over_all_pairs(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pair in double precision, one membership at a time; half of the pairs are never computed in blocks."""
    monkeypatch.setattr(mmd, "_ROWS", rows)
    rng = np.random.default_rng(4)
    pooled = rng.normal(size=(90, 5))
    member = np.stack([rng.permutation(90) < 30 for _ in range(6)], axis=1)
    apart = ((pooled[:, None] - pooled[None]) ** 2).sum(axis=2)
    kernel = np.exp(-0.5 * apart / 1.7**2)
    np.fill_diagonal(kernel, 0.0)
    found = mmd._Kernel(pooled.astype(np.float32), 1.7).discrepancies(member)
    for column, value in zip(member.T, found, strict=True):
        w, b = np.flatnonzero(column), np.flatnonzero(~column)
        slow = kernel[np.ix_(w, w)].sum() / (30 * 29) + kernel[np.ix_(b, b)].sum() / (60 * 59)
        assert value == pytest.approx(slow - 2 * kernel[np.ix_(w, b)].mean(), abs=1e-7)


def test_median_distance_of_one_point_is_one() -> None:
    assert median_distance(np.zeros((5, 3))) == 1.0


def test_expected_counts_by_hand() -> None:
    found = expected_performance([0.9, 0.6, 0.2], [True, True, False])
    assert found["sensitivity"] == pytest.approx(1.5 / 1.7)
    assert found["specificity"] == pytest.approx(0.8 / 1.3)
    # Pairs of different cases: positive p, negative 1 − p'; the higher score wins.
    won = 0.9 * 0.4 + 0.9 * 0.8 + 0.6 * 0.8
    lost = 0.6 * 0.1 + 0.2 * 0.1 + 0.2 * 0.4
    assert found["auroc"] == pytest.approx(won / (won + lost))
    assert expected_performance([0.0, 0.0], [False, False])["sensitivity"] is None


def test_calibration_shares_probabilities_among_ties() -> None:
    p = calibrated([0.1, 0.1, 0.9, 0.9], [0, 1, 1, 1], [0.1, 0.5, 0.9, 2.0])
    np.testing.assert_allclose(p, [0.5, 0.75, 1.0, 1.0])
    with pytest.raises(ValueError, match="positive and negative"):
        calibrated([0.1, 0.2], [1, 1], [0.1])


def test_calls_that_say_nothing_about_prevalence() -> None:
    found = label_shift([[0.5, 0.5], [0.5, 0.5]], [0.5, 0.5])
    assert found.shares is None
    assert found.undefined is not None
    contradiction = label_shift([[0.9, 0.2], [0.1, 0.8]], [0.05, 0.95])
    assert not contradiction.plausible

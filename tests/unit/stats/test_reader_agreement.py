"""Readers' agreement: published examples, every pair counted by hand, coverage, and edges."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from evalsuite.stats.reader_agreement import fleiss_kappa, krippendorff_alpha

NAN = float("nan")
# Krippendorff, "Computing Krippendorff's alpha-reliability" (2011), example C/D: four observers, twelve units.
KRIPPENDORFF = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
]
# Ten subjects, fourteen raters, five categories: the worked example of the encyclopaedias, kappa 0.210.
FOURTEEN = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip


def test_krippendorffs_own_example() -> None:
    """Interval alpha 0.849 on page 8 of the source; the unit with one observer does not enter."""
    e = krippendorff_alpha(KRIPPENDORFF)
    assert e.value == pytest.approx(0.849, abs=0.0005)
    assert e.n == 11


def test_fleiss_worked_example() -> None:
    calls = np.array([np.repeat(np.arange(5), row) for row in FOURTEEN], dtype=float).T
    assert fleiss_kappa(calls).value == pytest.approx(0.210, abs=0.0005)


def test_alpha_is_one_less_the_ratio_of_mean_squared_differences() -> None:
    rng = np.random.default_rng(1)
    table = rng.normal(50, 20, (4, 15)) + rng.normal(0, 20, 15)
    table[rng.random(table.shape) < 0.25] = NAN
    units = [[v for v in column if v == v] for column in table.T]
    units = [u for u in units if len(u) >= 2]
    every = [v for u in units for v in u]
    within = sum(sum((a - b) ** 2 for a, b in itertools.permutations(u, 2)) / (len(u) - 1) for u in units) / len(every)
    between = sum((a - b) ** 2 for a, b in itertools.permutations(every, 2)) / (len(every) * (len(every) - 1))
    assert krippendorff_alpha(table).value == pytest.approx(1 - within / between, rel=1e-12)
    assert krippendorff_alpha(table + 1e6).value == pytest.approx(1 - within / between, rel=1e-8)


def test_the_interval_leaves_out_patients() -> None:
    rng = np.random.default_rng(2)
    patient = np.repeat(np.arange(20), 2)
    calls = ((rng.normal(0, 1, 40) + rng.normal(0, 0.7, (5, 40))) > 0).astype(float)
    e = fleiss_kappa(calls, cluster=patient)
    left = np.array([float(fleiss_kappa(calls[:, patient != p]).value or 0.0) for p in range(20)])
    from scipy.stats import t

    half = t.ppf(0.975, 19) * np.sqrt(19 / 20 * ((left - left.mean()) ** 2).sum())
    assert e.value is not None
    assert (e.low, e.high) == pytest.approx((e.value - half, e.value + half), rel=1e-9)
    assert (e.n, e.n_patients) == (40, 20)


@pytest.mark.parametrize("statistic", [fleiss_kappa, krippendorff_alpha])
def test_intervals_hold_the_truth_as_often_as_they_say(statistic) -> None:
    """500 studies of 5 readers and 60 cases: 95 % less three Monte Carlo errors (1.0 point each) and 1.5 points."""
    rng = np.random.default_rng(3)

    def draw(n: int) -> np.ndarray:
        seen = rng.normal(0, 1, n) + rng.normal(0, 0.8, (5, n))
        return (seen > 0.3).astype(float) if statistic is fleiss_kappa else seen

    truth = statistic(draw(200_000)).value
    made = [statistic(draw(60)) for _ in range(500)]
    assert 0.905 <= np.mean([e.low <= truth <= e.high for e in made]) <= 0.985


@pytest.mark.parametrize("statistic", [fleiss_kappa, krippendorff_alpha])
def test_edges(statistic) -> None:
    apart = [[0, 1, 0, 1], [0, 1, 0, 1.0]]
    assert statistic(apart).value == 1.0
    assert statistic(apart).interval_undefined == "no variation between patients was seen"
    assert statistic(np.ones((3, 5))).undefined == "all readings are one value: nothing to agree on beyond chance"
    assert statistic([[0, 1, NAN], [NAN, NAN, 1]]).undefined == "no case was read by two readers"
    assert statistic(np.zeros((3, 0))).undefined == "no case was read by two readers"
    one = statistic([[0, 1, 0], [0, 1, 1]], cluster=[7, 7, 7])
    assert one.interval_undefined == "all cases come from one patient"
    with pytest.raises(ValueError, match="shape"):
        statistic([0, 1])
    with pytest.raises(ValueError, match="finite"):
        statistic([[0, np.inf], [0, 1]])


def test_order_of_readers_and_cases_and_scale_do_not_matter() -> None:
    rng = np.random.default_rng(4)
    table = rng.normal(0, 1, 12) + rng.normal(0, 1, (4, 12))
    shuffled = table[rng.permutation(4)][:, rng.permutation(12)]
    assert krippendorff_alpha(shuffled).value == pytest.approx(krippendorff_alpha(table).value, rel=1e-12)
    assert krippendorff_alpha(100 - 3 * table).value == pytest.approx(krippendorff_alpha(table).value, rel=1e-10)
    calls = (table > 0).astype(float)
    assert fleiss_kappa(1 - calls).value == pytest.approx(fleiss_kappa(calls).value, rel=1e-12)

"""The volume under the ROC manifold of any number of grades, by writing out every tuple of cases and every loop."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.ordered_volume import components
from evalsuite.stats.ordinal import vus
from evalsuite.stats.ordinal_bootstrap import vus_bootstrap, vus_replicates
from evalsuite.stats.roc import auroc


def _order(scores: tuple[float, ...]) -> float:
    """1 in order, 0 out of order, one over the number of orders of each run of ties (Li & Fine's convention)."""
    if any(a > b for a, b in itertools.pairwise(scores)):
        return 0.0
    return 1.0 / math.prod(math.factorial(len(list(run))) for _, run in itertools.groupby(scores))


def _by_tuples(score: np.ndarray, grade: np.ndarray, k: int) -> float:
    of = [score[grade == j] for j in range(k)]
    return sum(map(_order, itertools.product(*of))) / math.prod(len(part) for part in of)


def _data(k: int, seed: int, digits: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    grade = np.concatenate([np.arange(k), np.arange(k), rng.integers(0, k, 12)])
    return np.round(rng.normal(size=grade.size) + 0.8 * grade, digits), grade


@pytest.mark.parametrize("digits", [0, 1, 9])
@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_volume_is_the_share_of_ordered_tuples(k: int, digits: int) -> None:
    s, g = _data(k, 10 * k + digits, digits)
    assert vus(s, g, n_grades=k).value == pytest.approx(_by_tuples(s, g, k), abs=1e-12)
    for j, part in enumerate(components([np.sort(s[g == i]) for i in range(k)])):
        assert part.mean() == pytest.approx(_by_tuples(s, g, k), abs=1e-12)
        # A component is the volume with that one case alone in its grade.
        first = np.flatnonzero(g == j)[np.argmin(s[g == j])]
        alone = [*np.flatnonzero(g != j).tolist(), int(first)]
        assert part[0] == pytest.approx(_by_tuples(s[alone], g[alone], k), abs=1e-12)


def test_two_grades_are_the_auroc_and_luck_is_one_over_the_orders() -> None:
    s, g = _data(2, 3, 1)
    assert vus(s, g, n_grades=2).value == pytest.approx(auroc(g == 1, s).value, abs=1e-12)
    for k in (2, 3, 4, 5):
        assert vus(np.ones(20), np.arange(20) % k, n_grades=k).value == pytest.approx(1 / math.factorial(k))


def test_variance_is_that_of_delong_for_two_grades() -> None:
    rng = np.random.default_rng(1)
    g = np.arange(80) % 2
    s = np.round(rng.normal(size=80) + g, 1)
    ours, theirs = vus(s, g, n_grades=2), auroc(g == 1, s, method="logit-delong")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_replicates_are_those_of_tuples_of_the_drawn_cases() -> None:
    s, g = _data(4, 7, 1)
    draw = PatientDraw(np.arange(s.size), 30, 4)
    values = vus_replicates(draw, s, g, n_grades=4).values[0, 0]
    for r, count in enumerate(draw.counts(0, 30)):
        drawn = np.repeat(np.arange(s.size), count)
        if all((g[drawn] == j).any() for j in range(4)):
            assert values[r] == pytest.approx(_by_tuples(s[drawn], g[drawn], 4), abs=1e-12)
        else:
            assert math.isnan(values[r])


def test_intervals_cover() -> None:
    """Simulated studies of four grades: the closed and the resampled interval hold the volume of the population."""
    rng = np.random.default_rng(2)
    big = np.arange(40_000) % 4
    truth = vus(rng.normal(size=big.size) + big, big, n_grades=4).value or 0.0
    g = np.arange(120) % 4
    held = {"closed": 0, "bootstrap": 0}
    for i in range(200):
        s = rng.normal(size=g.size) + g
        e = vus(s, g, n_grades=4)
        held["closed"] += (e.low or 0) <= truth <= (e.high or 0)
        if i < 60:
            b = vus_bootstrap(PatientDraw(np.arange(g.size), 200, i), s, g, n_grades=4)[0]
            held["bootstrap"] += (b.low or 0) <= truth <= (b.high or 0)
    assert held["closed"] >= 0.95 * 200 - 3 * math.sqrt(200 * 0.95 * 0.05)
    assert held["bootstrap"] >= 0.95 * 60 - 3.5 * math.sqrt(60 * 0.95 * 0.05)

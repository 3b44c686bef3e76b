"""Ratio of paired proportions: the constrained maximum by a general optimiser, and coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from evalsuite.stats.differences import PairedCounts
from evalsuite.stats.paired_ratio import paired_ratio, paired_ratio_score


def _counts(a: int, b: int, c: int, d: int) -> PairedCounts:
    return PairedCounts(both=a, first_only=b, second_only=c, neither=d)


TABLES = [(1, 1, 7, 12), (30, 12, 2, 6), (59, 6, 16, 80), (10, 0, 5, 5), (20, 3, 0, 7), (0, 4, 6, 30)]


def _score_by_optimiser(a: int, b: int, c: int, d: int, ratio: float) -> float:
    """Maximise the multinomial likelihood over the two free cells, then divide by the variance of x₁ − ratio · x₂."""
    n = a + b + c + d

    def cells(second: float, both: float) -> tuple[float, float, float, float]:
        first = ratio * second
        return both, first - both, second - both, 1.0 - first - second + both

    def fitted(second: float) -> tuple[float, float]:
        low, high = max(0.0, (1.0 + ratio) * second - 1.0), min(second, ratio * second)

        def loss(both: float) -> float:
            return -sum(
                k * math.log(max(p, 1e-300)) for k, p in zip((a, b, c, d), cells(second, both), strict=True) if k
            )

        found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-13})
        return float(found.fun), float(found.x)

    best = minimize_scalar(
        lambda s: fitted(s)[0], bounds=(0.0, min(1.0, 1.0 / ratio)), method="bounded", options={"xatol": 1e-13}
    )
    second = float(best.x)
    p11, p12, p21, _ = cells(second, fitted(second)[1])
    variance = n * (p12 + ratio**2 * p21 + p11 * (1.0 - ratio) ** 2)
    return (a + b - ratio * (a + c)) / math.sqrt(variance)


@pytest.mark.parametrize("table", TABLES)
def test_score_limits_solve_the_score_equation(table: tuple[int, int, int, int]) -> None:
    e = paired_ratio(_counts(*table))
    for end, sign in ((e.low, 1), (e.high, -1)):
        if end:
            assert _score_by_optimiser(*table, end) == pytest.approx(sign * 1.959963984540054, abs=2e-4)
    for ratio in (0.5, 0.9, 1.0, 1.3):
        mine = paired_ratio_score(_counts(*table), ratio)
        assert mine == pytest.approx(_score_by_optimiser(*table, ratio), abs=2e-4)


def test_at_a_ratio_of_one_it_is_mcnemar() -> None:
    for a, b, c, d in TABLES:
        assert paired_ratio_score(_counts(a, b, c, d), 1.0) == pytest.approx((b - c) / math.sqrt(b + c), abs=1e-12)


@pytest.mark.parametrize("table", TABLES)
def test_exchanging_the_two_inverts_the_ratio(table: tuple[int, int, int, int]) -> None:
    a, b, c, d = table
    e, mirrored = paired_ratio(_counts(a, b, c, d)), paired_ratio(_counts(a, c, b, d))
    if e.value and mirrored.value:
        assert (mirrored.low, mirrored.high) == pytest.approx((1 / e.high, 1 / e.low), rel=1e-6)
    wide = paired_ratio(_counts(*table), level=0.99)
    assert wide.low <= e.low <= e.value <= e.high <= wide.high


@pytest.mark.parametrize("p", [(0.5, 0.15, 0.1, 0.25), (0.2, 0.1, 0.05, 0.65)])
def test_limits_cover_in_simulation(p: tuple[float, ...]) -> None:
    truth, held, studies = (p[0] + p[1]) / (p[0] + p[2]), 0, 2000
    for row in np.random.default_rng(4).multinomial(60, p, studies).tolist():
        e = paired_ratio(_counts(*row))
        held += e.low is not None and e.low <= truth <= e.high
    assert held / studies >= 0.935 - 3 * math.sqrt(0.05 * 0.95 / studies)


def test_edges_have_a_width_or_a_reason() -> None:
    assert paired_ratio(_counts(0, 0, 0, 0)).undefined == "no cases"
    assert "neither" in str(paired_ratio(_counts(0, 0, 0, 5)).undefined)
    assert "lower" in str(paired_ratio(_counts(0, 5, 0, 5)).undefined)
    none = paired_ratio(_counts(0, 0, 5, 5))
    assert (none.value, none.low) == (0.0, 0.0)
    assert 0.0 < none.high < 1.0
    alike = paired_ratio(_counts(10, 0, 0, 0))
    assert alike.low < 1.0 < alike.high

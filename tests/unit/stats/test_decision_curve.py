"""Net benefit at the edges."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats.decision_curve import decision_curve, net_benefit, net_benefit_difference, net_benefit_value

RNG = np.random.default_rng(1)
P = RNG.random(150)
Y = RNG.random(150) < P


def test_by_hand() -> None:
    # At 0.25: three treated, two of them positive: 2/4 − 1/4 · (1/3).
    assert net_benefit_value([0, 0, 1, 1], [0.1, 0.3, 0.25, 0.9], 0.25) == pytest.approx(0.5 - 1 / 12)


def test_standardised_of_a_perfect_model_is_one() -> None:
    e = net_benefit(Y, Y.astype(float), 0.4, quantity="standardised", replicates=20)
    assert e.value == pytest.approx(1.0)
    assert e.interval_undefined is not None


def test_difference_of_a_model_with_itself() -> None:
    d = net_benefit_difference(Y, P, P, 0.3, replicates=50)
    assert d.value == 0.0
    assert d.interval_undefined is not None


@pytest.mark.parametrize("method", ["percentile", "basic", "bca"])
def test_interval_holds_the_estimate(method: str) -> None:
    e = net_benefit(Y, P, 0.3, method=method, replicates=300, cluster=np.arange(150) // 2)  # type: ignore[arg-type]
    assert e.value is not None
    assert e.low is not None
    assert e.high is not None
    assert e.low < e.value < e.high
    assert e.n_patients == 75


def test_curve_is_the_same_in_any_order_of_thresholds() -> None:
    up = decision_curve(Y, P, [0.2, 0.5, 0.7], replicates=50)
    down = decision_curve(Y, P, [0.7, 0.2, 0.5], replicates=50)
    np.testing.assert_array_equal(up.value[[2, 0, 1]], down.value)
    np.testing.assert_array_equal(up.low[[2, 0, 1]], down.low)
    assert up.treat_all[1] == pytest.approx(Y.mean() - (1 - Y.mean()))
    assert decision_curve(Y, P, replicates=5).threshold.size == 99


def test_reasons() -> None:
    with pytest.raises(ValueError, match="strictly between"):
        net_benefit_value(Y, P, 1.0)
    with pytest.raises(ValueError, match="no net benefit: no cases"):
        net_benefit_value([], [], 0.5)
    with pytest.raises(ValueError, match="prevalence"):
        net_benefit_value(Y, P, 0.5, prevalence=1.0)
    with pytest.raises(ValueError, match="quantity"):
        net_benefit(Y, P, 0.5, quantity="harm")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no decision curve"):
        decision_curve([], [], [0.5], replicates=5)
    assert net_benefit([0, 0], [0.1, 0.2], 0.5, prevalence=0.1).undefined == "no reference-positive cases"
    only = net_benefit([0, 0], [0.1, 0.2], 0.5, quantity="standardised")
    assert only.undefined == "no reference-positive cases"

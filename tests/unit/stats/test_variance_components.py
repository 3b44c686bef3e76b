"""Variance components at the edges: no repeats, no variation, factors that cannot be told apart, calls as values."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats import variance_components as vc

RNG = np.random.default_rng(4)
P, O = (a.ravel() for a in np.mgrid[0:8, 0:3, 0:2][:2])  # noqa: E741
Y = RNG.normal(0, 2, 8)[P] + RNG.normal(0, 1, 3)[O] + RNG.normal(0, 0.5, 48)


def test_one_way_edges():
    between, within = vc.one_way([1.0, 2.0, 3.0], [0, 1, 2])
    assert "more than once" in between.undefined
    assert between == within
    between, within = vc.one_way([1.0, 2.0, 3.0], [0, 0, 0])
    assert between.undefined == "a single group"
    assert within.value == 1.0
    between, within = vc.one_way([1.0, 1.0, 3.0, 3.0], [0, 0, 1, 1])
    assert within.value == 0
    assert "never differ" in within.interval_undefined
    assert between.value == pytest.approx(np.sqrt(2))
    assert vc.one_way([], [])[0].undefined


def test_groups_closer_than_chance_have_a_component_of_zero_with_an_upper_limit():
    y = np.tile([-1.0, 0.1, 1.0], 6) + np.repeat(np.linspace(0, 1e-3, 6), 3)
    between, _ = vc.one_way(y, np.repeat(np.arange(6), 3))
    assert between.value == 0
    assert between.low in (0, None)
    assert between.low is None or between.high > 0


def test_gauge_without_repeats_counts_interaction_with_repeatability():
    g = vc.gauge_study(Y[::2], P[::2], O[::2])
    assert g.interaction is None
    assert g.total.value == pytest.approx(np.hypot(g.repeatability.value, g.reproducibility.value))
    assert g.reproducibility_coefficient.value > g.repeatability_coefficient.value


def test_gauge_needs_balance():
    with pytest.raises(ValueError, match="equally often"):
        vc.gauge_study(Y[:-1], P[:-1], O[:-1])
    with pytest.raises(ValueError, match="at least 2"):
        vc.gauge_study(Y[:6], np.zeros(6), O[:6])


def test_unbalanced_components_and_shares():
    keep = RNG.random(48) < 0.8
    found = vc.variance_components(Y[keep], {"patient": P[keep], "operator": O[keep]})
    assert set(found.sd) == {"patient", "operator", "residual"}
    assert sum(found.share.values()) == pytest.approx(1)
    for e in found.sd.values():
        assert 0 <= e.low <= e.value <= e.high
    assert "profile" in found.method


def test_order_shift_and_scale():
    base = vc.variance_components(Y, {"patient": P, "operator": O}, intervals=False)
    order = RNG.permutation(48)
    other = vc.variance_components(100 - 3 * Y[order], {"patient": P[order], "operator": O[order]}, intervals=False)
    for name, e in base.sd.items():
        assert other.sd[name].value == pytest.approx(3 * e.value, rel=1e-4)
    assert other.mean == pytest.approx(100 - 3 * base.mean, rel=1e-6)


def test_calls_are_values_too():
    call = (Y > 0).astype(float)
    found = vc.variance_components(call, {"patient": P, "operator": O}, intervals=False)
    assert found.share["patient"] > found.share["operator"]


@pytest.mark.parametrize(
    ("values", "factors", "reason"),
    [
        ([1.0, 2.0], {"a": [0, 1]}, "fewer than 3"),
        ([1.0, 1.0, 1.0], {"a": [0, 0, 1]}, "do not vary"),
        ([1.0, 2.0, 3.0], {"a": [0, 0, 0]}, "one level"),
        ([1.0, 2.0, 3.0], {"a": [0, 1, 2]}, "its own level"),
        ([1.0, 2.0, 3.0, 5.0], {"a": [0, 0, 1, 1], "b": ["y", "y", "x", "x"]}, "group the measurements alike"),
    ],
)
def test_what_cannot_be_told_apart_is_told(values, factors, reason):
    found = vc.variance_components(values, factors)
    assert all(reason in e.undefined for e in found.sd.values())
    assert not found.share


def test_faults_are_named():
    with pytest.raises(ValueError, match="at least one factor"):
        vc.variance_components(Y, {})
    with pytest.raises(ValueError, match="residual"):
        vc.variance_components(Y, {"residual": P})
    with pytest.raises(ValueError, match="finite"):
        vc.variance_components([1.0, np.nan], {"a": [0, 1]})
    with pytest.raises(ValueError, match="shape"):
        vc.variance_components(Y, {"a": P[:3]})

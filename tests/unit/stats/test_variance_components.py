"""Variance components at the edges: no repeats, no variation, factors that cannot be told apart, calls as values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from evalsuite.stats import _reml
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


def _unbalanced():
    """A factor of 6 levels whose component is 0, one of 3, some measurements lacking."""
    rng = np.random.default_rng(5)
    p, o = (a.ravel() for a in np.mgrid[0:6, 0:3])
    kept = rng.random(18) < 0.85
    p, o = p[kept], o[kept]
    return 0.3 * rng.normal(size=3)[o] + rng.normal(size=p.size), p, o


def _dense(y, factors, sd):
    """Restricted deviance from the covariance of all measurements, written out."""
    v = sum(s**2 * (f[:, None] == f) for s, f in zip(sd, factors, strict=False)) + sd[-1] ** 2 * np.eye(y.size)
    w = np.linalg.inv(v)
    mean = w.sum(axis=0) @ y / w.sum()
    constant = (y.size - 1) * np.log(2 * np.pi)
    return np.linalg.slogdet(v)[1] + np.log(w.sum()) + (y - mean) @ w @ (y - mean) + constant


def test_profile_limits_are_where_no_other_components_do_better():
    """Dense matrices and a simplex from several starts, which share no code with the fit."""
    y, p, o = _unbalanced()
    found = list(vc.variance_components(y, {"patient": p, "operator": o}).sd.values())
    assert found[0].value == 0.0
    options = {"xatol": 1e-6, "fatol": 1e-9, "maxiter": 400}
    least = _dense(y, [p, o], [e.value for e in found])
    for i, e in enumerate(found):
        for limit in (e.low, e.high):
            if limit == 0.0:
                continue
            others = [
                minimize(
                    lambda t, i=i, limit=limit: _dense(y, [p, o], np.insert(np.abs(t), i, limit) + 1e-9),
                    start,
                    method="Nelder-Mead",
                    options=options,
                ).fun
                for start in ((1.0, 1.0), (0.02, 0.7), (0.7, 0.02))
            ]
            assert min(others) - least == pytest.approx(3.841459, abs=1e-5)


def test_slopes_and_curvature_of_the_deviance_are_those_of_differences():
    y, p, o = _unbalanced()
    problem = _reml.build(y, [p, o])
    v = np.array([0.4, 0.2, 0.7])
    at = problem.scored(v)
    assert at.deviance == pytest.approx(_dense((y - problem.shift) / problem.scale, [p, o], np.sqrt(v)), abs=1e-10)
    for i in range(3):
        h = np.zeros(3)
        h[i] = 1e-5
        above, below = problem.scored(v + h), problem.scored(v - h)
        assert at.gradient[i] == pytest.approx((above.deviance - below.deviance) / 2e-5, rel=1e-6, abs=1e-7)
        assert at.observed[i] == pytest.approx((above.gradient - below.gradient) / 2e-5, rel=1e-6, abs=1e-7)


def test_repeats_that_hardly_differ_leave_no_residual_to_estimate():
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(8), 3)
    level = rng.normal(size=8)[patient]
    for y in (level, level + 1e-8 * rng.normal(size=24)):
        found = vc.variance_components(y, {"patient": patient})
        assert "ten-thousandth" in found.sd["residual"].undefined
        assert found.sd["patient"].low < found.sd["patient"].value < found.sd["patient"].high
        assert set(found.share) == {"patient"}

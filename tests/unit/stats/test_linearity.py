"""Linearity and limit of quantitation: edges, units, and levels by hand."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats.linearity import limit_of_quantitation, linearity

X = np.repeat([1.0, 2.0, 4.0, 8.0, 16.0], 4)
NOISE = np.random.default_rng(3).normal(0, 0.1, X.size)


def test_a_line_has_no_deviation_and_a_parabola_its_own():
    straight = linearity(3 + 2 * X + NOISE, X)
    assert straight.best_order == 1
    assert straight.largest.low == 0.0
    assert straight.slope.low < 2 < straight.slope.high
    bent = linearity(X + 0.05 * X**2 + NOISE, X)
    assert bent.best_order != 1
    assert bent.largest.low > 0
    assert bent.largest.value == max(abs(e.value) for e in bent.deviations)


def test_the_device_s_unit_scales_and_the_reference_s_does_not_matter():
    y = X + 0.02 * X**2 + NOISE
    base = linearity(y, X)
    scaled = linearity(1000 * y, X)
    other = linearity(y, X / 1e6)
    for a, b, c in zip(base.deviations, scaled.deviations, other.deviations, strict=True):
        assert (b.value, b.low, b.high) == pytest.approx((1000 * a.value, 1000 * a.low, 1000 * a.high))
        assert (c.value, c.low, c.high) == pytest.approx((a.value, a.low, a.high))
    assert [t.p_value for t in other.tests] == pytest.approx([t.p_value for t in base.tests])


def test_a_higher_level_is_wider_and_more_levels_cost_width():
    y = X + NOISE
    narrow, wide = linearity(y, X, level=0.9).largest, linearity(y, X, level=0.99).largest
    assert wide.high > narrow.high
    alone = linearity(y, X, levels=[4.0]).deviations[0]
    among = linearity(y, X).deviations[2]
    assert among.value == pytest.approx(alone.value)
    assert among.high - among.low > alone.high - alone.low


def test_edges_have_reasons():
    assert "at least 4" in linearity(X[X < 8], X[X < 8]).largest.undefined
    assert "at least 6" in linearity([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]).largest.undefined
    many = np.arange(1.0, 31.0)
    assert "name those" in linearity(many, many).largest.undefined
    exact = linearity(2 * X, X)
    assert exact.largest.interval_undefined == "the cubic fits exactly"
    assert exact.largest.value == pytest.approx(0.0, abs=1e-9)
    assert all(t.undefined == "the curve fits exactly" for t in exact.tests)
    assert "distinct" in linearity([], []).largest.undefined
    assert "outside the reference values" in str(linearity(X, X, levels=[0.5]).largest.undefined)
    with pytest.raises(ValueError, match="finite"):
        linearity([np.nan, 1], [1, 2])


def test_the_limit_of_quantitation_by_hand():
    # Two measurements m ± d: the standard deviation is d·√2, the coefficient of variation d·√2/m.
    level = np.repeat([1.0, 2.0, 4.0, 8.0], 2)
    y = level + np.array([0.3, -0.3, 0.1, -0.1, 0.1, -0.1, 0.1, -0.1])
    got = limit_of_quantitation(y, level, 0.1)
    assert [e.value for e in got.precision] == pytest.approx(
        [0.3 * 2**0.5, 0.05 * 2**0.5, 0.025 * 2**0.5, 0.0125 * 2**0.5]
    )
    assert got.limit.value == 2.0
    assert "next smaller" in str(got.limit.interval_undefined)
    assert limit_of_quantitation(y, level, 0.5).limit.value == 1.0
    assert "may lie below" in str(limit_of_quantitation(y, level, 0.5).limit.interval_undefined)
    assert "misses it" in str(limit_of_quantitation(y, level, 0.001).limit.undefined)
    # A level that misses in between counts: from there on every level has to do.
    y[4:6] = [3.0, 5.0]
    assert limit_of_quantitation(y, level, 0.1).limit.value == 8.0
    # Two measurements leave the upper limit far away.
    assert got.assured.value is None or got.assured.value > got.limit.value


def test_levels_measured_once_have_no_precision():
    assert "more than once" in str(limit_of_quantitation([1, 2], [1, 2], 0.2).limit.undefined)
    got = limit_of_quantitation([1, 2, 2.1], [1, 2, 2], 0.2)
    assert got.levels == (2.0,)
    never = limit_of_quantitation([2, 2], [2, 2], 0.2)
    assert never.limit.value == 2.0
    assert "has no limit" in str(never.assured.undefined)
    with pytest.raises(ValueError, match="above 0"):
        limit_of_quantitation([1, 2], [1, 1], 0.0)

"""What must hold for any sites: order, shifts and scale change nothing they should not, more certainty is wider."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalsuite.stats import _random_effects as core
from evalsuite.stats import generalisation as g

EFFECT = st.floats(-3, 3).map(lambda x: round(x, 3))
SITES = st.lists(st.tuples(EFFECT, st.floats(0.01, 2)), min_size=3, max_size=9)


def _pool(sites, **changes):
    y, v = (np.array(column) for column in zip(*sites, strict=True))
    return core.pool(y, v, **{"tau2": "reml", "interval": "hartung-knapp-modified", "level": 0.95, **changes})


@settings(max_examples=60, deadline=None)
@given(SITES, st.randoms(use_true_random=False))
def test_order_of_sites_changes_nothing(sites, random):
    a = _pool(sites)
    random.shuffle(sites)
    b = _pool(sites)
    assert [b.mean, b.low, b.high, b.tau2] == pytest.approx([a.mean, a.low, a.high, a.tau2], rel=1e-6, abs=1e-8)


@settings(max_examples=60, deadline=None)
@given(SITES, st.floats(-2, 2))
def test_a_shift_of_all_sites_shifts_the_average_only(sites, shift):
    a = _pool(sites)
    b = _pool([(y + shift, v) for y, v in sites])
    assert [b.mean, b.low, b.high] == pytest.approx([a.mean + shift, a.low + shift, a.high + shift], rel=1e-5, abs=1e-6)
    assert b.tau2 == pytest.approx(a.tau2, rel=1e-5, abs=1e-7)


@settings(max_examples=60, deadline=None)
@given(SITES, st.sampled_from(["reml", "dl"]))
def test_average_lies_among_sites_and_intervals_nest(sites, tau2):
    a = _pool(sites, tau2=tau2)
    effects = [y for y, _ in sites]
    assert min(effects) - 1e-9 <= a.mean <= max(effects) + 1e-9
    assert a.tau2 >= 0
    assert 0 <= a.i2 < 1
    wald = _pool(sites, tau2=tau2, interval="wald")
    assert a.low <= wald.low
    assert wald.high <= a.high
    wide = _pool(sites, tau2=tau2, level=0.99)
    assert wide.low < a.low < a.high < wide.high
    low, high = core.prediction_limits(a, 0.95)
    assert low < a.low
    assert a.high < high


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20)), min_size=3, max_size=6))
def test_swapping_success_and_failure_mirrors_the_interval(counts):
    success = np.concatenate([np.r_[np.ones(a, bool), np.zeros(b, bool)] for a, b in counts])
    site = np.repeat(np.arange(len(counts)), [a + b for a, b in counts])
    if len(counts) < 3:
        return
    a = g.site_heterogeneity(g.proportion_effects(success, site))
    b = g.site_heterogeneity(g.proportion_effects(~success, site))
    assert a.average.value == pytest.approx(1 - b.average.value, abs=1e-6)
    assert a.average.low == pytest.approx(1 - b.average.high, abs=1e-5)
    assert a.prediction.low == pytest.approx(1 - b.prediction.high, abs=1e-5)

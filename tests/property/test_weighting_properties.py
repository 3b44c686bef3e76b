"""What must hold for any weights: order, scale of weights, copies of cases, mirrored labels and scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalsuite.stats import weighting as w
from evalsuite.stats.verification_bias import begg_greenes


@st.composite
def samples(draw):
    n = draw(st.integers(6, 30))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    y = np.r_[True, True, False, False, rng.random(n - 4) < 0.5]
    return y, np.round(rng.normal(size=n) + y, 1), rng.choice([0.5, 1, 2, 7], n), rng.permutation(n)


@settings(max_examples=80, deadline=None)
@given(samples(), st.floats(0.01, 100))
def test_order_and_scale_of_weights_change_nothing(sample, factor):
    y, s, weight, order = sample
    a = w.weighted_auroc(y, s, weight)
    b = w.weighted_auroc(y[order], s[order], weight[order] * factor)
    assert b.value == pytest.approx(a.value, rel=1e-9)
    if a.low is not None and b.low is not None:
        assert (b.low, b.high) == pytest.approx((a.low, a.high), rel=1e-5, abs=1e-8)
    c = w.weighted_call_metric("ppv", y, s > 0, weight)
    d = w.weighted_call_metric("ppv", y[order], s[order] > 0, weight[order] * factor)
    if c.value is not None:
        assert (d.value, d.low, d.high) == pytest.approx((c.value, c.low, c.high), rel=1e-7, abs=1e-9)


@settings(max_examples=80, deadline=None)
@given(samples())
def test_reversed_scores_mirror_the_area(sample):
    y, s, weight, _ = sample
    a, b = w.weighted_auroc(y, s, weight), w.weighted_auroc(y, -s, weight)
    assert b.value == pytest.approx(1 - a.value, abs=1e-12)
    if a.low is not None and b.low is not None:
        assert (b.low, b.high) == pytest.approx((1 - a.high, 1 - a.low), abs=1e-7)


@settings(max_examples=60, deadline=None)
@given(samples())
def test_a_whole_weight_is_as_many_copies_of_the_case(sample):
    y, s, _, _ = sample
    times = np.arange(y.size) % 3 + 1
    copies = np.repeat(np.arange(y.size), times)
    a = w.weighted_auroc(y, s, times, patient=np.arange(y.size))
    b = w.weighted_auroc(y[copies], s[copies], patient=copies)
    assert b.value == pytest.approx(a.value, rel=1e-12)
    if a.low is not None and b.low is not None and 0 < a.value < 1:
        assert (b.low, b.high) == pytest.approx((a.low, a.high), rel=1e-6, abs=1e-9)


@settings(max_examples=80, deadline=None)
@given(samples(), st.integers(0, 10**6))
def test_begg_greenes_mirrors_with_its_labels(sample, seed):
    disease, s, _, order = sample
    call = s > 0
    verified = np.random.default_rng(seed).random(s.size) < 0.7
    a = begg_greenes(call, verified, disease)
    b = begg_greenes(~call[order], verified[order], ~disease[order])
    for x, z in ((a.sensitivity, b.specificity), (a.specificity, b.sensitivity)):
        assert (x.value is None) == (z.value is None)
        if x.value is not None:
            assert z.value == pytest.approx(x.value, abs=1e-12)
            if x.low is not None:
                assert (z.low, z.high) == pytest.approx((x.low, x.high), abs=1e-7)
                assert 0 <= x.low <= x.value <= x.high <= 1

"""What must hold of any agreement statistic: order, direction, units, and the interval around the value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalsuite.stats.agreement import bias, bland_altman, mean_absolute_error, root_mean_square_error
from evalsuite.stats.deviation import total_deviation_index
from evalsuite.stats.method_comparison import deming, passing_bablok
from evalsuite.stats.ordinal import gwet_ac, kendall_tau_b, vus
from evalsuite.stats.repeatability import concordance, icc

pairs = st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=1, max_size=25)
tables = st.integers(2, 4).flatmap(
    lambda k: st.lists(st.lists(st.integers(0, 30), min_size=k, max_size=k), min_size=k, max_size=k)
)


SETTINGS = settings(deadline=None, max_examples=60)


def _ends(e):
    return e.value, e.low, e.high


def _holds(e):
    if e.value is None:
        assert e.undefined
    elif e.low is None:
        assert e.interval_undefined
    else:
        slack = 1e-9 * max(1.0, abs(e.value))
        assert e.low - slack <= e.value <= e.high + slack
        assert e.high > e.low


def _same(a, b):
    assert (a.value is None) == (b.value is None)
    assert (a.low is None) == (b.low is None)
    for left, right in zip(_ends(a), _ends(b), strict=True):
        if left is not None:
            assert left == pytest.approx(right, rel=1e-6, abs=1e-7)


@SETTINGS
@given(pairs, st.randoms(use_true_random=False))
def test_measurements(rows, random):
    x, y = (np.array(v, float) for v in zip(*rows, strict=True))
    patient = np.arange(x.size) // 2
    order = list(range(len(rows)))
    random.shuffle(order)
    for function in (bias, mean_absolute_error, root_mean_square_error):
        for p in (None, patient):
            e = function(y, x, patient=p)
            _holds(e)
            _same(e, function(y[order], x[order], patient=None if p is None else p[order]))
    for p in (None, patient):
        r, back = bland_altman(y, x, patient=p), bland_altman(x, y, patient=p)
        for part in ("bias", "sd", "lower_limit", "upper_limit", "proportional_bias", "spread_trend"):
            _holds(getattr(r, part))
        _same(r.sd, back.sd)
        if r.upper_limit.low is not None:
            up, down = r.upper_limit, back.lower_limit
            assert (up.value, up.low, up.high) == pytest.approx((-down.value, -down.high, -down.low), abs=1e-7)
    _holds(total_deviation_index(y, x))
    _holds(concordance(y, x))
    _same(concordance(y, x), concordance(x, y))
    for kind in ("icc(2,1)", "icc(3,1)"):
        e = icc(np.column_stack([x, y]), kind)
        _holds(e)
        _same(e, icc(np.column_stack([y, x])[order], kind))


@SETTINGS
@given(pairs, st.randoms(use_true_random=False))
def test_lines(rows, random):
    x, y = (np.array(v, float) for v in zip(*rows, strict=True))
    order = list(range(len(rows)))
    random.shuffle(order)
    for fit in (deming, passing_bablok):
        line, again = fit(y, x), fit(y[order], x[order])
        for part in ("slope", "intercept"):
            _holds(getattr(line, part))
        _same(line.slope, again.slope)


@SETTINGS
@given(tables)
def test_grades(table):
    t = np.array(table)
    for function in (gwet_ac, kendall_tau_b):
        e = function(t)
        _holds(e)
        if e.value is not None:
            assert -1 <= e.value <= 1
        _same(e, function(t.T))  # raters exchanged
        _same(e, function(t[::-1, ::-1]))  # scale reversed
    a, b = kendall_tau_b(t), kendall_tau_b(t[::-1])
    if a.low is not None:
        assert _ends(a) == pytest.approx((-b.value, -b.high, -b.low), abs=1e-9)


@SETTINGS
@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 2)), max_size=30))
def test_volume_under_the_surface_ignores_increasing_maps(rows):
    s, g = np.array([r[0] for r in rows], float), np.array([r[1] for r in rows], int)
    e = vus(s, g)
    _holds(e)
    _same(e, vus(np.exp(s / 2), g))

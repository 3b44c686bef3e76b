"""What must hold of any interval for proportions, tables, differences and families of tests."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.contingency import balanced_accuracy, cohen_kappa, f1, mcc, youden
from evalsuite.stats.differences import PairedCounts, difference, mcnemar, paired_difference, ratio
from evalsuite.stats.multiplicity import adjust_p
from evalsuite.stats.predictive import likelihood_ratio, predictive_value
from evalsuite.stats.proportions import METHOD_NAMES, exact_binomial_test, proportion

METHODS = sorted(METHOD_NAMES)
SETTINGS = settings(deadline=None, max_examples=60)
counts = st.integers(0, 200)
levels = st.sampled_from([0.8, 0.9, 0.95, 0.99])


@st.composite
def fractions(draw):
    n = draw(st.integers(1, 10**6))
    return draw(st.integers(0, n)), n


def _ends(e):
    return e.value, e.low, e.high


@SETTINGS
@given(fractions(), st.sampled_from(METHODS), levels)
def test_a_proportions_interval_contains_it_mirrors_and_widens(xn, method, level):
    x, n = xn
    e, mirror = proportion(x, n, level=level, method=method), proportion(n - x, n, level=level, method=method)
    assert 0 <= e.low < e.high <= 1
    if method != "jeffreys" or 0 < x < n:
        assert e.low <= e.value <= e.high
    assert (mirror.low, mirror.high) == pytest.approx((1 - e.high, 1 - e.low), abs=1e-9)
    wide = proportion(x, n, level=0.995, method=method)
    assert wide.low <= e.low + 1e-12
    assert wide.high >= e.high - 1e-12


@SETTINGS
@given(fractions(), st.floats(0.01, 0.99))
def test_exact_test_and_interval_agree(xn, goal):
    x, n = xn
    p, low = exact_binomial_test(x, n, goal, "greater"), proportion(x, n).low
    if abs(low - goal) > 1e-9:
        assert (p < 0.025) == (low > goal)


@SETTINGS
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=40),
    st.sampled_from(METHODS),
    st.randoms(use_true_random=False),
)
def test_clustered_proportions_ignore_order_and_labels_and_mirror(rows, method, random):
    y, c = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    e = clustered_proportion(y, c, method=method)
    order = list(range(len(rows)))
    random.shuffle(order)
    shuffled = clustered_proportion(y[order], 100 - 3 * c[order], method=method)
    assert (e.low is None) == (shuffled.low is None)
    assert e.value == pytest.approx(shuffled.value, abs=1e-12)
    wrong = clustered_proportion(~y, c, method=method)
    if e.low is not None:
        assert (shuffled.low, shuffled.high) == pytest.approx((e.low, e.high), abs=1e-9)
        assert (wrong.low, wrong.high) == pytest.approx((1 - e.high, 1 - e.low), abs=1e-9)
        assert e.low < e.high
        assert e.design_effect >= 1.0
        if method != "jeffreys":
            assert e.low - 1e-12 <= e.value <= e.high + 1e-12


@SETTINGS
@given(counts, counts, counts, counts, levels)
def test_table_summaries(tp, fn, fp, tn, level):
    for function in (cohen_kappa, mcc, youden, balanced_accuracy, f1):
        e = function(tp, fn, fp, tn, level=level)
        if e.value is None:
            assert e.undefined
            continue
        assert e.low - 1e-12 <= e.value <= e.high + 1e-12
        assert e.high - e.low > 1e-9
        wide = function(tp, fn, fp, tn, level=0.995)
        assert wide.low <= e.low + 1e-9
        assert wide.high >= e.high - 1e-9
        if function is not f1:  # symmetric in the two classes; F1 is not
            assert _ends(function(tn, fp, fn, tp, level=level)) == pytest.approx(_ends(e), abs=1e-9)
    for kind in ("positive", "negative"):
        e = likelihood_ratio(kind, tp=tp, fn=fn, tn=tn, fp=fp, level=level)
        if e.value is not None:
            assert e.low <= e.value <= e.high
            assert e.high > e.low


@SETTINGS
@given(counts, counts, counts, counts, st.floats(0.001, 0.999))
def test_predictive_values(tp, fn, fp, tn, prevalence):
    for kind in ("ppv", "npv"):
        e = predictive_value(
            kind, true_positive=tp, n_positive=tp + fn, true_negative=tn, n_negative=tn + fp, prevalence=prevalence
        )
        if e.value is not None:
            assert 0 <= e.low <= e.value <= e.high <= 1
            assert e.high > e.low


@SETTINGS
@given(fractions(), fractions(), st.sampled_from(["newcombe", "miettinen-nurminen", "mee"]))
def test_differences_change_sign(a, b, method):
    e, back = difference(*a, *b, method=method), difference(*b, *a, method=method)
    assert e.low - 1e-12 <= e.value <= e.high + 1e-12
    assert e.high > e.low
    assert _ends(back) == pytest.approx((-e.value, -e.high, -e.low), abs=1e-8)


@SETTINGS
@given(fractions(), fractions())
def test_ratios_invert(a, b):
    e, back = ratio(*a, *b), ratio(*b, *a)
    if e.value and back.value:
        assert e.low <= e.value <= e.high
        assert (back.low, back.high) == pytest.approx((1 / e.high, 1 / e.low), rel=1e-6)


@SETTINGS
@given(counts, counts, counts, counts, st.sampled_from(["tango", "newcombe"]))
def test_paired_differences_change_sign(both, b, c, neither, method):
    e = paired_difference(PairedCounts(both=both, first_only=b, second_only=c, neither=neither), method=method)
    back = paired_difference(PairedCounts(both=both, first_only=c, second_only=b, neither=neither), method=method)
    if e.value is None:
        assert both + b + c + neither == 0
        return
    assert e.low - 1e-12 <= e.value <= e.high + 1e-12
    assert e.high > e.low
    assert _ends(back) == pytest.approx((-e.value, -e.high, -e.low), abs=1e-9)
    assert mcnemar(b, c).p_value == mcnemar(c, b).p_value


@SETTINGS
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_adjusted_p_values_are_ordered(p, random):
    values = {m: adjust_p(p, m) for m in ("none", "hommel", "hochberg", "holm", "bonferroni", "bh", "by")}
    chain = ["none", "hommel", "hochberg", "holm", "bonferroni"]
    for less, more in itertools.pairwise(chain):
        assert (values[less] <= values[more] + 1e-12).all(), (less, more)
    assert (values["bh"] <= values["by"] + 1e-12).all()
    assert (values["bh"] <= values["hommel"] + 1e-12).all()
    order = list(range(len(p)))
    random.shuffle(order)
    for method in values:
        assert adjust_p(np.array(p)[order], method) == pytest.approx(values[method][order], abs=1e-12)

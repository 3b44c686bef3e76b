"""Proportions of independent cases: values, limits, edges."""

from __future__ import annotations

import pytest

from evalsuite.stats.proportions import METHOD_NAMES, exact_binomial_test, proportion, proportion_interval

METHODS = sorted(METHOD_NAMES)


def test_the_example_in_the_documentation():
    e = proportion(27, 30, n_positive=30, n_patients=28)
    assert (round(e.value, 3), round(e.low, 3), round(e.high, 3)) == (0.9, 0.735, 0.979)
    assert (e.numerator, e.denominator, e.n, e.n_positive, e.n_patients) == (27, 30, 30, 30, 28)
    assert e.method == "Clopper-Pearson"


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_denominator_is_not_estimable(method):
    e = proportion(0, 0, method=method, n_positive=0)
    assert e.value is None
    assert e.low is None
    assert e.undefined == "no cases in the denominator"
    assert (e.n, e.numerator, e.denominator) == (0, 0, 0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [1, 2, 5, 29, 1000, 10**6])
def test_a_boundary_interval_has_width(method, n):
    none, everything = proportion(0, n, method=method), proportion(n, n, method=method)
    assert none.value == 0.0
    assert everything.value == 1.0
    assert none.high > 1e-7
    assert everything.low < 1 - 1e-7
    assert none.low == pytest.approx(1 - everything.high, abs=1e-12)
    assert none.high == pytest.approx(1 - everything.low, abs=1e-12)
    if method != "jeffreys":
        assert none.low == 0.0
        assert everything.high == 1.0


def test_jeffreys_is_the_equal_tailed_posterior_even_at_the_boundary():
    assert 0 < proportion(0, 20, method="jeffreys").low < 1e-4


def test_clopper_pearson_at_the_boundary_is_the_closed_form():
    assert proportion(29, 29).low == pytest.approx(0.025 ** (1 / 29), abs=1e-14)
    assert round(proportion(29, 29).low, 3) == 0.881
    assert proportion(0, 7, level=0.9).high == pytest.approx(1 - 0.05 ** (1 / 7), abs=1e-14)


def test_five_of_five():
    e = proportion(5, 5)
    assert round(e.low, 3) == 0.478
    assert e.high == 1.0


def test_numpy_integers_are_counts_and_fractions_are_not():
    np = pytest.importorskip("numpy")
    assert proportion(np.int64(3), np.int32(4)).value == 0.75
    with pytest.raises(ValueError, match="whole number"):
        proportion(2.5, 4)


@pytest.mark.parametrize(("x", "n"), [(-1, 4), (5, 4), (0, -1)])
def test_impossible_counts_are_refused(x, n):
    with pytest.raises(ValueError, match=r"negative|exceeds"):
        proportion(x, n)


def test_unknown_method_and_level_are_refused():
    with pytest.raises(ValueError, match="clopper-pearson"):
        proportion(1, 2, method="wald")
    for level in (0.0, 1.0, -1, 95):
        with pytest.raises(ValueError, match="level"):
            proportion(1, 2, level=level)
    with pytest.raises(ValueError, match="n > 0"):
        proportion_interval(0, 0)


def test_exact_test_by_hand():
    assert exact_binomial_test(5, 5, 0.5, "greater") == pytest.approx(1 / 32, abs=1e-15)
    assert exact_binomial_test(0, 5, 0.5, "less") == pytest.approx(1 / 32, abs=1e-15)
    assert exact_binomial_test(5, 5, 0.5, "two-sided") == pytest.approx(1 / 16, abs=1e-15)
    assert exact_binomial_test(0, 5, 0.5, "greater") == 1.0
    assert exact_binomial_test(0, 0, 0.5) == 1.0


def test_exact_test_agrees_with_the_clopper_pearson_bound():
    low = proportion(81, 100).low
    assert exact_binomial_test(81, 100, low, "greater") == pytest.approx(0.025, abs=1e-9)


def test_exact_test_refuses_nonsense():
    with pytest.raises(ValueError, match="goal"):
        exact_binomial_test(1, 2, 1.5)
    with pytest.raises(ValueError, match="exceeds"):
        exact_binomial_test(3, 2, 0.5)
    with pytest.raises(ValueError, match="alternative"):
        exact_binomial_test(1, 2, 0.5, "bigger")

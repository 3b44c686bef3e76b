"""Kappa, MCC, F1, Youden's index and their kin; McNemar and Stuart-Maxwell."""

from __future__ import annotations

import math

import pytest

from evalsuite.stats.contingency import (
    balanced_accuracy,
    cohen_kappa,
    diagnostic_odds_ratio,
    f1,
    kappa_from_table,
    mcc,
    mcnemar,
    number_needed_to_diagnose,
    stuart_maxwell,
    youden,
)

SUMMARIES = [cohen_kappa, mcc, f1, youden, balanced_accuracy]


@pytest.mark.parametrize("function", SUMMARIES)
@pytest.mark.parametrize("cells", [(26, 15, 14, 58), (1, 1, 1, 1), (9, 1, 0, 20), (0, 5, 2, 7), (5, 0, 3, 1)])
def test_an_interval_with_width_around_the_value(function, cells):
    e = function(*cells, n_patients=7)
    assert e.low <= e.value <= e.high
    assert e.high - e.low > 0.01
    assert e.n == sum(cells)
    assert (e.n_positive, e.n_negative) == (cells[0] + cells[1], cells[2] + cells[3])
    assert e.n_patients == 7


@pytest.mark.parametrize("function", SUMMARIES)
@pytest.mark.parametrize("n", [1, 5, 200])
def test_a_perfect_table_still_has_a_lower_limit(function, n):
    e = function(n, 0, 0, n)
    assert e.value == e.high == 1.0
    assert -1.0 <= e.low < 1.0
    if n == 200:
        assert e.low > 0.9


@pytest.mark.parametrize("function", [cohen_kappa, mcc, youden])
def test_a_completely_wrong_table_still_has_an_upper_limit(function):
    e = function(0, 30, 30, 0)
    assert e.value == e.low == -1.0
    assert -1.0 < e.high < 0


@pytest.mark.parametrize("function", [mcc, youden, balanced_accuracy])
def test_a_missing_class_is_not_estimable(function):
    assert function(0, 0, 2, 8).undefined == "no reference-positive cases"
    assert function(3, 1, 0, 0).undefined == "no reference-negative cases"
    assert function(0, 0, 0, 0).undefined is not None


def test_further_reasons():
    assert mcc(0, 3, 0, 8).undefined == "no case is called positive"
    assert mcc(3, 0, 8, 0).undefined == "no case is called negative"
    assert "no reference-positive case" in f1(0, 0, 0, 9).undefined
    assert cohen_kappa(0, 0, 0, 0).undefined == "no cases"
    assert "one category" in cohen_kappa(7, 0, 0, 0).undefined


def test_f1_numbers():
    e = f1(8, 2, 4, 100)
    assert e.value == pytest.approx(16 / 22)
    assert (e.numerator, e.denominator) == (16, 22)
    assert f1(0, 3, 2, 5).value == 0.0
    assert f1(0, 3, 2, 5).high > 0.1
    assert "Clopper-Pearson" in f1(8, 2, 4, method="clopper-pearson").method


def test_mcc_with_large_counts_does_not_overflow():
    e = mcc(4 * 10**9, 10**9, 10**9, 5 * 10**9)
    assert 0 < e.low < e.value < e.high < 1


def test_youden_methods():
    hybrid, rectangle = youden(26, 15, 14, 58), youden(26, 15, 14, 58, method="rectangle")
    assert hybrid.value == rectangle.value
    assert rectangle.low < hybrid.low < hybrid.high < rectangle.high
    with pytest.raises(ValueError, match="newcombe"):
        youden(1, 1, 1, 1, method="wald")
    with pytest.raises(ValueError, match="newcombe"):
        balanced_accuracy(1, 1, 1, 1, method="wald")


def test_number_needed_to_diagnose():
    e = number_needed_to_diagnose(26, 15, 14, 58)
    index = youden(26, 15, 14, 58)
    assert (e.value, e.low, e.high) == pytest.approx((1 / index.value, 1 / index.high, 1 / index.low))
    assert "unbounded" in number_needed_to_diagnose(6, 5, 5, 6).interval_undefined
    assert "not above 0" in number_needed_to_diagnose(5, 5, 5, 5).undefined
    assert number_needed_to_diagnose(0, 0, 5, 5).undefined == "no reference-positive cases"


def test_diagnostic_odds_ratio_edges():
    e = diagnostic_odds_ratio(0, 5, 2, 8)
    assert e.value == e.low == 0.0
    assert e.high > 0.5
    assert "Gart" in e.method
    assert "no false positive" in diagnostic_odds_ratio(5, 2, 0, 8).undefined
    assert "no false negative" in diagnostic_odds_ratio(5, 0, 2, 8).undefined
    assert diagnostic_odds_ratio(0, 0, 2, 8).undefined == "no reference-positive cases"


def test_kappa_weights_agree_on_two_categories():
    table = [[20, 5], [3, 30]]
    plain = kappa_from_table(table)
    for weights in ("linear", "quadratic"):
        e = kappa_from_table(table, weights=weights)
        assert (e.value, e.low, e.high) == pytest.approx((plain.value, plain.low, plain.high))
        assert e.method.startswith(weights.capitalize())


@pytest.mark.parametrize("table", [[[1, 2]], [[1]], [[1, -1], [0, 2]], [[0.5, 1], [1, 1]], [[float("nan"), 1], [1, 1]]])
def test_kappa_refuses_what_is_no_table(table):
    with pytest.raises(ValueError, match="table"):
        kappa_from_table(table)


def test_kappa_refuses_unknown_weights():
    with pytest.raises(ValueError, match="weights"):
        kappa_from_table([[1, 2], [3, 4]], weights="cubic")


def test_mcnemar_without_discordant_pairs():
    for method in ("exact", "mid-p"):
        assert mcnemar(0, 0, method=method).p_value == 1.0
    for method in ("asymptotic", "asymptotic-cc"):
        t = mcnemar(0, 0, method=method)
        assert t.p_value is None
        assert t.undefined == "no discordant pairs"


def test_mcnemar_by_hand():
    assert mcnemar(5, 0).p_value == pytest.approx(2 / 32)
    assert mcnemar(5, 0, method="mid-p").p_value == pytest.approx(1 / 32)
    assert mcnemar(3, 3).p_value == 1.0
    assert mcnemar(3, 3, method="mid-p").p_value == pytest.approx(1 - math.comb(6, 3) / 128)
    assert mcnemar(5, 1, method="asymptotic").statistic == pytest.approx(16 / 6)
    assert mcnemar(5, 1, method="asymptotic-cc").statistic == pytest.approx(9 / 6)
    assert mcnemar(3, 3, method="asymptotic-cc").statistic == 0.0
    assert mcnemar(9, 2, name="a vs b", endpoint="sensitivity").endpoint == "sensitivity"
    assert mcnemar(2000, 1800).p_value == pytest.approx(mcnemar(2000, 1800, method="asymptotic-cc").p_value, rel=0.01)


def test_mcnemar_refuses_nonsense():
    with pytest.raises(ValueError, match="method"):
        mcnemar(1, 2, method="wald")
    with pytest.raises(ValueError, match="negative"):
        mcnemar(-1, 2)


def test_stuart_maxwell_edges():
    assert stuart_maxwell([[5, 0], [0, 7]]).undefined == "no discordant pairs"
    two = stuart_maxwell([[5, 6], [2, 7]])
    assert two.statistic == pytest.approx(mcnemar(6, 2, method="asymptotic").statistic)
    # An unused category, and one that is always agreed on, change nothing.
    padded = stuart_maxwell([[5, 6, 0, 0], [2, 7, 0, 0], [0, 0, 0, 0], [0, 0, 0, 9]])
    assert (padded.statistic, padded.p_value) == pytest.approx((two.statistic, two.p_value))
    # Two blocks that never mix: the statistics and degrees of freedom add.
    blocks = stuart_maxwell([[1, 6, 0, 0], [2, 1, 0, 0], [0, 0, 1, 9], [0, 0, 1, 1]])
    assert blocks.statistic == pytest.approx(two.statistic + mcnemar(9, 1, method="asymptotic").statistic)
    assert "2 df" in blocks.method

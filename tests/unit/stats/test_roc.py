"""AUROC and ROC curve at the edges: one class, ties, perfect separation, infinite scores, patients."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from scipy.optimize import brentq

from evalsuite.stats._rank import newcombe_interval
from evalsuite.stats.roc import NEWCOMBE, auroc, auroc_variance, roc_band, roc_curve
from evalsuite.stats.roc_compare import (
    equivalence_test,
    noninferiority_test,
    paired_auroc_difference,
    superiority_test,
    unpaired_auroc_difference,
)
from evalsuite.stats.roc_operating import (
    partial_auroc,
    partial_auroc_value,
    sensitivity_at_specificity,
    specificity_at_sensitivity,
)

Y = np.array([0, 0, 0, 0, 1, 1, 1, 1], dtype=bool)
S = np.array([0.1, 0.2, 0.3, 0.6, 0.4, 0.5, 0.7, 0.9])


@pytest.mark.parametrize(
    ("reference", "reason"),
    [([], "no cases"), ([1, 1], "no reference-negative cases"), ([0, 0, 0], "no reference-positive cases")],
)
def test_one_class_is_not_estimable(reference: list[int], reason: str) -> None:
    e = auroc(reference, np.zeros(len(reference)))
    assert (e.value, e.undefined, e.n) == (None, reason, len(reference))
    with pytest.raises(ValueError, match=reason):
        roc_curve(reference, np.zeros(len(reference)))
    with pytest.raises(ValueError, match=reason):
        roc_band(reference, np.zeros(len(reference)))
    with pytest.raises(ValueError, match=reason):
        partial_auroc_value(reference, np.zeros(len(reference)))
    assert partial_auroc(reference, np.zeros(len(reference)), replicates=2).undefined == reason
    assert paired_auroc_difference(reference, np.zeros(len(reference)), np.zeros(len(reference))).test.undefined


def test_by_hand() -> None:
    e = auroc(Y, S)
    # 14 of 16 pairs: .4 and .5 lose to .6.
    assert e.value == 14 / 16
    assert (e.n_positive, e.n_negative, e.n_patients, e.method) == (4, 4, 8, "DeLong")
    assert e.low is not None
    assert e.high == 1.0  # clipped


@pytest.mark.parametrize("sign", [1, -1])
def test_perfect_separation_has_a_newcombe_interval(sign: int) -> None:
    y = np.repeat([False, True], [30, 20])
    e = auroc(y, sign * y.astype(float))
    assert e.value == (1.0 if sign > 0 else 0.0)
    assert e.method == NEWCOMBE
    assert e.low is not None
    assert e.high is not None
    assert 0.03 < e.high - e.low < 0.2

    # Solved again from the definition with a different bracketing.
    def excess(t: float) -> float:
        star = 24.0
        v = t * (1 - t) / 600 * (1 + star * (1 - t) / (2 - t) + star * t / (1 + t))
        return (1 - t) ** 2 - 1.959963984540054**2 * v

    root = brentq(excess, 0.5, 1 - 1e-9)
    assert (e.low if sign > 0 else 1 - e.high) == pytest.approx(root, abs=1e-9)


def test_perfect_separation_of_clustered_cases_counts_patients() -> None:
    y = np.repeat([False, True], [40, 40])
    patient = np.repeat(np.arange(10), 8)
    naive, e = auroc(y, y.astype(float)), auroc(y, y.astype(float), cluster=patient)
    assert e.method == f"{NEWCOMBE}, n = patients"
    assert (e.low, e.high) == newcombe_interval(1.0, 5, 5, 0.95)
    assert e.low is not None
    assert naive.low is not None
    assert e.low < naive.low
    assert e.n_patients == 10


def test_all_ties_is_one_half_with_an_interval() -> None:
    e = auroc(Y, np.ones(8))
    assert e.value == 0.5
    assert e.method == NEWCOMBE
    assert e.low is not None
    assert e.high is not None
    assert e.low < 0.5 < e.high
    assert e.low == pytest.approx(1 - e.high, abs=1e-10)


def test_single_positive_case_has_an_interval() -> None:
    e = auroc([0, 0, 0, 0, 1], [1, 2, 3, 4, 3.5])
    assert e.value == 0.75
    assert e.method == NEWCOMBE
    assert e.low is not None
    assert e.low < 0.75


def test_one_patient_with_all_positives_has_a_reason_instead_of_an_interval() -> None:
    e = auroc(Y, S, cluster=[1, 2, 3, 4, 5, 5, 5, 5])
    assert e.value == 14 / 16
    assert e.low is None
    assert e.interval_undefined is not None
    assert "positive cases come from one patient" in e.interval_undefined
    everything = auroc(Y, S, cluster=np.zeros(8))
    assert everything.interval_undefined is not None
    assert everything.n_patients == 1


def test_infinite_scores_take_part_by_rank() -> None:
    s = S.copy()
    s[0], s[-1] = -np.inf, np.inf
    assert auroc(Y, s).value == auroc(Y, S).value
    assert np.isfinite(roc_curve(Y, s).tpr).all()


def test_nan_and_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        auroc(Y, np.where(S == 0.1, np.nan, S))
    with pytest.raises(ValueError, match="shape"):
        auroc(Y, S[:-1])
    with pytest.raises(ValueError, match="False/True"):
        auroc([0, 2], [0.1, 0.2])
    with pytest.raises(ValueError, match="cluster"):
        auroc(Y, S, cluster=[1, 2])
    with pytest.raises(ValueError, match="cluster holds NaN"):
        auroc(Y, S, cluster=np.full(8, np.nan))
    with pytest.raises(ValueError, match="method"):
        auroc(Y, S, method="wald")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="level"):
        auroc(Y, S, level=95)


def test_logit_scale_stays_inside() -> None:
    e = auroc(Y, S, method="logit-delong")
    spread = auroc_variance(Y, S)
    assert spread is not None
    assert spread.naive is not None
    assert e.low is not None
    assert e.high is not None
    assert 0 < e.low < e.high < 1
    half = 1.959963984540054 * math.sqrt(spread.naive) / (spread.auroc * (1 - spread.auroc))
    assert math.log(e.high / (1 - e.high)) == pytest.approx(math.log(7) + half)


def test_further_counts_are_taken_over() -> None:
    assert auroc(Y, S, n_patients=3).n_patients == 3


def test_million_cases_with_ties_are_exact_and_fast() -> None:
    rng = np.random.default_rng(0)
    y = rng.random(1_000_000) < 0.3
    s = rng.integers(0, 1000, 1_000_000) + 60 * y
    began = time.perf_counter()
    e = auroc(y, s)
    assert time.perf_counter() - began < 20  # a loaded machine; the benchmark says what it takes on a free one
    # Exactly, in integers, over the 1,060 distinct scores.
    pos, neg = np.bincount(s[y], minlength=1060), np.bincount(s[~y], minlength=1060)
    below = np.cumsum(neg) - neg
    twice = sum(int(p) * (2 * int(b) + int(q)) for p, b, q in zip(pos, below, neg, strict=True))
    assert e.value == twice / (2 * int(pos.sum()) * int(neg.sum()))


def test_roc_curve_starts_and_ends_in_the_corners() -> None:
    c = roc_curve(Y, S)
    assert (c.fpr[0], c.tpr[0], c.threshold[0]) == (0.0, 0.0, np.inf)
    assert (c.fpr[-1], c.tpr[-1], c.threshold[-1]) == (1.0, 1.0, 0.1)
    assert (np.diff(c.fpr) >= 0).all()
    assert float(np.trapezoid(c.tpr, c.fpr)) == pytest.approx(14 / 16)


def test_band_contains_the_curve_and_is_reproducible() -> None:
    rng = np.random.default_rng(2)
    y = rng.random(150) < 0.4
    s = rng.normal(size=150) + y
    grid = np.array([0.1, 0.3, 0.5])
    low, high = roc_band(y, s, grid_fpr=grid, replicates=300, seed=4, cluster=np.arange(150) // 2)
    again = roc_band(y, s, grid_fpr=grid, replicates=300, seed=4, cluster=np.arange(150) // 2)
    np.testing.assert_array_equal(low, again[0])
    curve = roc_curve(y, s)
    at = np.interp(grid, curve.fpr, curve.tpr)
    assert (low <= at).all()
    assert (at <= high).all()


def test_partial_areas_add_up() -> None:
    parts = [partial_auroc_value(Y, S, range=r) for r in ((0.0, 0.3), (0.3, 0.8), (0.8, 1.0))]
    assert sum(parts) == pytest.approx(14 / 16)
    parts = [partial_auroc_value(Y, S, focus="sensitivity", range=r) for r in ((0.0, 0.6), (0.6, 1.0))]
    assert sum(parts) == pytest.approx(14 / 16)
    assert partial_auroc_value(Y, Y.astype(float), corrected=True) == 1.0
    assert partial_auroc_value(Y, np.zeros(8), corrected=True) == pytest.approx(0.5)


def test_operating_estimates_carry_interval_or_reason() -> None:
    rng = np.random.default_rng(3)
    y = rng.random(120) < 0.4
    s = rng.normal(size=120) + y
    for e in (
        partial_auroc(y, s, replicates=200, corrected=True),
        partial_auroc(y, s, replicates=200, method="bca"),
        sensitivity_at_specificity(y, s, 0.8, replicates=200, cluster=np.arange(120) // 2, level=0.9),
        specificity_at_sensitivity(y, s, 0.8, replicates=200, stratified=True),
    ):
        assert e.value is not None
        assert e.low is not None
        assert e.high is not None
        assert e.low <= e.value <= e.high
        assert e.replicates == 200
    perfect = sensitivity_at_specificity(y, y.astype(float), 0.9, replicates=50)
    assert perfect.value == 1.0
    assert perfect.interval_undefined is not None
    for bad in ({"range": (0.9, 0.8)}, {"range": (0.5, 1.2)}, {"focus": "fpr"}):
        with pytest.raises(ValueError, match=r"range|focus"):
            partial_auroc_value(y, s, **bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="specificity"):
        sensitivity_at_specificity(y, s, 1.5)


def test_identical_scores_have_no_test_but_a_reason() -> None:
    d = paired_auroc_difference(Y, S, 2 * S)
    assert d.estimate.value == 0.0
    assert d.estimate.interval_undefined is not None
    assert d.test.p_value is None
    assert noninferiority_test(d, margin=0.05).undefined is not None
    assert equivalence_test(d, margin=0.05).undefined is not None


def test_margins_shift_the_z_statistic() -> None:
    rng = np.random.default_rng(5)
    y = rng.random(300) < 0.5
    a, b = rng.normal(size=300) + 1.2 * y, rng.normal(size=300) + y
    d = paired_auroc_difference(y, a, b, cluster=np.arange(300) // 3)
    assert d.estimate.value is not None
    assert d.standard_error is not None
    assert d.estimate.method == "Obuchowski, paired"
    z = d.estimate.value / d.standard_error
    assert d.test.statistic == pytest.approx(z)
    assert superiority_test(d).statistic == pytest.approx(z)
    assert noninferiority_test(d, margin=0.1).statistic == pytest.approx(z + 0.1 / d.standard_error)
    tost = equivalence_test(d, margin=0.1)
    assert tost.statistic == pytest.approx(0.1 / d.standard_error - abs(z))
    # TOST at 5 % and the 90 % interval inside the margin are one and the same.
    ninety = paired_auroc_difference(y, a, b, cluster=np.arange(300) // 3, level=0.90).estimate
    assert ninety.low is not None
    assert ninety.high is not None
    assert tost.p_value is not None
    assert (tost.p_value < 0.05) == (ninety.low > -0.1 and ninety.high < 0.1)
    with pytest.raises(ValueError, match="margin"):
        noninferiority_test(d, margin=0.0)


def test_unpaired_refuses_shared_patients() -> None:
    with pytest.raises(ValueError, match="both groups"):
        unpaired_auroc_difference((Y, S), (Y, S), clusters=(np.arange(8), np.arange(7, 15)))
    d = unpaired_auroc_difference((Y, S), (Y, S), clusters=(np.arange(8), np.arange(8, 16)))
    assert d.estimate.value == 0.0
    assert d.estimate.n_patients == 16
    one = unpaired_auroc_difference((Y, S), (np.ones(3), np.ones(3)))
    assert one.estimate.undefined == "second group: no reference-negative cases"


def test_newcombe_can_be_asked_for_by_name() -> None:
    e = auroc(Y, S, method="newcombe")
    assert (e.low, e.high) == newcombe_interval(14 / 16, 4, 4, 0.95)
    assert e.method == NEWCOMBE
    y, s, patient = np.repeat(Y, 3), np.repeat(S, 3), np.repeat(np.arange(8), 3)
    clustered = auroc(y, s, method="newcombe", cluster=patient)
    effect = clustered.design_effect
    assert effect is not None
    assert effect > 2
    assert (clustered.low, clustered.high) == newcombe_interval(14 / 16, 12 / effect, 12 / effect, 0.95)
    assert clustered.method == f"{NEWCOMBE}, effective n"

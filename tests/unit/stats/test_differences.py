"""Differences and ratios of proportions: edges, refusals, agreement between methods."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.differences import (
    PairedCounts,
    difference,
    difference_test,
    mcnemar,
    mover_difference,
    nam_test,
    paired_counts,
    paired_difference,
    ratio,
)
from evalsuite.stats.proportions import proportion
from evalsuite.types import Estimate

METHODS = ["newcombe", "miettinen-nurminen", "mee"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("counts", [(0, 10, 0, 12), (10, 10, 12, 12), (10, 10, 0, 5), (0, 10, 5, 5), (1, 1, 0, 1)])
def test_boundary_groups_keep_a_width(method, counts):
    e = difference(*counts, method=method)
    assert e.low <= e.value <= e.high
    assert e.high - e.low > 0.05
    assert e.low >= -1
    assert e.high <= 1
    assert e.n == counts[1] + counts[3]


@pytest.mark.parametrize("function", [difference, ratio])
def test_an_empty_group(function):
    assert function(0, 0, 3, 4).undefined == "no cases in the first group"
    assert function(3, 4, 0, 0).undefined == "no cases in the second group"


def test_refusals():
    with pytest.raises(ValueError, match="newcombe"):
        difference(1, 2, 1, 2, method="wald")
    with pytest.raises(ValueError, match="exceed"):
        difference(3, 2, 1, 2)
    with pytest.raises(ValueError, match="koopman"):
        ratio(1, 2, 1, 2, method="wald")
    with pytest.raises(ValueError, match="null"):
        difference_test(1, 2, 1, 2, null=1.0)
    with pytest.raises(ValueError, match="alternative"):
        difference_test(1, 2, 1, 2, alternative="bigger")
    with pytest.raises(ValueError, match="tango"):
        paired_difference(PairedCounts(both=1, first_only=0, second_only=0, neither=0), method="wald")
    with pytest.raises(ValueError, match="negative"):
        PairedCounts(both=1, first_only=-1, second_only=0, neither=0)
    with pytest.raises(ValueError, match="shapes"):
        paired_counts([1, 0], [1])
    with pytest.raises(ValueError, match="true and false"):
        paired_counts([1, 2], [1, 0])
    with pytest.raises(ValueError, match="null"):
        nam_test(PairedCounts(both=1, first_only=1, second_only=1, neither=1), null=-1.0)


def test_ratio_edges():
    assert ratio(0, 5, 0, 6).undefined == "both proportions are 0"
    assert "unbounded" in ratio(2, 5, 0, 6).undefined
    e = ratio(0, 5, 3, 6)
    assert e.value == e.low == 0.0
    assert e.high > 0
    e = ratio(5, 5, 6, 6, method="katz")
    assert e.low < e.value < e.high
    assert "Koopman" in e.method


def test_non_inferiority_direction():
    # 90/100 against 88/100 is not inferior by 0.15, far from superior.
    assert difference_test(90, 100, 88, 100, null=-0.15, alternative="greater").p_value < 0.001
    assert difference_test(90, 100, 88, 100, null=0.0, alternative="greater").p_value > 0.2
    assert difference_test(90, 100, 88, 100, null=0.15, alternative="less").p_value < 0.01
    assert difference_test(0, 0, 1, 2).undefined == "no cases in the first group"
    assert difference_test(0, 10, 0, 12).p_value == 1.0
    assert difference_test(56, 70, 48, 80, finite_n=False).method == "Farrington-Manning score"


def test_farrington_manning_against_zero_is_the_pooled_z_test():
    t = difference_test(56, 70, 48, 80, finite_n=False)
    pooled = 104 / 150
    z = 0.2 / np.sqrt(pooled * (1 - pooled) * (1 / 70 + 1 / 80))
    assert t.statistic == pytest.approx(z, abs=1e-9)


def test_mover_of_wilson_is_newcombe():
    a, b = proportion(56, 70, method="wilson"), proportion(48, 80, method="wilson")
    got, want = mover_difference(a, b), difference(56, 70, 48, 80)
    assert (got.value, got.low, got.high, got.n) == pytest.approx((want.value, want.low, want.high, want.n))


def test_mover_of_clustered_groups():
    rng = np.random.default_rng(5)
    y, c = rng.random(80) < 0.8, np.repeat(np.arange(20), 4)
    a, b = clustered_proportion(y[:40], c[:40]), clustered_proportion(y[40:], c[40:])
    e = mover_difference(a, b)
    assert e.low < e.value < e.high
    assert (e.n, e.n_patients) == (80, 20)


def test_mover_passes_reasons_on():
    good = proportion(3, 4)
    assert "no cases" in mover_difference(proportion(0, 0), good).undefined
    assert "second" in mover_difference(good, proportion(0, 0)).undefined
    bare = Estimate(value=0.5, method="m", n=4, interval_undefined="one patient")
    assert mover_difference(good, bare).interval_undefined == "one patient"
    assert mover_difference(bare, good).value == pytest.approx(-0.25)
    with pytest.raises(ValueError, match="level"):
        mover_difference(good, proportion(3, 4, level=0.9))
    assert "; " in mover_difference(good, proportion(3, 4, method="wilson")).method


def test_paired_counts():
    c = paired_counts([True, True, False, False, True], [True, False, True, False, True])
    assert (c.both, c.first_only, c.second_only, c.neither, c.n) == (2, 1, 1, 1, 5)


@pytest.mark.parametrize("method", ["tango", "newcombe"])
@pytest.mark.parametrize(
    "cells", [(30, 0, 0, 0), (0, 30, 0, 0), (0, 0, 30, 0), (0, 0, 0, 30), (10, 3, 0, 5), (1, 0, 0, 0)]
)
def test_paired_boundaries_keep_a_width(method, cells):
    c = PairedCounts(both=cells[0], first_only=cells[1], second_only=cells[2], neither=cells[3])
    e = paired_difference(c, method=method, n_patients=3)
    assert e.low <= e.value <= e.high
    assert e.high - e.low > 0.05
    assert e.n_patients == 3


def test_no_pairs():
    none = PairedCounts(both=0, first_only=0, second_only=0, neither=0)
    assert paired_difference(none).undefined == "no cases"
    assert nam_test(none).undefined == "no cases"


def test_no_discordant_pairs_and_a_margin():
    c = PairedCounts(both=40, first_only=0, second_only=0, neither=5)
    assert nam_test(c).undefined == "no discordant pairs"
    assert nam_test(c, null=-0.1).p_value < 0.025
    e = paired_difference(c)
    assert e.high == pytest.approx(1.959964**2 / (45 + 1.959964**2), abs=1e-6)


def test_nam_against_zero_is_mcnemar():
    c = PairedCounts(both=59, first_only=6, second_only=16, neither=80)
    assert nam_test(c, alternative="two-sided").p_value == pytest.approx(mcnemar(6, 16, method="asymptotic").p_value)

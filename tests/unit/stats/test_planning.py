"""Sizes of studies: against exact enumeration, simulation, and figures others computed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import binom, multivariate_normal, norm

from evalsuite.stats import planning
from evalsuite.stats.differences import PairedCounts, difference, paired_difference
from evalsuite.stats.obuchowski_rockette import VarianceParts
from evalsuite.stats.proportions import proportion_interval

#: Obuchowski-Rockette analysis of Van Dyke's study by RJafroc (jackknife), 114 cases.
VAN_DYKE = VarianceParts(
    ms_treatment=0.00479617053166028, ms_reader=None, ms_treatment_reader=0.000551030621744059, n_treatments=2,
    error=0.000802288265572061, cov1=0.000346613709440729, cov2=0.000344074828860886, cov3=0.000239028370892152,
)  # fmt: skip


@pytest.mark.parametrize("method", ["clopper-pearson", "wilson"])
@pytest.mark.parametrize(("p", "goal", "bound"), [(0.92, 0.85, "lower"), (0.05, 0.12, "upper")])
def test_power_is_the_chance_of_the_counts_that_clear_the_goal(p, goal, bound, method):
    for n in (1, 7, 40, 173):
        ends = [proportion_interval(x, n, method=method) for x in range(n + 1)]
        clears = np.array([low > goal if bound == "lower" else high < goal for low, high in ends])
        ours = planning.proportion_power(n, p, goal, bound=bound, method=method)
        assert ours == pytest.approx(float(binom.pmf(np.arange(n + 1), n, p)[clears].sum()), abs=1e-12)


@pytest.mark.parametrize(
    ("p", "goal", "power", "bound"), [(0.92, 0.85, 0.8, "lower"), (0.9, 0.6, 0.9, "lower"), (0.03, 0.1, 0.8, "upper")]
)
def test_no_larger_study_has_less_power(p, goal, power, bound):
    n = planning.cases_for_proportion(p, goal, power=power, bound=bound)
    assert n is not None
    assert all(planning.proportion_power(k, p, goal, bound=bound) >= power for k in range(n, n + 150))
    assert planning.proportion_power(n - 1, p, goal, bound=bound) < power


def test_a_goal_out_of_reach_has_no_size():
    assert planning.cases_for_proportion(0.85, 0.85) is None
    assert planning.positives_for_auroc(0.8, 0.8) is None
    assert planning.cases_for_paired(-0.05, 0.1, 0.05) is None
    assert planning.minimal_detectable_gap(20, 0.5, 1) is None


def test_textbook_figures(shared_golden: Path) -> None:
    """Buderer's size, pROC's variance and power, RJafroc's reader studies: from the sidecars of ../shared/golden."""
    found = json.loads((shared_golden / "proportions_and_tests.expected.json").read_text())["n_buderer"]
    assert planning.cases_for_half_width(found["sens"], found["halfwidth"]) == math.ceil(found["n_dis"])
    theirs = json.loads((shared_golden / "asah.expected.json").read_text())["power_auc073_41_72"]
    # pROC: the null's variance at ½, the alternative's by Obuchowski's formula.
    null = math.sqrt(0.0792 * (1 + 41 / 72)) * ndtri(0.975)
    alternative = math.sqrt(41 * planning.obuchowski_variance(0.73, 41, 72))
    assert norm.cdf((0.23 * math.sqrt(41) - null) / alternative) == pytest.approx(theirs, abs=1e-6)
    readers = json.loads((shared_golden / "vandyke_mrmc.expected.json").read_text())["RJafroc_samplesize"]
    row = readers["SsPowerGivenJK_VanDyke_J6_K251"][0]
    ours = planning.reader_power(VAN_DYKE, pilot_cases=114, readers=6, cases=251, difference=0.05)
    assert (ours.power, ours.noncentrality, ours.df) == pytest.approx(
        (row["powerRRRC"], row["ncpRRRC"], row["df2RRRC"]), rel=1e-6
    )
    row = readers["SsSampleSizeKGivenJ_VanDyke_es0.05_J6"][0]
    assert planning.cases_for_readers(VAN_DYKE, pilot_cases=114, readers=6, difference=0.05) == row["KRRRC"]


@pytest.mark.parametrize("auroc", [0.5, 0.73, 0.95])
def test_the_binormal_variance_is_bambers(auroc):
    """Bamber's formula with the bivariate normal distribution function of scipy instead of Owen's T."""
    h = float(ndtri(auroc))
    both = float(multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]]).cdf([h, h]))
    m, n = 30, 70
    expected = (auroc * (1 - auroc) + (m - 1) * (both - auroc**2) + (n - 1) * (both - auroc**2)) / (m * n)
    assert planning.binormal_variance(auroc, m, n) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("auroc", "goal", "ratio"), [(0.8, 0.7, 1), (0.94, 0.9, 3)])
def test_planned_areas_are_reached_as_often_as_planned(auroc, goal, ratio):
    """1,500 simulated studies, DeLong's interval: 80 % within 2 points and 3 standard errors (1 point each)."""
    from evalsuite.analyses.planning import _simulated_areas

    n = planning.positives_for_auroc(auroc, goal, negatives_per_positive=ratio)
    assert n is not None
    share = _simulated_areas(n, n * ratio, auroc, goal, 0.95, 1500, np.random.default_rng(2))
    assert abs(share - 0.8) < 0.02 + 3 * 0.0103


@pytest.mark.parametrize(("gain", "discordant", "margin"), [(0.0, 0.1, 0.05), (0.03, 0.09, 0.0)])
def test_paired_differences_are_shown_as_often_as_planned(gain, discordant, margin):
    """Chance that Tango's interval lies above −margin, by enumeration of all tables with the needed cases."""
    n = planning.cases_for_paired(gain, discordant, margin)
    assert n is not None
    drawn = np.random.default_rng(1).multinomial(
        n, ((discordant + gain) / 2, (discordant - gain) / 2, 1 - discordant), size=1500
    )
    lows = [
        paired_difference(PairedCounts(both=int(rest), first_only=int(b), second_only=int(c), neither=0)).low
        for b, c, rest in drawn
    ]
    assert abs(float(np.mean([low > -margin for low in lows])) - 0.8) < 0.02 + 3 * 0.0103


@pytest.mark.parametrize(("n", "margin"), [(14, 0.3), (23, 0.0), (23, 0.1)])
def test_the_power_of_a_paired_difference_counts_tangos_intervals(n: int, margin: float) -> None:
    """Every table of a small study, judged by the interval that a run computes."""
    gain, discordant = 0.1, 0.3
    total = 0.0
    for gains in range(n + 1):
        for losses in range(n + 1 - gains):
            table = PairedCounts(both=n - gains - losses, first_only=gains, second_only=losses, neither=0)
            low = paired_difference(table).low
            assert low is not None
            chance = binom.pmf(gains + losses, n, discordant) * binom.pmf(gains, gains + losses, 2 / 3)
            total += (low > -margin) * chance
    assert planning.paired_power(n, gain, discordant, margin) == pytest.approx(float(total), abs=1e-9)


def test_gaps_to_detect() -> None:
    """Figures of the statistical design: a reference group of 1,000 positives at 0.85, 80 % power, Newcombe."""
    for n, gap in ((30, 0.206), (100, 0.114)):
        assert planning.minimal_detectable_gap(1000, 0.85, n) == pytest.approx(gap, abs=1.5e-3)


def test_the_power_to_find_a_gap_counts_newcombes_intervals() -> None:
    total = 0.0
    for x in range(13):
        for y in range(10):
            e = difference(x, 12, y, 9, method="newcombe")
            assert e.low is not None
            assert e.high is not None
            total += (e.low > 0 or e.high < 0) * binom.pmf(x, 12, 0.9) * binom.pmf(y, 9, 0.3)
    assert planning.gap_power(12, 0.9, 9, 0.3) == pytest.approx(float(total), abs=1e-12)


def test_what_cannot_be_planned_is_refused() -> None:
    with pytest.raises(ValueError, match="at least the difference"):
        planning.paired_power(100, 0.1, 0.05, 0.0)
    with pytest.raises(ValueError, match="at least two"):
        planning.reader_power(VAN_DYKE, pilot_cases=114, readers=1, cases=100, difference=0.05)
    with pytest.raises(ValueError, match="strictly between"):
        planning.proportion_power(10, 1.0, 0.8)

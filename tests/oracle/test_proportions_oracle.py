"""Proportions, confusion tables, differences and multiplicity against R, published examples and other implementations.

`data/proportions.csv` is what `generators/proportions.R` printed (versions in its first line).
"""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from evalsuite.stats import contingency, predictive
from evalsuite.stats._kappa import kappa_moments
from evalsuite.stats._normal import z_two_sided
from evalsuite.stats._score import difference_score
from evalsuite.stats.clustered import cluster_variance, clustered_proportion
from evalsuite.stats.differences import (
    PairedCounts,
    difference,
    difference_test,
    mcnemar,
    nam_test,
    paired_difference,
    ratio,
    tango_score,
)
from evalsuite.stats.multiplicity import adjust_p
from evalsuite.stats.proportions import exact_binomial_test, proportion, proportion_interval

Figures = dict[str, dict[str, dict[str, float]]]


def _read(name: str) -> Figures:
    table: Figures = defaultdict(lambda: defaultdict(dict))
    with (Path(__file__).parent / "data" / name).open(encoding="utf-8") as lines:
        next(lines)  # versions
        for row in csv.DictReader(lines):
            table[row["family"]][row["case"]][row["figure"]] = float(row["value"])
    return table


R = _read("proportions.csv")
Z = z_two_sided(0.95)


def _numbers(case: str) -> list[float]:
    return [float(v) for v in case.split("/")]


def _counts(case: str) -> list[int]:
    return [int(v) for v in case.split("/")]


@pytest.mark.parametrize("method", ["clopper-pearson", "wilson", "wilson-cc"])
def test_proportion_limits_are_those_of_r(method):
    assert len(R[method]) >= 5
    for case, want in R[method].items():
        x, n, level = _numbers(case)
        got = proportion(int(x), int(n), level=level, method=method)
        assert (got.low, got.high) == pytest.approx((want["low"], want["high"]), abs=1e-9), case


def test_exact_p_values_are_those_of_r():
    for case, want in R["exact-test"].items():
        x, n, goal = _numbers(case)
        for figure, p in want.items():
            got = exact_binomial_test(int(x), int(n), goal, figure.replace(".", "-"))
            assert got == pytest.approx(p, abs=1e-12), case


CLUSTERED = {
    "pairs": ([1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 0], np.repeat(np.arange(6), 2)),
    "uneven": (
        [1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 0, 1],
        np.repeat(np.arange(6), [6, 2, 1, 3, 4, 3]),
    ),
}


@pytest.mark.parametrize("case", sorted(CLUSTERED))
def test_clustered_proportion_is_surveys(case):
    want = R["clustered"][case]
    y, c = CLUSTERED[case]
    seen = cluster_variance(y, c)
    got = clustered_proportion(y, c)
    assert (seen.value, math.sqrt(seen.variance)) == pytest.approx((want["value"], want["se"]), abs=1e-12)
    assert (got.low, got.high, got.design_effect) == pytest.approx((want["low"], want["high"], want["deff"]), abs=1e-9)


def test_clustered_proportion_of_the_bacteria_trial(shared_golden):
    with (shared_golden / "bacteria_clustered.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    y = np.array([r["y01"] == "1" for r in rows])
    c = np.array([r["ID"] for r in rows])
    want = json.loads((shared_golden / "bacteria_clustered.expected.json").read_text())["bacteria_rao_scott_prevalence"]
    seen, got = cluster_variance(y, c), clustered_proportion(y, c)
    assert seen.value == pytest.approx(want["p"], abs=1e-12)
    assert seen.variance == pytest.approx(want["var_ratio"], abs=1e-12)
    assert got.design_effect == pytest.approx(want["deff"], abs=1e-9)
    assert (got.n, got.n_patients) == (want["n"], want["clusters"])
    n_eff = seen.n / seen.design_effect
    assert n_eff == pytest.approx(want["n_eff"], abs=1e-6)
    for method, key in (("clopper-pearson", "cp_neff"), ("wilson", "wilson_neff")):
        # Without the t correction, which the reference figures leave out.
        assert proportion_interval(seen.value * n_eff, n_eff, method=method) == pytest.approx(want[key], abs=1e-6)
    # With it: survey and R's own beta quantiles on the same data.
    r = R["clustered"]["bacteria"]
    assert (got.low, got.high, math.sqrt(seen.variance)) == pytest.approx((r["low"], r["high"], r["se"]), abs=1e-9)


def test_proportions_of_newcombe_1998(shared_golden):
    want = json.loads((shared_golden / "proportions_and_tests.expected.json").read_text())["proportions"]
    keys = ["clopper_pearson", "wilson", "wilson_cc", "agresti_coull", "jeffreys"]
    for row in want:
        for key in keys:
            got = proportion(row["x"], row["n"], method=key.replace("_", "-"))
            low, high = row[key]
            assert (got.low, got.high) == pytest.approx((max(0.0, low), high), abs=1e-6), (key, row)


# Brown, Cai & DasGupta and Newcombe's tables as printed (Newcombe, Stat Med 17:857-872 (1998), table I).
@pytest.mark.parametrize(
    ("method", "limits"),
    [
        ("wilson", [(0.2553, 0.3662), (0.0624, 0.1605), (0.0, 0.1611), (0.0061, 0.1718)]),
        ("wilson-cc", [(0.2535, 0.3682), (0.0598, 0.1644), (0.0, 0.2005), (0.0018, 0.1963)]),
        ("clopper-pearson", [(0.2527, 0.3676), (0.0578, 0.1617), (0.0, 0.1684), (0.0009, 0.1776)]),
    ],
)
def test_proportions_as_printed_by_newcombe(method, limits):
    for (x, n), want in zip([(81, 263), (15, 148), (0, 20), (1, 29)], limits, strict=True):
        got = proportion(x, n, method=method)
        assert (got.low, got.high) == pytest.approx(want, abs=5.1e-5)


# Fagerland, Lydersen & Laake, Statistical Analysis of Contingency Tables (2017): 13 of 16 (chapter 2).
@pytest.mark.parametrize(
    ("method", "low", "high"),
    [
        ("clopper-pearson", 0.5435, 0.9595),
        ("wilson", 0.5699, 0.9341),
        ("wilson-cc", 0.5369, 0.9503),
        ("jeffreys", 0.5792, 0.9442),
    ],
)
def test_thirteen_of_sixteen(method, low, high):
    got = proportion(13, 16, method=method)
    assert (got.low, got.high) == pytest.approx((low, high), abs=5.1e-5)


def test_thirteen_of_sixteen_exact_p():
    assert exact_binomial_test(13, 16, 0.5, "two-sided") == pytest.approx(0.02127, abs=5.1e-6)


EPI = ["se", "sp", "diag.ac", "pv.pos", "pv.neg"]


def _epi(case: str) -> dict[str, object]:
    tp, fn, fp, tn = _counts(case)
    q = {"tp": tp, "fn": fn, "fp": fp, "tn": tn}
    return {
        "se": proportion(tp, tp + fn),
        "sp": proportion(tn, tn + fp),
        "diag.ac": proportion(tp + tn, tp + fn + fp + tn),
        "pv.pos": proportion(tp, tp + fp),
        "pv.neg": proportion(tn, tn + fn),
        "lr.pos": predictive.likelihood_ratio("positive", **q),
        "lr.neg": predictive.likelihood_ratio("negative", **q),
        "youden": contingency.youden(**q, method="rectangle"),
        "nndx": contingency.number_needed_to_diagnose(**q, method="rectangle"),
        "diag.or": contingency.diagnostic_odds_ratio(**q),
    }


def test_confusion_tables_are_those_of_epir():
    for case, want in R["epi.tests"].items():
        for name, e in _epi(case).items():
            figures = [want[f"{name}.{end}"] for end in ("value", "low", "high")]
            if e.low is None:
                assert want[f"youden.{'low'}"] <= 0, case
                continue
            assert (e.value, e.low, e.high) == pytest.approx(figures, rel=1e-9), (case, name)


def test_aneurysm_data_at_the_youden_threshold(shared_golden):
    want = json.loads((shared_golden / "proportions_and_tests.expected.json").read_text())
    got = _epi("26/15/14/58")
    got["ap"] = proportion(40, 113)
    got["tp"] = proportion(41, 113)
    got["p.rout"], got["p.rin"] = proportion(73, 113), proportion(40, 113)
    got["p.tpdn"], got["p.tndp"] = proportion(14, 72), proportion(15, 41)
    got["p.dntp"], got["p.dptn"] = proportion(14, 40), proportion(15, 73)
    rows = want["epi_tests_asah_s100b_0205"]
    assert len(rows) == 18
    for row in rows:
        e = got[row["statistic"]]
        assert (e.value, e.low, e.high) == pytest.approx((row["est"], row["lower"], row["upper"]), abs=1e-6), row
    lr = want["simel_lr"]
    for sign, key in (("positive", "lr_pos"), ("negative", "lr_neg")):
        e = predictive.likelihood_ratio(sign, tp=26, fn=15, fp=14, tn=58)
        assert (e.value, e.low, e.high) == pytest.approx((lr[key], *lr[f"{key}_ci"]), abs=1e-6)
    m = want["mercaldo_logit_prev0.05"]
    for kind in ("ppv", "npv"):
        e = predictive.predictive_value(
            kind, true_positive=26, n_positive=41, true_negative=58, n_negative=72, prevalence=0.05
        )
        assert (e.value, e.low, e.high) == pytest.approx((m[kind], *m[f"{kind}_ci"]), abs=1e-6)


def test_predictive_values_by_a_numerical_delta_method():
    for case, want in R["predictive"].items():
        *counts, prevalence = _numbers(case)
        tp, fn, fp, tn = (int(v) for v in counts)
        for kind in ("ppv", "npv"):
            e = predictive.predictive_value(
                kind,
                true_positive=tp,
                n_positive=tp + fn,
                true_negative=tn,
                n_negative=fp + tn,
                prevalence=prevalence,
            )
            figures = [want[f"{kind}.{end}"] for end in ("value", "low", "high")]
            assert (e.value, e.low, e.high) == pytest.approx(figures, abs=1e-8), (case, kind)


def test_kappa_mcc_and_f1():
    for case, want in R["kappa"].items():
        tp, fn, fp, tn = _counts(case)
        k = kappa_moments(np.array([[tp, fn], [fp, tn]], float), np.eye(2))
        assert (k.value, math.sqrt(k.variance)) == pytest.approx((want["value"], want["se"]), abs=1e-12)
        assert (k.value, math.sqrt(k.variance)) == pytest.approx((want["value.vcd"], want["se.vcd"]), abs=1e-12)
        e = contingency.cohen_kappa(tp, fn, fp, tn)
        assert (e.low, e.high) == pytest.approx(
            (want["value"] - Z * want["se"], min(1.0, want["value"] + Z * want["se"])), abs=1e-9
        )
    for case, want in R["mcc"].items():
        tp, fn, fp, tn = _counts(case)
        e = contingency.mcc(tp, fn, fp, tn)
        spread = Z * want["se"] / (1 - want["value"] ** 2)
        assert e.value == pytest.approx(want["value"], abs=1e-12)
        assert (e.low, e.high) == pytest.approx(
            [math.tanh(math.atanh(want["value"]) + s * spread) for s in (-1, 1)], abs=1e-8
        )
    for case, want in R["f1"].items():
        e = contingency.f1(*_counts(case), method="clopper-pearson")
        assert (e.low, e.high) == pytest.approx((want["low"], want["high"]), abs=1e-9)


@pytest.mark.parametrize("cells", [(26, 15, 14, 58), (90, 10, 30, 170), (8, 2, 1, 9), (3, 4, 5, 6)])
def test_points_are_those_of_scikit_learn(cells):
    tp, fn, fp, tn = cells
    truth = np.repeat([1, 1, 0, 0], [tp, fn, fp, tn])
    call = np.repeat([1, 0, 1, 0], [tp, fn, fp, tn])
    assert contingency.f1(*cells).value == pytest.approx(metrics.f1_score(truth, call), abs=1e-12)
    assert contingency.mcc(*cells).value == pytest.approx(metrics.matthews_corrcoef(truth, call), abs=1e-12)
    assert contingency.cohen_kappa(*cells).value == pytest.approx(metrics.cohen_kappa_score(truth, call), abs=1e-12)
    assert contingency.balanced_accuracy(*cells).value == pytest.approx(
        metrics.balanced_accuracy_score(truth, call), abs=1e-12
    )


def test_differences_by_r():
    for case, want in R["newcombe"].items():
        e = difference(*_counts(case))
        assert (e.low, e.high) == pytest.approx((want["low"], want["high"]), abs=1e-9), case
    for case, want in R["difference-score"].items():
        *a, null, finite = case.split("/")
        z = difference_score(*(int(v) for v in a), float(null), finite_n=finite == "1")
        # R's figure comes from a numerical maximum of the likelihood.
        assert z == pytest.approx(want["z"], abs=2e-6), case
    for case, want in R["katz"].items():
        e = ratio(*_counts(case), method="katz")
        assert (e.value, e.low, e.high) == pytest.approx((want["value"], want["low"], want["high"]), rel=1e-9), case
    for case, want in R["koopman"].items():
        e = ratio(*_counts(case))
        assert (e.low, e.high) == pytest.approx((math.exp(want["log.low"]), math.exp(want["log.high"])), rel=1e-5)


def test_difference_of_newcombe_1998(shared_golden):
    want = json.loads((shared_golden / "proportions_and_tests.expected.json").read_text())
    e = difference(56, 70, 48, 80, method="miettinen-nurminen")
    assert (e.low, e.high) == pytest.approx(want["miettinen_nurminen_56_70_48_80"], abs=1e-6)
    e = paired_difference(PairedCounts(both=36, first_only=12, second_only=2, neither=0))
    assert (e.low, e.high) == pytest.approx(want["tango"]["b12_c2_n50"], abs=1e-6)


# Newcombe, Stat Med 17:873-890 (1998), table II: method 10 (hybrid score), 5 (Mee) and 6 (Miettinen-Nurminen).
@pytest.mark.parametrize(
    ("counts", "method", "low", "high"),
    [
        ((56, 70, 48, 80), "newcombe", 0.0524, 0.3339),
        ((56, 70, 48, 80), "mee", 0.0533, 0.3377),
        ((56, 70, 48, 80), "miettinen-nurminen", 0.0528, 0.3382),
        ((9, 10, 3, 10), "newcombe", 0.1705, 0.8090),
        ((9, 10, 3, 10), "mee", 0.1821, 0.8370),
        ((9, 10, 3, 10), "miettinen-nurminen", 0.1700, 0.8406),
        ((10, 10, 0, 20), "newcombe", 0.6791, 1.0),
        ((10, 10, 0, 10), "newcombe", 0.6075, 1.0),
        ((5, 56, 0, 29), "newcombe", -0.0381, 0.1926),
        ((0, 10, 0, 20), "newcombe", -0.1611, 0.2775),
    ],
)
def test_differences_as_printed_by_newcombe(counts, method, low, high):
    e = difference(*counts, method=method)
    assert (e.low, e.high) == pytest.approx((low, high), abs=5.1e-5)


# Fagerland, Lydersen & Laake (2017), chapters 4 and 8, as printed by their software.
def test_contingency_tables_book():
    e = difference(7, 34, 1, 34, method="mee")
    assert (e.value, e.low, e.high) == pytest.approx((0.1765, 0.0284, 0.3439), abs=5.1e-5)
    e = difference(0, 16, 15, 72, method="miettinen-nurminen")
    assert (e.value, e.low, e.high) == pytest.approx((-0.2083, -0.3164, -0.0056), abs=5.1e-5)
    e = difference(7, 34, 1, 34)
    assert (e.low, e.high) == pytest.approx((0.0189, 0.3404), abs=5.1e-5)
    e = ratio(7, 34, 1, 34, method="katz")
    assert (e.value, e.low, e.high) == pytest.approx((7.0, 0.9096, 53.8695), abs=5.1e-5)
    e = ratio(7, 34, 1, 34)
    assert (e.low, e.high) == pytest.approx((1.2209, 42.5757), abs=5.1e-5)
    cavo = PairedCounts(both=59, first_only=6, second_only=16, neither=80)
    e = paired_difference(cavo)
    assert (e.value, e.low, e.high) == pytest.approx((-0.0621, -0.1240, -0.0054), abs=5.1e-5)
    e = paired_difference(cavo, method="newcombe")
    assert (e.low, e.high) == pytest.approx((-0.1186, -0.0046), abs=5.1e-5)
    for method, p in (("exact", 0.052479), ("mid-p", 0.034690), ("asymptotic", 0.033006), ("asymptotic-cc", 0.055009)):
        assert mcnemar(6, 16, method=method).p_value == pytest.approx(p, abs=5.1e-7)
    peterson = [[596, 18, 6, 5], [0, 2, 0, 0], [0, 0, 42, 0], [11, 0, 0, 0]]
    t = contingency.stuart_maxwell(peterson)
    assert (t.statistic, t.p_value) == pytest.approx((26.250, 0.000008), abs=5.1e-4)


def test_paired_tests_by_r():
    for case, want in R["mcnemar"].items():
        _, b, c, _ = _counts(case)
        for method, p in want.items():
            assert mcnemar(b, c, method=method).p_value == pytest.approx(p, abs=1e-12), (case, method)
    for case, want in R["tango-score"].items():
        a, b, c, d, delta = _numbers(case)
        assert tango_score(b, c, a + b + c + d, delta) == pytest.approx(want["z"], abs=2e-6), case
    assert contingency.stuart_maxwell([[59, 6], [16, 80]]).statistic == pytest.approx(
        R["stuart-maxwell"]["2x2"]["statistic"], abs=1e-10
    )


def test_tests_and_intervals_agree():
    """The null at a limit of the interval has a two-sided p of 1 - level."""
    for counts in ((56, 70, 48, 80), (9, 10, 3, 10), (0, 16, 15, 72)):
        e = difference(*counts, method="miettinen-nurminen")
        for null in (e.low, e.high):
            assert difference_test(*counts, null=null).p_value == pytest.approx(0.05, abs=1e-6)
    c = PairedCounts(both=36, first_only=12, second_only=2, neither=0)
    e = paired_difference(c)
    assert nam_test(c, null=e.low).p_value == pytest.approx(0.025, abs=1e-6)
    assert nam_test(c, null=e.high, alternative="less").p_value == pytest.approx(0.025, abs=1e-6)


FAMILIES = [
    [0.01, 0.02, 0.03, 0.04, 0.005],
    [0.001, 0.3, 0.049, 0.2, 0.011, 0.026],
    [0.04, 0.04, 0.04],
    [0.5, 0.01],
    [0.9, 0.8, 0.001, 0.02, 0.02, 0.7, 0.06, 0.045],
]


def test_adjusted_p_values_are_those_of_r():
    assert len(R["p.adjust"]) == 30
    for case, want in R["p.adjust"].items():
        family, method = case.split("/")
        got = adjust_p(FAMILIES[int(family) - 1], method.lower())
        assert got.tolist() == pytest.approx([want[str(j + 1)] for j in range(len(got))], abs=1e-12), case


def test_adjusted_p_values(shared_golden):
    want = json.loads((shared_golden / "proportions_and_tests.expected.json").read_text())["multiplicity"]
    for method in ("holm", "hochberg", "hommel", "BH", "BY", "bonferroni"):
        assert adjust_p(want["p"], method.lower()).tolist() == pytest.approx(want[method], abs=1e-6)


def test_stuart_maxwell_by_hand():
    """Fleiss (1981), three categories, closed form: chi² = (n̄23 d1² + n̄13 d2² + n̄12 d3²) / (2 (n̄12 n̄13 + …))."""
    t = np.array([[35, 5, 0], [15, 20, 5], [10, 5, 5]], float)
    d = t.sum(axis=1) - t.sum(axis=0)
    n12, n13, n23 = (t[0, 1] + t[1, 0]) / 2, (t[0, 2] + t[2, 0]) / 2, (t[1, 2] + t[2, 1]) / 2
    chi2 = (n23 * d[0] ** 2 + n13 * d[1] ** 2 + n12 * d[2] ** 2) / (2 * (n12 * n13 + n12 * n23 + n13 * n23))
    got = contingency.stuart_maxwell(t)
    assert got.statistic == pytest.approx(chi2, abs=1e-10)
    # As printed: 14.0, P = 0.000912 (Fagerland, Lydersen & Laake 2017, chapter 9).
    assert (got.statistic, got.p_value) == pytest.approx((14.0, 0.000912), abs=5.1e-7)


@pytest.mark.parametrize("cells", [(26, 15, 14, 58), (40, 10, 30, 70)], ids=["n113", "n150"])
@pytest.mark.parametrize("function", [contingency.f1, contingency.mcc, contingency.youden])
def test_intervals_cover_in_simulation(cells, function):
    """A second derivation where few implementations exist: coverage in tables drawn from the table itself."""
    rng = np.random.default_rng(20260101)
    n, reps = sum(cells), 4000
    truth = function(*cells).value
    held = 0
    for row in rng.multinomial(n, np.array(cells) / n, reps).tolist():
        e = function(*row)
        held += e.low <= truth <= e.high
    assert held / reps >= 0.935 - 3 * math.sqrt(0.05 * 0.95 / reps)

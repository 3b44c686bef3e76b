"""Agreement of measurements and of ordered grades against R, published examples and brute force.

`data/agreement.csv` is what `generators/agreement.R` printed (versions in its first line).
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize, special, stats
from sklearn import metrics

from evalsuite.stats import agreement, deviation, method_comparison, ordinal, repeatability
from evalsuite.stats._means import clustered_mean
from evalsuite.stats._normal import z_two_sided
from evalsuite.stats.contingency import kappa_from_table

Figures = dict[str, dict[str, dict[str, float]]]


def _read(name: str) -> Figures:
    table: Figures = defaultdict(lambda: defaultdict(dict))
    with (Path(__file__).parent / "data" / name).open(encoding="utf-8") as lines:
        next(lines)  # versions
        for row in csv.DictReader(lines):
            table[row["family"]][row["case"]][row["figure"]] = float(row["value"])
    return table


R = _read("agreement.csv")
Z = z_two_sided(0.95)

# Peak expiratory flow (l/min), 17 subjects, two meters, twice each: Bland & Altman, Lancet 327:307-310 (1986), table 1.
LARGE = np.array(
    [
        [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427],
        [490, 397, 512, 401, 470, 611, 415, 431, 638, 429, 420, 633, 275, 492, 165, 372, 421],
    ],
    float,
)
MINI = np.array(
    [
        [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451],
        [525, 415, 508, 444, 500, 625, 460, 390, 642, 432, 420, 605, 227, 467, 268, 370, 443],
    ],
    float,
)
SUBJECT = np.tile(np.arange(17), 2)
SETS = {
    "pefr": (LARGE[0], MINI[0]),
    "drift": (
        np.array([1.2, 2.5, 3.1, 4.8, 5.2, 6.9, 8.1, 9.4, 10.2, 11.7, 13.3, 14.1]),
        np.array([1.5, 2.2, 3.9, 5.1, 5.0, 7.8, 8.8, 9.9, 11.9, 12.4, 14.6, 16.0]),
    ),
    "ties": (
        np.array([1, 1, 2, 2, 3, 3, 4, 5, 5, 6], float),
        np.array([1, 2, 2, 2, 3, 5, 4, 5, 6, 6], float),
    ),
}


def _is(e, want, **tolerance):
    figures = [want["value"], want["low"], want["high"]]
    assert [e.value, e.low, e.high] == pytest.approx(figures, **(tolerance or {"rel": 1e-9, "abs": 1e-9}))


@pytest.mark.parametrize("name", sorted(SETS))
def test_bland_altman_is_rs(name):
    x, y = SETS[name]
    r = agreement.bland_altman(y, x)
    _is(r.bias, R["bias"][name])
    _is(agreement.bias(y, x), R["bias"][name])
    _is(r.sd, R["sd"][name])
    _is(r.upper_limit, R["loa-upper"][name], rel=1e-7)
    _is(r.lower_limit, R["loa-lower"][name], rel=1e-7)
    _is(r.proportional_bias, R["proportional"][name])
    _is(r.spread_trend, R["spread-trend"][name])
    _is(agreement.bland_altman(y, x, method="bland-altman").upper_limit, R["loa-upper-approx"][name])
    mae = R["mae"][name]
    _is(agreement.mean_absolute_error(y, x), {**mae, "low": max(0.0, mae["low"])})
    assert agreement.root_mean_square_error(y, x).value == pytest.approx(R["rmse"][name]["value"])


def test_bland_altman_as_printed_in_1986():
    """Bias -2.1 (-22.0 to 17.8), SD 38.8, limits -79.7 to 75.5 with the authors' ±2 SD."""
    r = agreement.bland_altman(LARGE[0], MINI[0], coverage=2 * special.ndtr(2.0) - 1, method="bland-altman")
    assert (r.bias.value, r.bias.low, r.bias.high) == pytest.approx((-2.1, -22.0, 17.8), abs=0.051)
    assert r.sd.value == pytest.approx(38.8, abs=0.051)
    assert (r.lower_limit.value, r.upper_limit.value) == pytest.approx((-79.7, 75.5), abs=0.11)


def test_several_pairs_per_subject():
    d = (MINI - LARGE).ravel()
    r = agreement.bland_altman(MINI.ravel(), LARGE.ravel(), patient=SUBJECT)
    want = R["repeated"]["pefr"]
    assert (r.sd.value, r.bias.value) == pytest.approx((want["sd"], want["bias"]), rel=1e-12)
    assert clustered_mean(d, SUBJECT).standard_error == pytest.approx(want["mean.se"], rel=1e-12)


@pytest.mark.slow
def test_limits_cover_in_simulation():
    """Second derivation of every kind of limit: the share of intervals that hold the true limit."""
    rng = np.random.default_rng(11)
    reps, z = 4000, Z
    true = optimize.brentq(lambda k: special.ndtr(k - 0.5) - special.ndtr(-k - 0.5) - 0.9, 0.0, 10.0)
    held: dict[str, int] = defaultdict(int)
    for _ in range(reps):
        d = rng.normal(1.0, 2.0, 30)
        for method in ("exact", "mover", "bland-altman"):
            e = agreement.bland_altman(d, np.zeros(30), method=method).upper_limit
            held[method] += e.low <= 1 + z * 2 <= e.high
        size = rng.integers(1, 5, 25)
        index = np.repeat(np.arange(25), size)
        d = 1.0 + rng.normal(0, 1.5, 25)[index] + rng.normal(0, 1.0, index.size)
        e = agreement.bland_altman(d, np.zeros(d.size), patient=index).upper_limit
        held["repeated"] += e.low <= 1 + z * math.hypot(1.5, 1.0) <= e.high
        e = deviation.total_deviation_index(rng.normal(0.5, 1.0, 40), np.zeros(40), coverage=0.9)
        held["tdi"] += e.low <= true <= e.high
    slack = 3 * math.sqrt(0.05 * 0.95 / reps)
    for what, count in held.items():
        assert count / reps > 0.935 - slack, (what, count / reps)
    assert abs(held["exact"] / reps - 0.95) < slack


def test_total_deviation_index():
    for case, want in R["tdi"].items():
        name, coverage = case.split("/")
        x, y = SETS[name]
        e = deviation.total_deviation_index(y, x, coverage=float(coverage))
        assert e.value == pytest.approx(want["value"], rel=1e-7)
        t = stats.t.ppf(0.975, x.size - 1)
        half = math.log(e.high / e.low) / 2
        assert half == pytest.approx(t * want["se"] / want["value"], rel=1e-4)


def test_tost_is_two_t_tests():
    for case, want in R["tost"].items():
        name, twentieths = case.split("/")
        x, y = SETS[name]
        margin = float(twentieths) / 20 * (y - x).std(ddof=1)
        t = deviation.tost(y, x, lower=-margin, upper=margin)
        assert t.p_value == pytest.approx(want["p"], abs=1e-9)


def test_concordance_is_epirs():
    for name, want in R["ccc"].items():
        _is(repeatability.concordance(SETS[name][1], SETS[name][0]), want)


def test_icc_by_analysis_of_variance_and_psych():
    for case, want in R["icc"].items():
        name, kind = case.split("/")
        e = repeatability.icc(np.column_stack(SETS[name]), f"icc({kind.replace('-', ',')})")
        assert e.value == pytest.approx(want["value"], abs=1e-12)
    shrout = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    three = [[9, 10, 7], [5, 6, 4], [2, 3, 3], [8, 7, 7], [1, 1, 2], [6, 6, 5], [4, 5, 3], [7, 9, 8]]
    for case, want in R["icc-psych"].items():
        name, kind = case.split("/")
        e = repeatability.icc(shrout if name == "shrout" else three, f"icc({kind.replace('-', ',')})")
        _is(e, want, abs=2e-5)  # psych fits by REML, to the precision of its optimiser
    # As printed by Shrout & Fleiss (1979), table 4.
    assert repeatability.icc(shrout).value == pytest.approx(0.29, abs=0.005)
    assert repeatability.icc(shrout, "icc(3,1)").value == pytest.approx(0.71, abs=0.005)


@pytest.mark.parametrize(("meter", "values", "printed"), [("large", LARGE, 15.3), ("mini", MINI, 19.9)])
def test_repeatability(meter, values, printed):
    v = values.ravel()
    e = repeatability.within_subject_sd(v, SUBJECT)
    _is(e, R["within-sd"][meter])
    assert e.value == pytest.approx(printed, abs=0.051)  # Bland & Altman (1986)
    _is(repeatability.repeatability_coefficient(v, SUBJECT), R["repeatability"][meter])
    _is(repeatability.within_subject_cv(v, SUBJECT), R["wcv"][meter])
    _is(repeatability.within_subject_cv(v, SUBJECT, method="log"), R["wcv-log"][meter])


def test_deming_is_the_rescaled_principal_component():
    for case, want in R["deming-slope"].items():
        name, ratio = case.split("/")
        x, y = SETS[name]
        line = method_comparison.deming(y, x, variance_ratio=float(ratio))
        _is(line.slope, want, rel=1e-8)
        _is(line.intercept, R["deming-intercept"][case], rel=1e-8, abs=1e-9)


def test_deming_is_orthogonal_distance_regression():
    """A second implementation: the singular vectors of the centred points."""
    x, y = SETS["drift"]
    line = method_comparison.deming(y, x)
    _, _, v = np.linalg.svd(np.column_stack([x - x.mean(), y - y.mean()]))
    assert line.slope.value == pytest.approx(v[0, 1] / v[0, 0], rel=1e-12)


def test_passing_bablok_by_two_loops():
    for name, (x, y) in SETS.items():
        line = method_comparison.passing_bablok(y, x)
        _is(line.slope, R["pb-slope"][name], rel=1e-12)
        _is(line.intercept, R["pb-intercept"][name], rel=1e-12, abs=1e-12)


TABLES = {
    "abstractors": [[13, 0, 0], [0, 20, 7], [0, 4, 56]],
    "anxiety": [[88, 14, 18], [10, 40, 10], [2, 6, 12]],
    "five": [[20, 5, 1, 0, 0], [4, 18, 6, 2, 0], [1, 5, 22, 7, 1], [0, 2, 6, 15, 4], [0, 0, 2, 5, 11]],
}


def _long(table):
    t = np.array(table)
    a, b = np.indices(t.shape)
    return np.repeat(a.ravel(), t.ravel()), np.repeat(b.ravel(), t.ravel())


def test_weighted_kappa_is_vcds_and_psychs():
    for case, want in R["weighted-kappa"].items():
        name, weights = case.split("/")
        e = kappa_from_table(TABLES[name], weights=weights)
        assert e.value == pytest.approx(want["value"], abs=1e-12)
        assert e.value == pytest.approx(want["value.vcd"], abs=1e-12)
        assert (e.high - e.low) / 2 / Z == pytest.approx(want["se.vcd"], abs=1e-12)
        assert (e.high - e.low) / 2 / Z == pytest.approx(want["se"], abs=1e-8)
        a, b = _long(TABLES[name])
        assert e.value == pytest.approx(metrics.cohen_kappa_score(a, b, weights=weights), abs=1e-12)
        got = ordinal.weighted_kappa(a, b, len(TABLES[name]), weights=weights)
        assert (got.value, got.low, got.high) == (e.value, e.low, e.high)


def test_gwets_coefficients():
    for case, want in R["gwet"].items():
        name, weights = case.split("/")
        e = ordinal.gwet_ac(TABLES[name], weights=weights)
        n = np.sum(TABLES[name])
        assert e.value == pytest.approx(want["value"], abs=1e-12)
        t = stats.t.ppf(0.975, n - 1)
        # The multinomial delta method has divisor n, Gwet's linearisation n - 1.
        assert (e.high - e.low) / 2 / t == pytest.approx(want["se"] * math.sqrt(n / (n - 1)), rel=1e-6)


# irrCAC's documentation prints these for the abstractors' table (Gwet 2014).
@pytest.mark.parametrize(
    ("weights", "value", "low", "high"),
    [("none", 0.849, 0.764, 0.935), ("linear", 0.900, 0.842, 0.958), ("quadratic", 0.940, 0.905, 0.976)],
)
def test_gwets_coefficients_as_printed(weights, value, low, high):
    e = ordinal.gwet_ac(TABLES["abstractors"], weights=weights)
    # (there the variance has divisor n: a factor of 1.005 at n = 100)
    assert (e.value, e.low, e.high) == pytest.approx((value, low, high), abs=1.1e-3)


def test_tau_b():
    for name, want in R["tau-b"].items():
        e = ordinal.kendall_tau_b(TABLES[name])
        assert e.value == pytest.approx(want["value"], abs=1e-12)
        assert e.value == pytest.approx(stats.kendalltau(*_long(TABLES[name])).statistic, abs=1e-12)
        half = (math.atanh(e.high) - math.atanh(e.low)) / 2
        assert half == pytest.approx(Z * want["se"] / (1 - want["value"] ** 2), rel=1e-6)


SCORE = np.array([1, 2, 2, 3, 1.5, 4, 2, 3, 3.5, 4, 2.5, 3, 3, 5, 4, 6, 4.5, 3.5])
GRADE = np.repeat([0, 1, 2], 6)


def test_vus_by_three_loops():
    want = R["vus"]["eighteen"]
    e = ordinal.vus(SCORE, GRADE)
    assert e.value == pytest.approx(want["value"], abs=1e-12)
    half = (special.logit(e.high) - special.logit(e.low)) / 2
    assert half == pytest.approx(Z * want["se"] / (want["value"] * (1 - want["value"])), rel=1e-9)


def test_vus_variance_by_simulation():
    rng = np.random.default_rng(8)
    grade = np.repeat([0, 1, 2], [30, 40, 30])
    draws = [ordinal.vus(rng.normal(size=100) + grade, grade) for _ in range(600)]
    values = np.array([e.value for e in draws])
    se = np.array([(special.logit(e.high) - special.logit(e.low)) / 2 / Z * e.value * (1 - e.value) for e in draws])
    assert np.sqrt((se**2).mean()) == pytest.approx(values.std(ddof=1), rel=0.12)


def test_ranked_probability_score_by_hand_and_as_brier():
    p = np.array([[0.2, 0.5, 0.3], [0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    # Cumulative: (.2 .7), (.7 .9), (.1 .2); observed grades 1, 0, 2 give (0 1), (1 1), (0 0).
    want = np.array([0.2**2 + 0.3**2, 0.3**2 + 0.1**2, 0.1**2 + 0.2**2]).mean()
    assert ordinal.ranked_probability_score(p, [1, 0, 2], normalised=False).value == pytest.approx(want)
    assert ordinal.ranked_probability_score(p, [1, 0, 2]).value == pytest.approx(want / 2)
    two = np.column_stack([1 - p[:, 0], p[:, 0]])
    y = [0, 1, 1]
    assert ordinal.ranked_probability_score(two, y).value == pytest.approx(metrics.brier_score_loss(y, p[:, 0]))

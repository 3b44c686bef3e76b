"""Bootstrapped agreement: estimates are the closed forms', intervals those of a plain loop, and they cover."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evalsuite.stats import agreement, deviation, method_comparison, repeatability
from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.measured_bootstrap import METRICS, measured_bootstrap

RNG = np.random.default_rng(12)
N = 90
X = RNG.gamma(5, 10, N)
PATIENT = np.arange(N) // 3
Y = X * 1.03 + RNG.normal(0, 3, N) + RNG.normal(0, 2, 30)[PATIENT]


def _closed(device, reference, patient, metric):
    ba = agreement.bland_altman(device, reference, patient=patient)
    line = method_comparison.deming(device, reference, variance_ratio=2.0)
    return {
        "bias": lambda: agreement.bias(device, reference),
        "mae": lambda: agreement.mean_absolute_error(device, reference),
        "rmse": lambda: agreement.root_mean_square_error(device, reference),
        "loa_lower": lambda: ba.lower_limit,
        "loa_upper": lambda: ba.upper_limit,
        "ccc": lambda: repeatability.concordance(device, reference),
        "icc": lambda: repeatability.icc(np.column_stack((device, reference))),
        "icc_consistency": lambda: repeatability.icc(np.column_stack((device, reference)), "icc(3,1)"),
        "deming_slope": lambda: line.slope,
        "deming_intercept": lambda: line.intercept,
        "tdi": lambda: deviation.total_deviation_index(device, reference, coverage=0.8),
        "coverage_probability": lambda: deviation.coverage_probability(device, reference, tolerance=4.0),
    }[metric]()


OPTIONS = {"tolerance": 4.0, "coverage": 0.8, "variance_ratio": 2.0}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("clustered", [False, True])
def test_estimates_are_those_of_the_closed_forms(metric, clustered):
    patient = PATIENT if clustered else np.arange(N)
    (e,) = measured_bootstrap(PatientDraw(patient, 50, 1), Y, X, [metric], **OPTIONS)
    assert e.value == pytest.approx(_closed(Y, X, patient, metric).value, rel=1e-9)
    assert e.replicates == 50


@pytest.mark.parametrize("metric", METRICS)
def test_replicates_are_those_of_a_plain_loop(metric):
    """Percentile limits from the metric computed anew on the cases of every resample of patients."""
    patient = np.arange(N)
    draw = PatientDraw(patient, 200, 3)
    (e,) = measured_bootstrap(draw, Y, X, [metric], method="percentile", **OPTIONS)
    values = []
    for counts in draw.counts(0, 200):
        chosen = np.repeat(np.arange(N), counts)
        values.append(_closed(Y[chosen], X[chosen], None, metric).value)
    low, high = np.quantile(values, [0.025, 0.975])
    assert (e.low, e.high) == pytest.approx((low, high), rel=1e-7)


def test_a_stratum_is_as_if_it_were_the_set():
    mask = PATIENT % 2 == 0
    inside = measured_bootstrap(PatientDraw(PATIENT, 40, 2), Y, X, METRICS, mask=mask, **OPTIONS)
    alone = measured_bootstrap(PatientDraw(PATIENT[mask], 40, 2), Y[mask], X[mask], METRICS, **OPTIONS)
    for a, b in zip(inside, alone, strict=True):
        assert a.value == pytest.approx(b.value, rel=1e-9)
        assert (a.n, a.n_patients) == (b.n, b.n_patients) == (45, 15)


def test_unit_and_origin_do_not_matter():
    draw = PatientDraw(PATIENT, 60, 5)
    base = {m: e for m, e in zip(METRICS, measured_bootstrap(draw, Y, X, METRICS, **OPTIONS), strict=True)}  # noqa: C416
    moved = measured_bootstrap(draw, 10 * Y + 1e4, 10 * X + 1e4, METRICS, **{**OPTIONS, "tolerance": 40.0})
    for metric, e in zip(METRICS, moved, strict=True):
        factor = 1.0 if metric in ("ccc", "icc", "icc_consistency", "deming_slope", "coverage_probability") else 10.0
        if metric == "deming_intercept":
            continue
        want = [factor * v for v in (base[metric].value, base[metric].low, base[metric].high)]
        assert [e.value, e.low, e.high] == pytest.approx(want, rel=1e-6)


def test_edges_give_reasons():
    draw = PatientDraw(np.arange(3), 20, 1)
    same = measured_bootstrap(draw, [1.0, 2, 3], [1.0, 2, 3], METRICS, **OPTIONS)
    by_name = dict(zip(METRICS, same, strict=True))
    assert by_name["bias"].value == 0
    assert by_name["bias"].interval_undefined
    assert "do not vary" in by_name["loa_upper"].undefined
    assert "do not vary" in by_name["tdi"].undefined
    assert by_name["ccc"].value == pytest.approx(1)
    empty = measured_bootstrap(draw, [1.0, 2, 3], [1.0, 2, 3], ["mae"], mask=np.zeros(3, bool))
    assert empty[0].undefined == "no cases"
    flat = measured_bootstrap(draw, [2.0, 2, 2], [2.0, 2, 2], ["ccc", "icc", "deming_slope"])
    assert all(e.undefined for e in flat)
    with pytest.raises(ValueError, match="unknown metric"):
        measured_bootstrap(draw, [1.0, 2, 3], [1.0, 2, 3], ["r2"])
    with pytest.raises(ValueError, match="tolerance"):
        measured_bootstrap(draw, [1.0, 2, 3], [1.0, 2, 3], ["coverage_probability"])
    with pytest.raises(ValueError, match="the draw was made"):
        measured_bootstrap(draw, [1.0, 2], [1.0, 2], ["mae"])


def test_clustered_intervals_cover_where_those_for_independent_cases_do_not():
    """Concordance of 3 cases per patient whose errors share a part: nominal 95 %."""
    rng = np.random.default_rng(30)
    patient = np.repeat(np.arange(40), 3)
    rounds, hit, naive = 80, 0, 0
    truth = 2 * 100 / (100 + 125)  # covariance 100; variances 100 and 100 + 21 + 4
    for seed in range(rounds):
        x = rng.normal(0, 10, 40)[patient]
        y = x + rng.normal(0, math.sqrt(21), 40)[patient] + rng.normal(0, 2, 120)
        (e,) = measured_bootstrap(PatientDraw(patient, 200, seed), y, x, ["ccc"])
        hit += e.low <= truth <= e.high
        c = repeatability.concordance(y, x)
        naive += c.low <= truth <= c.high
    assert hit / rounds > 0.92 - 3 * math.sqrt(0.05 * 0.95 / rounds)
    assert naive < 0.85 * rounds

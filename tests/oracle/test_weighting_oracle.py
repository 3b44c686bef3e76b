"""Sampling weights, declared prevalence and partial verification against R's survey package, loops and simulation.

`data/weighting.csv` is what `generators/weighting.R` printed (versions in its first line).
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from evalsuite.stats import weighting as w
from evalsuite.stats._design import design, linearised_variance
from evalsuite.stats._normal import z_two_sided
from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.verification_bias import begg_greenes


def _read():
    table = defaultdict(lambda: defaultdict(dict))
    with (Path(__file__).parent / "data" / "weighting.csv").open(encoding="utf-8") as lines:
        next(lines)  # versions
        for row in csv.DictReader(lines):
            table[row["family"]][row["case"]][row["figure"]] = float(row["value"])
    return table


R = _read()
I = np.arange(140)  # noqa: E741
PATIENT = np.floor(I * 0.6).astype(int)
STRATUM = PATIENT * 5 // 140
WEIGHT = np.array([1, 2.5, 6])[STRATUM] + (PATIENT % 4) * 0.25
Y = (I * 37 + 11) % 10 < 4
S = np.round(np.sin(I * 2.1) + 1.1 * Y + 0.4 * np.cos(PATIENT), 1)
CALL = S >= 0.4
P = np.round(1 / (1 + np.exp(-(1.5 * S - 0.8))), 3)
DESIGNS = {"weights": {}, "clusters": {"patient": PATIENT}, "strata": {"patient": PATIENT, "stratum": STRATUM}}
METRICS = ["sensitivity", "specificity", "ppv", "npv", "accuracy", "call_rate", "prevalence"]
GROUPS = {
    "liver": [(429, 263, 231, 221, 81, 27)],
    "young_old": [(120, 80, 60, 300, 60, 6), (200, 150, 130, 150, 90, 20)],
}


def _is(e, want, rel=1e-9):
    assert [e.value, e.low, e.high] == pytest.approx([want["value"], want["low"], want["high"]], rel=rel)


@pytest.mark.parametrize("name", sorted(DESIGNS))
@pytest.mark.parametrize("metric", METRICS)
def test_weighted_proportions_are_surveys(metric, name):
    _is(w.weighted_call_metric(metric, Y, CALL, WEIGHT, **DESIGNS[name]), R[metric][name])


def test_weighted_accuracy_is_svyciprops():
    _is(w.weighted_call_metric("accuracy", Y, CALL, WEIGHT, **DESIGNS["strata"]), R["accuracy-beta"]["strata"])


@pytest.mark.parametrize("name", sorted(DESIGNS))
def test_weighted_brier_is_surveys(name):
    e = w.weighted_brier(Y, P, WEIGHT, **DESIGNS[name])
    _is(e, R["brier"][name])
    d = design(140, WEIGHT, DESIGNS[name].get("patient"), DESIGNS[name].get("stratum"))
    z = WEIGHT * ((P - Y) ** 2 - e.value) / WEIGHT.sum()
    assert math.sqrt(linearised_variance(z, d)) == pytest.approx(R["brier"][name]["se"], rel=1e-10)


@pytest.mark.parametrize("name", sorted(DESIGNS))
def test_weighted_auroc_is_that_of_loops_and_surveys_variance(name):
    e = w.weighted_auroc(Y, S, WEIGHT, **DESIGNS[name])
    _is(e, R["auroc"][name])
    assert e.value == pytest.approx(roc_auc_score(Y, S, sample_weight=WEIGHT), rel=1e-12)


def test_weighted_auroc_variance_is_near_the_jackknife_and_the_bootstrap():
    e = w.weighted_auroc(Y, S, WEIGHT, patient=PATIENT)
    slope = e.value * (1 - e.value)
    logit = math.log(e.high / (1 - e.high)) - math.log(e.low / (1 - e.low))
    se = logit / 2 / z_two_sided(0.95) * slope
    assert se == pytest.approx(R["auroc-jackknife"]["clusters"]["se"], rel=0.03)
    draw = PatientDraw(PATIENT, 1000, 4)
    b = w.weighted_auroc_bootstrap(draw, Y, S, WEIGHT)
    assert b.value == pytest.approx(e.value, rel=1e-12)
    assert (b.high - b.low) / 2 / z_two_sided(0.95) == pytest.approx(se, rel=0.08)


def test_kish():
    assert w.kish_effective_n(WEIGHT) == pytest.approx(R["kish"]["all"]["value"], rel=1e-13)


@pytest.mark.parametrize("prevalence", ["0.02", "0.3"])
def test_means_at_a_prevalence_are_rs(prevalence):
    _is(w.mean_at_prevalence(CALL == Y, Y, float(prevalence)), R["accuracy-at"][prevalence])
    _is(w.mean_at_prevalence((P - Y) ** 2, Y, float(prevalence)), R["brier-at"][prevalence])


def _verification(name):
    call, verified, disease, group = [], [], [], []
    for g, (n1, v1, d1, n0, v0, d0) in enumerate(GROUPS[name]):
        for n, v, d, positive in ((n1, v1, d1, True), (n0, v0, d0, False)):
            call += [positive] * n
            verified += [True] * v + [False] * (n - v)
            disease += [True] * d + [False] * (n - d)
            group += [g] * n
    return begg_greenes(call, verified, disease, covariate=group if len(GROUPS[name]) > 1 else None)


@pytest.mark.parametrize("name", sorted(GROUPS))
@pytest.mark.parametrize("metric", ["sensitivity", "specificity", "prevalence"])
def test_begg_greenes_is_the_formula_and_the_likelihoods(name, metric):
    e = getattr(_verification(name), metric)
    want = R[f"verification-{metric}"][name]
    assert e.value == pytest.approx(want["value"], rel=1e-12)
    if "low" in want:
        _is(e, want)
    width = math.log(e.high / (1 - e.high)) - math.log(e.low / (1 - e.low))
    assert width / 2 / z_two_sided(0.95) == pytest.approx(want["se.logit"], rel=1e-5)


def test_hepatic_scintigraphy_as_published():
    """Drum & Christacopoulos (1972) in Zhou, Obuchowski & McClish (2011), ch. 10: .90 and .63 among verified patients,
    .84 and .74 corrected."""
    r = _verification("liver")
    assert [r.naive_sensitivity.value, r.naive_specificity.value] == pytest.approx([0.895, 0.628], abs=5e-4)
    assert [r.sensitivity.value, r.specificity.value] == pytest.approx([0.836, 0.738], abs=5e-4)


def test_correction_finds_the_truth_that_the_verified_alone_miss():
    rng = np.random.default_rng(3)
    hits, naive_hits, rounds = np.zeros(2), np.zeros(2), 400
    for _ in range(rounds):
        disease = rng.random(600) < 0.35
        call = np.where(disease, rng.random(600) < 0.8, rng.random(600) < 0.25)
        verified = rng.random(600) < np.where(call, 0.85, 0.3)
        r = begg_greenes(call, verified, disease)
        for hit, a, b in ((hits, r.sensitivity, r.specificity), (naive_hits, r.naive_sensitivity, r.naive_specificity)):
            hit += [a.low <= 0.8 <= a.high, b.low <= 0.75 <= b.high]
    assert (hits / rounds > 0.935 - 3 * math.sqrt(0.05 * 0.95 / rounds)).all()
    assert (naive_hits / rounds < 0.5).all()


def test_weighted_intervals_cover_the_population_they_are_drawn_from():
    """Patients with 1 to 3 cases, drawn with very unequal chances that are related to the score."""
    rng = np.random.default_rng(8)
    size = 20000
    per = rng.integers(1, 4, size)
    patient = np.repeat(np.arange(size), per)
    trait = rng.normal(size=size)
    y = rng.random(patient.size) < 1 / (1 + np.exp(1.0 - trait[patient]))
    s = 1.2 * y + 0.7 * trait[patient] + rng.normal(size=patient.size)
    p = 1 / (1 + np.exp(1.2 - s))
    chance = np.where(trait > 1, 0.05, 0.006)
    truth = {
        "auroc": roc_auc_score(y, s),
        "brier": float(((p - y) ** 2).mean()),
        "ppv": float(y[s > 1].mean()),
        "sensitivity": float((s > 1)[y].mean()),
    }
    hit = dict.fromkeys(truth, 0)
    naive = 0
    rounds = 250
    for _ in range(rounds):
        drawn = np.flatnonzero((rng.random(size) < chance)[patient])
        weight, who = 1 / chance[patient[drawn]], patient[drawn]
        a, b = y[drawn], s[drawn]
        made = {
            "auroc": w.weighted_auroc(a, b, weight, patient=who),
            "brier": w.weighted_brier(a, p[drawn], weight, patient=who),
            "ppv": w.weighted_call_metric("ppv", a, b > 1, weight, patient=who),
            "sensitivity": w.weighted_call_metric("sensitivity", a, b > 1, weight, patient=who),
        }
        for k, e in made.items():
            hit[k] += e.low <= truth[k] <= e.high
        plain = w.weighted_call_metric("ppv", a, b > 1, patient=who)
        naive += plain.low <= truth["ppv"] <= plain.high
    for k, count in hit.items():
        assert count / rounds > 0.935 - 3 * math.sqrt(0.05 * 0.95 / rounds), k
    assert naive / rounds < hit["ppv"] / rounds

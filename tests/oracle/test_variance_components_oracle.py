"""Variance components against lme4, metafor's profile likelihood, analysis of variance in R, and simulation.

`data/variance_components.csv` is what `generators/variance_components.R` printed (versions in its first line); the data
sets are those of lme4's manual (Davies & Goldsmith 1972; Box & Tiao 1973).
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from evalsuite.stats import variance_components as vc
from evalsuite.stats._reml import reml


def _read():
    table = defaultdict(lambda: defaultdict(dict))
    with (Path(__file__).parent / "data" / "variance_components.csv").open(encoding="utf-8") as lines:
        next(lines)  # versions
        for row in csv.DictReader(lines):
            value = math.nan if row["value"] == "NA" else float(row["value"])
            table[row["family"]][row["case"]][row["figure"]] = value
    return table


R = _read()
FACTORS = {
    "dyestuff": ["Batch"],
    "dyestuff2": ["Batch"],
    "penicillin": ["plate", "sample"],
    "unbalanced": ["plate", "sample"],
    "pastes": ["batch", "cask"],
}


def _data(name):
    n = sum(key.startswith(f"{name}/") for key in R["data-y"])
    y = np.array([R["data-y"][f"{name}/{i}"]["y"] for i in range(1, n + 1)])
    labels = {f: np.array([R[f"data-{f}"][f"{name}/{i}"]["label"] for i in range(1, n + 1)]) for f in FACTORS[name]}
    return y, labels


@pytest.mark.parametrize("name", sorted(FACTORS))
def test_reml_is_lme4s(name):
    y, labels = _data(name)
    found = vc.variance_components(y, labels, intervals=False)
    for source, e in found.sd.items():
        assert e.value == pytest.approx(R["sd"][f"{name}/{source}"]["value"], rel=2e-5, abs=1e-6), source
    assert found.mean == pytest.approx(R["mean"][name]["value"], rel=1e-8)
    assert found.singular == (("Batch",) if name == "dyestuff2" else ())
    fit = reml(y, [np.unique(v, return_inverse=True)[1] for v in labels.values()])
    # lme4 states the deviance of the values as they are, this one of values scaled to SD 1.
    criterion = fit.deviance + 2 * (y.size - 1) * math.log(fit.problem.scale)
    assert criterion == pytest.approx(R["deviance"][name]["value"], abs=1e-6)


@pytest.mark.parametrize("name", ["dyestuff", "penicillin", "unbalanced", "pastes"])
def test_profile_limits_are_metafors(name):
    y, labels = _data(name)
    found = vc.variance_components(y, labels)
    for source, e in found.sd.items():
        want = R["sd-profile"][f"{name}/{source}"]
        assert e.low == pytest.approx(want["low"], rel=2e-4, abs=1e-6), source
        if not math.isnan(want["high"]):
            assert e.high == pytest.approx(want["high"], rel=2e-4), source
        assert e.low <= e.value <= e.high


def test_published_components():
    """Bates et al. (lme4 vignettes): Dyestuff 42.00 and 49.51; Penicillin .8467, 1.9316, .5499; Pastes 1.287, 2.904,
    .8234."""
    for name, want in {
        "dyestuff": [42.00, 49.51],
        "penicillin": [0.8467, 1.9316, 0.5499],
        "pastes": [1.2874, 2.9041, 0.8234],
    }.items():
        found = vc.variance_components(*_data(name), intervals=False)
        assert [e.value for e in found.sd.values()] == pytest.approx(want, abs=6e-3)


def test_one_way_analysis_of_variance():
    between, within = vc.one_way(*(lambda y, f: (y, f["Batch"]))(*_data("dyestuff")))
    assert between.value == pytest.approx(R["sd"]["dyestuff/Batch"]["value"], rel=1e-5)
    assert within.value == pytest.approx(R["sd"]["dyestuff/residual"]["value"], rel=1e-5)
    group = [0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 4]
    values = [3.1, 3.4, 2.9, 4.0, 4.4, 2.2, 2.0, 2.5, 2.4, 3.9, 3.5, 3.6, 5.1, 4.7]
    between, within = vc.one_way(values, group)
    assert between.value == pytest.approx(R["one-way"]["unbalanced"]["between"], rel=1e-12)
    assert within.value == pytest.approx(R["one-way"]["unbalanced"]["within"], rel=1e-12)


def _ten():
    i = np.arange(60)
    p, o = i // 6, (i // 2) % 3
    y = (
        50
        + 6 * np.sin(p * 2.3)
        + 1.5 * np.cos(o * 2 + 0.5)
        + 0.8 * np.sin(p * 1.7 + o * 2.9)
        + 0.6 * np.sin(i * 12.9898)
    )
    return np.round(y, 2), p, o


def test_gauge_study_is_rs_analysis_of_variance_and_lme4s():
    y, p, o = _ten()
    g = vc.gauge_study(y, p, o)
    want = R["gauge"]["ten"]
    for name in ("patient", "operator", "interaction", "repeatability", "reproducibility", "total"):
        assert getattr(g, name).value == pytest.approx(want[name], rel=1e-10), name
    for name in ("patient", "repeatability", "total"):
        e = getattr(g, name)
        assert [e.low, e.high] == pytest.approx([want[f"{name}-low"], want[f"{name}-high"]], rel=1e-9)
    assert g.repeatability_coefficient.value == pytest.approx(2.771808 * want["repeatability"], rel=1e-6)
    fit = vc.variance_components(y, {"p": p, "o": o, "po": 10 * p + o}, intervals=False)
    for source, e in fit.sd.items():
        assert e.value == pytest.approx(R["gauge-reml"]["ten"][source], rel=1e-4)


def test_modified_large_sample_limits_cover():
    """8 patients, 5 operators, 2 repeats: the intervals hold the true SD in about 95 of 100 studies."""
    rng = np.random.default_rng(6)
    true = {"patient": 3.0, "operator": 1.0, "repeatability": 0.8}
    p, o = (a.ravel() for a in np.mgrid[0:8, 0:5, 0:2][:2])
    hit = dict.fromkeys((*true, "total"), 0)
    rounds = 800
    for _ in range(rounds):
        y = rng.normal(0, 3.0, 8)[p] + rng.normal(0, 1.0, 5)[o] + rng.normal(0, 0.8, 80)
        g = vc.gauge_study(y, p, o)
        for name, sd in {**true, "total": math.hypot(1.0, 0.8)}.items():
            e = getattr(g, name)
            hit[name] += e.low <= sd <= e.high
    for name, count in hit.items():
        assert count / rounds > 0.935 - 3 * math.sqrt(0.05 * 0.95 / rounds), name


def test_one_way_limits_cover_with_unequal_groups():
    rng = np.random.default_rng(7)
    group = np.repeat(np.arange(12), [1, 2, 3, 2, 4, 2, 1, 5, 2, 3, 2, 3])
    hit = np.zeros(2)
    rounds = 800
    for _ in range(rounds):
        y = rng.normal(0, 1.5, 12)[group] + rng.normal(0, 1, group.size)
        between, within = vc.one_way(y, group)
        hit += [between.low <= 1.5 <= between.high, within.low <= 1 <= within.high]
    assert (hit / rounds > 0.935 - 3 * math.sqrt(0.05 * 0.95 / rounds)).all()

"""Sites on the identity scale against metafor, linearity against R's lm.

`data/sources.csv` is what `generators/sources.R` printed (versions in its first line).
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from evalsuite.stats import generalisation as g
from evalsuite.stats.linearity import linearity

COUNTS = {
    "differing": ([45, 30, 80, 12, 55], [50, 40, 90, 20, 60]),
    "perfect": ([25, 38, 47, 60, 9, 31], [25, 45, 60, 66, 12, 50]),
}


def _read():
    table = defaultdict(lambda: defaultdict(dict))
    with (Path(__file__).parent / "data" / "sources.csv").open(encoding="utf-8") as lines:
        next(lines)  # versions
        for row in csv.DictReader(lines):
            table[row["family"]][row["case"]][row["figure"]] = float(row["value"])
    return table


R = _read()


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_proportions_as_they_are_match_metafor(name):
    x, n = COUNTS[name]
    success = np.concatenate([np.arange(m) < k for k, m in zip(x, n, strict=True)])
    site = np.repeat([str(i) for i in range(1, len(n) + 1)], n)
    effects = g.proportion_effects(success, site, scale="identity")
    for e in effects:
        assert e.effect == pytest.approx(R["raw-effect"][f"{name}/{e.site}"]["y"], abs=1e-12)
        assert e.variance == pytest.approx(R["raw-effect"][f"{name}/{e.site}"]["v"], abs=1e-14)
    model = g.site_heterogeneity(effects, scale="identity")
    want = R["raw-model"][name]
    assert model.average.value == pytest.approx(want["mean"], abs=1e-8)
    assert model.average.low == pytest.approx(want["low"], abs=1e-7)
    assert model.average.high == pytest.approx(want["high"], abs=1e-7)
    assert model.tau.value == pytest.approx(want["tau"], abs=1e-6)
    assert model.test.statistic == pytest.approx(want["q"], abs=1e-9)
    assert model.test.p_value == pytest.approx(want["p"], abs=1e-10)


LEVEL = np.repeat([5.0, 20.0, 40.0, 60.0, 90.0], 3)
ERROR = np.array([0.31, -0.42, 0.10, -0.55, 0.24, 0.37, -0.13, 0.48, -0.29, 0.44, -0.37, 0.05, 0.22, -0.51, 0.33])
CURVES = {
    "straight": 1.5 + 0.97 * LEVEL + ERROR,
    "bent": 1.5 + 1.1 * LEVEL - 0.0022 * LEVEL**2 + ERROR,
    "curved": 1.5 + 0.7 * LEVEL + 0.012 * LEVEL**2 - 0.00009 * LEVEL**3 + ERROR,
}


@pytest.mark.parametrize("name", sorted(CURVES))
def test_deviation_from_linearity_matches_rs_regressions(name):
    got = linearity(CURVES[name], LEVEL)
    # R's half widths are of one level at 95 %: ask for the level at which Bonferroni's factor of 5 makes that.
    single = linearity(CURVES[name], LEVEL, level=0.75)
    for i, x in enumerate((5, 20, 40, 60, 90)):
        want = R["deviation"][f"{name}/3/{x}"]
        assert got.deviations[i].value == pytest.approx(want["value"], abs=1e-10)
        e = single.deviations[i]
        assert (e.high - e.low) / 2 == pytest.approx(want["half"], rel=1e-10)
    sigma = {k: R["linearity"][f"{name}/{k}"]["sigma"] for k in (2, 3)}
    p = [R["linearity"][f"{name}/{k}"][f"p{j}"] for k, j in ((2, 2), (3, 2), (3, 3))]
    assert [t.p_value for t in got.tests] == pytest.approx(p, rel=1e-7)
    want_order = 1 if min(p) >= 0.05 else 2 if sigma[2] <= sigma[3] else 3
    assert got.best_order == want_order
    assert got.slope.value == pytest.approx(R["linearity"][f"{name}/1"]["b1"], rel=1e-12)


def test_the_largest_deviation_is_covered_at_least_as_often_as_said():
    rng = np.random.default_rng(11)
    truth = 1.5 + 0.7 * LEVEL + 0.012 * LEVEL**2 - 0.00009 * LEVEL**3
    want = linearity(truth + 1e-9 * ERROR, LEVEL).largest.value
    hits = 0
    for _ in range(1000):
        e = linearity(truth + rng.normal(0, 1.5, LEVEL.size), LEVEL).largest
        hits += e.low <= want <= e.high
    assert hits >= 950 - 3 * np.sqrt(1000 * 0.95 * 0.05)

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

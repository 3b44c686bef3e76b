"""The simulations of gaps between groups use the suite's own formulas, and what they show holds in a small run."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import bias_simulations as sim
from evalsuite.stats.group_figures import share_figure
from evalsuite.stats.group_gaps import gap, gap_p, omnibus
from evalsuite.stats.multiplicity import adjust_p

COUNTS = [(25, 30), (80, 100), (9, 10), (0, 12), (200, 200)]


def share(x: int, n: int):
    return share_figure(np.arange(n) < x, np.arange(n))


def test_limits_and_p_values_are_those_of_the_suite():
    (x, n), rest = COUNTS[0], COUNTS[1:]
    for other in rest:
        e = gap(share(x, n), share(*other))
        one = [np.array([float(v)]) for v in (x / n, n, other[0] / other[1], other[1])]
        low, high = sim.limits(*one, 1.959963984540054)
        assert (float(low[0]), float(high[0])) == pytest.approx((e.low, e.high), abs=1e-12)
        assert float(sim.p_values(*one)[0]) == pytest.approx(gap_p(share(x, n), share(*other))[1], rel=1e-6, abs=1e-12)


def test_adjustment_and_the_test_of_all_groups_are_those_of_the_suite():
    p = np.random.default_rng(1).random((20, 5)) ** 2
    for row, adjusted in zip(p, sim.holm(p), strict=True):
        assert adjusted == pytest.approx(adjust_p(row, "holm"))
    n = np.array([[float(n) for _, n in COUNTS]])
    x = np.array([[x / n for x, n in COUNTS]])
    assert sim.pearson(x, n)[0] == pytest.approx(omnibus([share(*c) for c in COUNTS], name="").p_value, rel=1e-9)


def test_clustered_studies_have_the_effective_numbers_of_the_suite():
    rng = np.random.default_rng(2)
    p, n = sim.clustered(rng, 1, [40], [0.8])
    assert p.shape == n.shape == (1, 1)
    again = np.random.default_rng(2)
    total = 1 / 0.3 - 1
    x = again.binomial(3, again.beta(0.8 * total, 0.2 * total, (1, 40)))[0]
    success = np.concatenate([np.arange(3) < v for v in x])
    f = share_figure(success, np.repeat(np.arange(40), 3))
    assert f.value == pytest.approx(p[0, 0])
    assert f.effective_n == pytest.approx(n[0, 0], rel=1e-9)


@pytest.mark.parametrize("patients", [False, True], ids=["one case each", "several cases each"])
def test_a_small_run_covers_and_seldom_accuses_equal_groups(patients):
    rng = np.random.default_rng(3)
    equal = sim.covered(rng, 1500, [100] * 4, [0.85] * 4, patients=patients)
    assert equal.mean > 0.93
    assert equal.false_disparity < 0.055 + 3 * (0.05 * 0.95 / 1500) ** 0.5
    assert equal.undefined == 0
    real = sim.covered(rng, 1500, [100] * 4, [0.85, 0.7, 0.7, 0.7], patients=patients)
    assert real.mean > 0.93
    assert real.false_disparity is None


def test_the_four_outcomes_add_up_and_never_call_five_positives():
    rows = list(sim.characteristics(np.random.default_rng(4), 100))
    for row in rows:
        assert sum(row.rates) == pytest.approx(1.0)
    assert all(r.rates[3] == 1.0 for r in rows if r.positives == 5)
    large = next(r for r in rows if (r.positives, r.gap, r.margin) == (2000, 0.2, 0.1))
    assert large.rates[1] > 0.99
    none = next(r for r in rows if (r.positives, r.gap, r.margin) == (2000, 0.0, 0.1))
    assert none.rates[0] > 0.99
    at_the_margin = next(r for r in rows if (r.positives, r.gap, r.margin) == (2000, 0.1, 0.1))
    assert at_the_margin.rates[0] < 0.15


def test_case_mix_alone_vanishes_when_standardised_and_a_real_gap_does_not():
    rng = np.random.default_rng(5)
    alone = sim.explained(rng, 60, "case mix alone", 0.0)
    real = sim.explained(rng, 60, "real", 0.1)
    assert alone.crude_apart > 0.9
    assert alone.standardised_apart < 0.15
    assert abs(alone.mean) < 0.02
    assert real.standardised_apart > 0.4
    assert real.mean == pytest.approx(0.1, abs=0.03)

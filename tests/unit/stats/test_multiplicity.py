"""Adjusted p-values: published examples, special cases of graphs, edges."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats.multiplicity import (
    adjust_p,
    adjust_tests,
    co_primary,
    graphical,
    holm_lower_bounds,
    simultaneous_level,
)
from evalsuite.types import TestOutcome

METHODS = ["none", "bonferroni", "sidak", "holm", "hochberg", "hommel", "fixed-sequence", "bh", "by"]


@pytest.mark.parametrize("method", METHODS)
def test_edges(method):
    assert adjust_p([], method).size == 0
    assert adjust_p([0.03], method).tolist() == pytest.approx([0.03])
    assert adjust_p([0.0, 1.0], method).tolist() == pytest.approx([0.0, 1.0])
    for bad in ([float("nan")], [-0.1], [1.1]):
        with pytest.raises(ValueError, match="p-values"):
            adjust_p(bad, method)


def test_unknown_method():
    with pytest.raises(ValueError, match="holm"):
        adjust_p([0.1], "tukey")


def test_by_hand():
    p = [0.04, 0.01, 0.03]
    assert adjust_p(p, "holm").tolist() == pytest.approx([0.06, 0.03, 0.06])
    assert adjust_p(p, "fixed-sequence").tolist() == pytest.approx([0.04, 0.04, 0.04])
    assert adjust_p(p, "sidak").tolist() == pytest.approx([1 - 0.96**3, 1 - 0.99**3, 1 - 0.97**3])
    assert adjust_p(p, "none").tolist() == p


def test_hommel_is_the_closed_simes_test():
    """Every intersection of five hypotheses, enumerated."""
    rng = np.random.default_rng(2)
    for _ in range(20):
        p = rng.random(5) ** 2
        want = np.zeros(5)
        for mask in range(1, 32):
            members = [i for i in range(5) if mask >> i & 1]
            q = np.sort(p[members])
            simes = (len(q) * q / np.arange(1, len(q) + 1)).min()
            for i in members:
                want[i] = max(want[i], simes)
        assert adjust_p(p, "hommel").tolist() == pytest.approx(want.tolist(), abs=1e-12)


def test_an_undefined_test_counts_in_the_family():
    def made(p):
        return TestOutcome(
            name="t", statistic=None, p_value=p, method="m", undefined=None if p is not None else "no cases"
        )

    got = adjust_tests([made(0.01), made(None), made(0.04)], "holm")
    assert [t.p_adjusted for t in got] == [pytest.approx(0.03), None, pytest.approx(0.08)]
    assert adjust_tests([], "holm") == ()


def test_graph_special_cases():
    p = np.array([0.01, 0.04, 0.02, 0.3])
    m = len(p)
    holm = np.full((m, m), 1 / (m - 1))
    np.fill_diagonal(holm, 0)
    assert graphical(p, np.full(m, 1 / m), holm).tolist() == pytest.approx(adjust_p(p, "holm").tolist())
    sequence = np.eye(m, k=1)
    assert graphical(p, [1, 0, 0, 0], sequence).tolist() == pytest.approx(adjust_p(p, "fixed-sequence").tolist())
    assert graphical(p, np.full(m, 0.25), np.zeros((m, m))).tolist() == pytest.approx(
        adjust_p(p, "bonferroni").tolist()
    )


def test_graph_gatekeeping_by_closed_testing():
    """Two primaries guard two secondaries (Bretz et al. 2009, fig. 5), against the closed weighted Bonferroni test."""
    w = np.array([0.5, 0.5, 0, 0])
    g = np.array([[0, 0.5, 0.5, 0], [0.5, 0, 0, 0.5], [0, 1, 0, 0], [1, 0, 0, 0]], float)

    def weights_of(members):
        weight, matrix, left = w.copy(), g.copy(), list(range(4))
        for j in [i for i in range(4) if i not in members]:
            left.remove(j)
            new_w, new_g = np.zeros(4), np.zeros((4, 4))
            for i in left:
                new_w[i] = weight[i] + weight[j] * matrix[j, i]
                for k in left:
                    loop = matrix[i, j] * matrix[j, i]
                    if k != i and loop < 1:
                        new_g[i, k] = (matrix[i, k] + matrix[i, j] * matrix[j, k]) / (1 - loop)
            weight, matrix = new_w, new_g
        return weight

    rng = np.random.default_rng(4)
    for _ in range(20):
        p = rng.random(4) ** 2
        want = np.zeros(4)
        for mask in range(1, 16):
            members = [i for i in range(4) if mask >> i & 1]
            v = weights_of(members)
            p_set = min([1.0, *(p[i] / v[i] for i in members if v[i] > 0)])
            for i in members:
                want[i] = max(want[i], p_set)
        assert graphical(p, w, g).tolist() == pytest.approx(want.tolist(), abs=1e-12)


def test_graph_refusals():
    with pytest.raises(ValueError, match="weights"):
        graphical([0.1, 0.2], [0.8, 0.8], np.zeros((2, 2)))
    with pytest.raises(ValueError, match="transition"):
        graphical([0.1, 0.2], [1, 0], np.zeros((3, 3)))
    with pytest.raises(ValueError, match="diagonal"):
        graphical([0.1, 0.2], [1, 0], np.eye(2))


def test_co_primary_is_the_worst():
    assert co_primary([0.01, 0.03]) == 0.03
    with pytest.raises(ValueError, match="at least one"):
        co_primary([])


def test_simultaneous_levels():
    assert simultaneous_level(0.95, 1) == pytest.approx(0.95)
    assert simultaneous_level(0.95, 5) == pytest.approx(0.99)
    assert simultaneous_level(0.95, 5, "sidak") == pytest.approx(0.95**0.2)
    with pytest.raises(ValueError, match="family"):
        simultaneous_level(0.95, 0)
    with pytest.raises(ValueError, match="bonferroni"):
        simultaneous_level(0.95, 2, "holm")


def test_holm_bounds_agree_with_holm():
    from scipy.stats import norm

    z = np.array([3.5, 1.0, 2.4])
    p = norm.sf(z)

    def bound(i, a):
        return z[i] - norm.isf(a)

    got = holm_lower_bounds(p, np.zeros(3), bound)
    rejected = adjust_p(p, "holm") <= 0.025
    assert [r for _, r in got] == rejected.tolist()
    assert got[0] == (0.0, True)
    assert got[1][0] == pytest.approx(1.0 - norm.isf(0.025))
    everything = holm_lower_bounds(norm.sf([4.0, 5.0]), [0, 0], lambda i, a: [4.0, 5.0][i] - norm.isf(a))
    assert everything[0] == (pytest.approx(4 - norm.isf(0.0125)), True)
    with pytest.raises(ValueError, match="null"):
        holm_lower_bounds(p, [0], bound)
    with pytest.raises(ValueError, match="alpha"):
        holm_lower_bounds(p, np.zeros(3), bound, alpha=0)

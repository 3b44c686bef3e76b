"""Wilcoxon's signed ranks: exact small samples counted through, ties, nothing that differs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from evalsuite.stats.signed_rank import signed_ranks


def test_small_samples_are_counted_through() -> None:
    """Seven differences without ties: every way of giving signs to the ranks is as likely."""
    change = np.array([0.3, -0.1, 0.7, 0.2, 0.45, -0.05, 0.9])
    rank = np.argsort(np.argsort(np.abs(change))) + 1
    seen = min(rank[change > 0].sum(), rank[change < 0].sum())
    sums = [sum(r for r, up in zip(rank, signs, strict=True) if up) for signs in itertools.product((0, 1), repeat=7)]
    expected = np.mean([min(s, 28 - s) <= seen for s in sums])
    found = signed_ranks(change, np.zeros(7), name="x")
    assert (found.statistic, found.p_value) == (float(seen), pytest.approx(expected))
    assert found.method.endswith("exact")


def test_pairs_that_do_not_differ_are_left_out_and_ties_are_said() -> None:
    first, second = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([1.0, 1.0, 4.0, 3.0, 4.0])
    found = signed_ranks(first, second, name="x", endpoint="y")
    assert found.method.endswith("normal approximation")
    # Four differences of one size: ranks 2.5 each, W = 2.5, mean 5, variance 7.5 - 60 / 48 (ties).
    z = (2.5 - 5.0) / np.sqrt(7.5 - 60.0 / 48.0)
    from scipy.stats import norm

    assert found.p_value == pytest.approx(2 * norm.cdf(z))
    none = signed_ranks(first, first, name="x")
    assert none.p_value is None
    assert none.undefined

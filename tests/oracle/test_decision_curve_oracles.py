"""Net benefit against R's dcurves, and case-control net benefit by its definition."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats.decision_curve import net_benefit, net_benefit_difference, net_benefit_value


def test_case_control_prevalence_equals_reweighted_cohort() -> None:
    """Second derivation: duplicating negatives until the prevalence is 10 % gives the declared-prevalence figure."""
    rng = np.random.default_rng(1)
    y = np.repeat([True, False], 100)
    p = np.clip(rng.normal(0.4 + 0.2 * y, 0.2), 0, 1)
    big_y = np.concatenate([y[:100], np.tile(y[100:], 9)])
    big_p = np.concatenate([p[:100], np.tile(p[100:], 9)])
    for t in (0.1, 0.3, 0.5):
        assert net_benefit_value(y, p, t, prevalence=0.1) == pytest.approx(
            net_benefit_value(big_y, big_p, t), abs=1e-12
        )


def test_interval_against_normal_theory() -> None:
    """Second derivation: at a fixed threshold net benefit is a mean, so its interval is near the normal one."""
    rng = np.random.default_rng(2)
    y = rng.random(2000) < 0.2
    p = np.clip(rng.normal(0.3 + 0.2 * y, 0.2), 0, 1)
    t = 0.25
    per_case = np.where(p >= t, np.where(y, 1.0, -t / (1 - t)), 0.0)
    half = 1.959964 * per_case.std(ddof=1) / np.sqrt(2000)
    e = net_benefit(y, p, t, replicates=4000, seed=1)
    assert [e.low, e.high] == pytest.approx([per_case.mean() - half, per_case.mean() + half], abs=2e-3)
    q = np.clip(p + rng.normal(0, 0.1, 2000), 0, 1)
    other = np.where(q >= t, np.where(y, 1.0, -t / (1 - t)), 0.0)
    d = net_benefit_difference(y, p, q, t, replicates=4000, seed=1)
    gap = per_case - other
    half = 1.959964 * gap.std(ddof=1) / np.sqrt(2000)
    assert [d.low, d.high] == pytest.approx([gap.mean() - half, gap.mean() + half], abs=2e-3)

"""Estimates over sites at the edges: one site, sites that agree, sites without positives, a perfect site."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats import generalisation as g
from evalsuite.types import Estimate


def _proportions(counts):
    success = np.concatenate([np.arange(n) < x for x, n in counts])
    return g.proportion_effects(success, np.repeat([f"s{i}" for i in range(len(counts))], [n for _, n in counts]))


def _site(name, effect, variance=0.1):
    e = Estimate(value=0.5, low=0.4, high=0.6, method="-", n=10)
    return g.SiteEffect(site=name, estimate=e, effect=effect, variance=variance)


def test_no_site_and_one_site_give_reasons():
    assert "no site" in g.site_heterogeneity([]).average.undefined
    one = g.site_heterogeneity(_proportions([(8, 10)]))
    for e in (one.average, one.prediction, one.tau, one.i2):
        assert "one site" in e.undefined
    assert one.test.p_value is None


def test_two_sites_have_an_average_but_no_prediction():
    two = g.site_heterogeneity(_proportions([(8, 10), (30, 40)]))
    assert two.average.low < two.average.value < two.average.high
    assert two.prediction.value is not None
    assert "3 sites" in two.prediction.interval_undefined


def test_sites_with_one_and_the_same_estimate_never_give_a_zero_width_interval():
    sites = [_site(str(i), 1.0) for i in range(4)]
    plain = g.site_heterogeneity(sites, interval="hartung-knapp")
    assert plain.average.low is None
    assert "same estimate" in plain.average.interval_undefined
    modified = g.site_heterogeneity(sites)
    assert modified.average.low < modified.average.high
    assert modified.tau.value == 0
    assert "chance" in modified.i2.interval_undefined


def test_average_is_of_sites_not_of_cases():
    h = g.site_heterogeneity(_proportions([(9500, 10000), (25, 50), (20, 50), (30, 50)]))
    assert h.average.value < 0.75
    assert sum(h.weights.values()) == pytest.approx(1)
    assert h.average.n == 10150


def test_sites_that_say_nothing_are_named_and_left_out():
    reference = np.r_[np.tile([True, False], 10), np.zeros(5, bool), np.tile([True, False], 10)]
    score = np.random.default_rng(1).normal(size=45) + reference
    site = np.repeat(["a", "b", "c"], [20, 5, 20])
    h = g.site_heterogeneity(g.auroc_effects(reference, score, site))
    assert list(h.left_out) == ["b"]
    assert "no reference-positive cases" in h.left_out["b"]
    assert set(h.weights) == {"a", "c"}


def test_a_perfect_site_blocks_the_logit_model_but_not_the_identity_one():
    reference = np.tile([True, False], 30)
    score = np.random.default_rng(1).normal(size=60) + reference
    score[:20] = reference[:20]
    site = np.repeat(["a", "b", "c"], 20)
    logit = g.site_heterogeneity(g.auroc_effects(reference, score, site))
    assert "site a: 1" in logit.average.undefined
    identity = g.site_heterogeneity(g.auroc_effects(reference, score, site, scale="identity"), scale="identity")
    assert identity.average.value is not None
    assert set(identity.weights) == {"a", "b", "c"}


def test_one_patient_at_a_site_is_no_evidence_of_that_site():
    sites = g.proportion_effects([True, False, True, True], ["a", "a", "b", "b"], patient=[1, 1, 2, 3])
    assert [s.left_out is None for s in sites] == [False, True]


def test_design_effect_widens_a_site():
    success = np.tile([True, True, False, True], 25)
    alone = g.proportion_effects(success, np.zeros(100))[0]
    patients = g.proportion_effects(np.repeat(success[:25], 4), np.zeros(100), patient=np.repeat(np.arange(25), 4))[0]
    assert patients.variance > 2 * alone.variance


def test_effects_are_read_back_from_wald_intervals():
    e = Estimate(value=0.3, low=0.1, high=0.5, level=0.9, method="-", n=4)
    (s,) = g.effects_of_estimates({"a": e}, scale="identity")
    assert s.variance == pytest.approx((0.2 / 1.6448536) ** 2)
    none = Estimate.not_estimable("no cases", n=0)
    assert g.effects_of_estimates({"a": none}, scale="logit")[0].left_out == "no cases"


def test_a_site_far_from_the_others_is_seen():
    sites = [_site(str(i), v, 0.01) for i, v in enumerate([1.0, 1.1, 0.9, 1.05, 4.0])]
    left = g.leave_one_site_out(sites)
    assert left[4].within_prediction is False
    assert all(s.within_prediction for s in left[:4])


def test_statistics_of_each_group_and_of_the_rest():
    values = np.arange(10.0)
    group = np.array(list("aabbbccccc"))

    def mean(mask):
        return Estimate(value=float(values[mask].mean()), interval_undefined="-", method="mean", n=int(mask.sum()))

    made = g.leave_one_group_out(group, mean)
    assert made["b"][0].value == 3
    assert made["b"][1].value == pytest.approx(36 / 7)
    assert {k: (a.n, b.n) for k, (a, b) in made.items()} == {"a": (2, 8), "b": (3, 7), "c": (5, 5)}


def test_faults_are_named():
    with pytest.raises(ValueError, match="named twice"):
        g.site_heterogeneity([_site("a", 1.0), _site("a", 2.0)])
    with pytest.raises(ValueError, match="scale is one of"):
        g.site_heterogeneity([], scale="probit")
    with pytest.raises(ValueError, match="tau2 is"):
        g.site_heterogeneity([], tau2="pm")
    with pytest.raises(ValueError, match="positive variance"):
        _site("a", 1.0, 0.0)
    with pytest.raises(ValueError, match="shape"):
        g.proportion_effects([True], ["a", "b"])

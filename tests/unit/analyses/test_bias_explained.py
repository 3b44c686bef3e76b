"""A gap that is all case mix vanishes when standardised, a real one stays, and the imbalance behind it is tabled."""

from __future__ import annotations

import pytest

from tests.unit.analyses.test_beside_performance import SENSITIVITY, cases, goal, of, protocol, run

STRATA = [{"name": name, "column": name} for name in ("site", "severity", "confirmed")]


def asking(**more):
    block = {
        "attributes": [{"stratum": "site", "reference": "b"}],
        "metrics": ["sensitivity", "specificity"],
        "case_mix": ["severity"],
        "verification": "confirmed",
        **more,
    }
    return protocol(goal(SENSITIVITY, 0.3), strata=STRATA, analyses={"bias": block})


def columns(a: tuple[int, int, int, int], b: tuple[int, int, int, int], negatives: int = 60):
    """Per site: mild, found mild, severe, found severe."""
    made, site, severity, confirmed = [], [], [], []
    for name, (mild, found_mild, severe, found_severe) in (("a", a), ("b", b)):
        made += [(found_mild, "1", 0.9), (mild - found_mild, "1", 0.1)]
        made += [(found_severe, "1", 0.9), (severe - found_severe, "1", 0.1), (negatives, "0", 0.2)]
        severity += ["mild"] * mild + ["severe"] * severe + ["none"] * negatives
        site += [name] * (mild + severe + negatives)
        confirmed += ["biopsy" if name == "a" else "follow-up"] * (mild + severe + negatives)
    return {**cases(*made), "site": site, "severity": severity, "confirmed": confirmed}


CONFOUNDED = columns((300, 180, 700, 665), (700, 420, 300, 285))
REAL = columns((300, 120, 700, 560), (300, 180, 700, 665))


def found(results, condition: str, metric: str = "sensitivity_difference"):
    hits = [f for f in of(results, "bias") if (f.metric, f.condition) == (metric, condition)]
    assert len(hits) == 1
    return hits[0].estimate


def test_a_confounded_gap_vanishes_when_standardised():
    results = run(asking(), CONFOUNDED)
    (crude,) = [f for f in of(results, "bias") if f.metric == "sensitivity_difference" and f.condition is None]
    assert crude.outcome == "disparity"
    assert crude.estimate.value == pytest.approx(0.14)
    standardised = found(results, "standardised=severity")
    assert standardised.value == pytest.approx(0.0, abs=1e-12)
    assert found(results, "overlap_weighted=severity").value == pytest.approx(0.0, abs=1e-6)
    crude_odds, adjusted = (
        found(results, c, "sensitivity_odds_ratio") for c in ("crude", "regression_adjusted=severity")
    )
    assert crude_odds.low > 1.0
    assert adjusted.value == pytest.approx(1.0, abs=1e-6)
    effective = found(results, "standardised=severity; group", "sensitivity")
    assert effective.denominator == pytest.approx(801.144, abs=1e-3)
    assert found(results, "standardised=severity", "sensitivity_case_mix_shared").value == 1.0


def test_a_real_gap_stays_when_standardised():
    results = run(asking(), REAL)
    for condition in ("standardised=severity", "overlap_weighted=severity"):
        e = found(results, condition)
        assert e.value == pytest.approx(-0.165, abs=1e-6)
        assert e.high < 0.0
    assert found(results, "regression_adjusted=severity", "sensitivity_odds_ratio").high < 1.0


def test_what_the_groups_differ_in_is_tabled():
    results = run(asking(), CONFOUNDED)
    p, q = 300 / 1060, 700 / 1060
    spread = ((p * (1 - p) + q * (1 - q)) / 2) ** 0.5
    e = found(results, "imbalance in severity: mild", "standardised_difference")
    assert e.value == pytest.approx((p - q) / spread)
    assert (e.numerator, e.denominator) == (pytest.approx(p), pytest.approx(q))
    spectrum = found(results, "imbalance in severity: mild, of those with the condition", "standardised_difference")
    assert (spectrum.numerator, spectrum.denominator) == (0.3, 0.7)
    assert found(results, "imbalance in prevalence", "standardised_difference").value == 0.0
    # How the reference was established differs completely: no number, and the reason.
    assert "none of the other" in found(results, "imbalance in confirmed: biopsy", "standardised_difference").undefined


def test_a_case_mix_that_is_the_attribute_itself_explains_nothing():
    results = run(asking(case_mix=["site"]), CONFOUNDED)
    assert not [f for f in of(results, "bias") if f.condition and "standardised=" in f.condition]


def test_without_a_shared_cell_the_reason_is_given():
    apart = columns((1000, 600, 0, 0), (0, 0, 1000, 950))
    results = run(asking(), apart)
    assert "no combination" in found(results, "standardised=severity").undefined
    assert "completely apart" in found(results, "overlap_weighted=severity").undefined


def test_predictive_values_are_not_brought_to_what_tells_the_disease():
    """Severity "none" is every healthy case and nobody else: at a given severity a PPV is 0 or 1."""
    results = run(asking(metrics=["sensitivity", "ppv", "npv"]), CONFOUNDED)
    standardised = {f.metric for f in of(results, "bias") if f.condition == "standardised=severity"}
    assert "sensitivity_difference" in standardised
    assert "ppv_difference" not in standardised

"""What-if thresholds as a protocol asks for them: gaps close, nothing else changes, and small groups are named."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats.slices import search_half
from tests.unit.analyses.test_beside_performance import AREA, of, protocol, run


def shifted(n: int = 3000, *, seed: int = 4, third: int = 0) -> dict[str, list]:
    """Scores at site b lie lower for positives and negatives alike: one threshold misses more there."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.5
    site = np.where(rng.random(n) < 0.5, "a", "b")
    site[:third] = "c"
    score = 1 / (1 + np.exp(-(rng.normal(size=n) + 2.0 * truth - 1.0 - 0.9 * (site == "b"))))
    return {"truth": list(truth.astype(int).astype(str)), "p": list(score), "site": list(site)}


def asking(**block: object):
    return protocol(AREA, analyses={"threshold_what_if": {"stratum": "site", **block}})


def values(results) -> dict[tuple[str, str, str], float | None]:
    return {(f.stratum["site"], f.metric, f.condition): f.estimate.value for f in of(results, "threshold_what_if")}


def test_own_thresholds_close_the_gap_in_sensitivity_at_a_price():
    v = values(run(asking(), shifted()))
    assert v["a", "sensitivity", "as declared"] - v["b", "sensitivity", "as declared"] > 0.15
    assert abs(v["a", "sensitivity", "equalised"] - v["b", "sensitivity", "equalised"]) < 0.04
    assert v["b", "threshold", "equalised"] < 0.5 < v["a", "threshold", "equalised"]
    assert v["b", "specificity", "equalised"] < v["b", "specificity", "as declared"]
    assert v["a", "specificity", "equalised"] > v["a", "specificity", "as declared"]


def test_equal_odds_close_both_gaps():
    v = values(run(asking(equalise="odds"), shifted()))
    for metric in ("sensitivity", "specificity"):
        assert abs(v["a", metric, "equalised"] - v["b", metric, "equalised"]) < 0.05
        assert abs(v["a", metric, "as declared"] - v["b", metric, "as declared"]) > 0.1


def test_figures_at_the_declared_threshold_are_those_of_the_strata():
    results = run(protocol(
        {"name": "sens", "metric": "sensitivity", "at": "primary"}, AREA,
        analyses={"threshold_what_if": {"stratum": "site"}},
    ), shifted())  # fmt: skip
    plain = {f.stratum["site"]: f.estimate for f in of(results, "performance") if f.endpoint == "sens" and f.stratum}
    for f in of(results, "threshold_what_if"):
        if (f.metric, f.condition) == ("sensitivity", "as declared"):
            assert (f.estimate.value, f.estimate.low) == (plain[f.stratum["site"]].value, plain[f.stratum["site"]].low)


def test_the_rest_of_the_evidence_does_not_change():
    with_it, without = run(asking(), shifted(600)), run(protocol(AREA), shifted(600))
    assert [f for f in with_it.findings if f.analysis != "threshold_what_if"] == list(without.findings)


def test_a_case_is_called_by_the_other_half_of_the_patients():
    # Positives of the searched half score 0.9, those of the other 0.3; both lie above the declared threshold of 0.1.
    # Each half's own threshold would find them all; the other's finds all of one half and none of the other.
    n = 400
    half = search_half(np.arange(n), seed=7)
    truth = np.arange(n) % 2 == 0
    score = np.where(truth, np.where(half, 0.9, 0.3), 0.05)
    columns = {"truth": list(truth.astype(int).astype(str)), "p": list(score), "site": ["a", "a", "b", "b"] * (n // 4)}
    low = protocol(
        AREA,
        operating_points=[{"name": "primary", "threshold": 0.1}],
        analyses={"threshold_what_if": {"stratum": "site"}},
    )
    v = values(run(low, columns))
    for site in "ab":
        mine = truth & (np.array(columns["site"]) == site)
        assert v[site, "sensitivity", "as declared"] == 1.0
        assert v[site, "sensitivity", "equalised"] == pytest.approx(half[mine].mean())


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (shifted(400, third=8), "too small to take part (site): c"),
        ({**shifted(400), "site": ["a"] * 400}, "fewer than two groups"),
        ({"truth": ["1"] * 60, "p": [0.4] * 60, "site": ["a", "b"] * 30}, "fewer than two groups"),
    ],
)
def test_groups_that_cannot_take_part_are_named(columns, words):
    assert any(words in n for n in run(asking(), columns).notes)


def test_where_one_patient_holds_a_group_there_is_no_rule_for_it():
    columns = shifted(300)
    results = run(asking(), columns, patients=2)
    made = [
        f.estimate for f in of(results, "threshold_what_if") if f.condition == "equalised" and f.metric != "threshold"
    ]
    assert made
    assert all(e.value is not None or "half of the patients" in (e.undefined or "") for e in made)

"""Adjusting for several claims: never easier than not adjusting, and the promised error rate holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalsuite.judging import judge
from tests.unit.analyses.test_adjusted_findings import outcomes, p_of, protocol, studied

counts = st.fixed_dictionaries(
    {name: st.integers(20, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))) for name in "abc"}
)
METHODS = ("holm", "hochberg", "hommel", "fixed_sequence")


def study(method: str, rule: str = "any_primary"):
    order = {"order": ["a", "b", "c"]} if method == "fixed_sequence" or rule == "gatekeeping" else {}
    return protocol(decision_rule=rule, multiplicity={"method": method, **order})


@settings(max_examples=40, deadline=None)
@given(seen=counts, method=st.sampled_from(METHODS))
def test_adjusted_is_never_easier_than_unadjusted(seen, method) -> None:
    rule = study(method)
    evidence, made = studied(rule, seen)
    for row in evidence.tests:
        assert row.p_value is not None
        assert row.p_adjusted is not None
        assert row.p_adjusted >= row.p_value
    plain = {f.endpoint: f.estimate for f in evidence.findings if f.analysis == "performance"}
    for f in made:
        assert f.estimate.low <= plain[f.endpoint].low + 1e-12
        assert f.estimate.high >= plain[f.endpoint].high - 1e-12
    unadjusted = {c.endpoint: c.outcome for c in judge(protocol(), evidence).criteria}
    for criterion in judge(rule, evidence).criteria:
        if criterion.outcome == "met":
            assert unadjusted[criterion.endpoint] == "met"


@settings(max_examples=40, deadline=None)
@given(seen=counts, method=st.sampled_from(METHODS))
def test_a_criterion_is_met_exactly_where_its_adjusted_p_is_significant(seen, method) -> None:
    rule = study(method)
    evidence, _ = studied(rule, seen)
    adjusted = {t.endpoint: t.p_adjusted for t in evidence.tests}
    for criterion in judge(rule, evidence).criteria:
        assert (criterion.outcome == "met") == (adjusted[criterion.endpoint] <= rule.confidence.alpha)


@settings(max_examples=30, deadline=None)
@given(seen=counts)
def test_rules_are_ordered_in_strictness(seen) -> None:
    everything = outcomes(protocol(), seen)[0] == "met"
    holm, hochberg, hommel = (outcomes(study(m), seen)[0] == "met" for m in ("holm", "hochberg", "hommel"))
    gates = outcomes(study("none", "gatekeeping"), seen)[0] == "met"
    assert gates == everything  # in the end every gate has to be met
    assert not holm or hochberg  # Hochberg rejects whatever Holm does
    assert not hochberg or hommel  # and Hommel whatever Hochberg does
    assert not everything or hochberg


@pytest.mark.parametrize("method", METHODS)
def test_type_one_error_of_any_primary_holds(method) -> None:
    """2,000 studies in which no endpoint is better than its goal: at most 2.5 % are met, less 3 Monte Carlo SE."""
    rng = np.random.default_rng(20260101)
    rule, n, goal, replicates = study(method), 100, 0.8, 2000
    met = 0
    known: dict[tuple[int, ...], bool] = {}
    for xs in rng.binomial(n, goal, size=(replicates, 3)):
        key = tuple(int(x) for x in xs)
        if key not in known:
            # Where no p-value reaches alpha nothing can be met; only the others need the whole machinery.
            known[key] = min(p_of(x, n, goal) for x in key) <= 0.03 and (
                outcomes(rule, dict(zip("abc", ((x, n) for x in key), strict=True)))[0] == "met"
            )
        met += known[key]
    assert met / replicates <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / replicates)

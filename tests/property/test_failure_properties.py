"""What holds of wrong cases, tests of groups, slices and what-if rules whatever the data."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evalsuite.stats.equalising import for_odds, for_sensitivity, roc_hull
from evalsuite.stats.excess import excess_tests, score_tests
from evalsuite.stats.slices import in_slice, search_half, search_slices
from tests.unit.analyses.test_beside_performance import AREA, of, protocol, run

SETTINGS = settings(max_examples=25)
SCORES = st.floats(0.0, 1.0, allow_nan=False).map(lambda x: round(x, 3))


@st.composite
def samples(draw: st.DrawFn, least: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = draw(st.integers(least, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return rng.random(n) < draw(st.floats(0, 1)), rng.random(n) < 0.5, rng.integers(0, draw(st.integers(1, n)), n)


@settings(max_examples=12)
@given(st.lists(st.tuples(st.sampled_from(["1", "0", ""]), st.one_of(st.none(), SCORES)), min_size=1, max_size=25))
def test_every_case_is_listed_at_most_once_and_wrong_cases_are_those_of_the_counts(rows):
    columns = {"truth": [t for t, _ in rows], "p": [p for _, p in rows]}
    block = {"failures": {"near": 0.1, "confident": 0.2, "permutations": 99}}
    results = run(protocol(AREA, analyses=block), columns, patients=7)
    (listing,) = results.listings
    cases = [row[0] for row in listing.rows]
    assert len(cases) == len(set(cases))
    counted = {f.endpoint: f.estimate.numerator or 0 for f in of(results, "failures") if not f.stratum}
    listed = {kind: sum(row[1] == kind for row in listing.rows) for kind in counted}
    assert listed == counted
    assert counted["false negative"] == sum(t == "1" and p is not None and p < 0.5 for t, p in rows)
    assert counted["false positive"] == sum(t == "0" and p is not None and p >= 0.5 for t, p in rows)
    for row in listing.rows:
        cells = dict(zip(listing.columns, row, strict=True))
        if cells["kind"] in ("false negative", "false positive"):
            assert float(cells["beyond"]) >= 0
        elif cells["kind"] == "nearly wrong":
            assert float(cells["beyond"]) <= 0


@SETTINGS
@given(samples())
def test_p_values_are_probabilities_with_a_direction_and_forget_the_order_of_cases(sample):
    event, member, cluster = sample
    groups = np.array([member, ~member])
    order = np.random.default_rng(1).permutation(len(event))
    alone = np.arange(len(event))
    for p in (
        excess_tests(event, groups, cluster, permutations=99).p_value,
        excess_tests(event, groups, alone).p_value,
        score_tests(event, groups, cluster),
    ):
        # A group that is empty or everybody has no test; any other has one.
        assert np.isnan(p).all() == (member.all() or not member.any())
        assert ((p >= 0) & (p <= 1)).all() or np.isnan(p).all()
    exact = excess_tests(event, groups, alone).p_value
    if not np.isnan(exact).any():
        assert exact.sum() >= 1.0 - 1e-9  # what was seen belongs to both tails
        again = excess_tests(event[order], groups[:, order], alone).p_value
        assert np.allclose(exact, again, rtol=1e-12)


@SETTINGS
@given(st.integers(0, 2**32), st.integers(1, 3))
def test_slices_found_have_support_and_terms_that_exist(seed, depth):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 3, size=(120, 3))
    event = rng.random(120) < np.where(codes[:, 0] == 1, 0.7, 0.1)
    cluster = rng.integers(0, 80, 120)
    half = search_half(cluster, seed=seed)
    for found in search_slices(event, codes, cluster, half, depth=depth, support=8, permutations=99).found:
        inside = in_slice(codes[half], found.terms).sum()
        assert 8 <= inside <= half.sum() - 8
        assert 1 <= len(found.terms) <= depth
        assert len({a for a, _ in found.terms}) == len(found.terms)
        assert 0 <= found.p_plain <= found.p_search <= 0.05
        assert 0 < found.p_check <= 1


@SETTINGS
@given(
    st.lists(st.tuples(SCORES, st.booleans()), min_size=1, max_size=30),
    st.floats(0.0, 1.0),
)
def test_rules_reach_what_they_promise_on_the_cases_they_were_found_on(cases, goal):
    score, positive = np.array([s for s, _ in cases]), np.array([y for _, y in cases])
    rule = for_sensitivity(score, positive, goal)
    assert (rule is None) == (not positive.any())
    if rule is not None:
        assert rule.chance(score)[positive].mean() >= goal - 1e-9
    hull = roc_hull(score, positive)
    if hull is None:
        return
    assert (np.diff(hull.fpr) >= 0).all()
    assert (np.diff(hull.tpr) >= 0).all()
    slopes = np.diff(hull.tpr)[np.diff(hull.fpr) > 0] / np.diff(hull.fpr)[np.diff(hull.fpr) > 0]
    assert (np.diff(slopes) <= 1e-9).all()
    for threshold in np.unique(score):
        call = score >= threshold
        assert call[positive].mean() <= hull.sensitivity(float(call[~positive].mean())) + 1e-9
    found = for_odds([(score, positive), (1 - score, positive)], goal)
    assert found is not None
    for s, chosen in zip((score, 1 - score), found[1], strict=True):
        assert abs(chosen.chance(s)[~positive].mean() - goal) < 1e-6
        assert abs(chosen.chance(s)[positive].mean() - found[0]) < 1e-6

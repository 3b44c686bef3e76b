"""Bias as a protocol asks for it: gaps with their outcomes, edges, missing data at both extremes, and the traps."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.types import Finding
from tests.unit.analyses.test_beside_performance import AREA, SENSITIVITY, cases, goal, of, protocol, run
from tests.unit.analyses.test_group_differences import newcombes


def asking(attributes=("site",), **more):
    block = {"attributes": list(attributes), "metrics": ["sensitivity", "specificity", "fnr", "auroc"], **more}
    return protocol(goal(SENSITIVITY, 0.3), AREA, analyses={"bias": block})


def with_reference(**more):
    return asking([{"stratum": "site", "reference": "b"}], **more)


def gap(results, metric: str, site: str, *, condition: str | None = None, reference: str | None = None) -> Finding:
    hits = [
        f
        for f in of(results, "bias")
        if f.metric == f"{metric}_difference"
        and dict(f.stratum) == {"site": site}
        and f.condition == condition
        and (reference is None or f.reference_group == reference)
    ]
    assert len(hits) == 1
    return hits[0]


def sites(**groups: tuple[tuple[int, int], tuple[int, int]]) -> dict[str, list]:
    """Per site (found, positives) and (rejected, negatives)."""
    made, names = [], []
    for name, ((tp, p), (tn, n)) in groups.items():
        made += [(tp, "1", 0.9), (p - tp, "1", 0.1), (tn, "0", 0.2), (n - tn, "0", 0.8)]
        names += [name] * (p + n)
    return {**cases(*made), "site": names}


def test_a_gap_is_the_one_newcombe_printed_and_its_mirror_image():
    results = run(with_reference(), newcombes())
    e = gap(results, "sensitivity", "a").estimate
    assert (e.value, e.low, e.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    mirror = gap(results, "fnr", "a").estimate
    assert (mirror.value, mirror.low, mirror.high) == pytest.approx((-0.2, -0.3339, -0.0524), abs=5e-5)
    own = next(f for f in of(results, "bias") if f.metric == "sensitivity" and f.stratum == {"site": "a"})
    assert (own.estimate.numerator, own.estimate.denominator) == (56, 70)
    fnr = next(f for f in of(results, "bias") if f.metric == "fnr" and f.stratum == {"site": "a"}).estimate
    assert (fnr.numerator, fnr.denominator, fnr.value) == (14, 70, pytest.approx(0.2))


OUTCOMES = {
    # (found of positives) in a and b, margin: what is shown
    "disparity": ((50, 100), (90, 100), 0.1),
    "equivalent": ((900, 1000), (895, 1000), 0.05),
    "equivalent, and more than chance": ((930, 1000), (899, 1000), 0.06),
    "inconclusive": ((40, 50), (42, 50), 0.05),
    "inconclusive without a margin": ((900, 1000), (895, 1000), None),
    "not_assessable": ((4, 5), (42, 50), 0.05),
}


@pytest.mark.parametrize("case", OUTCOMES)
def test_the_four_outcomes(case):
    a, b, margin = OUTCOMES[case]
    p = with_reference(margins={} if margin is None else {"sensitivity": margin})
    found = gap(run(p, sites(a=(a, (60, 60)), b=(b, (60, 60)))), "sensitivity", "a")
    assert found.outcome == case.split(",")[0].split(" without")[0]
    if "more than chance" in case:
        assert found.estimate.low > 0.0
    if found.outcome == "not_assessable":
        assert found.estimate.value is None
        assert "5 reference-positive cases" in found.estimate.undefined


def test_a_margin_is_tested_whatever_the_test_of_all_groups_says():
    """Two of three groups are alike; the third makes the groups differ."""
    columns = sites(
        a=((900, 1000), (60, 60)), b=((900, 1000), (60, 60)), c=((500, 1000), (60, 60)), d=((4, 5), (60, 60))
    )
    results = run(with_reference(margins={"sensitivity": 0.05}), columns)
    assert [gap(results, "sensitivity", s, reference="b").outcome for s in "acd"] == [
        "equivalent",
        "disparity",
        "not_assessable",
    ]


def test_no_disparity_where_the_test_of_all_groups_does_not_reject():
    """Many groups, one of them a little lower: alone it would be called, together it is what chance does."""
    rng = np.random.default_rng(1)
    names = [f"s{i}" for i in range(10)]
    columns = sites(**{n: ((int(rng.binomial(60, 0.8)), 60), (60, 60)) for n in names})
    results = run(asking(), columns)
    (overall,) = [t for t in results.tests if t.name == "sens: all groups of site equal"]
    outcomes = {gap(results, "sensitivity", n).outcome for n in names}
    assert overall.p_value > 0.05
    assert outcomes == {"inconclusive"}


def test_with_several_groups_p_values_and_intervals_are_holms():
    columns = sites(a=((70, 100), (60, 60)), b=((85, 100), (60, 60)), c=((78, 100), (60, 60)), d=((66, 100), (60, 60)))
    results = run(with_reference(), columns)
    tests = {t.stratum["site"]: t for t in results.tests if t.name.startswith("sens: site") and "= b" in t.name}
    raw = {s: t.p_value for s, t in tests.items()}
    assert tests["d"].p_adjusted == pytest.approx(3 * raw["d"])
    assert tests["a"].p_adjusted == pytest.approx(2 * raw["a"])
    for s, t in tests.items():
        adjusted = gap(results, "sensitivity", s, condition="adjusted=holm", reference="b").estimate
        assert (adjusted.high < 0.0) == (t.p_adjusted <= 0.05)


def test_each_group_is_also_compared_with_the_rest_as_exploration():
    columns = sites(a=((70, 100), (60, 60)), b=((85, 100), (60, 60)), c=((78, 100), (60, 60)))
    results = run(with_reference(), columns)
    rest = gap(results, "sensitivity", "c", reference="rest")
    assert rest.estimate.value == pytest.approx(0.78 - 155 / 200)
    assert not rest.prespecified
    assert gap(results, "sensitivity", "c", reference="b").prespecified


def test_two_groups_without_a_reference_make_one_gap():
    results = run(asking(), newcombes())
    assert gap(results, "sensitivity", "a").reference_group == "b"
    assert not [f for f in of(results, "bias") if f.reference_group == "rest"]


def test_one_group_and_a_reference_without_cases_are_said():
    alone = {**newcombes(), "site": ["a"] * 220}
    assert not [f for f in of(run(asking(), alone), "bias") if f.reference_group]
    results = run(with_reference(), alone)
    assert gap(results, "sensitivity", "a").outcome == "not_assessable"
    assert any("No case belongs to the group 'b'" in note for note in results.notes)


def test_a_cross_has_a_reference_of_several_parts():
    columns = {**sites(a=((70, 100), (60, 60)), b=((85, 100), (60, 60))), "sex": (["f", "m"] * 160)}
    p = protocol(
        goal(SENSITIVITY, 0.3),
        strata=[
            {"name": "site", "column": "site"},
            {"name": "sex", "column": "sex"},
            {"name": "both", "cross": ["sex", "site"]},
        ],
        analyses={
            "bias": {
                "attributes": [{"stratum": "both", "reference": {"sex": "m", "site": "b"}}],
                "metrics": ["sensitivity"],
            }
        },
    )
    found = [f for f in of(run(p, columns), "bias") if f.reference_group == "m × b" and f.condition is None]
    assert {(f.stratum["sex"], f.stratum["site"]) for f in found} == {("f", "a"), ("f", "b"), ("m", "a")}


# --- what is missing ------------------------------------------------------------------------------------------------


def test_missing_outputs_are_shown_at_both_extremes():
    columns = sites(a=((90, 100), (60, 60)), b=((90, 100), (60, 60)))
    lost = [None if i < 10 or 160 <= i < 165 else v for i, v in enumerate(columns["p"])]
    results = run(with_reference(margins={"sensitivity": 0.15}), {**columns, "p": lost})
    against = gap(results, "sensitivity", "a", condition="missing=against_the_group").estimate
    assert against.value == pytest.approx(0.80 - 0.90)
    for_it = gap(results, "sensitivity", "a", condition="missing=for_the_group").estimate
    assert for_it.value == pytest.approx(0.90 - 0.85)
    # The margin holds with what was seen, and not at the extreme that counts against the group.
    assert gap(results, "sensitivity", "a", condition="equivalence").estimate.high < 0.15
    assert gap(results, "sensitivity", "a").outcome == "inconclusive"


def test_a_disparity_needs_the_same_sign_at_both_extremes():
    columns = sites(a=((60, 100), (60, 60)), b=((90, 100), (60, 60)))
    lost = [None if i < 30 else v for i, v in enumerate(columns["p"])]
    results = run(with_reference(), {**columns, "p": lost})
    assert gap(results, "sensitivity", "a").estimate.high < 0.0
    assert gap(results, "sensitivity", "a").outcome == "disparity"  # 0.6 at best, against 0.9
    lost = [None if i < 60 or 60 <= i < 100 else v for i, v in enumerate(columns["p"])]
    assert gap(run(with_reference(), {**columns, "p": lost}), "sensitivity", "a").outcome == "inconclusive"


# --- traps of peers -------------------------------------------------------------------------------------------------


def test_a_group_without_positives_has_no_sensitivity_of_zero():
    columns = sites(a=((0, 0), (60, 60)), b=((85, 100), (60, 60)))
    results = run(with_reference(), columns)
    own = next(f for f in of(results, "bias") if f.metric == "sensitivity" and f.stratum == {"site": "a"})
    assert own.estimate.value is None
    assert "no reference-positive cases" in own.estimate.undefined
    assert gap(results, "sensitivity", "a").outcome == "not_assessable"
    assert not [f for f in of(results, "bias") if f.metric == "equal_opportunity_difference"]


def test_missing_groups_are_groups():
    columns = sites(a=((70, 100), (60, 60)), b=((85, 100), (60, 60)))
    columns["site"] = ["" if i < 40 else s for i, s in enumerate(columns["site"])]
    assert gap(run(with_reference(), columns), "sensitivity", "missing", reference="b").estimate.n == 140


def test_a_perfect_group_has_an_interval_with_a_width():
    columns = sites(a=((15, 15), (60, 60)), b=((85, 100), (60, 60)))
    own = next(
        f for f in of(run(with_reference(), columns), "bias") if f.metric == "sensitivity" and f.stratum["site"] == "a"
    )
    assert own.estimate.high == 1.0
    assert own.estimate.low == pytest.approx(0.025 ** (1 / 15))


def test_groups_are_drawn_apart_under_equality_and_the_same_again():
    columns = sites(a=((70, 100), (60, 60)), b=((85, 100), (60, 60)), c=((78, 100), (60, 60)), d=((66, 100), (60, 60)))
    first, again = (of(run(with_reference(), columns), "bias") for _ in range(2))
    assert first == again
    chance = {f.metric: f.estimate for f in first if f.condition == "attribute=site; no difference"}
    spread = chance["equal_opportunity_difference"]
    # Four groups of 100 at 0.7475: range of four normal values is 2.059 standard deviations of 0.0434.
    assert spread.value == pytest.approx(2.059 * 0.0434, rel=0.05)
    assert spread.low > 0.0
    assert chance["sensitivity_worst_group"].value == pytest.approx(0.7475 - 1.03 * 0.0434, rel=0.02)


def test_order_of_cases_changes_nothing():
    columns = sites(a=((70, 100), (60, 60)), b=((85, 100), (50, 60)), c=((78, 100), (60, 60)))
    order = np.random.default_rng(8).permutation(len(columns["p"]))
    shuffled = {k: [v[i] for i in order] for k, v in columns.items()}
    first, other = (of(run(with_reference(), c), "bias") for c in (columns, shuffled))
    for f, g in zip(first, other, strict=True):
        assert (f.metric, f.stratum, f.condition, f.outcome) == (g.metric, g.stratum, g.condition, g.outcome)
        assert f.estimate.value == pytest.approx(g.estimate.value, abs=1e-12)
        assert f.estimate.low == pytest.approx(g.estimate.low, abs=1e-9)

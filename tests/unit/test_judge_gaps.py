"""Criteria on gaps between groups: met only where every group's gap is shown to be small, at both extremes."""

from __future__ import annotations

import pytest

from evalsuite.judging import judge
from evalsuite.types import Evidence
from tests.unit.analyses.test_beside_performance import SENSITIVITY, goal, protocol, run
from tests.unit.analyses.test_bias import sites

CRITERION = {
    "name": "gap by site",
    "attribute": "site",
    "metric": "sensitivity",
    "margin": 0.1,
    "role": "primary",
    "rationale": "invented",
}


def judged(columns, **more):
    p = protocol(
        goal(SENSITIVITY, 0.3),
        analyses={
            "bias": {
                "attributes": [{"stratum": "site", "reference": "b"}],
                "metrics": ["sensitivity", "fnr"],
                "criteria": [{**CRITERION, **more}],
            }
        },
    )
    results = run(p, columns)
    evidence = Evidence(
        protocol={},
        testset={},
        model={},
        predictions={},
        software={},
        findings=results.findings,
        accounting=results.accounting,
        tests=results.tests,
    )
    verdict = judge(p, evidence)
    return verdict, [c for c in verdict.criteria if c.endpoint == "gap by site"]


ALIKE = ((900, 1000), (60, 60))


def test_met_where_every_gap_is_equivalent():
    verdict, found = judged(sites(a=ALIKE, b=ALIKE, c=((910, 1000), (60, 60))))
    assert verdict.overall == "met"
    assert [(dict(c.stratum)["site"], c.criterion["bound"]) for c in found] == [
        ("a", "lower"),
        ("a", "upper"),
        ("c", "lower"),
        ("c", "upper"),
    ]
    assert {c.estimate.level for c in found} == {0.9}
    assert "Against b." in found[0].reason


def test_not_met_where_one_gap_is_shown_to_be_larger_than_the_margin():
    verdict, found = judged(sites(a=ALIKE, b=ALIKE, c=((600, 1000), (60, 60))))
    assert verdict.overall == "not_met"
    assert [c.outcome for c in found] == ["met", "met", "not_met", "met"]


@pytest.mark.parametrize(
    "c",
    [((85, 100), (60, 60)), ((4, 5), (60, 60))],
    ids=["a wide interval", "too few to assess"],
)
def test_inconclusive_is_never_met(c):
    verdict, found = judged(sites(a=ALIKE, b=ALIKE, c=c))
    assert verdict.overall == "inconclusive"
    assert "inconclusive" in {r.outcome for r in found}


def test_what_is_missing_may_not_decide():
    columns = sites(a=ALIKE, b=ALIKE)
    columns["p"] = [None if i < 80 else v for i, v in enumerate(columns["p"])]
    verdict, found = judged(columns)
    assert verdict.overall == "inconclusive"
    assert found[0].outcome == "inconclusive"


def test_a_criterion_on_the_mirror_image_is_judged_the_same():
    columns = sites(a=ALIKE, b=ALIKE, c=((600, 1000), (60, 60)))
    verdict, found = judged(columns, metric="fnr")
    assert verdict.overall == "not_met"
    assert [c.outcome for c in found] == ["met", "met", "met", "not_met"]


def test_a_reference_group_without_cases_is_inconclusive():
    verdict, found = judged(sites(a=ALIKE, c=ALIKE))
    assert verdict.overall == "inconclusive"
    assert {c.outcome for c in found} == {"inconclusive"}

"""A modification under a change control plan: what its protocol must say, and that any open criterion stops it."""

from __future__ import annotations

from typing import Any

import pytest

from evalsuite.analyses.comparison import CANDIDATE
from evalsuite.judging import judge
from evalsuite.protocol.checks import check_protocol
from evalsuite.protocol.comparisons import asked_endpoints, difference_endpoints
from evalsuite.protocol.load import load_protocol
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.types import Account, CriterionResult, Estimate, Evidence, Finding

SHIPPED = "pccp_version_regression"
CLEAR = Estimate(value=0.95, low=0.9, high=0.99, level=0.95, method="m", n=100)


def changed(**more: Any) -> StudyProtocol:
    return StudyProtocol.model_validate({**load_protocol(SHIPPED).model_dump(mode="json", by_alias=True), **more})


def problems(study: StudyProtocol) -> dict[str, str]:
    return {p.where: p.what for p in check_protocol(study)}


def test_the_shipped_protocol_is_in_order() -> None:
    assert problems(load_protocol(SHIPPED)) == {}


def test_a_modification_is_compared_with_both_versions_and_every_criterion_decides() -> None:
    body = load_protocol(SHIPPED).model_dump(mode="json", by_alias=True)
    only_last = [c for c in body["comparisons"] if c["against"] == "baseline"]
    assert "authorised first" in problems(changed(comparisons=only_last))["comparisons"]
    only_first = [c for c in body["comparisons"] if c["against"] == "original"]
    assert "last version" in problems(changed(comparisons=only_first))["comparisons"]
    softer = [{**body["comparisons"][0], "role": "secondary"}, *body["comparisons"][1:]]
    assert "would not decide" in problems(changed(comparisons=softer))["comparisons[0].role"]
    assert problems(changed(kind="standalone"))["kind"]
    multiplicity = {"method": "holm"}
    assert problems(changed(decision_rule="any_primary", multiplicity=multiplicity))["decision_rule"]


@pytest.mark.parametrize(
    ("guards", "where"),
    [
        ([{"stratum": "nowhere", "margin": 0.1}], "comparisons[0].guards[0].stratum"),
        ([{"stratum": "sex", "margin": 0.1}, {"stratum": "sex", "margin": 0.2}], "comparisons[0].guards[1].stratum"),
        ([{"stratum": "sex", "margin": 2.0}], "comparisons[0].guards[0].margin"),
    ],
)
def test_guards_that_guard_nothing_are_told(guards: list[dict[str, Any]], where: str) -> None:
    body = load_protocol(SHIPPED).model_dump(mode="json", by_alias=True)
    first = {**body["comparisons"][0], "guards": guards}
    assert where in problems(changed(comparisons=[first, *body["comparisons"][1:]]))


def test_a_guard_is_a_criterion_in_every_group_and_follows_the_metric() -> None:
    study = load_protocol(SHIPPED)
    own, *guards = difference_endpoints(study.comparisons[0])
    assert own.each is None
    assert [g.each for g in guards] == ["sex", "age", "manufacturer"]
    assert {(g.criterion.bound, g.criterion.op, g.criterion.value) for g in guards if g.criterion} == {
        ("lower", ">", -0.1)
    }
    brier = study.comparisons[0].model_copy(update={"metric": "brier"})
    upper = difference_endpoints(brier)[1].criterion
    assert upper is not None
    assert (upper.bound, upper.op, upper.value) == ("upper", "<", 0.1)


# --- the verdict ------------------------------------------------------------------------------------------------------


def evidence(study: StudyProtocol, group: Estimate | None = None) -> Evidence:
    """Every criterion clears its goal by far but, where given, that of the first comparison among `sex: two`."""
    found: dict[tuple[Any, ...], Finding] = {}
    for e in asked_endpoints(study):
        against = next((c.against for c in study.comparisons if c.name == e.name), None)
        for stratum in [{}] if e.each is None else [{e.each: "one"}, {e.each: "two"}]:
            guarded = e.name == study.comparisons[0].name and stratum == {"sex": "two"}
            found[e.name, *stratum.items()] = Finding(
                analysis="comparison" if against else "calibration" if e.metric == "brier" else "performance",
                endpoint=e.name,
                metric=e.metric,
                role=e.role,
                target="target_present",
                operating_point=e.at,
                stratum=dict(stratum),
                reference_group=against,
                estimate=group if guarded and group is not None else CLEAR,
            )
    accounting = (
        Account(status="ok", reference="positive", stratum={}, n=50, n_patients=50),
        Account(status="ok", reference="negative", stratum={}, n=50, n_patients=50),
    )
    return Evidence(
        protocol={}, testset={}, model={}, predictions={}, software={}, findings=tuple(found.values()), curves=(),
        accounting=accounting, tests=(), notes=(),
    )  # fmt: skip


def test_all_criteria_met_means_that_it_may_be_implemented() -> None:
    study = load_protocol(SHIPPED)
    verdict = judge(study, evidence(study))
    assert (verdict.overall, verdict.decision) == ("met", "implement")
    assert "may be implemented" in verdict.reason
    assert verdict.to_json()["decision"] == "implement"


@pytest.mark.parametrize(
    "group",
    [
        Estimate(value=0.0, low=-0.5, high=0.5, level=0.95, method="m", n=12),
        Estimate.not_estimable("not assessable: 3 cases, fewer than 10", n=3),
    ],
)
def test_one_open_group_means_do_not_implement(group: Estimate) -> None:
    study = load_protocol(SHIPPED)
    name = study.comparisons[0].name
    verdict = judge(study, evidence(study, group))
    open_: list[CriterionResult] = [c for c in verdict.criteria if c.outcome != "met"]
    assert [(c.endpoint, dict(c.stratum)) for c in open_] == [(name, {"sex": "two"})]
    assert (verdict.overall, verdict.decision) == ("inconclusive", "do_not_implement")
    assert verdict.reason.startswith("Do not implement the modification: 1 of ")
    assert name in verdict.reason


def test_a_change_outside_the_plan_is_never_implemented_and_no_evidence_neither() -> None:
    outside = changed(modification={**_modification(), "outside": ["inputs"]})
    verdict = judge(outside, evidence(outside))
    assert (verdict.overall, verdict.decision) == ("inconclusive", "do_not_implement")
    assert "new submission" in verdict.reason
    study = load_protocol(SHIPPED)
    unfrozen = judge(study, evidence(study), not_evidence_because=["not frozen"])
    assert (unfrozen.overall, unfrozen.decision) == ("inconclusive", "do_not_implement")


def test_a_study_of_no_modification_has_no_decision() -> None:
    plain = changed(modification=None)
    verdict = judge(plain, evidence(plain))
    assert verdict.decision is None
    assert "decision" not in verdict.to_json()
    assert CANDIDATE not in verdict.reason


def _modification() -> dict[str, Any]:
    asked = load_protocol(SHIPPED).modification
    assert asked is not None
    return asked.model_dump(mode="json")

"""The verdict, case by case: what is met, what is not, and where a doubt remains."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from evalsuite.errors import ProtocolError
from evalsuite.judging import judge
from evalsuite.protocol.load import protocol_digest
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record.digest import digest_json
from evalsuite.types import Account, Estimate, Evidence, Finding, Verdict

SENSITIVITY = {
    "name": "sensitivity",
    "metric": "sensitivity",
    "at": "primary",
    "role": "primary",
    "criterion": {"bound": "lower", "op": ">", "value": 0.85},
}


def protocol(*endpoints: dict[str, Any], **more: Any) -> StudyProtocol:
    data: dict[str, Any] = {
        "schema": "evalsuite/protocol/1",
        "id": "p",
        "version": "1",
        "title": "t",
        "kind": "standalone",
        "intended_use": {},
        "task": {"kind": "binary", "reference": "ref", "score": "p_ref"},
        "unit": {},
        "operating_points": [{"name": "primary", "threshold": 0.5}],
        "endpoints": list(endpoints) or [SENSITIVITY],
        "strata": [{"name": "sex", "column": "sex"}, {"name": "age", "column": "age", "bins": [40]}],
        "seed": 1,
    }
    return StudyProtocol.model_validate(data | more)


def with_criterion(**changes: Any) -> dict[str, Any]:
    return {**SENSITIVITY, "criterion": {**SENSITIVITY["criterion"], **changes}}  # type: ignore[dict-item]


def estimate(low: float | None, high: float | None, value: float | None = None, **more: Any) -> Estimate:
    if value is None and low is not None and high is not None:
        value = (low + high) / 2
    return Estimate(value=value, low=low, high=high, method="Clopper-Pearson", n=100, **more)


def finding(e: Estimate, **more: Any) -> Finding:
    return Finding(
        **{
            "analysis": "performance",
            "endpoint": "sensitivity",
            "metric": "sensitivity",
            "role": "primary",
            "target": "ref",
            "operating_point": "primary",
            "estimate": e,
            **more,
        }
    )


def account(status: Any, reference: Any, n: int, **stratum: str) -> Account:
    return Account(status=status, reference=reference, stratum=stratum, n=n, n_patients=n)


BOTH_CLASSES = (account("ok", "positive", 50), account("ok", "negative", 50))


def evidence(*findings: Finding, accounting: tuple[Account, ...] = BOTH_CLASSES, **more: Any) -> Evidence:
    return Evidence(
        **{
            "protocol": {"id": "p"},
            "testset": {},
            "model": {},
            "predictions": {},
            "software": {},
            "findings": findings,
            "accounting": accounting,
            **more,
        }
    )


def judged(low: float | None, high: float | None, **criterion: Any) -> Verdict:
    return judge(protocol(with_criterion(**criterion)), evidence(finding(estimate(low, high))))


def test_lower_bound_above_the_goal_is_met() -> None:
    verdict = judged(0.86, 0.95)
    assert verdict.overall == "met"
    assert verdict.evidence
    assert verdict.criteria[0].reason == "The lower bound 0.860 of the 95 % interval exceeds 0.85: met."
    assert verdict.reason == "The primary criterion is met."


def test_upper_bound_below_the_goal_is_not_met() -> None:
    verdict = judged(0.70, 0.84)
    assert verdict.overall == "not_met"
    assert verdict.criteria[0].reason == (
        "The lower bound 0.700 of the 95 % interval does not exceed 0.85; "
        "the upper bound 0.840 does not either: not met."
    )
    assert verdict.reason == "1 of 1 primary criteria not met (sensitivity)."


def test_interval_across_the_goal_is_inconclusive() -> None:
    verdict = judged(0.842, 0.951)
    assert verdict.overall == "inconclusive"
    assert verdict.criteria[0].reason == (
        "The lower bound 0.842 of the 95 % interval does not exceed 0.85; the upper bound 0.951 does: inconclusive."
    )


@pytest.mark.parametrize(
    ("bound", "op", "low", "high", "outcome"),
    [
        ("lower", ">", 0.85, 0.9, "inconclusive"),
        ("lower", ">=", 0.85, 0.9, "met"),
        ("lower", ">", 0.8, 0.85, "not_met"),
        ("lower", ">=", 0.8, 0.85, "inconclusive"),
        ("lower", ">=", 0.8, 0.8499, "not_met"),
        ("upper", "<", 0.8, 0.85, "inconclusive"),
        ("upper", "<=", 0.8, 0.85, "met"),
        ("upper", "<", 0.85, 0.9, "not_met"),
        ("upper", "<=", 0.85, 0.9, "inconclusive"),
        ("upper", "<=", 0.86, 0.9, "not_met"),
        ("upper", "<", 0.8, 0.84, "met"),
        ("lower", "<", 0.1, 0.2, "inconclusive"),
        ("upper", ">", 0.9, 0.95, "inconclusive"),
    ],
)
def test_bounds_at_the_goal(bound: str, op: str, low: float, high: float, outcome: str) -> None:
    assert judged(low, high, bound=bound, op=op).overall == outcome


def test_a_reason_shows_enough_digits_to_be_true() -> None:
    reason = judged(0.85004, 0.95).criteria[0].reason
    assert reason == "The lower bound 0.85004 of the 95 % interval exceeds 0.85: met."
    assert "0.850 of the 95 % interval does not exceed 0.85" in judged(0.85, 0.95).criteria[0].reason


def test_a_point_criterion_is_judged_and_flagged() -> None:
    verdict = judged(0.80, 0.96, bound="point", justification="precedent")
    assert verdict.overall == "met"
    assert "judged on the point estimate" in verdict.criteria[0].reason
    assert verdict.flags == ("sensitivity: judged on the point estimate, without its uncertainty",)
    assert judged(0.70, 0.90, bound="point", justification="precedent").overall == "not_met"


@pytest.mark.parametrize(("low", "high"), [(0.9, 0.95), (0.1, 0.2), (0.8, 0.9)])
def test_a_placeholder_is_never_met(low: float, high: float) -> None:
    verdict = judged(low, high, placeholder=True)
    assert verdict.overall == "inconclusive"
    assert verdict.criteria[0].outcome == "inconclusive"
    assert "placeholder" in verdict.flags[0]


def test_what_cannot_be_estimated_is_inconclusive() -> None:
    none = Estimate.not_estimable("not assessable: 3 reference-positive cases, fewer than 10", n=3)
    verdict = judge(protocol(), evidence(finding(none)))
    assert verdict.overall == "inconclusive"
    assert verdict.criteria[0].reason == (
        "Not estimable (n = 3: not assessable: 3 reference-positive cases, fewer than 10)."
    )


def test_no_interval_is_inconclusive() -> None:
    bare = Estimate(value=0.99, method="none", n=5, interval_undefined="one patient")
    verdict = judge(protocol(), evidence(finding(bare)))
    assert verdict.overall == "inconclusive"
    assert "no interval (one patient)" in verdict.criteria[0].reason


def test_a_missing_finding_is_inconclusive() -> None:
    verdict = judge(protocol(), evidence())
    assert verdict.overall == "inconclusive"
    assert verdict.criteria[0].estimate.value is None
    assert verdict.criteria[0].reason == "The evidence holds no sensitivity for this endpoint."


@pytest.mark.parametrize(
    "other",
    [
        {"condition": "noise=1"},
        {"rater": "reader 1"},
        {"reference_group": "male"},
        {"operating_point": "other"},
        {"stratum": {"sex": "female"}},
        {"endpoint": "else"},
        {"metric": "specificity"},
        {"analysis": "bias"},
    ],
)
def test_other_findings_are_not_mistaken_for_the_answer(other: dict[str, Any]) -> None:
    assert judge(protocol(), evidence(finding(estimate(0.9, 0.95), **other))).overall == "inconclusive"


def test_contradicting_findings_are_inconclusive() -> None:
    verdict = judge(protocol(), evidence(finding(estimate(0.9, 0.95)), finding(estimate(0.86, 0.95))))
    assert verdict.overall == "inconclusive"


def test_an_interval_of_a_lower_level_than_asked_is_not_judged() -> None:
    narrow = finding(estimate(0.9, 0.95, level=0.8))
    verdict = judge(protocol(), evidence(narrow))
    assert verdict.overall == "inconclusive"
    assert verdict.criteria[0].reason == "The interval has level 80 %, the protocol asks for 95 %."
    one_sided = protocol(confidence={"level": 0.975, "sided": "one"})
    assert judge(one_sided, evidence(finding(estimate(0.9, 0.95)))).overall == "met"


def test_one_class_only_can_never_be_met() -> None:
    for rows in ((BOTH_CLASSES[0],), (BOTH_CLASSES[0], account("ok", "negative", 0))):
        verdict = judge(protocol(), evidence(finding(estimate(0.9, 0.95)), accounting=rows))
        assert verdict.overall == "inconclusive"
        assert verdict.criteria[0].reason.startswith("The test set holds no reference-negative case")


def specificity(**more: Any) -> dict[str, Any]:
    return {**SENSITIVITY, "name": "specificity", "metric": "specificity", **more}


@pytest.mark.parametrize(
    ("second", "overall"),
    [((0.9, 0.95), "met"), ((0.8, 0.95), "inconclusive"), ((0.7, 0.8), "not_met")],
)
def test_all_primary_takes_the_worst(second: tuple[float, float], overall: str) -> None:
    found = evidence(
        finding(estimate(0.9, 0.95)), finding(estimate(*second), endpoint="specificity", metric="specificity")
    )
    assert judge(protocol(SENSITIVITY, specificity()), found).overall == overall


def test_not_met_wins_over_inconclusive() -> None:
    found = evidence(
        finding(estimate(0.8, 0.95)), finding(estimate(0.7, 0.8), endpoint="specificity", metric="specificity")
    )
    verdict = judge(protocol(SENSITIVITY, specificity()), found)
    assert verdict.overall == "not_met"
    assert verdict.reason == "1 of 2 primary criteria not met (specificity)."


@pytest.mark.parametrize("role", ["secondary", "exploratory"])
def test_other_roles_are_listed_but_do_not_decide(role: str) -> None:
    found = evidence(
        finding(estimate(0.9, 0.95)), finding(estimate(0.7, 0.8), endpoint="specificity", metric="specificity")
    )
    verdict = judge(protocol(SENSITIVITY, specificity(role=role)), found)
    assert verdict.overall == "met"
    assert [(c.role, c.outcome) for c in verdict.criteria] == [("primary", "met"), (role, "not_met")]


def test_without_a_primary_criterion_there_is_nothing_to_judge() -> None:
    with pytest.raises(ProtocolError, match="no primary acceptance criterion"):
        judge(protocol({**SENSITIVITY, "role": "secondary"}), evidence())


@pytest.mark.parametrize(("low", "high", "overall"), [(0.9, 0.95, "inconclusive"), (0.7, 0.8, "not_met")])
def test_a_run_that_is_not_evidence_is_at_most_inconclusive(low: float, high: float, overall: str) -> None:
    found = evidence(finding(estimate(low, high)))
    verdict = judge(protocol(), found, not_evidence_because=["the protocol was not frozen"])
    assert verdict.overall == overall
    assert not verdict.evidence
    assert verdict.not_evidence_because == ("the protocol was not frozen",)
    assert verdict.criteria[0].outcome == ("met" if low > 0.85 else "not_met")
    assert verdict.reason.endswith("The run is not evidence: the protocol was not frozen.")


def test_evidence_of_another_protocol_is_not_evidence_for_this_one() -> None:
    ours = protocol()
    found = finding(estimate(0.9, 0.95))
    same = evidence(found, protocol={"digest": protocol_digest(ours)})
    assert judge(ours, same).overall == "met"
    verdict = judge(ours, evidence(found, protocol={"digest": "0" * 64}))
    assert verdict.overall == "inconclusive"
    assert verdict.not_evidence_because == ("the protocol was changed after the evidence was computed",)


def test_the_verdict_names_its_evidence() -> None:
    found = evidence(finding(estimate(0.9, 0.95)))
    assert judge(protocol(), found).evidence_digest == digest_json(found.to_json())
    assert judge(protocol(), Evidence.from_json(found.to_json())) == judge(protocol(), found)
    verdict = judge(protocol(), found)
    assert Verdict.from_json(verdict.to_json()) == verdict


# --- strata ---------------------------------------------------------------------------------------------------------


def test_a_criterion_in_one_stratum_is_judged_there() -> None:
    rule = protocol({**SENSITIVITY, "stratum": {"sex": "female"}})
    whole, female = finding(estimate(0.9, 0.95)), finding(estimate(0.7, 0.8), stratum={"sex": "female"})
    verdict = judge(rule, evidence(whole, female))
    assert verdict.overall == "not_met"
    assert verdict.criteria[0].stratum == {"sex": "female"}
    assert verdict.reason == "1 of 1 primary criteria not met (sensitivity in sex female)."
    assert judge(rule, evidence(whole)).overall == "inconclusive"


def test_a_criterion_in_every_group_has_a_result_for_each() -> None:
    rule = protocol({**SENSITIVITY, "each": "sex"})
    found = [finding(estimate(0.9, 0.95), stratum={"sex": s}) for s in ("female", "male")]
    found.append(finding(Estimate.not_estimable("not assessable", n=2), stratum={"sex": "missing"}))
    found.append(finding(estimate(0.1, 0.2), stratum={"age": "<40"}))
    verdict = judge(rule, evidence(*found))
    assert [(c.stratum["sex"], c.outcome) for c in verdict.criteria] == [
        ("female", "met"),
        ("male", "met"),
        ("missing", "inconclusive"),
    ]
    assert verdict.overall == "inconclusive"
    assert judge(rule, evidence(*found[:2])).overall == "met"


def test_a_group_only_the_accounting_knows_is_judged_too() -> None:
    rule = protocol({**SENSITIVITY, "each": "sex"})
    rows = (*BOTH_CLASSES, account("ok", "positive", 4, sex="male"), account("ok", "positive", 40, sex="female"))
    verdict = judge(rule, evidence(finding(estimate(0.9, 0.95), stratum={"sex": "female"}), accounting=rows))
    assert [c.outcome for c in verdict.criteria] == ["met", "inconclusive"]


def test_every_group_of_a_cross_is_judged() -> None:
    rule = protocol(
        {**SENSITIVITY, "each": "both"},
        strata=[
            {"name": "sex", "column": "sex"},
            {"name": "age", "column": "age"},
            {"name": "both", "cross": ["sex", "age"]},
        ],
    )
    cell = {"sex": "female", "age": "40"}
    verdict = judge(rule, evidence(finding(estimate(0.9, 0.95), stratum=cell), finding(estimate(0.9, 0.95))))
    assert [dict(c.stratum) for c in verdict.criteria] == [cell]
    assert verdict.overall == "met"


def test_no_group_at_all_is_inconclusive() -> None:
    verdict = judge(protocol({**SENSITIVITY, "each": "sex"}), evidence(finding(estimate(0.9, 0.95))))
    assert verdict.overall == "inconclusive"
    assert len(verdict.criteria) == 1


def test_few_cases_are_flagged() -> None:
    few = finding(estimate(0.9, 0.95, n_positive=12, n_negative=0))
    assert judge(protocol(), evidence(few)).flags == ("sensitivity: only 12 reference-positive (fewer than 30)",)


# --- missing outputs and missing reference --------------------------------------------------------------------------


def alternate(condition: str, low: float, high: float, **more: Any) -> Finding:
    return finding(estimate(low, high), analysis="missing_data", condition=condition, **more)


@pytest.mark.parametrize("policy", ["exclude", "as_negative", "as_positive"])
def test_met_only_under_a_kinder_policy_is_inconclusive(policy: str) -> None:
    rule = protocol(missing_outputs={"primary": policy})
    met = finding(estimate(0.9, 0.95))
    worst = alternate("missing_outputs=worst_case", 0.8, 0.9)
    verdict = judge(rule, evidence(met, worst))
    assert verdict.overall == "inconclusive"
    assert f"Met only with missing outputs treated as '{policy}'" in verdict.criteria[0].reason
    assert judge(rule, evidence(met, alternate("missing_outputs=worst_case", 0.86, 0.9))).overall == "met"
    assert judge(rule, evidence(met)).overall == "met"


@pytest.mark.parametrize("status", ["failed", "rejected", "indeterminate"])
def test_a_kinder_policy_without_its_worst_case_is_inconclusive(status: str) -> None:
    rule = protocol(missing_outputs={"primary": "exclude"})
    rows = (*BOTH_CLASSES, account(status, "positive", 1))
    verdict = judge(rule, evidence(finding(estimate(0.9, 0.95)), accounting=rows))
    assert verdict.overall == "inconclusive"
    assert verdict.criteria[0].reason.startswith("1 case without a usable output")


def test_a_kinder_policy_is_checked_in_the_stratum_it_is_judged_in() -> None:
    rule = protocol({**SENSITIVITY, "stratum": {"sex": "female"}}, missing_outputs={"primary": "exclude"})
    found = [
        finding(estimate(0.9, 0.95), stratum={"sex": "female"}),
        alternate("missing_outputs=worst_case", 0.9, 0.95),
        alternate("missing_outputs=worst_case", 0.8, 0.9, stratum={"sex": "female"}),
    ]
    assert judge(rule, evidence(*found)).overall == "inconclusive"


def test_alternates_of_a_worst_case_analysis_change_nothing() -> None:
    found = [finding(estimate(0.9, 0.95)), alternate("missing_outputs=exclude", 0.1, 0.2)]
    assert judge(protocol(), evidence(*found)).overall == "met"
    refuted = [finding(estimate(0.7, 0.8)), alternate("missing_outputs=exclude", 0.9, 0.95)]
    assert judge(protocol(), evidence(*refuted)).overall == "not_met"


@pytest.mark.parametrize("policy", ["worst_case", "tipping_point", "exclude"])
@pytest.mark.parametrize(
    ("worst", "best", "overall"),
    [
        ((0.9, 0.95), (0.92, 0.97), "met"),
        ((0.8, 0.95), (0.92, 0.97), "inconclusive"),
        ((0.7, 0.8), (0.92, 0.97), "inconclusive"),
        ((0.7, 0.8), (0.75, 0.9), "inconclusive"),
        ((0.7, 0.8), (0.72, 0.82), "not_met"),
    ],
)
def test_cases_without_reference_must_not_be_able_to_change_the_verdict(
    policy: str, worst: tuple[float, float], best: tuple[float, float], overall: str
) -> None:
    rule = protocol(missing_reference={"primary": policy})
    primary = worst if policy == "worst_case" else best
    found = [
        finding(estimate(*primary)),
        alternate("missing_reference=worst_case", *worst),
        alternate("missing_reference=best_case", *best),
    ]
    verdict = judge(rule, evidence(*found))
    assert verdict.overall == overall
    if overall == "inconclusive":
        assert "could change the verdict" in verdict.criteria[0].reason


def test_the_number_of_cases_without_reference_is_told() -> None:
    rows = (*BOTH_CLASSES, account("reference_missing", "missing", 3), account("reference_equivocal", "equivocal", 2))
    found = [finding(estimate(0.8, 0.95)), alternate("missing_reference=best_case", 0.9, 0.95)]
    verdict = judge(protocol(), evidence(*found, accounting=rows))
    assert "Allocating the 5 cases without reference could change the verdict" in verdict.criteria[0].reason


@pytest.mark.parametrize("policy", ["tipping_point", "exclude"])
def test_leaving_cases_without_reference_out_needs_its_worst_case(policy: str) -> None:
    rule = protocol(missing_reference={"primary": policy})
    rows = (*BOTH_CLASSES, account("reference_missing", "missing", 3))
    verdict = judge(rule, evidence(finding(estimate(0.9, 0.95)), accounting=rows))
    assert verdict.overall == "inconclusive"
    assert judge(rule, evidence(finding(estimate(0.7, 0.8)), accounting=rows)).overall == "not_met"


# --- decision rules that this version does not run ------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["any_primary", "gatekeeping"])
def test_rules_that_need_adjusted_bounds_are_never_met_without_them(rule: str) -> None:
    two = protocol(SENSITIVITY, specificity(), decision_rule=rule)
    other = {"endpoint": "specificity", "metric": "specificity"}
    good, bad = estimate(0.9, 0.95), estimate(0.7, 0.8)
    assert judge(two, evidence(finding(good), finding(good, **other))).overall == "inconclusive"
    assert judge(two, evidence(finding(bad), finding(bad, **other))).overall == "not_met"
    one = protocol(decision_rule=rule)
    assert judge(one, evidence(finding(good))).overall == "met"


def test_a_verdict_does_not_depend_on_the_order_of_findings() -> None:
    found = evidence(finding(estimate(0.9, 0.95)), alternate("missing_reference=best_case", 0.9, 0.95))
    turned = replace(found, findings=found.findings[::-1])
    assert judge(protocol(), found).criteria == judge(protocol(), turned).criteria


# --- details that must not slip -------------------------------------------------------------------------------------


def test_a_kinder_policy_leaves_a_refuted_criterion_refuted() -> None:
    rule = protocol(missing_outputs={"primary": "exclude"})
    found = [finding(estimate(0.7, 0.8)), alternate("missing_outputs=worst_case", 0.6, 0.9)]
    assert judge(rule, evidence(*found)).overall == "not_met"


def test_the_analysis_itself_must_agree_with_both_extremes() -> None:
    rule = protocol(missing_reference={"primary": "exclude"})
    both = [alternate(f"missing_reference={name}", 0.8, 0.95) for name in ("worst_case", "best_case")]
    assert judge(rule, evidence(finding(estimate(0.9, 0.95)), *both)).overall == "inconclusive"
    verdict = judge(rule, evidence(finding(estimate(0.7, 0.8)), *both))
    assert verdict.overall == "inconclusive"
    assert "could change the verdict" in verdict.criteria[0].reason


def test_an_empty_group_is_no_group() -> None:
    rule = protocol({**SENSITIVITY, "each": "sex"})
    rows = (*BOTH_CLASSES, account("failed", "positive", 0, sex="male"))
    verdict = judge(rule, evidence(finding(estimate(0.9, 0.95), stratum={"sex": "female"}), accounting=rows))
    assert [dict(c.stratum) for c in verdict.criteria] == [{"sex": "female"}]


def test_one_class_only_does_not_hide_a_refuted_criterion() -> None:
    verdict = judge(protocol(), evidence(finding(estimate(0.7, 0.8)), accounting=(BOTH_CLASSES[0],)))
    assert verdict.overall == "not_met"


def test_a_group_that_is_not_accounted_for_is_doubted_by_the_whole_set() -> None:
    rule = protocol({**SENSITIVITY, "stratum": {"sex": "female"}}, missing_outputs={"primary": "exclude"})
    found = finding(estimate(0.9, 0.95), stratum={"sex": "female"})
    lost = account("failed", "positive", 2)
    assert judge(rule, evidence(found, accounting=(*BOTH_CLASSES, lost))).overall == "inconclusive"
    counted = account("ok", "positive", 20, sex="female")
    assert judge(rule, evidence(found, accounting=(*BOTH_CLASSES, lost, counted))).overall == "met"

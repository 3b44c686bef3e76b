"""Adjusted bounds and p-values that say the same, on estimates and on whole binary studies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from evalsuite.analyses.multiplicity import adjusted_findings, one_sided_p
from evalsuite.analyses.performance import Results, evaluate_binary
from evalsuite.judging import judge
from evalsuite.protocol.schema import Criterion, StudyProtocol
from evalsuite.stats.proportions import proportion
from evalsuite.stats.roc import auroc
from evalsuite.types import Estimate, Evidence, Finding

ALPHA = 0.025


def lower(goal: float, **more: Any) -> Criterion:
    return Criterion(bound="lower", op=">", value=goal, **more)


@pytest.mark.parametrize(("x", "n", "goal"), [(45, 50, 0.8), (29, 29, 0.85), (30, 50, 0.55), (180, 200, 0.7)])
def test_p_from_clopper_pearson_is_the_exact_binomial_test(x: int, n: int, goal: float) -> None:
    p = one_sided_p(lower(goal), lambda level: proportion(x, n, level=level), alpha=ALPHA)
    assert p.value == pytest.approx(scipy_stats.binomtest(x, n, goal, "greater").pvalue, rel=1e-6)
    below = Criterion(bound="upper", op="<", value=0.99)
    p = one_sided_p(below, lambda level: proportion(x, n, level=level), alpha=ALPHA)
    exact = scipy_stats.binomtest(x, n, 0.99, "less").pvalue
    if exact < 0.5:
        assert p.value == pytest.approx(max(exact, 1e-12), rel=1e-2 if exact < 1e-11 else 1e-6, abs=0.0)


def test_p_from_delong_is_the_z_test_on_both_sides_of_the_goal() -> None:
    rng = np.random.default_rng(1)
    y = rng.random(300) < 0.4
    s = rng.normal(size=300) + y
    e = auroc(y, s, level=0.95, method="delong")
    assert e.value is not None
    assert e.high is not None
    error = (e.high - e.value) / scipy_stats.norm.ppf(0.975)
    for goal in (0.6, 0.7, float(e.value) - 0.001, float(e.value) + 0.001, 0.85):
        p = one_sided_p(lower(goal), lambda level: auroc(y, s, level=level, method="delong"), alpha=ALPHA)
        assert p.value == pytest.approx(scipy_stats.norm.sf((e.value - goal) / error), rel=1e-5, abs=2e-12)


def test_p_says_what_the_bound_says() -> None:
    for x in range(31):
        p = one_sided_p(lower(0.7), lambda level, x=x: proportion(x, 30, level=level), alpha=ALPHA)
        seen = proportion(x, 30, level=0.95)
        assert p.value is not None
        assert seen.low is not None
        assert (p.value <= ALPHA) == (seen.low > 0.7)


def test_no_estimate_no_interval_and_no_bound_give_no_p() -> None:
    gone = one_sided_p(lower(0.7), lambda level: Estimate.not_estimable("no cases", n=0, level=level), alpha=ALPHA)
    assert (gone.value, gone.undefined) == (None, "no cases")
    bare = Estimate(value=0.8, interval_undefined="one patient", method="m", n=1)
    assert one_sided_p(lower(0.7), lambda level: bare, alpha=ALPHA).undefined == "one patient"
    point = Criterion(bound="point", op=">", value=0.7, justification="x")
    whole = Estimate(value=0.8, low=0.7, high=0.9, method="m", n=9)
    assert one_sided_p(point, lambda level: whole, alpha=ALPHA).value is None


# --- procedures, on three proportions -------------------------------------------------------------------------------


def endpoint(name: str, goal: float = 0.8, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "metric": "sensitivity",
        "at": "primary",
        "role": "primary",
        "criterion": {"bound": "lower", "op": ">", "value": goal},
        **more,
    }


def protocol(*endpoints: dict[str, Any], **more: Any) -> StudyProtocol:
    return StudyProtocol.model_validate(
        {
            "schema": "evalsuite/protocol/1",
            "id": "t",
            "version": "1",
            "title": "t",
            "kind": "standalone",
            "intended_use": {},
            "task": {"kind": "binary", "reference": "truth", "score": "p"},
            "unit": {},
            "operating_points": [{"name": "primary", "threshold": 0.5}],
            "endpoints": list(endpoints) or [endpoint("a"), endpoint("b"), endpoint("c")],
            "confidence": {"bootstrap": {"replicates": 200}},
            "seed": 7,
            **more,
        }
    )


def studied(study: StudyProtocol, counts: dict[str, tuple[int, int]]) -> tuple[Evidence, list[Finding]]:
    """Evidence of `x` of `n` successes per endpoint, as an analysis would give it."""

    def at_level(e: Any, condition: str | None, level: float) -> list[Finding]:
        x, n = counts[e.name]
        estimate = proportion(x, n, level=level) if n else Estimate.not_estimable("no cases", n=0, level=level)
        return [
            Finding(
                analysis="performance",
                endpoint=e.name,
                metric=e.metric,
                role=e.role,
                target="truth",
                operating_point=e.at,
                condition=condition,
                estimate=estimate,
            )
        ]

    plain = [f for e in study.endpoints for f in at_level(e, None, study.confidence.two_sided_level)]
    made, tests = adjusted_findings(study, plain, at_level)
    evidence = Evidence(
        protocol={},
        testset={},
        model={},
        predictions={},
        software={},
        findings=(*plain, *made),
        tests=tuple(tests),
    )
    return evidence, made


def outcomes(study: StudyProtocol, counts: dict[str, tuple[int, int]]) -> tuple[str, dict[str, str]]:
    verdict = judge(study, studied(study, counts)[0])
    return verdict.overall, {c.endpoint: c.outcome for c in verdict.criteria}


def p_of(x: int, n: int, goal: float = 0.8) -> float:
    return float(scipy_stats.binomtest(x, n, goal, "greater").pvalue)


def test_holm_steps_down_from_the_smallest_p() -> None:
    study = protocol(decision_rule="any_primary", multiplicity={"method": "holm"})
    counts = {"a": (88, 100), "b": (93, 100), "c": (70, 100)}
    assert p_of(93, 100) < ALPHA / 3 < p_of(88, 100)
    evidence, made = studied(study, counts)
    levels = {f.endpoint: f.estimate.level for f in made}
    assert levels == {"b": pytest.approx(1 - 2 * ALPHA / 3), "a": pytest.approx(0.975), "c": pytest.approx(0.975)}
    assert {f.condition for f in made} == {"multiplicity=holm"}
    adjusted = {t.endpoint: t.p_adjusted for t in evidence.tests}
    assert adjusted["b"] == pytest.approx(3 * p_of(93, 100), rel=1e-6)
    assert adjusted["a"] == pytest.approx(2 * p_of(88, 100), rel=1e-6)
    overall, each = outcomes(study, counts)
    assert overall == "met"
    assert each["b"] == "met"
    assert each["a"] == "inconclusive"
    assert "Holm" in judge(study, evidence).reason


def test_a_bound_that_clears_only_unadjusted_is_not_met_under_holm() -> None:
    x = next(k for k in range(100) if ALPHA / 3 < p_of(k, 100) < ALPHA)
    counts = {"a": (x, 100), "b": (80, 100), "c": (80, 100)}
    holm = protocol(decision_rule="any_primary", multiplicity={"method": "holm"})
    assert outcomes(holm, counts)[0] == "inconclusive"
    fixed = protocol(decision_rule="any_primary", multiplicity={"method": "fixed_sequence", "order": ["a", "b", "c"]})
    assert outcomes(fixed, counts)[0] == "met"


def test_hochberg_meets_all_where_the_largest_p_is_below_alpha() -> None:
    x = next(k for k in range(100) if ALPHA / 2 < p_of(k, 100) < ALPHA)
    counts = dict.fromkeys("abc", (x, 100))
    hochberg = protocol(decision_rule="any_primary", multiplicity={"method": "hochberg"})
    holm = protocol(decision_rule="any_primary", multiplicity={"method": "holm"})
    assert outcomes(hochberg, counts) == ("met", {"a": "met", "b": "met", "c": "met"})
    assert outcomes(holm, counts)[0] == "inconclusive"


@pytest.mark.parametrize("rule", ["any_primary", "gatekeeping"])
def test_nothing_is_tested_after_an_endpoint_that_is_not_met(rule: str) -> None:
    method = {"order": ["b", "a", "c"], **({"method": "fixed_sequence"} if rule == "any_primary" else {})}
    study = protocol(decision_rule=rule, multiplicity=method)
    good, poor, bad = (95, 100), (84, 100), (60, 100)
    overall, each = outcomes(study, {"b": good, "a": poor, "c": good})
    assert each == {"b": "met", "a": "inconclusive", "c": "inconclusive"}
    assert overall == ("met" if rule == "any_primary" else "inconclusive")
    verdict = judge(study, studied(study, {"b": good, "a": poor, "c": good})[0])
    word = "gate" if rule == "gatekeeping" else "endpoint of the sequence"
    assert verdict.criteria[2].reason.startswith(f"Not tested: an earlier {word} was not met (a).")
    overall, each = outcomes(study, {"b": bad, "a": good, "c": good})
    assert each == {"b": "not_met", "a": "inconclusive", "c": "inconclusive"}
    assert overall == ("inconclusive" if rule == "any_primary" else "not_met")
    assert outcomes(study, dict.fromkeys("abc", good))[0] == "met"


def test_a_secondary_gate_is_tested_after_the_primary_ones_and_does_not_decide() -> None:
    study = protocol(
        endpoint("a"),
        endpoint("b", role="secondary"),
        endpoint("c", role="secondary"),
        decision_rule="gatekeeping",
        multiplicity={"order": ["a", "b", "c"]},
    )
    overall, each = outcomes(study, {"a": (95, 100), "b": (60, 100), "c": (95, 100)})
    assert overall == "met"
    assert each == {"a": "met", "b": "not_met", "c": "inconclusive"}


def test_an_endpoint_that_is_not_estimable_is_never_met_and_still_counts() -> None:
    study = protocol(decision_rule="any_primary", multiplicity={"method": "holm"})
    evidence, made = studied(study, {"a": (93, 100), "b": (0, 0), "c": (80, 100)})
    assert next(f for f in made if f.endpoint == "a").estimate.level == pytest.approx(1 - 2 * ALPHA / 3)
    row = next(t for t in evidence.tests if t.endpoint == "b")
    assert (row.p_value, row.p_adjusted, row.undefined) == (None, None, "no cases")
    overall, each = outcomes(study, {"a": (93, 100), "b": (0, 0), "c": (80, 100)})
    assert (overall, each["b"]) == ("met", "inconclusive")


def test_co_primary_endpoints_keep_their_level() -> None:
    counts = {"a": (90, 100), "b": (90, 100), "c": (90, 100)}
    plain = protocol()
    assert studied(plain, counts)[1] == []
    assert outcomes(plain, counts)[0] == "met"
    told = protocol(multiplicity={"method": "holm"})
    evidence, _ = studied(told, counts)
    assert judge(told, evidence).overall == "met"
    assert "no error rate is split" in judge(told, evidence).reason
    assert {c.estimate.level for c in judge(told, evidence).criteria} == {0.95}
    assert all("for information" in t.method for t in evidence.tests)


def test_secondary_and_exploratory_endpoints_are_adjusted_and_labelled() -> None:
    study = protocol(
        endpoint("a"),
        endpoint("b"),
        endpoint("s1", role="secondary"),
        endpoint("s2", role="secondary"),
        endpoint("e1", role="exploratory"),
        endpoint("e2", role="exploratory"),
        decision_rule="any_primary",
        multiplicity={"method": "holm"},
    )
    counts = {name: (90 + i, 100) for i, name in enumerate(["a", "b", "s1", "s2", "e1", "e2"])}
    evidence, made = studied(study, counts)
    adjusted = {t.endpoint: t for t in evidence.tests}
    assert adjusted["s2"].p_adjusted == pytest.approx(2 * p_of(93, 100), rel=1e-6)
    assert adjusted["e2"].p_adjusted == pytest.approx(2 * p_of(95, 100), rel=1e-6)
    assert adjusted["e1"].p_adjusted == pytest.approx(p_of(94, 100), rel=1e-6)
    assert "exploratory only" in adjusted["e1"].method
    assert {f.estimate.level for f in made if f.role == "secondary"} == {0.975}


# --- whole binary studies -------------------------------------------------------------------------------------------


def analysed(study: StudyProtocol, *, missing: int = 0, per_patient: int = 1, seed: int = 3) -> Results:
    n = 240
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.45
    score = 1 / (1 + np.exp(-(rng.normal(size=n) + np.where(truth, 1.0, -1.0))))
    ids = tuple(f"c{i:03d}" for i in range(n))
    frame = pd.DataFrame(
        {"truth": ["1" if t else "0" for t in truth], "sex": ["f" if i % 2 else "m" for i in range(n)]}
    )
    predictions = pd.DataFrame(
        {
            "case_id": ids,
            "status": ["failed" if i < missing else "ok" for i in range(n)],
            "p": [np.nan if i < missing else s for i, s in enumerate(score)],
        }
    )
    return evaluate_binary(
        study,
        case_id=ids,
        patient_id=tuple(f"p{i // per_patient:03d}" for i in range(n)),
        frame=frame,
        predictions=predictions,
    )


BOTH = (
    endpoint("sens", 0.6),
    {
        "name": "area",
        "metric": "auroc",
        "role": "primary",
        "criterion": {"bound": "lower", "op": ">", "value": 0.8},
    },
    {
        "name": "ap",
        "metric": "average_precision",
        "role": "primary",
        "criterion": {"bound": "lower", "op": ">", "value": 0.6},
    },
)


@pytest.mark.parametrize("per_patient", [1, 3])
@pytest.mark.parametrize("method", ["holm", "hochberg"])
def test_bounds_and_adjusted_p_agree_for_every_method_of_interval(method: str, per_patient: int) -> None:
    study = protocol(*BOTH, decision_rule="any_primary", multiplicity={"method": method})
    results = analysed(study, per_patient=per_patient)
    made = {f.endpoint: f for f in results.findings if f.analysis == "multiplicity"}
    tests = {t.endpoint: t for t in results.tests if t.p_adjusted is not None}
    assert set(made) == set(tests) == {"sens", "area", "ap"}
    for e in study.endpoints:
        assert e.criterion is not None
        low = made[e.name].estimate.low
        p = tests[e.name].p_adjusted
        assert low is not None
        assert p is not None
        assert (low > e.criterion.value) == (p <= ALPHA)
        plain = next(f for f in results.findings if f.endpoint == e.name and f.condition is None)
        assert plain.estimate.low is not None
        assert low <= plain.estimate.low
        assert made[e.name].estimate.value == plain.estimate.value


def test_an_endpoint_in_every_group_is_one_claim() -> None:
    study = protocol(
        endpoint("sens", 0.5, each="sex"),
        endpoint("spec", 0.5, metric="specificity"),
        strata=[{"name": "sex", "column": "sex"}],
        decision_rule="any_primary",
        multiplicity={"method": "holm"},
    )
    results = analysed(study)
    made = [f for f in results.findings if f.analysis == "multiplicity"]
    assert sorted(tuple(f.stratum.items()) for f in made) == [(), (("sex", "f"),), (("sex", "m"),)]
    rows = [t for t in results.tests if t.endpoint == "sens" and t.p_adjusted is not None]
    assert len(rows) == 2
    assert len({t.p_adjusted for t in rows}) == 1
    worst = max(t.p_value for t in rows if t.p_value is not None)
    assert rows[0].p_adjusted is not None
    assert rows[0].p_adjusted >= worst


def test_missing_outputs_are_adjusted_under_every_policy() -> None:
    study = protocol(
        *BOTH[:2],
        decision_rule="any_primary",
        multiplicity={"method": "holm"},
        missing_outputs={"primary": "exclude"},
    )
    results = analysed(study, missing=120)
    conditions = {f.condition for f in results.findings if f.analysis == "multiplicity"}
    assert "multiplicity=holm; missing_outputs=worst_case" in conditions
    evidence = Evidence(
        protocol={},
        testset={},
        model={},
        predictions={},
        software={},
        findings=results.findings,
        accounting=results.accounting,
    )
    verdict = judge(study, evidence)
    assert verdict.overall == "inconclusive"
    assert "Met only with missing outputs treated as 'exclude'" in verdict.criteria[0].reason

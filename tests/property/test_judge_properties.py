"""What holds for every verdict, whatever the numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from evalsuite.judging import judge
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.types import Account, Estimate, Evidence, Finding

unit = st.floats(0.0, 1.0)
RANK = {"not_met": 0, "inconclusive": 1, "met": 2}


def study(bound: str, op: str, goal: float, **more: Any) -> StudyProtocol:
    return StudyProtocol.model_validate(
        {
            "schema": "evalsuite/protocol/1",
            "id": "p",
            "version": "1",
            "title": "t",
            "kind": "standalone",
            "intended_use": {},
            "task": {"kind": "binary", "reference": "r", "score": "s"},
            "unit": {},
            "endpoints": [
                {
                    "name": "a",
                    "metric": "auroc",
                    "role": "primary",
                    "criterion": {"bound": bound, "op": op, "value": goal},
                }
            ],
            "seed": 1,
            **more,
        }
    )


def found(low: float, high: float, *, analysis: str = "performance", condition: str | None = None) -> Finding:
    return Finding(
        analysis=analysis,
        endpoint="a",
        metric="auroc",
        role="primary",
        target="r",
        operating_point=None,
        condition=condition,
        estimate=Estimate(value=(low + high) / 2, low=low, high=high, method="m", n=10),
    )


def evidence(*findings: Finding) -> Evidence:
    rows = tuple(
        Account(status="ok", reference=r, n=5, n_patients=5)  # type: ignore[arg-type]
        for r in ("positive", "negative")
    )
    return Evidence(protocol={}, testset={}, model={}, predictions={}, software={}, findings=findings, accounting=rows)


@st.composite
def intervals(draw: st.DrawFn) -> tuple[float, float]:
    low, high = sorted((draw(unit), draw(unit)))
    return low, high


sides = st.sampled_from([("lower", ">"), ("lower", ">="), ("upper", "<"), ("upper", "<=")])


@given(intervals(), sides, unit)
def test_met_means_the_whole_interval_clears_and_not_met_that_none_of_it_does(
    interval: tuple[float, float], side: tuple[str, str], goal: float
) -> None:
    bound, op = side
    clears = {">": float.__gt__, ">=": float.__ge__, "<": float.__lt__, "<=": float.__le__}[op]
    inside = [clears(x, goal) for x in interval]
    expected = "met" if all(inside) else "inconclusive" if any(inside) else "not_met"
    assert judge(study(bound, op, goal), evidence(found(*interval))).overall == expected


@given(intervals(), unit, st.floats(0.0, 0.2))
def test_a_better_interval_never_has_a_worse_outcome(interval: tuple[float, float], goal: float, shift: float) -> None:
    low, high = interval
    before = judge(study("lower", ">", goal), evidence(found(low, high))).overall
    after = judge(study("lower", ">", goal), evidence(found(low + shift, high + shift))).overall
    assert RANK[after] >= RANK[before]


@given(intervals(), unit)
def test_higher_is_better_mirrors_lower_is_better(interval: tuple[float, float], goal: float) -> None:
    low, high = interval
    up = judge(study("lower", ">", goal), evidence(found(low, high))).overall
    down = judge(study("upper", "<", -goal), evidence(found(-high, -low))).overall
    assert up == down


@given(intervals(), unit, st.lists(st.text(min_size=1, max_size=9), max_size=2))
def test_doubts_about_the_run_never_improve_the_outcome(
    interval: tuple[float, float], goal: float, reasons: list[str]
) -> None:
    protocol = study("lower", ">", goal)
    plain = judge(protocol, evidence(found(*interval)))
    doubted = judge(protocol, evidence(found(*interval)), not_evidence_because=reasons)
    assert RANK[doubted.overall] <= RANK[plain.overall]
    assert doubted.criteria == plain.criteria
    assert doubted.evidence == (not reasons)
    if reasons:
        assert doubted.overall != "met"


conditions = st.sampled_from(
    [
        f"missing_{what}={how}"
        for what, hows in (
            ("outputs", ("worst_case", "exclude", "as_negative", "as_positive")),
            ("reference", ("worst_case", "best_case", "exclude")),
        )
        for how in hows
    ]
)


@given(
    intervals(),
    unit,
    st.sampled_from(["worst_case", "exclude", "as_negative", "as_positive"]),
    st.sampled_from(["worst_case", "tipping_point", "exclude"]),
    st.dictionaries(conditions, intervals()),
)
def test_other_assumptions_about_missing_data_can_only_raise_doubt(
    interval: tuple[float, float],
    goal: float,
    outputs: str,
    reference: str,
    alternates: dict[str, tuple[float, float]],
) -> None:
    protocol = study("lower", ">", goal, missing_outputs={"primary": outputs}, missing_reference={"primary": reference})
    plain = evidence(found(*interval))
    more = [found(*i, analysis="missing_data", condition=c) for c, i in alternates.items()]
    full = replace(plain, findings=(*plain.findings, *more))
    assert judge(protocol, full).overall in (judge(protocol, plain).overall, "inconclusive")

"""What a report keeps of its look-ups is what looking anew finds, and a changed copy looks anew."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from evalsuite.protocol.load import load_protocol
from evalsuite.report import material as module
from evalsuite.report.facts import facts_of
from evalsuite.report.material import Material
from evalsuite.types import Estimate, Evidence, Finding, Verdict


def finding(analysis: str, method: str, rater: str = "device", **stratum: str) -> Finding:
    estimate = Estimate(value=0.5, n=10, method=method, interval_undefined="counted")
    return Finding(
        analysis=analysis,
        endpoint="sensitivity",
        role="descriptive",
        metric="sensitivity",
        target=None,
        operating_point=None,
        rater=rater,
        stratum=stratum,
        estimate=estimate,
    )


FINDINGS = (
    finding("drift", "counted"),
    finding("performance", "Wilson", sex="F"),
    finding("performance", "Wilson"),
    finding("performance", "Jeffreys", rater="reader"),
    finding("comparison", "paired"),
    finding("drift", "reshuffled", sex="F"),
    finding("performance", "bootstrap"),
)


def of(findings: tuple[Finding, ...], record: dict[str, Any]) -> Material:
    evidence = Evidence(protocol={}, testset={}, model={}, predictions={}, software={}, findings=findings)
    verdict = Verdict(
        overall="met",
        decision_rule="all",
        criteria=(),
        reason="",
        evidence=True,
        evidence_digest="0" * 64,
    )
    return Material(protocol=load_protocol("drift_audit"), evidence=evidence, verdict=verdict, record=record)


def slow_findings(m: Material, overall: bool | None, analysis: str | None) -> list[tuple[int, Finding]]:
    out = []
    for k, f in enumerate(m.evidence.findings):
        primary = f.analysis not in module._ELSEWHERE and f.rater == "device"
        wanted = primary if analysis is None else f.analysis == analysis
        if wanted and (overall is None or overall == (not f.stratum)):
            out.append((k, f))
    return out


def test_findings_by_analysis_are_those_of_one_pass() -> None:
    m = of(FINDINGS, {})
    for _ in range(2):
        for analysis in (None, "drift", "performance", "comparison", "robustness"):
            for overall in (None, True, False):
                assert list(m.findings(overall=overall, analysis=analysis)) == slow_findings(m, overall, analysis)


def test_a_changed_copy_looks_anew() -> None:
    m = of(FINDINGS, {})
    assert m.method_codes == {"Wilson": "M1", "bootstrap": "M2", "paired": "M3", "counted": "M4", "reshuffled": "M5"}
    assert replace(m, evidence=of(FINDINGS[:1], {}).evidence).method_codes == {"counted": "M1"}
    assert m.method_codes["Wilson"] == "M1"


def test_facts_are_read_of_each_material_once() -> None:
    m = of(FINDINGS, {})
    facts = facts_of(m)
    assert facts_of(m) is facts
    stated = of(FINDINGS, {"study": {"stated": {"device": {"trade_name": "A device"}}}})
    changed = {name for name, fact in facts_of(stated).items() if fact.state != facts[name].state}
    assert changed == {"device.trade_name"}

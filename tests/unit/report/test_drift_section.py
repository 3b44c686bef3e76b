"""The report of a drift audit: what it says in plain words, which way, and that every limit stands with its status."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalsuite.protocol.load import load_protocol
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.report.anchors import untraced
from evalsuite.report.material import Material
from evalsuite.report.sections_drift import drift, stands
from evalsuite.report.view import Figure, Item, Notice, Prose, Section, Table
from evalsuite.types import Curve, Estimate, Evidence, Finding, Outcome, Verdict

WHY = "no interval in this test"


@pytest.fixture(scope="module")
def protocol(checkout: Path) -> StudyProtocol:
    return load_protocol(checkout / "protocols" / "drift_audit.yaml")


def estimate(value: float, low: float | None = None, high: float | None = None, method: str = "m") -> Estimate:
    return Estimate(
        value=value, low=low, high=high, n=100, method=method, interval_undefined=None if low is not None else WHY
    )


def finding(endpoint: str, metric: str, made: Estimate, **more: Any) -> Finding:
    return Finding(
        analysis="drift",
        endpoint=endpoint,
        metric=metric,
        role="descriptive",
        target=None,
        operating_point=None,
        estimate=made,
        **more,
    )


def indicator(name: str, kind: str, status: str, value: float | None = 0.5) -> Finding:
    made = (
        Estimate.not_estimable("no labels", n=0, method="action: below 0.7")
        if value is None
        else estimate(value, method="action: below 0.7")
    )
    return finding(name, f"indicator_{kind}", made, condition=status)


def section(
    protocol: StudyProtocol, findings: list[Finding], overall: Outcome = "met", curves: tuple[Curve, ...] = ()
) -> Section:
    verdict = Verdict(
        overall=overall,
        decision_rule="all_primary",
        criteria=(),
        reason="",
        evidence=True,
        evidence_digest="0" * 64,
    )
    evidence = Evidence(
        protocol={},
        testset={"set_id": "march", "version": "1", "root": "0" * 64, "n_cases": 100},
        model={},
        predictions={},
        software={},
        findings=tuple(findings),
        curves=curves,
    )
    made = drift(Material(protocol=protocol, evidence=evidence, verdict=verdict, record={}))
    assert made is not None
    assert untraced([made]) == []
    return made


def first_page(protocol: StudyProtocol, findings: list[Finding]) -> Item:
    """The audit's line on the report's summary page."""
    verdict = Verdict(
        overall="met", decision_rule="all_primary", criteria=(), reason="", evidence=True, evidence_digest="0" * 64
    )
    evidence = Evidence(
        protocol={}, testset={}, model={}, predictions={}, software={}, findings=tuple(findings), curves=()
    )
    (made,) = stands(Material(protocol=protocol, evidence=evidence, verdict=verdict, record={}))
    return made


def said(made: Section) -> str:
    first = made.blocks[0]
    return first.text if isinstance(first, Notice) else "".join(first.paragraphs) if isinstance(first, Prose) else ""


def gap(low: float, high: float) -> Finding:
    return finding(
        "sensitivity", "sensitivity_difference", estimate((low + high) / 2, low, high), reference_group="baseline"
    )


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-0.30, -0.10, "Sensitivity is lower than in the validation by 20.0 points, and more than chance explains"),
        (0.10, 0.30, "Sensitivity is higher than in the validation by 20.0 points, and more than chance explains"),
        (-0.10, 0.30, "Sensitivity differs from the validation by no more than chance explains"),
    ],
)
def test_the_summary_points_the_way_the_difference_points(
    protocol: StudyProtocol, low: float, high: float, words: str
) -> None:
    line = indicator("Performance: sensitivity", "performance", "normal")
    assert words in said(section(protocol, [line, gap(low, high)]))


def test_an_alarm_asks_somebody_to_act_and_names_what_changed(protocol: StudyProtocol) -> None:
    lines = [
        indicator("Input: scanner", "input", "action"),
        indicator("Input: age", "input", "normal"),
        indicator("Performance: sensitivity", "performance", "action"),
        indicator("Unseen groups of scanner", "integrity", "warning", 3.0),
        gap(-0.3, -0.1),
    ]
    made = section(protocol, lines, "not_met")
    assert isinstance(made.blocks[0], Notice)
    text = said(made)
    assert "Changed by more than chance explains: scanner." in text
    assert "An alarm was raised" in text
    assert "Warnings: Unseen groups of scanner." in text
    table = next(b for b in made.blocks if isinstance(b, Table))
    marks = {row.cells[0].text: row.cells[3].text for row in table.rows if not row.group}
    assert marks == {
        "scanner": "■ action",
        "age": "● normal",
        "sensitivity": "■ action",
        "Unseen groups of scanner": "▲ warning",
    }


def test_the_summary_page_says_what_alarms_the_most_urgent_first(protocol: StudyProtocol) -> None:
    lines = [
        indicator("Input: image:contrast", "input", "action"),
        indicator("Performance: sensitivity", "performance", "action"),
        indicator("image:contrast missing", "integrity", "warning", 3.0),
        indicator("Input: age", "input", "normal"),
    ]
    line = first_page(protocol, lines)
    assert line.value == (
        "Action limit passed: Performance: sensitivity, Input: image contrast.\nWarning: image contrast missing."
    )
    assert line.tone == "warning"
    calm = first_page(protocol, lines[3:])
    assert "not a pass" in calm.value
    assert calm.tone == "neutral"


def test_performance_without_labels_is_doubted_where_inputs_changed(protocol: StudyProtocol) -> None:
    expected = finding("expected sensitivity", "sensitivity", estimate(0.9), condition="without_labels")
    for status, doubted in (("normal", False), ("action", True)):
        made = section(protocol, [indicator("Input: age", "input", status), expected])
        words = " ".join(p for b in made.blocks if isinstance(b, Prose) for p in b.paragraphs)
        assert ("do not rely on it" in words) == doubted


def test_no_alarm_is_never_worded_as_a_pass(protocol: StudyProtocol) -> None:
    line = indicator("Performance: sensitivity", "performance", "not assessed", None)
    text = said(section(protocol, [line], "inconclusive"))
    assert "no alarm is not a pass" in text
    assert "Sensitivity: not known, for want of labels." in text


def test_what_a_detector_did_is_drawn_and_said(protocol: StudyProtocol) -> None:
    def path(peak: float) -> Curve:
        return Curve(
            analysis="drift",
            metric="sensitivity",
            kind="detector",
            series="sensitivity",
            x=(1.0, 2.0, 3.0),
            y=(0.1, peak, 0.2),
            low=(0.1,) * 3,
            high=(5.0,) * 3,
        )

    line = indicator("Performance: sensitivity", "performance", "normal")
    for peak, words in ((4.9, "was not reached"), (5.1, "was reached")):
        (figure,) = (b for b in section(protocol, [line], curves=(path(peak),)).blocks if isinstance(b, Figure))
        assert words in figure.notes[0]
        assert figure.svg.startswith("<svg")


def test_another_study_has_no_such_section(checkout: Path) -> None:
    other = load_protocol(checkout / "examples" / "drift_audit" / "log_validation.yaml")
    material = Material(
        protocol=other,
        evidence=Evidence(protocol={}, testset={}, model={}, predictions={}, software={}, findings=()),
        verdict=Verdict(
            overall="met", decision_rule="all_primary", criteria=(), reason="", evidence=True, evidence_digest="0" * 64
        ),
        record={},
    )
    assert drift(material) is None

"""What the report prints of comparisons, adjusted claims and decision curves: everything in the evidence, no more."""

from __future__ import annotations

from typing import Any

from evalsuite.judging import judge
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.report import Dossier, build_dossier
from evalsuite.report.figures_utility import net_benefit
from evalsuite.report.format import format_estimate
from evalsuite.report.view import Figure, Pair, Table
from evalsuite.types import Curve, Evidence
from tests.unit.analyses.test_comparison import evaluated, protocol, simulated

CLAIMS: tuple[dict[str, Any], ...] = (
    {"name": "gain", "metric": "auroc", "role": "primary", "hypothesis": "superiority"},
    {
        "name": "kept",
        "metric": "sensitivity",
        "at": "primary",
        "role": "primary",
        "hypothesis": "non_inferiority",
        "margin": 0.1,
    },
)


def made(study: StudyProtocol) -> tuple[Dossier, Evidence]:
    truth, first, second = simulated()
    site = ["a" if i % 3 else "b" for i in range(len(truth))]
    results = evaluated(study, truth, first, second, site=site)
    evidence = Evidence(
        protocol={"id": "t", "version": "1"},
        testset={"set_id": "s", "version": "1"},
        model={"name": "new", "baseline": {"name": "old one"}},
        predictions={},
        software={},
        findings=results.findings,
        curves=results.curves,
        accounting=results.accounting,
        tests=results.tests,
        notes=results.notes,
    )
    return build_dossier(study, evidence, judge(study, evidence), {}), evidence


def tables(d: Dossier, section: str) -> dict[str, Table]:
    found = next((s for s in d.sections if s.id == section), None)
    return {} if found is None else {b.caption: b for b in found.blocks if isinstance(b, Table)}


def test_a_comparison_has_a_section_with_both_devices_and_every_group() -> None:
    d, evidence = made(protocol(*CLAIMS, strata=[{"name": "site", "column": "site"}]))
    found = tables(d, "comparison")
    whole = found["Candidate and baseline in the whole test set"]
    assert [row.cells[0].text for row in whole.rows] == ["AUROC", "Sensitivity"]
    assert "non-inferiority, margin 0.1" in whole.rows[1].cells[0].sub
    groups = found["Differences between candidate and baseline in groups"]
    anchors = {r.anchor for t in (whole, groups) for r in t.rows if r.anchor}
    wanted = {
        f"f-{i:04d}"
        for i, f in enumerate(evidence.findings)
        if f.analysis == "comparison" and f.reference_group == "baseline"
    }
    assert anchors == wanted
    assert "McNemar exact" in found["Tests of differences"].notes[0]
    text = str(next(s for s in d.sections if s.id == "comparison").blocks[0])
    assert "old one" in text


def test_differences_stay_out_of_the_candidates_own_tables() -> None:
    d, evidence = made(protocol(*CLAIMS))
    own = tables(d, "performance")["Performance in the whole test set"]
    indices = {int(r.anchor[2:]) for r in own.rows if r.anchor}
    assert {evidence.findings[i].analysis for i in indices} == {"performance"}


def test_adjusted_levels_and_p_values_are_printed() -> None:
    d, evidence = made(protocol(*CLAIMS, decision_rule="any_primary", multiplicity={"method": "holm"}))
    results = tables(d, "primary-results")
    adjusted = results["p-values adjusted for multiplicity"]
    assert len(adjusted.rows) == len([t for t in evidence.tests if t.p_adjusted is not None]) == 2
    assert any("0.025" in n for n in adjusted.notes)
    criteria = results["Acceptance criteria, estimates and verdicts"]
    assert any(c.sub.startswith("at 97.5") for row in criteria.rows for c in row.cells)
    assert any("adjusted for multiplicity" in n for n in criteria.notes)


def test_nothing_of_it_is_in_a_report_without_it() -> None:
    d, _ = made(protocol(endpoints=[{"name": "a", "metric": "auroc", "role": "primary", "criterion": GOAL}]))
    assert "comparison" not in {s.id for s in d.sections}
    assert "p-values adjusted for multiplicity" not in tables(d, "primary-results")


GOAL = {"bound": "lower", "op": ">", "value": 0.6}


def test_the_decision_curve_is_drawn_with_its_prevalence() -> None:
    d, _ = made(protocol(*CLAIMS))
    figures = [b for s in d.sections for b in s.blocks if isinstance(b, Figure) and b.caption == "Decision curve"]
    assert len(figures) == 1
    assert any("prevalence" in n for n in figures[0].notes)
    for word in ("Model", "Baseline", "Treat all", "Treat none"):
        assert word in figures[0].svg


def test_lines_are_cut_off_where_they_leave_the_drawing() -> None:
    def line(series: str, *y: float) -> Curve:
        x = tuple((i + 1) / 10 for i in range(len(y)))
        return Curve(analysis="utility", metric="net_benefit", kind="net_benefit", series=series, x=x, y=y)

    svg = net_benefit(
        [line("model", 0.4, 0.3, 0.2), line("treat all", 0.4, -5.0, 0.4)], thresholds=[0.2, 0.9], names={}, alt="x"
    )
    # The model's line, and treating all in two pieces: down to the edge, and up again from it.
    assert svg.count("<path") + svg.count("<polyline") == 3


def test_the_exact_test_of_a_goal_stands_beside_its_verdict() -> None:
    goal = {"bound": "lower", "op": ">", "value": 0.5}
    study = protocol(*CLAIMS)
    point = study.operating_points[0].name
    asked = {"name": "found", "metric": "sensitivity", "at": point, "role": "primary", "criterion": goal}
    study = StudyProtocol.model_validate({**study.model_dump(by_alias=True, exclude_unset=True), "endpoints": [asked]})
    d, evidence = made(study)
    (test,) = [t for t in evidence.tests if t.endpoint == "found" and t.method.startswith("exact binomial")]
    table = tables(d, "primary-results")["Tests of the goals; the intervals decide"]
    assert [row.cells[0].text for row in table.rows] == [test.name]
    assert "exact binomial, one-sided" in table.notes[0]


def test_ratios_of_shares_are_printed_where_the_protocol_asks() -> None:
    d, evidence = made(protocol({**CLAIMS[1], "ratio": True}, CLAIMS[0]))
    table = tables(d, "comparison")["Ratios of shares, candidate over baseline"]
    finding = next(f for f in evidence.findings if f.metric == "sensitivity_ratio")
    assert [row.cells[0].text for row in table.rows] == ["Sensitivity · kept"]
    assert table.rows[0].cells[1].text == format_estimate("sensitivity_ratio", finding.estimate)
    assert "Tang" in " ".join(table.notes)
    whole = tables(d, "comparison")["Candidate and baseline in the whole test set"]
    assert [row.cells[0].text for row in whole.rows] == ["Sensitivity", "AUROC"]


def test_the_difference_of_two_decision_curves_is_drawn() -> None:
    d, evidence = made(protocol(*CLAIMS))
    figures = {b.caption: b for s in d.sections for b in s.blocks if isinstance(b, Figure)}
    drawn = figures["Difference in net benefit, candidate less baseline"]
    line = next(c for c in evidence.curves if c.series == "difference")
    assert len(line.x) == 99
    assert "less that of the baseline" in drawn.alt
    assert "Threshold probability" in drawn.svg


def test_with_a_comparator_no_axis_says_sensitivity() -> None:
    task = {"kind": "binary", "reference": "truth", "score": "p", "reference_is": "comparator"}
    d, _ = made(protocol(CLAIMS[0], task=task))
    pictures = [f for s in d.sections for b in s.blocks if isinstance(b, Pair) for f in (b.left, b.right)]
    roc = next(f for f in pictures if isinstance(f, Figure) and f.caption == "ROC curve")
    assert "Positive percent agreement" in roc.svg
    assert "ensitivity" not in roc.svg
    assert "primary" in roc.svg, "the operating point is marked"

"""Triage: from calls to waiting times, in the evidence and in the report."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from evalsuite.analyses.common import Results
from evalsuite.analyses.population import build_population
from evalsuite.analyses.triage import triage_figures
from evalsuite.errors import ProtocolError
from evalsuite.protocol.load import parse_protocol
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.report.material import Material
from evalsuite.report.sections_triage import triage
from evalsuite.stats.proportions import proportion_interval
from evalsuite.stats.queueing import triage_waits
from evalsuite.types import Evidence, Verdict
from tests.end_to_end.conftest import protocol_text
from tests.unit.analyses.test_beside_performance import cases, protocol

BLOCK: dict[str, Any] = {
    "at": "primary",
    "arrivals_per_hour": 5,
    "prevalence": 0.1,
    "reading": {"with_condition": 9, "without_condition": 8},
    "source": "the worklist of last year",
}
DATA = cases((45, "1", 0.9), (5, "1", 0.1), (160, "0", 0.1), (40, "0", 0.9))


def run(study: StudyProtocol, columns: dict[str, list[Any]]) -> Results:
    """Truth and score (None: no output) of cases that are a patient each; this analysis alone."""
    n = len(columns["truth"])
    ids = tuple(f"c{i}" for i in range(n))
    score = [math.nan if v is None else v for v in columns["p"]]
    status = ["ok" if v is not None else "failed" for v in columns["p"]]
    table = pd.DataFrame(
        {"case_id": ids, "rater": "device", "condition": None, "status": status, "reason": None, "p": score}
    )
    frame = pd.DataFrame({"truth": columns["truth"]}).astype(str)
    return triage_figures(study, build_population(study, case_id=ids, patient_id=ids, frame=frame, predictions=table))


def asked(**changes: Any):
    return protocol(analyses={"triage": {**BLOCK, **changes}})


def test_waits_follow_from_the_studys_own_sensitivity_and_specificity() -> None:
    results = run(asked(), DATA)
    found = {(f.condition, f.metric): f.estimate for f in results.findings if f.analysis == "triage"}
    room = asked().analyses.triage.room()
    for discipline in ("nonpreemptive", "preemptive"):
        saved = found[discipline, "wait_saved"]
        assert saved.value == pytest.approx(float(triage_waits(room, 0.9, 0.8, discipline=discipline).saved))
        # Both intervals at 97.5 %, so that they hold together at 95 %.
        (a, b), (c, d) = (proportion_interval(x, n, level=0.975) for x, n in ((45, 50), (160, 200)))
        ends = [float(triage_waits(room, x, y, discipline=discipline).saved) for x, y in ((a, c), (b, d))]
        assert (saved.low, saved.high) == pytest.approx(tuple(ends), rel=1e-6)
        assert (saved.level, saved.n, saved.n_patients) == (0.95, 250, 250)
    curves = {c.series: c for c in results.curves if c.kind == "wait_saved"}
    assert set(curves) == {"nonpreemptive", "preemptive"}
    assert all(low <= y <= high for c in curves.values() for low, y, high in zip(c.low, c.y, c.high, strict=True))


def test_several_readers_and_unequal_readings_have_a_simulation_beside_them() -> None:
    study = asked(readers=2, arrivals_per_hour=9)
    results = run(study, DATA)
    found = {(f.condition, f.metric): f.estimate for f in results.findings if f.analysis == "triage"}
    for discipline in ("nonpreemptive", "preemptive"):
        saved, seen = found[discipline, "wait_saved"], found[discipline, "wait_saved_simulated"]
        assert "approximated" in saved.method
        assert "simulation of" in seen.method
        assert seen.low < seen.value < seen.high
        assert saved.value == pytest.approx(seen.value, rel=0.15)
    assert any("no exact wait" in note for note in results.notes)
    assert "wait_saved_simulated" not in {f.metric for f in run(asked(), DATA).findings}


def test_a_case_without_an_output_is_not_flagged_where_it_should_be() -> None:
    """Worst case: a failed positive is missed, so that the device saves less."""
    worse = run(asked(), cases((45, "1", 0.9), (5, "1", None), (200, "0", 0.1)))
    better = run(asked(), cases((45, "1", 0.9), (200, "0", 0.1)))
    saved = [next(f.estimate.value for f in r.findings if f.metric == "wait_saved") for r in (worse, better)]
    assert saved[0] < saved[1]


def test_a_set_without_positives_says_why_there_is_nothing() -> None:
    results = run(asked(), cases((50, "0", 0.1)))
    found = [f for f in results.findings if f.analysis == "triage"]
    assert found
    assert all(f.estimate.value is None and "no reference-positive cases" in f.estimate.undefined for f in found)
    assert not [c for c in results.curves if c.kind == "wait_saved"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"at": "other"}, "unknown operating point 'other'"),
        ({"arrivals_per_hour": 60}, "cannot keep up"),
        ({"disciplines": ["preemptive", "preemptive"]}, "named twice"),
    ],
)
def test_a_room_that_cannot_be_worked_out_is_refused_with_its_path(change: dict[str, Any], why: str) -> None:
    text = protocol_text(analyses={"triage": {**BLOCK, **change}})
    with pytest.raises(ProtocolError) as refused:
        parse_protocol(text.encode(), "protocol.yaml")
    assert why in str(refused.value)
    assert "analyses.triage" in str(refused.value)


def test_a_comparator_says_nothing_of_who_has_the_condition() -> None:
    task = {"kind": "binary", "reference": "truth", "score": "p_disease", "reference_is": "comparator"}
    agreement = {"name": "ppa", "metric": "ppa", "at": "primary", "role": "primary"}
    agreement["criterion"] = {"bound": "lower", "op": ">", "value": 0.5}  # type: ignore[assignment]
    text = protocol_text(analyses={"triage": BLOCK}, task=task, endpoints=[agreement])
    with pytest.raises(ProtocolError, match="takes a reference standard"):
        parse_protocol(text.encode(), "protocol.yaml")


def test_the_report_states_every_assumption() -> None:
    study = asked(urgent={"share": 0.05, "minutes": 6})
    results = run(study, DATA)
    evidence = Evidence(
        protocol={}, testset={}, model={}, predictions={}, software={}, findings=results.findings, curves=results.curves
    )
    verdict = Verdict(
        overall="inconclusive", decision_rule="all_primary", criteria=(), reason="", evidence=True, evidence_digest="0"
    )
    material = Material(protocol=study, evidence=evidence, verdict=verdict, record={})
    section = triage(material)
    assert section is not None
    said = str(section)
    for words in ("5 images per hour", "10.0 %", "9 min with the condition", "5.0 % of all images", "of last year"):
        assert words in said
    table = next(b for b in section.blocks if b.block == "table")
    assert len(table.rows) == 2 * 9
    figure = next(b for b in section.blocks if b.block == "figure")
    assert figure.svg.startswith("<svg")
    assert triage(Material(protocol=protocol(), evidence=evidence, verdict=verdict, record={})) is None

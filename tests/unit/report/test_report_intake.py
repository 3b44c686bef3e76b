"""The intake rows of a report: every check, counts, capped case ids, and nothing where nothing is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from evalsuite.protocol.schema import StudyProtocol
from evalsuite.report.material import Material
from evalsuite.report.sections_intake import completeness, intake_blocks
from evalsuite.types import Evidence, Verdict


@dataclass(frozen=True)
class Bare:
    """What these blocks ask evidence for."""

    testset: dict[str, Any]


def material(**testset: Any) -> Material:
    protocol = StudyProtocol(
        schema="evalsuite/protocol/1", id="p", version="1", title="t", kind="standalone", intended_use={},
        task={"kind": "binary", "reference": "y", "score": "p"}, unit={},
        endpoints=[{"name": "auroc", "metric": "auroc"}], strata=[{"name": "maker", "column": "dicom:Manufacturer"}],
        seed=1,
    )  # fmt: skip
    evidence: Evidence = Bare(testset={"set_id": "s", "version": "1", "root": "a" * 64})  # type: ignore[assignment]
    verdict: Verdict = None  # type: ignore[assignment]
    return Material(protocol=protocol, evidence=evidence, verdict=verdict, record={"testset": testset})


def row(**more: Any) -> dict[str, Any]:
    base = {"check": "decode", "title": "Images", "outcome": "problem", "summary": "30 images", "counts": {}}
    return {**base, "cases": [f"c{i}" for i in range(30)], "groups": [], "why": "why", "action": "fetch", **more}


def test_without_a_record_there_is_nothing():
    assert intake_blocks(material()) == []
    assert intake_blocks(material(intake=None, lineage=None, draw=None, retired=0)) == []


def test_every_check_is_a_row_and_findings_name_few_cases():
    rows = [row(), row(check="plan", outcome="not_checked", cases=[]), row(check="x", outcome="ok", cases=[])]
    heading, table, bullets = intake_blocks(material(intake={"rows": rows, "n_decoded": 5, "n_images": 7}))
    assert heading.text == "Intake checks"
    assert [r.cells[1].text for r in table.rows] == ["PROBLEM", "not checked", "ok"]
    assert "5 of 7 image files were decoded" in table.notes[0]
    assert len(bullets.items) == 1
    assert bullets.items[0] == f"Images. Cases: {', '.join(f'c{i}' for i in range(12))} and 18 more. Fetch."


def test_versions_draws_and_completeness():
    made = material(
            lineage={
                "supersedes": {"version": "1", "root": "b" * 64},
                "counts": {"kept": 8, "added": 2, "relabelled": None},
            },
            draw={
                "drawn_cases": 10, "pool_cases": 40, "drawn_patients": 9, "pool_patients": 30, "seed": 7, "by": "site",
                "algorithm": "sha256-rank/1", "pool_digest": "c" * 64,
            },
            retired=3,
            attributes={"n_dicom": 10, "present": {"dicom:Manufacturer": 9, "dicom:KVP": 4}},
    )  # fmt: skip
    blocks = intake_blocks(made)
    values = {i.name: i.value for i in blocks[1].items}
    assert "8 kept, 2 added, relabelled not verifiable" in values["Supersedes"]
    assert values["Random draw"] == "10 of 40 cases, 9 of 30 patients by site; seed 7, sha256-rank/1"
    assert values["Retired"].startswith("3 cases")
    assert [tuple(c.text for c in r.cells) for r in completeness(made).rows] == [("Manufacturer", "9 of 10", "90 %")]

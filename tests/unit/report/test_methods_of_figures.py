"""What a report says of its methods: where they were published, and how many resamples had no value."""

from __future__ import annotations

from dataclasses import replace

from evalsuite.report.material import Material
from evalsuite.report.method_sources import sources_of
from tests.golden.factory import study


def test_a_method_made_of_several_names_the_source_of_each() -> None:
    method = "Clopper-Pearson on the effective number of cases (patients as clusters)"
    names = [name for name, _ in sources_of([method])]
    assert names == ["Clopper-Pearson", "Effective number of cases"]
    assert sources_of(["Benjamini-Hochberg over 3 endpoints"]) == (
        ("Benjamini-Hochberg", "Benjamini & Hochberg, J R Stat Soc B 57:289 (1995)"),
    )
    assert sources_of(["none"]) == ()


def test_resamples_without_a_value_are_said_under_the_table() -> None:
    s = study()
    material = Material(protocol=s.protocol, evidence=s.evidence, verdict=s.verdict, record=s.record)
    estimate = next(f.estimate for _, f in material.findings() if f.estimate.value is not None)
    without = "resamples of a figure in this table had no value"
    assert without not in material.method_note([replace(estimate, replicates=2000, replicates_undefined=0)])
    some = [replace(estimate, replicates=2000, replicates_undefined=k) for k in (3, 14)]
    assert f"up to 14 {without}" in material.method_note(some)

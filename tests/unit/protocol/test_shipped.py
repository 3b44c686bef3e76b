"""The protocols that ship: they load, can be run, and say what they need."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

from evalsuite.protocol.load import dump_protocol, load_protocol, parse_protocol, shipped_protocols, unsupported
from evalsuite.protocol.reference import reference_markdown
from evalsuite.protocol.template import case_table_template
from evalsuite.resources import bundled

NAMES = sorted(shipped_protocols())


def test_the_protocols_that_ship() -> None:
    assert NAMES == [
        "autonomous_dr",
        "cade_lung_nodule_ct",
        "cadt_cxr_triage",
        "cadx_mammography",
        "cadx_skin_lesion",
        "drift_audit",
        "generic_binary_standalone",
        "pccp_version_regression",
        "quantitative_measurement",
        "quantitative_midline_shift",
        "quantitative_volume",
        "reader_study",
        "segmentation_ct_mr_oar",
        "site_acceptance",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_each_loads_under_its_name_and_runs_as_shipped(name: str) -> None:
    from evalsuite.analyses.tasks import computable

    protocol = load_protocol(name)
    assert protocol.id == name
    assert unsupported(protocol, computable()) == []
    assert parse_protocol(dump_protocol(protocol).encode()) == protocol


@pytest.mark.parametrize("name", NAMES)
def test_every_column_it_needs_is_in_its_header_comment_and_its_template(name: str) -> None:
    protocol = load_protocol(name)
    header = "".join(
        line for line in shipped_protocols()[name].read_text().splitlines(keepends=True) if line.startswith("#")
    )
    rows = list(csv.reader(io.StringIO(case_table_template(protocol))))
    assert [len(row) for row in rows] == [len(rows[0])] * 3
    columns = rows[0]
    assert columns[:3] == ["case_id", "patient_id", "image"]
    for column in columns:
        assert re.search(rf"\b{column}\b", header), column
    assert protocol.task.reference in columns
    assert {s.column for s in protocol.strata if s.column and not s.column.startswith("dicom:")} <= set(columns)
    if protocol.task.kind != "binary":
        return  # the reference names files
    assert rows[1][columns.index(str(protocol.task.reference))] == str(protocol.task.positive)
    assert rows[2][columns.index(str(protocol.task.reference))] != str(protocol.task.positive)


@pytest.mark.parametrize("name", NAMES)
def test_no_precedent_without_the_word_verify(name: str) -> None:
    protocol = load_protocol(name)
    numbered = re.compile(r"\b(K\d{6}|DEN\d{6}|NCT\d{8})\b")
    for source in protocol.sources:
        assert not numbered.search(source) or "verify" in source
    rest = protocol.model_copy(update={"sources": []})
    assert not numbered.search(dump_protocol(rest))


def test_submission_protocols_refuse_a_worn_out_test_set() -> None:
    for name in NAMES:
        protocol = load_protocol(name)
        assert (protocol.reuse_policy.on_excess == "refuse") == (
            protocol.kind in ("standalone", "comparison", "reader_study")
        )


def test_the_field_reference_is_current() -> None:
    written = (bundled("protocols") / "README.md").read_text(encoding="utf-8")
    assert written == reference_markdown(), "run: python -m evalsuite.protocol.reference > protocols/README.md"


def test_every_field_has_a_meaning_in_the_reference() -> None:
    text = reference_markdown()
    fields = text.partition("## Fields")[2].partition("## What the loader")[0]
    for line in fields.splitlines():
        if line.startswith("| `"):
            assert not line.endswith("|  |"), line


def test_a_template_avoids_every_positive_value() -> None:
    base = load_protocol("generic_binary_standalone")

    def values(positive: object) -> list[str]:
        task = base.task.model_copy(update={"positive": positive})
        rows = csv.reader(io.StringIO(case_table_template(base.model_copy(update={"task": task}))))
        return [row[3] for row in list(rows)[1:]]

    assert values(1) == ["1", "0"]
    assert values(0) == ["0", "1"]
    assert values(True) == ["true", "false"]
    assert values([0, 1]) == ["0", "2"]
    assert values("malignant") == ["malignant", "negative"]
    assert values(["negative"])[1] != "negative"


def test_the_protocols_mention_no_path_of_this_machine() -> None:
    for path in [*shipped_protocols().values(), Path(bundled("protocols")) / "README.md"]:
        assert "/home/" not in path.read_text(encoding="utf-8")

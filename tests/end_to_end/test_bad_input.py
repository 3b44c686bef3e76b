"""Wrong input: a clear error, the right exit code, no traceback, nothing of a patient in the message."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from .conftest import protocol_text


def test_protocol_typos_are_listed_all_at_once_with_paths_and_hints(study, cli):
    broken = yaml.safe_load(study.protocol.read_text())
    broken["endpoints"][0]["metric"] = "auroq"
    broken["endpoints"][1]["at"] = "primry"
    broken["endpoints"][2]["rol"] = "secondary"
    del broken["seed"]
    study.protocol.write_text(yaml.safe_dump(broken))
    done = cli("lock", study.cases, "--protocol", study.protocol, "--out", study.testset)
    assert done.code == 2
    for expected in ("endpoints[0].metric", "auroc", "endpoints[1].at", "endpoints[2]", "rol", "seed", "did you mean"):
        assert expected in done.err, expected


def test_a_yaml_syntax_error_names_the_line(study, cli):
    study.protocol.write_text("schema: evalsuite/protocol/1\nid: [unclosed\n")
    done = cli("inspect", study.protocol)
    assert done.code == 2
    assert "line" in done.err


def test_an_unknown_column_is_named_with_a_hint(study, cli):
    study.protocol.write_text(protocol_text(strata=["sexx"]))
    done = cli("lock", study.cases, "--protocol", study.protocol, "--out", study.testset)
    assert done.code == 2
    assert "sexx" in done.err
    assert "sex" in done.err


def test_a_duplicate_case_is_named(study, cli):
    text = study.cases.read_text()
    study.cases.write_text(text + text.splitlines()[1] + "\n")
    done = cli("lock", study.cases, "--protocol", study.protocol, "--out", study.testset)
    assert done.code == 2
    assert "c000" in done.err


@pytest.mark.parametrize("content", ["", "case_id,patient_id,truth,sex,age\n"])
def test_an_empty_table_is_an_error(study, cli, content):
    study.cases.write_text(content)
    assert cli("lock", study.cases, "--protocol", study.protocol, "--out", study.testset).code == 2


def test_a_missing_table_or_model_or_set_is_an_error(study, cli):
    assert cli("lock", study.folder / "nothing.csv", "--out", study.testset).code == 2
    assert cli(
        "run", study.protocol, "--testset", study.testset, "--model", study.predictions, "--out", study.run
    ).code in (2, 3)
    assert cli("inspect", study.folder / "nothing.onnx").code in (2, 4)
    assert cli("verify", study.folder / "nothing").code == 2
    assert (
        cli(
            "run", "no-such-protocol", "--testset", study.testset, "--model", study.predictions, "--out", study.run
        ).code
        == 2
    )


def test_a_changed_reference_stops_everything_with_exit_3(locked, cli):
    path = locked.testset / "reference.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    done = cli("run", locked.protocol, "--testset", locked.testset, "--model", locked.predictions, "--out", locked.run)
    assert done.code == 3
    assert "reference.parquet" in done.err
    assert cli("verify", locked.testset).code == 3


def test_one_class_only_is_a_report_and_exit_1(study, cli):
    lines = study.cases.read_text().splitlines()
    rows = [line.split(",") for line in lines[1:]]
    study.cases.write_text("\n".join([lines[0], *(",".join([r[0], r[1], "1", *r[3:]]) for r in rows)]) + "\n")
    cli("lock", study.cases, "--protocol", study.protocol, "--out", study.testset)
    cli("freeze", study.protocol, "--testset", study.testset, "--model", study.predictions, "--out", study.frozen)
    done = cli(
        "run", study.frozen, "--testset", study.testset, "--model", study.predictions, "--out", study.run, "--json"
    )
    assert done.code == 1
    outcome = {c["endpoint"]: c for c in done.json()["criteria"]}
    assert outcome["discrimination"]["outcome"] == "inconclusive"
    assert outcome["discrimination"]["estimate"]["undefined"] == "no reference-negative cases"
    assert (study.run / "report.pdf").stat().st_size > 10_000


def test_nan_and_missing_predictions_are_failed_cases_counted_at_their_worst(locked, cli):
    lines = locked.predictions.read_text().splitlines()
    lines[1] = "c000,nan"
    lines[2] = "c001,"
    del lines[3]
    locked.predictions.write_text("\n".join(lines) + "\n")
    done = cli(
        "run",
        locked.protocol,
        "--testset",
        locked.testset,
        "--model",
        locked.predictions,
        "--out",
        locked.run,
        "--json",
    )
    assert done.code == 1
    import json

    evidence = json.loads((locked.run / "evidence.json").read_text())
    failed = [a for a in evidence["accounting"] if not a["stratum"] and a["status"] == "failed"]
    assert sum(a["n"] for a in failed) == 3
    assert any(f["condition"] == "missing_outputs=exclude" for f in evidence["findings"])


def test_predictions_of_unknown_cases_are_refused(locked, cli):
    with locked.predictions.open("a") as f:
        f.write("stranger,0.5\n")
    done = cli("run", locked.protocol, "--testset", locked.testset, "--model", locked.predictions, "--out", locked.run)
    assert done.code == 2
    assert "stranger" in done.err


def test_a_score_the_model_does_not_give_is_named(locked, cli):
    locked.protocol.write_text(locked.protocol.read_text().replace("p_disease", "p_diseas"))
    done = cli("run", locked.protocol, "--testset", locked.testset, "--model", locked.predictions, "--out", locked.run)
    assert done.code == 2
    assert "p_diseas" in done.err


def test_errors_are_json_where_json_is_asked_for(study, cli):
    done = cli("inspect", study.folder / "nothing.yaml", "--json")
    assert done.code in (2, 4)
    assert done.json()["error"]["message"]
    assert done.json()["exit_code"] == done.code


def test_what_this_version_cannot_do_is_refused_and_not_left_out(locked, cli):
    locked.protocol.write_text(protocol_text(analyses={"bias": {"margins": {}}}))
    done = cli("run", locked.protocol, "--testset", locked.testset, "--model", locked.predictions, "--out", locked.run)
    assert done.code == 2
    assert "analyses.bias" in done.err


@pytest.fixture
def closed(tmp_path):
    """A folder nobody may write to; root may write to any ordinary one, so for root the kernel's own trees serve."""
    if os.geteuid() == 0:
        for parent in ("/sys", "/proc"):
            refused = Path(parent) / "evalsuite-may-not-write-here"
            if refused.exists():
                continue
            try:
                refused.mkdir()
            except OSError:
                return refused
            refused.rmdir()
        pytest.skip("root may write everywhere here: neither /sys nor /proc is the kernel's own")
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    return folder / "out"


def test_no_write_permission_is_said(locked, closed, cli):
    common = ("--testset", locked.testset, "--model", locked.predictions, "--out", closed)
    for command in (
        ("run", locked.protocol, *common),
        ("freeze", locked.protocol, *common),
        ("lock", locked.cases, "--protocol", locked.protocol, "--out", closed),
        ("init", closed),
    ):
        done = cli(*command)
        assert done.code == 2, (command[0], done.err)
        assert str(closed) in done.err.replace("\n", "")


def test_a_full_disk_is_said_and_the_run_goes_on_afterwards(locked, cli, monkeypatch):
    import errno

    from evalsuite.record import files

    real = os.fsync

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    command = ("run", locked.protocol, "--testset", locked.testset, "--model", locked.predictions, "--out", locked.run)
    done = cli(*command)
    assert done.code == 2
    assert "space" in done.err.lower() or "full" in done.err.lower()
    monkeypatch.setattr(files.os, "fsync", real)
    assert cli(*command).code == 1
    assert cli("verify", locked.run).code == 0


def test_usage_errors_exit_2(cli):
    assert cli("run").code == 2
    assert cli("nonsense").code == 2

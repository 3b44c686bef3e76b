"""The example of recorded predictions: its tables are those its seed makes, and its protocol loads."""

from __future__ import annotations

import importlib.util
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[3] / "examples" / "recorded_predictions"


def test_tables_are_those_of_the_seed(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("recorded_predictions_make", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    make.write(tmp_path)
    for name in ("cases.csv", "predictions.csv"):
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()


def test_protocol_loads_and_names_what_the_tables_have() -> None:
    from evalsuite.protocol.load import load_protocol

    protocol = load_protocol(FOLDER / "protocol.yaml")
    assert protocol.task.reference == "finding"
    assert protocol.task.score == "p_finding"

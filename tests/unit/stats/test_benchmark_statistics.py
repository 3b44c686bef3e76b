"""The benchmark of the statistics runs, says which peers are absent, and counts a fixed cost once."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[3] / "benchmarks"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_measurement_and_one_peer_run(tmp_path: Path) -> None:
    statistics = loaded("statistics")
    ours = statistics.timed(statistics.child("bootstrap", 500, 20, threads=2))
    assert ours["wall"] > 0
    assert ours["mb"] > 20
    theirs = statistics.peer("scikit-learn", statistics.study(500), 4, 40)
    assert theirs["what"].endswith("loop over patients (4 replicates, scaled)")
    assert theirs["wall"] > 0


def test_absent_peers_are_rows_that_say_so() -> None:
    statistics = loaded("statistics")
    ours = {"what": "evalsuite", "wall": 0.5, "cpu": 1.0, "mb": 100.0}
    slow = {"what": "other", "wall": 5.0, "cpu": 3.0, "mb": 50.0}
    lines = statistics.table([ours], [{"what": "torchmetrics", "absent": "torchmetrics is not installed"}, slow])
    assert lines[3] == "| torchmetrics | torchmetrics is not installed | | | | |"
    assert lines[4] == "| other | 5 | 3 | 50 | 10 | 3 |"


def test_a_peer_that_is_not_installed_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    peers = loaded("peers_statistics")
    file = tmp_path / "study.npz"
    np.savez(file, score=np.zeros(3))
    monkeypatch.setitem(peers.PEERS, "fairlearn", (peers.fairlearn, "no_such_module"))
    monkeypatch.setattr(sys, "argv", ["peers", "fairlearn", str(file), "4", "40"])
    peers.main()
    assert json.loads(capsys.readouterr().out) == {"absent": "no_such_module is not installed"}


def test_growth_is_drawn_where_matplotlib_is(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    base = {"cases": 10, "strata": 1, "replicates": 5, "wall": 0.1, "cpu": 0.1, "mb": 1.0}
    rows = [{**base, "panel": p, p: k} for p in ("cases", "strata", "replicates") for k in (10, 20)]
    (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    out = tmp_path / "growth.svg"
    script = [sys.executable, "-P", str(FOLDER / "statistics_growth.py"), str(tmp_path / "rows.json"), str(out)]
    subprocess.run(script, check=True, capture_output=True)
    assert "CPU seconds" in out.read_text(encoding="utf-8")

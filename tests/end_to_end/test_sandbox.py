"""Packages that execute code, through the command line: honest ones, hostile ones, and a machine without a sandbox."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from evalsuite.sandbox import launcher

from .conftest import Outcome, protocol_text

Cli = Callable[..., Outcome]
N = 24
CONTRACT = """\
schema: evalsuite/model/1
name: NAME
task: binary
inputs: [{name: x, shape: [1, 8, 8], colour: L}]
outputs: [{name: y, meaning: probabilities, classes: [disease]}]
entry_point: network:build
"""
HONEST = """
import torch
print("built \\x1b[31mhere")
class Mean(torch.nn.Module):
    def forward(self, x):
        return torch.sigmoid(8 * (x.mean(dim=(1, 2, 3), keepdim=True)[:, :, 0, 0] - 0.5))
def build():
    return Mean()
"""
#: What each package does when it is opened (`build`) or run, what becomes of it, and a word of the message.
HOSTILE = {
    "dies": ("import os\ndef build():\n    os.abort()\n", "crash", "crashed during opening its package (SIGABRT)"),
    "hangs": ("import time\ndef build():\n    return lambda x: time.sleep(600)\n", "timeout", "within 2 s"),
    "traces": (
        "import ctypes\ndef build():\n    return lambda x: ctypes.CDLL(None).ptrace(0, 0, 0, 0)\n",
        "forbidden",
        "what a model may not do",
    ),
    "lies": (
        "def build():\n    return lambda x: 7 + x.mean(dim=(1, 2, 3))[:, None]\n",
        "contract",
        "keep its contract",
    ),
}


@pytest.fixture(autouse=True)
def _there_is_a_sandbox(sandbox_flags: tuple[str, ...]) -> None:
    if sandbox_flags:
        pytest.skip("this machine has no sandbox")


@pytest.fixture(scope="module")
def imaged(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """Folder with a protocol and a locked set of small images, brighter where the reference is positive."""
    base = tmp_path_factory.mktemp("study")
    rng = np.random.default_rng(2)
    rows = ["case_id,patient_id,image,truth,sex,age"]
    for i in range(N):
        level = 150 if i % 2 else 105
        image = np.clip(rng.normal(level, 25, (8, 8)), 0, 255).astype(np.uint8)
        cv2.imwrite(str(base / f"{i}.png"), image)
        rows.append(f"c{i:02d},p{i:02d},{i}.png,{i % 2},{'f' if i % 3 else 'm'},{40 + i}")
    (base / "cases.csv").write_text("\n".join(rows) + "\n")
    (base / "protocol.yaml").write_text(protocol_text())
    assert cli("lock", base / "cases.csv", "--protocol", base / "protocol.yaml", "--out", base / "set").code == 0
    return base


def package(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "network.py").write_text(text)
    (folder / "evalsuite-model.yaml").write_text(CONTRACT.replace("NAME", folder.name))
    return folder


def ledger(base: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (base / "set" / "ledger.jsonl").read_text().splitlines()]


def test_an_honest_package_runs_in_the_sandbox_with_the_same_bytes_as_without(
    imaged: Path, tmp_path: Path, cli: Cli
) -> None:
    model = package(tmp_path / "honest", HONEST)
    common = (imaged / "protocol.yaml", "--testset", imaged / "set", "--model", model)
    done = cli("run", *common, "--out", tmp_path / "boxed")
    assert done.code == 1, done.err  # not frozen
    record = json.loads((tmp_path / "boxed" / "record.json").read_text())
    assert record["inference"]["sandbox"]["name"] == "bubblewrap"
    assert "network: none" in record["inference"]["sandbox"]["restricted"]
    assert (tmp_path / "boxed" / "logs" / "model.log").read_text() == "built ?[31mhere\n"
    page = (tmp_path / "boxed" / "report.html").read_text()
    assert "bubblewrap" in page
    assert "--unsandboxed" not in page
    assert cli("verify", tmp_path / "boxed").code == 0

    done = cli("run", *common, "--out", tmp_path / "bare", "--unsandboxed")
    assert done.code == 1, done.err
    assert json.loads((tmp_path / "bare" / "record.json").read_text())["inference"]["sandbox"] == "none"
    assert "None (--unsandboxed)" in (tmp_path / "bare" / "report.html").read_text()
    for name in ("predictions.parquet", "evidence.json"):
        assert (tmp_path / "boxed" / name).read_bytes() == (tmp_path / "bare" / name).read_bytes()


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_package_ends_its_run_with_an_entry_that_says_what_it_did_and_harms_nothing(
    imaged: Path, tmp_path: Path, cli: Cli, what: str
) -> None:
    text, failure, said = HOSTILE[what]
    model = package(tmp_path / what, text)
    before = ledger(imaged)
    command = (
        "predict", imaged / "protocol.yaml", "--testset", imaged / "set", "--model", model, "--out", tmp_path / "run",
        *(("--timeout", "2") if what == "hangs" else ()),
    )  # fmt: skip
    failed = cli(*command, "--json")
    assert failed.code == 4, failed.err
    assert failed.json()["error"]["failure"] == failure
    assert what in failed.err
    assert said in " ".join(failed.err.split())
    (entry,) = [e for e in ledger(imaged)[len(before) :] if e["action"] == "model_failed"]
    assert entry["objects"]["failure"] == failure
    assert len(entry["objects"]["model"]) == 64
    assert said in entry["reason"]
    assert ("run" in entry["objects"]) == (what != "dies")  # before a run began there is none to name
    assert cli("verify", imaged / "set").code == 0
    inspected = cli("inspect", imaged / "set", "--json")
    assert inspected.code == 0, inspected.err


def test_where_there_is_no_sandbox_nothing_is_opened(
    imaged: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "opened"
    model = package(tmp_path / "marks", f"open({str(mark)!r}, 'w').close()\n{HONEST}")
    monkeypatch.setattr(launcher, "_examine", lambda: "bubblewrap is not installed")
    before = ledger(imaged)
    common = ("--testset", imaged / "set", "--model", model)
    commands = {
        "run": ("run", imaged / "protocol.yaml", *common, "--out", tmp_path / "run"),
        "predict": ("predict", imaged / "protocol.yaml", *common, "--out", tmp_path / "run"),
        "freeze": ("freeze", imaged / "protocol.yaml", *common, "--out", tmp_path / "frozen"),
        "inspect": ("inspect", model),
    }
    for verb, command in commands.items():
        refused = cli(*command)
        assert refused.code == 2, verb
        assert "there is none here: bubblewrap is not installed" in " ".join(refused.err.split())
        assert "--unsandboxed" in refused.err
    assert not mark.exists()
    assert ledger(imaged) == before
    assert not os.listdir(tmp_path / "run")

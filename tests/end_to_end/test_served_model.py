"""A study whose model is on a server, by the command line: inspect, a failure half way, and going on from there."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from evalsuite.record import ledger
from tests.kserve_server import FakeServer, running

from .conftest import protocol_text

N, BATCH = 300, 32  # two parts of 256 and 44 cases: the first is stored when the server fails
PROBE = 2  # once without the declared activation, to see that it is not applied twice, and once with it
CONTRACT = {
    "schema": "evalsuite/model/1",
    "name": "served",
    "inputs": [{"name": "image", "shape": [3, 8, 8], "colour": "RGB"}],
    "outputs": [{"name": "logits", "meaning": "logits", "activation": "softmax", "classes": ["healthy", "disease"]}],
}


@pytest.fixture(scope="module")
def study(tmp_path_factory, cli) -> Path:
    folder = tmp_path_factory.mktemp("served")
    rng = np.random.default_rng(6)
    rows = ["case_id,patient_id,truth,image"]
    for i in range(N):
        truth = i % 3 == 0
        picture = np.clip(rng.normal(150 if truth else 90, 45, (8, 8, 3)), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{i:03d}.png"), picture)
        rows.append(f"c{i:03d},p{i:03d},{int(truth)},{i:03d}.png")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    (folder / "contract.json").write_text(json.dumps(CONTRACT))
    (folder / "protocol.yaml").write_text(protocol_text(strata=[], disclose=[]))
    done = cli("lock", folder / "cases.csv", "--protocol", folder / "protocol.yaml", "--out", folder / "set")
    assert done.code == 0, done.err
    return folder


def bright(x: np.ndarray) -> np.ndarray:
    mean = x.mean((1, 2, 3)) - 0.45
    return np.stack([-8 * mean, 8 * mean], axis=1).astype(np.float32)


def test_a_server_that_fails_half_way_ends_the_run_with_4_and_the_same_command_goes_on(study, cli):
    with running(FakeServer(predict=bright), grpc=False) as server:
        common = (
            "predict", study / "protocol.yaml", "--testset", study / "set", "--model", server.http, "--contract",
            study / "contract.json", "--batch-size", BATCH, "--out", study / "run",
        )  # fmt: skip
        server.fail_after = PROBE + 256 // BATCH  # the probe, and the batches of the first part
        broken = cli(*common)
        assert broken.code == 4
        assert "answered 500" in broken.err
        entries = ledger.read(study / "set" / "ledger.jsonl")
        failed = [e for e in entries if e.action == "model_failed"]
        assert [e.objects["failure"] for e in failed] == ["remote"]
        server.fail_after = None
        n_before = len(server.seen)
        done = cli(*common)
        assert done.code == 0, done.err
        # probe, the 44 cases left, and one batch again: the first part was not asked for a second time
        assert len(server.seen) - n_before == PROBE + 2 + 1
        inspected = cli("inspect", server.http, "--contract", study / "contract.json", "--json").json()
    assert inspected["executes"].startswith("nothing here")
    model = json.loads((study / "run" / "model.json").read_text())
    assert model["digest"] == inspected["digest"]
    assert "not of its weights" in model["notes"][0]
    scored = cli("score", study / "run")  # needs no server
    assert scored.code == 1, scored.err
    verdict = json.loads((study / "run" / "verdict.json").read_text())
    assert [c["outcome"] for c in verdict["criteria"]] == ["met", "met"]


def test_a_draft_is_written_once_and_a_wrong_address_is_told(study, cli, tmp_path):
    with running(FakeServer(predict=bright), grpc=False) as server:
        assert cli("inspect", server.http, "--draft", tmp_path / "draft.yaml").code == 0
        again = cli("inspect", server.http, "--draft", tmp_path / "draft.yaml")
        assert again.code == 2
        assert "exists already" in again.err
        drafted = cli("inspect", server.http, "--contract", tmp_path / "draft.yaml", "--json").json()
        assert drafted["outputs"] == ["p_class_0", "p_class_1"]
    wrong = cli("inspect", "kserve+http://nowhere")
    assert wrong.code == 2
    assert "names no model" in wrong.err

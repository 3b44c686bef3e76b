"""The engine on CUDA: answers as on the processor within the stated tolerance, the same digest when repeated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from evalsuite.inference.engine import predict
from evalsuite.inference.settings import InferenceSettings
from evalsuite.models.open import open_model
from evalsuite.testset.types import Case, LockedTestSet

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]

CONTRACT = """\
schema: evalsuite/model/1
name: small
task: multiclass
inputs:
  - {name: image, shape: [3, 64, 64], colour: RGB}
outputs:
  - {name: y, activation: softmax, classes: [a, b, c]}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory):
    import cv2

    folder = tmp_path_factory.mktemp("cuda")
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 3), torch.nn.ReLU(), torch.nn.Conv2d(32, 32, 3), torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(), torch.nn.Linear(32, 3),
    ).eval()  # fmt: skip
    with torch.no_grad():
        torch.jit.trace(network, torch.zeros(2, 3, 64, 64)).save(str(folder / "m.ts"))
    (folder / "m.yaml").write_text(CONTRACT)
    rng = np.random.default_rng(2)
    cases = []
    for i in range(150):
        path = folder / f"{i}.png"
        cv2.imwrite(str(path), rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
        cases.append(
            Case(
                case_id=f"c{i}", patient_id=f"c{i}", study_id="", site="", acquired_at="", sample_weight=None,
                images={"image": (path,)},
            )
        )  # fmt: skip
    testset = LockedTestSet(
        path=folder, lock={}, root="0" * 64, digest="0" * 64, set_id="s", version="1", cases=tuple(cases),
        has_images=True,
    )  # fmt: skip
    return open_model(folder / "m.ts", contract=folder / "m.yaml"), testset


def test_cuda_is_the_default_where_present(study, tmp_path: Path):
    found = predict(*study, settings=InferenceSettings(), work=tmp_path)
    record = found.record["inference"]
    assert record["device"].startswith("cuda")
    assert record["device_name"] == torch.cuda.get_device_name(0)
    assert record["rerun"]["bitwise_equal"]


def test_processor_and_accelerator_agree_within_the_policy(study, tmp_path: Path):
    settings = {"batch_size": 16, "shard_size": 64}
    cpu = predict(*study, settings=InferenceSettings(device="cpu", **settings), work=tmp_path / "a").table
    gpu = predict(*study, settings=InferenceSettings(device="cuda", **settings), work=tmp_path / "b").table
    for name in ("p_a", "p_b", "p_c"):
        np.testing.assert_allclose(gpu[name], cpu[name], atol=1e-5)


def test_two_runs_on_one_device_have_one_digest(study, tmp_path: Path):
    digests = {predict(*study, settings=InferenceSettings(), work=tmp_path / str(i)).digest for i in range(2)}
    assert len(digests) == 1

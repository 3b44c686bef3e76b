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


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "tf32"},
        {"precision": "bfloat16"},
        {"precision": "float16"},
        {"memory_format": "channels_last"},
        {"precision": "bfloat16", "memory_format": "channels_last"},
    ],
    ids=str,
)
def test_other_number_formats_are_admitted_within_their_tolerance(study, tmp_path: Path, options):
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    model = open_model(study[1].path / "m.ts", contract=study[1].path / "m.yaml")  # it is changed for good
    found = predict(model, study[1], settings=InferenceSettings(device="cuda", **options), work=tmp_path)
    seen = found.record["inference"]["equivalence"]
    assert 0 <= seen["max_abs_difference"] <= seen["tolerance"]
    assert found.record["inference"]["determinism"]["tf32"] == (options.get("precision") == "tf32")
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before  # as it was


def test_a_batch_the_memory_does_not_hold_is_halved_before_the_first_case(study, tmp_path: Path):
    """Memory is bounded to a share in which the default batch of these images does not fit."""
    contract = study[1].path / "wide.yaml"
    torch.manual_seed(0)
    wide = torch.nn.Sequential(
        torch.nn.Conv2d(3, 2048, 3, padding=1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(2048, 3),
    ).eval()  # fmt: skip
    with torch.no_grad():
        torch.jit.trace(wide, torch.zeros(2, 3, 64, 64)).save(str(study[1].path / "wide.ts"))
    contract.write_text(CONTRACT)
    model = open_model(study[1].path / "wide.ts", contract=contract)
    # one image needs 32 MiB of activations, 64 of them 2 GiB
    share = (torch.cuda.memory_reserved(0) + 3 * 2**29) / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(share, 0)
    try:
        found = predict(model, study[1], settings=InferenceSettings(device="cuda:0", repeat=False), work=tmp_path)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, 0)
    assert found.record["inference"]["batch_size"] < 64
    assert (found.table["status"] == "ok").all()


@pytest.fixture
def sandboxed(study):
    from evalsuite.errors import SandboxUnavailable
    from evalsuite.sandbox.open import open_model as open_sandboxed

    try:
        model = open_sandboxed(study[1].path / "m.ts", contract=study[1].path / "m.yaml")
    except SandboxUnavailable as error:
        pytest.skip(error.message)
    yield model
    model.close()


def test_the_sandbox_computes_the_same_bits_on_the_accelerator(study, sandboxed, tmp_path: Path):
    settings = InferenceSettings(device="cuda:0", batch_size=16, threads=1)
    here = predict(study[0], study[1], settings=settings, work=tmp_path / "here")
    there = predict(sandboxed, study[1], settings=settings, work=tmp_path / "there")
    assert there.record["inference"]["device"] == "cuda:0"
    assert here.digest == there.digest


def test_two_workers_on_one_accelerator_give_the_bytes_of_one(study, sandboxed, tmp_path: Path):
    digests = {
        predict(
            sandboxed, study[1], work=tmp_path / str(n),
            settings=InferenceSettings(device="cuda:0", batch_size=16, threads=1, workers=n),
        ).digest
        for n in (1, 2)
    }  # fmt: skip
    assert len(digests) == 1


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="this machine has no second CUDA device")
def test_every_accelerator_is_used_and_changes_no_byte(study, sandboxed, tmp_path: Path):
    settings = {"batch_size": 16, "threads": 1}
    one = predict(sandboxed, study[1], settings=InferenceSettings(device="cuda:0", **settings), work=tmp_path / "1")
    every = predict(sandboxed, study[1], settings=InferenceSettings(device="cuda", **settings), work=tmp_path / "n")
    assert every.record["inference"]["workers"] == min(torch.cuda.device_count(), 10)
    assert len(every.record["inference"]["devices"]) == every.record["inference"]["workers"]
    assert one.digest == every.digest

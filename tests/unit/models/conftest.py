"""Small packages of one and the same network, in every format."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

CLASSES = ["benign", "malignant"]
CONTRACT = {
    "schema": "evalsuite/model/1",
    "name": "tiny",
    "version": "1.0",
    "inputs": [{"name": "image", "shape": [3, 8, 8], "colour": "RGB", "value_range": [-1, 1]}],
    "outputs": [{"name": "logits", "meaning": "logits", "activation": "softmax", "classes": CLASSES}],
}


class Tiny(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.head = torch.nn.Linear(4, 2)
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(torch.relu(self.conv(image)).mean((2, 3))))


@pytest.fixture(scope="session")
def tiny() -> Tiny:
    torch.manual_seed(7)
    return Tiny().eval()


@pytest.fixture(scope="session")
def packages(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with tiny.ts, tiny.pt2, fixed.pt2 (batch of 2), tiny.onnx bundle/, contract.json."""
    root = tmp_path_factory.mktemp("packages")
    example = torch.zeros(2, 3, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.trace(tiny, example)
        torch.jit.save(script, root / "tiny.ts")
        batch = torch.export.Dim("batch", min=1, max=64)
        torch.export.save(torch.export.export(tiny, (example,), dynamic_shapes=({0: batch},)), root / "tiny.pt2")
        torch.export.save(torch.export.export(tiny, (example,)), root / "fixed.pt2")
        torch.onnx.export(
            tiny, (example,), root / "tiny.onnx", input_names=["image"], output_names=["logits"],
            dynamic_axes={"image": {0: "n"}}, dynamo=False,
        )  # fmt: skip
        bundle = root / "bundle"
        (bundle / "models").mkdir(parents=True)
        (bundle / "configs").mkdir()
        torch.jit.save(script, bundle / "models" / "model.ts")
    (root / "contract.json").write_text(json.dumps(CONTRACT))
    _write_bundle(bundle)
    return root


def _write_bundle(bundle: Path, *, preprocessing: list | None = None, postprocessing: list | None = None) -> None:
    """Metadata and inference configuration of the tiny network."""
    metadata = {
        "version": "1.0",
        "task": "tiny",
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image", "format": "RGB", "num_channels": 3, "spatial_shape": [8, 8], "dtype": "float32",
                    "value_range": [-1, 1], "channel_def": {"0": "R", "1": "G", "2": "B"},
                }
            },
            "outputs": {
                "pred": {"type": "probabilities", "num_channels": 2, "channel_def": {"1": "malignant", "0": "benign"}}
            },
        },
    }  # fmt: skip
    default = [
        {"_target_": "LoadImaged", "keys": "image", "reader": "PILReader", "ensure_channel_first": True},
        {"_target_": "Transposed", "keys": "image", "indices": [0, 2, 1]},
        {
            "_target_": "ScaleIntensityRanged", "keys": "@image_key", "a_min": 0, "a_max": 255, "b_min": -1, "b_max": 1,
        },
    ]  # fmt: skip
    softmax = [{"_target_": "Activationsd", "keys": "pred", "softmax": True}]
    inference = {
        "imports": ["$import os"],
        "image_key": "image",
        "network": "$__import__('os').system('touch hacked')",
        "preprocessing": {"_target_": "Compose", "transforms": default if preprocessing is None else preprocessing},
        "postprocessing": {"_target_": "Compose", "transforms": softmax if postprocessing is None else postprocessing},
    }
    (bundle / "configs").mkdir(parents=True, exist_ok=True)
    (bundle / "configs" / "metadata.json").write_text(json.dumps(metadata))
    (bundle / "configs" / "inference.json").write_text(json.dumps(inference))


@pytest.fixture(scope="session")
def write_bundle():
    """Function that writes the tiny network's metadata and inference configuration into a bundle folder."""
    return _write_bundle


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five 8 × 8 RGB PNG files."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(3)
    paths = []
    for i in range(5):
        path = folder / f"{i}.png"
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
        paths.append(path)
    return paths

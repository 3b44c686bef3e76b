"""Package the trained classifier four times: TorchScript, torch.export, ONNX, MONAI bundle, each with its contract; and
the one that was trained without markers as TorchScript.

    python examples/chest_phantom/package.py

Reads `training/weights.npz`, writes the folders under `models/`. All four give the same probabilities.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import shutil
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
if str(_HERE) not in sys.path:
    sys.path.insert(0, str(_HERE))

import numpy as np  # noqa: E402
import torch  # noqa: E402
import yaml  # noqa: E402
from phantom.network import NoduleNet, Packaged  # noqa: E402

NAME, VERSION = "phantom-nodule", "1.0.0"
TASK = "probability that a chest-radiograph phantom shows a pulmonary nodule"

# What `evalsuite` must know: stored 12-bit values map to 0..1; the output is a probability already.
CONTRACT: dict[str, Any] = {
    "schema": "evalsuite/model/1",
    "name": NAME,
    "version": VERSION,
    "task": TASK,
    "inputs": [
        {
            "name": "image",
            "shape": [1, 256, 256],
            "dtype": "float32",
            "colour": "L",
            "source_range": [0, 4095],
            "value_range": [0.0, 1.0],
            "normalise": "linear",
        }
    ],
    "outputs": [{"name": "nodule", "meaning": "probabilities", "activation": "none", "classes": ["nodule"]}],
}

METADATA: dict[str, Any] = {
    "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
    "version": VERSION,
    "changelog": {VERSION: "first version"},
    "monai_version": "1.5.0",
    "pytorch_version": "2.6.0",
    "numpy_version": "2.0.0",
    "required_packages_version": {},
    "name": NAME,
    "task": TASK,
    "description": "A small residual network trained on simulated chest radiographs; for demonstration only.",
    "authors": "The evalsuite developers",
    "copyright": "The evalsuite developers",
    "intended_use": "Demonstrating a validation study. Never for patients.",
    "image_classes": "simulated chest radiograph, 256 x 256, stored values 0 to 4095, dense tissue bright",
    "label_classes": "one probability: nodule present",
    "network_data_format": {
        "inputs": {
            "image": {
                "type": "image",
                "format": "magnitude",
                "modality": "DX",
                "num_channels": 1,
                "spatial_shape": [256, 256],
                "dtype": "float32",
                "value_range": [0, 1],
                "is_patch_data": False,
                "channel_def": {"0": "image"},
            }
        },
        "outputs": {
            "nodule": {
                "type": "probabilities",
                "format": "classes",
                "num_channels": 1,
                "spatial_shape": [1],
                "dtype": "float32",
                "value_range": [0, 1],
                "is_patch_data": False,
                "channel_def": {"0": "nodule"},
            }
        },
    },
}

# MONAI's readers hand over (columns, rows); the transposition puts rows first again.
INFERENCE: dict[str, Any] = {
    "imports": [],
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Transposed", "keys": "image", "indices": [0, 2, 1]},
            {
                "_target_": "ScaleIntensityRanged",
                "keys": "image",
                "a_min": 0,
                "a_max": 4095,
                "b_min": 0.0,
                "b_max": 1.0,
            },
        ],
    },
    "inferer": {"_target_": "SimpleInferer"},
    "postprocessing": {"_target_": "Compose", "transforms": [{"_target_": "EnsureTyped", "keys": "pred"}]},
}

README = f"""# {NAME} {VERSION}

{TASK.capitalize()}. Trained on simulated images by `examples/chest_phantom/train.py`; for demonstration only, never
for patients.

Input: one channel, 256 x 256, stored values 0 to 4095 mapped to 0..1, dense tissue bright (MONOCHROME1 images are
inverted before). Output: one probability.
"""

LICENSE = """Copyright The evalsuite developers

Licensed under the Apache License, Version 2.0 (the "License"); you may not use this package except in compliance with
the License. You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software distributed under the License is distributed on an
"AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
language governing permissions and limitations under the License.
"""


def load_network(weights: Path) -> NoduleNet:
    """The trained network in evaluation mode. The file holds arrays only, no objects."""
    network = NoduleNet()
    with np.load(weights, allow_pickle=False) as arrays:
        network.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays.files})
    return network.eval()


def _json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _save_script(module: Packaged, path: Path, extra: dict[str, str]) -> None:
    """TorchScript without its debug tables, which name the exporting machine's folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scripted = torch.jit.freeze(torch.jit.trace(module, torch.zeros(2, 1, 256, 256)))
    buffer = io.BytesIO()
    torch.jit.save(scripted, buffer, _extra_files=extra)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            if not name.endswith(".debug_pkl"):
                new.writestr(zipfile.ZipInfo(name.replace("archive/", "model/", 1)), old.read(name))


def torchscript(module: Packaged, path: Path, contract: dict[str, Any] = CONTRACT) -> None:
    """TorchScript with the contract inside."""
    _save_script(module, path, {"evalsuite_contract.json": json.dumps(contract)})


def clean(weights: Path, out: Path) -> None:
    """The classifier that was trained without markers, as TorchScript alone."""
    shutil.rmtree(out, ignore_errors=True)
    with torch.inference_mode(False), torch.no_grad():
        module = Packaged(load_network(weights)).eval()
        torchscript(module, out / "model.ts", {**CONTRACT, "name": f"{NAME}-clean"})


def exported(module: Packaged, path: Path) -> None:
    """torch.export with any batch size, and the contract beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    program = torch.export.export(
        module, (torch.zeros(4, 1, 256, 256),), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},)
    )
    # Neither the example batch (1 MB) nor the exporting machine's source paths belong in the package.
    program._example_inputs = None
    for node in program.graph.nodes:
        for key in ("stack_trace", "source_fn_stack"):
            node.meta.pop(key, None)
    torch.export.save(program, str(path))
    text = yaml.safe_dump(CONTRACT, sort_keys=False, default_flow_style=None)
    (path.parent / "evalsuite-model.yaml").write_text(text, encoding="utf-8")


def onnx(module: Packaged, path: Path) -> None:
    """ONNX with any batch size and the contract in its metadata."""
    import onnx as format_

    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        module, (torch.zeros(4, 1, 256, 256),), str(path), input_names=["image"], output_names=["nodule"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},), external_data=False, dynamo=True,
        verbose=False,
    )  # fmt: skip
    model = format_.load(str(path))
    del model.metadata_props[:]
    for node in model.graph.node:
        # Where each operator came from in the source: of no use here, and it names the exporting machine's folders.
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = "evalsuite_contract", json.dumps(CONTRACT)
    format_.save(model, str(path))


def bundle(module: Packaged, folder: Path) -> None:
    """A MONAI bundle: metadata, inference configuration, network, documentation, licence."""
    _json(folder / "configs" / "metadata.json", METADATA)
    _json(folder / "configs" / "inference.json", INFERENCE)
    _save_script(module, folder / "models" / "model.ts", {})
    (folder / "docs").mkdir(exist_ok=True)
    (folder / "docs" / "README.md").write_text(README, encoding="utf-8")
    (folder / "LICENSE").write_text(LICENSE, encoding="utf-8")


def package(weights: Path, out: Path) -> None:
    """Write all four packages into `out`, replacing what is there."""
    module = Packaged(load_network(weights)).eval()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    for name in ("torchscript", "exported", "onnx", "bundle"):
        shutil.rmtree(out / name, ignore_errors=True)
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        # The exporters warn about their own deprecations and internals.
        warnings.simplefilter("ignore")
        torchscript(module, out / "torchscript" / "model.ts")
        exported(module, out / "exported" / "model.pt2")
        onnx(module, out / "onnx" / "model.onnx")
        bundle(module, out / "bundle")


def main(argv: list[str] | None = None) -> int:
    """Command line of the packager."""
    parser = argparse.ArgumentParser(description="Package the trained classifier in four formats.")
    parser.add_argument("--weights", type=Path, default=_HERE / "training" / "weights.npz")
    parser.add_argument("--out", type=Path, default=_HERE / "models")
    args = parser.parse_args(argv)
    package(args.weights, args.out)
    clean(args.weights.parent / "clean" / "weights.npz", args.out / "clean")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Train the small 3-D segmenter on phantoms of other patients, all from the first scanner, and package it as a bundle.

    python examples/abdomen_ct/abdomen_train.py

Writes `bundle/`, a MONAI bundle with TorchScript inside (0.2 MB), and `training.json`. Seeded; about three
minutes on two cores.
"""

from __future__ import annotations

import argparse
import io
import json
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
from abdomen_phantom import ORGANS, SCANNERS, draw  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

NAME, VERSION = "phantom-abdomen-segmenter", "1.0.0"
SEED, SPACING, ROI = 3001, 4.0, 48
LOW, HIGH = -160.0, 240.0


def _block(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inside, outside, 3, padding=1), nn.InstanceNorm3d(outside, affine=True), nn.LeakyReLU(0.1),
        nn.Conv3d(outside, outside, 3, padding=1), nn.InstanceNorm3d(outside, affine=True), nn.LeakyReLU(0.1),
    )  # fmt: skip


class SmallUNet(nn.Module):
    """A 3-D U-Net at half and a quarter of the size: image (n, 1, x, y, z) from 0 to 1, sizes divisible by 4 → logits
    (n, 3, x, y, z)."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.enter = nn.Conv3d(1, width, 4, stride=2, padding=1)
        self.first, self.second = _block(width, width), _block(width, 2 * width)
        self.back = _block(3 * width, width)
        self.last = nn.Conv3d(width, 1 + len(ORGANS), 1)

    def forward(self, image: Tensor) -> Tensor:
        first = self.first(self.enter(image))
        second = self.second(functional.max_pool3d(first, 2))
        up = functional.interpolate(second, scale_factor=2.0, mode="nearest")
        logit = self.last(self.back(torch.cat([up, first], dim=1)))
        return functional.interpolate(logit, scale_factor=2.0, mode="trilinear", align_corners=False)


def examples(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images (n, 1, x, y, z) and labels (n, x, y, z) of patients on the first scanner, at the network's spacing."""
    made = [draw([seed, i], SCANNERS[0], distance_mm=(SPACING,) * 3) for i in range(n)]
    image = torch.from_numpy(np.stack([m.image for m in made]).astype(np.float32))[:, None]
    return ((image - LOW) / (HIGH - LOW)).clamp(0, 1), torch.from_numpy(np.stack([m.first for m in made]).astype(int))


def fit(*, patients: int, steps: int, seed: int = SEED, verbose: bool = False) -> SmallUNet:
    """Train on random windows: cross-entropy and soft Dice."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = SmallUNet()
    image, label = examples(patients, seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=6e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=6e-3, total_steps=steps)
    for step in range(steps):
        parts = []
        for _ in range(2):
            i = int(rng.integers(len(image)))
            corner = [int(rng.integers(max(n - ROI, 0) + 1)) for n in label.shape[1:]]
            window = tuple(slice(c, c + ROI) for c in corner)
            parts.append((image[(i, slice(None), *window)], label[(i, *window)]))
        batch, truth = (torch.stack(p) for p in zip(*parts, strict=True))
        logit = network(batch)
        share = torch.softmax(logit, dim=1)
        wanted = functional.one_hot(truth, 1 + len(ORGANS)).movedim(-1, 1).float()
        both = (share * wanted).sum(dim=(0, 2, 3, 4))
        dice = (2 * both + 1) / (share.sum(dim=(0, 2, 3, 4)) + wanted.sum(dim=(0, 2, 3, 4)) + 1)
        loss = functional.cross_entropy(logit, truth) + 1 - dice[1:].mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if verbose and step % 50 == 49:
            sys.stderr.write(f"step {step + 1} of {steps}   loss {float(loss.detach()):.4f}\n")
    return network.eval()


METADATA: dict[str, Any] = {
    "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
    "version": VERSION,
    "changelog": {VERSION: "first version"},
    "monai_version": "1.5.0",
    "pytorch_version": "2.6.0",
    "numpy_version": "2.0.0",
    "required_packages_version": {},
    "name": NAME,
    "task": "outlines of liver and left kidney on simulated abdominal CT",
    "description": "A small 3-D U-Net trained on simulated scans; for demonstration only.",
    "authors": "The evalsuite developers",
    "copyright": "The evalsuite developers",
    "intended_use": "Demonstrating a validation study. Never for patients.",
    "network_data_format": {
        "inputs": {
            "image": {
                "type": "image",
                "format": "hounsfield",
                "modality": "CT",
                "num_channels": 1,
                "spatial_shape": [ROI] * 3,
                "dtype": "float32",
                "value_range": [0, 1],
                "is_patch_data": True,
                "channel_def": {"0": "image"},
            }
        },
        "outputs": {
            "pred": {
                "type": "image",
                "format": "segmentation",
                "num_channels": 1 + len(ORGANS),
                "spatial_shape": [ROI] * 3,
                "dtype": "float32",
                "value_range": [0, 1],
                "is_patch_data": True,
                "channel_def": {str(i): name for i, name in enumerate(("background", *ORGANS))},
            }
        },
    },
}
INFERENCE: dict[str, Any] = {
    "imports": [],
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
            {"_target_": "Spacingd", "keys": "image", "pixdim": [SPACING] * 3, "mode": "bilinear"},
            {
                "_target_": "ScaleIntensityRanged",
                "keys": "image",
                "a_min": LOW,
                "a_max": HIGH,
                "b_min": 0.0,
                "b_max": 1.0,
                "clip": True,
            },
        ],
    },
    "inferer": {
        "_target_": "SlidingWindowInferer",
        "roi_size": [ROI] * 3,
        "sw_batch_size": 2,
        "overlap": 0.25,
        "mode": "gaussian",
    },
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {
                "_target_": "Invertd",
                "keys": "pred",
                "transform": "@preprocessing",
                "orig_keys": "image",
                "nearest_interp": True,
            },
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            {"_target_": "SaveImaged", "keys": "pred"},
        ],
    },
}
README = f"""# {NAME} {VERSION}

Outlines of liver and left kidney on simulated abdominal CT. Trained by
`examples/abdomen_ct/abdomen_train.py` on phantoms of one scanner with contrast
medium; for demonstration only, never for patients.

Input: Hounsfield units, RAS, {SPACING:g} mm, {LOW:g} to {HIGH:g} mapped to 0..1.
Output: background, {", ".join(ORGANS)}.
"""


def _json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def bundle(network: SmallUNet, folder: Path) -> None:
    """A MONAI bundle: metadata, inference configuration, network, documentation, licence."""
    _json(folder / "configs" / "metadata.json", METADATA)
    _json(folder / "configs" / "inference.json", INFERENCE)
    (folder / "models").mkdir(parents=True, exist_ok=True)
    (folder / "docs").mkdir(exist_ok=True)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # TorchScript announces its own end
        scripted = torch.jit.freeze(torch.jit.trace(network, torch.zeros(2, 1, ROI, ROI, ROI)))
        buffer = io.BytesIO()
        torch.jit.save(scripted, buffer)
    # Without its debug tables, which name the exporting machine's folders.
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(folder / "models" / "model.ts", "w") as new:
        for name in old.namelist():
            if not name.endswith(".debug_pkl"):
                new.writestr(zipfile.ZipInfo(name.replace("archive/", "model/", 1)), old.read(name))
    (folder / "docs" / "README.md").write_text(README, encoding="utf-8")
    licence = _HERE.parent / "chest_phantom" / "models" / "bundle" / "LICENSE"
    (folder / "LICENSE").write_text(licence.read_text(encoding="utf-8"), encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    """Command line of the training."""
    parser = argparse.ArgumentParser(description="Train and package the demonstration segmenter.")
    parser.add_argument("--out", type=Path, default=_HERE / "bundle")
    parser.add_argument("--patients", type=int, default=24)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    network = fit(patients=args.patients, steps=args.steps, verbose=args.verbose)
    bundle(network, args.out)
    record = {
        "seed": SEED,
        "patients": args.patients,
        "steps": args.steps,
        "scanner": SCANNERS[0].manufacturer,
        "parameters": sum(p.numel() for p in network.parameters()),
    }
    _json(args.out.parent / "training.json", record)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""A study with a packaged model: images, a small network that takes its time, and the commands that run it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml

from tests.campaigns.study import PROTOCOL

SIDE = 16
CONTRACT = f"""\
schema: evalsuite/model/1
name: slow mean
task: binary
inputs:
  - {{name: image, shape: [1, {SIDE}, {SIDE}], colour: L}}
outputs:
  - {{name: y, activation: sigmoid, classes: [disease]}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedStudy:
    """Where the parts lie."""

    folder: Path

    @property
    def testset(self) -> Path:
        return self.folder / "testset"

    @property
    def model(self) -> Path:
        return self.folder / "model.ts"

    @property
    def protocol(self) -> Path:
        return self.folder / "protocol.yaml"

    @property
    def contract(self) -> Path:
        return self.folder / "model.yaml"

    def lock(self) -> tuple[str, ...]:
        """Arguments of `evalsuite lock`."""
        cases, out = str(self.folder / "cases.csv"), str(self.testset)
        return ("lock", cases, "--protocol", str(self.protocol), "--out", out)

    def run(self, name: str, *more: str) -> tuple[str, ...]:
        """Arguments of `evalsuite run` into the folder `name`, on the processor with one thread."""
        bound = ("--testset", str(self.testset), "--model", str(self.model), "--contract", str(self.contract))
        how = ("--device", "cpu", "--threads", "1", "--batch-size", "32")
        return ("run", str(self.protocol), *bound, *how, "--out", str(self.folder / name), *more)


def make_packaged_study(folder: Path, *, cases: int, loops: int) -> PackagedStudy:
    """Write images, case table, package and protocol: the same bytes every time. `loops` sets the time per batch."""
    import torch

    class Slow(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.work = torch.nn.Conv2d(8, 8, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x.expand(-1, 8, -1, -1)
            for _ in range(loops):
                y = torch.tanh(self.work(y))
            return ((x.mean(dim=(1, 2, 3)) - 0.5) * 40 + 0.01 * y.mean(dim=(1, 2, 3))).unsqueeze(1)

    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(5)
    rows = ["case_id,patient_id,image,truth,sex"]
    for i in range(cases):
        truth = i % 2
        level = 128 + (18 if truth else -18) + 12 * rng.standard_normal()
        image = np.clip(level + 20 * rng.standard_normal((SIDE, SIDE)), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"images/{i:06d}.png"), image)
        rows.append(f"c{i:06d},p{i:06d},images/{i:06d}.png,{truth},{'female' if i % 4 < 2 else 'male'}")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    torch.manual_seed(0)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.jit.trace(Slow().eval(), torch.zeros(2, 1, SIDE, SIDE)).save(str(folder / "model.ts"))
    (folder / "model.yaml").write_text(CONTRACT)
    (folder / "protocol.yaml").write_text(yaml.safe_dump(PROTOCOL, sort_keys=False))
    return PackagedStudy(folder=folder)

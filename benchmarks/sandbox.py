"""What the sandbox costs: starting it, one question and its answer, and images per second beside the same process.

    python -P benchmarks/sandbox.py | tee benchmarks/results/sandbox.md

Sandboxed and unsandboxed batches alternate, so that a busy machine slows both; processor time, of both processes
together, says what the sandbox costs whatever else the machine does.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from evalsuite.models import open as in_process
from evalsuite.models.determinism import deterministic
from evalsuite.models.preprocess import normalise
from evalsuite.sandbox.launcher import Box, launch, require_bubblewrap
from evalsuite.sandbox.open import open_model
from evalsuite.sandbox.watch import tree

BATCH = 16
ROUNDS = 9
CONTRACT = {
    "schema": "evalsuite/model/1",
    "name": "net",
    "inputs": [{"name": "image", "shape": [3, 224, 224], "colour": "RGB"}],
    "outputs": [{"name": "y", "meaning": "logits", "activation": "softmax", "classes": ["a", "b"]}],
}


def package(folder: Path, network: torch.nn.Module) -> Path:
    """A TorchScript package of the network."""
    folder.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(network.eval(), torch.zeros(2, 3, 224, 224)).save(str(folder / "net.ts"))
    (folder / "evalsuite-model.json").write_text(json.dumps(CONTRACT))
    return folder


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def median_ms(action: Callable[[], object], rounds: int = ROUNDS) -> float:
    return 1e3 * statistics.median(seconds(action) for _ in range(rounds))


def processor_seconds(root: int | None = None) -> float:
    """Processor time of this process, and of the processes below `root`."""
    ticks = 0
    for process in tree(root) if root is not None else ():
        fields = (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Medians of wall and processor ms of a batch, and whether both sides gave the same bits."""

    here: tuple[float, float]
    boxed: tuple[float, float]
    same: bool


def side_by_side(folder: Path) -> Cost:
    """A batch in this process and in the sandbox."""
    rng = np.random.default_rng(0)
    here, boxed = in_process.open_model(folder), open_model(folder)
    boxed = boxed.with_threads(1)
    spec = here.contract.inputs[0]
    buffer = boxed.allocate((BATCH, 3, 224, 224), np.uint8)
    buffer[:] = rng.integers(0, 256, buffer.shape, dtype=np.uint8)

    def in_this() -> dict[str, np.ndarray]:
        with torch.inference_mode():
            return here.predict({"image": normalise(torch.from_numpy(buffer), spec)})

    def in_box() -> dict[str, np.ndarray]:
        return boxed.predict_stored({"image": buffer})

    with deterministic(seed=0, threads=1):
        same = all(np.array_equal(a, b) for a, b in zip(in_this().values(), in_box().values(), strict=True))
        times: dict[str, list[tuple[float, float]]] = {"here": [], "boxed": []}
        for _ in range(ROUNDS):
            for name, action, root in (("here", in_this, None), ("boxed", in_box, boxed.process.init)):
                before = processor_seconds(root)
                wall = seconds(action)
                times[name].append((wall, processor_seconds(root) - before))
    boxed.close()
    medians = {
        name: tuple(1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
        for name, pairs in times.items()
    }
    return Cost(here=medians["here"], boxed=medians["boxed"], same=same)


def main() -> None:
    sandbox = require_bubblewrap()
    python = [sys.executable, "-S", "-c", "pass"]

    def boxed() -> None:
        started = launch(python, Box(accelerator=False), sandbox=sandbox)
        started.output.read()
        started.output.close()
        started.process.wait()

    bare_ms, boxed_ms = median_ms(lambda: subprocess.run(python, check=True)), median_ms(boxed)
    from monai.networks.nets import DenseNet121

    class Mean(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image[:, :2, 0, 0]

    rows = []
    with tempfile.TemporaryDirectory() as base:
        made: dict[str, torch.nn.Module] = {
            "a model that does nothing": Mean(),
            "DenseNet121": DenseNet121(spatial_dims=2, in_channels=3, out_channels=2),
        }
        for name, network in made.items():
            torch.manual_seed(0)
            rows.append((name, side_by_side(package(Path(base) / str(len(rows)), network))))
    load = os.getloadavg()[0]
    print("# Cost of the sandbox\n")
    print(f"bubblewrap {sandbox.version}, one thread, batches of {BATCH} images of 224 × 224 × 3 in shared memory;")
    print(f"medians of {ROUNDS} alternating rounds, at a load of {load:.1f} on {os.cpu_count()} cores.\n")
    print("| | in this process | in the sandbox | |\n|---|---|---|---|")
    print(f"| start of Python | {bare_ms:.0f} ms | {boxed_ms:.0f} ms | + {boxed_ms - bare_ms:.0f} ms, once |")
    for name, cost in rows:
        bits = "same bits" if cost.same else "OTHER BITS"
        for what, here, there in zip(("wall time", "processor time"), cost.here, cost.boxed, strict=True):
            print(f"| batch, {name}, {what} | {here:.1f} ms | {there:.1f} ms | {there / here:.2f} times, {bits} |")


if __name__ == "__main__":
    main()

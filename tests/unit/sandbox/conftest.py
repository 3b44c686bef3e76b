"""The sandbox of this machine, and small programs to put into it; skipped where there is no sandbox."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from evalsuite.errors import SandboxUnavailable
from evalsuite.sandbox.launcher import Box, Bubblewrap, require_bubblewrap
from evalsuite.sandbox.policy import Limits
from evalsuite.sandbox.process import ChildProcess

CONTRACT = {
    "schema": "evalsuite/model/1",
    "name": "tiny",
    "inputs": [{"name": "image", "shape": [3, 8, 8], "colour": "RGB", "value_range": [-1, 1]}],
    "outputs": [{"name": "logits", "meaning": "logits", "activation": "softmax", "classes": ["benign", "malignant"]}],
}
#: Serves `open`, `forward` and more with what /package/program.py defines, without importing torch.
PROGRAM = """
import json, sys
sys.path[:0] = json.loads(sys.argv[2])
from evalsuite.sandbox import child
import runpy
own = runpy.run_path("/package/program.py")
child.serve(int(sys.argv[1]), {"limit": child.OPERATIONS["limit"], **own["OPERATIONS"]})
"""


@pytest.fixture(scope="session")
def bubblewrap() -> Bubblewrap:
    try:
        return require_bubblewrap()
    except SandboxUnavailable as error:
        pytest.skip(error.message)


@pytest.fixture
def start(bubblewrap: Bubblewrap, tmp_path: Path) -> Iterator[Callable[..., ChildProcess]]:
    """Start a program (Python text that defines functions (state, asked) → (answer, bytes)) in the sandbox."""
    started: list[ChildProcess] = []

    def run(text: str, **limits: object) -> ChildProcess:
        folder = tmp_path / f"package-{len(started)}"
        folder.mkdir()
        (folder / "program.py").write_text(text)
        box = Box(read_only={folder: Path("/package")}, accelerator=False, limits=Limits(**limits))
        started.append(ChildProcess(box, name="hostile", program=PROGRAM))
        return started[-1]

    yield run
    for process in started:
        process.close()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with tiny.ts, a TorchScript package, and its contract."""
    import torch

    torch.manual_seed(7)
    layers = torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    network = torch.nn.Sequential(*layers).eval()
    folder = tmp_path_factory.mktemp("tiny")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(network, torch.zeros(2, 3, 8, 8)).save(str(folder / "tiny.ts"))
    (folder / "evalsuite-model.json").write_text(json.dumps(CONTRACT))
    return folder


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)

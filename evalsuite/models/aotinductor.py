"""AOTInductor packages (.pt2 with a compiled library): native code for one kind of device and processor."""

from __future__ import annotations

import json
import platform
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evalsuite.errors import ModelLoadError, ModelRunError
from evalsuite.models.base import tensors_of
from evalsuite.models.glance import DAMAGED_ZIP
from evalsuite.models.quiet import without_warnings

CONTRACT_FILE = "extra/evalsuite_contract.json"
NOTE = "AOTInductor: the package holds native code, compiled for {device} ({where}); it was loaded as a library."
_MOST = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class AotNetwork:
    """A compiled library, bound to the kind of device it was compiled for. It checks no shapes: the contract does."""

    runner: Any
    path: Path
    kind: str
    device: str = "cpu"
    batch_limits: tuple[int, int | None] = (1, None)

    def run(self, inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        return tensors_of(self.runner.run(list(inputs)))

    def to(self, device: str) -> AotNetwork:
        if device.split(":")[0] != self.kind:
            raise ModelRunError(
                f"{self.path.name} was compiled for {self.kind} and cannot run on {device}",
                hint=f"Set device: {self.kind}, or compile the model for the other device.",
            )
        index = int(device.partition(":")[2] or 0) if self.kind == "cuda" else -1
        return AotNetwork(runner=_runner(self.path, index), path=self.path, kind=self.kind, device=device)

    def with_threads(self, threads: int) -> AotNetwork:
        return self


def load(path: Path) -> tuple[AotNetwork, bytes | None, tuple[str, ...]]:
    """Load the library of a package.

    Returns
    -------
    network, contract, notes
        `contract` is the package's own `extra/evalsuite_contract.json`, where it has one.

    Raises
    ------
    ModelLoadError
        If it was compiled for another processor or system, or cannot be loaded.
    """
    facts, contract = _read(path)
    found = {"AOTI_MACHINE": platform.machine(), "AOTI_PLATFORM": platform.system().lower()}
    for key, here in found.items():
        if facts.get(key) not in (None, "", here):
            raise ModelLoadError(
                f"{path.name} was compiled for {facts[key]}, this machine is {here}",
                hint="Compile it here with torch._inductor.aoti_compile_and_package, or give the torch.export package.",
            )
    kind = str(facts.get("AOTI_DEVICE_KEY") or "cpu")
    where = " ".join(str(facts[key]) for key in ("AOTI_MACHINE", "AOTI_CPU_ISA") if facts.get(key)) or "unknown machine"
    network = AotNetwork(runner=_runner(path, -1), path=path, kind=kind, device=kind)
    return network, contract, (NOTE.format(device=kind, where=where),)


def _runner(path: Path, index: int) -> Any:
    try:
        with without_warnings():
            # aoti_load_package ends here too, after importing a compiler that looks for programs to start
            return torch._C._aoti.AOTIModelPackageLoader(str(path), "model", False, 1, index)
    except Exception as error:  # torch's loader raises whatever the damaged or foreign library led to
        raise ModelLoadError(
            f"{path.name} cannot be loaded as AOTInductor package ({type(error).__name__}): damaged, or compiled for "
            "another torch, processor or device",
            hint=f"This is torch {torch.__version__}.",
        ) from None


def _read(path: Path) -> tuple[dict[str, Any], bytes | None]:
    """What the package says of the machine it was compiled for, and its own contract."""
    facts: dict[str, Any] = {}
    contract = None
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                inner = member.filename.split("/", 1)[-1]
                if member.file_size > _MOST:
                    continue
                if inner == CONTRACT_FILE:
                    contract = archive.read(member)
                elif inner.startswith("data/aotinductor/") and inner.endswith("_metadata.json"):
                    facts |= json.loads(archive.read(member))
    except (*DAMAGED_ZIP, TypeError):  # TypeError: JSON that is no mapping
        raise ModelLoadError(f"{path.name} is damaged: its description cannot be read") from None
    return facts, contract

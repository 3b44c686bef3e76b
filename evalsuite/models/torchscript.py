"""TorchScript packages (.ts, .pt): still common, deprecated upstream, and the report says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evalsuite.errors import ModelLoadError
from evalsuite.models.base import tensors_of
from evalsuite.models.quiet import without_warnings

NOTE = "TorchScript is deprecated upstream; torch.export (.pt2) and ONNX are its successors."
EXTRA_FILES = ("evalsuite_contract.json", "metadata.json", "inference.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchScriptNetwork:
    """A TorchScript module in evaluation mode."""

    module: Any
    device: str = "cpu"
    batch_limits: tuple[int, int | None] = (1, None)

    def run(self, inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        return tensors_of(self.module(*inputs))

    def to(self, device: str) -> TorchScriptNetwork:
        return TorchScriptNetwork(module=self.module.to(torch.device(device)), device=device)

    def with_threads(self, threads: int) -> TorchScriptNetwork:
        return self


def load(path: Path) -> tuple[TorchScriptNetwork, Mapping[str, bytes]]:
    """Load a TorchScript package on the processor.

    Returns
    -------
    network, extra
        The network, and those of the files `EXTRA_FILES` that the package carries inside.

    Raises
    ------
    ModelLoadError
        If the file is damaged, or written by a torch this one cannot read.
    """
    extra: dict[str, Any] = dict.fromkeys(EXTRA_FILES, "")
    try:
        with without_warnings():
            module = torch.jit.load(  # type: ignore[no-untyped-call]
                str(path), map_location="cpu", _extra_files=extra
            )
            module.eval()
    except Exception as error:  # torch's C++ side raises whatever its parser met
        raise ModelLoadError(
            f"{path.name} cannot be loaded as TorchScript ({type(error).__name__}): damaged, or from another torch "
            "version",
            hint=f"This is torch {torch.__version__}.",
        ) from None
    found = {name: content if isinstance(content, bytes) else content.encode() for name, content in extra.items()}
    return TorchScriptNetwork(module=module), {name: content for name, content in found.items() if content}

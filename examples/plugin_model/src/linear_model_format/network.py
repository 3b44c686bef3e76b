"""The network behind a linear .npz package, and how one is written."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evalsuite.errors import ModelLoadError
from evalsuite.models.contract import parse_contract
from evalsuite.models.formats import Loaded, Located, Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """weight (classes, channels, rows, columns) and bias (classes,): one logit per class."""

    weight: torch.Tensor
    bias: torch.Tensor
    batch_limits: tuple[int, int | None] = (1, None)

    def run(self, inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        (image,) = inputs
        return [image.flatten(1) @ self.weight.flatten(1).T + self.bias]

    def to(self, device: str) -> Linear:
        return Linear(weight=self.weight.to(device), bias=self.bias.to(device))

    def with_threads(self, threads: int) -> Linear:
        return self


def load(located: Located, *, translate: bool) -> Loaded:
    """Read the arrays, without pickle; ModelLoadError says what is wrong with them."""
    name = located.path.name
    try:
        with np.load(located.path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ModelLoadError(f"{name} cannot be read as arrays ({type(error).__name__})") from None
    weight, bias = arrays["weight"], arrays["bias"]
    if weight.ndim != 4 or bias.shape != weight.shape[:1] or weight.dtype.kind != "f":
        raise ModelLoadError(f"{name} has weight {list(weight.shape)} and bias {list(bias.shape)}, which do not fit")
    text = bytes(arrays["contract"]).decode() if "contract" in arrays else None
    return Loaded(
        network=Linear(weight=torch.from_numpy(weight).float(), bias=torch.from_numpy(bias).float()),
        contract=parse_contract(text, where=f"inside {name}") if text and translate else None,
        signature=Signature(inputs={"image": (None, *weight.shape[1:])}, outputs={"logits": (None, len(bias))}),
    )


def save(path: Path, *, weight: np.ndarray, bias: np.ndarray, contract: Mapping[str, Any]) -> None:
    """Write a package that carries its own contract."""
    text = np.frombuffer(json.dumps(contract).encode(), dtype=np.uint8)
    np.savez(path, weight=weight, bias=bias, contract=text)

"""From what a network gives to named columns: the activation the contract names, then one column per class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from evalsuite.errors import ModelRunError
from evalsuite.models.contract import Contract, OutputSpec

_SLACK = 1e-3  # half precision rounds a probability of 1 to at most 1.0005


def to_columns(outputs: Sequence[torch.Tensor], contract: Contract, *, n: int) -> dict[str, NDArray[np.float64]]:
    """Turn a batch's output tensors, in the order of the contract, into columns of `n` float64 values each.

    Values that are not finite pass through; the engine counts those cases as failed.

    Raises
    ------
    ModelRunError
        If the number of outputs or a shape is not the contract's, or what should be a probability is none.
    """
    if len(outputs) != len(contract.outputs):
        raise ModelRunError(
            f"the model gives {len(outputs)} outputs, its contract names {len(contract.outputs)}: "
            + ", ".join(o.name for o in contract.outputs)
        )
    columns: dict[str, NDArray[np.float64]] = {}
    for tensor, spec in zip(outputs, contract.outputs, strict=True):
        if spec.columns:
            columns.update(_columns(tensor, spec, n))
    if not columns:
        raise ModelRunError("the model's contract has no output of one number per case, only masks")
    return columns


def _columns(tensor: torch.Tensor, spec: OutputSpec, n: int) -> dict[str, NDArray[np.float64]]:
    k = len(spec.columns)
    shape = tuple(tensor.shape)
    flat = tensor.reshape(n, -1) if n and shape[:1] == (n,) else tensor
    if tuple(flat.shape) != (n, k) or any(size != 1 for size in shape[2:]):
        raise ModelRunError(
            f"output {spec.name} has shape {list(shape)} for {n} cases, "
            f"the contract says [{n}, {k}]: {', '.join(spec.columns)}"
        )
    values = flat.to(torch.float32) if flat.dtype in (torch.float16, torch.bfloat16) else flat
    if spec.activation == "softmax":
        values = torch.softmax(values, dim=1)
    elif spec.activation == "sigmoid":
        values = torch.sigmoid(values)
    array = values.detach().to("cpu", torch.float64).numpy()
    if spec.meaning == "probabilities":
        finite = array[np.isfinite(array)]
        if finite.size and (finite.min() < -_SLACK or finite.max() > 1 + _SLACK):
            raise ModelRunError(
                f"output {spec.name} is declared as probabilities but leaves 0..1",
                hint="Declare its activation (softmax or sigmoid), or meaning: logits, in the model's contract.",
            )
    return {column: np.ascontiguousarray(array[:, i]) for i, column in enumerate(spec.columns)}

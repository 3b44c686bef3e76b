"""From what a network gives to named columns and masks: the activation the contract names, then classes or labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from evalsuite.errors import ModelRunError
from evalsuite.models.contract import Contract, OutputSpec
from evalsuite.models.contract_volumes import NO_LABEL

_SLACK = 1e-3  # half precision rounds a probability of 1 to at most 1.0005


def to_outputs(outputs: Sequence[torch.Tensor], contract: Contract, *, n: int) -> dict[str, NDArray[Any]]:
    """Turn a batch's output tensors, in the order of the contract, into columns and masks.

    Returns
    -------
    dict
        Column name to (n,) float64, and the name of each mask output to its labels, uint8: (n, *spatial), or
        (n, class, *spatial) of 0 and 1 where it is decided by threshold. Values that are not finite pass through in
        columns, and make a mask of nothing but `NO_LABEL`; the engine counts those cases as failed.

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
    found: dict[str, NDArray[Any]] = {}
    for tensor, spec in zip(outputs, contract.outputs, strict=True):
        if spec.meaning == "mask":
            found[spec.name] = _labels(tensor, spec, n, n_spatial=len(contract.grid_of(spec).spatial))
        else:
            found.update(_columns(tensor, spec, n))
    return found


def _labels(tensor: torch.Tensor, spec: OutputSpec, n: int, *, n_spatial: int) -> NDArray[np.uint8]:
    values = tensor.to(torch.float32) if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
    shape, k = tuple(tensor.shape), len(spec.classes)
    channels = 1 if spec.decided == "labels" else k
    if spec.decided == "labels" and len(shape) == n_spatial + 1:
        values = values[:, None]
    if len(values.shape) != n_spatial + 2 or tuple(values.shape[:2]) != (n, channels):
        raise ModelRunError(
            f"output {spec.name} has shape {list(shape)} for {n} cases; the contract says a mask of {channels} "
            f"channel{'s' * (channels != 1)} and {n_spatial} spatial sizes: {', '.join(spec.classes)}"
        )
    each = tuple(range(1, values.ndim))
    finite = torch.isfinite(values).flatten(1).all(dim=1) if values.is_floating_point() else None
    if spec.decided == "argmax":  # neither softmax nor sigmoid changes which one is largest
        labels = values.argmax(dim=1).to(torch.uint8)
    elif spec.decided == "threshold":
        assert spec.threshold is not None, "the contract was checked"
        labels = ((torch.sigmoid(values) if spec.activation == "sigmoid" else values) >= spec.threshold).to(torch.uint8)
    else:
        labels = _whole_numbers(values[:, 0], spec, finite, k)
    if finite is not None and not bool(finite.all()):
        labels[~finite] = NO_LABEL
    assert labels.ndim == (len(each) + 1 if spec.decided == "threshold" else len(each))
    return np.ascontiguousarray(labels.cpu().numpy())


def _whole_numbers(values: torch.Tensor, spec: OutputSpec, finite: torch.Tensor | None, k: int) -> torch.Tensor:
    sound = values if finite is None else values[finite]
    if sound.numel() and (float(sound.min()) < 0 or float(sound.max()) > k - 1 or bool((sound != sound.round()).any())):
        raise ModelRunError(
            f"output {spec.name} is declared as labels, but is not made of whole numbers from 0 to {k - 1}",
            hint="Declare how the mask is decided (argmax or threshold) in the model's contract.",
        )
    return torch.nan_to_num(values).clamp(0, NO_LABEL).to(torch.uint8)


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
    before = values
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
    found = {column: np.ascontiguousarray(array[:, i]) for i, column in enumerate(spec.columns)}
    if spec.keep_logits:
        kept = before.detach().to("cpu", torch.float64).numpy()
        found |= {column: np.ascontiguousarray(kept[:, i]) for i, column in enumerate(spec.kept_columns)}
    return found

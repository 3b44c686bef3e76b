"""One forward pass: images to the device, normalised there, through the model, and back as named columns of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evalsuite.errors import EvalsuiteError, ModelRunError
from evalsuite.inference.device import Upload, is_out_of_memory
from evalsuite.inference.hooks import Hooks


class OutOfMemory(Exception):
    """The device's memory does not hold this batch; caught by the run, which then halves it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """What a model said of a batch of n: column → (n,) float64; mask output → labels (n, …) uint8 as the model's grid.

    See `evalsuite.models.postprocess.to_outputs`.
    """

    columns: Mapping[str, np.ndarray]
    masks: Mapping[str, np.ndarray]


def forward(
    model: Any,
    batch: Mapping[str, np.ndarray] | Upload,
    hooks: Hooks,
    *,
    device: str,
) -> Outputs:
    """Named columns for a batch, each (n,) float64, and masks.

    Raises
    ------
    OutOfMemory
        If memory ran out.
    ModelRunError
        If the model raised, or gave something else than one number per case and column, and a label per voxel of each
        mask. The message names the kind of
        error, never the data.
    """
    import torch

    upload = batch if isinstance(batch, Upload) else Upload(batch, device=device)
    n = upload.n
    try:
        if hooks.as_contract and getattr(model, "takes_stored", False):
            found = model.predict_stored(upload.stored())
        else:
            with torch.inference_mode():
                tensors = {name: hooks.normalise(name, tensor) for name, tensor in upload.tensors().items()}
                found = model.predict(tensors)
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory from error
        if isinstance(error, EvalsuiteError):
            raise
        raise ModelRunError(
            f"the model {model.name} failed with {type(error).__name__}",
            hint="Run the package on one image outside the suite, or look into logs/ for the error's own text.",
        ) from error
    masks = {o.name: np.asarray(found.pop(o.name)) for o in model.contract.masks if o.name in found}
    columns = {name: np.asarray(values, dtype=np.float64) for name, values in found.items()}
    wrong = [name for name, values in columns.items() if values.shape != (n,)]
    if wrong or not (columns or masks):
        shapes = ", ".join(f"{name} {columns[name].shape}" for name in wrong) or "no output at all"
        raise ModelRunError(
            f"the model {model.name} gave {shapes} for a batch of {n}; one number per case and column is expected",
            hint="Check the outputs in the model's contract.",
        )
    unlike = [name for name, labels in masks.items() if labels.dtype != np.uint8 or labels.shape[:1] != (n,)]
    if unlike:
        raise ModelRunError(f"the model {model.name} gave no mask per case as {', '.join(unlike)}")
    return Outputs(columns=columns, masks=masks)

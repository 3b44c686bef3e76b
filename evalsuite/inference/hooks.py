"""How a case becomes the model's input: which image columns are read, and how they are prepared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evalsuite.errors import ContractError, ImageError

if TYPE_CHECKING:
    import torch

    from evalsuite.testset.types import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """The two halves of preparing an input, split where the data goes to the device.

    `read` decodes a case on the host and keeps integers (name → (channel, *spatial)); `normalise` turns a batch of one
    input, already on the device, into what the model's network expects. `ahead` is told of cases some batches before
    they are read. `decoding` names everything that decides what `read` gives for a file, so that it can be cached; None
    where that is not known.
    """

    read: Callable[[Case], Mapping[str, np.ndarray]]
    normalise: Callable[[str, torch.Tensor], torch.Tensor]
    ahead: Callable[[Sequence[Case]], None] | None = None
    decoding: Mapping[str, Any] | None = None


def bind_inputs(contract: Any, cases: Sequence[Case]) -> dict[str, str]:
    """Input name → image column of the case table.

    A model with one input takes the only image column, whatever the two are called.

    Raises
    ------
    ContractError
        If the set has no images, or an input has no column of its name.
    """
    columns = list(dict.fromkeys(column for case in cases for column in case.images))
    names = [spec.name for spec in contract.inputs]
    if not columns:
        raise ContractError(
            f"the model reads images (inputs {', '.join(names)}), but the test set has no image column",
            hint="Lock a case table with an image column, or evaluate recorded predictions.",
        )
    if len(names) == 1 and len(columns) == 1:
        return {names[0]: columns[0]}
    missing = [name for name in names if name not in columns]
    if missing:
        raise ContractError(
            f"the model expects the inputs {', '.join(names)}; the test set has the image columns {', '.join(columns)}",
            hint=f"Name the image columns after the inputs; without a column: {', '.join(missing)}.",
        )
    return {name: name for name in names}


def default_hooks(model: Any, binding: Mapping[str, str]) -> Hooks:
    """Hooks that read with `evalsuite.imaging` and prepare as the model's contract says."""
    from evalsuite.imaging import read_image
    from evalsuite.inference.readahead import read_ahead
    from evalsuite.models.preprocess import normalise, prepare

    specs = {spec.name: spec for spec in model.contract.inputs}

    def read(case: Case) -> dict[str, np.ndarray]:
        found = {}
        for name, column in binding.items():
            paths = case.images.get(column, ())
            if len(paths) != 1:
                code = "no image" if not paths else "several files"
                raise ImageError(
                    f"case {case.case_id} has {len(paths)} files in column {column}, 1 expected", code=code
                )
            found[name] = prepare(read_image(paths[0], spec=specs[name]), specs[name])
        return found

    decoding = {"binding": dict(binding), "inputs": {n: spec.model_dump(mode="json") for n, spec in specs.items()}}
    return Hooks(
        read=read,
        normalise=lambda name, tensor: normalise(tensor, specs[name]),
        ahead=read_ahead,
        decoding=decoding,
    )

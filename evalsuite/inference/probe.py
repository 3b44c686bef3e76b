"""Before the first case: does this model fit this test set, and does it give what its contract says?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalsuite.errors import ContractError, ImageError, ModelRunError
from evalsuite.inference.decoders import read_one
from evalsuite.inference.hooks import Hooks
from evalsuite.inference.step import OutOfMemory, forward

if TYPE_CHECKING:
    from evalsuite.testset.types import Case

N_PROBED = 8
SUM_TOLERANCE = 1e-3
RANGE_TOLERANCE = 1e-6
# Codes with which reading says that the image is sound and the contract does not fit it.
MISFIT_CODES = frozenset(("channels", "size", "range", "window", "multiframe", "series", "orientation", "spacing"))
_FIT = "Correct the model's contract, or lock the images the model was made for."


def probe(model: Any, cases: Sequence[Case], hooks: Hooks, *, device: str) -> tuple[str, ...]:
    """Output names of the model, after trying up to 8 evenly spaced cases.

    Empty where not one of the tried cases could be read (the run then tells which cases can be).

    Raises
    ------
    ContractError
        If every tried case misses the shape the contract states.
    ModelRunError
        If the model fails, or (`failure` contract) its outputs are not what the contract declares: their names,
        probabilities within [0, 1] that sum to 1, an activation on values that already are probabilities.
    """
    readable = [inputs for _, inputs in _read(model.contract, cases, hooks)]
    if not readable:
        return ()
    kind = {name: (array.shape, array.dtype) for name, array in readable[0].items()}
    alike = [inputs for inputs in readable if {n: (a.shape, a.dtype) for n, a in inputs.items()} == kind]
    batch = {name: np.stack([inputs[name] for inputs in alike]) for name in kind}
    _check_activation(model, batch, hooks, device=device)
    try:
        found = forward(model, batch, hooks, device=device)
    except ModelRunError as error:
        if error.__cause__ is not None or error.failure != "error":  # the model crashed, was ended, or is out of reach
            raise
        raise ModelRunError(
            f"the model {model.name} does not keep its contract: {error.message}",
            hint=error.hint or "Correct the contract.",
            failure="contract",
        ) from error
    check_outputs(model.contract, found.columns, name=model.name)
    return tuple(model.contract.columns)


def fitting_batch(model: Any, cases: Sequence[Case], hooks: Hooks, *, device: str, batch_size: int) -> int:
    """The batch size, halved until memory holds a batch of it; made of one readable case over and over.

    It is found before the first case, so that a run need not start over, and a device has warmed up by then. Where no
    case can be read, or not even one fits, the size is left to the run.
    """
    readable = _read(model.contract, cases, hooks)
    if not readable:
        return batch_size
    fits = min(batch_size, len(cases))
    while fits > 1:
        batch = {name: np.repeat(array[np.newaxis], fits, axis=0) for name, array in readable[0][1].items()}
        try:
            forward(model, batch, hooks, device=device)
        except OutOfMemory:
            batch_size = fits = fits // 2
            continue
        break
    return batch_size


def probed(contract: Any, cases: Sequence[Case], hooks: Hooks) -> tuple[int, ...]:
    """Positions of up to 8 evenly spaced cases that can be read and fit the contract.

    Raises
    ------
    ContractError
        If every tried case misses what the contract states.
    """
    return tuple(i for i, _ in _read(contract, cases, hooks))


def _read(contract: Any, cases: Sequence[Case], hooks: Hooks) -> list[tuple[int, Mapping[str, np.ndarray]]]:
    most = 1 if contract.is_volume else N_PROBED  # one volume may fill the memory, and takes long enough
    index = np.unique(np.linspace(0, len(cases) - 1, min(N_PROBED, len(cases))).round().astype(int))
    readable: list[tuple[int, Mapping[str, np.ndarray]]] = []
    misfits: list[str] = []
    codes: Counter[str] = Counter()
    for i in index:
        if len(readable) == most:
            break
        inputs, code = read_one(hooks.read, cases[i])
        if inputs is None:
            codes[code or ""] += 1
            if code in MISFIT_CODES:
                misfits.append(_message(hooks, cases[i]))
        elif wrong := shape_faults(contract, inputs):
            misfits.append("; ".join(wrong))
        else:
            readable.append((int(i), inputs))
    if not readable and misfits and len(misfits) == len(index):
        raise ContractError(f"the model does not fit the test set: {misfits[0]}", hint=_FIT)
    return readable


def shape_faults(contract: Any, inputs: Mapping[str, np.ndarray]) -> list[str]:
    """What is wrong with the shapes of a prepared case, in words that name both sides."""
    wrong = []
    for spec in contract.inputs:
        expected, array = tuple(spec.shape), inputs[spec.name]
        n_channels = expected[0]
        if n_channels is not None and array.shape[0] != n_channels:
            wrong.append(
                f"the model expects {n_channels} channel{'s' * (n_channels != 1)} ({spec.colour}); "
                f"the images have {array.shape[0]}"
            )
        elif len(expected) != array.ndim or any(
            e is not None and e != a for e, a in zip(expected[1:], array.shape[1:], strict=True)
        ):
            wrong.append(f"the model expects images of {_size(expected[1:])}; they are {_size(array.shape[1:])}")
    return wrong


def _message(hooks: Hooks, case: Case) -> str:
    try:
        hooks.read(case)
    except ImageError as error:
        return error.message
    return ""


def _size(shape: Sequence[int | None]) -> str:
    return " × ".join("any" if side is None else str(side) for side in shape) or "no size"


def check_outputs(contract: Any, columns: Mapping[str, np.ndarray], *, name: str) -> None:
    """ModelRunError where outputs of the model `name` are not those the contract declares, or not the probabilities it
    calls them."""
    expected = tuple(contract.network_columns)
    if tuple(columns) != expected:
        raise _broken(
            name,
            f"it declares the outputs {', '.join(expected)}; the model gives {', '.join(columns)}",
            hint="Correct the outputs in the model's contract.",
        )
    for output in contract.outputs:
        if output.meaning != "probabilities":
            continue
        values = np.stack([columns[column] for column in output.columns], axis=1)
        values = values[np.isfinite(values).all(axis=1)]
        if not len(values):
            continue
        if values.min() < -RANGE_TOLERANCE or values.max() > 1 + RANGE_TOLERANCE:
            raise _broken(
                name,
                f"it calls the output {output.name} probabilities; the model gives values from "
                f"{values.min():.4g} to {values.max():.4g}",
                hint="If these are logits, declare the activation (softmax or sigmoid) that the suite shall apply.",
            )
        off = float(np.abs(values.sum(axis=1) - 1).max())
        if _exclusive(contract, output) and off > SUM_TOLERANCE:
            raise _broken(
                name,
                f"it calls the output {output.name} probabilities of {values.shape[1]} classes that exclude "
                f"each other; their sum is off 1 by up to {off:.3g}",
                hint="Correct the contract: another activation, or a task whose classes do not exclude each other.",
            )


def _broken(name: str, what: str, *, hint: str) -> ModelRunError:
    """The failure of a model whose outputs contradict its contract; it is entered in the ledger like any other."""
    return ModelRunError(f"the model {name} does not keep its contract: {what}", hint=hint, failure="contract")


def _exclusive(contract: Any, output: Any) -> bool:
    if len(output.columns) < 2 or output.activation == "sigmoid":
        return False
    return output.activation == "softmax" or contract.task in ("binary", "multiclass", "ordinal", "classification")


def _check_activation(model: Any, batch: Mapping[str, np.ndarray], hooks: Hooks, *, device: str) -> None:
    """An activation declared on top of outputs that already are probabilities would quietly change every score."""
    declared = [o for o in model.contract.outputs if o.activation == "softmax" and o.meaning != "mask"]
    if not declared or not hasattr(type(model), "__dataclass_fields__"):
        return
    as_given = {
        o.name: o.model_copy(update={"activation": "none", "meaning": "value", "keep_logits": False}) for o in declared
    }
    outputs = tuple(as_given.get(o.name, o) for o in model.contract.outputs)
    contract = model.contract.model_copy(update={"outputs": outputs})
    try:
        found = forward(replace(model, contract=contract), batch, hooks, device=device).columns
    except ModelRunError:
        return  # the same error comes, in the contract's own words, from the declared outputs
    for output in as_given.values():
        values = np.stack([found[name] for name in output.columns], axis=1)
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
            continue
        if np.abs(values.sum(axis=1) - 1).max() <= SUM_TOLERANCE:
            raise _broken(
                model.name,
                f"it asks for softmax on the output {output.name}, but the model already gives probabilities: every "
                "case tried lies within [0, 1] and sums to 1",
                hint="Set the output's activation to 'none' in the contract.",
            )

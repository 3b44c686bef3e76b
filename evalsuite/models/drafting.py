"""A contract to complete: shapes where the package states them, and words where only its maker knows.

Of volumes the place in the patient is left empty: the contract opens, and no run begins before it is filled in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalsuite.models.contract import CONTRACT_SCHEMA
from evalsuite.models.formats import Located, Signature

_KEPT = ("entry_point", "weights", "cmd", "container", "timeout_s")


def draft_contract(located: Located, signature: Signature | None) -> dict[str, Any]:
    """Plain values of an `evalsuite-model.yaml` that opens as it is, and whose ranges, meaning and classes are guesses
    its reader must check.
    """
    inputs: Mapping[str, tuple[int | None, ...]] = {"image": (None, 3, None, None)}
    outputs: Mapping[str, tuple[int | None, ...]] = {"output": (None, 2)}
    if signature is not None:
        inputs, outputs = signature.inputs, signature.outputs
    settings = located.settings or {}
    return {
        "schema": CONTRACT_SCHEMA,
        "name": located.path.stem,
        **{key: settings[key] for key in _KEPT if key in settings},
        "inputs": [_input(name, shape) for name, shape in inputs.items()],
        "outputs": [_output(name, shape, rank=len(next(iter(inputs.values()), ()))) for name, shape in outputs.items()],
    }


def _input(name: str, shape: tuple[int | None, ...]) -> dict[str, Any]:
    sizes = shape[1:] if len(shape) > 2 else (3, None, None)
    return {
        "name": name,
        "shape": list(sizes),
        "colour": {3: "RGB", 1: "L"}.get(sizes[0] or 0, "any"),
        "value_range": [0.0, 1.0],
        "normalise": "linear",
        **({"orientation": None, "spacing_mm": None} if len(sizes) == 4 else {}),
    }


def _output(name: str, shape: tuple[int | None, ...], *, rank: int) -> dict[str, Any]:
    n = (shape[1] if len(shape) > 1 else None) or 1
    if len(shape) == rank > 3:  # as many spatial sizes as the input has: something is drawn
        how = {"decision": "argmax"} if n > 1 else {"activation": "sigmoid", "decision": "threshold", "threshold": 0.5}
        return {"name": name, "meaning": "mask", "classes": [f"class_{i}" for i in range(n)], **how}
    return {
        "name": name,
        "meaning": "logits",
        "activation": "softmax" if n != 1 else "sigmoid",
        "classes": [f"class_{i}" for i in range(n)],
    }

"""A looser way to write a contract, as found beside published models: one input, one output, rules as text."""

from __future__ import annotations

import re
from typing import Any

from evalsuite.errors import Problem

_AFFINE = re.compile(r"x\s*(?:([/*])\s*([0-9.eE+-]+?))?\s*(?:([+-])\s*([0-9.]+))?")
_PASSED_ON = (
    "colour", "window", "frame", "frames", "resize", "source_range", "mean", "std", "spacing_mm", "orientation",
    "resample", "fit",
)  # fmt: skip
_MEANINGS = {"probabilities": "probabilities", "prob": "probabilities", "logits": "logits"}


def translate(data: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Rewrite the loose layout as an `evalsuite/model/1` contract; what is not understood is a problem, not a guess."""
    problems: list[Problem] = []
    one_input = _mapping(data.get("input"), "input", problems)
    one_output = _mapping(data.get("output"), "output", problems)
    return {
        "name": str(data.get("name", "")),
        "version": str(data.get("version", "")),
        "task": str(data.get("task", "")),
        "inputs": [_input(one_input, problems)] if one_input else [],
        "outputs": [_output(one_output, problems)] if one_output else [],
    }, problems


def _mapping(value: Any, where: str, problems: list[Problem]) -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return value
    problems.append(Problem(what="required key missing or not a mapping", where=where))
    return {}


def _input(data: dict[str, Any], problems: list[Problem]) -> dict[str, Any]:
    spec: dict[str, Any] = {"name": str(data.get("name", "image"))}
    shape = data.get("shape")
    if isinstance(shape, list) and len(shape) >= 3:
        # the first size is the batch: a letter, or the size one example had
        spec["shape"] = [n if isinstance(n, int) and not isinstance(n, bool) else None for n in shape[1:]]
    else:
        problems.append(Problem(what="shape is [batch, channels, *spatial]", where="input.shape"))
        spec["shape"] = [None, None, None]
    if "dtype" in data:
        spec["dtype"] = data["dtype"]
    if "range" in data:
        spec["value_range"] = data["range"]
    spec.update(_normalise(str(data.get("normalise", "")), spec.get("value_range"), problems))
    for key in _PASSED_ON:
        if key in data:
            spec[key] = data[key]
    return spec


def _normalise(text: str, value_range: Any, problems: list[Problem]) -> dict[str, Any]:
    parts = [p.strip() for p in text.split(",") if p.strip()]
    spec: dict[str, Any] = {}
    for part in parts:
        if part.upper() in ("RGB", "L", "GREY", "GRAY"):
            spec["colour"] = "RGB" if part.upper() == "RGB" else "L"
        elif part.lower() in ("min/max", "minmax", "min-max"):
            spec["normalise"] = "minmax"
        elif match := _AFFINE.fullmatch(part):
            low, high = _apply(match, 0.0), _apply(match, 255.0)
            spec["source_range"] = [0.0, 255.0]
            spec["value_range"] = [low, high]
            if value_range is not None and [float(v) for v in value_range] != [low, high]:
                what = f"normalise maps 0..255 to {low:g}..{high:g}, range says {value_range}"
                problems.append(Problem(what=what, where="input.normalise"))
        else:
            problems.append(
                Problem(
                    what=f"normalise is not understood: {part!r}",
                    where="input.normalise",
                    hint="Write an evalsuite-model.yaml instead: value_range, mean, std, normalise.",
                )
            )
    return spec


def _apply(match: re.Match[str], x: float) -> float:
    operator, factor, sign, offset = match.groups()
    if operator == "/":
        x = x / float(factor)
    elif operator == "*":
        x = x * float(factor)
    if sign:
        x = x + float(offset) if sign == "+" else x - float(offset)
    return x


def _output(data: dict[str, Any], problems: list[Problem]) -> dict[str, Any]:
    name = str(data.get("name", "output"))
    activation = str(data.get("activation", "none")).lower()
    spec: dict[str, Any] = {"name": name, "classes": data.get("classes", [])}
    if activation.startswith("argmax"):
        return {**spec, "meaning": "mask"}
    if activation not in ("none", "softmax", "sigmoid"):
        problems.append(
            Problem(
                what=f"activation is not understood: {activation!r}",
                where="output.activation",
                hint="none, softmax or sigmoid",
            )
        )
        activation = "none"
    meaning = data.get("meaning", _MEANINGS.get(name.lower(), "probabilities"))
    return {**spec, "activation": activation, "meaning": "probabilities" if activation != "none" else meaning}

"""The model's contract: what a packaged model takes and gives, so that nothing about images or outputs is guessed."""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from evalsuite.errors import ContractError, Problem
from evalsuite.models import loose
from evalsuite.record.digest import digest_json

CONTRACT_SCHEMA = "evalsuite/model/1"
CONTRACT_NAMES = ("evalsuite-model.yaml", "evalsuite-model.yml", "evalsuite-model.json", "MODEL.json")

_RUNNERS = ("entry_point", "weights", "cmd", "container", "timeout_s", "cases_per_call")

Normalise = Literal["linear", "minmax", "zscore", "none"]
Range = tuple[float, float]


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class InputSpec(_Block):
    """One input tensor, and how a stored image becomes it.

    Integer pixels are mapped linearly from `source_range` to `value_range` (normalise: linear); then `mean` and `std`,
    where given, are subtracted and divided per channel. minmax maps each image's own extremes to `value_range`, zscore
    subtracts each image's mean and divides by its standard deviation, none hands the values over as they are.
    """

    name: str = Field(default="image", min_length=1)
    shape: tuple[int | None, ...] = Field(
        min_length=2, max_length=4, description="[channels, rows, columns]; null where any size will do"
    )
    dtype: Literal["float32"] = "float32"
    colour: Literal["RGB", "L", "any"] = "any"
    convert_colour: Literal["none", "replicate", "luma"] = Field(
        default="none", description="replicate: grey images become RGB; luma: RGB images become grey (ITU-R BT.601)"
    )
    source_range: Range | None = Field(
        default=None,
        description="stored values that map to value_range; by default the full range of the file's pixels",
    )
    value_range: Range = (0.0, 1.0)
    normalise: Normalise = "linear"
    clip: bool = Field(default=False, description="values beyond source_range are set to its ends")
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    window: Literal["none", "header"] | tuple[float, float] = Field(
        default="none", description="DICOM display window: none, header, or [center, width]"
    )
    frame: int | None = Field(default=None, ge=0, description="frame to use of files with several")
    resize: Literal["none", "bilinear", "area"] = "none"
    transpose: bool = Field(default=False, description="the model takes [channels, columns, rows]")
    spacing_mm: tuple[float, ...] | None = None
    orientation: str | None = None

    @property
    def channels(self) -> int | None:
        return self.shape[0]

    @property
    def spatial(self) -> tuple[int | None, ...]:
        """Size as the model takes it (after `transpose`)."""
        return self.shape[1:]

    @model_validator(mode="after")
    def _consistent(self) -> InputSpec:
        faults = []
        if any(n is not None and n < 1 for n in self.shape):
            faults.append("shape holds sizes of 1 or more, or null")
        for name, pair in (("source_range", self.source_range), ("value_range", self.value_range)):
            if pair is not None and not pair[0] < pair[1]:
                faults.append(f"{name} is [low, high] with low below high")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) not in (1, self.channels or len(values)):
                faults.append(f"{name} has one value per channel")
        if self.std is not None and any(s <= 0 for s in self.std):
            faults.append("std is positive")
        if self.resize != "none" and (len(self.spatial) != 2 or None in self.spatial):
            faults.append("resize needs two fixed spatial sizes in shape")
        if self.colour == "RGB" and self.channels not in (3, None):
            faults.append(f"colour RGB has 3 channels, shape says {self.channels}")
        if self.colour == "L" and self.channels not in (1, None):
            faults.append(f"colour L has 1 channel, shape says {self.channels}")
        if not isinstance(self.window, str) and self.window[1] <= 0:
            faults.append("window is [center, width] with a positive width")
        if faults:
            raise ValueError("; ".join(faults))
        return self


class OutputSpec(_Block):
    """One output tensor, and the columns it becomes.

    `meaning` is what the table gets after `activation`, which the suite applies to what the network gives. An output
    with a softmax or sigmoid applied is one of probabilities, whatever its name.
    """

    name: str = Field(default="output", min_length=1)
    meaning: Literal["probabilities", "logits", "mask", "value"] = "probabilities"
    activation: Literal["none", "softmax", "sigmoid"] = "none"
    classes: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the output columns: p_mel, logit_mel, or the output's own name for a value."""
        if self.meaning == "mask":
            return ()
        if self.meaning == "value":
            return tuple(f"{self.name}_{c}" for c in self.classes) if len(self.classes) > 1 else (self.name,)
        prefix = "p" if self.meaning == "probabilities" else "logit"
        return tuple(f"{prefix}_{c}" for c in self.classes)

    @model_validator(mode="before")
    @classmethod
    def _activated(cls, data: Any) -> Any:
        if (
            isinstance(data, dict)
            and data.get("activation") in ("softmax", "sigmoid")
            and data.get("meaning") == "logits"
        ):
            return {**data, "meaning": "probabilities"}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> OutputSpec:
        faults = []
        if self.meaning in ("probabilities", "logits") and not self.classes:
            faults.append("classes names the channels, e.g. classes: [malignant]")
        if len(set(self.classes)) != len(self.classes):
            faults.append("classes are named once each")
        if self.activation == "softmax" and len(self.classes) == 1:
            faults.append("softmax over one channel is always 1; say sigmoid")
        if self.activation != "none" and self.meaning in ("value", "mask"):
            faults.append(f"activation {self.activation} gives probabilities, not a {self.meaning}")
        if faults:
            raise ValueError("; ".join(faults))
        return self


class ContainerSpec(_Block):
    """A container that reads cases from a folder and writes predictions into another."""

    image: str | None = Field(default=None, description="image by name, best with @sha256:…, as the runtime has it")
    archive: str | None = Field(default=None, description="image saved to a file of the package (.tar, .sif)")
    args: tuple[str, ...] = Field(default=(), description="arguments after the image; none by default")
    input: str = Field(default="/input", pattern=r"^/[A-Za-z0-9._/-]+$")
    output: str = Field(default="/output", pattern=r"^/[A-Za-z0-9._/-]+$")
    memory_gb: float = Field(default=16.0, gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> ContainerSpec:
        if (self.image is None) == (self.archive is None):
            raise ValueError("a container is named by image or by archive, one of the two")
        return self


class Contract(_Block):
    """Everything the suite must know about a model before it reads the first case.

    `entry_point`, `cmd` and `container` say what runs a package that is Python source, a program or an image; every
    other format has its network in the package.
    """

    schema_: Literal["evalsuite/model/1"] = Field(default="evalsuite/model/1", alias="schema")
    name: str = ""
    version: str = ""
    task: str = ""
    inputs: tuple[InputSpec, ...] = ()
    outputs: tuple[OutputSpec, ...]
    entry_point: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$",
        description="module:function in the package's folder that makes the network",
    )
    weights: str | None = Field(default=None, description="safetensors file of the package, loaded into that network")
    cmd: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="program and arguments; {input}, {output}, {package} are folders"
    )
    container: ContainerSpec | None = None
    timeout_s: float | None = Field(
        default=None, gt=0, description="longest time for one call of cmd or container, in seconds"
    )
    cases_per_call: int | None = Field(default=None, ge=1, description="cases handed to cmd or container at once")

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, populate_by_name=True)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every output column, in the order of the outputs."""
        return tuple(c for output in self.outputs for c in output.columns)

    @model_validator(mode="after")
    def _consistent(self) -> Contract:
        faults = []
        for kind, names in (("inputs", [i.name for i in self.inputs]), ("outputs", [o.name for o in self.outputs])):
            if len(set(names)) != len(names):
                faults.append(f"{kind} have one name each")
        if not self.outputs:
            faults.append("outputs names at least one output")
        if len(set(self.columns)) != len(self.columns):
            faults.append("two outputs would share a column name")
        if sum(x is not None for x in (self.entry_point, self.cmd, self.container)) > 1:
            faults.append("entry_point, cmd and container are three kinds of package: keep one")
        if faults:
            raise ValueError("; ".join(faults))
        return self


def contract_to_json(contract: Contract) -> dict[str, Any]:
    """The contract as plain JSON values, defaults written out; what runs a package only where it is stated."""
    found = contract.model_dump(mode="json", by_alias=True)
    return {key: value for key, value in found.items() if value is not None or key not in _RUNNERS}


def contract_digest(contract: Contract) -> str:
    """SHA-256 of the contract's canonical JSON: equal contracts agree however they were written down."""
    return digest_json(contract_to_json(contract))


def load_contract(path: Path) -> Contract:
    """Read a contract from YAML or JSON: `evalsuite-model.yaml`, or the looser layout of a `MODEL.json`.

    Raises
    ------
    ContractError
        With every problem of the file, each with its place and a hint.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ContractError(f"contract {path.name} cannot be read as text") from None
    return parse_contract(text, where=path.name)


def parse_contract(text: str | bytes, *, where: str) -> Contract:
    """A contract from YAML or JSON text; `where` is what messages call it. See `load_contract`."""
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        data = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark is not None else ""
        raise ContractError(f"contract {where} is not valid YAML or JSON{line}") from None
    return build_contract(data, where=where)


def build_contract(data: Any, *, where: str) -> Contract:
    """A contract from parsed YAML or JSON values. See `load_contract`."""
    if not isinstance(data, dict):
        raise ContractError(f"contract {where} is not a mapping of keys to values")
    problems: list[Problem] = []
    if "inputs" not in data and ("input" in data or "output" in data):
        data, problems = loose.translate(data)
    try:
        contract = Contract.model_validate(data)
    except ValidationError as error:
        problems += [_problem(e, data) for e in error.errors(include_url=False, include_input=False)]
        contract = None
    if problems or contract is None:
        n = len(problems)
        raise ContractError(f"contract {where} has {n} problem{'s' * (n != 1)}", problems=problems)
    return contract


def _problem(error: ErrorDetails, data: Any) -> Problem:
    where, owner = "", data
    for key in error["loc"]:
        if isinstance(key, int):
            where += f"[{key}]"
        elif isinstance(owner, dict) and (key in owner or error["type"] == "missing"):
            where += f".{key}" if where else key
        else:
            break  # the name of a union's branch, not a place in the file
        if isinstance(owner, dict | list):
            try:
                owner = owner[key]  # type: ignore[index]
            except (KeyError, IndexError, TypeError):
                owner = None
    what, hint = error["msg"].removeprefix("Value error, "), ""
    if error["type"] == "extra_forbidden":
        name = str(error["loc"][-1])
        what = f"unknown key {name}"
        near = get_close_matches(name, _known_keys(error["loc"][:-1]), n=1)
        hint = f"did you mean {near[0]!r}?" if near else ""
    elif error["type"] == "missing":
        what = "required key missing"
    return Problem(what=what, where=where, hint=hint)


def _known_keys(loc: tuple[int | str, ...]) -> list[str]:
    blocks: dict[int | str, type[BaseModel]] = {"inputs": InputSpec, "outputs": OutputSpec}
    block = blocks.get(loc[0] if loc else "", Contract)
    return [f.alias or name for name, f in block.model_fields.items()]

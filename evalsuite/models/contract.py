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
from evalsuite.imaging.image import Frames
from evalsuite.models import loose
from evalsuite.models.contract_volumes import (
    SlidingWindow,
    Tiles,
    mask_faults,
    sliding_faults,
    tile_faults,
    volume_faults,
)
from evalsuite.record.digest import digest_json

CONTRACT_SCHEMA = "evalsuite/model/1"
CONTRACT_NAMES = ("evalsuite-model.yaml", "evalsuite-model.yml", "evalsuite-model.json", "MODEL.json")

#: Fields that came later: left out where they say nothing, so that digests of older contracts stay the same.
_LATER = ("size", "keep_logits")
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
    frames: Frames | None = Field(
        default=None,
        description="what a file with several frames, or several files, become: one (needs frame), volume (slices by "
        "the positions they state), or stack (a cine loop, pages); by default volume for three spatial sizes, else one",
    )
    spacing_mm: tuple[float, ...] | Literal["any"] | None = Field(
        default=None, description="distance of voxel centres along each spatial axis; any: whatever the file states"
    )
    spacing_tolerance: float = Field(
        default=0.01, ge=0, le=0.5, description="largest relative difference of a spacing that needs no resampling"
    )
    orientation: str | None = Field(
        default=None,
        description="the side of the patient towards which each spatial axis grows, such as RAS or LPS; any: as stored",
    )
    resample: Literal["none", "linear", "nearest"] = Field(
        default="none", description="volumes are interpolated to spacing_mm in this way, the first voxel staying put"
    )
    fit: Literal["none", "pad", "crop", "pad_or_crop"] = Field(
        default="none", description="volumes are brought to shape by adding or cutting voxels, equally on both sides"
    )
    pad_value: float | None = Field(
        default=None, description="stored value of added voxels; by default the smallest of the volume"
    )
    missing_value: float | None = Field(
        default=None,
        description="stored value of an image that stands in where a case lacks this one; without it such a case fails",
    )

    tiles: Tiles | None = Field(default=None, description="the image is a whole slide, shown to the model in tiles")

    @property
    def channels(self) -> int | None:
        return self.shape[0]

    @property
    def spatial(self) -> tuple[int | None, ...]:
        """Size as the model takes it (after `transpose`)."""
        return self.shape[1:]

    @property
    def is_volume(self) -> bool:
        """Whether the input has three spatial axes (or two and the frames of a stack)."""
        return len(self.shape) == 4

    @property
    def layout(self) -> Frames:
        """What becomes of several frames or files."""
        return self.frames or ("volume" if self.is_volume else "one")

    @property
    def places(self) -> tuple[str, ...]:
        """What a volume's contract has to say about its place in the patient and does not."""
        if self.layout != "volume":
            return ()
        return tuple(n for n in ("orientation", "spacing_mm") if getattr(self, n) is None)

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
        faults += volume_faults(self)
        if self.tiles is not None:
            faults += tile_faults(self)
        if faults:
            raise ValueError("; ".join(faults))
        return self


class OutputSpec(_Block):
    """One output tensor, and the columns it becomes.

    `meaning` is what the table gets after `activation`, which the suite applies to what the network gives. An output
    with a softmax or sigmoid applied is one of probabilities, whatever its name. A mask becomes labels, on the grid of
    the image as it was stored; its columns count the voxels of each class.
    """

    name: str = Field(default="output", min_length=1)
    meaning: Literal["probabilities", "logits", "mask", "value", "embedding"] = "probabilities"
    activation: Literal["none", "softmax", "sigmoid"] = "none"
    classes: tuple[str, ...] = ()
    decision: Literal["argmax", "threshold", "labels"] | None = Field(
        default=None,
        description="how a mask is made: argmax (label i where channel i is largest; the default for several classes), "
        "threshold (a mask per channel: activation >= threshold), or labels (the network gives whole numbers)",
    )
    threshold: float | None = Field(default=None, description="of a mask decided by threshold")
    grid: str | None = Field(default=None, description="the input on whose grid a mask lies; by default the first")
    size: int | None = Field(default=None, ge=1, le=8192, description="numbers of an embedding, per case")
    keep_logits: bool = Field(
        default=False, description="of an activation: what it was applied to stands beside its result, as logit_CLASS"
    )

    @property
    def kept_columns(self) -> tuple[str, ...]:
        """Names of the columns of what the activation was applied to, where that is kept: logit_mel."""
        return tuple(f"logit_{c}" for c in self.classes) if self.keep_logits else ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the output columns: p_mel, logit_mel, the name of a value, emb_0 and on for an embedding emb."""
        if self.meaning == "mask":
            return ()  # the network gives no number per case; see `Contract.columns`
        if self.meaning == "embedding":
            return tuple(f"{self.name}_{i}" for i in range(self.size or 0))
        if self.meaning == "value":
            return tuple(f"{self.name}_{c}" for c in self.classes) if len(self.classes) > 1 else (self.name,)
        prefix = "p" if self.meaning == "probabilities" else "logit"
        return tuple(f"{prefix}_{c}" for c in self.classes)

    @property
    def decided(self) -> Literal["argmax", "threshold", "labels"]:
        """How the mask is made."""
        return self.decision or ("threshold" if self.threshold is not None else "argmax")

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
        if self.activation != "none" and self.meaning in ("value", "embedding"):
            named = "a value" if self.meaning == "value" else "an embedding"
            faults.append(f"activation {self.activation} gives probabilities, not {named}")
        if (self.meaning == "embedding") != (self.size is not None):
            faults.append("size is of an embedding, and says how many numbers it has")
        if self.meaning == "embedding" and self.classes:
            faults.append("an embedding has no classes")
        if self.keep_logits and (self.activation == "none" or self.meaning != "probabilities"):
            faults.append("keep_logits goes with softmax or sigmoid; without them, say meaning: logits")
        faults += mask_faults(self)
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
    gpu: bool = False

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
    sliding_window: SlidingWindow | None = Field(
        default=None, description="the network sees a volume through windows of fixed size, whose outputs are merged"
    )

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, populate_by_name=True)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every output column, in the order of the outputs; those of masks count the voxels of each class."""
        return tuple(c for output in self.outputs for c in _with_kept(output, self.mask_columns(output)))

    @property
    def network_columns(self) -> tuple[str, ...]:
        """The columns the network's own numbers become: all but those counted from masks."""
        return tuple(c for output in self.outputs for c in _with_kept(output))

    @property
    def masks(self) -> tuple[OutputSpec, ...]:
        """The outputs that are masks."""
        return tuple(output for output in self.outputs if output.meaning == "mask")

    @property
    def tiled(self) -> InputSpec | None:
        """The input that is a whole slide, where the model takes one."""
        return next((spec for spec in self.inputs if spec.tiles is not None), None)

    @property
    def is_volume(self) -> bool:
        """Whether any input has three spatial axes."""
        return any(spec.is_volume for spec in self.inputs)

    def grid_of(self, output: OutputSpec) -> InputSpec:
        """The input on whose grid a mask lies."""
        return next((spec for spec in self.inputs if spec.name == output.grid), self.inputs[0])

    def mask_columns(self, output: OutputSpec) -> tuple[str, ...]:
        """Columns made from a mask: voxels_<class>, and volume_mm3_<class> where the image is a volume in a patient."""
        counts = tuple(f"voxels_{c}" for c in output.classes)
        if not self.inputs or self.grid_of(output).layout != "volume":
            return counts
        return (*counts, *(f"volume_mm3_{c}" for c in output.classes))

    @model_validator(mode="after")
    def _consistent(self) -> Contract:
        faults = []
        for kind, names in (("inputs", [i.name for i in self.inputs]), ("outputs", [o.name for o in self.outputs])):
            if len(set(names)) != len(names):
                faults.append(f"{kind} have one name each")
        if not self.outputs:
            faults.append("outputs names at least one output")
        known = {spec.name for spec in self.inputs}
        faults += [f"output {o.name}: grid names no input" for o in self.outputs if o.grid and o.grid not in known]
        if self.tiled is not None and (len(self.inputs) != 1 or any(o.meaning == "mask" for o in self.outputs)):
            faults.append("tiles are for models of one input whose outputs are no masks")
        if self.tiled is not None and any(o.keep_logits for o in self.outputs):
            faults.append("keep_logits: a slide's answer is made of many tiles' probabilities, which have no one logit")
        if self.sliding_window is not None:
            faults += sliding_faults(self)
        if len(set(self.columns)) != len(self.columns):
            faults.append("two outputs would share a column name")
        if sum(x is not None for x in (self.entry_point, self.cmd, self.container)) > 1:
            faults.append("entry_point, cmd and container are three kinds of package: keep one")
        if faults:
            raise ValueError("; ".join(faults))
        return self


def _with_kept(output: OutputSpec, of_mask: tuple[str, ...] = ()) -> tuple[str, ...]:
    return (*(output.columns or of_mask), *output.kept_columns)


def contract_to_json(contract: Contract) -> dict[str, Any]:
    """The contract as plain JSON values, defaults written out; what runs a package, the size of an embedding, and that
    logits are kept, only where they are stated."""
    found = contract.model_dump(mode="json", by_alias=True)
    found["outputs"] = [{k: v for k, v in o.items() if k not in _LATER or v} for o in found["outputs"]]
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

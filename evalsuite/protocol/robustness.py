"""Settings of the analysis of degraded images: which ladders, on how many cases, and what must not matter at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from evalsuite.errors import Problem
from evalsuite.imaging.degrade import KINDS, LADDERS, SEVERITIES
from evalsuite.protocol.blocks import Block, Name
from evalsuite.protocol.failures import stratum_problems

if TYPE_CHECKING:
    from evalsuite.protocol.schema import Endpoint, StudyProtocol

Modality = Literal["xray", "ct", "mr", "ultrasound", "microscopy", "dermoscopy", "fundus"]
Storage = Literal["axes", "units", "nifti", "dicom"]
IDENTITY, BATCH = "identity", "batch"
#: The cases of `precision` by themselves, run as the run was: what every setting is compared with.
OWN = "own"
#: Tasks whose operating points say which answers are calls.
_CALLED = ("binary", "multilabel", "detection")


class Precision(Block):
    """The same images once more: run again, in another number format, in other company, on another device."""

    cases: Annotated[int, Field(ge=1, le=100000)] = Field(
        default=64, description="cases at most, the first of the robustness sample"
    )
    repeats: Annotated[int, Field(ge=0, le=10)] = Field(default=1, description="runs of exactly the same")
    precisions: list[Literal["float32", "tf32", "bfloat16", "float16"]] = Field(
        default_factory=list, description="number formats compared with the run's own"
    )
    backends: list[Literal["compile", "onnxruntime", "openvino"]] = Field(
        default_factory=list, description="programs that compute the network, compared with the run's own"
    )
    batch_sizes: list[Annotated[int, Field(ge=1, le=4096)]] = Field(
        default_factory=list, description="cases per forward pass"
    )
    threads: list[Annotated[int, Field(ge=1, le=256)]] = Field(
        default_factory=list, description="processor threads of the network"
    )
    devices: list[Annotated[str, Field(pattern=r"^(cpu|cuda(:[0-9]+)?)$")]] = Field(
        default_factory=list, description="devices, `cpu` or `cuda:0`; one that is not there has no answers, said so"
    )


class Robustness(Block):
    """Images made worse by known amounts, and what becomes of the device's answers. Nothing is judged by it."""

    modality: Modality | None = Field(
        default=None, description="whose ladders of five severities are used; without it only what must not matter"
    )
    perturbations: Annotated[list[Name], Field(min_length=1)] | None = Field(
        default=None, description="kinds of that modality's ladders; all of them if not given"
    )
    severities: Annotated[list[Annotated[int, Field(ge=1, le=5)]], Field(min_length=1)] = Field(
        default=list(SEVERITIES), description="steps of the ladders, from 1 (slight) to 5 (severe)"
    )
    cases: Annotated[int, Field(ge=1, le=100000)] = Field(
        default=200,
        description="cases at most: whole patients, drawn by the seed while the reference is still closed",
    )
    at: Name | None = Field(
        default=None,
        description="binary, multilabel, detection: operating point at which calls are compared; the first one if not "
        "given",
    )
    endpoints: Annotated[list[Name], Field(min_length=1)] | None = Field(
        default=None,
        description="endpoints whose change is estimated; if not given the primary ones of which paired differences "
        "are made",
    )
    groups: list[Name] | None = Field(
        default=None,
        description="strata in which changes are given too; all that are no crosses if not given, `[]` for none",
    )
    symmetric: list[Literal["flip_horizontal", "flip_vertical"]] = Field(
        default_factory=list, description="exchanges of sides that must not matter to this device"
    )
    storage: list[Storage] = Field(
        default_factory=list,
        description="other ways of storing the same volume, which must not matter: `axes` permuted and reversed with "
        "the affine that goes with them, `units` a NIfTI header in metres, `nifti` and `dicom` files of that kind",
    )
    tolerance: Annotated[float, Field(gt=0.0, le=0.5)] = Field(
        default=1e-5,
        description="largest change of a score, or share of voxels, by the order and number of cases computed "
        "together and by how an image is stored",
    )
    precision: Precision | None = Field(
        default=None, description="the same images in other number formats, batches, threads and devices"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One way of showing every case of the sample again; `severity` 0 for checks, whose `value` means nothing."""

    kind: str
    severity: int
    value: float

    @property
    def name(self) -> str:
        """As it stands in predictions and evidence: `dose/3`, `identity`."""
        return f"{self.kind}/{self.severity}" if self.severity else self.kind

    @property
    def amount(self) -> str:
        """ "28 dB PSNR": the declared amount with its unit."""
        return f"{self.value:g} {KINDS[self.kind].unit}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One way of running the model on the same images: `repeat/1`, `precision=bfloat16`, `batch_size=1`."""

    name: str
    change: Mapping[str, str | int]


def kinds_of(asked: Robustness) -> tuple[str, ...]:
    """The kinds of degradation, in the order of the ladder or of the protocol; none without a modality."""
    if asked.modality is None:
        return ()
    return tuple(LADDERS[asked.modality]) if asked.perturbations is None else tuple(asked.perturbations)


def conditions_of(asked: Robustness) -> tuple[Condition, ...]:
    """Every condition in which images are shown: the unchanged one first, what must not matter, each ladder upwards."""
    checks = [Condition(kind=k, severity=0, value=0.0) for k in (IDENTITY, *asked.symmetric, *asked.storage)]
    if asked.modality is None:
        return tuple(checks)
    ladder = LADDERS[asked.modality]
    steps = sorted(set(asked.severities))
    return (*checks, *(Condition(kind=k, severity=s, value=ladder[k][s - 1]) for k in kinds_of(asked) for s in steps))


def settings_of(asked: Robustness) -> tuple[Setting, ...]:
    """Every way of running that `precision` asks for; each is a condition of the predictions."""
    p = asked.precision
    if p is None:
        return ()
    several: tuple[tuple[str, Sequence[str | int]], ...] = (
        *(("precision", p.precisions), ("backend", p.backends), ("batch_size", p.batch_sizes)),
        *(("threads", p.threads), ("device", p.devices)),
    )
    repeats = [Setting(name=f"repeat/{i + 1}", change={}) for i in range(p.repeats)]
    changes = [Setting(name=f"{key}={v}", change={key: v}) for key, values in several for v in dict.fromkeys(values)]
    return (*repeats, *changes)


def names_of(asked: Robustness) -> list[str]:
    """The names of all conditions, of images and of settings, in which predictions must have answers."""
    return [*(c.name for c in conditions_of(asked)), *(s.name for s in settings_of(asked))]


def endpoints_of(protocol: StudyProtocol) -> tuple[Endpoint, ...]:
    """The endpoints whose change is estimated, each question once."""
    from evalsuite.protocol.comparisons import COMPARABLE

    asked = protocol.analyses.robustness
    assert asked is not None, "asked only where the block is there"
    found: dict[str, Endpoint] = {}
    deciding = any(e.role == "primary" and e.metric in COMPARABLE for e in protocol.endpoints)
    for e in protocol.endpoints:
        by_default = e.metric in COMPARABLE and (e.role == "primary" or not deciding)
        if by_default if asked.endpoints is None else e.name in asked.endpoints:
            same = e.model_copy(update={"stratum": {}, "each": None})
            found.setdefault(same.model_dump_json(exclude={"name", "criterion", "rationale", "role"}), e)
    return tuple(found.values())


def robustness_problems(protocol: StudyProtocol, unreadable: str) -> Iterator[Problem]:
    """Every contradiction in `analyses.robustness`."""
    from evalsuite.protocol.checks import did_you_mean
    from evalsuite.protocol.comparisons import COMPARABLE

    asked = protocol.analyses.robustness
    if asked is None or protocol.kind == "reader_study":
        return  # that there is none for readers is said elsewhere
    path = "analyses.robustness"
    ladder = {} if asked.modality is None else LADDERS[asked.modality]
    for i, kind in enumerate(asked.perturbations or []):
        where = f"{path}.perturbations[{i}]"
        if asked.modality is None:
            yield Problem("ladders are a modality's, and none is named", where, "name it under modality")
        elif kind not in ladder:
            hint = did_you_mean(kind, ladder) or f"one of: {', '.join(ladder)}"
            yield Problem(f"no ladder '{kind}' of {asked.modality} images", where, hint)
        elif kind in (asked.perturbations or [])[:i]:
            yield Problem(f"'{kind}' named twice", where, "remove one")
    yield from _geometry(protocol, asked, path)
    yield from _point(protocol, asked.at, f"{path}.at", unreadable)
    by_name = {e.name: e for e in protocol.endpoints}
    for i, name in enumerate(asked.endpoints or []):
        where = f"{path}.endpoints[{i}]"
        if name not in by_name:
            if unreadable not in by_name and name != unreadable:
                yield Problem(f"unknown endpoint '{name}'", where, did_you_mean(name, by_name))
        elif by_name[name].metric not in COMPARABLE and by_name[name].metric != unreadable:
            what = f"no paired difference of '{by_name[name].metric}' is estimated"
            yield Problem(what, where, "take it out of the list")
    yield from stratum_problems(protocol, asked.groups or [], f"{path}.groups", unreadable)
    if asked.precision is not None and not settings_of(asked):
        yield Problem("the block asks for nothing", f"{path}.precision", "add repeats, precisions or batch_sizes")


def _geometry(protocol: StudyProtocol, asked: Robustness, path: str) -> Iterator[Problem]:
    """A crop enlarges what is left: a length measured on it is longer by construction, not by an error."""
    if protocol.task.kind != "regression" or "crop" not in kinds_of(asked):
        return
    where = f"{path}.perturbations"
    rest = ", ".join(k for k in kinds_of(asked) if k != "crop")
    yield Problem(
        "a cropped image is enlarged to the size before, so that whatever is measured on it is larger by construction",
        where,
        f"leave crop out: [{rest}]",
    )


def _point(protocol: StudyProtocol, at: str | None, where: str, unreadable: str) -> Iterator[Problem]:
    """Whether the operating point exists, where the task has such; and is left out where it has none."""
    from evalsuite.protocol.checks import did_you_mean

    names = [p.name for p in protocol.operating_points]
    if at is None:
        return
    if protocol.task.kind not in _CALLED:
        yield Problem(f"calls of a {protocol.task.kind} task have no operating point", where, "remove the key")
    elif at not in names and unreadable not in names and at != unreadable:
        yield Problem(f"unknown operating point '{at}'", where, did_you_mean(at, names))

"""Settings of the analysis of degraded images: which ladders, on how many cases, and what must not matter at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from evalsuite.errors import Problem
from evalsuite.imaging.degrade import KINDS, LADDERS, SEVERITIES
from evalsuite.protocol.blocks import Block, Name
from evalsuite.protocol.failures import OF_TASKS, point_problems, stratum_problems

if TYPE_CHECKING:
    from evalsuite.protocol.schema import Endpoint, StudyProtocol

Modality = Literal["xray", "ct", "mr", "ultrasound", "microscopy", "dermoscopy", "fundus"]
IDENTITY, BATCH = "identity", "batch"


class Robustness(Block):
    """Images made worse by known amounts, and what becomes of the device's answers. Nothing is judged by it."""

    modality: Modality = Field(description="whose ladders of five severities are used")
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
        default=None, description="binary: operating point at which calls are compared; the first one if not given"
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
    tolerance: Annotated[float, Field(gt=0.0, le=0.5)] = Field(
        default=1e-5, description="largest change of a score by the order and number of cases computed together"
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


def kinds_of(asked: Robustness) -> tuple[str, ...]:
    """The kinds of degradation, in the order of the ladder or of the protocol."""
    return tuple(LADDERS[asked.modality]) if asked.perturbations is None else tuple(asked.perturbations)


def conditions_of(asked: Robustness) -> tuple[Condition, ...]:
    """Every condition in which images are shown: the unchanged one first, symmetries, then each ladder upwards."""
    checks = [Condition(kind=k, severity=0, value=0.0) for k in (IDENTITY, *asked.symmetric)]
    ladder = LADDERS[asked.modality]
    steps = sorted(set(asked.severities))
    return (*checks, *(Condition(kind=k, severity=s, value=ladder[k][s - 1]) for k in kinds_of(asked) for s in steps))


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
    if asked is None or protocol.task.kind not in OF_TASKS:
        return  # that there is none for other tasks is said elsewhere
    path = "analyses.robustness"
    ladder = LADDERS[asked.modality]
    for i, kind in enumerate(asked.perturbations or []):
        where = f"{path}.perturbations[{i}]"
        if kind not in ladder:
            hint = did_you_mean(kind, ladder) or f"one of: {', '.join(ladder)}"
            yield Problem(f"no ladder '{kind}' of {asked.modality} images", where, hint)
        elif kind in (asked.perturbations or [])[:i]:
            yield Problem(f"'{kind}' named twice", where, "remove one")
    if protocol.task.kind != "binary" or protocol.operating_points:
        yield from point_problems(protocol, asked.at, path, unreadable)
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

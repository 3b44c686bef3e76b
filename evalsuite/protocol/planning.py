"""What the size of the study rests on: planned counts, and the values that were assumed when it was planned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Protocol

from pydantic import Field

from evalsuite.errors import Problem
from evalsuite.protocol.blocks import Block

Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1)]


class ReaderPilot(Block):
    """Variance components of readers' figures in an earlier reader study: what Obuchowski-Rockette estimates print."""

    cases: Count = Field(description="cases of that study, of both classes as the planned one will have them")
    treatment_reader: Annotated[float, Field(ge=0.0)] = Field(
        description="variance of the treatment's effect over readers; 0 where it was estimated below"
    )
    error: Annotated[float, Field(gt=0.0)] = Field(description="variance of one reader's figure over cases")
    cov1: Annotated[float, Field(ge=0.0)] = Field(description="covariance: the same reader, two treatments")
    cov2: Annotated[float, Field(ge=0.0)] = Field(description="covariance: two readers, the same treatment")
    cov3: Annotated[float, Field(ge=0.0)] = Field(description="covariance: two readers, two treatments")
    control: Share | None = Field(
        default=None,
        description="readers' mean figure (AUROC, sensitivity, …) with the control: with it and the share of positives "
        "(`positives`, or `plan.prevalence`), power is simulated",
    )
    positives: Count | None = Field(default=None, description="cases of that study with the target condition")
    reader: Annotated[float, Field(ge=0.0)] | None = Field(
        default=None, description="variance of readers' figures over readers; that of treatment_reader if not given"
    )


class MarkingPilot(Block):
    """How lesions and false marks occur, for endpoints of a detection task; from a tuning set or an earlier study."""

    lesions: Annotated[float, Field(ge=1.0)] = Field(default=1.0, description="of a case that has a lesion, on average")
    marked: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        default=1.0, description="share of lesions the device marks at any score"
    )
    false_marks: Annotated[float, Field(gt=0.0)] = Field(
        default=4.0, description="marks per case on no lesion, at any score"
    )
    correlation: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        default=0.0, description="of two lesions of a case being found"
    )


class Assumption(Block):
    """What is expected of the device, for one endpoint or comparison."""

    value: float = Field(
        gt=-1.0, lt=1.0,
        description="true value assumed; of a comparison the difference, candidate minus baseline; of a reader study's "
        "gain the gain",
    )  # fmt: skip
    pilot: ReaderPilot | None = Field(default=None, description="of a reader study's gain: an earlier study")
    marking: MarkingPilot | None = Field(
        default=None, description="of lesion_sensitivity and froc_sensitivity: how lesions and marks occur"
    )
    discordant: Share | None = Field(
        default=None, description="share of cases on which candidate and baseline disagree, for a comparison of calls"
    )
    source: str = Field(default="", description="where the assumption comes from")


class Plan(Block):
    """Smallest counts the study was planned for, compared when a set is locked, and the assumptions behind them."""

    cases: Count | None = Field(default=None, description="cases in all")
    patients: Count | None = Field(default=None, description="patients in all")
    positives: Count | None = Field(default=None, description="cases with the target condition")
    negatives: Count | None = Field(default=None, description="cases without it")
    strata: dict[str, dict[str, Count]] = Field(
        default_factory=dict, description="cases per group of a stratum, e.g. `{sex: {female: 100}}`"
    )
    power: Share = Field(default=0.8, description="chance to reach each goal if the assumptions hold")
    prevalence: Share | None = Field(default=None, description="share of positives among the cases that are collected")
    design_effect: Annotated[float, Field(ge=1.0)] = Field(
        default=1.0, description="how much more cases it takes because patients have several: 1 + (cases − 1) · ICC"
    )
    cases_per_patient: Annotated[float, Field(ge=1.0)] = Field(default=1.0, description="cases of a patient on average")
    attrition: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        default=0.0, description="share of cases lost before analysis"
    )
    readers: Annotated[int, Field(ge=2)] | None = Field(default=None, description="readers of a reader study")
    assume: dict[str, Assumption] = Field(
        default_factory=dict, description="by endpoint or comparison, e.g. `{sensitivity: {value: 0.92}}`"
    )


#: Endpoints planned from how lesions and marks occur.
OF_MARKS = ("lesion_sensitivity", "froc_sensitivity")


class _Named(Protocol):
    @property
    def name(self) -> str: ...


class _Endpoint(_Named, Protocol):
    @property
    def metric(self) -> str: ...


def is_reader_gain(metric: str) -> bool:
    """Whether a metric is a gain of readers, which may be below 0 and is planned from a pilot."""
    return metric.startswith("reader_") and metric.endswith("_gain")


def plan_problems(
    plan: Plan | None, endpoints: Iterable[_Endpoint], comparisons: Iterable[_Named], unreadable: str
) -> Iterator[Problem]:
    """Assumptions about what the protocol does not ask, or that cannot be true."""
    if plan is None:
        return
    metrics = {e.name: e.metric for e in endpoints}
    single, paired = set(metrics), {c.name for c in comparisons}
    if unreadable in single | paired:
        return
    for name, assumed in plan.assume.items():
        path = f"plan.assume.{name}"
        if name not in single | paired:
            known = ", ".join(sorted(single | paired))
            yield Problem(f"unknown endpoint '{name}'", path, f"declared: {known}")
        elif assumed.pilot is not None and not is_reader_gain(metrics.get(name, "")):
            yield Problem("a pilot of readers belongs to a reader_…_gain", f"{path}.pilot", "take it out")
        elif assumed.marking is not None and metrics.get(name, "") not in OF_MARKS:
            hint = "take it out"
            yield Problem(f"marks belong to {' and '.join(OF_MARKS)}", f"{path}.marking", hint)
        elif assumed.pilot is not None and (assumed.pilot.positives or 0) >= assumed.pilot.cases:
            yield Problem("no case without the condition is left", f"{path}.pilot.positives", "fewer than its cases")
        elif assumed.pilot is not None and assumed.pilot.control and not 0 < assumed.pilot.control + assumed.value < 1:
            what = f"{assumed.pilot.control:g} and a gain of {assumed.value:g} make no share or area"
            yield Problem(what, f"{path}.value", "together between 0 and 1")
        elif assumed.pilot is not None and assumed.pilot.error <= assumed.pilot.cov1:
            what = "the covariance of one reader's two figures is no smaller than their variance"
            yield Problem(what, f"{path}.pilot.cov1", "below error")
        elif name in single and not is_reader_gain(metrics[name]) and not 0.0 < assumed.value < 1.0:
            yield Problem(f"{assumed.value:g} is no share or area to plan for", f"{path}.value", "between 0 and 1")
        elif name in single and assumed.discordant is not None:
            yield Problem("discordant belongs to a comparison", f"{path}.discordant", "take it out")
        elif assumed.discordant is not None and assumed.discordant < abs(assumed.value):
            what = f"{assumed.discordant:g} of the cases cannot make a difference of {assumed.value:g}"
            yield Problem(what, f"{path}.discordant", "at least the size of the difference")

"""Drift audits: what is watched after release, against which limits, and how many false alarms a calendar may raise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from evalsuite.errors import Problem
from evalsuite.protocol.blocks import Block, Name

if TYPE_CHECKING:
    from evalsuite.protocol.schema import StudyProtocol

Share = Annotated[float, Field(gt=0.0, lt=1.0)]
#: Reshuffles per inverse of the smallest level: a p-value must be able to fall clearly below it.
_ROOM = 10
_FEWEST_SHUFFLES = 200
_MOST_SHUFFLES = 2_000_000


class Calendar(Block):
    """The audits that share one budget of false alarms; each gets an equal part of it, fixed before the first."""

    audits: Annotated[int, Field(ge=1, le=1000)] = Field(description="audits planned")
    false_alarm: Share = Field(
        default=0.05,
        description="chance of any alarm in all of them, while nothing changes",
    )
    detectors: Share = Field(
        default=0.5,
        description="part of `false_alarm` for detectors of labelled performance; the rest is for inputs and outputs",
    )
    every_days: Annotated[int, Field(ge=1, le=3660)] = Field(
        default=31, description="days after an audit at which the next one is due"
    )


class DriftCovariate(Block):
    """A column of the case table that is compared between the window and the baseline."""

    column: Name = Field(description="column of the case table, or a DICOM attribute such as `dicom:Manufacturer`")
    kind: Literal["numeric", "categorical"] = Field(default="categorical", description="numbers, or groups")
    range: tuple[float, float] | None = Field(
        default=None,
        description="numeric: values that can be; those outside are counted, and warn",
    )


class ImageCovariate(Block):
    """How the images look: a number computed from the pixels of both periods when an audit is made."""

    image: Literal["mean", "sd", "contrast", "exposure", "noise", "sharpness", "rows", "columns"] = Field(
        description="brightness, spread, contrast, exposure, noise, sharpness or size (docs/drift.md)"
    )
    range: tuple[float, float] | None = Field(
        default=None, description="values that can be; those outside are counted, and warn"
    )

    @property
    def column(self) -> str:
        """Name under which it stands beside the columns of the case table."""
        return f"{IMAGE}{self.image}"


#: Before the name of a number that is computed from the images.
IMAGE = "image:"


class Monitor(Block):
    """An endpoint watched patient by patient as labels arrive."""

    endpoint: Name = Field(description="name of an endpoint with interval `sequence`")
    action: Share = Field(description="action limit: the detector watches for performance below it")
    warning: Share = Field(description="warning limit, above the action limit")
    planned_patients: Annotated[int, Field(ge=1)] = Field(
        description="patients with labels planned for all audits; for sensitivity, those with the condition"
    )


class Charts(Block):
    """Control charts across audits: early warnings beside the alarms, outside their budget."""

    reference: Annotated[float, Field(ge=0.0, le=3.0)] = Field(
        default=0.5, description="allowance k of the CUSUM, in standard deviations of one audit's figure"
    )
    run_length: Annotated[float, Field(ge=10.0, le=100_000.0)] = Field(
        default=200.0, description="audits between false signals of one chart, both sides together (ARL0)"
    )


class Drift(Block):
    """Change since a baseline: inputs, outputs, labelled performance, and what performance may be without labels."""

    calendar: Calendar = Field(description="audits, and the false alarms they may raise together")
    covariates: list[Name | DriftCovariate | ImageCovariate] = Field(
        default_factory=list,
        description="inputs that are compared: a column of groups, a column with its kind, or how the images look",
    )
    at: Name | None = Field(
        default=None, description="operating point of the calls that are compared; the first one if not given"
    )
    outputs: bool = Field(
        default=True,
        description="compare the score's distribution, the calls, and what has no usable output",
    )
    embeddings: list[Name] = Field(
        default_factory=list,
        description="outputs that together are an embedding of the image, `emb_*` for all that begin so; "
        "compared by MMD",
    )
    monitor: list[Monitor] = Field(default_factory=list, description="endpoints with action and warning limits")
    labelled: Name | None = Field(
        default=None,
        description="column that says which cases were chosen to be labelled (1, true, yes; 0, false, no or empty); "
        "performance is of those, and a chosen case without label is a missing reference. `awaited`: chosen, and the "
        "label comes with a later window. All cases if not given",
    )
    largest_weight: Annotated[float, Field(ge=1.0)] | None = Field(
        default=None,
        description="largest sampling weight (column `sample_weight`) there can be, fixed before: labelled "
        "performance, its limits and its detectors are then of all patients that could have been chosen. Unweighted if "
        "not given",
    )
    charts: Charts = Field(default=Charts(), description="control charts across audits")
    shuffles: Annotated[int, Field(ge=_FEWEST_SHUFFLES, le=_MOST_SHUFFLES)] | None = Field(
        default=None,
        description="most reshuffles per test; ten times the inverse of its level if not given",
    )

    @property
    def asked(self) -> tuple[DriftCovariate, ...]:
        """The covariates, a name alone being that of a column of groups, numbers of images being columns of numbers."""
        return tuple(_as_column(c) for c in self.covariates)

    @property
    def of_images(self) -> tuple[str, ...]:
        """Numbers that are computed from the images of both periods."""
        return tuple(c.image for c in self.covariates if isinstance(c, ImageCovariate))

    @property
    def n_tests(self) -> int:
        """Tests of inputs and outputs in one audit, among which Holm's method shares the audit's level."""
        return len(self.covariates) + 3 * self.outputs + bool(self.embeddings)

    @property
    def alpha_shifts(self) -> float:
        """Level of all tests of inputs and outputs of one audit together."""
        spent = self.calendar.detectors if self.monitor else 0.0
        return self.calendar.false_alarm * (1.0 - spent) / self.calendar.audits

    @property
    def alpha_monitor(self) -> float:
        """Chance of a false alarm of one watched endpoint in the whole calendar; all of the budget where nothing is
        tested."""
        spent = self.calendar.detectors if self.n_tests else 1.0
        return self.calendar.false_alarm * spent / max(1, len(self.monitor))

    @property
    def alpha_detector(self) -> float:
        """Chance of a false alarm of one endpoint's detector, which goes on from audit to audit: half of its part."""
        return 0.5 * self.alpha_monitor

    @property
    def alpha_window(self) -> float:
        """Chance of a false alarm of one endpoint's limits within one window: the other half, in equal parts."""
        return 0.5 * self.alpha_monitor / self.calendar.audits

    @property
    def most_shuffles(self) -> int:
        """Reshuffles per test: the protocol's, or as many as its smallest level needs."""
        if self.shuffles is not None:
            return self.shuffles
        needed = math.ceil(_ROOM * max(1, self.n_tests) / self.alpha_shifts)
        return max(_FEWEST_SHUFFLES, needed)


def _as_column(asked: str | DriftCovariate | ImageCovariate) -> DriftCovariate:
    if isinstance(asked, str):
        return DriftCovariate(column=asked)
    if isinstance(asked, ImageCovariate):
        return DriftCovariate(column=asked.column, kind="numeric", range=asked.range)
    return asked


def drift_columns(asked: Drift) -> list[tuple[str, str]]:
    """Case-table columns that the block names, with the key that names each; DICOM attributes and numbers of images
    are not among them."""
    path = "analyses.drift"
    named = [(c.column, f"{path}.covariates[{i}]") for i, c in enumerate(asked.asked)]
    if asked.labelled is not None:
        named.append((asked.labelled, f"{path}.labelled"))
    return [(column, where) for column, where in named if not column.startswith(("dicom:", IMAGE))]


def drift_attributes(asked: Drift | None) -> list[str]:
    """DICOM attributes among the covariates."""
    columns = () if asked is None else asked.asked
    return [c.column.removeprefix("dicom:") for c in columns if c.column.startswith("dicom:")]


def drift_problems(protocol: StudyProtocol, unreadable: str) -> Iterator[Problem]:
    """Every contradiction in `analyses.drift` and in a protocol of kind `drift_audit`."""
    asked = protocol.analyses.drift
    if protocol.kind == "drift_audit":
        yield from _audit(protocol, unreadable)
    elif asked is not None:
        yield Problem("change since a baseline is found by a drift audit", "analyses.drift", "kind: drift_audit")
    if asked is None:
        return
    yield from _covariates(protocol, asked, unreadable)
    yield from _budget(asked)
    yield from _outputs(protocol, asked, unreadable)
    yield from _monitors(protocol, asked, unreadable)


def _audit(protocol: StudyProtocol, unreadable: str) -> Iterator[Problem]:
    if protocol.task.kind != "binary":
        what = f"a drift audit of a {protocol.task.kind} task is not carried out by this version"
        yield Problem(what, "task.kind", "audit one yes/no question of it as a binary task")
        return
    if protocol.analyses.drift is None:
        yield Problem(
            "a drift audit needs to know what it watches", "analyses.drift", "e.g. drift: {calendar: {audits: 12}}"
        )
    if protocol.comparisons:
        what = "an audit compares a window with its baseline, and other patients with other patients"
        yield Problem(what, "comparisons", "remove them; two versions on the same cases are for evalsuite compare")
    for i, e in enumerate(protocol.endpoints):
        if e.role != "primary" or unreadable in (e.name, e.metric) or e.criterion is None:
            continue
        path = f"endpoints[{i}]"
        if e.metric not in _SHARES:
            hint = f"one of: {', '.join(_SHARES)}; make '{e.name}' secondary"
            yield Problem(f"no limits of '{e.metric}' hold at every look, which an audit's verdict needs", path, hint)
        elif e.interval != "sequence":
            what = "an audit is looked at again and again: a primary endpoint needs limits that hold at every look"
            yield Problem(what, f"{path}.interval", "interval: sequence")


_SHARES = ("sensitivity", "specificity", "ppv", "npv", "accuracy")


def _covariates(protocol: StudyProtocol, asked: Drift, unreadable: str) -> Iterator[Problem]:
    task = protocol.task.reference
    taken = {protocol.unit.case, protocol.unit.cluster, *([task] if isinstance(task, str) else task)}
    names = [c.column for c in asked.asked]
    for i, c in enumerate(asked.asked):
        path = f"analyses.drift.covariates[{i}]"
        if c.column in names[:i]:
            yield Problem(f"column '{c.column}' named twice", path)
        if c.column in taken and c.column != unreadable:
            yield Problem(f"column '{c.column}' already means something else", path, "name an input of the device")
        if c.range is not None and c.kind != "numeric":
            yield Problem("a range is of numbers", f"{path}.range", "kind: numeric, or remove it")
        elif c.range is not None and not c.range[0] < c.range[1]:
            yield Problem("a range increases", f"{path}.range", "e.g. range: [0, 120]")
    if asked.labelled is not None and asked.labelled in taken:
        yield Problem(f"column '{asked.labelled}' already means something else", "analyses.drift.labelled")


def _budget(asked: Drift) -> Iterator[Problem]:
    """A test that can never reach its level is no test."""
    if not asked.n_tests:
        if not asked.monitor:
            yield Problem("the audit would watch nothing", "analyses.drift", "name covariates, outputs or a monitor")
        return
    level = asked.alpha_shifts / asked.n_tests
    smallest = 1.0 / (asked.most_shuffles + 1.0)
    if smallest > level:
        needed = math.ceil(_ROOM / level)
        yield Problem(
            f"the smallest p-value of {asked.most_shuffles} reshuffles is {smallest:.2g}, and each of {asked.n_tests} "
            f"tests needs {level:.2g} or less to raise an alarm",
            "analyses.drift.shuffles",
            f"at least {math.ceil(1.0 / level)}, better {needed}; or leave it out",
        )
    elif asked.most_shuffles > _MOST_SHUFFLES:
        yield Problem(
            f"so small a level needs {asked.most_shuffles} reshuffles",
            "analyses.drift.calendar",
            "plan fewer audits, watch fewer covariates, or accept more false alarms",
        )


def _outputs(protocol: StudyProtocol, asked: Drift, unreadable: str) -> Iterator[Problem]:
    from evalsuite.protocol.checks import did_you_mean

    names = [p.name for p in protocol.operating_points]
    if asked.at is not None and asked.at not in names and unreadable not in (*names, asked.at):
        yield Problem(f"unknown operating point '{asked.at}'", "analyses.drift.at", did_you_mean(asked.at, names))
    elif not names and asked.outputs:
        yield Problem("calls are compared, and no operating point is declared", "analyses.drift.outputs", "declare one")
    for i, name in enumerate(asked.embeddings):
        if name in asked.embeddings[:i]:
            yield Problem(f"output '{name}' named twice", f"analyses.drift.embeddings[{i}]")


def _monitors(protocol: StudyProtocol, asked: Drift, unreadable: str) -> Iterator[Problem]:
    from evalsuite.protocol.checks import did_you_mean

    by_name = {e.name: e for e in protocol.endpoints}
    seen: set[str] = set()
    for i, m in enumerate(asked.monitor):
        path = f"analyses.drift.monitor[{i}]"
        endpoint = by_name.get(m.endpoint)
        if m.endpoint in seen:
            yield Problem(f"endpoint '{m.endpoint}' watched twice", path)
        seen.add(m.endpoint)
        if endpoint is None:
            if unreadable not in (*by_name, m.endpoint):
                yield Problem(f"unknown endpoint '{m.endpoint}'", f"{path}.endpoint", did_you_mean(m.endpoint, by_name))
            continue
        if endpoint.metric not in (*_SHARES, unreadable) or endpoint.prevalence is not None:
            hint = f"one of: {', '.join(_SHARES)}"
            yield Problem(
                f"a detector watches a share of cases, and '{endpoint.metric}' is none", f"{path}.endpoint", hint
            )
        if endpoint.stratum or endpoint.each is not None:
            yield Problem(
                "a detector watches the whole window", f"{path}.endpoint", "name an endpoint without a stratum"
            )
        if not m.action < m.warning:
            yield Problem("the warning limit lies above the action limit", f"{path}.warning")
        criterion = endpoint.criterion
        if endpoint.role == "primary" and criterion is not None and not criterion.placeholder:
            clears = criterion.bound == "lower" and criterion.op in (">", ">=") and criterion.value == m.action
            if not clears:
                yield Problem(
                    f"the criterion of '{m.endpoint}' is not its action limit",
                    f"{path}.action",
                    f'criterion: {{bound: lower, op: ">", value: {m.action:g}}} at the endpoint',
                )

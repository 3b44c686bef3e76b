"""Settings of analyses that ask where a figure's variation comes from: groups, reference panel, repeats, time, size."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1, max_length=120)]
Several = Annotated[list[Name], Field(min_length=1)]


class Block(BaseModel):
    """A part of a protocol: immutable, and a typo in a key is an error rather than a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)


class TruthPanel(Block):
    """The reference standard as one panel of readers made it: what the figures would be with other readers."""

    readers: Annotated[list[Name], Field(min_length=2)] = Field(
        description="columns with each reader's own reading, written as `task.reference` is; empty: did not read"
    )
    endpoints: Several = Field(
        description="endpoints to estimate anew; binary: sensitivity, specificity, accuracy, PPV, NPV or AUROC, "
        "against the panel's majority; measurements: bias, MAE or RMSE, against its mean"
    )
    ties: Literal["exclude", "positive", "negative"] = Field(
        default="exclude", description="what a tied vote means; of no use for measurements"
    )


class GroupDifferences(Block):
    """Groups of different patients: how far an endpoint of each lies from that of one of them; nothing is judged."""

    stratum: Name = Field(description="name of the stratum whose groups are compared; a patient belongs to one group")
    reference: Name = Field(description="the group that each of the others is compared with, as its cells have it")
    endpoints: Several = Field(description="endpoints whose differences (of shares the ratios too) are estimated")
    interval: Literal["newcombe", "miettinen-nurminen", "mee"] = Field(
        default="newcombe",
        description="of a difference of shares with one case per patient; of other figures the limits of both groups "
        "are combined (square and add)",
    )
    ratio: Literal["koopman", "katz"] = Field(
        default="koopman", description="interval of the ratio of two shares with one case per patient"
    )


class VarianceSources(Block):
    """Patients measured several times: how much of a score's or a call's spread comes from each source."""

    factors: Several = Field(description="columns whose groups may shift a score: operator, camera, reader")
    subject: Name | None = Field(
        default=None,
        description="column that says what was measured repeatedly, e.g. a lesion; the patient if not given",
    )
    interactions: bool = Field(
        default=False, description="also what each factor adds subject by subject, where the design can tell"
    )


class Change(Block):
    """Disease monitoring: the change of a measurement from one visit to another, device against reference."""

    visit: Name = Field(description="column that says at which visit a case was acquired")
    before: int | float | str = Field(description="its value at the earlier visit")
    after: int | float | str = Field(description="its value at the later visit")
    pair: Name | None = Field(
        default=None, description="column that says what is followed, e.g. a lesion; the patient if not given"
    )
    relative: bool = Field(
        default=False, description="changes as shares of each method's own first value: 0.2 is 20 % more"
    )
    thresholds: list[float] | None = Field(
        default=None,
        description="cut points of the change, increasing, for categories of response: e.g. [-0.3, 0.2] of a relative "
        "one; a cut point itself belongs to the outer category",
    )


class LinearityStudy(Block):
    """Known sizes measured repeatedly: deviation from linearity, and the size from which on precision suffices."""

    levels: list[float] | None = Field(
        default=None,
        description="reference values at which the deviation is estimated; every distinct one if not given, 20 at most",
    )
    cv_goal: Annotated[float, Field(gt=0.0)] | None = Field(
        default=None,
        description="largest coefficient of variation of repeated measurements, e.g. 0.2: gives the limit of "
        "quantitation",
    )

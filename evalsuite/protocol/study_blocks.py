"""Rows of the study description that come several at a time: sites, people, deviations, risks, anomalies."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from evalsuite.protocol.blocks import Block

Text = Annotated[str, Field(max_length=4000)]
Required = Annotated[str, Field(min_length=1, max_length=2000)]
#: A day, or a month or year where the day is not known.
Day = Annotated[str, Field(pattern=r"^\d{4}(-\d{2}(-\d{2})?)?$")]


class Revision(Block):
    """One version of the report."""

    version: Required = Field(description="version of the report")
    date: Day = Field(description='day, in quotes: "2026-03-01"')
    author: Text = Field(default="", description="who made it")
    change: Required = Field(description="what changed, and why")


class Site(Block):
    """One place the cases come from."""

    id: Required = Field(description="identifier, as the case table has it")
    country: Required = Field(description="country")
    practice: Text = Field(default="", description="kind of practice: university hospital, screening centre, …")
    dates: Text = Field(default="", description="when the images were acquired there")
    cases: Annotated[int, Field(ge=0)] | None = Field(default=None, description="number of cases from there")


class TestedVersion(Block):
    """An earlier version of the device that was tested."""

    version: Required = Field(description="version")
    date: Day = Field(description="when it was tested, in quotes")
    tested: Required = Field(description="what was tested")
    change: Text = Field(default="", description="what changed since the version before")


class ReleasedDifference(Block):
    """A difference between what was tested and what is released."""

    difference: Required = Field(description="what differs")
    impact: Required = Field(description="why the results hold nevertheless, or what follows")


class Deviation(Block):
    """A departure from the protocol."""

    what: Required = Field(description="what was done otherwise")
    when: Literal["before_unblinding", "after_unblinding"] = Field(
        description="whether the reference standard was still closed"
    )
    kind: Literal["major", "minor"] = Field(description="major: it can change what is concluded")
    why: Required = Field(description="reason")
    impact: Required = Field(description="effect on the results, and how it was dealt with")


class Exclusion(Block):
    """Why candidates did not become cases of the test set."""

    reason: Required = Field(description="reason")
    cases: Annotated[int, Field(ge=0)] = Field(description="how many")


class Truther(Block):
    """One person, or a group of people of one kind, who made the reference standard."""

    who: Required = Field(description="pseudonym or group; no name is needed")
    specialty: Required = Field(description="specialty and qualification")
    years: Text = Field(default="", description="years of experience")
    independent_of: Text = Field(default="", description="independent of readers, of developers, or of neither")


class UnavailableAttribute(Block):
    """A characteristic of the patients that is not known."""

    attribute: Required = Field(description="which one, e.g. race")
    reason: Required = Field(description="why it is not available")
    why_supported: Required = Field(description="why the evaluation still holds")
    risk_control: Required = Field(description="how the risk is controlled")


class Risk(Block):
    """One row of the traceability matrix: a hazard, what controls it, and the endpoint that shows it."""

    hazard: Required = Field(description="identifier and words of the hazard, as in the risk file")
    control: Required = Field(description="the risk control")
    requirement: Text = Field(default="", description="requirement or claim the control implements")
    endpoints: list[Required] = Field(
        default_factory=list, description="endpoints or comparisons of the protocol that show that it works"
    )
    residual: Text = Field(default="", description="note on the residual risk")


class Anomaly(Block):
    """A known defect of the device or of the evaluation that is not resolved."""

    description: Required = Field(description="what happens")
    found_by: Required = Field(description="how it was found")
    cause: Text = Field(default="", description="root cause, where known")
    impact: Required = Field(description="impact on safety and on the results")
    rationale: Required = Field(description="why it may stay, or what is done about it")


class Person(Block):
    """Somebody who answers for the report."""

    name: Required = Field(description="printed name")
    role: Literal["author", "reviewer", "statistician", "qa"] = Field(description="role")
    position: Text = Field(default="", description="position and organisation")

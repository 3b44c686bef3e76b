"""Triage devices: the reading room in which the waiting time they save is worked out."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from evalsuite.errors import Problem
from evalsuite.protocol.blocks import Block, Name

if TYPE_CHECKING:
    from evalsuite.stats.queueing import ReadingRoom

Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Minutes = Annotated[float, Field(gt=0.0)]


class ReadingMinutes(Block):
    """Mean time that reading an image takes."""

    with_condition: Minutes = Field(description="minutes, of a patient with the target condition")
    without_condition: Minutes = Field(description="minutes, of a patient without it")
    cv: Annotated[float, Field(ge=0.0)] = Field(
        default=1.0, description="standard deviation over mean: 1 is exponential, 0 means that all take equally long"
    )


class UrgentImages(Block):
    """Images that are read before all others, with or without the device."""

    share: Share = Field(description="of all images that arrive")
    minutes: Minutes = Field(description="mean minutes that reading one takes")


class Triage(Block):
    """Waiting time a triage device saves, worked out for a reading room as it is assumed here."""

    at: Name = Field(description="operating point at which an image is flagged")
    arrivals_per_hour: Annotated[float, Field(gt=0.0)] = Field(description="images that arrive to be read")
    prevalence: Share = Field(description="share of patients with the target condition among images not urgent")
    reading: ReadingMinutes = Field(description="how long reading takes")
    readers: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1,
        description="who read in parallel; waits of several are exact where all images take equally long, with "
        "cv 1, and else approximated, with a simulation beside them",
    )
    urgent: UrgentImages | None = Field(default=None, description="images read before all others; none unless stated")
    disciplines: Annotated[list[Literal["nonpreemptive", "preemptive"]], Field(min_length=1)] = Field(
        default=["nonpreemptive", "preemptive"],
        description="preemptive: a flagged image interrupts a reading that has begun; nonpreemptive: it does not",
    )
    source: str = Field(default="", description="where these assumptions come from")

    def room(self, arrivals_per_hour: float | None = None) -> ReadingRoom:
        """The reading room, or the same with other arrivals. ValueError where the readers cannot keep up."""
        from evalsuite.stats.queueing import ReadingRoom

        urgent = self.urgent
        return ReadingRoom(
            arrivals_per_hour=arrivals_per_hour or self.arrivals_per_hour,
            prevalence=self.prevalence,
            minutes_with=self.reading.with_condition,
            minutes_without=self.reading.without_condition,
            cv=self.reading.cv,
            readers=self.readers,
            urgent_share=0.0 if urgent is None else urgent.share,
            urgent_minutes=0.0 if urgent is None else urgent.minutes,
        )


def triage_problems(
    asked: Triage | None, *, points: Collection[str], task: str, comparator: bool, unreadable: str
) -> Iterator[Problem]:
    """A reading room that cannot be worked out, or an operating point that does not exist."""
    if asked is None:
        return
    path = "analyses.triage"
    if asked.at not in points and asked.at != unreadable and unreadable not in points:
        yield Problem(f"unknown operating point '{asked.at}'", f"{path}.at", f"declared: {', '.join(points) or 'none'}")
    if comparator and task == "binary":
        yield Problem(
            "time saved for patients with the condition takes a reference standard that says who has it",
            path,
            "task.reference_is says that it is a comparator; remove the block",
        )
    if len(set(asked.disciplines)) != len(asked.disciplines):
        yield Problem("a discipline is named twice", f"{path}.disciplines")
    try:
        asked.room()
    except ValueError as error:
        yield Problem(str(error), path, "fewer arrivals, more readers or shorter readings")

"""Settings of the analysis of stated uncertainty: refusing the unsure cases, conformal sets, unfamiliar cases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from evalsuite.errors import Problem
from evalsuite.protocol.blocks import Block, Name
from evalsuite.protocol.failures import OF_TASKS, point_problems, stratum_problems

if TYPE_CHECKING:
    from evalsuite.protocol.schema import StudyProtocol

Share = Annotated[float, Field(gt=0.0, lt=1.0)]
ScoreName = Literal["max_softmax", "energy", "mahalanobis", "neighbours"]


class Part(Block):
    """Which patients are set apart: a share drawn by the protocol's seed, or those a column says."""

    share: Share = Field(default=0.5, description="share of patients, drawn by the seed and the patients' ids")
    column: Name | None = Field(default=None, description="case-table column that says it instead of a draw")
    value: int | float | str | bool | None = Field(default=None, description="its value in the part set apart")


class Selective(Block):
    """Errors among the cases the device is surest of, as more and more are accepted."""

    at: Name | None = Field(
        default=None, description="binary: operating point at which a case is called; the first one if not given"
    )
    confidence: Name | None = Field(
        default=None,
        description="output that says how sure the device is; if not given the distance of the score from the "
        "threshold (binary) or the output of the class called",
    )
    higher_is: Literal["surer", "less_sure"] = Field(
        default="surer", description="what a high value of `confidence` means, e.g. `less_sure` of a variance"
    )
    coverages: Annotated[list[Annotated[float, Field(gt=0.0, le=1.0)]], Field(min_length=1, max_length=20)] = Field(
        default=[0.5, 0.8, 0.9, 1.0], description="shares of cases accepted at which the errors among them are given"
    )


class Conformal(Block):
    """Sets of answers that hold the right one with a promised probability, and whether they do."""

    alpha: Annotated[float, Field(gt=0.0, le=0.5)] = Field(
        default=0.1, description="share of cases whose set may miss the right answer"
    )
    calibration: Part = Field(default=Part(), description="patients whose cases the sets are calibrated on")
    groups: list[Name] | None = Field(
        default=None, description="strata in which the coverage is given too; all that are no crosses if not given"
    )
    per_group: Name | None = Field(
        default=None, description="stratum whose groups are each calibrated by themselves; else all together"
    )


class Outliers(Block):
    """Whether scores of unfamiliarity tell cases of declared groups from all others."""

    stratum: Name = Field(description="stratum that holds the groups of unfamiliar cases")
    groups: Annotated[list[Name], Field(min_length=1)] = Field(description="its groups that are unfamiliar")
    scores: Annotated[list[ScoreName], Field(min_length=1)] = Field(description="scores that are compared")
    logits: list[Name] = Field(default_factory=list, description="outputs that `energy` is made of; one or several")
    embedding: list[Name] = Field(
        default_factory=list,
        description="outputs that `mahalanobis` and `neighbours` are made of; `emb_*` stands for every output whose "
        "name begins so",
    )
    fit: Part = Field(
        default=Part(), description="patients whose familiar cases those two are fitted to; they are not evaluated"
    )
    neighbours: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=10, description="`neighbours` is the distance to the nearest but so many less one"
    )


class Uncertainty(Block):
    """Whether the device knows when it does not know. Nothing is judged by it."""

    selective: Selective | None = Field(default=None, description="errors among the surest cases")
    conformal: Conformal | None = Field(default=None, description="coverage and size of conformal sets")
    outliers: Outliers | None = Field(default=None, description="scores of being out of distribution")


def uncertainty_columns(protocol: StudyProtocol) -> Iterator[tuple[str, str]]:
    """Case-table columns that the block names, with the keys that name them."""
    asked = protocol.analyses.uncertainty
    for path, part in _parts(asked):
        if part.column is not None:
            yield part.column, f"{path}.column"


def uncertainty_problems(protocol: StudyProtocol, unreadable: str) -> Iterator[Problem]:
    """Every contradiction in `analyses.uncertainty`."""
    asked = protocol.analyses.uncertainty
    if asked is None or protocol.task.kind not in OF_TASKS:
        return  # that there is none for other tasks is said elsewhere
    path = "analyses.uncertainty"
    if asked.selective is None and asked.conformal is None and asked.outliers is None:
        yield Problem("the block asks for nothing", path, "add selective: {}, conformal: {} or outliers")
    one_grade = protocol.task.kind == "ordinal" and isinstance(protocol.task.score, str)
    if asked.selective is not None:
        yield from point_problems(protocol, asked.selective.at, f"{path}.selective", unreadable)
        if asked.selective.confidence is None and one_grade:
            what = "the device gives a grade alone, which says nothing of how sure it is"
            yield Problem(what, f"{path}.selective", "name an output under confidence")
    if asked.conformal is not None:
        if not protocol.task.probability or one_grade:
            what = "conformal sets are made from a probability for each answer, and the task has none"
            yield Problem(what, f"{path}.conformal", "remove the block")
        yield from stratum_problems(protocol, asked.conformal.groups or [], f"{path}.conformal.groups", unreadable)
        if asked.conformal.per_group is not None:
            where = f"{path}.conformal.per_group"
            yield from stratum_problems(protocol, [asked.conformal.per_group], where, unreadable, one=True)
    if asked.outliers is not None:
        yield from _outliers(protocol, asked.outliers, f"{path}.outliers", unreadable)
    references = protocol.task.reference
    taken = [*([references] if isinstance(references, str) else references), protocol.unit.case]
    for where, part in _parts(asked):
        if (part.column is None) != (part.value is None):
            yield Problem("a column and its value go together", where, "give both, or share alone")
        if part.column in taken:
            what = f"column '{part.column}' already means something else"
            yield Problem(what, f"{where}.column", "name the column that says which cases are set apart")


def _outliers(protocol: StudyProtocol, asked: Outliers, path: str, unreadable: str) -> Iterator[Problem]:
    yield from stratum_problems(protocol, [asked.stratum], f"{path}.stratum", unreadable, one=True)
    for i, name in enumerate(asked.scores):
        if name in asked.scores[:i]:
            yield Problem(f"score '{name}' named twice", f"{path}.scores[{i}]", "remove one")
    if "energy" in asked.scores and not asked.logits:
        yield Problem("energy is made of logits, and none is named", f"{path}.logits", "name the outputs")
    if {"mahalanobis", "neighbours"} & set(asked.scores) and not asked.embedding:
        what = "these scores are made of an embedding, and none is named"
        yield Problem(what, f"{path}.embedding", "name its outputs, e.g. [emb_*]")
    if "max_softmax" in asked.scores and not protocol.task.probability:
        yield Problem("max_softmax is made of probabilities, and the task has none", f"{path}.scores", "remove it")
    if "max_softmax" in asked.scores and protocol.task.kind == "ordinal" and isinstance(protocol.task.score, str):
        yield Problem("max_softmax needs an output for each grade", f"{path}.scores", "remove it")


def _parts(asked: Uncertainty | None) -> Iterator[tuple[str, Part]]:
    if asked is None:
        return
    if asked.conformal is not None:
        yield "analyses.uncertainty.conformal.calibration", asked.conformal.calibration
    if asked.outliers is not None:
        yield "analyses.uncertainty.outliers.fit", asked.outliers.fit

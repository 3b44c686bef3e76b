"""Settings of the analyses of wrong cases: who they are, what they share, and what other thresholds would do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from evalsuite.errors import Problem
from evalsuite.protocol.blocks import Block, Name

if TYPE_CHECKING:
    from evalsuite.protocol.schema import StudyProtocol

#: Kinds of task whose wrong cases are listed by this block; tasks that find or outline have listings of their own.
OF_TASKS = ("binary", "multiclass", "ordinal")
CATEGORIES = ("confounder", "artefact", "reference error", "subtle", "out of distribution", "other")
_LONGEST_NAME = 60


class Failures(Block):
    """Wrong cases: a line listing, pictures, and the groups among which they are more frequent. Nothing is judged."""

    at: Name | None = Field(
        default=None, description="binary: operating point at which a case is called; the first one if not given"
    )
    near: Annotated[float, Field(gt=0.0)] | None = Field(
        default=None,
        description="band of cases that were nearly decided otherwise: scores within this of the threshold; with "
        "several classes, the two largest outputs within this of each other. No such list if not given",
    )
    confident: Annotated[float, Field(gt=0.0, le=0.5)] | None = Field(
        default=None,
        description="of a probability: a case is a candidate for an error of its reference where the device is wrong "
        "and puts less than this on the reference's answer. No such list if not given",
    )
    attributes: list[Name] | None = Field(
        default=None,
        description="strata (no crosses) whose groups are searched for more failures; all that are declared if not "
        "given, `[]` for none",
    )
    outline: Name | None = Field(
        default=None, description="case-table column of masks; what they mark is outlined in the pictures of cases"
    )
    shown: Annotated[int, Field(ge=0, le=30)] = Field(
        default=8, description="pictures of each kind of case, the worst first; images are shown as `pictures` says"
    )
    categories: Annotated[list[Name], Field(min_length=1, max_length=30)] = Field(
        default=list(CATEGORIES), description="what a reviewer may enter in the column `category` of the line listing"
    )
    permutations: Annotated[int, Field(ge=99, le=99999)] = Field(
        default=4999, description="of patients, for tests of groups where patients have several cases"
    )


class Slices(Block):
    """Search for groups with more wrong cases among all combinations of attributes; exploratory, and nothing is judged.

    Half of the patients are searched, the other half says whether it holds.
    """

    at: Name | None = Field(
        default=None, description="binary: operating point at which a case is called; the first one if not given"
    )
    attributes: list[Name] | None = Field(
        default=None, description="strata (no crosses) to combine; all that are declared if not given"
    )
    depth: Annotated[int, Field(ge=1, le=3)] = Field(default=2, description="attributes combined at most")
    support: Annotated[int, Field(ge=5)] = Field(
        default=20, description="least cases of the searched half inside a slice, and outside it"
    )
    level: Annotated[float, Field(gt=0.0, le=0.2)] = Field(
        default=0.05,
        description="false discovery rate of the search (Benjamini and Hochberg), and family-wise error of its check "
        "(Holm)",
    )
    embedding: list[Name] = Field(
        default_factory=list,
        description="outputs of the model that place a case among others, each by name or, as `feature_*`, by the "
        "beginning of their names: cases are put into groups of alike ones, and these are an attribute too",
    )
    clusters: Annotated[int, Field(ge=2, le=50)] = Field(default=8, description="how many such groups at most")


def slice_problems(protocol: StudyProtocol, unreadable: str) -> Iterator[Problem]:
    """Every contradiction in `analyses.slices`."""
    asked = protocol.analyses.slices
    if asked is None or protocol.task.kind not in OF_TASKS:
        return
    path = "analyses.slices"
    yield from point_problems(protocol, asked.at, path, unreadable)
    yield from stratum_problems(protocol, asked.attributes or [], f"{path}.attributes", unreadable)
    searched = [s for s in protocol.strata if s.cross is None] if asked.attributes is None else asked.attributes
    if not searched and not asked.embedding:
        yield Problem("there is no attribute to search", path, "declare strata, or name embedding outputs")


class ThresholdWhatIf(Block):
    """What thresholds of their own would do to groups: reported as a what-if, never applied, and nothing is judged."""

    stratum: Name = Field(description="name of the stratum (no cross) whose groups would get thresholds of their own")
    at: Name | None = Field(default=None, description="operating point to compare with; the first one if not given")
    equalise: Literal["sensitivity", "odds"] = Field(
        default="sensitivity",
        description="sensitivity: every group reaches the whole set's, by a threshold of its own; odds: every group "
        "has the whole set's false positive rate and the sensitivity that all can reach at it, partly by chance",
    )


def what_if_problems(protocol: StudyProtocol, unreadable: str) -> Iterator[Problem]:
    """Every contradiction in `analyses.threshold_what_if`."""
    asked = protocol.analyses.threshold_what_if
    if asked is None or protocol.task.kind != "binary":
        return
    path = "analyses.threshold_what_if"
    yield from point_problems(protocol, asked.at, path, unreadable)
    yield from stratum_problems(protocol, [asked.stratum], f"{path}.stratum", unreadable, one=True)


def failure_problems(protocol: StudyProtocol, unreadable: str) -> Iterator[Problem]:
    """Every contradiction in `analyses.failures`."""
    asked = protocol.analyses.failures
    if asked is None or protocol.task.kind not in OF_TASKS:
        return  # that there is none for other tasks is said elsewhere
    path = "analyses.failures"
    yield from point_problems(protocol, asked.at, path, unreadable)
    yield from stratum_problems(protocol, asked.attributes or [], f"{path}.attributes", unreadable)
    if asked.confident is not None and not protocol.task.probability:
        what = "confidence is read off a probability, and task.probability is false"
        yield Problem(what, f"{path}.confident", "remove the key")
    one_grade = protocol.task.kind == "ordinal" and isinstance(protocol.task.score, str)
    for key in ("near", "confident"):
        if one_grade and getattr(asked, key) is not None:
            what = "the device gives a grade alone, which says nothing of how nearly it gave another"
            yield Problem(what, f"{path}.{key}", "remove the key")
    for i, name in enumerate(asked.categories):
        if name in asked.categories[:i]:
            yield Problem(f"category '{name}' named twice", f"{path}.categories[{i}]")
        elif len(name) > _LONGEST_NAME:
            yield Problem("a category's name is too long", f"{path}.categories[{i}]", f"{_LONGEST_NAME} characters")
    if asked.outline is not None:
        task = protocol.task.reference
        taken = [protocol.unit.case, protocol.unit.cluster, *([task] if isinstance(task, str) else task)]
        if asked.outline in taken:
            what = f"column '{asked.outline}' already means something else"
            yield Problem(what, f"{path}.outline", "name the column with the files of masks")


def point_problems(protocol: StudyProtocol, at: str | None, path: str, unreadable: str) -> Iterator[Problem]:
    """Whether the operating point exists, where the task has such; and is left out where it has none."""
    from evalsuite.protocol.checks import did_you_mean

    names = [p.name for p in protocol.operating_points]
    if protocol.task.kind != "binary":
        if at is not None:
            hint = "remove the key: the class with the largest output is called"
            yield Problem(f"a {protocol.task.kind} task has no operating point", f"{path}.at", hint)
    elif not names:
        yield Problem("a case is wrong at an operating point, and none is declared", path, "declare one")
    elif at is not None and at not in names and unreadable not in names and at != unreadable:
        yield Problem(f"unknown operating point '{at}'", f"{path}.at", did_you_mean(at, names))


def stratum_problems(
    protocol: StudyProtocol, names: Sequence[str], path: str, unreadable: str, *, one: bool = False
) -> Iterator[Problem]:
    """Whether every name is a declared stratum, named once, and no cross; `one`: the path is of a single name."""
    from evalsuite.protocol.checks import did_you_mean

    by_name = {s.name: s for s in protocol.strata}
    for i, name in enumerate(names):
        where = path if one else f"{path}[{i}]"
        spec = by_name.get(name)
        if spec is None:
            if unreadable not in by_name and name != unreadable:
                simple = [n for n, s in by_name.items() if s.cross is None]
                yield Problem(
                    f"unknown stratum '{name}'", where, did_you_mean(name, simple) or "declare it under strata"
                )
        elif spec.cross is not None:
            yield Problem(f"'{name}' is a cross", where, f"one of its members: {', '.join(spec.cross)}")
        elif name in names[:i]:
            yield Problem(f"stratum '{name}' named twice", where)

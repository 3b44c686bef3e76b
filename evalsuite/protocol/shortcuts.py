"""Settings of tests for shortcuts: a suspected part of the image is taken out or put in, and answers are watched."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from evalsuite.errors import Problem
from evalsuite.imaging.regions import NO_PICTURE, NOT_PLANE, NOTHING_LEFT, OTHER_SIZE, TOO_SMALL
from evalsuite.protocol.blocks import Block, Name
from evalsuite.protocol.failures import OF_TASKS, point_problems, stratum_problems

if TYPE_CHECKING:
    from evalsuite.protocol.schema import Endpoint, StudyProtocol

#: What a margin may be of, beside endpoints: the mean change of the score, and the share of calls that change.
SCORE, CALLS = "score", "calls"
PREFIX, CONTROL = "shortcut", "control"
#: Reasons why a case has no answer in a condition without the device having failed.
NO_REGION, ALREADY_THERE, NO_ROOM = "no region", "region already there", "no room for a control"
NOT_CHANGED = (NO_REGION, ALREADY_THERE, NO_ROOM, NOT_PLANE, NOTHING_LEFT, OTHER_SIZE, TOO_SMALL, NO_PICTURE)
_MOST_BYTES = 65536

Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Corners = Literal["top_left", "top_right", "bottom_left", "bottom_right"]


class Corner(Block):
    """A rectangle in a corner of the image, sides as shares of the image's."""

    at: Corners = Field(description="which corner")
    height: Share = Field(description="share of the image's rows")
    width: Share = Field(description="share of the image's columns")


class Rectangle(Block):
    """A rectangle anywhere; its sides as shares of the image's rows and columns, counted from the top left."""

    top: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(description="upper side, share of the rows")
    left: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(description="left side, share of the columns")
    bottom: Annotated[float, Field(gt=0.0, le=1.0)] = Field(description="lower side, share of the rows")
    right: Annotated[float, Field(gt=0.0, le=1.0)] = Field(description="right side, share of the columns")

    @model_validator(mode="after")
    def _has_an_inside(self) -> Self:
        if self.top >= self.bottom or self.left >= self.right:
            raise ValueError("top lies above bottom, and left lies left of right")
        return self


class Region(Block):
    """The part of the image that is suspected, said in exactly one way."""

    text: bool = Field(default=False, description="printed text in the pixels, where a detector finds it; plane images")
    border: Annotated[float, Field(gt=0.0, lt=0.5)] | None = Field(
        default=None, description="a frame along all four sides, as share of the shorter side; plane images"
    )
    corner: Corner | None = Field(default=None, description="a corner; plane images")
    box: Rectangle | None = Field(default=None, description="the same rectangle in every image; plane images")
    mask: Name | None = Field(
        default=None,
        description="case-table column of mask files on the image's own grid (a device, a ruler, a tube); it stays "
        "open when the set is locked with this protocol, for it is needed before the reference is. Empty: none there",
    )

    @model_validator(mode="after")
    def _said_once(self) -> Self:
        if sum((self.text, *(v is not None for v in (self.border, self.corner, self.box, self.mask)))) != 1:
            raise ValueError("name exactly one of text, border, corner, box and mask")
        return self

    @property
    def fixed(self) -> bool:
        """Whether it is the same part of every image."""
        return not self.text and self.mask is None


class Insert(Block):
    """What is put in: a text that is drawn, or a picture; scaled to the region."""

    text: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[ -~]+$")] | None = Field(
        default=None, description="drawn white, in printable ASCII"
    )
    picture: Annotated[str, Field(max_length=4 * _MOST_BYTES // 3 + 4)] | None = Field(
        default=None,
        description="a PNG in base64, of at most 64 KiB: in the protocol itself, so that its digest binds it",
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.text is None) == (self.picture is None):
            raise ValueError("name exactly one of text and picture")
        if self.picture is not None and not self.png.startswith(b"\x89PNG\r\n\x1a\n"):
            raise ValueError("picture is a PNG file in base64")
        return self

    @property
    def png(self) -> bytes:
        """The picture's bytes; empty where they are none."""
        try:
            return base64.b64decode(self.picture or "", validate=True)
        except (binascii.Error, ValueError):
            return b""


class Shortcut(Block):
    """A suspected shortcut: the region, what is done to it, and how much change of the answers would convict.

    Convicted: the interval of the change lies wholly beyond a margin, and the change is more than what the same
    treatment of another place of equal size does. Acquitted: wholly within every margin. Nothing is judged by it.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,59}$")] = Field(description="what is suspected")
    region: Region = Field(description="where it is")
    change: Literal["remove", "insert"] = Field(
        description="remove: filled from around, in images that have it; insert: put in where it is not"
    )
    fill: Literal["surroundings", "median"] = Field(
        default="surroundings",
        description="what a removed region becomes: interpolated from around it, or the median of what is around it",
    )
    insert: Insert | None = Field(default=None, description="what is put in")
    unless: Literal["text"] | None = Field(
        default=None, description="insert: images in which the detector finds this already are left out"
    )
    margins: Annotated[dict[str, Annotated[float, Field(gt=0.0)]], Field(min_length=1)] = Field(
        description="largest change that would not matter: of `score` (mean change), `calls` (share of calls changed) "
        "or of an endpoint by its name, in its own unit"
    )
    cases: Annotated[int, Field(ge=1, le=100000)] = Field(
        default=400, description="cases at most: whole patients, drawn by the seed while the reference is still closed"
    )
    at: Name | None = Field(
        default=None, description="binary: operating point at which calls are compared; the first one if not given"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.change == "insert":
            if self.insert is None:
                raise ValueError("say under insert what is put in")
            if self.region.corner is None and self.region.box is None:
                raise ValueError("something is inserted into a corner or a box")
        elif self.insert is not None or self.unless is not None:
            raise ValueError("insert and unless belong to change: insert")
        return self

    @property
    def condition(self) -> str:
        """The condition of the answers to the changed images, in predictions and evidence."""
        return f"{PREFIX}/{self.name}"

    @property
    def control(self) -> str:
        """The condition of the answers where another place was treated."""
        return f"{PREFIX}/{self.name}/{CONTROL}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortcutQuestion:
    """One quantity of a shortcut test that has a margin; `endpoint` is None for score and calls."""

    of: str
    margin: float
    endpoint: Endpoint | None


def questions_of(protocol: StudyProtocol, asked: Shortcut) -> tuple[ShortcutQuestion, ...]:
    """What a test is decided by, in the protocol's order."""
    by_name: Mapping[str, Endpoint] = {e.name: e for e in protocol.endpoints}
    return tuple(
        ShortcutQuestion(of=of, margin=margin, endpoint=by_name.get(of)) for of, margin in asked.margins.items()
    )


def shortcut_columns(protocol: StudyProtocol) -> tuple[str, ...]:
    """Columns of mask files that say where a suspected region lies: needed before the reference is opened."""
    block = protocol.analyses.interpretability
    shortcuts = () if block is None else block.shortcuts
    return tuple(dict.fromkeys(s.region.mask for s in shortcuts if s.region.mask is not None))


def shortcut_problems(protocol: StudyProtocol, unreadable: str) -> Iterator[Problem]:
    """Every contradiction in `analyses.interpretability.shortcuts`."""
    block = protocol.analyses.interpretability
    if block is None:
        return
    yield from stratum_problems(protocol, block.groups or [], "analyses.interpretability.groups", unreadable)
    names: list[str] = []
    for i, asked in enumerate(block.shortcuts):
        path = f"analyses.interpretability.shortcuts[{i}]"
        if asked.name in names:
            yield Problem(f"shortcut '{asked.name}' named twice", f"{path}.name", "give each a name of its own")
        names.append(asked.name)
        if protocol.task.kind in OF_TASKS:
            if protocol.task.kind != "binary" or protocol.operating_points or asked.at is not None:
                yield from point_problems(protocol, asked.at, path, unreadable)
            yield from _margins(protocol, asked, path, unreadable)
        if asked.region.mask is not None and asked.region.mask in _taken(protocol):
            what = f"column '{asked.region.mask}' already means something else"
            yield Problem(what, f"{path}.region.mask", "name the column with the masks of the suspected region")


def _taken(protocol: StudyProtocol) -> set[str]:
    reference = protocol.task.reference
    outline = protocol.analyses.failures.outline if protocol.analyses.failures else None
    named = {protocol.unit.case, protocol.unit.cluster, *([reference] if isinstance(reference, str) else reference)}
    return named | ({outline} if outline is not None else set())


def _margins(protocol: StudyProtocol, asked: Shortcut, path: str, unreadable: str) -> Iterator[Problem]:
    from evalsuite.protocol.checks import did_you_mean
    from evalsuite.protocol.comparisons import COMPARABLE

    by_name = {e.name: e for e in protocol.endpoints}
    for of in asked.margins:
        where = f"{path}.margins.{of}"
        if of == SCORE and protocol.task.kind != "binary":
            hint = f"use {CALLS}, or an endpoint"
            yield Problem(f"a {protocol.task.kind} task has no single score", where, hint)
        elif of == CALLS and protocol.task.kind == "binary" and not protocol.operating_points:
            yield Problem("a call is made at an operating point, and none is declared", where, "declare one")
        elif of not in (SCORE, CALLS) and of not in by_name:
            if unreadable not in by_name and of != unreadable:
                hint = did_you_mean(of, (SCORE, CALLS, *by_name)) or f"{SCORE}, {CALLS} or the name of an endpoint"
                yield Problem(f"a margin of '{of}', which is no endpoint", where, hint)
        elif of in by_name and by_name[of].metric not in COMPARABLE:
            what = f"no paired difference of '{by_name[of].metric}' is estimated"
            yield Problem(what, where, "remove the margin")

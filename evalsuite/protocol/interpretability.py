"""Settings of the analysis of what an answer depends on: tests for shortcuts, and maps beside lesions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from evalsuite.errors import Problem
from evalsuite.protocol.blocks import Block, Name
from evalsuite.protocol.localisation import Localisation, localisation_problems
from evalsuite.protocol.shortcuts import Shortcut, shortcut_problems

if TYPE_CHECKING:
    from evalsuite.protocol.schema import StudyProtocol


class Interpretability(Block):
    """What an answer depends on: shortcuts by behaviour, and maps by measures. Nothing is judged by it."""

    cases: Annotated[int, Field(ge=1, le=100000)] = Field(
        default=64,
        description="cases with maps at most: whole patients, drawn by the seed while the reference is closed",
    )
    groups: list[Name] | None = Field(
        default=None,
        description="strata in which figures are given too; all that are no crosses if not given, `[]` for none",
    )
    shortcuts: tuple[Shortcut, ...] = Field(
        default=(), description="suspected regions that are taken out or put in, and the answers watched"
    )
    localisation: Localisation | None = Field(default=None, description="whether maps point at lesions")


def interpretability_problems(protocol: StudyProtocol, unreadable: str) -> Iterator[Problem]:
    """Every contradiction in `analyses.interpretability`."""
    yield from shortcut_problems(protocol, unreadable)
    yield from localisation_problems(protocol)

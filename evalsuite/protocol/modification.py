"""A change to an authorised device: what was modified, and whether the plan that was authorised with it covers that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from evalsuite.errors import Problem
from evalsuite.protocol.blocks import Block

if TYPE_CHECKING:
    from evalsuite.protocol.schema import StudyProtocol

Outside = Literal["intended use", "inputs", "outputs", "users", "instructions for use", "architecture", "other"]


class Modification(Block):
    """A modification under a predetermined change control plan: any criterion that is not met means that it is not
    implemented. FDA, Predetermined Change Control Plans (2025), VII.B(3)."""

    description: str = Field(min_length=10, description="what was modified, and why")
    plan: str = Field(default="", description="the authorised plan and the part of it that covers this modification")
    outside: list[Outside] = Field(
        default_factory=list,
        description="what the modification changes that the plan does not cover; anything here: it is not implemented, "
        "and whether it needs a new submission is to be assessed",
    )


def modification_problems(protocol: StudyProtocol) -> Iterator[Problem]:
    """Every contradiction between `modification` and the rest of the protocol."""
    if protocol.modification is None:
        return
    if protocol.kind != "comparison":
        yield Problem("a modification is judged by a comparison", "kind", "kind: comparison")
    if protocol.decision_rule != "all_primary":
        yield Problem(
            "a modification is implemented only if every criterion is met", "decision_rule", "use all_primary"
        )
    for who, meant in (("baseline", "the last version"), ("original", "the version that was authorised first")):
        if not any(c.against == who and c.hypothesis is not None for c in protocol.comparisons):
            what = f"nothing has to be shown against {meant}"
            hint = f"give a primary comparison with against: {who} and a hypothesis"
            yield Problem(what, "comparisons", hint)
    judged = [(e.name, e.role, f"endpoints[{i}]") for i, e in enumerate(protocol.endpoints) if e.criterion is not None]
    judged += [
        (c.name, c.role, f"comparisons[{i}]")
        for i, c in enumerate(protocol.comparisons)
        if c.hypothesis is not None or c.criterion is not None or c.guards
    ]
    for name, role, path in judged:
        if role != "primary":
            what = f"'{name}' has a criterion, and would not decide whether the modification is implemented"
            yield Problem(what, f"{path}.role", "role: primary, or remove the criterion")

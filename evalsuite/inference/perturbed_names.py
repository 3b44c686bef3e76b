"""Under which name a case in a condition goes through the engine, and its masks lie in the store."""

from __future__ import annotations

from evalsuite.imaging.degrade import VERSION
from evalsuite.protocol.robustness import Condition
from evalsuite.record.digest import digest_json

#: What begins the reason of cases that a setting cannot run at all.
NOT_OFFERED = "not offered here: "


def shown_as(case_id: str, condition: Condition, seed: int) -> str:
    """The name of a case in a condition: with a digest of the ladder's version, kind, amount and seed."""
    what = {"ladders": VERSION, "kind": condition.kind, "value": condition.value, "seed": seed}
    return f"{case_id}#{condition.name}#{digest_json(what)[:16]}"


def mask_name(case_id: str, condition: str) -> str:
    """The name of a case that is shown unchanged, but run otherwise."""
    return f"{case_id}#{condition}"

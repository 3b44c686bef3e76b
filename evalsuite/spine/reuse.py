"""Repeated use of a locked test set: how often each case of a run was used before, and whether that is too often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from evalsuite.errors import InputError
from evalsuite.protocol.schema import ReusePolicy
from evalsuite.record.ledger import Entry
from evalsuite.record.usage import Segment, case_count, summary, use_segments, within


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How often a case may be used, and what happens beyond."""

    max_uses_per_case: int
    on_excess: Literal["warn", "refuse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What a run takes from the set: its cases (spans of positions), how often they were used before, and the limit."""

    cases: str
    before: tuple[Segment, ...]
    policy: Policy

    @property
    def n_cases(self) -> int:
        return case_count(self.before)

    @property
    def most(self) -> int:
        """Uses of the most used case before this run."""
        return max((s.uses for s in self.before), default=0)

    @property
    def left(self) -> int:
        """Uses left after this run of the case that has fewest left."""
        return max(0, self.policy.max_uses_per_case - self.most - 1)

    @property
    def exhausted(self) -> int:
        """Cases that had no use left."""
        return case_count(s for s in self.before if s.uses >= self.policy.max_uses_per_case)

    @property
    def used_before(self) -> str:
        """Spans of the run's cases that some earlier run used."""
        parts: list[list[int]] = []
        for s in self.before:
            if s.uses and parts and parts[-1][1] == s.first - 1:
                parts[-1][1] = s.last
            elif s.uses:
                parts.append([s.first, s.last])
        return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)

    def to_json(self) -> dict[str, Any]:
        return {
            "cases": self.cases,
            "n_cases": self.n_cases,
            "before": summary(self.before),
            "used_before": self.used_before,
            "n_used_before": case_count(s for s in self.before if s.uses),
            "n_over_limit": self.exhausted,
            "left": self.left,
            "max_uses_per_case": self.policy.max_uses_per_case,
            "on_excess": self.policy.on_excess,
        }


def policy_of(protocol: ReusePolicy, lock: Mapping[str, Any]) -> Policy:
    """The protocol's policy, made stricter where the set was locked for a protocol with a stricter one.

    A set that was locked without a protocol carries a default that nobody chose, and does not bind.
    """
    limit, on_excess = protocol.max_uses_per_case, protocol.on_excess
    if lock.get("protocol") is not None:
        locked = lock["reuse_policy"]
        limit = min(limit, int(locked["max_uses_per_case"]))
        on_excess = "refuse" if "refuse" in (on_excess, locked["on_excess"]) else on_excess
    return Policy(max_uses_per_case=limit, on_excess=on_excess)


def use_of(entries: Sequence[Entry], *, cases: str, n_cases: int, policy: Policy) -> Use:
    """The use a run makes of the cases `cases` of a set with `n_cases`, after everything in `entries`."""
    return Use(cases=cases, before=within(use_segments(entries, n_cases), cases, n_cases), policy=policy)


def excess(use: Use) -> str | None:
    """What to say where a case has no use left; None where all have."""
    if not use.exhausted:
        return None
    limit, most = use.policy.max_uses_per_case, use.most
    if use.exhausted == use.n_cases:
        least = min(s.uses for s in use.before)
        often = times(most) if least == most else f"{least} to {times(most)}"
        return f"every case of this run had been used {often} before it; the limit is {limit} per case"
    return (
        f"{use.exhausted} of {use.n_cases} cases of this run had been used {times(limit)} or more before it; "
        f"the limit is {limit} per case"
    )


def times(n: int) -> str:
    """ "once", "3 times"."""
    return "once" if n == 1 else f"{n} times"


def refuse_excess(use: Use) -> None:
    """InputError where a case has no use left and the policy refuses."""
    said = excess(use)
    if said is not None and use.policy.on_excess == "refuse":
        raise InputError(
            f"This run is refused: {said}.",
            hint="Lock fresh cases, or give a waiver signed by the custodian with --waiver. (A use counts whether or "
            "not it was finished or reported.)",
        )

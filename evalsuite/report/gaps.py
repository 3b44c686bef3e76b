"""What a checklist still misses in a run: each item reported, partly, not reported or not applicable; no score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from evalsuite.protocol.checklists import Checklist, ChecklistItem
from evalsuite.report.facts import Fact

ItemStatus = Literal["reported", "partly", "not_reported", "not_applicable"]
STATUS_WORDS: Mapping[ItemStatus, str] = {
    "reported": "reported",
    "partly": "partly",
    "not_reported": "not reported",
    "not_applicable": "not applicable",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """One item of a checklist, its status, what is reported and what is missing, and why it does not apply."""

    item: ChecklistItem
    status: ItemStatus
    reported: tuple[Fact, ...] = ()
    missing: tuple[Fact, ...] = ()
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "item": self.item.id,
            "text": self.item.text,
            "where": list(self.item.where),
            "status": self.status,
            "reported": [_plain(f) for f in self.reported],
            "missing": [_plain(f) for f in self.missing],
            "reason": self.reason,
        }


def _plain(fact: Fact) -> dict[str, str]:
    return {"fact": fact.name, "words": fact.words, "section": fact.section}


def gaps_of(checklist: Checklist, facts: Mapping[str, Fact], waived: Mapping[str, str]) -> tuple[Gap, ...]:
    """The status of every item of a checklist.

    Parameters
    ----------
    facts
        By name; see `facts_of`.
    waived
        Items that a person declared not applicable, with the reason: ``{"claim2024 31": "shows no explanation"}``. An
        item that is reported nevertheless stays reported.

    An item is reported where everything it needs is, partly where something is, and not applicable only with a reason:
    that of each fact, the person's, or that no report can answer it.
    """
    return tuple(_gap(item, facts, waived.get(f"{checklist.name} {item.id}", "")) for item in checklist.items)


def _gap(item: ChecklistItem, facts: Mapping[str, Fact], waived: str) -> Gap:
    if item.outside:
        return Gap(item=item, status="not_applicable", reason=item.outside)
    needed = [facts[name] for name in item.needs]
    apply = [f for f in needed if f.state != "not_applicable"]
    reasons = "; ".join(dict.fromkeys(f.reason for f in needed if f.state == "not_applicable"))
    if not apply:
        return Gap(item=item, status="not_applicable", reason=reasons)
    reported = tuple(f for f in apply if f.state == "reported")
    missing = tuple(f for f in apply if f.state == "open")
    if not missing:
        return Gap(item=item, status="reported", reported=reported, reason=reasons)
    if waived:
        return Gap(item=item, status="not_applicable", reported=reported, missing=missing, reason=waived)
    status: ItemStatus = "partly" if reported else "not_reported"
    return Gap(item=item, status=status, reported=reported, missing=missing, reason=reasons)

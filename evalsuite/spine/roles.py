"""Roles: who may do what, and which two things one person must not do; checked against the ledger, and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evalsuite.errors import InputError
from evalsuite.protocol.schema import Roles
from evalsuite.record.ledger import Entry
from evalsuite.record.usage import RUN, spans

ROLES = ("author", "custodian", "operator", "statistician", "reviewer", "qa")
#: Who may enter what. Scoring and reporting are the operator's too: `run` does all of it in one go.
MAY = {
    "locked": ("custodian",),
    "waived": ("custodian",),
    "frozen": ("author", "statistician"),
    "run_started": ("operator",),
    "run_resumed": ("operator",),
    "model_failed": ("operator",),
    "predictions_sealed": ("operator",),
    "unblinded": ("operator", "statistician"),
    "analysed": ("operator", "statistician"),
    "reported": ("operator", "statistician"),
    "signed": ("author", "reviewer", "qa"),
    "void": ("custodian", "qa"),
}
#: Who may read everything: the regulatory assessment team. Authors and operators get summaries.
ASSESSORS = ("custodian", "statistician", "reviewer", "qa")
#: Two roles that one person must not hold.
APART = (("author", "qa", "approves as QA what they wrote"), ("developer", "custodian", "keeps the test set"))
_PREFIX = "separation of duties: "


def role_of(name: str) -> str:
    """The role as the ledger writes it. InputError for a name that is none."""
    role = name.strip().lower()
    if role not in ROLES:
        raise InputError(f"No role '{name}'.", hint=f"Roles: {', '.join(ROLES)}.")
    return role


def violations(declared: Roles | None, entries: Sequence[Entry]) -> list[str]:
    """What breaks the rules, among the entries that concern one run; empty where nothing does.

    Without a `roles` block only the rules that need no names are checked.
    """
    names = {} if declared is None else declared.model_dump(exclude={"enforce"})
    acted: dict[tuple[str, str], list[Entry]] = {}
    for e in entries:
        acted.setdefault((e.actor, e.role.lower()), []).append(e)
    said = []
    for one, other, what in APART:
        holders = {*names.get(one, ()), *(p for p, role in acted if role == one)}
        others = {*names.get(other, ()), *(p for p, role in acted if role == other)}
        said += [f"{p} is {one} and {what}" for p in sorted(holders & others)]
    for (person, role), done in acted.items():
        if names.get(role) and person not in names[role]:
            said.append(f"{person} acted as {role} and is not named for that role ({_where(done)})")
        for action in dict.fromkeys(e.action for e in done if role not in MAY.get(e.action, ROLES)):
            where, may = _where([e for e in done if e.action == action]), ", ".join(MAY[action])
            said.append(f"{person} entered “{action.replace('_', ' ')}” as {role} ({where}); that is for: {may}")
    return said


def _where(entries: Sequence[Entry]) -> str:
    return f"ledger {'entry' if len(entries) == 1 else 'entries'} {spans(e.seq for e in entries)}"


def concerning(entries: Sequence[Entry], run: str, frozen_seq: int | None) -> list[Entry]:
    """The entries a run rests on: the lock, the freeze it was run under, its waivers, and its own."""
    return [e for e in entries if e.action in ("locked", "waived") or e.seq == frozen_seq or e.objects.get(RUN) == run]


def apply_to_record(record: dict[str, Any], declared: Roles | None, entries: Sequence[Entry]) -> None:
    """Write violations into a run's record: as flags, and as reasons against evidence where the protocol enforces."""
    frozen = record["protocol"]["frozen"]
    about = concerning(entries, record["run"]["id"], None if frozen is None else frozen["ledger_seq"])
    found = violations(declared, about)
    enforce = declared is not None and declared.enforce
    reasons = [r for r in record["evidence_status"]["reasons"] if not r.startswith(_PREFIX)]
    flags = [f for f in record["flags"] if not f.startswith(_PREFIX)]
    said = [f"{_PREFIX}{v}" for v in found]
    reasons += said if enforce else []
    record["flags"] = flags + said
    record["evidence_status"] = {"evidence": not reasons, "reasons": reasons}
    record["roles"] = {
        "declared": None if declared is None else declared.model_dump(mode="json"),
        "acted": [{"actor": e.actor, "role": e.role, "action": e.action, "seq": e.seq} for e in about],
        "violations": found,
        "enforced": enforce,
    }

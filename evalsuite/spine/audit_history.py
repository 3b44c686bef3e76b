"""The history of a deployment: every audit in a chain that cannot be changed unseen, what is due, and how it stands."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import InputError, LedgerError
from evalsuite.record.canonical import canonical_json
from evalsuite.record.files import atomic_write
from evalsuite.record.ledger import Draft, Entry
from evalsuite.record.store import LedgerStore, database

if TYPE_CHECKING:
    from evalsuite.protocol.schema import StudyProtocol
    from evalsuite.spine.running_context import Who

DEFAULT_NAME = "drift-history.sqlite"
AUDIT = "drift_audit"
_RUN = "audit_run"
#: From the best to the worst; what --check acts on.
STATUSES = ("normal", "not assessed", "warning", "action")


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """One audit as the history has it. `left` is what the next audits go on from, `indicators` its table of limits."""

    run: str
    utc: str
    protocol: str
    protocol_id: str
    protocol_version: str
    window: str
    model: str
    overall: str
    next_due: str
    indicators: tuple[Mapping[str, Any], ...]
    left: Mapping[str, Any]

    @property
    def status(self) -> str:
        """The worst status of its indicators."""
        found = [str(i["status"]) for i in self.indicators]
        return max(found, key=STATUSES.index) if found else "not assessed"

    def to_json(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "utc": self.utc,
            "protocol": self.protocol,
            "window": self.window,
            "model": self.model,
            "left": dict(self.left),
        }


def open_history(place: str, deployment: str) -> LedgerStore:
    """The history of a deployment, in an SQLite file or a database by its URL; made on first use.

    Raises InputError for a place that cannot be used.
    """
    url = place if "://" in place else f"sqlite:///{Path(place).absolute()}"
    if url.startswith("sqlite") and "://" not in place and not Path(place).absolute().parent.is_dir():
        raise InputError(f"There is no folder for the history {place}.", hint="Make it, or name another --history.")
    chain = hashlib.sha256(f"evalsuite drift history\n{deployment}".encode()).hexdigest()
    return database(url, testset=chain, n_cases=0)


def audits(kept: LedgerStore) -> tuple[Audit, ...]:
    """Every audit, oldest first; the chain is verified. LedgerError if it does not hold."""
    return audits_in(kept.append(lambda _: None))


def audits_in(entries: Sequence[Entry]) -> tuple[Audit, ...]:
    """The audits among a chain's entries."""
    return tuple(_audit(e) for e in entries if e.action == AUDIT)


def _audit(entry: Entry) -> Audit:
    o = entry.objects
    try:
        more = json.loads(o["result"])
        return Audit(
            run=o[_RUN],
            utc=entry.utc,
            protocol=o["protocol"],
            protocol_id=o["protocol_id"],
            protocol_version=o["protocol_version"],
            window=o["window"],
            model=o["model"],
            overall=o["overall"],
            next_due=o["next_due"],
            indicators=tuple(more["indicators"]),
            left=more["left"],
        )
    except (KeyError, ValueError) as error:
        raise LedgerError(
            f"Entry {entry.seq} of the deployment's history is not an audit as this version writes it.",
            hint="Use the version that wrote it, or restore the history from a backup.",
        ) from error


def before(found: Sequence[Audit], protocol: StudyProtocol, digest: str, *, run: str | None) -> tuple[Audit, ...]:
    """The audits of this calendar that come before the run: those of the same protocol.

    Raises
    ------
    InputError
        If the protocol was changed without a new version, or its calendar has no audit left.
    """
    known = list(found)
    own = next((i for i, a in enumerate(known) if run is not None and a.run == run), None)
    if own is not None:
        known = known[:own]
    changed = [
        a
        for a in known
        if a.protocol_id == protocol.id and a.protocol_version == protocol.version and a.protocol != digest
    ]
    if changed:
        raise InputError(
            f"Protocol {protocol.id} {protocol.version} is not the one that earlier audits were made with.",
            hint="Limits are set beforehand: give the changed protocol a new version, which begins a new calendar.",
        )
    same = tuple(a for a in known if a.protocol == digest)
    asked = protocol.analyses.drift
    assert asked is not None, "the protocol's checks require it"
    if len(same) >= asked.calendar.audits:
        raise InputError(
            f"All {asked.calendar.audits} audits of this calendar were made: its budget of false alarms is spent.",
            hint="Begin a new calendar with a new version of the protocol.",
        )
    return same


def append(kept: LedgerStore, audit: Audit, who: Who, *, after: Sequence[Audit]) -> tuple[Audit, ...]:
    """Add an audit that was computed knowing the audits `after`; adding it twice adds it once. Returns all audits.

    Raises
    ------
    InputError
        If another audit of this calendar was added in between, or the clock is behind the last entry: then nothing is
        added.
    """

    def decide(entries: tuple[Entry, ...]) -> Draft | None:
        found = audits_in(entries)
        if any(a.run == audit.run for a in found):
            return None
        known = [a.run for a in found if a.protocol == audit.protocol]
        if known != [a.run for a in after]:
            raise InputError(
                "Another audit of this deployment was recorded while this one was under way.",
                hint="The history is as that one left it: start this audit again with another --out.",
            )
        require_clock(entries, audit.utc)
        return Draft(
            action=AUDIT,
            actor=who.actor,
            role=who.role,
            utc=audit.utc,
            reason=f"audit {len(known) + 1}: {audit.status}; {audit.overall.replace('_', ' ')}",
            objects={
                _RUN: audit.run,
                "protocol": audit.protocol,
                "protocol_id": audit.protocol_id,
                "protocol_version": audit.protocol_version,
                "window": audit.window,
                "model": audit.model,
                "overall": audit.overall,
                "next_due": audit.next_due,
                "result": canonical_json(
                    {"indicators": [dict(i) for i in audit.indicators], "left": dict(audit.left)}
                ).decode(),
            },
        )

    return audits_in(kept.append(decide, signer=who.signer))


def require_clock(entries: Sequence[Entry], utc: str) -> None:
    """InputError where the clock is behind the last entry: audits would stand in the wrong order."""
    if entries and _time(utc) < _time(entries[-1].utc):
        raise InputError(
            f"The clock says {utc}, and the last audit was recorded at {entries[-1].utc}.",
            hint="Set this machine's clock right, then give the same command again.",
        )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def due(utc: str, every_days: int) -> str:
    """The day on which the next audit is due, e.g. 2026-05-01."""
    return (_time(utc) + timedelta(days=every_days)).date().isoformat()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a deployment stands: its last audit, whether the next is overdue, and whether somebody has to act."""

    last: Audit
    n_audits: int
    overdue: bool

    @property
    def in_order(self) -> bool:
        """Neither an action limit passed nor an audit overdue."""
        return not self.overdue and self.last.status != "action" and self.last.overall != "not_met"

    def to_json(self) -> dict[str, Any]:
        return {
            "audits": self.n_audits,
            "last_audit": self.last.utc,
            "status": self.last.status,
            "overall": self.last.overall,
            "next_due": self.last.next_due,
            "overdue": self.overdue,
            "in_order": self.in_order,
            "indicators": [dict(i) for i in self.last.indicators],
        }


def standing(kept: LedgerStore, *, now: str) -> Standing:
    """InputError where the history has no audit yet, LedgerError where its chain does not hold."""
    found = audits(kept)
    if not found:
        raise InputError("The history has no audit yet.", hint="evalsuite audit PROTOCOL --window CASES --baseline RUN")
    last = found[-1]
    return Standing(last=last, n_audits=len(found), overdue=_time(now).date().isoformat() > last.next_due)


def write_prometheus(path: Path, found: Standing, deployment: str) -> None:
    """The latest indicators as a text file for a node exporter. OutputError if it cannot be written."""
    where = f'deployment="{_label(deployment)}"'
    lines = [
        "# HELP evalsuite_audit_status 0 normal, 1 not assessed, 2 warning, 3 action.",
        "# TYPE evalsuite_audit_status gauge",
    ]
    each = [(f'{where},indicator="{_label(str(i["name"]))}"', i) for i in found.last.indicators]
    lines += [f"evalsuite_audit_status{{{at}}} {STATUSES.index(str(i['status']))}" for at, i in each]
    lines += ["# HELP evalsuite_audit_value The indicator's figure.", "# TYPE evalsuite_audit_value gauge"]
    lines += [f"evalsuite_audit_value{{{at}}} {i['value']!r}" for at, i in each if i["value"] is not None]
    gauges = (
        ("evalsuite_audit_met", "1 where the last audit's criteria were met.", int(found.last.overall == "met")),
        ("evalsuite_audit_overdue", "1 where the next audit is overdue.", int(found.overdue)),
        (
            "evalsuite_audit_last_timestamp_seconds",
            "When the last audit was.",
            _time(found.last.utc).timestamp(),
        ),
        ("evalsuite_audit_total", "Audits in the history.", found.n_audits),
    )
    for name, words, value in gauges:
        lines += [f"# HELP {name} {words}", f"# TYPE {name} gauge", f"{name}{{{where}}} {value!r}"]
    atomic_write(path, ("\n".join(lines) + "\n").encode())


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")

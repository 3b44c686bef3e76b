"""What the ledger of a test set says about a run: was the protocol frozen first, and how often was the set used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.protocol.load import protocol_digest
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record import ledger
from evalsuite.record.signed_head import KEY_OBJECT
from evalsuite.record.store import LedgerStore
from evalsuite.spine import states

if TYPE_CHECKING:
    from evalsuite.spine.running_context import Who

#: Sees the chain before an entry is added; raises to refuse it, returns False to leave it out.
Check = Callable[[tuple[ledger.Entry, ...]], bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceStatus:
    """Whether a run counts as evidence. `reasons` is empty if it does; `frozen` is the ledger entry that proves it."""

    frozen: Mapping[str, Any] | None
    reasons: tuple[str, ...]
    flags: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"frozen": self.frozen, "reasons": list(self.reasons), "flags": list(self.flags)}


def open_ledger(testset_path: Path, store: str | None = None) -> LedgerStore:
    """The ledger of the set at `testset_path`: in its folder, or in the database it says, or that `store` names.

    Raises LockError where the set has no readable lock, InputError where there is none or the store cannot be used.
    """
    from evalsuite.testset.open import ledger_of, read_lock

    lock, _ = read_lock(testset_path)
    return ledger_of(testset_path, lock, store)


def add(
    kept: LedgerStore, action: str, who: Who, objects: Mapping[str, str], *, reason: str, decide: Check | None = None
) -> tuple[ledger.Entry, ...]:
    """Append to the set's ledger; written and synced before this returns, its head signed where there is a key.

    `decide` sees the chain before, while nobody else can add to it: it may raise, or return False to add nothing.
    Returns the chain, the new entry last.
    """
    draft = ledger.Draft(
        action=action, actor=who.actor, role=who.role, utc=who.now(), reason=reason, objects=dict(objects)
    )
    return kept.append(lambda found: draft if decide is None or decide(found) is not False else None, signer=who.signer)


def step(
    kept: LedgerStore, action: str, who: Who, run: str, objects: Mapping[str, str], *, reason: str
) -> tuple[ledger.Entry, ...]:
    """Enter a step of a run where the steps before it are entered; see `states.require_step` for what is refused."""
    return add(
        kept,
        action,
        who,
        {"run": run, **objects},
        reason=reason,
        decide=lambda found: states.require_step(found, run, action),
    )


def amendment(found: Sequence[ledger.Entry], protocol: StudyProtocol) -> dict[str, str]:
    """What the entry of a freeze says where the same protocol was frozen before with other contents; else nothing.

    `amendment` is `major` or `minor` where the new version says which and why, and `unclassified` where it does not, or
    names another version than the one it changes, or kept its version number.
    """
    digest = protocol_digest(protocol)
    frozen = [e for e in found if e.action == "frozen" and e.objects.get("protocol_id") == protocol.id]
    earlier = [e for e in frozen if e.objects.get("protocol") != digest]
    if not earlier or frozen[-1].objects.get("protocol") == digest:
        return {}
    last = earlier[-1].objects
    declared = protocol.amendment
    classified = (
        declared is not None
        and last.get("protocol_version") in (None, declared.of)
        and protocol.version != last.get("protocol_version")
    )
    kind = declared.kind if declared is not None and classified else "unclassified"
    return {"amendment": kind, "amends": last["protocol"]}


def evidence_status(
    found: Sequence[ledger.Entry],
    *,
    protocol: StudyProtocol,
    root: str,
    model_digest: str,
    limit: int | None,
    baseline_digest: str | None = None,
) -> EvidenceStatus:
    """Judge the process, not the numbers: frozen before unblinding, unchanged since, and complete.

    A freeze that binds a baseline holds for that baseline only. One that binds none holds for the first baseline the
    model is compared with: another one after the answers had been seen is a choice made on them.
    """
    digest = protocol_digest(protocol)
    reasons: list[str] = []
    flags: list[str] = []
    frozen = next(
        (
            e
            for e in found
            if e.action == "frozen"
            and e.objects.get("protocol") == digest
            and e.objects.get("testset") == root
            and e.objects.get("model") == model_digest
            and e.objects.get("baseline") in (None, baseline_digest)
        ),
        None,
    )
    if frozen is None:
        reasons.append("the protocol was not frozen for this model and test set before the run")
    if frozen is not None and frozen.objects.get("amendment") == "unclassified":
        reasons.append(
            "the protocol was changed after it had been frozen, without a new version that says how (major or minor) "
            f"and why (ledger entry {frozen.seq})"
        )
    elif frozen is not None and "amendment" in frozen.objects:
        flags.append(f"this is a {frozen.objects['amendment']} amendment of a protocol frozen before")
    before = frozen.seq if frozen is not None else len(found) + 1
    # The same question put to the same model with other settings after the answers had been seen is post hoc.
    changed = [
        e
        for e in found
        if e.action == "unblinded"
        and e.seq < before
        and e.objects.get("model") == model_digest
        and e.objects.get("protocol_id") == protocol.id
        and e.objects.get("protocol") != digest
    ]
    if changed:
        reasons.append(
            f"the protocol was changed after the reference standard had been opened for this model (ledger entry "
            f"{changed[-1].seq})"
        )
    if baseline_digest is not None and frozen is not None and frozen.objects.get("baseline") is None:
        flags.append("the baseline was not bound when the protocol was frozen")
        swapped = [
            e
            for e in found
            if e.action == "unblinded"
            and e.objects.get("model") == model_digest
            and e.objects.get("protocol") == digest
            and e.objects.get("baseline", baseline_digest) != baseline_digest
        ]
        if swapped:
            reasons.append(
                "the baseline was exchanged after the reference standard had been opened for another one "
                f"(ledger entry {swapped[-1].seq})"
            )
    silent = [p.name for p in protocol.operating_points if not p.source]
    if silent:
        flags.append(
            f"no source is stated for operating point {', '.join(silent)}: that it was fixed beforehand is unsaid"
        )
    if limit is not None:
        reasons.append(f"only the first {limit} cases were run (--limit)")
    newer = next((e for e in reversed(found) if e.action == "testset_superseded"), None)
    if newer is not None:
        flags.append(f"the test set was superseded by a newer version on {newer.utc[:10]} (ledger entry {newer.seq})")
    return EvidenceStatus(
        frozen=None
        if frozen is None
        else {
            "utc": frozen.utc,
            "ledger_seq": frozen.seq,
            "digest": frozen.objects.get("freeze", ""),
            "key": frozen.objects.get(KEY_OBJECT),
            "timestamp_utc": frozen.objects.get("timestamp_utc"),
        },
        reasons=tuple(reasons),
        flags=tuple(flags),
    )

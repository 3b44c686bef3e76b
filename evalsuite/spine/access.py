"""Opening a reference standard outside a run, from Python: entered in the ledger and counted like a run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from evalsuite.protocol.load import protocol_digest
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record.ledger import Entry
from evalsuite.record.usage import CASES, RUN, spans
from evalsuite.spine import history, reuse
from evalsuite.spine.baseline import bound_digest
from evalsuite.spine.running_context import Who, account_name

if TYPE_CHECKING:
    from evalsuite.inference.predictions import Predictions
    from evalsuite.testset import LockedTestSet


def _bound(baseline: Predictions, original: Predictions | None) -> str:
    first = None if original is None else str(original.model.get("digest") or "")
    return bound_digest(str(baseline.model.get("digest") or ""), first)


def enter_access(
    protocol: StudyProtocol,
    testset: LockedTestSet,
    predictions: Predictions,
    *,
    baseline: Predictions | None,
    original: Predictions | None,
    actor: str,
    reason: str,
    store: str | None,
) -> reuse.Use:
    """Write the entry, unless the same protocol and predictions have one; what it uses, as the ledger had it before.

    Raises InputError where a case has no use left and the policy refuses, OutputError where nothing can be written.
    """
    n_cases = len(testset.cases)
    positions = {case.case_id: place for place, case in enumerate(testset.cases, start=1)}
    device = predictions.table["case_id"].astype(str)
    objects = {
        "protocol": protocol_digest(protocol),
        "protocol_id": protocol.id,
        "model": str(predictions.model.get("digest") or ""),
        "predictions": predictions.digest,
        CASES: spans(positions[c] for c in device if c in positions),
        **({} if baseline is None else {"baseline": _bound(baseline, original)}),
    }
    policy = reuse.policy_of(protocol.reuse_policy, testset.lock)

    def same(entry: Entry) -> bool:
        return entry.action == "unblinded" and RUN not in entry.objects and objects.items() <= entry.objects.items()

    def use_before(found: tuple[Entry, ...]) -> reuse.Use:
        place = next((i for i, e in enumerate(found) if same(e)), len(found))
        return reuse.use_of(found[:place], cases=objects[CASES], n_cases=n_cases, policy=policy)

    def decide(found: tuple[Entry, ...]) -> bool:
        if any(same(e) for e in found):
            return False
        reuse.refuse_excess(use_before(found))
        return True

    kept = history.open_ledger(testset.path, store)
    who = Who(actor=actor or account_name(), role="operator", now=_now)
    return use_before(
        history.add(kept, "unblinded", who, objects, reason=reason or "evaluated from Python", decide=decide)
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

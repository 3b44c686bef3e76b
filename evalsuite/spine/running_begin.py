"""The beginning of a run: judge the process so far, count the use of every case, enter both before data are opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evalsuite.errors import EvalsuiteError, InputError, OutputError
from evalsuite.protocol.load import protocol_digest
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record.canonical import write_json
from evalsuite.record.digest import digest_json
from evalsuite.record.ledger import Draft, Entry
from evalsuite.record.usage import CASES, FREEZE, RUN
from evalsuite.spine import history, reuse
from evalsuite.spine.baseline import Baseline
from evalsuite.spine.folder import clear_work, plan_of
from evalsuite.spine.running_context import CHANGE_NO_BYTE, Request, RunContext, other_run
from evalsuite.spine.waivers import WAIVER, Waiver, open_waiver

if TYPE_CHECKING:
    from evalsuite.models.base import AnyModel
    from evalsuite.testset import LockedTestSet


def begin_or_resume(
    run: RunContext,
    ask: Request,
    protocol: StudyProtocol,
    testset: LockedTestSet,
    model: AnyModel,
    other: Baseline | None,
) -> dict[str, Any]:
    """The plan of the run in this folder: of a new one, whose use is now in the ledger, or of the one that goes on.

    Raises
    ------
    InputError
        If the folder holds something else, or the cases have no use left and the policy refuses.
    """
    waiver = None if ask.waiver is None else open_waiver(ask.waiver, testset.lock)
    identity = {
        "protocol": protocol_digest(protocol),
        "root": testset.root,
        "model": model.digest,
        "contract": model.contract_digest,
        "limit": ask.limit,
        "overrides": {k: v for k, v in sorted(ask.overrides.items()) if k not in CHANGE_NO_BYTE},
        **({} if other is None else {"baseline": other.bound}),
        **({} if ask.audit is None else {"audit": ask.audit.digest}),
    }
    plan = plan_of(run.folder)
    if plan is not None and plan["identity"] != identity:
        raise other_run(run.folder)
    if plan is None and any(p.is_file() for p in run.folder.path.rglob("*")):
        raise InputError(
            f"{run.folder.path} is not empty and is not an unfinished run.",
            hint="Choose an empty or new folder with --out.",
        )
    if plan is None:
        plan = _new_plan(run, identity)
    elif plan["entered"]:
        plan = {**plan, "resumed": plan["resumed"] + 1}
        write_json(run.folder.plan, plan)
        history.step(run.ledger, "run_resumed", run.who, plan["run_id"], {}, reason="the same use goes on")
        return plan
    return _enter(run, ask, protocol, testset, dict(plan), waiver)


def _new_plan(run: RunContext, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The plan is on disk before its line is in the ledger: an interruption between the two costs no second use."""
    who = run.who
    started = who.now()
    plan: dict[str, Any] = {
        "identity": dict(identity),
        "run_id": digest_json({"identity": dict(identity), "started": started, "out": str(run.folder.path)})[:16],
        "started_utc": started,
        "resumed": 0,
        "entered": False,
        "command": who.command,
        "actor": who.actor,
        "role": who.role,
    }
    try:
        run.folder.work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot write {run.folder.work}: {error.strerror}.") from error
    write_json(run.folder.plan, plan)
    return plan


def _enter(
    run: RunContext,
    ask: Request,
    protocol: StudyProtocol,
    testset: LockedTestSet,
    plan: dict[str, Any],
    waiver: Waiver | None,
) -> dict[str, Any]:
    """Write the access entry, and complete the plan with what the ledger said before it.

    Checking and counting are one step of the ledger: of two runs that race for the last use of a case, one gets it.
    """
    name = plan["run_id"]

    def count(found: Sequence[Entry]) -> tuple[history.EvidenceStatus, reuse.Use]:
        status = history.evidence_status(
            found,
            protocol=protocol,
            root=testset.root,
            model_digest=plan["identity"]["model"],
            limit=ask.limit,
            baseline_digest=plan["identity"].get("baseline"),
        )
        n_cases = len(testset.cases)
        last = n_cases if ask.limit is None else min(ask.limit, n_cases)
        policy = reuse.policy_of(protocol.reuse_policy, testset.lock)
        return status, reuse.use_of(found, cases=f"1-{last}", n_cases=n_cases, policy=policy)

    def decide(found: tuple[Entry, ...]) -> Draft | None:
        if any(e.objects.get(RUN) == name for e in found):
            return None
        status, use = count(found)
        waived = None
        if waiver is not None and reuse.excess(use) is not None:
            waiver.require_unspent(found, run.who.now()[:10])
            waived = waiver
        else:
            reuse.refuse_excess(use)
        return Draft(
            action="run_started",
            actor=run.who.actor,
            role=run.who.role,
            utc=run.who.now(),
            reason=run.who.reason or "evaluation",
            objects=_objects(protocol, plan, status, use, waived),
        )

    try:
        entries = run.ledger.append(decide, signer=run.who.signer)
    except EvalsuiteError:
        clear_work(run.folder)  # nothing was used, so nothing is left behind
        raise
    entered = next(e for e in entries if e.objects.get(RUN) == name)
    status, use = count(entries[: entered.seq - 1])
    granted = waiver if waiver is not None and entered.objects.get(WAIVER) == waiver.digest else None
    said = reuse.excess(use)
    flags = [*status.flags, *([] if said is None else [said])]
    plan = {
        **plan,
        "status": {**status.to_json(), "flags": flags},
        "use": {**use.to_json(), "waiver": None if granted is None else granted.to_json()},
        "entered": True,
    }
    write_json(run.folder.plan, plan)
    return plan


def _objects(
    protocol: StudyProtocol,
    plan: Mapping[str, Any],
    status: history.EvidenceStatus,
    use: reuse.Use,
    waived: Waiver | None,
) -> dict[str, str]:
    """What the access entry binds: protocol, set, model, cases, earlier uses and what is left of the budget."""
    identity = plan["identity"]
    return {
        RUN: plan["run_id"],
        "protocol": identity["protocol"],
        "protocol_id": protocol.id,
        "testset": identity["root"],
        "model": identity["model"],
        CASES: use.cases,
        "uses_before": str(use.most),
        "uses_left": str(use.left),
        **({"baseline": identity["baseline"]} if "baseline" in identity else {}),
        **({WAIVER: waived.digest} if waived is not None else {}),
        **({FREEZE: str(status.frozen["digest"])} if status.frozen is not None else {}),
    }

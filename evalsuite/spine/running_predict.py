"""The first stage of a run: count the use, make the predictions, seal them; the reference standard stays closed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import InputError, IntegrityError, OutputError
from evalsuite.protocol.expression import compile_score
from evalsuite.protocol.freeze import load_frozen
from evalsuite.protocol.load import dump_protocol, load_protocol, protocol_digest
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record.canonical import read_json, write_json
from evalsuite.record.digest import digest_json
from evalsuite.record.files import atomic_write
from evalsuite.spine import history
from evalsuite.spine.baseline import Baseline, baseline_predictions, open_baseline
from evalsuite.spine.fit import require_columns
from evalsuite.spine.folder import plan_of, require_intact
from evalsuite.spine.running_close import keep_proofs
from evalsuite.spine.running_context import Request, RunContext, RunResult, other_run
from evalsuite.spine.scoring import require_baseline, require_supported
from evalsuite.types import Verdict

if TYPE_CHECKING:
    from evalsuite.inference.predictions import Predictions
    from evalsuite.inference.settings import InferenceSettings
    from evalsuite.models.base import AnyModel
    from evalsuite.testset import LockedTestSet


def resolve_protocol(path: Path | str) -> tuple[StudyProtocol, Mapping[str, Any] | None]:
    """A protocol from a file, a shipped name or a FROZEN folder; the freeze itself for the latter."""
    if Path(path).is_dir() and (Path(path) / "freeze.json").exists():
        frozen = load_frozen(Path(path))
        return frozen.protocol, {
            "digest": frozen.digest,
            "protocol_digest": frozen.protocol_digest,
            "testset_root": frozen.testset_root,
            "model_digest": frozen.model_digest,
            "baseline_digest": frozen.baseline_digest,
        }
    return load_protocol(path), None


def finished_run(run: RunContext, ask: Request) -> RunResult:
    """The run that is already complete in this folder; InputError if it is not the one that was asked for."""
    folder = run.folder
    require_intact(folder)
    record = read_json(folder.record)
    from evalsuite.models.open import open_model
    from evalsuite.testset import open_testset

    protocol, _ = resolve_protocol(ask.protocol_path)
    testset = open_testset(run.testset_path, verify=False)
    model = open_model(ask.model_path, contract=ask.contract, case_column=testset.lock["columns"]["case"])
    same = (
        record["protocol"]["digest"] == protocol_digest(protocol)
        and record["testset"]["root"] == testset.root
        and record["model"]["digest"] == model.digest
        and record["limit"] == ask.limit
        and (record.get("baseline") or {}).get("digest") == _digest_of(ask.baseline, testset, ask.limit)
    )
    if not same:
        raise other_run(folder)
    return RunResult(folder=folder, verdict=Verdict.from_json(read_json(folder.verdict)), already_done=True)


def _digest_of(baseline: tuple[Path, Path | None] | None, testset: LockedTestSet, limit: int | None) -> str | None:
    if baseline is None:
        return None
    return open_baseline(Path(baseline[0]), testset=testset, contract=baseline[1], limit=limit).digest


def predict_and_seal(run: RunContext, ask: Request) -> Predictions:
    """Predictions of every case, written and entered in the ledger; an interrupted stage goes on where it stopped."""
    from evalsuite.inference.engine import predict as engine_predict
    from evalsuite.inference.predictions import write_predictions
    from evalsuite.models.open import open_model
    from evalsuite.testset import open_testset, read_intake
    from evalsuite.testset.encryption import require_reference_key

    folder = run.folder
    protocol, frozen = resolve_protocol(ask.protocol_path)
    require_supported(protocol)
    require_baseline(protocol, given=ask.baseline is not None)
    testset = open_testset(run.testset_path, on_progress=lambda done, total: run.on_stage("verify", done, total))
    require_columns(protocol, testset)
    if ask.then_score:
        require_reference_key(testset, run.reference_key)
    model = open_model(ask.model_path, contract=ask.contract, case_column=testset.lock["columns"]["case"])
    other = None
    if ask.baseline is not None:
        other = open_baseline(ask.baseline[0], testset=testset, contract=ask.baseline[1], limit=ask.limit)
    if frozen is not None:
        _match_freeze(frozen, testset, model.digest, other)
    plan = _begin_or_resume(run, ask, protocol, testset, model, other)
    settings = _settings(protocol, ask.overrides)
    predictions = engine_predict(
        model,
        testset,
        settings=settings,
        work=folder.work,
        limit=ask.limit,
        on_case=lambda done, total: run.on_stage("predict", done, total),
        should_stop=run.should_stop,
        required=_outputs_needed(protocol),
    )
    atomic_write(folder.protocol, dump_protocol(protocol).encode())
    keep_proofs(run, ask.protocol_path)
    write_json(folder.model, _model_facts(model))
    write_predictions(predictions, folder.predictions)
    sealed = {"run": plan["run_id"], "predictions": predictions.digest, "model": model.digest}
    facts: dict[str, Any] = {}
    if other is not None:
        compared = baseline_predictions(
            other,
            testset,
            settings=settings,
            work=folder.work / "baseline",
            limit=ask.limit,
            on_case=lambda done, total: run.on_stage("predict", done, total),
            should_stop=run.should_stop,
        )
        write_predictions(compared, folder.baseline)
        facts = {"baseline": {**other.facts, "predictions": compared.digest}}
        sealed |= {"baseline": other.digest, "baseline_predictions": compared.digest}
    record = {
        **facts,
        **predictions.record,
        "testset_path": str(run.testset_path.resolve()),
        "model_path": str(ask.model_path.resolve()),
        "intake": read_intake(testset),
        "files": {"n_files": len(testset.lock.get("files", [])), "n_bytes": _total_bytes(testset)},
    }
    write_json(folder.work / "inference.json", record)
    # The labels are opened only after this line is on disk (trust, "Lock and ledger").
    if not plan.get("sealed"):
        history.add(
            run.testset_path,
            "predictions_sealed",
            run.who,
            sealed,
            reason="outputs complete; the reference standard is still closed",
        )
        write_json(folder.plan, {**plan, "sealed": True})
    return predictions


def _begin_or_resume(
    run: RunContext,
    ask: Request,
    protocol: StudyProtocol,
    testset: LockedTestSet,
    model: AnyModel,
    other: Baseline | None,
) -> dict[str, Any]:
    folder = run.folder
    status = history.evidence_status(
        history.entries(run.testset_path),
        protocol=protocol,
        root=testset.root,
        model_digest=model.digest,
        limit=ask.limit,
        baseline_digest=None if other is None else other.digest,
    )
    identity = {
        "protocol": protocol_digest(protocol),
        "root": testset.root,
        "model": model.digest,
        "contract": model.contract_digest,
        "limit": ask.limit,
        "overrides": dict(sorted(ask.overrides.items())),
        **({} if other is None else {"baseline": other.digest}),
    }
    plan = plan_of(folder)
    if plan is not None and plan["identity"] != identity:
        raise other_run(folder)
    if plan is None and any(p.is_file() for p in folder.path.rglob("*")):
        raise InputError(
            f"{folder.path} is not empty and is not an unfinished run.",
            hint="Choose an empty or new folder with --out.",
        )
    if plan is None:
        return _begin(run, testset, protocol, identity, status)
    plan = {**plan, "resumed": plan["resumed"] + 1}
    write_json(folder.plan, plan)
    history.add(run.testset_path, "run_resumed", run.who, {"run": plan["run_id"]}, reason="the same use goes on")
    return plan


def _settings(protocol: StudyProtocol, overrides: Mapping[str, Any]) -> InferenceSettings:
    from evalsuite.inference.settings import InferenceSettings

    return InferenceSettings(
        device=overrides.get("device") or protocol.inference.device,
        precision=protocol.inference.precision,
        backend=protocol.inference.backend,
        batch_size=overrides.get("batch_size") or protocol.inference.batch_size,
        threads=overrides.get("threads"),
        decoders=overrides.get("decoders"),
        seed=protocol.seed % 2**32,
    )


def _model_facts(model: AnyModel) -> dict[str, Any]:
    return {
        "schema": "evalsuite/model/1",
        "name": model.name,
        "format": model.format,
        "digest": model.digest,
        "contract_digest": model.contract_digest,
        "contract": model.contract.model_dump(mode="json"),
        "size_bytes": model.size_bytes,
        "notes": list(model.notes),
    }


def _outputs_needed(protocol: StudyProtocol) -> tuple[str, ...]:
    """The outputs the score is made of: gaps in any other column of recorded predictions do not matter."""
    return compile_score(protocol.task.score).names


def _total_bytes(testset: LockedTestSet) -> int:
    return sum(int(f["size"]) for f in testset.lock.get("files", []))


def _match_freeze(
    frozen: Mapping[str, Any], testset: LockedTestSet, model_digest: str, baseline: Baseline | None
) -> None:
    wrong = []
    if frozen["testset_root"] != testset.root:
        wrong.append("test set")
    if frozen["model_digest"] != model_digest:
        wrong.append("model")
    if frozen["baseline_digest"] is not None and baseline is not None and baseline.digest != frozen["baseline_digest"]:
        wrong.append("baseline")
    if wrong:
        raise IntegrityError(
            f"The frozen protocol was bound to another {' and another '.join(wrong)}.",
            hint="Run it on what it was frozen for, or freeze the protocol for this model and test set.",
        )


def _begin(
    run: RunContext,
    testset: LockedTestSet,
    protocol: StudyProtocol,
    identity: Mapping[str, Any],
    status: history.EvidenceStatus,
) -> dict[str, Any]:
    """Count the use, and write it to the ledger before any image is read."""
    folder, who = run.folder, run.who
    uses = history.uses(history.entries(testset.path))
    policy = protocol.reuse_policy
    if uses >= policy.max_uses_per_case and policy.on_excess == "refuse":
        raise InputError(
            f"This test set has been used {uses} times; the protocol allows {policy.max_uses_per_case} uses per case.",
            hint="Lock fresh cases. (A use counts whether or not it was finished or reported.)",
        )
    started = who.now()
    plan: dict[str, Any] = {
        "identity": identity,
        "run_id": digest_json({"identity": dict(identity), "started": started, "uses": uses})[:16],
        "started_utc": started,
        "uses_before": uses,
        "resumed": 0,
        "status": status.to_json(),
        "command": who.command,
        "actor": who.actor,
        "role": who.role,
    }
    try:
        folder.work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot write {folder.work}: {error.strerror}.") from error
    history.add(
        testset.path,
        "run_started",
        who,
        {
            "run": plan["run_id"],
            "protocol": identity["protocol"],
            "protocol_id": protocol.id,
            "testset": testset.root,
            "model": identity["model"],
            "uses_before": str(uses),
            **({"baseline": identity["baseline"]} if "baseline" in identity else {}),
        },
        reason=who.reason or "evaluation",
    )
    write_json(folder.plan, plan)
    return plan

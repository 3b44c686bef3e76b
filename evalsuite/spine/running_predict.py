"""The first stage of a run: count the use, make the predictions, seal them; the reference standard stays closed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import IntegrityError
from evalsuite.protocol.comparisons import BASELINE
from evalsuite.protocol.expression import compile_score
from evalsuite.protocol.freeze import load_frozen
from evalsuite.protocol.load import dump_protocol, load_protocol, protocol_digest
from evalsuite.protocol.robustness import names_of
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record.canonical import read_json, write_json
from evalsuite.record.files import atomic_write
from evalsuite.record.ledger import Entry
from evalsuite.spine import history, states
from evalsuite.spine.baseline import (
    Baseline,
    baseline_predictions,
    bound_digest,
    is_run,
    open_baseline,
    recorded_digest,
    timed,
)
from evalsuite.spine.decisions import decisions
from evalsuite.spine.fit import require_columns
from evalsuite.spine.folder import require_intact
from evalsuite.spine.running_begin import begin_or_resume
from evalsuite.spine.running_close import keep_proofs
from evalsuite.spine.running_context import Request, RunContext, RunResult, finished, other_run
from evalsuite.spine.running_models import model_at_work, opened_models, require_sandboxes
from evalsuite.spine.scoring import require_audit, require_baseline, require_supported
from evalsuite.spine.study import describe
from evalsuite.types import Verdict

if TYPE_CHECKING:
    from evalsuite.inference.predictions import Predictions
    from evalsuite.inference.remote import Cluster
    from evalsuite.inference.settings import InferenceSettings
    from evalsuite.models.base import AnyModel
    from evalsuite.testset import LockedTestSet


_COMPILERS = 256


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
    from evalsuite.sandbox.open import digest_of
    from evalsuite.testset import open_testset

    protocol, _ = resolve_protocol(ask.protocol_path)
    testset = open_testset(run.testset_path, verify=False, store=run.store)
    same = (
        record["protocol"]["digest"] == protocol_digest(protocol)
        and record["testset"]["root"] == testset.root
        and record["model"]["digest"] == digest_of(ask.model_path)
        and record["limit"] == ask.limit
        and recorded_digest(record) == _digest_of(ask, testset)
        and (record.get("audit") or {}).get("digest") == (None if ask.audit is None else ask.audit.digest)
    )
    if not same:
        raise other_run(folder)
    return finished(folder, Verdict.from_json(read_json(folder.verdict)), already_done=True)


def _digest_of(ask: Request, testset: LockedTestSet) -> str | None:
    """What is bound of the devices to compare with; a package is not opened for it."""
    from evalsuite.sandbox.open import digest_of

    def digest(asked: tuple[Path, Path | None]) -> str:
        path, contract = asked
        if is_run(path):
            return open_baseline(path, testset=testset, contract=contract, limit=ask.limit).digest
        return digest_of(path)

    if ask.baseline is None:
        return None
    return bound_digest(digest(ask.baseline), None if ask.original is None else digest(ask.original))


def predict_and_seal(run: RunContext, ask: Request) -> Predictions:
    """Predictions of every case, written and entered in the ledger; an interrupted stage goes on where it stopped."""
    from evalsuite.testset import open_testset
    from evalsuite.testset.encryption import require_reference_key

    require_sandboxes(ask)
    protocol, frozen = resolve_protocol(ask.protocol_path)
    require_supported(protocol)
    require_baseline(protocol, given=ask.baseline is not None, original=ask.original is not None)
    require_audit(protocol, given=ask.audit is not None)
    testset = open_testset(
        run.testset_path, on_progress=lambda done, total: run.on_stage("verify", done, total), store=run.store
    )
    require_columns(protocol, testset)
    study = describe(ask.study, ask.protocol_path, protocol)
    if ask.then_score:
        require_reference_key(testset, run.reference_key)
    with opened_models(run, _with_compiler(ask, protocol), testset) as (model, other):
        if frozen is not None:
            _match_freeze(frozen, testset, model.digest, other)
        return _predict_and_seal(run, ask, protocol, testset, model, other, study)


def _with_compiler(ask: Request, protocol: StudyProtocol) -> Request:
    """torch.compile starts the system's compiler, so the sandbox must then allow processes."""
    if protocol.inference.backend != "compile":
        return ask
    limits = replace(ask.sandbox.limits, processes=ask.sandbox.limits.processes or _COMPILERS)
    return replace(ask, sandbox=replace(ask.sandbox, limits=limits))


def _predict_and_seal(
    run: RunContext,
    ask: Request,
    protocol: StudyProtocol,
    testset: LockedTestSet,
    model: AnyModel,
    other: Baseline | None,
    study: Mapping[str, Any] | None,
) -> Predictions:
    from evalsuite.inference.engine import predict as engine_predict
    from evalsuite.inference.mask_store import copy_masks
    from evalsuite.inference.perturbed import predict_perturbed, require_perturbable
    from evalsuite.inference.predictions import write_predictions
    from evalsuite.inference.shortcut_images import predict_shortcuts, require_changeable
    from evalsuite.models.address import shown
    from evalsuite.testset import read_intake

    folder = run.folder
    degraded = protocol.analyses.robustness
    if degraded is not None:
        require_perturbable(degraded, model)
    explained = protocol.analyses.interpretability
    shortcuts = () if explained is None else explained.shortcuts
    require_changeable(shortcuts, model)
    if explained is not None and explained.methods:
        from evalsuite.inference.attributed import attribute_sample, require_attributable  # loads torch
        from evalsuite.inference.attribution_store import write_attributions

        require_attributable(explained, model, score=protocol.task.score)
    plan = begin_or_resume(run, ask, protocol, testset, model, other)
    settings = _settings(protocol, ask.overrides)
    with model_at_work(run, model.digest):
        predictions = engine_predict(
            model,
            testset,
            settings=settings,
            work=folder.work,
            limit=ask.limit,
            on_case=lambda done, total: run.on_stage("predict", done, total),
            should_stop=run.should_stop,
            required=_outputs_needed(protocol),
            decide=decisions(protocol),
            coordinates=protocol.task.coordinates,
            conditions=() if degraded is None else names_of(degraded),
            cluster=_cluster(ask, ask.model_path, ask.contract),
        )
        changed: dict[str, Any] = {
            "settings": settings,
            "seed": protocol.seed,
            "limit": ask.limit,
            "should_stop": run.should_stop,
            "required": _outputs_needed(protocol),
        }
        if degraded is not None:
            predictions = predict_perturbed(
                model,
                testset,
                degraded,
                predictions,
                work=folder.work / "robustness",
                on_case=lambda done, total: run.on_stage("degrade", done, total),
                **changed,
            )
        predictions = predict_shortcuts(
            model,
            testset,
            shortcuts,
            predictions,
            work=folder.work / "shortcuts",
            on_case=lambda done, total: run.on_stage("shortcuts", done, total),
            **changed,
        )
        maps = None
        if explained is not None and explained.methods:
            maps = attribute_sample(
                model,
                testset,
                explained,
                score=protocol.task.score,
                settings=settings,
                work=folder.work / "attribution",
                seed=protocol.seed,
                limit=ask.limit,
                on_pass=lambda done, total: run.on_stage("attribute", done, total),
                should_stop=run.should_stop,
            )
    atomic_write(folder.protocol, dump_protocol(protocol).encode())
    keep_proofs(run, ask.protocol_path)
    write_json(folder.model, _model_facts(model))
    write_predictions(predictions, folder.predictions)
    copy_masks(predictions.mask_files, folder.arrays)
    if maps is not None:
        write_attributions(maps, folder.arrays)
    sealed = {"run": plan["run_id"], "predictions": predictions.digest, "model": model.digest}
    facts: dict[str, Any] = {} if study is None else {"study": study}
    sealed |= {} if study is None else {"study": study["sha256"]}
    for who, device in (other.named if other is not None else {}).items():
        with model_at_work(run, device.digest):
            compared = baseline_predictions(
                device,
                testset,
                settings=settings,
                work=folder.work / who,
                limit=ask.limit,
                on_case=lambda done, total: run.on_stage("predict", done, total),
                should_stop=run.should_stop,
                required=_outputs_needed(protocol) if protocol.task.kind in ("detection", "segmentation") else None,
                coordinates=protocol.task.coordinates,
                cluster=_cluster_of(ask, who),
            )
        write_predictions(compared, folder.compared(who))
        copy_masks(compared.mask_files, folder.arrays / who)
        took = {} if device.model is None else {"inference": timed(compared.record.get("inference") or {})}
        facts[who] = {**device.facts, **took, "predictions": compared.digest}
        sealed |= {who: device.digest, f"{who}_predictions": compared.digest}
    if ask.audit is not None:
        ask.audit.write(folder)
        facts |= {"audit": {"digest": ask.audit.digest, "device": ask.audit.device}}
        sealed |= {"audit": ask.audit.digest}
    record = {
        **facts,
        **predictions.record,
        **({} if maps is None else {"interpretability": maps.record}),
        "testset_path": str(run.testset_path.resolve()),
        "model_path": shown(ask.model_path),
        "intake": read_intake(testset),
        "files": {"n_files": len(testset.lock.get("files", [])), "n_bytes": _total_bytes(testset)},
    }
    if made_by := getattr(model, "model_digests", ()):
        # Recorded predictions that say which model made them: an audit's window must be of the same one.
        record["inference"] = {**record.get("inference", {}), "model_digests": list(made_by)}
    write_json(folder.work / "inference.json", record)
    # The labels are opened only after this line is on disk (trust, "Lock and ledger").
    history.add(
        run.ledger,
        "predictions_sealed",
        run.who,
        sealed,
        reason="outputs complete; the reference standard is still closed",
        decide=lambda found: _not_yet_sealed(found, plan["run_id"], predictions.digest),
    )
    return predictions


def _not_yet_sealed(found: tuple[Entry, ...], run_id: str, digest: str) -> bool:
    """Whether the predictions still have to be entered; a resumed run must come to those that were."""
    if states.sealed_predictions(found, run_id) is not None:
        states.require_sealed(found, run_id, digest)
        return False
    states.require_step(found, run_id, "predictions_sealed")
    return True


def _settings(protocol: StudyProtocol, overrides: Mapping[str, Any]) -> InferenceSettings:
    from evalsuite.inference.settings import InferenceSettings

    return InferenceSettings(
        device=overrides.get("device") or protocol.inference.device,
        precision=protocol.inference.precision,
        backend=protocol.inference.backend,
        memory_format=protocol.inference.memory_format,
        batch_size=overrides.get("batch_size") or protocol.inference.batch_size,
        threads=overrides.get("threads"),
        workers=overrides.get("workers"),
        cache=None if overrides.get("cache") is None else Path(overrides["cache"]),
        decoders=overrides.get("decoders"),
        seed=protocol.seed % 2**32,
    )


def _cluster(ask: Request, model_path: Path, contract: Path | None) -> Cluster | None:
    """The runner with the package it is to open; None where this process computes."""
    if ask.runner is None:
        return None
    from evalsuite.inference.remote import Cluster

    return Cluster(runner=ask.runner, model_path=Path(model_path), contract=contract, sandbox=ask.sandbox)


def _cluster_of(ask: Request, who: str) -> Cluster | None:
    """The same for a device that is compared with."""
    place = ask.baseline if who == BASELINE else ask.original
    return None if place is None else _cluster(ask, *place)


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
    """The outputs the score is made of: gaps in any other column of recorded predictions do not matter.

    A table of marks keeps these alone, and the times of the readings where the protocol asks for them.
    """
    names = compile_score(protocol.task.score).names
    if protocol.task.kind == "detection" and protocol.readers is not None and protocol.readers.seconds is not None:
        return (*names, protocol.readers.seconds)
    return names


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
    if frozen["baseline_digest"] is not None and baseline is not None and baseline.bound != frozen["baseline_digest"]:
        wrong.append("baseline")
    if wrong:
        raise IntegrityError(
            f"The frozen protocol was bound to another {' and another '.join(wrong)}.",
            hint="Run it on what it was frozen for, or freeze the protocol for this model and test set.",
        )

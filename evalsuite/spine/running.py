"""One run from protocol to sealed report: predict, score, judge, report, each stage resumable, each on the ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import InputError, IntegrityError, Interrupted, OutputError
from evalsuite.protocol.expression import compile_score
from evalsuite.protocol.freeze import load_frozen
from evalsuite.protocol.load import dump_protocol, load_protocol, protocol_digest
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record import ledger
from evalsuite.record.canonical import read_json, write_json
from evalsuite.record.digest import digest_json
from evalsuite.record.files import atomic_write
from evalsuite.record.seal import write_seal
from evalsuite.spine import history
from evalsuite.spine.baseline import Baseline, baseline_predictions, open_baseline
from evalsuite.spine.draft import draft_record
from evalsuite.spine.fit import require_columns
from evalsuite.spine.folder import RunFolder, claimed, clear_work, plan_of, require_intact
from evalsuite.spine.scoring import evaluate, require_baseline, require_supported
from evalsuite.types import Evidence, Verdict

if TYPE_CHECKING:
    from evalsuite.inference.predictions import Predictions
    from evalsuite.testset import LockedTestSet

#: Called with (stage, done, total); stages are "verify", "predict", "evaluate", "report".
OnStage = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """Who runs this, as what, when and why: parameters, so that every output can be reproduced."""

    actor: str
    role: str = "operator"
    now: Callable[[], str]
    reason: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A finished run: its folder, verdict and where the report is."""

    folder: RunFolder
    verdict: Verdict
    already_done: bool = False


def _quiet(stage: str, done: int, total: int) -> None:
    """Nobody watches."""


def _stoppable(on_stage: OnStage, should_stop: Callable[[], bool] | None) -> OnStage:
    """The same progress callback, which also ends the command where the user asked for that."""

    def watched(stage: str, done: int, total: int) -> None:
        on_stage(stage, done, total)
        if stage != "predict" and should_stop is not None and should_stop():
            raise Interrupted("Interrupted.", hint="The same command goes on where it stopped.")

    return watched


def run(
    protocol_path: Path | str,
    *,
    testset_path: Path,
    model_path: Path,
    out: Path,
    who: Who,
    contract: Path | None = None,
    baseline_path: Path | None = None,
    baseline_contract: Path | None = None,
    limit: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    on_stage: OnStage = _quiet,
    should_stop: Callable[[], bool] | None = None,
) -> RunResult:
    """Predict, score, judge and report; a run that was interrupted goes on, one that is finished is returned as it is.

    With `baseline_path` (a model, recorded predictions or a run of the same test set) the protocol's comparisons are
    made against it.

    Raises
    ------
    EvalsuiteError
        Typed, with an exit code; see `evalsuite.errors`.
    """
    folder = RunFolder(Path(out))
    on_stage = _stoppable(on_stage, should_stop)
    with claimed(folder):
        if folder.seal.exists() and folder.verdict.exists():
            other = None if baseline_path is None else (baseline_path, baseline_contract)
            return _finished(folder, protocol_path, testset_path, model_path, contract, limit, other)
        _predict(
            protocol_path,
            testset_path=testset_path,
            model_path=model_path,
            folder=folder,
            who=who,
            contract=contract,
            baseline=None if baseline_path is None else (Path(baseline_path), baseline_contract),
            limit=limit,
            overrides=overrides or {},
            on_stage=on_stage,
            should_stop=should_stop,
        )
        _score(folder, testset_path, who, on_stage)
        verdict = _report(folder, on_stage)
        _seal(folder, Path(testset_path), who)
    return RunResult(folder=folder, verdict=verdict)


def predict_stage(
    protocol_path: Path | str,
    *,
    testset_path: Path,
    model_path: Path,
    out: Path,
    who: Who,
    contract: Path | None = None,
    limit: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    on_stage: OnStage = _quiet,
    should_stop: Callable[[], bool] | None = None,
) -> RunFolder:
    """The first stage alone: predictions made and sealed, the reference standard still closed."""
    folder = RunFolder(Path(out))
    with claimed(folder):
        if folder.seal.exists():
            require_intact(folder)
            return folder
        _predict(
            protocol_path,
            testset_path=testset_path,
            model_path=model_path,
            folder=folder,
            who=who,
            contract=contract,
            limit=limit,
            overrides=overrides or {},
            on_stage=on_stage,
            should_stop=should_stop,
        )
        record = draft_record(folder)
        write_json(folder.record, record)
        _keep_ledger(folder, Path(testset_path))
        clear_work(folder)
        write_seal(folder.path)
    return folder


def score_stage(run_path: Path, *, testset_path: Path | None, who: Who, on_stage: OnStage = _quiet) -> RunResult:
    """Evidence and verdict from sealed predictions; needs the test set, not the model."""
    folder = RunFolder(Path(run_path))
    with claimed(folder):
        require_intact(folder)
        record = read_json(folder.record)
        found = testset_path or _remembered_set(record)
        _score(folder, found, who, on_stage)
        verdict = Verdict.from_json(read_json(folder.verdict))
        if folder.pdf.exists():
            _report(folder, on_stage)
        _seal(folder, found, who)
    return RunResult(folder=folder, verdict=verdict)


def report_stage(run_path: Path, *, on_stage: OnStage = _quiet) -> RunResult:
    """PDF and HTML again from what is sealed; nothing is recomputed and the bytes come out the same."""
    folder = RunFolder(Path(run_path))
    with claimed(folder):
        require_intact(folder)
        if not folder.verdict.exists():
            raise InputError(
                f"{folder.path} has predictions but no verdict yet.", hint=f"First: evalsuite score {folder.path}"
            )
        verdict = _report(folder, on_stage)
        write_seal(folder.path)
    return RunResult(folder=folder, verdict=verdict)


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


def _finished(
    folder: RunFolder,
    protocol_path: Path | str,
    testset_path: Path,
    model_path: Path,
    contract: Path | None,
    limit: int | None,
    baseline: tuple[Path, Path | None] | None,
) -> RunResult:
    require_intact(folder)
    record = read_json(folder.record)
    from evalsuite.models.open import open_model
    from evalsuite.testset import open_testset

    protocol, _ = resolve_protocol(protocol_path)
    testset = open_testset(testset_path, verify=False)
    model = open_model(model_path, contract=contract, case_column=testset.lock["columns"]["case"])
    same = (
        record["protocol"]["digest"] == protocol_digest(protocol)
        and record["testset"]["root"] == testset.root
        and record["model"]["digest"] == model.digest
        and record["limit"] == limit
        and (record.get("baseline") or {}).get("digest") == _digest_of(baseline, testset, limit)
    )
    if not same:
        raise _other_run(folder)
    return RunResult(folder=folder, verdict=Verdict.from_json(read_json(folder.verdict)), already_done=True)


def _digest_of(baseline: tuple[Path, Path | None] | None, testset: LockedTestSet, limit: int | None) -> str | None:
    if baseline is None:
        return None
    return open_baseline(Path(baseline[0]), testset=testset, contract=baseline[1], limit=limit).digest


def _other_run(folder: RunFolder) -> InputError:
    return InputError(
        f"{folder.path} holds a run of another protocol, test set, model, baseline or limit.",
        hint="Choose another --out; a run is never overwritten.",
    )


def _predict(
    protocol_path: Path | str,
    *,
    testset_path: Path,
    model_path: Path,
    folder: RunFolder,
    who: Who,
    contract: Path | None,
    limit: int | None,
    overrides: Mapping[str, Any],
    on_stage: OnStage,
    should_stop: Callable[[], bool] | None,
    baseline: tuple[Path, Path | None] | None = None,
) -> Predictions:
    from evalsuite.inference.engine import predict as engine_predict
    from evalsuite.inference.predictions import write_predictions
    from evalsuite.inference.settings import InferenceSettings
    from evalsuite.models.open import open_model
    from evalsuite.testset import open_testset

    protocol, frozen = resolve_protocol(protocol_path)
    require_supported(protocol)
    require_baseline(protocol, given=baseline is not None)
    testset = open_testset(testset_path, on_progress=lambda done, total: on_stage("verify", done, total))
    require_columns(protocol, testset)
    model = open_model(model_path, contract=contract, case_column=testset.lock["columns"]["case"])
    store = Path(testset_path)
    other = None
    if baseline is not None:
        other = open_baseline(baseline[0], testset=testset, contract=baseline[1], limit=limit)
    if frozen is not None:
        _match_freeze(frozen, testset, model.digest, other)
    status = history.evidence_status(
        history.entries(store),
        protocol=protocol,
        root=testset.root,
        model_digest=model.digest,
        limit=limit,
        baseline_digest=None if other is None else other.digest,
    )
    identity = {
        "protocol": protocol_digest(protocol),
        "root": testset.root,
        "model": model.digest,
        "contract": model.contract_digest,
        "limit": limit,
        "overrides": dict(sorted(overrides.items())),
        **({} if other is None else {"baseline": other.digest}),
    }
    plan = plan_of(folder)
    if plan is not None and plan["identity"] != identity:
        raise _other_run(folder)
    if plan is None and any(p.is_file() for p in folder.path.rglob("*")):
        raise InputError(
            f"{folder.path} is not empty and is not an unfinished run.",
            hint="Choose an empty or new folder with --out.",
        )
    if plan is None:
        plan = _begin(folder, testset, protocol, identity, status, who)
    else:
        plan = {**plan, "resumed": plan["resumed"] + 1}
        write_json(folder.plan, plan)
        history.add(store, "run_resumed", who, {"run": plan["run_id"]}, reason="the same use goes on")
    settings = InferenceSettings(
        device=overrides.get("device") or protocol.inference.device,
        precision=protocol.inference.precision,
        backend=protocol.inference.backend,
        batch_size=overrides.get("batch_size") or protocol.inference.batch_size,
        threads=overrides.get("threads"),
        decoders=overrides.get("decoders"),
        seed=protocol.seed % 2**32,
    )
    predictions = engine_predict(
        model,
        testset,
        settings=settings,
        work=folder.work,
        limit=limit,
        on_case=lambda done, total: on_stage("predict", done, total),
        should_stop=should_stop,
        required=_outputs_needed(protocol),
    )
    atomic_write(folder.protocol, dump_protocol(protocol).encode())
    _copy(Path(testset_path) / "testset.lock.json", folder.lock)
    write_json(
        folder.model,
        {
            "schema": "evalsuite/model/1",
            "name": model.name,
            "format": model.format,
            "digest": model.digest,
            "contract_digest": model.contract_digest,
            "contract": model.contract.model_dump(mode="json"),
            "size_bytes": model.size_bytes,
            "notes": list(model.notes),
        },
    )
    write_predictions(predictions, folder.predictions)
    sealed = {"run": plan["run_id"], "predictions": predictions.digest, "model": model.digest}
    facts: dict[str, Any] = {}
    if other is not None:
        compared = baseline_predictions(
            other,
            testset,
            settings=settings,
            work=folder.work / "baseline",
            limit=limit,
            on_case=lambda done, total: on_stage("predict", done, total),
            should_stop=should_stop,
        )
        write_predictions(compared, folder.baseline)
        facts = {"baseline": {**other.facts, "predictions": compared.digest}}
        sealed |= {"baseline": other.digest, "baseline_predictions": compared.digest}
    record = {
        **facts,
        **predictions.record,
        "testset_path": str(Path(testset_path).resolve()),
        "model_path": str(Path(model_path).resolve()),
        "files": {"n_files": len(testset.lock.get("files", [])), "n_bytes": _total_bytes(testset)},
    }
    write_json(folder.work / "inference.json", record)
    # The labels are opened only after this line is on disk (trust, "Lock and ledger").
    if not plan.get("sealed"):
        history.add(
            store,
            "predictions_sealed",
            who,
            sealed,
            reason="outputs complete; the reference standard is still closed",
        )
        write_json(folder.plan, {**plan, "sealed": True})
    return predictions


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
    folder: RunFolder,
    testset: LockedTestSet,
    protocol: StudyProtocol,
    identity: Mapping[str, Any],
    status: history.EvidenceStatus,
    who: Who,
) -> dict[str, Any]:
    """Count the use, and write it to the ledger before any image is read."""
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


def _score(folder: RunFolder, testset_path: Path, who: Who, on_stage: OnStage) -> tuple[Evidence, Verdict]:
    from evalsuite.inference.predictions import read_predictions
    from evalsuite.judging import judge
    from evalsuite.testset import open_testset

    record = read_json(folder.record) if folder.record.exists() and not folder.plan.exists() else draft_record(folder)
    testset = open_testset(testset_path, verify=False)
    if testset.root != record["testset"]["root"]:
        raise IntegrityError(
            f"The test set at {testset_path} is not the one this run predicted.",
            hint="Give the set of this run with --testset.",
        )
    protocol = load_protocol(folder.protocol)
    predictions = read_predictions(folder.predictions)
    baseline = read_predictions(folder.baseline) if folder.baseline.exists() else None
    history.add(
        Path(testset_path),
        "unblinded",
        who,
        {
            "run": record["run"]["id"],
            "protocol": record["protocol"]["digest"],
            "protocol_id": protocol.id,
            "model": record["model"]["digest"],
            "predictions": predictions.digest,
            **({} if baseline is None else {"baseline": record["baseline"]["digest"]}),
        },
        reason="reference standard opened for scoring",
    )
    on_stage("evaluate", 0, 1)
    evidence = evaluate(
        protocol,
        testset,
        predictions,
        baseline=baseline,
        on_step=lambda done, total: on_stage("evaluate", done, total),
    )
    verdict = judge(protocol, evidence, not_evidence_because=tuple(record["evidence_status"]["reasons"]))
    write_json(folder.evidence, evidence.to_json())
    write_json(folder.verdict, verdict.to_json())
    history.add(
        Path(testset_path),
        "analysed",
        who,
        {"run": record["run"]["id"], "evidence": verdict.evidence_digest, "overall": verdict.overall},
        reason="evidence and verdict written",
    )
    entries = history.entries(Path(testset_path))
    head = ledger.head_of(entries)
    record["run"]["finished_utc"] = who.now()
    record["ledger"] = {
        "count": head.count,
        "head": head.digest,
        "entries": [
            {"seq": e.seq, "utc": e.utc, "actor": e.actor, "role": e.role, "action": e.action, "reason": e.reason}
            for e in entries[-30:]
        ],
    }
    write_json(folder.record, record)
    return evidence, verdict


def _report(folder: RunFolder, on_stage: OnStage) -> Verdict:
    """Render from the files of the run, and from nothing else."""
    from evalsuite.report import write_report

    on_stage("report", 0, 1)
    verdict = Verdict.from_json(read_json(folder.verdict))
    write_report(
        folder.pdf,
        protocol=load_protocol(folder.protocol),
        evidence=Evidence.from_json(read_json(folder.evidence)),
        verdict=verdict,
        record=read_json(folder.record),
        html_path=folder.html,
    )
    on_stage("report", 1, 1)
    return verdict


def _seal(folder: RunFolder, testset_path: Path, who: Who) -> None:
    record = read_json(folder.record)
    from evalsuite.record.digest import sha256_file

    history.add(
        testset_path,
        "reported",
        who,
        {"run": record["run"]["id"], "report": sha256_file(folder.pdf) if folder.pdf.exists() else ""},
        reason="report written",
    )
    _keep_ledger(folder, testset_path)
    clear_work(folder)
    write_seal(folder.path)


def _keep_ledger(folder: RunFolder, testset_path: Path) -> None:
    _copy(history.path_of(testset_path), folder.ledger)


def _copy(source: Path, target: Path) -> None:
    try:
        data = source.read_bytes()
    except OSError as error:
        raise InputError(f"Cannot read {source}: {error.strerror}.") from error
    atomic_write(target, data)


def _remembered_set(record: Mapping[str, Any]) -> Path:
    found = Path(record["paths"]["testset"])
    if not found.exists():
        raise InputError(
            f"The test set of this run is no longer at {found}.", hint="Say where it is with --testset SET."
        )
    return found

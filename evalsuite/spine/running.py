"""One run from protocol to sealed report: predict, score, judge, report, each stage resumable, each on the ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import EvalsuiteError, InputError
from evalsuite.record.canonical import read_json
from evalsuite.record.seal import require_same_signing
from evalsuite.sandbox.policy import SANDBOXED, Sandbox
from evalsuite.spine import history
from evalsuite.spine.audit_baseline import encrypted
from evalsuite.spine.folder import RunFolder, claimed, require_intact
from evalsuite.spine.running_close import render_again, render_report, seal_predictions, seal_report
from evalsuite.spine.running_context import (
    OnStage,
    Request,
    RunContext,
    RunResult,
    Who,
    finished,
    nobody_watches,
    stoppable,
    while_there,
)
from evalsuite.spine.running_predict import finished_run, predict_and_seal
from evalsuite.spine.running_score import evaluate_and_judge, remembered_set
from evalsuite.spine.study import complete_study
from evalsuite.spine.undo import keep_aside, take_back

if TYPE_CHECKING:
    from evalsuite.inference.runners import Runner
    from evalsuite.spine.audit_inputs import AuditOf
    from evalsuite.testset.encryption import ReferenceKey


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
    original_path: Path | None = None,
    original_contract: Path | None = None,
    limit: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    reference_key: ReferenceKey | None = None,
    on_stage: OnStage = nobody_watches,
    should_stop: Callable[[], bool] | None = None,
    store: str | None = None,
    waiver: Path | None = None,
    runner: Runner | None = None,
    sandbox: Sandbox = SANDBOXED,
    study: Path | None = None,
    audit: AuditOf | None = None,
) -> RunResult:
    """Predict, score, judge and report; a run that was interrupted goes on, one that is finished is returned as it is.

    With `baseline_path` (a model, recorded predictions or a run of the same test set) the protocol's comparisons are
    made against it, and with `original_path` those against the original version. `reference_key` opens an encrypted
    reference standard, after the predictions are sealed.
    `waiver` is the custodian's signed permission to use cases beyond the policy's limit. `runner` computes the shards
    elsewhere than in this process; it is no part of what the run is, so that another one may go on with it. Packages
    that can execute code run in a sandbox; `sandbox` says with which limits, or (`UNSANDBOXED`) that they run in this
    process, which the report then says on its first page. `study` is the study description; by default study.yaml
    beside the protocol, where there is one.
    `audit` is what a drift audit is held against (`evalsuite.spine.auditing`).

    Raises
    ------
    EvalsuiteError
        Typed, with an exit code; see `evalsuite.errors`.
    """
    folder = RunFolder(Path(out))
    should_stop = while_there(folder, should_stop)
    this = RunContext(
        folder=folder,
        testset_path=Path(testset_path),
        ledger=history.open_ledger(Path(testset_path), store),
        store=store,
        who=who,
        on_stage=stoppable(on_stage, should_stop),
        should_stop=should_stop,
        reference_key=reference_key,
        baseline_key=None if audit is None else audit.key,
    )
    ask = Request(
        protocol_path=protocol_path,
        model_path=Path(model_path),
        contract=contract,
        baseline=None if baseline_path is None else (Path(baseline_path), baseline_contract),
        original=None if original_path is None else (Path(original_path), original_contract),
        limit=limit,
        overrides=overrides or {},
        waiver=waiver,
        runner=runner,
        sandbox=sandbox,
        study=study,
        audit=audit,
        then_score=True,
    )
    with claimed(folder):
        take_back(folder)
        if folder.seal.exists() and folder.verdict.exists():
            return finished_run(this, ask)
        predict_and_seal(this, ask)
        evaluate_and_judge(this)
        verdict = render_report(folder, this.on_stage)
        seal_report(this)
    return finished(folder, verdict)


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
    on_stage: OnStage = nobody_watches,
    should_stop: Callable[[], bool] | None = None,
    store: str | None = None,
    waiver: Path | None = None,
    runner: Runner | None = None,
    sandbox: Sandbox = SANDBOXED,
    study: Path | None = None,
) -> RunFolder:
    """The first stage alone: predictions made and sealed, the reference standard still closed."""
    this = RunContext(
        folder=RunFolder(Path(out)),
        testset_path=Path(testset_path),
        ledger=history.open_ledger(Path(testset_path), store),
        store=store,
        who=who,
        on_stage=on_stage,
        should_stop=while_there(RunFolder(Path(out)), should_stop),
    )
    ask = Request(
        protocol_path=protocol_path,
        model_path=Path(model_path),
        contract=contract,
        limit=limit,
        overrides=overrides or {},
        waiver=waiver,
        runner=runner,
        sandbox=sandbox,
        study=study,
    )
    with claimed(this.folder):
        take_back(this.folder)
        if this.folder.seal.exists():
            require_intact(this.folder)
            return this.folder
        predict_and_seal(this, ask)
        seal_predictions(this)
    return this.folder


def score_stage(
    run_path: Path,
    *,
    testset_path: Path | None,
    who: Who,
    reference_key: ReferenceKey | None = None,
    on_stage: OnStage = nobody_watches,
    store: str | None = None,
) -> RunResult:
    """Evidence and verdict from sealed predictions; needs the test set, not the model."""
    folder = RunFolder(Path(run_path))
    with claimed(folder):
        take_back(folder)
        require_intact(folder)
        require_same_signing(folder.path, who.signer)
        of_baseline = encrypted(folder)  # an audit's window is locked in the clear; its baseline need not be
        found = testset_path or remembered_set(read_json(folder.record))
        this = RunContext(
            folder=folder,
            testset_path=Path(found),
            ledger=history.open_ledger(Path(found), store),
            store=store,
            who=who,
            on_stage=on_stage,
            reference_key=None if of_baseline else reference_key,
            baseline_key=reference_key if of_baseline else None,
        )
        keep_aside(folder)
        try:
            _, verdict = evaluate_and_judge(this)
            if folder.pdf.exists():
                render_report(folder, on_stage)
            seal_report(this)
        except EvalsuiteError:
            take_back(folder)  # refused: the run is as it was sealed, and not one file more
            raise
    return finished(folder, verdict)


def report_stage(
    run_path: Path,
    *,
    who: Who,
    on_stage: OnStage = nobody_watches,
    study: Path | None = None,
    testset_path: Path | None = None,
    store: str | None = None,
) -> RunResult:
    """PDF and HTML again from what is sealed; nothing is recomputed and the bytes come out the same.

    With `study`, a study description, the report is that of the completed description, and the ledger of the test set
    says so; `testset_path` and `store` say where that is.
    """
    folder = RunFolder(Path(run_path))
    with claimed(folder):
        take_back(folder)
        require_intact(folder)
        if not folder.verdict.exists():
            raise InputError(
                f"{folder.path} has predictions but no verdict yet.", hint=f"First: evalsuite score {folder.path}"
            )
        if study is None:
            verdict = render_again(folder, who, on_stage)
        else:
            verdict = complete_study(
                folder.path, study, who=who, testset_path=testset_path, store=store, on_stage=on_stage
            )
    return finished(folder, verdict)

"""The verbs of one run: predict, score, judge, report, and the comparison of two devices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evalsuite.cli import keys, process, show
from evalsuite.cli.console import emit_json, errors_as_exit_codes, stages
from evalsuite.cli.grouped import grouped
from evalsuite.cli.options import (
    Acting,
    BaselineContract,
    Contract,
    Json,
    Machine,
    ModelPath,
    Original,
    OriginalContract,
    Reason,
    ReferenceKeyFile,
    TestSet,
    Waiver,
)
from evalsuite.cli.signals import stop_requested

if TYPE_CHECKING:
    from evalsuite.spine import RunResult

Protocol = Annotated[str, typer.Argument(help="protocol file, frozen protocol, or the name of a shipped one")]
NewRun = Annotated[Path, typer.Option("--out", help="run folder; the same command goes on where it stopped")]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="only the first N cases; the result is marked NOT EVIDENCE")
]
Study = Annotated[
    Path | None,
    typer.Option("--study", help="study description; by default study.yaml beside the protocol, where there is one"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What may be given beside protocol, test set and model."""

    contract: Contract = None
    limit: Limit = None
    study: Study = None
    waiver: Waiver = None


@grouped
def run(
    *,
    protocol: Protocol,
    testset: TestSet,
    model: ModelPath,
    out: NewRun,
    beside: Beside,
    machine: Machine,
    reference_key: ReferenceKeyFile = None,
    acting: Acting,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Predict, score, judge and report."""
    _whole(protocol, testset, model, out, beside, machine, acting, reference_key, reason, as_json)


@grouped
def compare(
    *,
    protocol: Annotated[str, typer.Argument(help="protocol with comparisons: a file or a frozen protocol")],
    testset: TestSet,
    model: ModelPath,
    baseline: Annotated[
        Path, typer.Option("--baseline", help="what it is compared with: a model, or a run of the same test set")
    ],
    out: NewRun,
    beside: Beside,
    machine: Machine,
    baseline_contract: BaselineContract = None,
    original: Original = None,
    original_contract: OriginalContract = None,
    reference_key: ReferenceKeyFile = None,
    acting: Acting,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Compare with another version or a predicate on the same cases: predict, score, judge and report."""
    against = {
        "baseline_path": baseline,
        "baseline_contract": baseline_contract,
        "original_path": original,
        "original_contract": original_contract,
    }
    _whole(protocol, testset, model, out, beside, machine, acting, reference_key, reason, as_json, **against)


def _whole(
    protocol: str,
    testset: Path,
    model: Path,
    out: Path,
    beside: Beside,
    machine: Machine,
    acting: Acting,
    reference_key: Path | None,
    reason: str,
    as_json: bool,
    **against: Any,
) -> None:
    """A run from the images to the report, alone or against a baseline."""
    with errors_as_exit_codes(as_json=as_json), stop_requested() as should_stop:
        from evalsuite.spine import run as run_all

        with stages() as on_stage:
            result = run_all(
                protocol,
                testset_path=testset,
                model_path=model,
                out=out,
                **against,
                **_common(beside, machine, acting, reason),
                reference_key=keys.reference_key(reference_key),
                on_stage=on_stage,
                should_stop=should_stop,
            )
        _finish(result, as_json)


@grouped
def predict(
    *,
    protocol: Protocol,
    testset: TestSet,
    model: ModelPath,
    out: Annotated[Path, typer.Option("--out", help="run folder")],
    beside: Beside,
    machine: Machine,
    acting: Acting,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Run the model only; the reference standard stays closed."""
    with errors_as_exit_codes(as_json=as_json), stop_requested() as should_stop:
        from evalsuite.spine import predict_stage

        with stages() as on_stage:
            folder = predict_stage(
                protocol,
                testset_path=testset,
                model_path=model,
                out=out,
                **_common(beside, machine, acting, reason),
                on_stage=on_stage,
                should_stop=should_stop,
            )
        if as_json:
            emit_json({"run": str(folder.path), "predictions": str(folder.predictions), "exit_code": 0})
        else:
            show.predicted(folder.path)


def _common(beside: Beside, machine: Machine, acting: Acting, reason: str) -> dict[str, Any]:
    from evalsuite.spine import runner_named

    return {
        "contract": beside.contract,
        "limit": beside.limit,
        "study": beside.study,
        "waiver": beside.waiver,
        "overrides": machine.overrides(),
        "runner": runner_named(machine.runner, address=machine.address, workers=machine.workers),
        "sandbox": machine.sandbox(),
        "who": acting.who(reason),
        "store": acting.store,
    }


@grouped
def score(
    *,
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="run folder with predictions")],
    testset: Annotated[Path | None, typer.Option("--testset", help="the locked set, where it has moved")] = None,
    reference_key: ReferenceKeyFile = None,
    acting: Acting,
    as_json: Json = False,
) -> None:
    """Estimate and judge from sealed predictions; needs no model."""
    with errors_as_exit_codes(as_json=as_json):
        from evalsuite.spine import score_stage

        with stages() as on_stage:
            result = score_stage(
                run_folder,
                testset_path=testset,
                who=acting.who(role="statistician"),
                reference_key=keys.reference_key(reference_key),
                store=acting.store,
                on_stage=on_stage,
            )
        _finish(result, as_json)


@grouped
def report(
    *,
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="run folder with a verdict")],
    study: Annotated[
        Path | None, typer.Option("--study", help="a completed study description; changes no result, and is recorded")
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="a public copy beside the run: no cases, no small groups; in the ledger")
    ] = False,
    model_card: Annotated[bool, typer.Option("--model-card", help="print the model card as Markdown")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="folder for --public, file for --model-card")] = None,
    testset: Annotated[Path | None, typer.Option("--testset", help="the locked set, where it has moved")] = None,
    acting: Acting,
    as_json: Json = False,
) -> None:
    """Write the PDF and HTML again; nothing is recomputed."""
    if model_card and not public and study is None:
        process.model_card(run_folder, out, as_json)
        return
    if public or model_card or out is not None:
        process.public_copy(run_folder, public, out, study, testset, acting, as_json)
        return
    with errors_as_exit_codes(as_json=as_json):
        from evalsuite.spine import report_stage

        with stages() as on_stage:
            result = report_stage(
                run_folder,
                who=acting.who(),
                on_stage=on_stage,
                study=study,
                testset_path=testset,
                store=acting.store,
            )
        _finish(result, as_json)


def _finish(result: RunResult, as_json: bool) -> None:
    """Print the verdict and leave with its exit code."""
    code = 0 if result.verdict.overall == "met" else 1
    if as_json:
        emit_json({**show.run_facts(result), "exit_code": code})
    else:
        show.verdict(result)
    raise SystemExit(code)

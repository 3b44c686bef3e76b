"""The verbs of one run: predict, score, judge, report, and the comparison of two devices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evalsuite.cli import keys, process, show
from evalsuite.cli.console import emit_json, errors_as_exit_codes, stages
from evalsuite.cli.options import (
    Actor,
    BaselineContract,
    Contract,
    Json,
    Key,
    ModelPath,
    Reason,
    ReferenceKeyFile,
    Role,
    Store,
    TestSet,
    Unsandboxed,
    Waiver,
    sandbox_of,
    who_is,
)
from evalsuite.cli.signals import stop_requested

if TYPE_CHECKING:
    from evalsuite.spine import RunResult

Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="only the first N cases; the result is marked NOT EVIDENCE")
]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda (all there are), cuda:N or cuda:N,cuda:M; else the protocol's")
]
BatchSize = Annotated[int | None, typer.Option("--batch-size", min=1, help="cases per forward pass")]
RunnerName = Annotated[
    str, typer.Option("--runner", help="where the model runs: local (this process) or ray (workers of a cluster)")
]
Address = Annotated[
    str | None, typer.Option("--address", help="of the Ray cluster: HOST:PORT or auto; by default RAY_ADDRESS")
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="processes that hold the model; by default one per device, or the whole cluster"
    ),
]
Cache = Annotated[
    Path | None, typer.Option("--cache", help="folder that keeps decoded images for further runs; changes no result")
]
Study = Annotated[
    Path | None,
    typer.Option("--study", help="study description; by default study.yaml beside the protocol, where there is one"),
]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="torch threads")]
Timeout = Annotated[
    float | None, typer.Option("--timeout", min=1.0, help="seconds a model may take for one batch; 1800 by default")
]
Memory = Annotated[
    float | None, typer.Option("--memory", min=0.1, help="GiB a model may use; four fifths of the machine by default")
]


def run(
    protocol: Annotated[str, typer.Argument(help="protocol file, frozen protocol, or the name of a shipped one")],
    testset: TestSet,
    model: ModelPath,
    out: Annotated[Path, typer.Option("--out", help="run folder; the same command goes on where it stopped")],
    contract: Contract = None,
    limit: Limit = None,
    study: Study = None,
    waiver: Waiver = None,
    device: Device = None,
    batch_size: BatchSize = None,
    threads: Threads = None,
    cache: Cache = None,
    runner: RunnerName = "local",
    address: Address = None,
    workers: Workers = None,
    unsandboxed: Unsandboxed = False,
    timeout: Timeout = None,
    memory: Memory = None,
    reference_key: ReferenceKeyFile = None,
    key: Key = None,
    actor: Actor = "",
    role: Role = None,
    reason: Reason = "",
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Predict, score, judge and report."""
    with errors_as_exit_codes(as_json=as_json), stop_requested() as should_stop:
        from evalsuite.spine import run as run_all
        from evalsuite.spine import runner_named

        with stages() as on_stage:
            result = run_all(
                protocol,
                testset_path=testset,
                model_path=model,
                out=out,
                contract=contract,
                limit=limit,
                study=study,
                waiver=waiver,
                overrides=_overrides(device, batch_size, threads, workers if runner == "local" else None, cache),
                runner=runner_named(runner, address=address, workers=workers),
                sandbox=sandbox_of(unsandboxed, timeout, memory),
                who=who_is(actor, reason, role, key),
                reference_key=keys.reference_key(reference_key),
                store=store,
                on_stage=on_stage,
                should_stop=should_stop,
            )
        _finish(result, as_json)


def compare(
    protocol: Annotated[str, typer.Argument(help="protocol with comparisons: a file or a frozen protocol")],
    testset: TestSet,
    model: ModelPath,
    baseline: Annotated[
        Path, typer.Option("--baseline", help="what it is compared with: a model, or a run of the same test set")
    ],
    out: Annotated[Path, typer.Option("--out", help="run folder; the same command goes on where it stopped")],
    contract: Contract = None,
    baseline_contract: BaselineContract = None,
    limit: Limit = None,
    study: Study = None,
    waiver: Waiver = None,
    device: Device = None,
    batch_size: BatchSize = None,
    threads: Threads = None,
    cache: Cache = None,
    runner: RunnerName = "local",
    address: Address = None,
    workers: Workers = None,
    unsandboxed: Unsandboxed = False,
    timeout: Timeout = None,
    memory: Memory = None,
    reference_key: ReferenceKeyFile = None,
    key: Key = None,
    actor: Actor = "",
    role: Role = None,
    reason: Reason = "",
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Compare with another version or a predicate on the same cases: predict, score, judge and report."""
    with errors_as_exit_codes(as_json=as_json), stop_requested() as should_stop:
        from evalsuite.spine import run as run_all
        from evalsuite.spine import runner_named

        with stages() as on_stage:
            result = run_all(
                protocol,
                testset_path=testset,
                model_path=model,
                out=out,
                contract=contract,
                baseline_path=baseline,
                baseline_contract=baseline_contract,
                limit=limit,
                study=study,
                waiver=waiver,
                overrides=_overrides(device, batch_size, threads, workers if runner == "local" else None, cache),
                runner=runner_named(runner, address=address, workers=workers),
                sandbox=sandbox_of(unsandboxed, timeout, memory),
                who=who_is(actor, reason, role, key),
                reference_key=keys.reference_key(reference_key),
                store=store,
                on_stage=on_stage,
                should_stop=should_stop,
            )
        _finish(result, as_json)


def predict(
    protocol: Annotated[str, typer.Argument(help="protocol file, frozen protocol, or the name of a shipped one")],
    testset: TestSet,
    model: ModelPath,
    out: Annotated[Path, typer.Option("--out", help="run folder")],
    contract: Contract = None,
    limit: Limit = None,
    study: Study = None,
    waiver: Waiver = None,
    device: Device = None,
    batch_size: BatchSize = None,
    threads: Threads = None,
    cache: Cache = None,
    runner: RunnerName = "local",
    address: Address = None,
    workers: Workers = None,
    unsandboxed: Unsandboxed = False,
    timeout: Timeout = None,
    memory: Memory = None,
    key: Key = None,
    actor: Actor = "",
    role: Role = None,
    reason: Reason = "",
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Run the model only; the reference standard stays closed."""
    with errors_as_exit_codes(as_json=as_json), stop_requested() as should_stop:
        from evalsuite.spine import predict_stage, runner_named

        with stages() as on_stage:
            folder = predict_stage(
                protocol,
                testset_path=testset,
                model_path=model,
                out=out,
                contract=contract,
                limit=limit,
                study=study,
                waiver=waiver,
                overrides=_overrides(device, batch_size, threads, workers if runner == "local" else None, cache),
                runner=runner_named(runner, address=address, workers=workers),
                sandbox=sandbox_of(unsandboxed, timeout, memory),
                who=who_is(actor, reason, role, key),
                store=store,
                on_stage=on_stage,
                should_stop=should_stop,
            )
        if as_json:
            emit_json({"run": str(folder.path), "predictions": str(folder.predictions), "exit_code": 0})
        else:
            show.predicted(folder.path)


def score(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="run folder with predictions")],
    testset: Annotated[Path | None, typer.Option("--testset", help="the locked set, where it has moved")] = None,
    reference_key: ReferenceKeyFile = None,
    key: Key = None,
    actor: Actor = "",
    role: Role = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Estimate and judge from sealed predictions; needs no model."""
    with errors_as_exit_codes(as_json=as_json):
        from evalsuite.spine import score_stage

        with stages() as on_stage:
            result = score_stage(
                run_folder,
                testset_path=testset,
                who=who_is(actor, "", role or "statistician", key),
                reference_key=keys.reference_key(reference_key),
                store=store,
                on_stage=on_stage,
            )
        _finish(result, as_json)


def report(
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
    key: Key = None,
    actor: Actor = "",
    role: Role = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Write the PDF and HTML again; nothing is recomputed."""
    if model_card and not public and study is None:
        process.model_card(run_folder, out, as_json)
        return
    if public or model_card or out is not None:
        process.public_copy(run_folder, public, out, study, testset, key, actor, role, store, as_json)
        return
    with errors_as_exit_codes(as_json=as_json):
        from evalsuite.spine import report_stage

        with stages() as on_stage:
            result = report_stage(
                run_folder,
                who=who_is(actor, "", role or "operator", key),
                on_stage=on_stage,
                study=study,
                testset_path=testset,
                store=store,
            )
        _finish(result, as_json)


def _overrides(
    device: str | None, batch_size: int | None, threads: int | None, workers: int | None, cache: Path | None
) -> dict[str, object]:
    given = {
        "device": device,
        "batch_size": batch_size,
        "threads": threads,
        "workers": workers,
        "cache": None if cache is None else str(cache.resolve()),
    }
    return {k: v for k, v in given.items() if v is not None}


def _finish(result: RunResult, as_json: bool) -> None:
    """Print the verdict and leave with its exit code."""
    code = 0 if result.verdict.overall == "met" else 1
    if as_json:
        emit_json({**show.run_facts(result), "exit_code": code})
    else:
        show.verdict(result)
    raise SystemExit(code)

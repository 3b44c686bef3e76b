"""The verbs of `evalsuite`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evalsuite.cli import keys, process, show
from evalsuite.cli.audit import audit
from evalsuite.cli.console import emit_json, errors_as_exit_codes, stages
from evalsuite.cli.gaps import gaps
from evalsuite.cli.lock import lock
from evalsuite.cli.options import Actor, Json, Key, Reason, ReferenceKeyFile, Role, Store, Waiver, who_is
from evalsuite.cli.plan import plan
from evalsuite.cli.review import review
from evalsuite.cli.selftest import selftest
from evalsuite.cli.sign import sign
from evalsuite.cli.signals import stop_requested
from evalsuite.errors import InputError

if TYPE_CHECKING:
    from evalsuite.sandbox.policy import Sandbox
    from evalsuite.spine import RunResult

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Validate deep learning in medical imaging: lock a test set, freeze a protocol, run a model, judge, report.",
    epilog="Exit codes: 0 all criteria met · 1 not met or inconclusive · 2 usage, protocol or input error · "
    "3 a lock, ledger, digest or signature is broken · 4 the model failed · 130 interrupted, resumable.",
)

TestSet = Annotated[Path, typer.Option("--testset", help="the locked test set")]
ModelPath = Annotated[Path, typer.Option("--model", help="a packaged model, or a table of recorded predictions")]
Contract = Annotated[Path | None, typer.Option("--contract", help="contract of a model whose package has none")]
BaselineContract = Annotated[
    Path | None, typer.Option("--baseline-contract", help="contract of a baseline whose package has none")
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="only the first N cases; the result is marked NOT EVIDENCE")
]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda (all there are), cuda:N or cuda:N,cuda:M; else the protocol's")
]
BatchSize = Annotated[int | None, typer.Option("--batch-size", min=1, help="cases per forward pass")]
TrustedKeys = Annotated[
    list[Path] | None,
    typer.Option("--trust", help="public key, or certificate, that signatures must be by; repeat it for several"),
]
TsaCertificate = Annotated[
    Path | None, typer.Option("--tsa-cert", help="certificate (PEM) of the timestamp authority, to check its answer")
]
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
Unsandboxed = Annotated[
    bool, typer.Option("--unsandboxed", help="run the package's code in this process; the report says so")
]
Timeout = Annotated[
    float | None, typer.Option("--timeout", min=1.0, help="seconds a model may take for one batch; 1800 by default")
]
Memory = Annotated[
    float | None, typer.Option("--memory", min=0.1, help="GiB a model may use; four fifths of the machine by default")
]


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(help="folder to make")],
    source: Annotated[str, typer.Option("--from", help="a shipped protocol")] = "generic_binary_standalone",
    as_json: Json = False,
) -> None:
    """Scaffold a study: protocol, case-table template and the next steps."""
    with errors_as_exit_codes(as_json=as_json):
        from evalsuite.spine import scaffold

        made = scaffold(directory, source)
        if as_json:
            emit_json({"directory": str(directory), "files": [str(p) for p in made], "exit_code": 0})
        else:
            show.scaffolded(directory, made)


@app.command()
def keygen(
    path: Annotated[Path, typer.Argument(metavar="KEY", help="file of the new private key; KEY.pub is the public one")],
    reference: Annotated[
        bool, typer.Option("--reference", help="a key that encrypts a reference standard, instead of one that signs")
    ] = False,
    name: Annotated[
        str | None,
        typer.Option("--name", help="make KEY a certificate to sign reports with (PKCS#12), made out to this name"),
    ] = None,
    passphrase: Annotated[bool, typer.Option("--passphrase", help="ask for a passphrase to protect it")] = False,
    as_json: Json = False,
) -> None:
    """Make a key to sign with, or one to encrypt a reference standard with."""
    with errors_as_exit_codes(as_json=as_json):
        if reference and name is not None:
            raise InputError("A key signs or encrypts, not both.", hint="Leave out --name or --reference.")
        made = keys.make(path, reference=reference, ask_passphrase=passphrase, name=name)
        if as_json:
            emit_json({**made, "exit_code": 0})
        else:
            show.key_made(made)


app.command(name="lock")(lock)
app.command(name="audit")(audit)
app.command(name="plan")(plan)
app.command(name="sign")(sign)
app.command(name="gaps")(gaps)
app.command(name="selftest")(selftest)
app.command(name="export")(process.export)
app.command(name="package")(process.package)
app.command(name="void")(process.void)
app.command(name="waive")(process.waive)
app.command(name="review")(review)


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="model package, test set, protocol, frozen protocol, run or package")],
    testset: Annotated[Path | None, typer.Option("--testset", help="say whether it fits this set")] = None,
    contract: Contract = None,
    draft: Annotated[
        Path | None, typer.Option("--draft", help="write a contract to complete here, for a model that has none")
    ] = None,
    store: Store = None,
    unsandboxed: Unsandboxed = False,
    as_json: Json = False,
) -> None:
    """Say what something is, and whether it fits the others."""
    with errors_as_exit_codes(as_json=as_json):
        from evalsuite.spine import inspect as inspect_path

        found = inspect_path(
            path, testset=testset, contract=contract, store=store, draft=draft, sandbox=_sandbox(unsandboxed)
        )
        if as_json:
            emit_json({**found, "exit_code": 0})
        else:
            show.inspected(found)


@app.command()
def freeze(
    protocol: Annotated[str, typer.Argument(help="protocol file or the name of a shipped one")],
    testset: TestSet,
    model: ModelPath,
    out: Annotated[Path, typer.Option("--out", help="folder of the frozen protocol")],
    contract: Contract = None,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="bind what it is compared with: a model or a run of this set")
    ] = None,
    baseline_contract: BaselineContract = None,
    key: Key = None,
    tsa: Annotated[
        str | None,
        typer.Option("--tsa", envvar="EVALSUITE_TSA", help="address of an RFC 3161 timestamp authority; else none"),
    ] = None,
    tsa_cert: TsaCertificate = None,
    actor: Actor = "",
    role: Role = None,
    reason: Reason = "",
    store: Store = None,
    unsandboxed: Unsandboxed = False,
    as_json: Json = False,
) -> None:
    """Bind protocol, model digest and test set before the reference standard is opened."""
    with errors_as_exit_codes(as_json=as_json):
        from evalsuite.spine import freeze as freeze_protocol

        frozen = freeze_protocol(
            protocol,
            testset_path=testset,
            model_path=model,
            out=out,
            contract=contract,
            baseline_path=baseline,
            baseline_contract=baseline_contract,
            who=who_is(actor, reason, role or "author", key),
            store=store,
            tsa=tsa,
            tsa_roots=keys.certificates(tsa_cert),
            sandbox=_sandbox(unsandboxed),
        )
        if as_json:
            emit_json({**frozen, "path": str(out), "exit_code": 0})
        else:
            show.frozen(frozen, out, testset, model, contract, baseline)


@app.command()
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
                sandbox=_sandbox(unsandboxed, timeout, memory),
                who=who_is(actor, reason, role, key),
                reference_key=keys.reference_key(reference_key),
                store=store,
                on_stage=on_stage,
                should_stop=should_stop,
            )
        _finish(result, as_json)


@app.command()
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
                sandbox=_sandbox(unsandboxed, timeout, memory),
                who=who_is(actor, reason, role, key),
                reference_key=keys.reference_key(reference_key),
                store=store,
                on_stage=on_stage,
                should_stop=should_stop,
            )
        _finish(result, as_json)


@app.command()
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
                sandbox=_sandbox(unsandboxed, timeout, memory),
                who=who_is(actor, reason, role, key),
                store=store,
                on_stage=on_stage,
                should_stop=should_stop,
            )
        if as_json:
            emit_json({"run": str(folder.path), "predictions": str(folder.predictions), "exit_code": 0})
        else:
            show.predicted(folder.path)


@app.command()
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


@app.command()
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


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="test set, run, frozen protocol, package, ledger or report")],
    trust: TrustedKeys = None,
    tsa_cert: TsaCertificate = None,
    reference_key: ReferenceKeyFile = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Recompute every digest and say what holds and what does not."""
    with errors_as_exit_codes(as_json=as_json):
        from evalsuite.spine import verify as verify_path

        with stages() as on_stage:
            result = verify_path(
                path,
                trust=keys.trust(trust),
                tsa_roots=keys.certificates(tsa_cert),
                reference_key=keys.reference_key(reference_key),
                store=store,
                on_progress=lambda done, total: on_stage("verify", done, total),
            )
        code = 0 if result.intact else 3
        if as_json:
            emit_json({**result.to_json(), "exit_code": code})
        else:
            show.verified(result)
        raise SystemExit(code)


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="protocols, metrics, models, analyses or checklists")],
    as_json: Json = False,
) -> None:
    """What is installed."""
    with errors_as_exit_codes(as_json=as_json):
        from evalsuite.spine import listing

        title, rows = listing(what)
        if as_json:
            emit_json({what: rows, "exit_code": 0})
        else:
            show.table(title, rows)


@app.command()
def schema(
    kind: Annotated[str | None, typer.Argument(help="a file kind; without it the kinds are listed")] = None,
) -> None:
    """Print the JSON Schema of a file kind."""
    with errors_as_exit_codes():
        from evalsuite.spine import schema_kinds, schema_of

        if kind is None:
            emit_json({"kinds": schema_kinds()})
            return
        if kind not in schema_kinds():
            raise InputError(f"No file kind '{kind}'.", hint=f"Kinds: {', '.join(schema_kinds())}.")
        emit_json(schema_of(kind))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what this environment has, and what is missing."""
    with errors_as_exit_codes(as_json=as_json):
        from evalsuite.spine import examine

        checks = examine()
        code = 0 if all(c["status"] != "missing" for c in checks) else 2
        if as_json:
            emit_json({"checks": checks, "exit_code": code})
        else:
            show.table("Environment", checks)
        raise SystemExit(code)


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


def _sandbox(unsandboxed: bool, timeout: float | None = None, memory: float | None = None) -> Sandbox:
    """How packages that can execute code are run, with the limits given."""
    from evalsuite.sandbox.policy import GIB, Limits, Sandbox

    limits = Limits(batch_s=timeout or Limits().batch_s, memory_bytes=None if memory is None else round(memory * GIB))
    return Sandbox(required=not unsandboxed, limits=limits)


def _finish(result: RunResult, as_json: bool) -> None:
    """Print the verdict and leave with its exit code."""
    code = 0 if result.verdict.overall == "met" else 1
    if as_json:
        emit_json({**show.run_facts(result), "exit_code": code})
    else:
        show.verdict(result)
    raise SystemExit(code)


def _version(wanted: bool) -> None:
    if wanted:
        import evalsuite

        typer.echo(f"evalsuite {evalsuite.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version and leave")
    ] = False,
) -> None:
    """Options before the verb."""


def start() -> None:
    """Set what must be set before torch is imported, then run the verb."""
    _restart_with_thread_settings()
    app(prog_name="evalsuite")


def _restart_with_thread_settings() -> None:
    """OpenMP and the C allocator read their settings once, at start: set them and begin again."""
    from evalsuite.inference.process import recommended_environment

    verb = next((a for a in sys.argv[1:] if not a.startswith("-")), "")
    # The statistics bring threads of their own: a BLAS that starts four more in each makes all wait. The model's
    # process, which has an environment of its own, is not concerned.
    settings = {**recommended_environment(), "OPENBLAS_NUM_THREADS": "1"}
    wanted = {k: v for k, v in settings.items() if k not in os.environ}
    if verb not in ("run", "predict", "compare", "score", "audit") or not wanted or os.environ.get("EVALSUITE_STARTED"):
        return
    os.execve(
        sys.executable,
        [sys.executable, "-m", "evalsuite", *sys.argv[1:]],
        {**os.environ, **wanted, "EVALSUITE_STARTED": "1"},
    )

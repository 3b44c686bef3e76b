"""The verbs of `evalsuite`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from evalsuite.cli import keys, process, running, show
from evalsuite.cli.audit import audit
from evalsuite.cli.console import emit_json, errors_as_exit_codes, stages
from evalsuite.cli.gaps import gaps
from evalsuite.cli.grouped import grouped
from evalsuite.cli.lock import lock
from evalsuite.cli.options import (
    Acting,
    BaselineContract,
    Contract,
    Json,
    ModelPath,
    Original,
    OriginalContract,
    Reason,
    ReferenceKeyFile,
    Store,
    TestSet,
    Unsandboxed,
    sandbox_of,
)
from evalsuite.cli.plan import plan
from evalsuite.cli.review import review
from evalsuite.cli.selftest import selftest
from evalsuite.cli.sign import sign
from evalsuite.errors import InputError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Validate deep learning in medical imaging: lock a test set, freeze a protocol, run a model, judge, report.",
    epilog="Exit codes: 0 all criteria met · 1 not met or inconclusive · 2 usage, protocol or input error · "
    "3 a lock, ledger, digest or signature is broken · 4 the model failed · 130 interrupted, resumable.",
)

TrustedKeys = Annotated[
    list[Path] | None,
    typer.Option("--trust", help="public key, or certificate, that signatures must be by; repeat it for several"),
]
TsaCertificate = Annotated[
    Path | None, typer.Option("--tsa-cert", help="certificate (PEM) of the timestamp authority, to check its answer")
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
            path, testset=testset, contract=contract, store=store, draft=draft, sandbox=sandbox_of(unsandboxed)
        )
        if as_json:
            emit_json({**found, "exit_code": 0})
        else:
            show.inspected(found)


@app.command()
@grouped
def freeze(
    *,
    protocol: Annotated[str, typer.Argument(help="protocol file or the name of a shipped one")],
    testset: TestSet,
    model: ModelPath,
    out: Annotated[Path, typer.Option("--out", help="folder of the frozen protocol")],
    contract: Contract = None,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="bind what it is compared with: a model or a run of this set")
    ] = None,
    baseline_contract: BaselineContract = None,
    original: Original = None,
    original_contract: OriginalContract = None,
    tsa: Annotated[
        str | None,
        typer.Option("--tsa", envvar="EVALSUITE_TSA", help="address of an RFC 3161 timestamp authority; else none"),
    ] = None,
    tsa_cert: TsaCertificate = None,
    acting: Acting,
    reason: Reason = "",
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
            original_path=original,
            original_contract=original_contract,
            who=acting.who(reason, role="author"),
            store=acting.store,
            tsa=tsa,
            tsa_roots=keys.certificates(tsa_cert),
            sandbox=sandbox_of(unsandboxed),
        )
        if as_json:
            emit_json({**frozen, "path": str(out), "exit_code": 0})
        else:
            show.frozen(frozen, out, testset, model, contract, baseline, original)


app.command(name="run")(running.run)
app.command(name="compare")(running.compare)
app.command(name="predict")(running.predict)
app.command(name="score")(running.score)
app.command(name="report")(running.report)


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

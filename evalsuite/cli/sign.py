"""`evalsuite sign`: author, reviewer and QA approver put their names to a finished report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evalsuite.cli import keys, show
from evalsuite.cli.console import emit_json, errors_as_exit_codes
from evalsuite.cli.options import Actor, Json, Store, who_is


def sign(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="run folder with a report")],
    role: Annotated[str, typer.Option("--role", help="who signs, in this order: author, reviewer, qa")],
    key: Annotated[
        Path,
        typer.Option("--key", metavar="P12", help="certificate and private key (PKCS#12), or pkcs11:… for a token"),
    ],
    password_file: Annotated[
        Path | None,
        typer.Option("--password-file", help="its first line opens the key; else EVALSUITE_P12_PASSWORD (_PKCS11_PIN)"),
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", help="what the signature means; by default what the role does")
    ] = "",
    tsa: Annotated[
        str | None,
        typer.Option("--tsa", envvar="EVALSUITE_TSA", help="address of an RFC 3161 timestamp authority; else none"),
    ] = None,
    tsa_cert: Annotated[
        Path | None, typer.Option("--tsa-cert", help="certificate (PEM) of that authority, to check its answer")
    ] = None,
    ledger_key: Annotated[
        Path | None,
        typer.Option("--ledger-key", envvar="EVALSUITE_KEY", help="Ed25519 key that signs the ledger's head, too"),
    ] = None,
    testset: Annotated[Path | None, typer.Option("--testset", help="the locked set, where it has moved")] = None,
    actor: Actor = "",
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Sign the report of a run; writes report.signed.pdf beside it and enters it in the test set's ledger."""
    with errors_as_exit_codes(as_json=as_json):
        from evalsuite.spine.signing import sign_run

        identity = keys.identity(key, password_file)
        done = sign_run(
            run_folder,
            identity=identity,
            who=who_is(actor or identity.name, reason, role, ledger_key),
            tsa=tsa,
            tsa_roots=keys.certificates(tsa_cert),
            testset_path=testset,
            store=store,
        )
        if as_json:
            emit_json({**done, "exit_code": 0})
        else:
            show.signed(done, run_folder)

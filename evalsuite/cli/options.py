"""Options that several verbs share, and who is acting."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evalsuite.cli import keys

if TYPE_CHECKING:
    from evalsuite.sandbox.policy import Sandbox
    from evalsuite.spine import Who

Json = Annotated[bool, typer.Option("--json", help="print one machine-readable object on stdout")]
Actor = Annotated[str, typer.Option("--actor", envvar="EVALSUITE_ACTOR", help="who does this, for the ledger")]
Role = Annotated[
    str | None, typer.Option("--role", help="in which role: author, custodian, operator, statistician, reviewer, qa")
]
Waiver = Annotated[
    Path | None, typer.Option("--waiver", help="the custodian's signed permission to exceed the reuse limit")
]
Reason = Annotated[str, typer.Option("--reason", help="why, for the ledger")]
Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="EVALSUITE_STORE",
        help="database that holds the ledger (sqlite:///… or postgresql+psycopg://…)",
    ),
]
Key = Annotated[
    Path | None,
    typer.Option("--key", envvar="EVALSUITE_KEY", help="private key (Ed25519, PEM) to sign with; else unsigned"),
]
ReferenceKeyFile = Annotated[
    Path | None, typer.Option("--reference-key", help="key file of an encrypted reference standard")
]
TestSet = Annotated[Path, typer.Option("--testset", help="the locked test set")]
ModelPath = Annotated[Path, typer.Option("--model", help="a packaged model, or a table of recorded predictions")]
Contract = Annotated[Path | None, typer.Option("--contract", help="contract of a model whose package has none")]
BaselineContract = Annotated[
    Path | None, typer.Option("--baseline-contract", help="contract of a baseline whose package has none")
]
Unsandboxed = Annotated[
    bool, typer.Option("--unsandboxed", help="run the package's code in this process; the report says so")
]


def now() -> str:
    """The local clock's time in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def who_is(actor: str, reason: str, role: str | None = "operator", key: Path | None = None) -> Who:
    """Who acts, in which role and why, for the ledger; with a key, who can sign."""
    from evalsuite.spine import Who
    from evalsuite.spine.roles import role_of
    from evalsuite.spine.running_context import account_name

    command = " ".join(["evalsuite", *sys.argv[1:]])
    return Who(
        actor=actor or account_name(),
        role=role_of(role or "operator"),
        now=now,
        reason=reason,
        command=command,
        signer=keys.signer(key),
    )


def sandbox_of(unsandboxed: bool, timeout: float | None = None, memory: float | None = None) -> Sandbox:
    """How packages that can execute code are run, with the limits given."""
    from evalsuite.sandbox.policy import GIB, Limits, Sandbox

    limits = Limits(batch_s=timeout or Limits().batch_s, memory_bytes=None if memory is None else round(memory * GIB))
    return Sandbox(required=not unsandboxed, limits=limits)

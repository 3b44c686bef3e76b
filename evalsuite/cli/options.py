"""Options that several verbs share, and who is acting."""

from __future__ import annotations

import sys
from dataclasses import dataclass
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
Original = Annotated[
    Path | None,
    typer.Option("--original", help="the version that was first authorised, where the protocol compares with it too"),
]
OriginalContract = Annotated[
    Path | None, typer.Option("--original-contract", help="contract of an original version whose package has none")
]
Unsandboxed = Annotated[
    bool, typer.Option("--unsandboxed", help="run the package's code in this process; the report says so")
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
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="torch threads")]
Timeout = Annotated[
    float | None, typer.Option("--timeout", min=1.0, help="seconds a model may take for one batch; 1800 by default")
]
Memory = Annotated[
    float | None, typer.Option("--memory", min=0.1, help="GiB a model may use; four fifths of the machine by default")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acting:
    """Who acts, and where it is written down."""

    key: Key = None
    actor: Actor = ""
    role: Role = None
    store: Store = None

    def who(self, reason: str = "", *, role: str = "operator") -> Who:
        """For the ledger; in `role` unless another is given."""
        return who_is(self.actor, reason, self.role or role, self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where and how a model runs."""

    device: Device = None
    batch_size: BatchSize = None
    threads: Threads = None
    cache: Cache = None
    runner: RunnerName = "local"
    address: Address = None
    workers: Workers = None
    unsandboxed: Unsandboxed = False
    timeout: Timeout = None
    memory: Memory = None

    def overrides(self) -> dict[str, object]:
        """What was given instead of the protocol's settings."""
        given = {
            "device": self.device,
            "batch_size": self.batch_size,
            "threads": self.threads,
            "workers": self.workers if self.runner == "local" else None,
            "cache": None if self.cache is None else str(self.cache.resolve()),
        }
        return {k: v for k, v in given.items() if v is not None}

    def sandbox(self) -> Sandbox:
        """How packages that can execute code are run, with the limits given."""
        return sandbox_of(self.unsandboxed, self.timeout, self.memory)


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

"""Opening a model package in the sandbox: this process reads its bytes for the digest, and runs none of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from evalsuite.errors import ContractError, ModelLoadError, ModelRunError, Problem
from evalsuite.models import open as in_process
from evalsuite.models.base import AnyModel
from evalsuite.models.command import CommandRunner
from evalsuite.models.contract import build_contract, contract_digest, load_contract
from evalsuite.models.folder_model import FolderModel
from evalsuite.models.formats import Located, formats
from evalsuite.models.package import locate, package_digest, sidecar_contract, size_bytes
from evalsuite.sandbox.command import box_launcher
from evalsuite.sandbox.launcher import PACKAGE, Box, require_bubblewrap
from evalsuite.sandbox.model import SandboxedModel, batch_limits
from evalsuite.sandbox.policy import SANDBOXED, Sandbox
from evalsuite.sandbox.process import ChildProcess
from evalsuite.sandbox.text import clean, clean_json

_MAX_NOTES = 50
_SHOWN = 5
_OPENING = "opening its package"


def open_model(
    path: Path | str,
    *,
    contract: Path | str | None = None,
    case_column: str = "case_id",
    sandbox: Sandbox = SANDBOXED,
) -> AnyModel:
    """Open a model package, or a table of recorded predictions. Everything that can execute code runs in the sandbox.

    Parameters
    ----------
    path, contract, case_column
        As `evalsuite.models.open.open_model`.
    sandbox
        Limits of the sandboxed process; `UNSANDBOXED` opens and runs the package in this process.

    Raises
    ------
    SandboxUnavailable
        If this machine has no sandbox; nothing was opened then.
    EvalsuiteError
        As `evalsuite.models.open.open_model`; a package that crashes, hangs or goes beyond its limits while it is
        opened is a ModelLoadError.
    """
    located = locate(Path(path))
    if not sandbox.required or not _runs_here(located):
        model = in_process.open_model(path, contract=contract, case_column=case_column)
        return _boxed(model, sandbox) if sandbox.required else model
    require_bubblewrap()
    digest = package_digest(located)
    with _child(located, contract, sandbox) as (process, question):
        answer = _ask(process, {"do": "open", **question}, sandbox)
        facts = answer.header
        agreed = _agreed(facts.get("contract"), located, contract, process)
        limits = batch_limits(facts.get("batch_limits"))
        notes = facts.get("notes")
        if limits is None or not isinstance(notes, list):
            process.fail("answered nonsense while it was opened", "protocol")
        return SandboxedModel(
            name=clean(agreed.name or located.path.stem, limit=200),
            format=located.format,
            digest=digest,
            contract=agreed,
            contract_digest=contract_digest(agreed),
            notes=tuple(clean(note, limit=1000) for note in notes[:_MAX_NOTES]),
            size_bytes=size_bytes(located.files),
            batch_limits=limits,
            process=process,
            open_s=sandbox.limits.open_s,
            batch_s=sandbox.limits.batch_s,
            opened=agreed,
            again=partial(open_model, path, contract=contract, case_column=case_column, sandbox=sandbox),
        )


def _boxed(model: AnyModel, sandbox: Sandbox) -> AnyModel:
    """A command that will be started in the sandbox; any other model is closed off by itself, or runs nothing."""
    if isinstance(model, FolderModel) and isinstance(model.runner, CommandRunner):
        runner = replace(model.runner, launcher=box_launcher(sandbox.limits))
        return replace(model, runner=runner)
    return model


def require_sandbox(path: Path | str, sandbox: Sandbox) -> None:
    """SandboxUnavailable where the package at `path` would need a sandbox that is not there. Opens nothing."""
    located = locate(Path(path))
    if sandbox.required and (_runs_here(located) or located.format == "command"):
        require_bubblewrap()


def digest_of(path: Path | str) -> str:
    """Digest of the package or table at `path`, which is not opened for it; a server is asked for that of its model."""
    return in_process.digest_of(path)


def inspect_model(
    path: Path | str, *, contract: Path | str | None = None, sandbox: Sandbox = SANDBOXED
) -> dict[str, Any]:
    """What a package is; see `evalsuite.models.open.inspect_model`. What it says of itself is made printable."""
    located = locate(Path(path))
    if not sandbox.required or not _runs_here(located):
        return in_process.inspect_model(path, contract=contract)
    require_bubblewrap()
    with _child(located, contract, sandbox) as (process, question):
        found = _ask(process, {"do": "inspect", **question}, sandbox).header.get("found")
        try:
            shown = clean_json(found)
        except ValueError:
            shown = None
        if not isinstance(shown, dict):
            process.fail("answered nonsense while it was inspected", "protocol")
        process.close()
    known = in_process.seen(located)
    known.pop("name")
    return {**shown, **known}


def _ask(process: ChildProcess, question: Mapping[str, Any], sandbox: Sandbox) -> Any:
    try:
        return process.ask(question, timeout_s=sandbox.limits.open_s, doing=_OPENING)
    except MemoryError as error:
        raise ModelLoadError(str(error), failure="memory") from None
    except ModelRunError as error:
        said = [Problem(what=f"it said: {line}") for line in process.log.text.splitlines()[-_SHOWN:]]
        raise ModelLoadError(
            error.message, problems=said, hint="Nothing of it is left running.", failure=error.failure
        ) from None


def _runs_here(located: Located) -> bool:
    """Whether the package's code would run in the process that opens it."""
    return formats()[located.format].runs == "here"


@contextmanager
def _child(
    located: Located, contract: Path | str | None, sandbox: Sandbox
) -> Iterator[tuple[ChildProcess, dict[str, Any]]]:
    """A sandboxed process that sees this package, and where it sees it; closed where opening fails."""
    inside = PACKAGE / located.path.name
    binds: dict[Path, Path] = {}
    if located.path.is_dir():
        binds[located.path.resolve()] = inside
    else:
        for file in located.files:
            binds[file.resolve()] = PACKAGE / file.name
        beside = sidecar_contract(located)
        if beside is not None:
            binds[beside.resolve()] = PACKAGE / beside.name
    given = None
    if contract is not None:
        given = Path("/contract") / Path(contract).name
        if Path(contract).is_file():
            binds[Path(contract).resolve()] = given
    process = ChildProcess(Box(read_only=binds, limits=sandbox.limits), name=located.path.name)
    try:
        yield process, {"path": str(inside), "contract": None if given is None else str(given)}
    except BaseException:
        process.close()
        raise


def _agreed(said: Any, located: Located, explicit: Path | str | None, process: ChildProcess) -> Any:
    """The contract the package states, checked again here; one given explicitly is read here and must be the same."""
    try:
        found = build_contract(said, where=f"of {located.path.name}")
    except ContractError:
        process.fail("states a contract that is none", "contract")
    if explicit is not None and found != load_contract(Path(explicit)):
        process.fail("does not answer with the contract it was given", "contract")
    return found

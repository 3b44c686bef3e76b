"""The models of a run, open as long as they are needed: failures go to the ledger, what they print to logs/."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from evalsuite.errors import EvalsuiteError, ModelError
from evalsuite.record.usage import RUN
from evalsuite.sandbox.open import digest_of, open_model, require_sandbox
from evalsuite.spine import history
from evalsuite.spine.baseline import Baseline, is_run, open_baseline
from evalsuite.spine.folder import plan_of
from evalsuite.spine.running_context import Request, RunContext

if TYPE_CHECKING:
    from evalsuite.models.base import AnyModel
    from evalsuite.testset import LockedTestSet

log = logging.getLogger(__name__)

_LONGEST = 400


def require_sandboxes(ask: Request) -> None:
    """SandboxUnavailable where a package of this run needs a sandbox and this machine has none; opens nothing."""
    require_sandbox(ask.model_path, ask.sandbox)
    for compared in (ask.baseline, ask.original):
        if compared is not None and not is_run(compared[0]):
            require_sandbox(compared[0], ask.sandbox)


@contextmanager
def opened_models(run: RunContext, ask: Request, testset: LockedTestSet) -> Iterator[tuple[AnyModel, Baseline | None]]:
    """The model and, where one is asked for, the baseline. On leaving they are closed and their output is in logs/.

    A model that fails, here or inside the block, is entered in the test set's ledger as `model_failed` with what became
    of it; the same command then goes on where the run stopped.
    """
    with ExitStack() as stack:
        with _entering(run, lambda: digest_of(ask.model_path)):
            model = open_model(
                ask.model_path,
                contract=ask.contract,
                case_column=testset.lock["columns"]["case"],
                sandbox=ask.sandbox,
            )
        stack.callback(_leave, model, run, "model.log")
        other = _compared(stack, run, ask, testset, ask.baseline, "baseline.log")
        original = _compared(stack, run, ask, testset, ask.original, "original.log")
        yield model, None if other is None else replace(other, original=original)


def _compared(
    stack: ExitStack, run: RunContext, ask: Request, testset: LockedTestSet, asked: tuple[Path, Path | None] | None,
    log_name: str,
) -> Baseline | None:  # fmt: skip
    """What is compared with, opened until the stack is left; None where nothing is."""
    if asked is None:
        return None
    path, contract = asked
    with _entering(run, lambda: digest_of(path)):
        other = open_baseline(path, testset=testset, contract=contract, limit=ask.limit, sandbox=ask.sandbox)
    if other.model is not None:
        stack.callback(_leave, other.model, run, log_name)
    return other


@contextmanager
def model_at_work(run: RunContext, digest: str) -> Iterator[None]:
    """Whatever `ModelError` the block raises is entered in the ledger under this model's digest."""
    with _entering(run, lambda: digest):
        yield


@contextmanager
def _entering(run: RunContext, digest: Callable[[], str]) -> Iterator[None]:
    try:
        yield
    except ModelError as error:
        _enter(run, error, digest)
        raise


def _enter(run: RunContext, error: ModelError, digest: Callable[[], str]) -> None:
    try:
        objects = {"model": digest(), "failure": error.failure}
    except EvalsuiteError:  # nothing there that is a package at all
        objects = {"failure": error.failure}
    plan = plan_of(run.folder)
    if plan is not None and plan["entered"]:
        objects[RUN] = plan["run_id"]
    try:
        history.add(run.ledger, "model_failed", run.who, objects, reason=error.message[:_LONGEST])
    except EvalsuiteError as refused:  # the model's failure is what the user must see
        log.warning("the failure of the model could not be entered in the ledger: %s", refused.message)


def _leave(model: AnyModel, run: RunContext, name: str) -> None:
    if plan_of(run.folder) is not None:  # before that nothing may lie in the run folder
        model.keep_log(run.folder.path / "logs" / name)
    model.close()

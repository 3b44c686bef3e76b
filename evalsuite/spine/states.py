"""The order of things: a step of a run is entered in the ledger only where the steps before it are."""

from __future__ import annotations

from collections.abc import Sequence

from evalsuite.errors import InputError, IntegrityError, LedgerError
from evalsuite.record.ledger import Entry
from evalsuite.record.usage import ENDED, RUN, RunState, run_states

#: States a run may be in when a step is entered. Scoring or reporting again is allowed until the run is signed.
_ALLOWED = {
    "run_resumed": ("draft", "frozen", "executed", "unblinded", "analysed", "reported"),
    "predictions_sealed": ("draft", "frozen"),
    "unblinded": ("executed", "unblinded", "analysed", "reported"),
    "analysed": ("unblinded", "analysed", "reported"),
    "reported": ("analysed", "reported"),
    "signed": ("reported", "signed"),
    "exported": ("analysed", "reported", "signed"),
    "superseded": ("draft", "frozen", "executed", "unblinded", "analysed", "reported", "signed"),
    "void": ("draft", "frozen", "executed", "unblinded", "analysed", "reported", "signed"),
}
_NEW = "Start a new run with another --out."
_FIRST = {
    "unblinded": "the reference standard is opened only after the predictions are sealed",
    "analysed": "a run is analysed after the reference standard was opened for it",
    "reported": "a run is reported after it was analysed",
    "signed": "a run is signed after it was reported",
    "exported": "a run is exported after it was analysed",
}


def state_of(entries: Sequence[Entry], run: str) -> RunState:
    """The run as the ledger knows it. LedgerError if it does not: the ledger is another one, or was rolled back."""
    found = run_states(e for e in entries if e.objects.get(RUN) == run).get(run)
    if found is None:
        raise LedgerError(
            f"The test set's ledger does not know the run {run}.",
            hint="It is another set's ledger, or was rolled back: restore it, or give the set of this run.",
        )
    return found


def require_step(entries: Sequence[Entry], run: str, action: str) -> None:
    """Refuse `action` on `run` where its time has not come or has passed.

    Raises
    ------
    LedgerError
        If the ledger does not know the run.
    InputError
        If the steps before are not in the ledger, or the run was signed, superseded or declared void.
    """
    state = state_of(entries, run).state
    if state in _ALLOWED[action]:
        return
    if state in ENDED:
        raise InputError(
            f"The run {run} is {state}: nothing is added to it.", hint="Start a new run with another --out."
        )
    if state == "signed":
        raise InputError(
            f"The run {run} is signed: scoring or reporting it again would change what was signed.",
            hint=_NEW,
        )
    raise InputError(
        f"The run {run} is in the state “{state}”: {_FIRST.get(action, f'it cannot become {action} now')}.",
        hint="The stages in their order: evalsuite predict, score, report.",
    )


def sealed_predictions(entries: Sequence[Entry], run: str) -> str | None:
    """Digest of the predictions that were sealed for a run; None before that."""
    return next(
        (
            e.objects.get("predictions")
            for e in reversed(entries)
            if e.action == "predictions_sealed" and e.objects.get(RUN) == run
        ),
        None,
    )


def require_sealed(entries: Sequence[Entry], run: str, digest: str) -> None:
    """IntegrityError unless these are the predictions that were sealed before the reference standard was opened."""
    sealed = sealed_predictions(entries, run)
    if sealed is not None and sealed != digest:
        raise IntegrityError(
            f"The predictions of the run {run} are not those that were sealed before unblinding.",
            hint="Restore predictions.parquet from its copy.",
        )

"""Errors a user can act on: what is wrong, where, and how to put it right.

::

    EvalsuiteError                  exit code
    ├── InputError                  2   a file, column, option or image is not what it should be
    │   ├── ProtocolError           2   the protocol
    │   ├── CaseTableError          2   the case table, or a table of recorded predictions
    │   ├── ImageError              2   one image (inside a run: a failed case, never the end of the run)
    │   ├── ContractError           2   model contract and test set do not fit each other
    │   ├── OutputError             2   a result cannot be written: permission, disk full
    │   └── SandboxUnavailable      2   packages that can execute code run in a sandbox, and this machine has none
    ├── IntegrityError              3   a lock, ledger, digest or signature is broken
    │   ├── LockError               3
    │   └── LedgerError             3
    ├── ModelError                  4   the model failed
    │   ├── ModelLoadError          4   not loadable, truncated, refused because loading would run code
    │   └── ModelRunError           4   crash, time-out, no case with a usable output
    └── Interrupted               130   stopped by the user; the same command goes on

A wrong argument in Python code is a `ValueError`; these are for a wrong world. No message carries patient data: case
identifiers, column names and file names relative to the table are allowed, header values and cell contents are not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: what, where (a path inside the file, a row, a file name), and how to fix it."""

    what: str
    where: str = ""
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.what} @ {self.where}" if self.where else self.what
        return f"{text}   {self.hint}" if self.hint else text


class EvalsuiteError(Exception):
    """Base of all errors the command line turns into a message and an exit code.

    `message` says what and where in one line; `problems` lists every single fault found; `hint` says how to go on.
    """

    exit_code = 2

    def __init__(self, message: str, *, problems: Iterable[Problem] = (), hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.problems = tuple(problems)
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.message, *(f"  {p}" for p in self.problems)]
        if self.hint:
            lines.append(f"  {self.hint}")
        return "\n".join(lines)


class InputError(EvalsuiteError):
    """The caller's files, columns, options or images are not what they should be."""


class ProtocolError(InputError):
    """The protocol cannot be read or contradicts itself."""


class CaseTableError(InputError):
    """The case table, or a table of recorded predictions, cannot be used."""


class ImageError(InputError):
    """One image cannot be used. `code` is a short stable word for the case accounting."""

    def __init__(self, message: str, *, code: str = "unreadable", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class ContractError(InputError):
    """The model's contract and the test set do not fit each other; the message names both sides."""


class OutputError(InputError):
    """A result cannot be written."""


class SandboxUnavailable(InputError):
    """A package that can execute code was not opened, because this machine has no sandbox for it."""


class IntegrityError(EvalsuiteError):
    """Something that was sealed is no longer what it was."""

    exit_code = 3


class LockError(IntegrityError):
    """A locked test set differs from its lock."""


class LedgerError(IntegrityError):
    """The ledger's chain does not hold."""


#: What became of a model's program, in one word, for the ledger.
FAILURES = ("error", "contract", "crash", "timeout", "memory", "processes", "forbidden", "protocol", "remote")


class ModelError(EvalsuiteError):
    """The model failed. `failure` is one of `FAILURES`:

    error (it raised one), contract (it does not keep its contract), crash (it ended), timeout, memory, processes (it
    went beyond a limit), forbidden (it asked for what a model may not do), protocol (it did not answer as it should),
    remote (the server that runs it refused, failed or changed it).
    """

    exit_code = 4

    def __init__(
        self, message: str, *, problems: Iterable[Problem] = (), hint: str = "", failure: str = "error"
    ) -> None:
        super().__init__(message, problems=problems, hint=hint)
        self.failure = failure


class ModelLoadError(ModelError):
    """The package cannot be loaded, or loading it would run code that is not allowed to run."""


class ModelRunError(ModelError):
    """The model crashed, timed out, or gave no usable output for any case."""


class Interrupted(EvalsuiteError):
    """Stopped by the user; the same command goes on where it stopped."""

    exit_code = 130

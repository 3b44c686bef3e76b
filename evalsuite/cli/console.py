"""What a person sees: progress on stderr, results on stdout, errors that say what, where and how to fix."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from evalsuite.errors import EvalsuiteError, Interrupted, ModelError

INTERRUPTED = 130
_IN_BYTES = ("verify", "lock")
#: What a stage will cost is said before it is spent; its total counts image passes.
_TOLD_FIRST = ("attribute",)
_TITLES = {
    "verify": "Verifying (MB)",
    "lock": "Locking (MB)",
    "predict": "Running the model",
    "degrade": "Running it on degraded images",
    "shortcuts": "Running it without suspected regions",
    "attribute": "Making maps of what moves its answers",
    "evaluate": "Estimating",
    "report": "Writing the report",
}


def stderr() -> Console:
    """Console for progress and messages; plain text where stderr is no terminal."""
    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def stdout() -> Console:
    """Console for results."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def emit_json(data: Mapping[str, Any]) -> None:
    """One machine-readable object on stdout."""
    sys.stdout.write(json.dumps(data, ensure_ascii=False, sort_keys=True, allow_nan=False, indent=2) + "\n")


class Stages:
    """Progress of the stages of one command: bars on a terminal, one line per stage elsewhere."""

    def __init__(self, progress: Progress | None, console: Console) -> None:
        self._progress = progress
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}
        self._finished: set[str] = set()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage in _IN_BYTES:
            done, total = round(done / 1e6), max(1, round(total / 1e6))
        first = stage not in self._started
        self._started.setdefault(stage, time.monotonic())
        title = _TITLES.get(stage, stage)
        if first and stage in _TOLD_FIRST and done < total:
            self._console.print(f"{title}: {total:,} image passes", markup=False)
        if self._progress is None:
            if done >= total and stage not in self._finished:
                self._finished.add(stage)
                seconds = time.monotonic() - self._started[stage]
                self._console.print(f"{title}: done in {seconds:.1f} s", markup=False)
            return
        if first:
            self._tasks[stage] = self._progress.add_task(title, total=total)
        if stage in self._tasks:
            self._progress.update(self._tasks[stage], completed=done, total=total)


@contextmanager
def stages(*, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Callback for the spine's progress. `quiet` shows nothing."""
    console = stderr()
    if quiet:
        yield lambda stage, done, total: None
        return
    if not sys.stderr.isatty():
        yield Stages(None, console)
        return
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield Stages(progress, console)


@contextmanager
def errors_as_exit_codes(*, as_json: bool = False) -> Iterator[None]:
    """Turn every failure into a message on stderr and the exit code of contracts.md; never a traceback."""
    try:
        yield
    except EvalsuiteError as error:
        _fail(error.exit_code, type(error).__name__, str(error), as_json=as_json, error=error)
    except KeyboardInterrupt:
        stop = Interrupted("Interrupted.", hint="The same command goes on where it stopped.")
        _fail(INTERRUPTED, "Interrupted", str(stop), as_json=as_json, error=stop)
    except BrokenPipeError:
        # The reader of our output went away (`| head`); there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(2) from None
    except OSError as error:
        _fail(2, "OutputError", _describe(error), as_json=as_json)
    except MemoryError:
        _fail(2, "MemoryError", "Out of memory.\n  Free memory, or run fewer cases at once.", as_json=as_json)
    except Exception as error:  # the last resort: a fault of ours, said so, with the place and without any data
        _fail(2, "InternalError", _internal(error), as_json=as_json)


def _describe(error: OSError) -> str:
    name = error.filename or "a file"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full: {name} could not be written.\n  Free space; the same command then goes on."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"No permission: {name}.\n  Choose another place, or change its permissions."
    return f"{error.strerror or type(error).__name__}: {name}."


def _internal(error: Exception) -> str:
    if os.environ.get("EVALSUITE_DEBUG"):
        traceback.print_exc()
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if f"{os.sep}evalsuite{os.sep}" in f.filename]
    place = f"{os.path.basename(ours[-1].filename)}:{ours[-1].lineno}" if ours else "unknown place"
    return (
        f"A fault of evalsuite itself: {type(error).__name__} at {place}.\n"
        "  Please report it. EVALSUITE_DEBUG=1 prints where it arose (it may show data)."
    )


def _fail(code: int, kind: str, message: str, *, as_json: bool, error: EvalsuiteError | None = None) -> None:
    if as_json:
        problems = [] if error is None else [{"what": p.what, "where": p.where, "hint": p.hint} for p in error.problems]
        emit_json(
            {
                "error": {
                    "type": kind,
                    "message": error.message if error else message,
                    "problems": problems,
                    "hint": error.hint if error else "",
                    **({"failure": error.failure} if isinstance(error, ModelError) else {}),
                },
                "exit_code": code,
            }
        )
    text = Text(f"{kind}: ", style="bold red")
    text.append(message, style="not bold default")
    stderr().print(text)
    raise SystemExit(code)

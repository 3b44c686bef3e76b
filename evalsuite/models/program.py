"""Starting a program that somebody else wrote: bounded in time and in what it may print, and gone when it is over."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from evalsuite.errors import ModelRunError

MOST_PRINTED = 2**20
_GRACE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a program ended: its exit code, and the last line it printed, made printable."""

    code: int
    last: str


def run_program(
    command: Sequence[str],
    *,
    name: str,
    environment: Mapping[str, str],
    folder: Path,
    timeout_s: float,
    log: Path,
    stop: Callable[[], None] | None = None,
) -> Ended:
    """Run a command in a process group of its own, with nothing on its stdin.

    Parameters
    ----------
    log
        Gets the first MiB of what it prints; the rest is thrown away.
    stop
        Called before the group is killed, where something outside it must be ended too (a container).

    Raises
    ------
    ModelRunError
        If it cannot be started, or takes longer than `timeout_s`.
    """
    try:
        process = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder,
            env=dict(environment), start_new_session=True,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ModelRunError(f"{name} cannot be started: {Path(command[0]).name}: {why}") from None
    assert process.stdout is not None
    printed = _Printed(process.stdout)
    late = False
    try:
        process.wait(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        late = True
    finally:
        if late and stop is not None:
            stop()
        _end(process)
        printed.close()
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(printed.kept)
    if late:
        raise ModelRunError(
            f"{name} took longer than {timeout_s:g} s for one call and was ended",
            hint="Set timeout_s, or a smaller cases_per_call, in its evalsuite-model.yaml.",
        )
    return Ended(code=process.returncode, last=_last_line(printed.kept))


class _Printed:
    """What a program prints, read as it comes so that it never waits for a reader."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._parts: list[bytes] = []
        self._thread = threading.Thread(target=self._read, name="program-output", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        size = 0
        with contextlib.suppress(OSError, ValueError):
            while part := os.read(self._stream.fileno(), 65536):
                if size < MOST_PRINTED:
                    self._parts.append(part[: MOST_PRINTED - size])
                    size += len(self._parts[-1])

    def close(self) -> None:
        self._thread.join(_GRACE_S)
        if not self._thread.is_alive():  # else somebody who left the group holds the pipe; the thread is a daemon
            self._stream.close()

    @property
    def kept(self) -> bytes:
        return b"".join(self._parts)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill whatever is left of the process group, the program's own children included."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_line(printed: bytes) -> str:
    lines = [line.strip() for line in printed.decode("utf-8", "replace").splitlines() if line.strip()]
    return "".join(c if c.isprintable() else " " for c in lines[-1])[:300] if lines else "nothing printed"


def require_success(ended: Ended, name: str) -> None:
    """ModelRunError where a program ended with an error, with its exit code or the signal that ended it."""
    if ended.code == 0:
        return
    how = f"ended with exit code {ended.code}"
    if ended.code < 0:
        with contextlib.suppress(ValueError):
            how = f"was ended by {signal.Signals(-ended.code).name}"
    raise ModelRunError(f"{name} {how}: {ended.last}", hint="logs/model.log of the run has what it printed.")

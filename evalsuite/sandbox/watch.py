"""Looking at a sandboxed program from outside, several times a second: its processes, threads and memory."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from evalsuite.sandbox.policy import Limits

_EVERY_S = 0.1
_PROC = Path("/proc")


def tree(root: int) -> Iterator[int]:
    """Process numbers of `root` and all its descendants."""
    todo = [root]
    while todo:
        process = todo.pop()
        yield process
        try:
            for task in (_PROC / str(process) / "task").iterdir():
                todo += map(int, (task / "children").read_text().split())
        except OSError:
            continue  # it has just ended


def usage(root: int) -> tuple[int, int]:
    """Threads, and bytes of main memory, of a process and its descendants together."""
    threads = memory = 0
    for process in tree(root):
        try:
            status = (_PROC / str(process) / "status").read_text()
        except OSError:
            continue
        for line in status.splitlines():
            if line.startswith("VmRSS:"):
                memory += int(line.split()[1]) * 1024
            elif line.startswith("Threads:"):
                threads += int(line.split()[1])
    return threads, memory


class Watch:
    """Ends the program `init` and everything it started where it goes beyond its limits; `why` says so then."""

    def __init__(self, init: int, limits: Limits) -> None:
        self._init = init
        self._limits = limits
        self._over = threading.Event()
        self.why: str | None = None
        self._thread = threading.Thread(target=self._look, name="sandbox-watch", daemon=True)
        self._thread.start()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _look(self) -> None:
        allowed = self._limits.memory
        while not self._over.wait(_EVERY_S):
            threads, memory = usage(self._init)
            if memory > allowed:
                self.why = "memory"
            elif threads > self._limits.threads:
                self.why = "processes"
            if self.why is not None:
                kill(self._init)
                return


def kill(init: int) -> None:
    """End the first process of a sandbox, and with it, by the kernel, all the others."""
    try:
        os.kill(init, signal.SIGKILL)
    except ProcessLookupError:
        return


def pid_alive(process: int) -> bool:
    """Whether a process runs; one that has ended and only waits for its parent to notice does not."""
    try:
        status = (_PROC / str(process) / "stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")

"""What a packaged model may use while it runs: memory, time, processes, disk, and whether a sandbox is required."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from evalsuite.errors import InputError

GIB = 2**30
_SHARE_OF_MEMORY = 0.8
_CGROUP_MEMORY = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Upper bounds for one sandboxed program.

    Parameters
    ----------
    memory_bytes
        Main memory. None: four fifths of what this machine, or its container, has.
    open_s, batch_s
        Wall-clock seconds for opening the package, and for the answer to one batch.
    processes
        Processes the program may start beside itself. 0: none (its threads are not counted here).
    threads
        Threads and processes in all.
    open_files, tmp_bytes
        Open files, and bytes it may keep in its private temporary folder.
    log_bytes
        What is kept of its output on stdout and stderr; the rest is read and thrown away.

    Raises
    ------
    InputError
        If a bound is not positive.
    """

    memory_bytes: int | None = None
    open_s: float = 600.0
    batch_s: float = 1800.0
    processes: int = 0
    threads: int = 2048
    open_files: int = 1024
    tmp_bytes: int = GIB
    log_bytes: int = 2**20

    def __post_init__(self) -> None:
        for name in ("open_s", "batch_s", "threads", "open_files", "tmp_bytes", "log_bytes"):
            if not getattr(self, name) > 0:
                raise InputError(f"the sandbox limit {name} is {getattr(self, name)!r}; it is above 0")
        if self.processes < 0 or (self.memory_bytes is not None and self.memory_bytes < 1):
            raise InputError("the sandbox limits of processes and memory are not negative, and memory is above 0")

    @property
    def memory(self) -> int:
        """Bytes of main memory the program may use."""
        return self.memory_bytes or int(available_memory() * _SHARE_OF_MEMORY)

    def kernel_bounds(self) -> dict[str, int]:
        """What the kernel enforces, for `child.set_limits`; a file may fill the temporary folder."""
        return {
            "memory": self.memory,
            "open_files": self.open_files,
            "file_bytes": self.tmp_bytes,
            "threads": self.threads,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """How packages that can execute code are run.

    `required` True: in the sandbox, and not at all where there is none. False: in this process, which the record and
    the first page of the report then say.
    """

    required: bool = True
    limits: Limits = field(default_factory=Limits)


SANDBOXED = Sandbox()
UNSANDBOXED = Sandbox(required=False)


def available_memory(read: Callable[[Path], str] = Path.read_text) -> int:
    """Bytes of main memory of this machine, or of its container where that allows less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _CGROUP_MEMORY:
        try:
            bound = read(path).strip()
        except OSError:
            continue
        if bound.isdigit():
            total = min(total, int(bound))
    return total

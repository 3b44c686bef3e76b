"""A program of a package, run in the sandbox: it sees its own files, the cases of one call, and where to answer."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evalsuite.errors import ModelRunError
from evalsuite.models.command import Places
from evalsuite.models.program import Ended
from evalsuite.sandbox.launcher import PACKAGE, Box, Bubblewrap, Launched, launch, require_bubblewrap
from evalsuite.sandbox.log import OutputLog
from evalsuite.sandbox.policy import Limits
from evalsuite.sandbox.text import clean
from evalsuite.sandbox.watch import Watch, kill

_CASES, _PREDICTIONS, _WORK = Path("/input"), Path("/output"), Path("/tmp")
_PROCESSES = 512
_LOOK_S = 0.5
_GRACE_S = 10.0
# Nothing of the package runs before this side watches it: a suite that ends earlier never sends the word, and its end
# of the pipe closes. Limits are for good; then the program takes this process's place.
_GO = b"g"
_START = (
    "import json, os, resource, sys\n"
    "if os.read(int(sys.argv[1]), 1) != b'g':\n"
    "    sys.exit('nobody watches')\n"
    "os.close(int(sys.argv[1]))\n"
    "for kind, value in json.loads(sys.argv[2]):\n"
    "    resource.setrlimit(kind, (value, value))\n"
    "try:\n"
    "    os.execvp(sys.argv[3], sys.argv[3:])\n"
    "except OSError as error:\n"
    "    sys.exit(f'{sys.argv[3]} cannot be started: {error.strerror}')\n"
)
_WHY = {"memory": "used more memory than it may", "processes": "started more processes than it may"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxLauncher:
    """Starts commands under bubblewrap. Unlike a network, a program may start processes of its own."""

    sandbox: Bubblewrap
    limits: Limits

    @property
    def isolation(self) -> Mapping[str, object]:
        """What the sandbox is and what it withholds, for the record."""
        return self.sandbox.to_json(processes=self.limits.processes)

    def seen(self, places: Places) -> Places:
        return Places(
            package=PACKAGE / places.package.name, cases=_CASES, predictions=_PREDICTIONS, work=_WORK
        )  # fmt: skip

    def run(self, command: Sequence[str], places: Places, *, name: str, timeout_s: float, log: Path) -> Ended:
        """Run to the end.

        Raises
        ------
        ModelRunError
            If it takes too long, or uses more memory, processes or disk than it may; nothing of it is left.
        SandboxUnavailable
            If bubblewrap cannot set the box up.
        """
        inside = self.seen(places)
        box = Box(
            read_only={places.package: inside.package, places.cases: inside.cases},
            writable={places.predictions: inside.predictions},
            limits=self.limits,
        )
        waits, word = os.pipe()
        start = [sys.executable, "-I", "-S", "-B", "-c", _START, str(waits), json.dumps(self._bounds()), *command]
        with open(word, "wb", buffering=0) as says:
            try:
                launched = launch(start, box, sandbox=self.sandbox, pass_fds=(waits,))
            finally:
                os.close(waits)
            printed = OutputLog(launched.output, limit=self.limits.log_bytes)
            try:
                with Watch(launched.init, self.limits) as watch:
                    says.write(_GO)
                    why = self._wait(launched, places.predictions, timeout_s)
            finally:
                kill(launched.init)
                code = launched.process.wait()
                printed.finish(_GRACE_S)
                printed.write(log)
        failure = watch.why or ("timeout" if why and why.startswith("took") else "memory")
        why = why or (_WHY.get(watch.why, watch.why) if watch.why else None)
        if why is not None:
            raise ModelRunError(
                f"{name} {why} and was ended",
                hint="timeout_s and cases_per_call stand in its evalsuite-model.yaml; --memory raises the memory.",
                failure=failure,
            )
        return Ended(
            code=128 - code if code > 128 else code, last=clean(printed.last_line() or "nothing printed", limit=300)
        )

    def _bounds(self) -> list[tuple[int, int]]:
        limits = self.limits
        wanted = {
            resource.RLIMIT_DATA: limits.memory, resource.RLIMIT_NOFILE: limits.open_files,
            resource.RLIMIT_FSIZE: limits.tmp_bytes, resource.RLIMIT_CORE: 0,
        }  # fmt: skip
        found = []
        for kind, value in wanted.items():
            hard = resource.getrlimit(kind)[1]
            found.append((kind, value if hard == resource.RLIM_INFINITY else min(value, hard)))
        return found

    def _wait(self, launched: Launched, written: Path, timeout_s: float) -> str | None:
        """Why it must be ended, or None where it ended by itself."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                launched.process.wait(timeout=min(_LOOK_S, max(deadline - time.monotonic(), 0.001)))
                return None
            except subprocess.TimeoutExpired:
                if time.monotonic() >= deadline:
                    return f"took longer than {timeout_s:g} s for one call"
            if _bytes_of(written) > self.limits.tmp_bytes:
                return f"wrote more than {self.limits.tmp_bytes >> 20} MiB"


def _bytes_of(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except OSError:
            continue  # it was removed meanwhile
    return total


def box_launcher(limits: Limits) -> BoxLauncher:
    """The launcher of this machine's sandbox.

    Raises
    ------
    SandboxUnavailable
        If it has none.
    """
    allowed = replace(limits, processes=limits.processes or _PROCESSES)
    return BoxLauncher(sandbox=require_bubblewrap(), limits=allowed)

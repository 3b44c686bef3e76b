"""Starting a program inside bubblewrap: what it sees of this machine, and the certainty that it ends with the run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO

from evalsuite.errors import SandboxUnavailable
from evalsuite.models.environment import recommended_environment
from evalsuite.sandbox.policy import Limits
from evalsuite.sandbox.seccomp import filter_program

PACKAGE = Path("/package")
SUITE = Path(__file__).resolve().parent.parent
HOME = Path("/tmp/home")
_OLDEST = (0, 7)  # the first that bounds the size of a temporary folder
_UID = "1000"
_SHARED_MEMORY = 2**26
_PROBE_S = 60
#: Settings of this process that decide speed or bits of an output, and name nobody.
_ENVIRONMENT = (
    "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "DNNL_", "ONEDNN_", "MALLOC_", "CUBLAS_", "CUDA_", "NVIDIA_",
    "ATEN_", "PYTORCH_", "TORCH_",
)  # fmt: skip
_INSTALL = (
    "Install bubblewrap (apt install bubblewrap, dnf install bubblewrap), or trust the package and run it in this "
    "process with --unsandboxed, which the report will say."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bubblewrap:
    """The bubblewrap of this machine, tried out: its program, version, and whether it may mount its own /proc."""

    program: str
    version: str
    own_proc: bool

    def to_json(self, *, processes: int = 0) -> dict[str, object]:
        """For record.json: what the sandbox is, and what it withholds from a program that may start `processes`."""
        may = f"{processes} new ones at most" if processes else "no new ones"
        return {
            "name": "bubblewrap",
            "version": self.version,
            "restricted": [
                "network: none",
                "files: the package, the Python runtime and system libraries, read-only; a private temporary folder",
                f"processes: own namespace, {may}, all ended with the run",
                "system calls: filtered (seccomp)",
                "resources: memory, open files, temporary space, threads, time",
                "environment: cleared",
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """What a sandboxed program sees beside the runtime.

    `read_only` and `writable` map a path here to its path in the box; `accelerator` lets it use NVIDIA devices where
    there are any; `environment` is added to the allowed variables of this process.
    """

    read_only: Mapping[Path, Path] = field(default_factory=dict)
    writable: Mapping[Path, Path] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    accelerator: bool = True
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """A started program. `init` is the first process of its namespace as seen from here: when it ends, all end."""

    process: subprocess.Popen[bytes]
    init: int
    output: IO[bytes]


def launch(command: Sequence[str], box: Box, *, sandbox: Bubblewrap, pass_fds: Sequence[int] = ()) -> Launched:
    """Start `command` in a box. Its stdout and stderr come through `output`, its stdin is empty.

    The kernel ends the program when the *thread* that called this ends, so call it from one that lives as long as the
    run does.

    Raises
    ------
    SandboxUnavailable
        If bubblewrap could not set the box up.
    """
    try:
        return _start(command, box, sandbox=sandbox, pass_fds=pass_fds)
    except _NoBox as error:
        raise _unavailable(str(error)) from None


class _NoBox(Exception):
    """bubblewrap could not set a box up; the text says why, in its own words."""


def _start(command: Sequence[str], box: Box, *, sandbox: Bubblewrap, pass_fds: Sequence[int] = ()) -> Launched:
    seccomp = filter_program(processes=box.limits.processes > 0)
    if seccomp is None:
        raise _NoBox("there is no system call filter for this processor")
    with _file_of(seccomp) as filter_fd, _pipe() as (info_read, info_write):
        arguments = [
            *arguments_of(box, sandbox),
            "--seccomp", str(filter_fd), "--info-fd", str(info_write.fileno()), "--", *command,
        ]  # fmt: skip
        try:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(*pass_fds, filter_fd, info_write.fileno()),
                # a terminal sends Ctrl-C to its whole group, and the batch in hand is to be finished
                start_new_session=True,
                env={},
            )
        except OSError as error:
            raise _NoBox(f"{sandbox.program} cannot be started: {error.strerror}") from error
        info_write.close()
        told = info_read.read(4096)
    assert process.stdout is not None
    try:
        init = int(json.loads(told)["child-pid"])
    except (ValueError, KeyError, TypeError):
        said = process.stdout.read(2000).decode(errors="replace").strip()
        process.wait()
        process.stdout.close()
        raise _NoBox(said.splitlines()[-1][:300] if said else "bubblewrap ended early") from None
    return Launched(process=process, init=init, output=process.stdout)


def arguments_of(box: Box, sandbox: Bubblewrap) -> list[str]:
    """bubblewrap's arguments for a box: namespaces, mounts and environment, ending before the command."""
    said = [
        sandbox.program, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--cap-drop", "ALL",
        "--uid", _UID, "--gid", _UID, "--hostname", "sandbox", "--clearenv",
    ]  # fmt: skip
    for name, value in environment_of(box).items():
        said += ["--setenv", name, value]
    said += _system_folders()
    said += ["--size", str(box.limits.tmp_bytes), "--tmpfs", "/tmp", "--dir", str(HOME)]
    said += ["--proc", "/proc"] if sandbox.own_proc else ["--dir", "/proc"]
    said += ["--dev", "/dev", "--size", str(_SHARED_MEMORY), "--tmpfs", "/dev/shm"]
    if box.accelerator:
        for device in sorted(Path("/dev").glob("nvidia*")):
            said += ["--dev-bind", str(device), str(device)]
        if Path("/dev/nvidiactl").exists():
            said += ["--ro-bind", "/sys", "/sys"]
    said += ["--remount-ro", "/dev"]
    for path in runtime_folders():
        said += ["--ro-bind", str(path), str(path)]
    for here, there in box.read_only.items():
        said += ["--ro-bind", str(here), str(there)]
    for here, there in box.writable.items():
        said += ["--bind", str(here), str(there)]
    return [*said, "--remount-ro", "/", "--chdir", "/tmp"]


def environment_of(box: Box) -> dict[str, str]:
    """The variables a sandboxed program gets: nothing that names the user, the machine or a secret."""
    own = {name: value for name, value in os.environ.items() if name.startswith(_ENVIRONMENT)}
    found = {**recommended_environment(), **own}
    found |= {"HOME": str(HOME), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TMPDIR": "/tmp", "USER": "model"}
    if "LD_LIBRARY_PATH" in os.environ:
        found["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    return found | {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"} | dict(box.environment)


def _system_folders() -> list[str]:
    said = ["--ro-bind", "/usr", "/usr"]
    for name in ("/bin", "/lib", "/lib64", "/lib32", "/sbin"):
        path = Path(name)
        if path.is_symlink():
            said += ["--symlink", os.readlink(path), name]
        elif path.is_dir():
            said += ["--ro-bind", name, name]
    for name in ("/etc/ld.so.cache", "/etc/alternatives", "/sys/devices/system/cpu", "/sys/devices/system/node"):
        said += ["--ro-bind-try", name, name]
    return said


@cache
def runtime_folders() -> tuple[Path, ...]:
    """Folders of this Python, its installed packages and this suite; none of the checkout's or the user's others."""
    wanted = [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, *site_folders()]
    folders = {Path(p) for p in wanted} | {Path(p).resolve() for p in wanted}
    folders |= {Path(sys.executable).resolve().parent, SUITE}
    kept: list[Path] = []
    for path in sorted(p for p in folders if p.is_dir()):
        if not any(path.is_relative_to(other) for other in (Path("/usr"), *kept)) and path != Path("/"):
            kept.append(path)
    return tuple(kept)


def site_folders() -> list[str]:
    """Entries of the module search path that hold installed packages."""
    return [p for p in sys.path if Path(p).name in ("site-packages", "dist-packages") and Path(p).is_dir()]


def search_path() -> list[str]:
    """Folders a Python in the sandbox searches for modules before its own: this suite's, and installed packages."""
    return list(dict.fromkeys([str(SUITE.parent), *site_folders()]))


def require_bubblewrap() -> Bubblewrap:
    """The bubblewrap of this machine.

    Raises
    ------
    SandboxUnavailable
        If there is none, it is too old, or this machine does not let it make a sandbox; the message says which.
    """
    found = _examine()
    if isinstance(found, str):
        raise _unavailable(found)
    return found


def _unavailable(why: str) -> SandboxUnavailable:
    return SandboxUnavailable(f"packaged models run in a sandbox, and there is none here: {why}", hint=_INSTALL)


@cache
def _examine() -> Bubblewrap | str:
    """bubblewrap, or why it cannot be used; tried out once per process (some 50 ms)."""
    program = shutil.which("bwrap")
    if program is None:
        return "bubblewrap is not installed"
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=_PROBE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{program} cannot be started ({type(error).__name__})"
    version = re.search(r"(\d+)\.(\d+)(?:\.\d+)?", said.stdout)
    if version is None or (int(version[1]), int(version[2])) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        return f"bubblewrap {oldest} or newer is needed, this is {said.stdout.strip() or 'unknown'}"
    problem = ""
    for own_proc in (True, False):  # some containers forbid a second /proc
        candidate = Bubblewrap(program=program, version=version[0], own_proc=own_proc)
        problem = _try(candidate)
        if not problem:
            return candidate
    return f"this machine does not let bubblewrap make one ({problem})"


def _try(candidate: Bubblewrap) -> str:
    try:
        tried = _start(["/usr/bin/env", "true"], Box(), sandbox=candidate)
        said = tried.output.read(2000).decode(errors="replace").strip()
        code = tried.process.wait(timeout=_PROBE_S)
        tried.output.close()
    except _NoBox as error:
        return str(error)
    except subprocess.TimeoutExpired:
        tried.process.kill()
        return "it does not answer"
    return "" if code == 0 else (said.splitlines()[-1][:300] if said else f"exit code {code}")


@contextmanager
def _file_of(content: bytes) -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        file.seek(0)
        yield file.fileno()


@contextmanager
def _pipe() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as reader, os.fdopen(write, "wb") as writer:
        yield reader, writer

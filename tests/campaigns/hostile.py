"""Hostile packages against the command line: each ends its run with a typed error that names it, and reaches nothing.

Run by `make hostile`. `evalsuite predict` runs every package on one locked set, with canaries around: a secret, a file
that could be changed, a listening port. Afterwards the exit code, the kind of failure, the entry in the ledger, the
set, the canaries and the processes of this machine are looked at.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evalsuite.record import ledger
from evalsuite.record.digest import sha256_file
from tests.campaigns.study import SmallStudy, command, make_study

PACKAGE = """
import ctypes, mmap, os, signal, socket, subprocess, sys, threading, time
import torch
class Network(torch.nn.Module):
    def forward(self, x):
        y = x.mean(dim=(1, 2, 3))[:, None]
        BAD
        return y
def build():
    return Network()
"""
CONTRACT = """\
schema: evalsuite/model/1
name: NAME
task: binary
inputs: [{name: image, shape: [1, 24, 24], colour: L}]
outputs: [{name: y, meaning: probabilities, classes: [disease]}]
entry_point: network:build
"""
_REFUSED = ("error",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """What a package does in its first batch: a word for people, a line of Python ({secret}, {outside}, {reference},
    {package} and {port} are filled in), the kinds of failure that are right, and options of the command."""

    does: str
    bad: str
    failures: tuple[str, ...] = _REFUSED
    options: tuple[str, ...] = ()


PACKAGES = {
    "segfault": Hostile(
        does="dies of a segmentation fault", bad="os.kill(os.getpid(), signal.SIGSEGV)", failures=("crash",)
    ),
    "leaves": Hostile(does="leaves in silence", bad="os._exit(0)", failures=("crash",)),
    "hangs": Hostile(does="never answers", bad="time.sleep(3600)", failures=("timeout",), options=("--timeout", "3")),
    "forks": Hostile(does="fork bomb", bad="[os.fork() for _ in iter(int, 1)]", failures=("error", "processes")),
    "threads": Hostile(
        does="thread bomb",
        bad="[threading.Thread(target=time.sleep, args=(3600,), daemon=True).start() for _ in iter(int, 1)]",
        failures=("error", "processes", "memory"),
    ),
    "memory": Hostile(
        does="memory bomb",
        bad="hold = [bytearray(2**26) for _ in iter(int, 1)]",
        failures=("memory",),
        options=("--memory", "2"),
    ),
    "shared-memory": Hostile(
        does="memory bomb that the kernel's limit does not count",
        bad="m = mmap.mmap(-1, 2**33); [m.__setitem__(i, 1) for i in range(0, 2**33, 4096)]",
        failures=("memory",),
        options=("--memory", "2"),
    ),
    "connects": Hostile(
        does="connects to a port of this machine",
        bad="socket.create_connection(('127.0.0.1', {port}), timeout=9).send(b'images')",
    ),
    "resolves": Hostile(does="asks the network for a name", bad="socket.getaddrinfo('example.org', 80)"),
    "snoops": Hostile(does="reads a file of the user", bad="open({secret!r}).read()"),
    "labels": Hostile(does="reads the reference standard", bad="open({reference!r}, 'rb').read()"),
    "writes": Hostile(does="changes a file of the user", bad="open({outside!r}, 'a').write('x')"),
    "itself": Hostile(does="changes its own package", bad="open('/package/' + {package!r} + '/network.py', 'a')"),
    "programs": Hostile(does="starts a program", bad="subprocess.run(['/usr/bin/env', 'true'])"),
    "traces": Hostile(does="traces a process", bad="ctypes.CDLL(None).ptrace(0, 0, 0, 0)", failures=("forbidden",)),
    "namespace": Hostile(
        does="makes a namespace to become root in", bad="ctypes.CDLL(None).unshare(0x10000000)", failures=("forbidden",)
    ),
    "range": Hostile(does="lies: a probability of 7", bad="y = y + 7", failures=("contract",)),
    "columns": Hostile(does="lies: two outputs, not one", bad="y = torch.cat([y, y], 1)", failures=("contract",)),
    "rows": Hostile(does="lies: one row too few", bad="y = y[1:]", failures=("contract",)),
    "wire": Hostile(
        does="speaks nonsense to the suite",
        bad="[socket.socket(fileno=os.dup(f)).sendall(b'HTTP/1.1 200 OK' * 9) for f in range(3, 64) "
        "if os.path.exists(f'/proc/self/fd/{{f}}') and 'socket' in os.readlink(f'/proc/self/fd/{{f}}')]; "
        "time.sleep(60)",
        failures=("protocol",),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What became of one package, and what was wrong with that."""

    name: str
    does: str
    code: int
    failure: str
    said: str
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Canaries:
    """What a package must not reach: a secret, a file with its digest, and a port somebody listens at."""

    secret: Path
    outside: Path
    digest: str
    server: socket.socket

    def faults(self) -> list[str]:
        """Which of them were reached."""
        found = [] if sha256_file(self.outside) == self.digest else ["changed a file of the user"]
        try:
            self.server.accept()[0].close()
        except BlockingIOError:
            return found
        return [*found, "connected"]


def campaign(folder: Path, names: Sequence[str] = tuple(PACKAGES)) -> Iterator[Trial]:
    """Run the packages one after the other on one study in `folder`."""
    study = make_study(folder / "study")
    command(study.steps()[0])
    secret, outside = folder / "secret", folder / "outside"
    secret.write_text("the user's own")
    outside.write_text("as it was")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        canaries = Canaries(secret=secret, outside=outside, digest=sha256_file(outside), server=server)
        for name in names:
            yield trial(study, folder / name, PACKAGES[name], canaries)


def trial(study: SmallStudy, package: Path, hostile: Hostile, canaries: Canaries) -> Trial:
    """One package through `evalsuite predict`, and a look around afterwards."""
    facts = {
        "secret": str(canaries.secret), "outside": str(canaries.outside), "package": package.name,
        "reference": str(study.testset / "reference.parquet"), "port": canaries.server.getsockname()[1],
    }  # fmt: skip
    package.mkdir()
    (package / "network.py").write_text(PACKAGE.replace("BAD", hostile.bad.format(**facts)))
    (package / "evalsuite-model.yaml").write_text(CONTRACT.replace("NAME", package.name))
    before = sha256_file(package / "network.py")
    entries = len(ledger.read(study.testset / "ledger.jsonl"))
    bound = (
        "--testset",
        str(study.testset),
        "--model",
        str(package),
        "--out",
        str(package.parent / "run" / package.name),
    )
    done = command(
        ("predict", str(study.folder / "protocol.yaml"), *bound, "--json", *hostile.options), check=range(256)
    )
    error = json.loads(done.stdout)["error"] if done.returncode else {}
    said = " ".join(str(error.get("message", "")).split())
    faults = canaries.faults()
    faults += [] if done.returncode == 4 else [f"exit code {done.returncode}"]
    faults += [] if error.get("failure") in hostile.failures else [f"called {error.get('failure')}"]
    faults += [] if f"model {package.name} " in said + " " else ["the message does not name the model"]
    faults += ["a traceback"] if "Traceback" in done.stderr else []
    faults += [] if sha256_file(package / "network.py") == before else ["changed its package"]
    new = ledger.read(study.testset / "ledger.jsonl")[entries:]
    entered = [e.objects.get("failure") for e in new if e.action == "model_failed"]
    faults += [] if entered == [error.get("failure")] else [f"the ledger has {entered}"]
    faults += ["the set is not intact"] if command(("verify", str(study.testset)), check=range(256)).returncode else []
    faults += ["a process outlived its run"] if left(package) else []
    return Trial(
        name=package.name, does=hostile.does, code=done.returncode, failure=str(error.get("failure")), said=said,
        faults=tuple(faults),
    )  # fmt: skip


def left(package: Path) -> list[int]:
    """Processes that were started for this package and run still, after a moment to end in."""
    for _ in range(100):
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and str(package).encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue  # it has just ended
        if not found:
            return []
        time.sleep(0.1)
    return found


_HOW = """\
`make hostile`. Every package is run by `evalsuite predict` on one locked set; *reached or harmed* looks at the user's
files, a listening port, the package, the set, the ledger's entry and what still runs."""


def main(arguments: Iterable[str] | None = None) -> int:
    """Print the table; 0 where every package was stopped as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="also write the table here")
    options = parser.parse_args(None if arguments is None else list(arguments))
    lines = ["| the package | exit | failure | what the run said | reached or harmed |", "|---|---:|---|---|---|"]
    print("\n".join(lines), flush=True)
    wrong = 0
    with tempfile.TemporaryDirectory() as scratch:
        for t in campaign(Path(scratch)):
            wrong += bool(t.faults)
            line = f"| {t.does} | {t.code} | {t.failure} | {t.said} | {'; '.join(t.faults) or 'nothing'} |"
            lines.append(line.replace(scratch, "…"))
            print(lines[-1], flush=True)
    if options.out is not None:
        options.out.write_text(f"# Hostile packages\n\n{_HOW}\n\n" + "\n".join(lines) + "\n")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())

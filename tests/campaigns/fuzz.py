"""Damage files of every format ten thousand times; each must be read, or refused with a reason of the case accounting.

Run by `make fuzz`. Every file goes through what a run does with it, in worker processes with a limit of memory and of
time. A traceback, a hang or the death of a worker is a fault, and fails the campaign. Prints formats × outcomes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.campaigns.fuzz_seeds import CONTRACT, Kind, Seed, damaged, images, models, tables

LIMIT_S = 60.0
_HEAD = """`make fuzz`: each damaged file goes through what a run does with it. *read*, *opened*, *answered*: it still
is a sound file of its kind (an image with other grey values, a model that answers). Every other column is a code of a
failed case or a typed error. A traceback, a hang of 60 s or the death of the reading process would be a fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one damaged file; `fault` is empty where it is a proper outcome."""

    format: str
    damage: str
    outcome: str
    fault: str


class Reader:
    """A worker process, started again whenever one died or hung."""

    def __init__(self, kind: Kind, folder: Path, limit_s: float) -> None:
        self._kind = kind
        self._folder = folder
        self._limit_s = limit_s
        self._process: subprocess.Popen[bytes] | None = None

    def outcome(self, name: str, data: bytes) -> str:
        """What the worker says of a file; "!hang", or "!died of signal N"."""
        path = self._folder / name
        path.write_bytes(data)
        process = self._process or self._start()
        asked = {"kind": self._kind, "path": str(path), "contract": str(self._folder / "contract.given.json")}
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            ready = selector.select(self._limit_s)
        line = process.stdout.readline() if ready else b""
        if line:
            return str(json.loads(line)["outcome"])
        process.kill()
        process.wait()
        with contextlib.suppress(OSError):  # what was still to be written finds no reader
            process.stdin.close()
        process.stdout.close()
        self._process = None
        return f"!died of signal {-process.returncode}" if ready else "!hang"

    def close(self) -> None:
        """End the worker."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(self._limit_s)
            except subprocess.TimeoutExpired:
                self._process.kill()  # every file has its outcome already
                self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        (self._folder / "contract.given.json").write_text(json.dumps(CONTRACT))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.campaigns.fuzz_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        return self._process


def campaign(
    seeds: Sequence[Seed], *, each: dict[str, int], jobs: int, scratch: Path, limit_s: float = LIMIT_S, first: int = 0
) -> list[Outcome]:
    """Damage the seeds, `each` times per format, over `jobs` workers; the damage does not depend on their number."""
    of_format: dict[str, list[Seed]] = {}
    for seed in seeds:
        of_format.setdefault(seed.format, []).append(seed)
    tasks: list[tuple[Seed, int]] = []
    for name, group in of_format.items():
        tasks += [(group[i % len(group)], i) for i in range(first, first + each[name])]
    kinds: dict[Kind, list[tuple[Seed, int]]] = {}
    for task in tasks:
        kinds.setdefault(task[0].kind, []).append(task)
    chunks: list[tuple[Kind, list[tuple[Seed, int]]]] = []
    for kind, found in kinds.items():
        n = min(jobs, len(found))
        chunks += [(kind, found[i::n]) for i in range(n)]
    counter = iter(range(len(chunks)))
    lock = threading.Lock()

    def work(chunk: tuple[Kind, list[tuple[Seed, int]]]) -> list[Outcome]:
        with lock:
            folder = scratch / f"worker-{next(counter)}"
        folder.mkdir(exist_ok=True)
        reader = Reader(chunk[0], folder, limit_s)
        try:
            return [_one(reader, seed, i, scratch) for seed, i in chunk[1]]
        finally:
            reader.close()

    with ThreadPoolExecutor(jobs) as pool:
        return [outcome for found in pool.map(work, chunks) for outcome in found]


def _one(reader: Reader, seed: Seed, i: int, scratch: Path) -> Outcome:
    rng = np.random.default_rng([i, *seed.format.encode()])
    how, data = damaged(seed.data, rng)
    packed = seed.pack(data)
    outcome = reader.outcome(seed.name, packed)
    fault = outcome[1:] if outcome.startswith("!") else ""
    if fault:
        kept = scratch / "faults"
        kept.mkdir(exist_ok=True)
        (kept / f"{seed.format.replace(' ', '_').replace(',', '')}-{i}-{seed.name}").write_bytes(packed)
    return Outcome(format=seed.format, damage=how, outcome="FAULT" if fault else outcome, fault=fault)


def refused_undamaged(seeds: Sequence[Seed], scratch: Path, limit_s: float = LIMIT_S) -> dict[str, str]:
    """Formats whose undamaged file is not read, with what became of it: then the damage would prove nothing."""
    found = {}
    for kind in dict.fromkeys(seed.kind for seed in seeds):
        folder = scratch / f"undamaged-{kind}"
        folder.mkdir(exist_ok=True)
        reader = Reader(kind, folder, limit_s)
        for seed in seeds:
            if seed.kind == kind:
                outcome = reader.outcome(seed.name, seed.pack(seed.data))
                if outcome not in ("read", "opened", "answered"):
                    found[seed.format] = outcome
        reader.close()
    return found


def table(outcomes: Iterable[Outcome]) -> str:
    """Markdown: formats down, outcomes across."""
    counts: dict[str, Counter[str]] = {}
    for o in outcomes:
        counts.setdefault(o.format, Counter())[o.outcome] += 1
    totals = sum(counts.values(), Counter[str]())
    names = sorted(totals, key=lambda name: (-totals[name], name))
    lines = [f"| format | damaged | {' | '.join(names)} |", f"|---|{'---:|' * (len(names) + 1)}"]
    for format_, found in [*counts.items(), ("**all**", totals)]:
        lines.append(f"| {format_} | {found.total():,} | {' | '.join(str(found[n] or '') for n in names)} |")
    return "\n".join(lines)


def shares(seeds: Sequence[Seed], n: int, model_share: float = 0.2) -> dict[str, int]:
    """How often each format is damaged, `n` times in all: models cost more time per file, and get a fifth."""
    formats = {seed.format: seed.kind == "model" for seed in seeds}
    n_models = sum(formats.values())
    of_models = round(n * model_share) if n_models else 0
    found = {}
    for is_model, total, count in ((True, of_models, n_models), (False, n - of_models, len(formats) - n_models)):
        names = [name for name, m in formats.items() if m == is_model]
        for k, name in enumerate(names):
            found[name] = total * (k + 1) // count - total * k // count
    return found


def main(arguments: Iterable[str] | None = None) -> int:
    """Print the table; 0 where there was no fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2) // 2))
    parser.add_argument("--first", type=int, default=0, help="number of the first damage: other numbers, other damage")
    parser.add_argument("--keep", type=Path, help="keep files that caused a fault here")
    parser.add_argument("--out", type=Path, help="also write the table here")
    options = parser.parse_args(None if arguments is None else list(arguments))
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        scratch = options.keep or Path(name)
        scratch.mkdir(parents=True, exist_ok=True)
        seeds = [*images(), *tables(), *models(Path(name))]
        if refused := refused_undamaged(seeds, scratch):
            print(f"not read although undamaged: {refused}", file=sys.stderr)
            return 1
        outcomes = campaign(
            seeds, each=shares(seeds, options.files), jobs=options.jobs, scratch=scratch, first=options.first
        )
    text = table(outcomes)
    print(text)
    faults = Counter((o.format, o.fault) for o in outcomes if o.fault)
    for (format_, fault), n in faults.most_common(60):
        print(f"{n} × {format_}: {fault}", file=sys.stderr)
    total = f"{len(outcomes):,} damaged files, {sum(faults.values())} faults, {time.monotonic() - begun:.0f} s"
    print(f"\n{total}")
    if options.out is not None:
        options.out.write_text(f"# Damaged files\n\n{_HEAD}\n\n{text}\n\n{total}.\n", encoding="utf-8")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())

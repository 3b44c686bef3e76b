"""Run a study on a Ray cluster and take parts of it away: workers, a node, the driver. The evidence must not change.

Run by `make ray-campaign` with an interpreter that has Ray. Three nodes are started on this machine; each scenario runs
the same study with one thing killed half-way, and its predictions and evidence are compared, byte for byte, with those
of one process without Ray. Before that the same study is timed with one, two and three workers.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalsuite.record import ledger
from evalsuite.record.canonical import read_json
from evalsuite.record.digest import sha256_file
from evalsuite.spine.verification import verify
from tests.campaigns.packaged_study import PackagedStudy, make_packaged_study
from tests.campaigns.study import COMMAND, command

NODES = 3
_LIMIT_S = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One scenario: what was taken away, how long the run took, what its record says, and what was wrong with it."""

    what: str
    seconds: float
    predict_s: float
    start_s: float
    workers_lost: int
    resumed: int
    faults: tuple[str, ...]


@contextmanager
def three_nodes(cpus: int = 1) -> Iterator[Any]:
    """A Ray cluster of three nodes on this machine, each with one core to give away."""
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0")
    from ray.cluster_utils import Cluster

    memory = 100 << 20
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": cpus, "object_store_memory": memory, "include_dashboard": False},
    )
    try:
        for _ in range(NODES - 1):
            cluster.add_node(num_cpus=cpus, object_store_memory=memory)
        cluster.wait_for_nodes()
        yield cluster
    finally:
        cluster.shutdown()


def started(study: PackagedStudy, name: str, *more: str) -> subprocess.Popen[bytes]:
    """Start `evalsuite run` in a session of its own."""
    with open(study.folder / f"{name}.log", "wb") as words:
        return subprocess.Popen(
            [*COMMAND, *study.run(name, *more)], stdout=words, stderr=subprocess.STDOUT, start_new_session=True
        )


def until_shards(study: PackagedStudy, name: str, n: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the run has stored `n` shards."""
    deadline = time.monotonic() + _LIMIT_S
    folder = study.folder / name / "work" / "shards"
    while len(list(folder.glob("*.parquet"))) < n:
        assert process.poll() is None, "the run ended before anything could be taken away"
        assert time.monotonic() < deadline, "the run stored no shard"
        time.sleep(0.02)


def kill_a_worker() -> None:
    """SIGKILL one worker of this process's own cluster that is computing."""
    for number, words in _descendants(os.getpid()):
        if words.startswith(b"ray::_Actor"):
            os.kill(number, signal.SIGKILL)
            return
    raise AssertionError("no worker was found")


def _descendants(parent: int) -> list[tuple[int, bytes]]:
    children: dict[int, list[int]] = {}
    words: dict[int, bytes] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            status = (entry / "stat").read_text()
            words[int(entry.name)] = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        children.setdefault(int(status.rsplit(")", 1)[1].split()[1]), []).append(int(entry.name))
    found, todo = [], list(children.get(parent, ()))
    while todo:
        number = todo.pop()
        found.append((number, words.get(number, b"")))
        todo += children.get(number, ())
    return found


def faults_of(study: PackagedStudy, name: str, expected: tuple[str, str]) -> list[str]:
    """What is wrong with a finished run."""
    run = study.folder / name
    if not (run / "evidence.json").exists():
        return [f"no evidence: {(study.folder / f'{name}.log').read_text()[-400:]}"]
    faults = []
    if digests(run) != expected:
        faults.append("predictions or evidence differ")
    faults += [f"{c.name}: {c.detail}" for c in verify(run).checks if c.status == "broken"]
    run_id = read_json(run / "record.json")["run"]["id"]
    used = [e.action for e in ledger.read(study.testset / "ledger.jsonl") if e.objects.get("run") == run_id]
    if used.count("run_started") != 1:
        faults.append(f"the run was counted {used.count('run_started')} times")
    return faults


def digests(run: Path) -> tuple[str, str]:
    """Of predictions and evidence."""
    return sha256_file(run / "predictions.parquet"), sha256_file(run / "evidence.json")


def trial(
    study: PackagedStudy,
    name: str,
    what: str,
    expected: tuple[str, str],
    *options: str,
    after_shards: int = 0,
    take_away: Callable[[subprocess.Popen[bytes]], None] | None = None,
) -> Trial:
    """One run; once `after_shards` shards are stored something is taken away. A run that died is started again."""
    begun = time.monotonic()
    process = started(study, name, *options)
    if take_away is not None:
        until_shards(study, name, after_shards, process)
        take_away(process)
    code = process.wait(_LIMIT_S)
    if code < 0:
        process = started(study, name, *options)
        code = process.wait(_LIMIT_S)
    faults = faults_of(study, name, expected)
    if code not in (0, 1):
        faults.append(f"ended with {code}: {(study.folder / f'{name}.log').read_text()[-400:]}")
    inference = read_json(study.folder / name / "record.json")["inference"] if not faults else {}
    return Trial(
        what=what,
        seconds=time.monotonic() - begun,
        predict_s=inference.get("wall_s", 0.0),
        start_s=inference.get("stages", {}).get("start_s", 0.0),
        workers_lost=inference.get("runner", {}).get("workers_lost", 0),
        resumed=inference.get("resumed_shards", 0),
        faults=tuple(faults),
    )


def kill_driver(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL the command and what it started itself."""
    os.killpg(process.pid, signal.SIGKILL)


def campaign(folder: Path, *, cases: int, loops: int, repeats: int) -> Iterator[Trial]:
    """All scenarios, then the timings."""
    study = make_packaged_study(folder / "study", cases=cases, loops=loops)
    command(study.lock())
    process = started(study, "local")
    assert process.wait(_LIMIT_S) in (0, 1), (study.folder / "local.log").read_text()
    expected = digests(study.folder / "local")
    for k in range(repeats):
        yield trial(study, f"local-{k}", "one process, no Ray", expected)
    with three_nodes() as cluster:
        ray = ("--runner", "ray", "--address", cluster.address)
        for n in (1, 2, 3):
            for k in range(repeats):
                yield trial(study, f"ray-{n}-{k}", f"{n} worker(s)", expected, *ray, "--workers", str(n))
        yield trial(
            study, "worker", "3 workers, one killed", expected, *ray, after_shards=2,
            take_away=lambda _: kill_a_worker(),
        )  # fmt: skip
        yield trial(
            study, "driver", "3 workers, driver killed, same command again", expected, *ray, after_shards=4,
            take_away=kill_driver,
        )  # fmt: skip
        yield trial(
            study, "node", "3 workers, a node lost", expected, *ray, after_shards=2,
            take_away=lambda _: cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False),
        )  # fmt: skip


def main(arguments: Iterable[str] | None = None) -> int:
    """Print the table; 0 where every run ended with the same bytes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=8192)
    parser.add_argument("--loops", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(None if arguments is None else list(arguments))
    if importlib.util.find_spec("ray") is None:
        print("this needs Ray: pip install 'evalsuite[ray]' into the environment that runs it", file=sys.stderr)
        return 2
    trials: list[Trial] = []
    names = ("run", "whole command (s)", "stage predict (s)", "workers ready after (s)", "cases/s", "workers lost")
    print(f"| {' | '.join(names)} | shards resumed | same bytes |\n|---|{'---:|' * 6}---|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for t in campaign(Path(scratch), cases=options.cases, loops=options.loops, repeats=options.repeats):
            trials.append(t)
            rate = options.cases / t.predict_s if t.predict_s and not t.resumed else 0
            print(
                f"| {t.what} | {t.seconds:.1f} | {t.predict_s:.1f} | {t.start_s:.1f} | "
                f"{f'{rate:.0f}' if rate else '–'} | {t.workers_lost} | {t.resumed} | {'no' if t.faults else 'yes'} |",
                flush=True,
            )
            for fault in t.faults:
                print(f"{t.what}: {fault}", file=sys.stderr)
    return 1 if any(t.faults for t in trials) else 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Kill lock, freeze and run at random moments; the same commands again must end in the same evidence.

Run by `make interrupted`. Each trial kills one command of the journey with SIGKILL at a random moment, gives the same
command again, finishes the journey, and compares the evidence with that of an undisturbed one.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evalsuite.record import ledger
from evalsuite.record.digest import sha256_file
from evalsuite.spine.verification import verify
from tests.campaigns.study import SmallStudy, make_study

#: How the kills are shared out among lock, freeze and run.
SHARES = (0.25, 0.15, 0.6)
#: How often a trial is begun whose command had ended before its kill.
ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One kill: which command, after how many seconds, whether it was still running, and what was wrong afterwards."""

    verb: str
    after_s: float
    killed: bool
    faults: tuple[str, ...]


def started(arguments: Sequence[str], words: Path) -> int:
    """Start a command in a forked process with a session of its own; its number. What it says goes to `words`.

    Forked and not executed anew, so that the kills fall into the command's work, not into the start of Python.
    """
    number = os.fork()
    if number:
        return number
    code = 70
    try:
        os.setsid()
        log = os.open(words, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = _run_here(list(arguments))
    finally:
        os._exit(code)


def _run_here(arguments: list[str]) -> int:
    from evalsuite.cli import main as evalsuite

    sys.argv = ["evalsuite", *arguments]
    try:
        evalsuite()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def _ready() -> None:
    """Load what the commands load, so that every forked one has it."""
    for name in ("cli", "spine.running", "report", "analyses.tasks", "testset", "inference.recorded"):
        importlib.import_module(f"evalsuite.{name}")


def carried_out(arguments: Sequence[str], words: Path) -> int:
    """Exit code of a command that nobody disturbs."""
    _, status = os.waitpid(started(arguments, words), 0)
    return os.waitstatus_to_exitcode(status)


def killed(arguments: Sequence[str], after_s: float, words: Path) -> bool:
    """Start a command and SIGKILL it with its children after `after_s`; False if it had ended by itself."""
    number = started(arguments, words)
    time.sleep(after_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(number, signal.SIGKILL)
    _, status = os.waitpid(number, 0)
    return os.WIFSIGNALED(status)


def trial(folder: Path, verb: int, after_s: float, expected: str) -> Trial:
    """Carry the journey out in `folder` with one kill in command number `verb`.

    Where the command had ended before its kill, the journey is checked and begun anew with an earlier moment.
    """
    for _ in range(ATTEMPTS):
        done = _journey(folder, verb, after_s, expected)
        if done.killed or done.faults:
            break
        after_s /= 2
    return done


def _journey(folder: Path, verb: int, after_s: float, expected: str) -> Trial:
    study = make_study(folder)
    words = folder / "words.txt"
    was_killed = False
    faults: list[str] = []
    for number, arguments in enumerate(study.steps()):
        if number == verb:
            was_killed = killed(arguments, after_s, words)
        if number == verb and not was_killed:
            continue
        code = carried_out(arguments, words)
        # A command that was killed after its last act is refused as already done, in words; nothing else may fail.
        done_before = number == verb and code == 2 and "already" in words.read_text()
        if code not in (0, 1) and not done_before:
            faults.append(f"{arguments[0]} ended with {code}: {words.read_text().strip()[:300]}")
    faults += _state(study, expected)
    shutil.rmtree(folder)
    return Trial(verb=study.steps()[verb][0], after_s=after_s, killed=was_killed, faults=tuple(faults))


def _state(study: SmallStudy, expected: str) -> list[str]:
    """What is wrong with the finished study."""
    if not (study.run / "evidence.json").exists():
        return ["there is no evidence"]
    faults = []
    if sha256_file(study.run / "evidence.json") != expected:
        faults.append("the evidence differs")
    for part in (study.testset, study.run):
        faults += [f"{part.name}: {c.name}: {c.detail}" for c in verify(part).checks if c.status == "broken"]
    used = [e.action for e in ledger.read(study.testset / "ledger.jsonl")]
    if used.count("run_started") != 1:
        faults.append(f"the run was counted {used.count('run_started')} times")
    return faults


def durations(folder: Path) -> tuple[str, list[float]]:
    """Digest of the undisturbed evidence, and how long each command takes."""
    _ready()  # as where the kills happen: else what is loaded first would count as work
    study = make_study(folder)
    seconds = []
    for arguments in study.steps():
        begun = time.monotonic()
        code = carried_out(arguments, folder / "words.txt")
        assert code in (0, 1), (folder / "words.txt").read_text()
        seconds.append(time.monotonic() - begun)
    return sha256_file(study.run / "evidence.json"), seconds


def campaign(root: Path, *, kills: int, jobs: int, seed: int) -> list[Trial]:
    """`kills` trials; the moments are uniform over the journey, so that long commands are hit more often."""
    expected, seconds = durations(root / "undisturbed")
    rng = np.random.default_rng(seed)
    verbs = [int(v) for v in rng.choice(len(seconds), size=kills, p=SHARES)]
    moments = [float(rng.uniform(0.0, seconds[v])) for v in verbs]
    folders = [root / f"trial-{number}" for number in range(kills)]
    with ProcessPoolExecutor(jobs, initializer=_ready) as pool:
        return list(pool.map(trial, folders, verbs, moments, [expected] * kills))


def main(arguments: Iterable[str] | None = None) -> int:
    """Print the table; 0 where every journey ended as the undisturbed one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(None if arguments is None else list(arguments))
    with tempfile.TemporaryDirectory() as scratch:
        trials = campaign(Path(scratch), kills=options.kills, jobs=options.jobs, seed=options.seed)
    print("| command | started | killed while running | ended as undisturbed |\n|---|---:|---:|---:|")
    started = Counter(t.verb for t in trials)
    hit = Counter(t.verb for t in trials if t.killed)
    good = Counter(t.verb for t in trials if not t.faults)
    for verb in started:
        print(f"| {verb} | {started[verb]} | {hit[verb]} | {good[verb]} |")
    wrong = [t for t in trials if t.faults]
    for t in wrong[:20]:
        print(f"{t.verb} killed after {t.after_s:.2f} s: {'; '.join(t.faults)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())

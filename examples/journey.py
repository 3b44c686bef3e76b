"""What the demonstrations share: running the command as a user would, and folders that are never overwritten."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

OnCase = Callable[[int, int], None]


def shown(folder: Path) -> Path:
    """A folder as a user would type it, where the demo is started from the checkout."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def evalsuite(console: Console, *arguments: str | Path) -> int:
    """Run the command as a user would, and show it first."""
    text = " ".join(str(a) for a in arguments)
    console.print(f"\n$ evalsuite {text}", style="bold", highlight=False, soft_wrap=True)
    return subprocess.run([sys.executable, "-m", "evalsuite", *map(str, arguments)], check=False).returncode


def next_free(out: Path, stem: str) -> Path:
    """`stem-1`, `stem-2`, …: locks, freezes and runs are never overwritten."""
    k = 1
    while (out / f"{stem}-{k}").exists():
        k += 1
    return out / f"{stem}-{k}"


def once(console: Console, stamp: Path, title: str, make: Callable[[OnCase], object]) -> None:
    """Do what takes long with a progress bar, unless an earlier demo did it with the same settings (the stamp)."""
    if stamp.exists():
        console.print(f"{title}: done before, in {stamp.parent}.")
        return
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("draw", total=None)
        make(lambda done, total: progress.update(task, completed=done, total=total))
    stamp.touch()


def travel(console: Console, *, table: Path, protocol: Path, model: Path, out: Path, name: str) -> int:
    """Lock, freeze, run, verify; 0 whatever the verdict (the demo shows the journey), else the failing exit code."""
    started = time.monotonic()
    testset, frozen, run = (next_free(out, stem) for stem in ("testset", "frozen", "run"))
    study = protocol.with_name("study.yaml")
    described = ("--study", study) if study.exists() else ()
    steps: list[tuple[tuple[str | Path, ...], tuple[int, ...]]] = [
        (("lock", table, "--protocol", protocol, "--out", testset, "--id", name), (0,)),
        (("freeze", protocol, "--testset", testset, "--model", model, "--out", frozen), (0,)),
        (("run", frozen, "--testset", testset, "--model", model, *described, "--out", run), (0, 1)),
        (("verify", run), (0,)),
    ]
    for command, expected in steps:
        code = evalsuite(console, *command)
        if code not in expected:
            console.print(f"The demo stopped here with exit code {code}.", style="bold red")
            return code
    console.rule("Done")
    console.print(f"in {time.monotonic() - started:.0f} s")
    console.print(f"  report    {run / 'report.pdf'}", soft_wrap=True)
    console.print(f"  web page  {run / 'report.html'}", soft_wrap=True)
    console.print(f"  evidence  {run / 'evidence.json'}", soft_wrap=True)
    console.print(f"  run       {run}", soft_wrap=True)
    return 0

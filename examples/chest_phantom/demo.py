"""From images to report on phantoms: lock, freeze, run, verify. `make demo` runs this."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

HERE = Path(__file__).resolve().parent
# Shown as a user would type it, where the demo is started from the checkout.
SHOWN = HERE.relative_to(Path.cwd()) if HERE.is_relative_to(Path.cwd()) else HERE
sys.path.insert(0, str(HERE))

PATIENTS = 250
SEED = 20261123


def evalsuite(console: Console, *arguments: str | Path) -> int:
    """Run the command as a user would, and show it first."""
    shown = " ".join(str(a) for a in arguments)
    console.print(f"\n$ evalsuite {shown}", style="bold", highlight=False, soft_wrap=True)
    return subprocess.run([sys.executable, "-m", "evalsuite", *map(str, arguments)], check=False).returncode


def make_images(console: Console, out: Path, patients: int) -> Path:
    """Draw the phantoms, with a progress bar; what an earlier demo drew with the same settings is used again."""
    from generate import generate

    table = out / "cases.csv"
    stamp = out / f".complete-{patients}-{SEED}"
    if table.exists() and stamp.exists():
        console.print(f"Phantoms are already in {out}.")
        return table
    columns = (
        TextColumn("Drawing phantoms"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("draw", total=None)
        table = generate(
            out,
            n_patients=patients,
            seed=SEED,
            profile="test",
            on_case=lambda done, total: progress.update(task, completed=done, total=total),
        )
    stamp.touch()
    return Path(table)


def next_free(out: Path, stem: str) -> Path:
    """`stem-1`, `stem-2`, …: locks, freezes and runs are never overwritten."""
    k = 1
    while (out / f"{stem}-{k}").exists():
        k += 1
    return out / f"{stem}-{k}"


def main() -> int:
    """Exit 0 whatever the verdict: the demo shows the journey. Any failure on the way ends it with that exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--patients", type=int, default=PATIENTS)
    parser.add_argument("--model", type=Path, default=SHOWN / "models" / "bundle")
    arguments = parser.parse_args()
    out: Path = arguments.out
    console = Console(highlight=False)
    started = time.monotonic()
    console.rule("evalsuite demo: a nodule classifier on chest-radiograph phantoms")
    console.print(
        "Everything here is synthetic: the images come from a generator, the model was trained on its phantoms.\n"
        "The model has weaknesses on purpose. The report is supposed to find them."
    )
    table = make_images(console, out / "data", arguments.patients)
    protocol = SHOWN / "protocol.yaml"
    testset, frozen, run = (next_free(out, stem) for stem in ("testset", "frozen", "run"))
    steps: list[tuple[tuple[str | Path, ...], tuple[int, ...]]] = [
        (("lock", table, "--protocol", protocol, "--out", testset, "--id", "chest-phantom-demo"), (0,)),
        (("freeze", protocol, "--testset", testset, "--model", arguments.model, "--out", frozen), (0,)),
        (("run", frozen, "--testset", testset, "--model", arguments.model, "--out", run), (0, 1)),
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
    console.print("Try next: your own study", style="bold")
    console.print("  .venv/bin/evalsuite init my-study --from generic_binary_standalone")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

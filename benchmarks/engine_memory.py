"""Memory of a run as the test set grows: it must stay flat, because a set may be larger than any machine's memory.

Each size runs in a process of its own: PNG files through the engine's own reading, buffers, shards and table, before a
stand-in device that answers at once, so that 20,000 cases take a minute instead of an hour.

    python -m benchmarks.engine_memory --out benchmarks/results/engine_memory.md
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

SIZES = (1000, 2000, 5000, 10000, 20000)
SIDE = 64
_EVERY_S = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--files", type=Path, default=None, help="measure this folder alone and print JSON")
    parser.add_argument("--n", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None, help="Markdown file; a plot is drawn beside it")
    options = parser.parse_args()
    if options.files is not None:
        print(json.dumps(measure(options.files, options.n)))
        return
    sizes = [int(n) for n in options.sizes.split(",")]
    found = []
    with tempfile.TemporaryDirectory(prefix="evalsuite-memory-") as folder:
        from benchmarks.engine_data import png_files

        png_files(Path(folder), max(sizes), size=SIDE)
        for n in sizes:
            command = [sys.executable, "-m", "benchmarks.engine_memory", "--files", folder, "--n", str(n)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found.append(json.loads(said.splitlines()[-1]))
    text = table(found)
    print(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")
        draw(found, options.out.with_suffix(".svg"))


def measure(folder: Path, n: int) -> dict[str, Any]:
    """Resident size while `n` cases run: before the first case, at its highest, and over the time of the run."""
    from dataclasses import replace

    from benchmarks.engine_data import StandIn, classifier_contract, png_files, testset_of
    from evalsuite.inference.engine import predict
    from evalsuite.inference.hooks import default_hooks
    from evalsuite.inference.settings import InferenceSettings
    from evalsuite.models.contract import load_contract

    contract = load_contract(classifier_contract(folder, top=255, resize=False))
    small = contract.inputs[0].model_copy(update={"shape": (3, SIDE, SIDE)})
    contract = contract.model_copy(update={"inputs": (small,)})
    model = StandIn(contract=contract, rate=float("inf"))
    hooks = replace(default_hooks(model, {"image": "image"}), normalise=lambda name, batch: batch)
    paths = png_files(folder, n, size=SIDE)
    settings = InferenceSettings(device="cpu", batch_size=64, threads=1, decoders=2, repeat=False)
    with tempfile.TemporaryDirectory() as work:  # libraries are loaded and buffers made before the first measurement
        predict(model, testset_of(paths[:256]), settings=settings, work=Path(work), hooks=hooks)
    testset = testset_of(paths)
    seen: list[tuple[int, float]] = []
    done = [0]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_EVERY_S):
            seen.append((done[0], resident_mib()))

    watcher = threading.Thread(target=watch)
    before, started = resident_mib(), time.perf_counter()
    watcher.start()
    with tempfile.TemporaryDirectory() as work:
        predict(
            model, testset, settings=settings, work=Path(work), hooks=hooks,
            on_case=lambda count, total: done.__setitem__(0, count),
        )  # fmt: skip
    ended.set()
    watcher.join()
    step = max(1, len(seen) // 100)
    return {
        "n": n,
        "before": before,
        "highest": max(mib for _, mib in seen),
        "seconds": time.perf_counter() - started,
        "course": seen[::step],
    }


def table(found: list[dict[str, Any]]) -> str:
    """Markdown: one row per size."""
    lines = [
        "# Memory as the test set grows",
        "",
        f"PNG files of {SIDE}², batches of 64, two decoders, a stand-in device that answers at once; each row in a "
        "process of its own. *Before* is libraries, buffers and the case list; *highest* is sampled every "
        f"{_EVERY_S:g} s until the predictions are assembled. `python -m benchmarks.engine_memory`",
        "",
        "| cases | before, MiB | highest, MiB | grown by, MiB | per case, KiB | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for row in found:
        grown = row["highest"] - row["before"]
        lines.append(
            f"| {row['n']:,} | {row['before']:,.0f} | {row['highest']:,.0f} | {grown:.1f} "
            f"| {grown * 1024 / row['n']:.2f} | {row['seconds']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def draw(found: list[dict[str, Any]], out: Path) -> None:
    """Resident size over the cases done, one line per size of the test set."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "memory", "svg.fonttype": "none", "font.size": 9}
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
    for row in found:
        axis.plot([n for n, _ in row["course"]], [mib for _, mib in row["course"]], label=f"{row['n']:,} cases")
    axis.set(xlabel="cases done", ylabel="resident size, MiB", ylim=(0, None))
    axis.grid(True, color="0.9")
    axis.legend(frameon=False)
    figure.savefig(out, metadata={"Date": None})


def resident_mib() -> float:
    """Resident size of this process, MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return float(line.split()[1]) / 1024
    return float("nan")


if __name__ == "__main__":
    main()

"""Time and memory of the statistics core beside a scikit-learn loop and pROC; prints a markdown table.

    python benchmarks/statistics.py [--quick] [--repeat 5] [--threads 2] [--out benchmarks/results/statistics.md]

Every measurement runs in a process of its own, so peak memory is that of the task (the interpreter with numpy and scipy
takes some 60 MB of it). Peers that would take minutes are timed on fewer replicates and scaled, which the table says.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
# This file's name is that of a standard module: its folder must not shadow that for the peers.
sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != ROOT / "benchmarks"]
TWELVE = (
    "auroc", "average_precision", "sensitivity", "specificity", "ppv", "npv", "accuracy", "balanced_accuracy", "f1",
    "mcc", "lr_positive", "lr_negative",
)  # fmt: skip
CALIBRATION = ("brier", "log_loss", "ece", "observed_expected")


def study(n: int, *, per_patient: float = 2.0) -> dict[str, np.ndarray]:
    """One synthetic study: about `per_patient` cases per patient, 10 % positive."""
    rng = np.random.default_rng(20240601)
    reference = rng.random(n) < 0.1
    score = rng.normal(size=n) + 1.2 * reference
    return {
        "reference": reference,
        "score": score,
        "call": score >= 1.0,
        "probability": 1 / (1 + np.exp(-(score - 2.2))),
        "patient": rng.integers(0, max(1, int(n / per_patient)), n),
    }


def task_bootstrap(n: int, replicates: int, threads: int) -> Callable[[], object]:
    from evalsuite.stats.bootstrap import PatientDraw, binary_bootstrap

    d = study(n)

    def work() -> object:
        draw = PatientDraw(d["patient"], replicates, 1)
        return binary_bootstrap(
            draw, reference=d["reference"], score=d["score"], call=d["call"], threads=threads,
            metrics=["auroc", "sensitivity", "specificity"], method="percentile",
        )  # fmt: skip

    return work


def task_sklearn(n: int, replicates: int, threads: int) -> Callable[[], object]:
    from sklearn.metrics import confusion_matrix, roc_auc_score

    d = study(n)
    order = np.argsort(d["patient"], kind="stable")
    starts = np.searchsorted(d["patient"][order], np.unique(d["patient"]))
    groups = np.split(order, starts[1:])

    def work() -> object:
        rng = np.random.default_rng(1)
        out = []
        for _ in range(replicates):
            index = np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))])
            y, call = d["reference"][index], d["call"][index]
            (tn, fp), (fn, tp) = confusion_matrix(y, call)
            out.append((roc_auc_score(y, d["score"][index]), tp / (tp + fn), tn / (tn + fp)))
        return out

    return work


def task_strata(n: int, strata: int, replicates: int, threads: int) -> Callable[[], object]:
    from evalsuite.stats.bootstrap import PatientDraw, binary_bootstrap
    from evalsuite.stats.calibration import calibration_intercept, calibration_slope
    from evalsuite.stats.reliability import reliability_curve

    d = study(n)
    rng = np.random.default_rng(2)
    columns = [rng.integers(0, 5, n) for _ in range(max(1, strata // 5))]
    masks = np.stack([column == k for column in columns for k in range(5)])[:strata]

    def work() -> object:
        draw = PatientDraw(d["patient"], replicates, 1)
        arrays = {k: d[k] for k in ("reference", "score", "call", "probability")}
        out: list[object] = [
            binary_bootstrap(draw, masks=masks, metrics=[*TWELVE, *CALIBRATION], threads=threads, **arrays)
        ]
        for mask in masks:
            y, p, patient = d["reference"][mask], d["probability"][mask], d["patient"][mask]
            out.append(calibration_intercept(y, p, cluster=patient))
            out.append(calibration_slope(y, p, cluster=patient))
            out.append(reliability_curve(y, p, cluster=patient))
        return out

    return work


def task_delong(n: int, clustered: int, threads: int) -> Callable[[], object]:
    from evalsuite.stats.roc import auroc

    d = study(n)
    return lambda: auroc(d["reference"], d["score"], cluster=d["patient"] if clustered else None)


TASKS: dict[str, Callable[..., Callable[[], object]]] = {
    "bootstrap": task_bootstrap,
    "sklearn": task_sklearn,
    "strata": task_strata,
    "delong": task_delong,
}


def run_here(name: str, sizes: list[int], threads: int) -> None:
    """Child process: one task once, timed; JSON to stdout."""
    work = TASKS[name](*sizes, threads)
    began, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"wall": wall, "cpu": cpu, "mb": peak}))


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def child(name: str, *sizes: int, threads: int) -> list[str]:
    """Command line of one measurement."""
    return [sys.executable, __file__, "--child", name, *map(str, sizes), "--threads", str(threads)]


def capacity(n: int, replicates: int, processes: int) -> float:
    """How many times the work of one process this machine does with `processes` at once: its own limit to speed-up."""
    command = child("bootstrap", n, replicates, threads=1)
    alone = json.loads(subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout)
    running = [subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    together = [json.loads(p.communicate()[0])["wall"] for p in running]
    return float(processes * alone["wall"] / np.mean(together))


def measure(name: str, *sizes: int, threads: int, repeat: int) -> dict[str, float]:
    """Medians over `repeat` child processes."""
    runs = []
    command = child(name, *sizes, threads=threads)
    for _ in range(repeat):
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
        runs.append(json.loads(done.stdout))
    return {key: float(np.median([r[key] for r in runs])) for key in ("wall", "cpu", "mb")}


R_SCRIPT = """
suppressMessages(library(pROC)); d <- read.csv("%s")
r <- roc(d$reference, d$score, levels = c(0, 1), direction = "<", quiet = TRUE, algorithm = 2)
t <- system.time(ci.auc(r, method = "delong"))[["elapsed"]]
g <- split(seq_len(nrow(d)), d$patient); set.seed(1)
b <- system.time(for (i in 1:%d) {
  k <- unlist(g[sample.int(length(g), replace = TRUE)], use.names = FALSE)
  q <- roc(d$reference[k], d$score[k], levels = c(0, 1), direction = "<", quiet = TRUE, algorithm = 2); auc(q)
  mean(d$call[k][d$reference[k] == 1]); mean(!d$call[k][d$reference[k] == 0])
})[["elapsed"]]
cat(t, b)
"""


def proc(n: int, replicates: int) -> tuple[float, float] | None:
    """Seconds of pROC for DeLong and for `replicates` clustered replicates; None without Rscript or pROC."""
    if shutil.which("Rscript") is None:
        return None
    d = study(n)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "study.csv"
        columns = [d["reference"].astype(int), d["score"], d["call"].astype(int), d["patient"]]
        np.savetxt(table, np.stack(columns, axis=1), delimiter=",", header="reference,score,call,patient", comments="")
        done = subprocess.run(
            ["Rscript", "-e", R_SCRIPT % (table, replicates)], capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        return None
    delong, boot = done.stdout.split()[-2:]
    return float(delong), float(boot)


def report(*, quick: bool, repeat: int, threads: int) -> str:
    """The whole benchmark as markdown."""
    n, replicates = (20_000, 200) if quick else (100_000, 2000)
    few = 5 if quick else 20

    def row(work: str, r: dict[str, float], peer: str = "", ratio: str = "") -> str:
        return f"| {work} | {r['wall']:.3g} | {r['cpu']:.3g} | {r['mb']:.0f} | {peer} | {ratio} |"

    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    lines = [
        "# Speed of the statistics core",
        "",
        f"{platform.platform()}, {os.cpu_count()} processors, Python {platform.python_version()}, "
        f"numpy {np.__version__}, {threads} threads, median of {repeat} processes. Load average before: {load} "
        "(a busy machine shows in wall time, not in CPU seconds). "
        f"Four such processes side by side did {capacity(n, replicates // 4, 4):.1f} times the work of one: "
        "what this machine, as busy as it was, had to give to any parallel program.",
        "",
        "| work | wall s | CPU s | peak MB | peer, wall s | ratio |",
        "|---|---:|---:|---:|---|---:|",
    ]
    ours = measure("bootstrap", n, replicates, threads=threads, repeat=repeat)
    theirs = measure("sklearn", n, few, threads=1, repeat=1)
    scaled = theirs["wall"] * replicates / few
    work = f"{replicates:,} patient-clustered replicates of AUROC + sensitivity + specificity, n = {n:,}"
    note = f"scikit-learn loop {scaled:.1f} ({few} replicates, scaled), {theirs['mb']:.0f} MB"
    lines.append(row(work, ours, note, f"{scaled / ours['wall']:.0f}"))
    r = proc(n, few)
    if r is not None:
        lines.append(row("the same", ours, f"pROC {r[1] * replicates / few:.1f} ({few} replicates, scaled)",
                         f"{r[1] * replicates / few / ours['wall']:.0f}"))  # fmt: skip
    single = measure("bootstrap", n, replicates, threads=1, repeat=repeat)
    lines.append(row("the same, one thread", single, "", f"{scaled / single['wall']:.0f}"))
    strata = 10 if quick else 40
    lines.append(
        row(
            f"{strata} strata × 12 two-class metrics + 4 calibration metrics with BCa, intercept, slope, reliability "
            f"curve, {replicates:,} replicates, n = {n:,}",
            measure("strata", n, strata, replicates, threads=threads, repeat=1),
        )
    )
    for size in (n, 10 * n):
        one = measure("delong", size, 0, threads=1, repeat=repeat)
        peer = proc(size, 1) if size == n else None
        note = f"pROC {peer[0]:.3g}" if peer else ""
        ratio = f"{peer[0] / one['wall']:.1f}" if peer else ""
        lines.append(row(f"AUROC with DeLong interval, n = {size:,}", one, note, ratio))
        lines.append(
            row(f"AUROC with Obuchowski interval, n = {size:,}", measure("delong", size, 1, threads=1, repeat=repeat))
        )
    lines += ["", "## How cost grows", "", "| cases | strata | replicates | wall s | CPU s | peak MB |",
              "|---:|---:|---:|---:|---:|---:|"]  # fmt: skip
    small = replicates // 4
    grid = [
        (n // 10, 10, small),
        (n // 2, 10, small),
        (n, 10, small),
        (n, 20, small),
        (n, 40, small),
        (n, 10, 2 * small),
    ]
    for cases, groups, times in grid:
        g = measure("strata", cases, groups, times, threads=threads, repeat=1)
        lines.append(f"| {cases:,} | {groups} | {times:,} | {g['wall']:.2f} | {g['cpu']:.2f} | {g['mb']:.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, to see that it runs")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_here(options.child[0], [int(x) for x in options.child[1:]], options.threads)
        return
    text = report(quick=options.quick, repeat=options.repeat, threads=options.threads)
    print(text, end="")
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

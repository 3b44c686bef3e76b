"""Time and memory of the statistics core beside what else people use; prints a markdown page.

    python -P benchmarks/statistics.py [--quick] [--repeat 5] [--threads 4] [--out benchmarks/results/statistics.md]

Every measurement runs in a process of its own, so peak memory is that of the task (the interpreter with numpy, scipy
and Numba takes some 180 MB of it). Peers that would take minutes run fewer replicates and are scaled, which the table
says; a peer that is not installed (`pip install evalsuite[bench]`) is a row that says so. With `--out`, how cost grows
is drawn beside it (statistics_growth.svg).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
# This file's name is that of a standard module: its folder must not shadow that for the peers.
sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != ROOT / "benchmarks"]
TWELVE = (
    "auroc", "average_precision", "sensitivity", "specificity", "ppv", "npv", "accuracy", "balanced_accuracy", "f1",
    "mcc", "lr_positive", "lr_negative",
)  # fmt: skip
CALIBRATION = ("brier", "log_loss", "ece", "observed_expected")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
Measured = dict[str, Any]


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


def groups(n: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 5, n)


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


def task_groups(n: int, replicates: int, threads: int) -> Callable[[], object]:
    from evalsuite.stats.bootstrap import PatientDraw, binary_bootstrap

    d, group = study(n), groups(n)
    masks = np.stack([group == k for k in range(5)])

    def work() -> object:
        return binary_bootstrap(
            PatientDraw(np.arange(n), replicates, 1), reference=d["reference"], call=d["call"], masks=masks,
            metrics=["sensitivity", "specificity"], method="percentile", threads=threads,
        )  # fmt: skip

    return work


def task_strata(n: int, strata: int, replicates: int, threads: int) -> Callable[[], object]:
    from evalsuite.stats.bootstrap import PatientDraw, binary_bootstrap
    from evalsuite.stats.calibration import calibration_intercept, calibration_slope
    from evalsuite.stats.reliability import reliability_curve

    d = study(n)
    rng = np.random.default_rng(2)
    columns = [rng.integers(0, 5, n) for _ in range(-(-strata // 5))]
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
    "groups": task_groups,
    "strata": task_strata,
    "delong": task_delong,
}


def run_here(name: str, sizes: list[int], threads: int, *, cold: bool) -> None:
    """Child process: one task once, timed; JSON to stdout. Unless `cold`, Numba is loaded before the clock starts."""
    work = TASKS[name](*sizes, threads)
    if not cold and name != "delong":
        task_bootstrap(50, 2, 1)()
    began, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"wall": wall, "cpu": cpu, "mb": peak}))


def child(name: str, *sizes: int, threads: int, cold: bool = False) -> list[str]:
    """Command line of one measurement."""
    command = [sys.executable, "-P", __file__, "--child", name, *map(str, sizes), "--threads", str(threads)]
    return [*command, "--cold"] if cold else command


def timed(command: list[str], environment: dict[str, str] = ENVIRONMENT) -> Measured:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(name: str, *sizes: int, threads: int, repeat: int) -> Measured:
    """Medians over `repeat` child processes."""
    runs = [timed(child(name, *sizes, threads=threads)) for _ in range(repeat)]
    return {key: float(np.median([r[key] for r in runs])) for key in ("wall", "cpu", "mb")}


def first_calls() -> tuple[Measured, Measured]:
    """A small bootstrap, Numba's loading included: with nothing compiled yet, and with it compiled."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**ENVIRONMENT, "NUMBA_CACHE_DIR": folder}
        command = child("bootstrap", 1000, 200, threads=1, cold=True)
        return timed(command, environment), timed(command, environment)


def capacity(n: int, replicates: int, processes: int) -> float:
    """How many times the work of one process this machine does with `processes` at once: its own limit to speed-up."""
    command = child("bootstrap", n, replicates, threads=1)
    alone = timed(command)
    running = [subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    together = [json.loads(p.communicate()[0])["wall"] for p in running]
    return float(processes * alone["wall"] / np.mean(together))


def peer(name: str, d: dict[str, np.ndarray], few: int, replicates: int, repeat: int = 1) -> Measured:
    """One peer (benchmarks/peers_statistics.py): seconds for `replicates`, from `few`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "study.npz"
        np.savez(file, **d)  # type: ignore[arg-type]
        script = str(ROOT / "benchmarks/peers_statistics.py")
        command = [sys.executable, "-P", script, name, str(file), str(few), str(replicates)]
        runs = [timed(command) for _ in range(repeat)]
    if "absent" in runs[0]:
        return {"what": name, **runs[0]}
    scaled = f" ({few} replicates, scaled)" if few != replicates else ""
    middle = {key: float(np.median([r[key] for r in runs])) for key in ("wall", "cpu", "mb")}
    return {"what": runs[0]["what"] + scaled, **middle}


def table(ours: list[Measured], peers: list[Measured]) -> list[str]:
    """Ours first; how many times our first row's seconds each other row takes."""
    base = ours[0]
    lines = ["| | wall s | CPU s | peak MB | wall, times ours | CPU, times ours |", "|---|---:|---:|---:|---:|---:|"]
    for r in [*ours, *peers]:
        if "absent" in r:
            lines.append(f"| {r['what']} | {r['absent']} | | | | |")
            continue
        ratios = "| | |" if r is base else f"| {r['wall'] / base['wall']:.3g} | {r['cpu'] / base['cpu']:.3g} |"
        lines.append(f"| {r['what']} | {r['wall']:.3g} | {r['cpu']:.3g} | {r['mb']:.0f} {ratios}")
    return [*lines, ""]


def growth(n: int, replicates: int, threads: int, out: Path | None) -> list[str]:
    """The 16 metrics with BCa over cases, strata and replicates, one at a time; drawn to `out` where matplotlib is."""
    sizes = {
        "cases": [(n // 100, 10, replicates), (n // 10, 10, replicates), (n // 3, 10, replicates), (n, 10, replicates)],
        "strata": [(n, s, replicates) for s in (1, 5, 10, 20, 40)],
        "replicates": [(n, 10, replicates * k // 2) for k in (1, 2, 4, 8)],
    }
    found: dict[tuple[int, int, int], Measured] = {}
    rows = []
    for panel, grid in sizes.items():
        for size in grid:
            if size not in found:
                found[size] = measure("strata", *size, threads=threads, repeat=1)
            rows.append(
                {"panel": panel, **dict(zip(("cases", "strata", "replicates"), size, strict=True)), **found[size]}
            )
    lines = [
        "## How cost grows",
        "",
        f"16 metrics with BCa, calibration intercept, slope and curve; {threads} threads.",
        "",
    ]
    if out is not None and importlib.util.find_spec("matplotlib") is None:
        lines += ["Not drawn: matplotlib is not installed.", ""]
    elif out is not None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "rows.json"
            file.write_text(json.dumps(rows), encoding="utf-8")
            command = [sys.executable, "-P", str(ROOT / "benchmarks/statistics_growth.py"), str(file), str(out)]
            subprocess.run(command, env=ENVIRONMENT, check=True)
        lines += [f"![Seconds over cases, strata and replicates]({out.name})", ""]
    lines += ["| cases | strata | replicates | wall s | CPU s | peak MB |", "|---:|---:|---:|---:|---:|---:|"]
    for (cases, strata, times), g in sorted(found.items()):
        lines.append(f"| {cases:,} | {strata} | {times:,} | {g['wall']:.2f} | {g['cpu']:.2f} | {g['mb']:.0f} |")
    return lines


def report(*, quick: bool, repeat: int, threads: int, out: Path | None) -> str:
    """The whole benchmark as markdown."""
    n, replicates = (20_000, 200) if quick else (100_000, 2000)
    few = 6 if quick else 20
    d = study(n)
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    cold, warm = first_calls()

    def named(what: str, r: Measured) -> Measured:
        return {"what": what, **r}

    lines = [
        "# Speed of the statistics core",
        "",
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}, "
        f"numpy {np.__version__}, median of {repeat} processes (peers: of one). Load average before: {load} "
        "(a busy machine shows in wall time, less in CPU seconds). "
        f"Four such processes side by side did {capacity(n, replicates // 4, 4):.1f} times the work of one: "
        "what this machine, as busy as it was, had to give to any parallel program.",
        "",
        f"## {replicates:,} replicates of AUROC, sensitivity and specificity, n = {n:,}",
        "",
        "Patients are resampled, two cases each on average; where a peer can only resample cases, its row says so. All "
        "peers use one thread.",
        "",
    ]
    ours = [
        named(
            f"evalsuite, {t} thread{'s' if t > 1 else ''}",
            measure("bootstrap", n, replicates, threads=t, repeat=repeat),
        )
        for t in dict.fromkeys((threads, 1))
    ]
    slow = {"torchmetrics": few // 2}
    peers = ("scikit-learn", "confidenceinterval", "torchmetrics", "fairlearn", "pROC")
    lines += table(ours, [peer(name, d, slow.get(name, few), replicates) for name in peers])
    lines += [
        "Before that, once: the first bootstrap of a process loads Numba "
        f"({warm['wall']:.1f} s wall, {warm['cpu']:.1f} s CPU); the first on a machine compiles "
        f"({cold['wall']:.1f} s wall, {cold['cpu']:.1f} s CPU, peak {cold['mb']:.0f} MB).",
        "",
    ]
    strata = 10 if quick else 40
    many = measure("strata", n, strata, replicates, threads=threads, repeat=1)
    lines += [
        f"## {strata} strata, n = {n:,}",
        "",
        f"12 two-class and 4 calibration metrics with BCa from {replicates:,} replicates; calibration intercept, slope "
        "and reliability curve.",
        "",
        *table([named(f"evalsuite, {threads} threads", many)], []),
        f"## Sensitivity and specificity of 5 groups, n = 5,000, {replicates:,} replicates",
        "",
    ]
    small = study(5000)
    small["group"] = groups(5000)
    lines += table(
        [named("evalsuite, one thread", measure("groups", 5000, replicates, threads=1, repeat=repeat))],
        [peer("fairlearn", small, few, replicates)],
    )
    lines += ["## AUROC with its interval, no resampling", ""]
    for size in (n, 10 * n):
        one = measure("delong", size, 0, threads=1, repeat=repeat)
        two = measure("delong", size, 1, threads=1, repeat=repeat)
        others = [peer("pROC-delong", study(size), 1, 1, repeat)] if size == n else []
        ours = [named(f"DeLong, n = {size:,}", one), named(f"Obuchowski, n = {size:,}", two)]
        lines += table(ours, others)
    lines += growth(n, replicates // 4, threads, None if out is None else out.with_name(f"{out.stem}_growth.svg"))
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, to see that it runs")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--cold", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_here(options.child[0], [int(x) for x in options.child[1:]], options.threads, cold=options.cold)
        return
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
    text = report(quick=options.quick, repeat=options.repeat, threads=options.threads, out=options.out)
    print(text, end="")
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

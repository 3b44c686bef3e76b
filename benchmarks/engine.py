"""How much of the model's own speed is left once images are read, decoded, prepared and answers stored.

The floor is the raw forward pass of the same package over batches that already lie in memory, same size, threads and
device. Every pass through the engine stands between two raw passes of the same run, so that a machine that is busier at
one time than at another changes both; the figures are medians of the ratios.

    python -m benchmarks.engine --out benchmarks/results/engine.md
    python -m benchmarks.engine --parts device --keep rows.json   # one part; it goes on where it stopped
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import date
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.kept import Kept

Seen = dict[str, float]
Way = Callable[[], Seen]
PARTS = ("classifier", "segmenter", "device")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}; by default all")
    parser.add_argument("--cases", type=int, default=96, help="images of the classifier")
    parser.add_argument("--volumes", type=int, default=24, help="volumes of the segmenter")
    parser.add_argument("--png", type=int, default=2000, help="PNG files before the stand-in device")
    parser.add_argument("--jpegls", type=int, default=256, help="JPEG-LS files before the stand-in device")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None, help="torch threads; by default cores less decoders")
    parser.add_argument("--batch", type=int, default=None)
    parser.add_argument("--devices", default=None, help="joined by commas; by default cpu, and cuda where present")
    parser.add_argument("--keep", type=Path, default=None, help="a file for finished rows: the same command goes on")
    parser.add_argument("--out", type=Path, default=None, help="also write the tables to this Markdown file")
    options = parser.parse_args()
    _restart_with_environment()
    sys.path[:] = [str(Path(__file__).parents[1]), *(p for p in sys.path if Path(p) != Path(__file__).parent)]

    import torch

    from benchmarks.engine_device import stand_in_table
    from benchmarks.kept import Kept

    made_with = {k: str(v) for k, v in sorted(vars(options).items()) if k not in ("parts", "out", "keep")}
    options.kept = Kept(options.keep, str(made_with))
    devices = options.devices.split(",") if options.devices else ["cpu"] + ["cuda"] * torch.cuda.is_available()
    parts = options.parts.split(",")
    texts = [f"# Speed of the engine\n\n{options.kept.row('machine', _machine)}"]
    with tempfile.TemporaryDirectory(prefix="evalsuite-benchmark-") as folder:
        for device in devices:
            if "classifier" in parts:
                texts.append(classifier(Path(folder), device, options))
            if "segmenter" in parts:
                texts.append(segmenter(Path(folder), device, options))
        if "device" in parts:
            texts.append(
                stand_in_table(
                    Path(folder), n_png=options.png, n_jpegls=options.jpegls, repeats=options.repeats, kept=options.kept
                )
            )
    text = "\n\n".join([*texts, _NOTES]) + "\n"
    print(text)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")


_NOTES = """\
*Share of raw* is read, decode, prepare, predict and store for all cases, without opening the package, the probe before
the first case and the batch that may be run a second time at the end: constant, not per case. Where several workers
compute, raw is still one process with all threads. *Processor time* is of all threads and child processes, the probe
(up to 8 images) and the start of child processes included; it suffers least from what else the machine does. *Peak
memory* is the highest resident size of the benchmark's process in the pass, libraries, model and preloaded batches
included; a sandboxed model's own process comes on top."""


def _machine() -> str:
    import torch

    from evalsuite.inference.device import device_name
    from evalsuite.inference.process import usable_cores

    load = os.getloadavg()[0]
    return (
        f"{device_name('cpu')}, {usable_cores()} cores, torch {torch.__version__}, Python {platform.python_version()}, "
        f"{date.today().isoformat()}. Load of the machine when the run began: {load:.1f}"
        f"{' (not idle: compare shares, not rates)' if load > 1 else ''}."
    )


def _restart_with_environment() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from evalsuite.inference.process import recommended_environment

    if "EVALSUITE_BENCHMARK" not in os.environ:
        wanted = {**recommended_environment(), **os.environ, "EVALSUITE_BENCHMARK": "1"}
        os.execve(sys.executable, [sys.executable, "-W", "ignore", "-P", __file__, *sys.argv[1:]], wanted)


def classifier(folder: Path, device: str, options: argparse.Namespace) -> str:
    """DenseNet121 on PNG files and on wide JPEG-LS DICOM files, beside what one would write by hand."""
    from benchmarks import engine_data as data
    from benchmarks.engine_peers import classifier_loops
    from evalsuite.inference.process import share_cores, usable_cores
    from evalsuite.inference.settings import DEFAULT_BATCH
    from evalsuite.models.open import open_model as open_here
    from evalsuite.sandbox.open import open_model

    threads, decoders = share_cores(on_cpu=device == "cpu", threads=options.threads, decoders=None)
    batch = options.batch or DEFAULT_BATCH[device.partition(":")[0]]
    n = options.cases
    package = data.densenet(folder)
    plain = data.classifier_contract(folder, top=255, resize=False)
    resized = data.classifier_contract(folder, top=4095, resize=True)
    png, dicom = data.png_files(folder, n), data.jpegls_files(folder, n)
    here = open_here(package, contract=plain).to(device)
    shape = (3, data.SIZE, data.SIZE)
    common = {"device": device, "batch": batch, "decoders": decoders}
    with ExitStack() as stack:
        boxed: Any = open_model(package, contract=plain)
        stack.callback(boxed.close)
        wide: Any = open_model(package, contract=resized)
        stack.callback(wide.close)
        cache = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ways: dict[str, Way] = {
            "engine, PNG, model in this process": lambda: run_engine(here, png, threads=threads, **common),
            "engine, PNG, sandboxed": lambda: run_engine(boxed, png, threads=threads, **common),
            "engine, PNG, decoded cache, sandboxed": lambda: run_engine(
                boxed, png, threads=threads, cache=cache, **common
            ),
            "engine, JPEG-LS, sandboxed": lambda: run_engine(wide, dicom, threads=threads, **common),
            "engine, JPEG-LS, decoded cache, sandboxed": lambda: run_engine(
                wide, dicom, threads=threads, cache=cache, **common
            ),
        }
        if device == "cpu" and usable_cores() > 1:
            cores = usable_cores()
            few = {**common, "batch": min(batch, -(-n // cores))}
            ways[f"engine, PNG, {cores} sandboxed workers of 1 thread"] = lambda: run_engine(
                boxed, png, threads=1, workers=cores, **few
            )
        ways |= classifier_loops(here.network, png, dicom, device, batch, threads)
        raw = raw_forward(here.network, shape, n, batch, device=device, threads=threads)
        return table(
            f"## DenseNet121, {data.SIZE}², {device}",
            f"MONAI, TorchScript, float32, TF32 off, batches of {batch}, {n} cases; PNG of {data.SIZE}², JPEG-LS DICOM "
            f"of {data.WIDE}² resized to {data.SIZE}². {threads} torch thread(s) + {decoders} decoder(s).",
            raw, ways, n=n, repeats=options.repeats, kept=options.kept,
        )  # fmt: skip


def segmenter(folder: Path, device: str, options: argparse.Namespace) -> str:
    """A 3-D U-Net on gzipped NIfTI volumes, masks stored, beside what one would write by hand."""
    from benchmarks import engine_data as data
    from benchmarks.engine_peers import segmenter_loops
    from evalsuite.inference.process import share_cores
    from evalsuite.models.open import open_model as open_here
    from evalsuite.sandbox.open import open_model

    threads, decoders = share_cores(on_cpu=device == "cpu", threads=options.threads, decoders=None)
    n = options.volumes
    package, contract = data.unet(folder), data.segmenter_contract(folder)
    volumes = data.nifti_files(folder, n)
    here = open_here(package, contract=contract).to(device)
    common = {"device": device, "batch": 1, "decoders": decoders, "threads": threads}
    with ExitStack() as stack:
        boxed: Any = open_model(package, contract=contract)
        stack.callback(boxed.close)
        ways: dict[str, Way] = {
            "engine, NIfTI, model in this process": lambda: run_engine(here, volumes, **common),
            "engine, NIfTI, sandboxed": lambda: run_engine(boxed, volumes, **common),
            **segmenter_loops(here.network, volumes, device, threads),
        }
        raw = raw_forward(here.network, (1, *[data.SIDE] * 3), n, 1, device=device, threads=threads)
        return table(
            f"## 3-D U-Net, {data.SIDE}³, {device}",
            f"MONAI, TorchScript, float32, one volume at a time, {n} gzipped NIfTI volumes of 16 bits. {threads} torch "
            f"thread(s) + {decoders} decoder(s). The engine also turns the volumes, stores the masks and counts them; "
            "the loops stop at the label of each voxel.",
            raw, ways, n=n, repeats=options.repeats, kept=options.kept,
        )  # fmt: skip


def raw_forward(network: Any, shape: tuple[int, ...], n: int, batch: int, *, device: str, threads: int) -> Way:
    """The floor: the package over batches that lie on the device already."""
    import torch

    from evalsuite.inference.device import deterministic

    batches = [
        torch.rand(min(batch, n - i), *shape, generator=torch.Generator().manual_seed(i)).to(device)
        for i in range(0, n, batch)
    ]

    def raw() -> Seen:
        with deterministic(seed=0, threads=threads), torch.inference_mode():
            started, busy = time.perf_counter(), time.process_time()
            for x in batches:
                network.run([x])
            if device != "cpu":
                torch.cuda.synchronize()
            return {"wall_s": time.perf_counter() - started, "cpu_s": time.process_time() - busy}

    return raw


def run_engine(
    model: Any,
    paths: list[Path],
    *,
    device: str,
    batch: int,
    threads: int,
    decoders: int,
    workers: int | None = None,
    cache: Path | None = None,
) -> Seen:
    from benchmarks.engine_data import testset_of
    from evalsuite.inference.engine import predict
    from evalsuite.inference.settings import InferenceSettings

    settings = InferenceSettings(
        device=device, batch_size=batch, threads=threads, decoders=decoders, workers=workers, cache=cache, repeat=False
    )
    with tempfile.TemporaryDirectory() as work:
        reset_peak()
        found = predict(model, testset_of(paths), settings=settings, work=Path(work))
    record = found.record["inference"]
    if record["n_failed"] or record["n_computed"] != len(paths):
        raise SystemExit(f"the benchmark's own cases failed: {record['failed_by_reason']}")
    return {"wall_s": record["wall_s"], "peak_mib": peak_mib()}


def table(title: str, how: str, raw: Way, ways: Mapping[str, Way], *, n: int, repeats: int, kept: Kept) -> str:
    """Every way `repeats` times, each time between two raw passes; one way after the other."""
    results = {name: kept.row(f"{title}: {name}", partial(_repeat, raw, way, repeats)) for name, way in ways.items()}
    rates = sorted(n / seconds for seen in results.values() for seconds in seen["raw"])
    lines = [
        title,
        "",
        f"{how} {repeats} repeats, each between two raw passes. Raw forward over preloaded batches: "
        f"{median(rates):.1f} cases/s (median; {rates[0]:.1f} to {rates[-1]:.1f}).",
        "",
        "| way | share of raw, median (least to most) | cases/s | processor time, raw = 1 | peak memory |",
        "|---|---|---|---|---|",
    ]
    for name, seen in results.items():
        shares, peaks = seen["share"], seen["peak_mib"]
        lines.append(
            f"| {name} | {median(shares):.3f} ({min(shares):.3f} to {max(shares):.3f}) "
            f"| {median([n / s for s in seen['wall_s']]):.1f} | {median(seen['cpu']):.2f} "
            f"| {f'{max(peaks):,.0f} MiB' if peaks else '–'} |"
        )
    return "\n".join(lines)


def _repeat(raw: Way, way: Way, repeats: int) -> dict[str, list[float]]:
    """A row: the way between raw passes, each figure once per repeat."""
    raw()
    way()  # warm
    seen: dict[str, list[float]] = {k: [] for k in ("share", "wall_s", "cpu", "peak_mib", "raw")}
    before = raw()
    seen["raw"].append(before["wall_s"])
    for _ in range(repeats):
        busy = processor_seconds()
        found = way()
        busy = processor_seconds() - busy
        after = raw()
        seen["share"].append((before["wall_s"] + after["wall_s"]) / 2 / found["wall_s"])
        seen["wall_s"].append(found["wall_s"])
        seen["cpu"].append(2 * busy / (before["cpu_s"] + after["cpu_s"]))
        seen["peak_mib"] += [found["peak_mib"]] if "peak_mib" in found else []
        seen["raw"].append(after["wall_s"])
        before = after
    return seen


def processor_seconds() -> float:
    """Processor time of this process and of everything it started, running or ended."""
    ticks = os.sysconf("SC_CLK_TCK")
    parents: dict[int, tuple[int, float]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1]), sum(map(int, fields[11:15])) / ticks
    mine = {os.getpid()}
    while more := {pid for pid, (parent, _) in parents.items() if parent in mine} - mine:
        mine |= more
    return sum(parents[pid][1] for pid in mine if pid in parents)


def reset_peak() -> None:
    """Start the kernel's record of the highest resident size anew (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_mib() -> float:
    """Highest resident size since `reset_peak`, MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return float(line.split()[1]) / 1024
    return float("nan")


if __name__ == "__main__":
    main()

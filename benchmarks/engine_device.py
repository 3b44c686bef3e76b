"""The engine before a device that is not there: it takes n / rate seconds for a batch and no processor time.

So the ceiling of reading and decoding shows on any machine. What all cores can decode is measured beside it, because no
pipeline is faster than that.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.engine_data import SIZE, WIDE, StandIn, classifier_contract, jpegls_files, png_files, testset_of

RATES = (400, 1500, 6000)
BATCH = 64


def stand_in_table(folder: Path, *, n_png: int, n_jpegls: int, repeats: int) -> str:
    """Share of the device's rate the engine keeps up, from files and from the decoded cache."""
    from evalsuite.inference.process import usable_cores

    cores = usable_cores()
    sets = {
        f"PNG {SIZE}²": (png_files(folder, n_png), 255, False),
        f"JPEG-LS DICOM {WIDE}²": (jpegls_files(folder, n_jpegls), 4095, True),
    }
    lines = [
        "## Before a stand-in device",
        "",
        f"Batches of {BATCH}, {cores} decoder threads on {cores} cores, {repeats} repeats (medians). *Decoders alone* "
        "is what those threads decode without an engine. The share is of the device's rate or, where that is higher "
        "than the decoders', of the decoders'.",
        "",
        "| images | device, images/s | decoders alone, images/s | engine, images/s | share | from the decoded cache, "
        "images/s | share |",
        "|---|---|---|---|---|---|---|",
    ]
    costs: list[str] = []
    for kind, (paths, top, resize) in sets.items():
        contract = _contract(folder, top=top, resize=resize)
        costs.append(_cost(kind, paths, contract, cores, repeats))
        for rate in RATES:
            n = min(len(paths), max(8 * BATCH, 4 * rate))
            alone, engine, cached = [], [], []
            with tempfile.TemporaryDirectory() as cache:
                _engine(paths[:n], contract, float("inf"), cores, cache=Path(cache))
                for _ in range(repeats):
                    alone.append(_decode(paths[:n], contract, cores))
                    engine.append(_engine(paths[:n], contract, rate, cores))
                    cached.append(_engine(paths[:n], contract, rate, cores, cache=Path(cache)))
            limit = min(rate, statistics.median(alone))
            found, kept = statistics.median(engine), statistics.median(cached)
            lines.append(
                f"| {kind} | {rate:,} | {statistics.median(alone):,.0f} | {found:,.0f} | {found / limit:.2f} of "
                f"{'the device' if limit == rate else 'decoding'} | {kept:,.0f} | {kept / rate:.2f} of the device |"
            )
    head = (
        "Processor time of all threads for one image, which other work on the machine changes little: what the engine "
        "adds to decoding, before a device that answers at once. The share is what mere decoding would reach."
    )
    table = "| images | decoding alone | through the engine | share of decoding |\n|---|---|---|---|"
    return "\n".join([*lines, "", head, "", table, *costs])


def _cost(kind: str, paths: list[Path], contract: Any, cores: int, repeats: int) -> str:
    """A row: processor milliseconds for an image, decoded alone and brought to a device, one after the other."""
    from evalsuite.inference.probe import N_PROBED

    alone, engine = [], []
    for _ in range(repeats):
        for seconds, n, work in (
            (alone, len(paths), lambda: _decode(paths, contract, cores)),
            (engine, len(paths) + N_PROBED, lambda: _engine(paths, contract, float("inf"), cores)),
        ):
            begun = time.process_time()
            work()
            seconds.append(1000 * (time.process_time() - begun) / n)
    share = statistics.median(a / e for a, e in zip(alone, engine, strict=True))
    return f"| {kind} | {statistics.median(alone):.2f} ms | {statistics.median(engine):.2f} ms | {share:.2f} |"


def _contract(folder: Path, *, top: int, resize: bool) -> Any:
    from evalsuite.models.contract import load_contract

    return load_contract(classifier_contract(folder, top=top, resize=resize))


def _hooks(contract: Any) -> Any:
    """The engine's own reading; nothing is left to do on a device that is not there."""
    from dataclasses import replace

    from evalsuite.inference.hooks import default_hooks

    model = StandIn(contract=contract, rate=1.0)
    return replace(default_hooks(model, {contract.inputs[0].name: "image"}), normalise=lambda name, batch: batch)


def _decode(paths: list[Path], contract: Any, threads: int) -> float:
    """Images/s of threads that read and decode and do nothing else."""
    hooks = _hooks(contract)
    cases = testset_of(paths).cases

    def read(part: Any) -> None:
        for case in part:
            hooks.read(case)

    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        list(pool.map(read, [cases[i::threads] for i in range(threads)]))
        return len(cases) / (time.perf_counter() - started)


def _engine(paths: list[Path], contract: Any, rate: float, decoders: int, *, cache: Path | None = None) -> float:
    from evalsuite.inference.engine import predict
    from evalsuite.inference.settings import InferenceSettings

    settings = InferenceSettings(
        device="cpu", batch_size=BATCH, threads=1, decoders=decoders, repeat=False, cache=cache
    )
    with tempfile.TemporaryDirectory() as work:
        found = predict(
            StandIn(contract=contract, rate=rate), testset_of(paths), settings=settings, work=Path(work),
            hooks=_hooks(contract),
        )  # fmt: skip
    record = found.record["inference"]
    if record["n_failed"]:
        raise SystemExit(f"the benchmark's own cases failed: {record['failed_by_reason']}")
    return float(record["cases_per_s"])

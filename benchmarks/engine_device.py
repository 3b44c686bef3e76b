"""The engine before a device that is not there: it takes n / rate seconds for a batch and no processor time.

So the ceiling of reading and decoding shows on any machine. What all cores can decode is measured beside it, because no
pipeline is faster than that.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.engine_data import SIZE, WIDE, StandIn, classifier_contract, jpegls_files, png_files, testset_of
from benchmarks.kept import Kept

RATES = (400, 1500, 6000)
BATCH = 64
_SECONDS = 6.0  # of a pass, so that filling the pipeline once and ending it once do not decide the share


def stand_in_table(folder: Path, *, n_png: int, n_jpegls: int, repeats: int, kept: Kept) -> str:
    """Share of the device's rate the engine keeps up, from files and from the decoded cache."""
    from evalsuite.inference.process import usable_cores

    cores = usable_cores()
    sets: dict[str, tuple[Callable[[], list[Path]], int, bool]] = {
        f"PNG {SIZE}²": (lambda: png_files(folder, n_png), 255, False),
        f"JPEG-LS DICOM {WIDE}²": (lambda: jpegls_files(folder, n_jpegls), 4095, True),
    }
    lines = [
        "## Before a stand-in device",
        "",
        f"Batches of {BATCH}, {cores} decoder threads on {cores} cores, {repeats} repeats (medians), some "
        f"{_SECONDS:g} s each. *Decoders alone* is what those threads decode without an engine, measured right before "
        "and after each pass through the engine. The share, made in each repeat, is of the device's rate or, where "
        "that is higher than the decoders', of the decoders'. From the decoded cache it is of the device's rate.",
        "",
        "| images | device, images/s | decoders alone, images/s | engine, images/s | share | from the decoded cache, "
        "images/s | share |",
        "|---|---|---|---|---|---|---|",
    ]
    costs: list[str] = []
    for kind, (files, top, resize) in sets.items():
        contract = _contract(folder, top=top, resize=resize)
        for rate in RATES:
            lines.append(
                kept.row(f"{kind} {rate}", lambda: _row(kind, files(), contract, rate, cores, repeats))  # noqa: B023
            )
        costs.append(kept.row(f"{kind} cost", lambda: _cost(kind, files(), contract, cores, repeats)))  # noqa: B023
    head = (
        "Processor time of all threads for one image, which other work on the machine changes little: what the engine "
        "adds to decoding, before a device that answers at once. The share is what mere decoding would reach."
    )
    table = "| images | decoding alone | through the engine | share of decoding |\n|---|---|---|---|"
    return "\n".join([*lines, "", head, "", table, *costs])


def _row(kind: str, files: list[Path], contract: Any, rate: int, cores: int, repeats: int) -> str:
    decodable = _decode(repeated(files, 4 * BATCH), contract, cores)  # images/s, roughly: how long a pass will take
    paths = repeated(files, round(_SECONDS * min(rate, decodable)))
    cached = repeated(files, round(_SECONDS * min(rate, 4 * decodable)))
    alone, engine, from_cache, shares = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        _engine(files, contract, float("inf"), cores, cache=Path(folder))
        before = _decode(paths, contract, cores)
        for _ in range(repeats):
            engine.append(_engine(paths, contract, rate, cores))
            after = _decode(paths, contract, cores)
            alone.append((before + after) / 2)
            shares.append(engine[-1] / min(rate, alone[-1]))
            from_cache.append(_engine(cached, contract, rate, cores, cache=Path(folder)))
            before = after
    middle, kept = statistics.median(alone), statistics.median(from_cache)
    return (
        f"| {kind} | {rate:,} | {middle:,.0f} | {statistics.median(engine):,.0f} "
        f"| {statistics.median(shares):.3f} of {'the device' if rate <= middle else 'decoding'} "
        f"| {kept:,.0f} | {kept / rate:.3f} |"
    )


def _cost(kind: str, files: list[Path], contract: Any, cores: int, repeats: int) -> str:
    """A row: processor milliseconds for an image, decoded alone and brought to a device, one after the other."""
    from evalsuite.inference.probe import N_PROBED

    paths = repeated(files, round(_SECONDS * _decode(repeated(files, 4 * BATCH), contract, cores)))
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


def repeated(files: list[Path], n: int) -> list[Path]:
    """`n` files, the same ones over and over."""
    return [files[i % len(files)] for i in range(n)]


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

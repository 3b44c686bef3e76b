"""How much of the model's own speed is left once images are read, decoded, prepared and answers stored.

The floor is the raw forward pass of the same package over batches that already lie in memory, same size, threads and
device. Every pass through the engine stands between two raw passes of the same run, so that a machine that is busier at
one time than at another changes both; the figures are medians of the ratios.

    python benchmarks/engine.py --cases 128 --repeats 3 --out benchmarks/results/engine.md
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

SIZE = 224
CONTRACT = """\
schema: evalsuite/model/1
name: densenet121-random
task: multilabel
inputs:
  - {name: image, shape: [3, 224, 224], colour: RGB, convert_colour: replicate, source_range: [0, %d]}
outputs:
  - {name: scores, meaning: logits, activation: sigmoid, classes: [a, b]}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None, help="torch threads; by default cores less decoders")
    parser.add_argument("--decoders", type=int, default=None)
    parser.add_argument("--batch", type=int, default=None)
    parser.add_argument("--devices", default=None, help="comma-separated; by default cpu, and cuda where present")
    parser.add_argument("--loops", action="store_true", help="also a DataLoader loop and MONAI's SupervisedEvaluator")
    parser.add_argument("--out", type=Path, default=None, help="also write the table to this Markdown file")
    options = parser.parse_args()
    _restart_with_environment()

    import torch

    devices = options.devices.split(",") if options.devices else ["cpu"] + ["cuda"] * torch.cuda.is_available()
    with tempfile.TemporaryDirectory(prefix="evalsuite-benchmark-") as folder:
        files = make_files(Path(folder), options.cases)
        texts = [measure(Path(folder), files, device, options) for device in devices]
    text = "\n\n".join(texts) + "\n"
    print(text)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")


def _restart_with_environment() -> None:
    from evalsuite.inference.process import recommended_environment

    if "EVALSUITE_BENCHMARK" not in os.environ:
        wanted = {**recommended_environment(), **os.environ, "EVALSUITE_BENCHMARK": "1"}
        os.execve(sys.executable, [sys.executable, *sys.argv], wanted)


def make_files(folder: Path, n: int) -> dict[str, list[Path]]:
    """`n` RGB PNG files and `n` uncompressed 12-bit DICOM files: a smooth shape with noise, as images are."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    found: dict[str, list[Path]] = {"PNG": [], "DICOM": []}
    for i in range(n):
        shape = np.exp(-(((x - rng.uniform(-0.5, 0.5)) ** 2 + (y - rng.uniform(-0.5, 0.5)) ** 2) * 4))
        grey = np.clip(shape * 0.8 + 0.1 + rng.normal(0, 0.02, shape.shape), 0, 1)
        png, dcm = folder / f"{i}.png", folder / f"{i}.dcm"
        cv2.imwrite(str(png), (np.stack([grey, grey**2, grey**0.5], axis=-1) * 255).astype(np.uint8))
        write_dicom(dcm, (grey * 4095).astype(np.uint16))
        found["PNG"].append(png)
        found["DICOM"].append(dcm)
    return found


def write_dicom(path: Path, pixels: Any) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = DigitalXRayImageStorageForPresentation
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    data.Modality, data.PhotometricInterpretation = "DX", "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 1, 16, 12, 11, 0
    data.PixelData = pixels.tobytes()
    data.save_as(path, enforce_file_format=True)


def make_model(folder: Path, *, top: int) -> Any:
    """DenseNet121 from MONAI with random weights, as a TorchScript package with its contract."""
    import torch
    from monai.networks.nets import DenseNet121

    from evalsuite.models.open import open_model

    package, contract = folder / f"densenet_{top}.ts", folder / f"densenet_{top}.yaml"
    if not package.exists():
        torch.manual_seed(0)
        network = DenseNet121(spatial_dims=2, in_channels=3, out_channels=2).eval()
        with torch.inference_mode():
            torch.jit.trace(network, torch.zeros(2, 3, SIZE, SIZE)).save(str(package))
        contract.write_text(CONTRACT % top, encoding="utf-8")
    return open_model(package, contract=contract)


def measure(folder: Path, files: dict[str, list[Path]], device: str, options: argparse.Namespace) -> str:
    import torch

    from evalsuite.inference.device import deterministic, device_name
    from evalsuite.inference.process import share_cores
    from evalsuite.inference.settings import DEFAULT_BATCH

    threads, decoders = share_cores(on_cpu=device == "cpu", threads=options.threads, decoders=options.decoders)
    batch = options.batch or DEFAULT_BATCH[device.partition(":")[0]]
    n = options.cases
    models = {kind: make_model(folder, top=top) for kind, top in (("PNG", 255), ("DICOM", 4095))}
    network = models["PNG"].to(device).network
    preloaded = [
        torch.rand(min(batch, n - i), 3, SIZE, SIZE, generator=torch.Generator().manual_seed(i)).to(device)
        for i in range(0, n, batch)
    ]

    def raw() -> dict[str, float]:
        with deterministic(seed=0, threads=threads), torch.inference_mode():
            started, busy = time.perf_counter(), time.process_time()
            for x in preloaded:
                network.run([x])
            if device != "cpu":
                torch.cuda.synchronize()
            return {"wall_s": time.perf_counter() - started, "cpu_s": time.process_time() - busy}

    def engine(kind: str) -> Callable[[], dict[str, float]]:
        return lambda: run_engine(models[kind], files[kind], device, batch, threads, decoders)

    ways: dict[str, Callable[[], dict[str, float]]] = {f"engine, {kind}": engine(kind) for kind in files}
    if options.loops:
        ways |= dict(loops(network, files["PNG"], device, batch, threads))
    for warm in (raw, *ways.values()):
        warm()
    results: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    raws = [raw()]
    for _ in range(options.repeats):
        for name, way in ways.items():
            found = way()
            raws.append(raw())
            found["share"] = (raws[-2]["wall_s"] + raws[-1]["wall_s"]) / 2 / found["wall_s"]
            found["cpu"] = found["cpu_s"] / (raws[-2]["cpu_s"] + raws[-1]["cpu_s"]) * 2
            results[name].append(found)
    rates = sorted(n / r["wall_s"] for r in raws)
    lines = [
        f"## Engine beside the raw forward pass, {device}",
        "",
        f"DenseNet121 (MONAI, TorchScript, float32, TF32 off), {SIZE} × {SIZE}, batches of {batch}, {n} cases, "
        f"{options.repeats} repeats, each between two raw passes. {device_name(device)}, {threads} torch thread(s) + "
        f"{decoders} decoder(s), torch {torch.__version__}, Python {platform.python_version()}, "
        f"{date.today().isoformat()}. Raw forward over preloaded batches: {median(rates):.1f} "
        f"images/s (median; {rates[0]:.1f} to {rates[-1]:.1f}).",
        "",
        "| way | share of raw, median (least to most) | images/s | processor time, raw = 1 | peak memory |",
        "|---|---|---|---|---|",
    ]
    for name, found in results.items():
        shares = [f["share"] for f in found]
        peaks = [f["peak_mib"] for f in found if "peak_mib" in f]
        lines.append(
            f"| {name} | {median(shares):.3f} ({min(shares):.3f} to {max(shares):.3f}) "
            f"| {median([n / f['wall_s'] for f in found]):.1f} "
            f"| {median([f['cpu'] for f in found]):.3f} "
            f"| {f'{max(peaks):.0f} MiB' if peaks else '–'} |"
        )
    lines += [
        "",
        "*Share of raw* is read, decode, prepare, predict and store for all cases, without the probe before the "
        "first case and the one batch that may be run a second time at the end: constant, not per case. *Processor "
        "time* is of all threads, the probe of 8 cases included; it suffers least from what else the machine does. "
        "*Peak memory* is the process's highest resident size in the pass, libraries, model and preloaded batches "
        f"({sum(x.numel() for x in preloaded) * 4 / 2**20 if device == 'cpu' else 0:.0f} MiB) included.",
    ]
    return "\n".join(lines)


def run_engine(model: Any, paths: list[Path], device: str, batch: int, threads: int, decoders: int) -> dict[str, float]:
    from evalsuite.inference.engine import predict
    from evalsuite.inference.settings import InferenceSettings
    from evalsuite.testset.types import Case, LockedTestSet

    cases = tuple(
        Case(
            case_id=path.stem,
            patient_id=path.stem,
            study_id="",
            site="",
            acquired_at="",
            sample_weight=None,
            images={"image": (path,)},
        )
        for path in paths
    )
    testset = LockedTestSet(
        path=paths[0].parent,
        lock={},
        root="0" * 64,
        digest="0" * 64,
        set_id="benchmark",
        version="1",
        cases=cases,
        has_images=True,
    )
    settings = InferenceSettings(device=device, batch_size=batch, threads=threads, decoders=decoders, repeat=False)
    with tempfile.TemporaryDirectory() as work:
        reset_peak()
        busy = time.process_time()
        found = predict(model, testset, settings=settings, work=Path(work))
        cpu_s = time.process_time() - busy
    record = found.record["inference"]
    if record["n_failed"] or record["n_computed"] != len(paths):
        raise SystemExit(f"the benchmark's own cases failed: {record['failed_by_reason']}")
    return {"wall_s": record["wall_s"], "cpu_s": cpu_s, "peak_mib": peak_mib()}


def loops(
    network: Any, paths: list[Path], device: str, batch: int, threads: int
) -> Iterator[tuple[str, Callable[[], dict[str, float]]]]:
    """What one would write by hand: MONAI's transforms in a DataLoader without workers, and MONAI's evaluator."""
    import torch
    from monai.data import DataLoader, Dataset
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, ScaleIntensityRanged

    steps = Compose(
        [
            LoadImaged(keys="image", reader="PILReader"),
            EnsureChannelFirstd(keys="image"),
            ScaleIntensityRanged(keys="image", a_min=0, a_max=255, b_min=0, b_max=1),
        ]
    )
    dataset = Dataset([{"image": str(path)} for path in paths], steps)

    def plain() -> dict[str, float]:
        torch.set_num_threads(threads)
        started, busy = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            for found in DataLoader(dataset, batch_size=batch, num_workers=0):
                torch.sigmoid(network.run([found["image"].as_tensor().to(device)])[0]).cpu()
        return {"wall_s": time.perf_counter() - started, "cpu_s": time.process_time() - busy}

    yield "DataLoader loop, 0 workers, PNG", plain
    try:
        import ignite  # noqa: F401
        from monai.engines import SupervisedEvaluator
    except ImportError:
        return

    def evaluator() -> dict[str, float]:
        torch.set_num_threads(threads)
        started, busy = time.perf_counter(), time.process_time()
        loader = DataLoader(dataset, batch_size=batch, num_workers=0)
        SupervisedEvaluator(device=torch.device(device), val_data_loader=loader, network=network.module).run()
        return {"wall_s": time.perf_counter() - started, "cpu_s": time.process_time() - busy}

    yield "MONAI SupervisedEvaluator, 0 workers, PNG", evaluator


def median(values: list[float]) -> float:
    """Middle value; the mean of the two middle ones where their number is even."""
    ordered = sorted(values)
    return (ordered[len(ordered) // 2] + ordered[(len(ordered) - 1) // 2]) / 2


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

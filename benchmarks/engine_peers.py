"""What one would write by hand instead of the engine: MONAI's transforms in a DataLoader, and MONAI's evaluator."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Way = Callable[[], dict[str, float]]


def classifier_loops(
    network: Any, png: list[Path], dicom: list[Path], device: str, batch: int, threads: int
) -> dict[str, Way]:
    """Loops over PNG files, without and with two worker processes; over DICOM files where pydicom can decode them."""
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Resized, ScaleIntensityRanged

    def steps(top: int, *more: Any) -> Any:
        return Compose(
            [
                LoadImaged(keys="image"),
                EnsureChannelFirstd(keys="image"),
                *more,
                ScaleIntensityRanged(keys="image", a_min=0, a_max=top, b_min=0, b_max=1),
            ]
        )

    found: dict[str, Way] = {}
    for workers in (0, 2):
        said = f"PNG, {workers} worker processes"
        found[f"DataLoader loop, {said}"] = _loop(network, png, steps(255), device, batch, threads, workers)
        if (evaluator := _evaluator(network, png, steps(255), device, batch, threads, workers)) is not None:
            found[f"MONAI SupervisedEvaluator, {said}"] = evaluator
    resize = Resized(keys="image", spatial_size=(224, 224), mode="area")
    wide = steps(4095, resize, _Repeat())
    try:
        wide({"image": str(dicom[0])})
    except Exception:  # pydicom needs a plugin for JPEG-LS, which is not part of the suite
        return found
    found["DataLoader loop, JPEG-LS by pydicom, 0 worker processes"] = _loop(
        network, dicom, wide, device, batch, threads, 0
    )
    return found


class _Repeat:
    """A grey image as three equal channels."""

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        return {**item, "image": item["image"].repeat(3, 1, 1)}


def segmenter_loops(network: Any, volumes: list[Path], device: str, threads: int) -> dict[str, Way]:
    """Loops over NIfTI volumes, without and with two worker processes."""
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Orientationd, ScaleIntensityRanged

    steps = Compose(
        [
            LoadImaged(keys="image"),
            EnsureChannelFirstd(keys="image"),
            Orientationd(keys="image", axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
            ScaleIntensityRanged(keys="image", a_min=0, a_max=1000, b_min=0, b_max=1),
        ]
    )
    found: dict[str, Way] = {}
    for workers in (0, 2):
        said = f"NIfTI, {workers} worker processes"
        found[f"DataLoader loop, {said}"] = _loop(network, volumes, steps, device, 1, threads, workers)
        if (evaluator := _evaluator(network, volumes, steps, device, 1, threads, workers)) is not None:
            found[f"MONAI SupervisedEvaluator, {said}"] = evaluator
    return found


def _loader(paths: list[Path], steps: Any, batch: int, workers: int) -> Any:
    from monai.data import DataLoader, Dataset

    return DataLoader(Dataset([{"image": str(p)} for p in paths], steps), batch_size=batch, num_workers=workers)


def _loop(network: Any, paths: list[Path], steps: Any, device: str, batch: int, threads: int, workers: int) -> Way:
    import torch

    def loop() -> dict[str, float]:
        torch.set_num_threads(threads)
        started = time.perf_counter()
        with torch.inference_mode():
            for found in _loader(paths, steps, batch, workers):
                answer = network.run([found["image"].as_tensor().to(device)])[0]
                (answer.argmax(dim=1) if answer.ndim > 2 else torch.sigmoid(answer)).cpu()
        return {"wall_s": time.perf_counter() - started}

    return loop


def _evaluator(
    network: Any, paths: list[Path], steps: Any, device: str, batch: int, threads: int, workers: int
) -> Way | None:
    try:
        import ignite  # noqa: F401
        from monai.engines import SupervisedEvaluator
    except ImportError:
        return None
    import torch

    def evaluator() -> dict[str, float]:
        torch.set_num_threads(threads)
        started = time.perf_counter()
        SupervisedEvaluator(
            device=torch.device(device), val_data_loader=_loader(paths, steps, batch, workers), network=network.module
        ).run()
        return {"wall_s": time.perf_counter() - started}

    return evaluator

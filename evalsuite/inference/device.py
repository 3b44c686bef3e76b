"""The device the model runs on: which one, how numbers are kept the same from run to run, and moving images to it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np
import torch

from evalsuite.errors import InputError, ModelRunError
from evalsuite.inference.settings import InferenceSettings
from evalsuite.models.determinism import batch_seed, deterministic, is_out_of_memory, seed_generators

__all__ = ["deterministic", "is_out_of_memory"]

# What decides the bits of an output besides the model and the images: whoever reads, resamples and multiplies.
_NUMERIC_PACKAGES = (
    "evalsuite", "torch", "monai", "onnxruntime", "openvino", "numpy", "opencv-python-headless", "imagecodecs",
    "nibabel", "isal", "pydicom", "pillow",
)  # fmt: skip


def choose_devices(wanted: str) -> list[str]:
    """Torch's names of the devices to use: every CUDA device for "auto" (where there is one) and "cuda".

    Raises
    ------
    InputError
        If CUDA, or a CUDA device named, is asked for and not present.
    """
    if wanted in ("auto", "cuda") and torch.cuda.is_available():
        return [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return [choose_device(name) for name in wanted.split(",")]


def choose_device(wanted: str) -> str:
    """Torch's name of one device: CUDA where present for "auto", the first of several named.

    Raises
    ------
    InputError
        If CUDA, or that CUDA device, is asked for and not present.
    """
    if wanted == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if wanted == "cpu":
        return "cpu"
    wanted = wanted.split(",")[0]
    index = int(wanted.partition(":")[2] or 0)
    n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= n_devices:
        raise InputError(
            f"the device {wanted!r} is not present: torch {torch.__version__} sees {n_devices} CUDA device(s)",
            hint="Set inference.device to 'auto' or 'cpu', or install a torch build for this machine's CUDA driver.",
        )
    return f"cuda:{index}"


def place(model: Any, device: str, settings: InferenceSettings) -> tuple[Any, list[str]]:
    """The model on the device; on the processor where "auto" chose a device that the package's backend cannot use."""
    try:
        return model.to(device), []
    except ModelRunError as error:
        if settings.device != "auto" or device == "cpu":
            raise
        return model.to("cpu"), [f"{device} is present but not used: {error.message}"]


def device_name(device: str) -> str:
    """Name of the processor or accelerator, as its maker calls it."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            found = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        found = ""
    return found or platform.processor() or platform.machine()


def package_versions() -> dict[str, str]:
    """Versions of the packages that read, resample and compute."""
    found = {}
    for name in _NUMERIC_PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def numeric_policy(
    *, device: str, settings: InferenceSettings, batch_size: int, threads: int, outputs_format: str
) -> dict[str, Any]:
    """What may change a bit of an output, of machine and settings; part of each shard's name."""
    return {
        "device": device.partition(":")[0],
        "hardware": device_name(device) if device.startswith("cuda") else torch.backends.cpu.get_cpu_capability(),
        "precision": settings.precision,
        "backend": settings.backend,
        "memory_format": settings.memory_format,
        "format": outputs_format,
        "batch_size": batch_size,
        "threads": threads,
        "seed": settings.seed,
        "deterministic": True,
        "tf32": settings.precision == "tf32",
        "versions": package_versions(),
    }


def reseed(seed: int, case_id: str, model: Any = None) -> None:
    """Seed every generator for the batch that begins with this case, those of a model in another process included.

    A model that draws random numbers then gives a batch the same answer whether or not the run was stopped before it.
    """
    number = batch_seed(seed, case_id)
    seed_generators(number)
    if hasattr(model, "reseed"):
        model.reseed(number)


def allocator(device: str) -> Any:
    """Function (shape, dtype) → host buffer; page-locked where that lets the copy run beside the computation."""
    if not device.startswith("cuda"):
        return np.empty

    def pinned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        like = torch.from_numpy(np.empty(0, dtype=dtype))
        buffer: np.ndarray = torch.empty(shape, dtype=like.dtype, pin_memory=True).numpy()
        return buffer

    return pinned


def batches_on(model: Any) -> str:
    """Where this process puts a batch: on the model's device, or on the host where another process takes it from."""
    return "cpu" if getattr(model, "takes_stored", False) else str(model.device)


class Upload:
    """Images of one group on their way to the device; `tensors()` waits for them on the computing stream."""

    def __init__(self, inputs: Mapping[str, np.ndarray], *, device: str, stream: Any = None) -> None:
        self._host = {name: torch.from_numpy(array) for name, array in inputs.items()}
        self._device = device
        self._stream = stream
        self._event = None
        if stream is None:
            self._on_device = {n: t.to(device) for n, t in self._host.items()} if device != "cpu" else self._host
            return
        with torch.cuda.stream(stream):
            self._on_device = {n: t.to(device, non_blocking=True) for n, t in self._host.items()}
            self._event = stream.record_event()

    @property
    def n(self) -> int:
        """Cases in this group."""
        return len(next(iter(self._host.values())))

    def stored(self) -> dict[str, np.ndarray]:
        """Name → the array on the host, as it was handed in."""
        return {name: tensor.numpy() for name, tensor in self._host.items()}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Name → tensor on the device, safe to use from the current stream."""
        if self._event is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_event(self._event)
            for tensor in self._on_device.values():
                tensor.record_stream(current)
        return dict(self._on_device)


def copy_stream(device: str) -> Any:
    """A second CUDA stream for copies, None on the processor."""
    stream: Any = torch.cuda.Stream
    return stream(device) if device.startswith("cuda") else None


def free_memory(device: str) -> None:
    """Give cached device memory back after it ran out."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()

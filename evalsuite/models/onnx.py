"""ONNX packages, run by ONNX Runtime: one session, sequential, no telemetry, a fixed number of threads."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evalsuite.errors import ModelLoadError, ModelRunError
from evalsuite.models.formats import Signature

CONTRACT_KEY = "evalsuite_contract"
_MAX_BYTES = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxNetwork:
    """An ONNX Runtime session and what is needed to open it again with other settings."""

    session: Any
    model: bytes = field(repr=False)
    weights: Mapping[str, bytes] = field(repr=False)
    threads: int
    batch_limits: tuple[int, int | None]
    device: str = "cpu"

    def run(self, inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        names = [i.name for i in self.session.get_inputs()]
        arrays = {n: np.ascontiguousarray(x.detach().cpu().numpy()) for n, x in zip(names, inputs, strict=True)}
        try:
            outputs = self.session.run(None, arrays)
        except Exception as error:  # the runtime's exception classes share no base but Exception
            raise RuntimeError(str(error).splitlines()[0] if str(error) else type(error).__name__) from None
        return [torch.from_numpy(np.asarray(y)) for y in outputs]

    def to(self, device: str) -> OnnxNetwork:
        return open_session(self.model, self.weights, threads=self.threads, device=device)

    def with_threads(self, threads: int) -> OnnxNetwork:
        if threads == self.threads:
            return self
        return open_session(self.model, self.weights, threads=threads, device=self.device)


def load(path: Path, files: Sequence[Path]) -> tuple[OnnxNetwork, Mapping[str, bytes], Signature]:
    """Open an ONNX package. `files` are the model and, where it keeps them apart, its weights.

    The runtime is handed the bytes that the digest covers and opens no file by itself.

    Returns
    -------
    network, extra, signature
        `extra` holds the metadata entry `evalsuite_contract` where the model has one.

    Raises
    ------
    ModelLoadError
        If ONNX Runtime is not installed, or the model is damaged or needs something unknown.
    """
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        raise ModelLoadError(
            "ONNX Runtime is not installed", hint="Install it: pip install 'evalsuite[onnx]'"
        ) from None
    if path.stat().st_size > _MAX_BYTES:
        raise ModelLoadError(f"{path.name} is larger than 2 GB", hint="Store its weights beside it (external data).")
    weights = {p.name: p.read_bytes() for p in files if p != path}
    threads = int(os.environ.get("OMP_NUM_THREADS") or 0) or torch.get_num_threads()
    try:
        network = open_session(path.read_bytes(), weights, threads=threads, device="cpu")
    except Exception as error:  # see above: the runtime's exceptions share no base
        raise ModelLoadError(
            f"{path.name} cannot be loaded as ONNX ({type(error).__name__}): damaged, truncated, or it needs "
            "operators or weight files that are not here",
            hint="Weights beside the model are found as NAME.onnx.data or NAME.onnx_data.",
        ) from None
    metadata = network.session.get_modelmeta().custom_metadata_map
    extra = {CONTRACT_KEY: metadata[CONTRACT_KEY].encode()} if CONTRACT_KEY in metadata else {}
    inputs = {i.name: _shape(i.shape) for i in network.session.get_inputs()}
    outputs = {o.name: _shape(o.shape) for o in network.session.get_outputs()}
    return network, extra, Signature(inputs=inputs, outputs=outputs)


def _shape(shape: Sequence[Any]) -> tuple[int | None, ...]:
    return tuple(n if isinstance(n, int) and n > 0 else None for n in shape)


def open_session(model: bytes, weights: Mapping[str, bytes], *, threads: int, device: str) -> OnnxNetwork:
    """ONNX Runtime with a model of these bytes. ModelRunError where this runtime cannot use the device."""
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # its messages go to stderr; errors come back as exceptions
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if weights:
        names, contents = list(weights), list(weights.values())
        options.add_external_initializers_from_files_in_memory(names, contents, [len(c) for c in contents])
    runtime.disable_telemetry_events()
    kind, _, index = device.partition(":")
    if kind == "cpu":
        providers: list[Any] = ["CPUExecutionProvider"]
    elif kind == "cuda" and "CUDAExecutionProvider" in runtime.get_available_providers():
        # TF32 would round inputs of convolutions to 10 bits
        providers = [("CUDAExecutionProvider", {"device_id": index or "0", "use_tf32": "0"}), "CPUExecutionProvider"]
    else:
        raise ModelRunError(
            f"this ONNX Runtime cannot use {device}", hint="Set device: cpu, or install onnxruntime-gpu."
        )
    session = runtime.InferenceSession(model, options, providers=providers)
    first = session.get_inputs()[0].shape if session.get_inputs() else []
    fixed = first[0] if first and isinstance(first[0], int) and first[0] > 0 else None
    limits = (fixed, fixed) if fixed else (1, None)
    return OnnxNetwork(
        session=session, model=model, weights=weights, threads=threads, batch_limits=limits, device=device
    )

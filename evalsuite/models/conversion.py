"""Converting a package to ONNX, and running it by ONNX Runtime or OpenVINO instead of the program it was made for."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from evalsuite.errors import InputError
from evalsuite.models.base import Network
from evalsuite.models.numeric_network import module_of
from evalsuite.models.quiet import without_warnings


def to_onnx(network: Any, inputs: Sequence[torch.Tensor], *, names: Sequence[str]) -> bytes:
    """The network as an ONNX model with any number of cases in a batch, and any size where the example's is 64.

    Raises
    ------
    InputError
        If it cannot be converted: an operation ONNX does not know, a package of another kind, or no exporter here.
    """
    if isinstance(model := getattr(network, "model", None), bytes):
        if getattr(network, "weights", None):
            raise InputError(
                "a package that keeps its weights in files of their own is not converted",
                hint="Store weights and graph in one ONNX file.",
            )
        return model
    program, module = getattr(network, "program", None), module_of(network)
    if program is None and module is None:
        raise InputError("a package of this kind cannot be converted to ONNX", hint="Leave inference.backend out.")
    buffer = io.BytesIO()
    export: Any = torch.onnx.export  # its stubs know no buffers
    try:
        with without_warnings(), _nothing_printed():
            if program is not None:
                export(program, tuple(inputs), dynamo=True, verbose=False).save(buffer)
            else:
                export(
                    module, tuple(inputs), buffer, dynamo=False, input_names=list(names),
                    dynamic_axes={name: {0: "cases"} for name in names},
                )  # fmt: skip
    except Exception as error:  # the exporters raise types of their own, without a common base
        raise InputError(
            f"this model cannot be converted to ONNX ({type(error).__name__})",
            hint="Leave inference.backend out; converting needs the packages onnx and onnxscript.",
        ) from None
    return buffer.getvalue()


def runtime_network(model: bytes, *, threads: int, device: str) -> Network:
    """The ONNX model in ONNX Runtime. InputError where that is not installed."""
    try:
        from evalsuite.models.onnx import open_session
    except ImportError:
        raise InputError("ONNX Runtime is not installed", hint="Install it: pip install 'evalsuite[onnx]'") from None
    return open_session(model, {}, threads=threads, device=device)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVinoNetwork:
    """A model compiled by OpenVINO for the processor."""

    compiled: Any
    model: bytes
    threads: int
    reduced: bool
    batch_limits: tuple[int, int | None]

    def run(self, inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        found = self.compiled([np.ascontiguousarray(x.detach().cpu().numpy()) for x in inputs])
        return [torch.from_numpy(np.array(found[port])) for port in self.compiled.outputs]

    def to(self, device: str) -> OpenVinoNetwork:
        raise InputError(f"OpenVINO does not run on {device}")

    def with_threads(self, threads: int) -> OpenVinoNetwork:
        if threads == self.threads:
            return self
        return openvino_network(self.model, threads=threads, limits=self.batch_limits, reduced=self.reduced)


def openvino_network(
    model: bytes, *, threads: int, limits: tuple[int, int | None], reduced: bool = False
) -> OpenVinoNetwork:
    """The ONNX model in OpenVINO, in float32 unless `reduced` (bfloat16, its own default on many processors).

    The model is read as ONNX, not through OpenVINO's converter, which reports its use to its makers.

    Raises
    ------
    InputError
        If OpenVINO is not installed or does not know an operation.
    """
    try:
        import openvino
    except ImportError:
        raise InputError("OpenVINO is not installed", hint="Install it: pip install openvino") from None
    try:
        core = openvino.Core()
        compiled = core.compile_model(
            core.read_model(model, b""),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "bf16" if reduced else "f32",
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
            },
        )
    except RuntimeError as error:
        raise InputError(f"OpenVINO cannot run this model ({type(error).__name__})") from None
    return OpenVinoNetwork(compiled=compiled, model=model, threads=threads, reduced=reduced, batch_limits=limits)


@contextlib.contextmanager
def _nothing_printed() -> Iterator[None]:
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield

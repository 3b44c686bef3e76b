"""A package's network in another number format or memory layout, compiled, or converted for another program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from evalsuite.errors import InputError
from evalsuite.models.base import Network, tensors_of
from evalsuite.models.determinism import choose_algorithms
from evalsuite.models.numerics import Numerics

if TYPE_CHECKING:
    from evalsuite.models.contract import Contract

_HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_ANY_SIDE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericNetwork:
    """A torch network computed in another number format or layout."""

    call: Any
    numerics: Numerics
    device: str
    batch_limits: tuple[int, int | None]

    def run(self, inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        if self.numerics.memory_format == "channels_last":
            inputs = [_channels_last(x) for x in inputs]
        with _number_format(self.numerics.precision, self.device):
            outputs = tensors_of(self.call(*inputs))
        return [y.float() if y.dtype in _HALF.values() else y for y in outputs]

    def to(self, device: str) -> Network:
        raise InputError("a model is moved to its device before its number format is chosen")

    def with_threads(self, threads: int) -> Network:
        return self


def with_numerics(network: Any, numerics: Numerics, *, contract: Contract, device: str, threads: int) -> Network:
    """The network as the protocol asks for it. The network handed in must not be used any more.

    Raises
    ------
    InputError
        If this package, device or environment does not offer it; the message says which.
    """
    if numerics.as_packaged:
        own: Network = network
        return own
    kind = device.partition(":")[0]
    if numerics.precision == "tf32" and kind != "cuda":
        raise _refused(numerics, f"{kind} does not compute in TF32", "It is a number format of CUDA devices.")
    if numerics.backend in ("onnxruntime", "openvino"):
        return _converted(network, numerics, contract=contract, device=device, threads=threads)
    module = module_of(network)
    if module is None:
        raise _refused(
            numerics, "the package is not run by torch", "Choose backend onnxruntime or openvino, or neither."
        )
    if numerics.precision == "float32":
        module = module.float()
    if numerics.memory_format == "channels_last":
        module = _module_channels_last(module)
    return NumericNetwork(
        call=_compiled(module, numerics) if numerics.backend == "compile" else module,
        numerics=numerics,
        device=device,
        batch_limits=network.batch_limits,
    )


def module_of(network: Any) -> torch.nn.Module | None:
    """The torch module a network is, None where something else computes it."""
    for name in ("module", "call"):
        if isinstance(module := getattr(network, name, None), torch.nn.Module):
            return module
    return None


def _compiled(module: torch.nn.Module, numerics: Numerics) -> Any:
    if isinstance(module, torch.jit.ScriptModule):
        raise _refused(numerics, "torch.compile does not compile TorchScript", "Export the model with torch.export.")
    choose_algorithms(
        deterministic=torch.are_deterministic_algorithms_enabled(),
        warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
        compiler=True,
    )
    return torch.compile(module)


def _converted(network: Any, numerics: Numerics, *, contract: Contract, device: str, threads: int) -> Network:
    from evalsuite.models.conversion import openvino_network, runtime_network, to_onnx

    reduced = numerics.precision not in ("package", "float32")
    if numerics.memory_format != "package":
        raise _refused(numerics, f"{numerics.backend} chooses its own layout", "Leave memory_format out.")
    if reduced and (numerics.backend, numerics.precision) != ("openvino", "bfloat16"):
        raise _refused(numerics, f"{numerics.backend} does not compute so here", "Leave inference.precision out.")
    if numerics.backend == "openvino" and device != "cpu":
        raise _refused(numerics, f"OpenVINO does not run on {device}", "Set inference.device: cpu.")
    package = to_onnx(network, examples(contract, device=device), names=[spec.name for spec in contract.inputs])
    if numerics.backend == "onnxruntime":
        return runtime_network(package, threads=threads, device=device)
    return openvino_network(package, threads=threads, limits=network.batch_limits, reduced=reduced)


def examples(contract: Contract, *, device: str) -> list[torch.Tensor]:
    """Empty images of the contract's shapes, two cases each; a side the contract leaves open is 64."""
    return [torch.zeros((2, *(side or _ANY_SIDE for side in spec.shape)), device=device) for spec in contract.inputs]


def _channels_last(x: torch.Tensor) -> torch.Tensor:
    layout = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.ndim)
    return x if layout is None else x.contiguous(memory_format=layout)


def _module_channels_last(module: torch.nn.Module) -> torch.nn.Module:
    for parameter in module.parameters():
        parameter.data = _channels_last(parameter.data)
    return module


@contextmanager
def _number_format(precision: str, device: str) -> Iterator[None]:
    if precision in _HALF:
        with torch.autocast(device.partition(":")[0], dtype=_HALF[precision]):
            yield
        return
    if precision != "tf32":
        yield
        return
    cudnn, cuda = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, cuda.allow_tf32
    cudnn.allow_tf32 = cuda.allow_tf32 = True
    try:
        yield
    finally:
        cudnn.allow_tf32, cuda.allow_tf32 = before


def _refused(numerics: Numerics, why: str, hint: str) -> InputError:
    return InputError(f"inference cannot run this model with {numerics}: {why}", hint=hint)

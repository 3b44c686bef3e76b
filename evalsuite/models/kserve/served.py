"""What a server says about a model, and the tensors that travel: checked, because a server may say anything."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evalsuite.errors import ModelRunError
from evalsuite.record.digest import digest_json

CONTRACT_KEY = "evalsuite_contract"
DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"), "UINT8": np.dtype("<u1"), "UINT16": np.dtype("<u2"), "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"), "INT8": np.dtype("<i1"), "INT16": np.dtype("<i2"), "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"), "FP16": np.dtype("<f2"), "FP32": np.dtype("<f4"), "FP64": np.dtype("<f8"),
}  # fmt: skip
_MOST_DIMENSIONS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFacts:
    """Name, data type and shape of an input or output; -1 where a size is free."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """The model's metadata as the server gives them, the part that two transports of one server have in common."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]

    def to_json(self) -> dict[str, Any]:
        def listed(tensors: Sequence[TensorFacts]) -> list[list[Any]]:
            return [[t.name, t.datatype, list(t.shape)] for t in tensors]

        return {
            "name": self.name,
            "versions": sorted(self.versions),
            "platform": self.platform,
            "inputs": listed(self.inputs),
            "outputs": listed(self.outputs),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """Name, version and extensions of the server program."""

    name: str
    version: str
    extensions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFacts:
    """What Triton says beyond the protocol: the largest batch, and parameters of the model's configuration."""

    max_batch_size: int = 0
    backend: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One response: who answered, and the output tensors by name."""

    model: str
    version: str
    id: str
    tensors: Mapping[str, NDArray[Any]]


class Client(Protocol):
    """One transport to one server. Every method raises `ModelRunError` where the server fails, is slow or talks rot."""

    def server(self) -> ServerFacts: ...
    def metadata(self) -> ModelFacts: ...
    def config(self) -> ConfigFacts: ...
    def infer(self, inputs: Mapping[str, NDArray[np.float32]], outputs: Sequence[str], *, id: str) -> Answer: ...


def identity(server: ServerFacts, model: ModelFacts, config: ConfigFacts) -> str:
    """Digest of what the server says about the model: its bytes cannot be had from here."""
    return digest_json(
        {
            "server": [server.name, server.version],
            "model": model.to_json(),
            "config": [config.max_batch_size, config.backend, dict(config.parameters)],
        }
    )


def tensor_facts(data: Any, what: str) -> tuple[TensorFacts, ...]:
    """The list of inputs or outputs of a metadata response."""
    if data is None:
        return ()
    try:
        return tuple(
            TensorFacts(name=str(t["name"]), datatype=str(t["datatype"]), shape=tuple(int(n) for n in t["shape"]))
            for t in data
        )
    except (TypeError, KeyError, ValueError):
        raise ModelRunError(f"the server's metadata list {what} that are no tensors", failure="protocol") from None


def as_array(name: str, datatype: str, shape: Sequence[Any], data: bytes | Sequence[Any]) -> NDArray[Any]:
    """An output tensor from raw little-endian bytes or from a list of numbers.

    Raises
    ------
    ModelRunError
        If type, shape and amount of data do not belong together; the message names both sides.
    """
    dtype = DTYPES.get(datatype)
    if dtype is None:
        raise ModelRunError(f"output {name} has data type {datatype[:20]}; numbers are expected", failure="protocol")
    sizes = [n for n in shape if isinstance(n, int) and not isinstance(n, bool) and n >= 0]
    if len(sizes) != len(shape) or len(sizes) > _MOST_DIMENSIONS:
        raise ModelRunError(f"output {name} has no shape of whole numbers", failure="protocol")
    n = math.prod(sizes)
    if isinstance(data, bytes | memoryview):
        if len(data) != n * dtype.itemsize:
            raise ModelRunError(
                f"output {name} of shape {sizes} takes {n * dtype.itemsize} bytes, the server sent {len(data)}",
                failure="protocol",
            )
        return np.frombuffer(data, dtype=dtype).reshape(sizes).astype(dtype.newbyteorder("="))
    try:
        array = np.asarray(data, dtype=dtype)
    except (TypeError, ValueError, OverflowError):
        raise ModelRunError(f"output {name} holds something else than {datatype} numbers", failure="protocol") from None
    if array.size != n:
        raise ModelRunError(
            f"output {name} of shape {sizes} takes {n} numbers, the server sent {array.size}", failure="protocol"
        )
    return array.reshape(sizes)


def said(text: object) -> str:
    """A server's own words for an error message: one line, printable, short."""
    line = next((part.strip() for part in str(text).splitlines() if part.strip()), "no message")
    return "".join(c if c.isprintable() else " " for c in line)[:200]

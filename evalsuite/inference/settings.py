"""How the model is run: device, batch size, threads. What is not said here is the model's own or the machine's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evalsuite.errors import InputError
from evalsuite.models.numerics import BACKENDS, MEMORY_FORMATS, PRECISIONS, Numerics

if TYPE_CHECKING:
    from evalsuite.models.contract import Contract

DEFAULT_BATCH = {"cpu": 32, "cuda": 64}
LARGE_PER_SHARD = 4  # volumes or slides: a stopped run computes at most these again

_CUDA = re.compile(r"cuda(:\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceSettings:
    """Settings of one run; all of them are recorded.

    Parameters
    ----------
    device
        ``"auto"`` (CUDA where present), ``"cpu"``, ``"cuda"`` or ``"cuda:N"``; ``"auto"`` and ``"cuda"`` use every CUDA
        device there is, ``"cuda:0,cuda:2"`` those named.
    precision, backend, memory_format
        ``"package"``: as the model was packaged, because a verdict is about that. Any other (`models.numerics`) is
        admitted after its answers to a sample of cases were compared with the package's own.
    batch_size
        Cases per forward pass, constant in a run. None: 32 (CPU) or 64 (CUDA), one where they are volumes; halved when
        memory runs out. A number given here is never changed.
    threads, decoders
        Torch threads and image-decoding threads. None: the cores are divided between them.
    workers
        Processes that each hold the model, fed from one pool of decoders. None: one per device. They change no byte.
    seed
        Of torch's, numpy's and Python's generators, and of the sample of cases that is run a second time.
    shard_size
        Cases stored together; rounded up to a multiple of the batch size.
    repeat
        True: one batch is run a second time at the end, and the largest difference is recorded as the rerun tolerance.
    cache
        Folder in which decoded images are kept for further runs; None: none are kept. It changes no result.
    cache_limit
        Bytes the cache may take.

    Raises
    ------
    InputError
        If a number is out of range, or a word is not among those known.
    """

    device: str = "auto"
    precision: str = "package"
    backend: str = "package"
    memory_format: str = "package"
    batch_size: int | None = None
    threads: int | None = None
    decoders: int | None = None
    workers: int | None = None
    seed: int = 0
    shard_size: int = 256
    repeat: bool = True
    cache: Path | None = None
    cache_limit: int = 50 * 2**30

    def __post_init__(self) -> None:
        known = {"precision": PRECISIONS, "backend": BACKENDS, "memory_format": MEMORY_FORMATS}
        for name, words in known.items():
            if getattr(self, name) not in words:
                raise InputError(f"inference.{name} is {getattr(self, name)!r}", hint=f"Choose {', '.join(words)}.")
        for name in ("batch_size", "threads", "decoders", "workers", "shard_size", "cache_limit"):
            number = getattr(self, name)
            if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
                raise InputError(
                    f"inference.{name} is {number!r}", hint="Give a whole number of 1 or more, or leave it out."
                )
        if not 0 <= self.seed < 2**32:
            raise InputError(f"inference.seed is {self.seed!r}", hint="Give a whole number from 0 to 4294967295.")
        named = self.device.split(",")
        if not (named == ["auto"] or named == ["cpu"] or all(map(_CUDA.fullmatch, named))) or len(set(named)) < len(
            named
        ):
            raise InputError(
                f"inference.device is {self.device!r}",
                hint="Choose 'auto', 'cpu', 'cuda', or 'cuda:N', N a number; several are joined by commas.",
            )

    @property
    def numerics(self) -> Numerics:
        """Number format, backend and memory layout."""
        return Numerics(precision=self.precision, backend=self.backend, memory_format=self.memory_format)

    def first_batch(self, contract: Contract, *, on_cpu: bool) -> int:
        """Batch size to begin with: the one asked for, else one volume, else 32 images or tiles (CPU) or 64 (CUDA)."""
        return self.batch_size or (1 if contract.is_volume else DEFAULT_BATCH["cpu" if on_cpu else "cuda"])

    def cases_per_shard(self, contract: Contract, batch_size: int) -> int:
        """Shard size as used: the smallest multiple of the batch size that is at least `shard_size`; 4 where cases are
        volumes or slides, which take long one by one."""
        if contract.tiled is not None:
            return min(self.shard_size, LARGE_PER_SHARD)
        size = min(self.shard_size, LARGE_PER_SHARD) if contract.is_volume else self.shard_size
        return -(-size // batch_size) * batch_size

"""What driver and workers say to each other: leases of shards there, answers or losses back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from evalsuite.inference.store import Shard
    from evalsuite.testset.types import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One shard to compute. `digests` has the locked SHA-256 of every file of its cases, by path: a worker compares
    each file with it before decoding, because what it sees under a path need not be what the driver saw.
    """

    index: int
    cases: tuple[Case, ...]
    digests: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Shards given to one worker at a time; `outputs` are the model's output names (empty where still unknown)."""

    works: tuple[Work, ...]
    batch_size: int
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a worker is. `policy` is all of it that may change a bit of an output (the batch size apart): two workers
    of one run have the same.
    """

    node: str
    device: str
    device_name: str
    threads: int
    decoders: int
    policy: Mapping[str, Any]
    versions: Mapping[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a worker made of a lease: the shards by index and its times, or the error that ended it.

    `seconds` has the stages read_decode, wait, copy, predict; `latency` the seconds each case took.
    """

    shards: Mapping[int, Shard] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    latency: np.ndarray = field(default_factory=lambda: np.zeros(0))
    warned: tuple[str, ...] = ()
    out_of_memory: bool = False
    error: Exception | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of a lease: an answer, or None where the worker was lost before it gave one (`lost` says how)."""

    lease: Lease
    answer: Answer | None
    lost: str = ""


class Predictor(Protocol):
    """A model on one device, ready to answer."""

    def facts(self) -> Facts: ...

    def probe(self, work: Work) -> tuple[str, ...]: ...

    def predict_shards(self, lease: Lease) -> Answer: ...


#: Makes the predictor where it is to work, with so many decoder threads (None: as the settings say, else one). It is
#: sent there, so it can be pickled.
MakePredictor: TypeAlias = Callable[[int | None], Predictor]


class Workers(Protocol):
    """Workers at work for one run."""

    def facts(self) -> Facts:
        """Of the first worker that is ready."""
        ...

    def probe(self, work: Work) -> tuple[str, ...]:
        """Output names of the model, found by one worker; errors as of `inference.probe`."""
        ...

    def size(self) -> int:
        """Workers that are at work or expected."""
        ...

    def idle(self) -> int:
        """Workers that wait for a lease."""
        ...

    def submit(self, lease: Lease) -> None:
        """Give a lease to a worker that is idle."""
        ...

    def wait(self, seconds: float) -> list[Outcome]:
        """Leases that ended, after waiting for one at most so long. InputError where no worker is left."""
        ...


class Runner(Protocol):
    """A way of getting workers."""

    @property
    def name(self) -> str: ...

    def start(
        self, make: MakePredictor, *, threads: int, gpu: bool, most: int, should_stop: Callable[[], bool] | None
    ) -> AbstractContextManager[Workers]:
        """At most `most` workers made by `make`, given back at the end of the block.

        Each has `threads` cores for its model, and an accelerator of its own where `gpu` allows one and there are any.
        While waiting, `should_stop` is asked; True raises KeyboardInterrupt.
        """
        ...

"""A packaged model that runs in the sandbox and looks, from here, like any other model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evalsuite.errors import IntegrityError
from evalsuite.models.contract import Contract, contract_to_json
from evalsuite.sandbox.answer import BrokenPromise, answer_of
from evalsuite.sandbox.process import ChildProcess
from evalsuite.sandbox.shared import View, shared_memory
from evalsuite.sandbox.text import clean
from evalsuite.sandbox.wire import Message

if TYPE_CHECKING:
    from evalsuite.attribution.job import Attributed, Job
    from evalsuite.models.base import Batch
    from evalsuite.models.numerics import Numerics
    from evalsuite.protocol.interpretability import Method

_MAX_BATCH = 2**31


@dataclass(slots=True)
class _Session:
    """What changes while a model runs: the seed of the next batch, warnings seen, other processes of the package."""

    seed: int | None = None
    warned: tuple[str, ...] = ()
    others: list[SandboxedModel] = field(default_factory=list)
    hired: dict[Any, SandboxedModel] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxedModel:
    """A package opened in a sandboxed process; `digest` was computed here, the rest is what it says of itself, checked.

    Use it from one thread at a time, and `close` it. `takes_stored` tells the engine to hand over images as stored:
    they are normalised on the other side.
    """

    name: str
    format: str
    digest: str
    contract: Contract
    contract_digest: str
    notes: tuple[str, ...]
    size_bytes: int
    batch_limits: tuple[int, int | None]
    process: ChildProcess
    open_s: float
    batch_s: float
    opened: Contract
    again: Callable[[], Any]
    device: str = "cpu"
    takes_stored: bool = True
    view: View = field(default_factory=lambda: View(shared_memory()))
    session: _Session = field(default_factory=_Session)

    def to(self, device: str) -> SandboxedModel:
        """The same process with its model on another device. Raises ModelRunError where it cannot be moved."""
        if device == self.device:
            return self
        answer = self.process.ask({"do": "to", "device": device}, timeout_s=self.open_s, doing=f"moving to {device}")
        return replace(self, device=device, batch_limits=self._limits(answer))

    def _limits(self, answer: Message) -> tuple[int, int | None]:
        found = batch_limits(answer.header.get("batch_limits"))
        if found is None:
            self.process.fail("states batch limits that are none", "contract")
        return found

    def with_threads(self, threads: int) -> SandboxedModel:
        """The same process, computing deterministically with `threads` threads."""
        self.process.ask({"do": "threads", "threads": threads}, timeout_s=self.open_s, doing="setting its threads")
        return self

    def with_numerics(self, numerics: Numerics, *, threads: int) -> SandboxedModel:
        """The same process with its model in another number format or program; InputError where that is not offered."""
        asked = {"do": "numerics", "numerics": asdict(numerics), "threads": threads}
        answer = self.process.ask(asked, timeout_s=self.open_s, doing=f"changing to {numerics}")
        return replace(self, batch_limits=self._limits(answer))

    def another(self) -> SandboxedModel:
        """The same package in one more process, which ends with this one; IntegrityError if the package was changed.

        Call it from a thread that lives as long as the run.
        """
        found: SandboxedModel = self.again()
        self.session.others.append(found)
        if (found.digest, found.contract_digest) != (self.digest, self.contract_digest):
            found.close()
            raise IntegrityError(f"the model {self.name} was changed while it was in use")
        return found

    @property
    def hired(self) -> dict[Any, SandboxedModel]:
        """Workers of the run by place and settings, for its next stage."""
        return self.session.hired

    def reseed(self, number: int) -> None:
        """Seed the generators of the other process before the next batch."""
        self.session.seed = number

    @property
    def sandbox(self) -> dict[str, object]:
        """For the record: what the sandbox is and what it withholds."""
        return self.process.facts

    @property
    def warned(self) -> tuple[str, ...]:
        """Operations that said they have no deterministic form."""
        return tuple(dict.fromkeys([*self.session.warned, *(w for other in self.session.others for w in other.warned)]))

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """A host buffer the other process can read: a batch that lies there is not copied."""
        return shared_memory().allocate(shape, dtype)

    def predict(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """Run one batch of float32 values already in the contract's range. See `models.base.PackagedModel.predict`."""
        missing = [spec.name for spec in self.contract.inputs if spec.name not in batch]
        if missing:
            raise ValueError(f"the batch lacks input {missing[0]!r}; it has {', '.join(batch) or 'none'}")
        arrays = {s.name: np.asarray(batch[s.name], dtype=np.float32) for s in self.contract.inputs}
        return self._run(arrays, stored=False)

    def predict_stored(self, batch: Mapping[str, np.ndarray]) -> dict[str, NDArray[Any]]:
        """Run one batch of images as stored (n, channel, *spatial): the contract's normalisation is done over there.

        Raises
        ------
        ModelRunError
            If the model fails, ends, takes too long, or answers what does not fit its contract.
        MemoryError
            If it ran out of memory and is still there.
        """
        return self._run(batch, stored=True)

    def refusals(self, methods: Sequence[Method]) -> list[str | None]:
        """As `attribution.run.refusals`, over there."""
        asked = {"do": "refusals", "methods": [m.model_dump(mode="json", exclude_unset=True) for m in methods]}
        answer = self.process.ask(asked, timeout_s=self.open_s, doing="asking for its methods")
        said = answer.header.get("refused")
        if not isinstance(said, list) or len(said) != len(methods) + 1:
            self.process.fail("does not say which methods it can be asked for", "protocol")
        return [None if why is None else clean(why) for why in said]

    def attribute_stored(
        self, batch: Mapping[str, np.ndarray], job: Job, *, n_passes: int, should_stop: Callable[[], bool] | None = None
    ) -> Attributed:
        """`attribution.run.attribute` of stored images, over there. `n_passes` of one image bound the time it may take.

        It may take minutes, and the process is ended where `should_stop` says so meanwhile.

        Raises
        ------
        As `predict_stored`, ContractError or ModelRunError of the function itself, and Interrupted.
        """
        from evalsuite.sandbox.attributed import most_bytes, read

        n = len(next(iter(batch.values())))
        header, fds = self._header(batch, stored=True)
        header |= {"do": "attribute", "job": job.to_json()}
        spatial = batch[self.contract.inputs[0].name].shape[2:]
        answer = self.process.ask(
            header,
            timeout_s=self.batch_s * max(1, -(-n * n_passes // job.batch_size)),
            doing=f"maps of {n} images",
            fds=fds,
            max_payload=most_bytes(job.asked, n, spatial),
            should_stop=should_stop,
        )
        self._hear(answer.header.get("warned"))
        try:
            return read(answer, job.asked, n, spatial)
        except BrokenPromise as broken:
            self.process.fail(str(broken), "contract")

    def _header(self, arrays: Mapping[str, np.ndarray], *, stored: bool) -> tuple[dict[str, Any], list[int]]:
        """Where a batch lies in shared memory, and the descriptors of what the other side has not yet."""
        places = {name: self.view.place(name, array) for name, array in arrays.items()}
        new, gone = self.view.news(list(places.values()))
        header: dict[str, Any] = {
            "do": "forward",
            "stored": stored,
            "seed": self.session.seed,
            "map": [{"buffer": b.number, "bytes": b.n_bytes} for b in new],
            "drop": gone,
            "inputs": [
                {"name": name, "buffer": p.buffer.number, "offset": p.offset, "shape": list(p.shape), "dtype": p.dtype}
                for name, p in places.items()
            ],
        }
        if self.contract is not self.opened:
            header["contract"] = contract_to_json(self.contract)
        return header, [b.fd for b in new]

    def _run(self, arrays: Mapping[str, np.ndarray], *, stored: bool) -> dict[str, NDArray[Any]]:
        n = len(next(iter(arrays.values())))
        header, fds = self._header(arrays, stored=stored)
        self.session.seed = None
        wanted = answer_of(self.contract, {name: array.shape for name, array in arrays.items()})
        answer = self.process.ask(
            header,
            timeout_s=self.batch_s,
            doing=f"a batch of {n}",
            fds=fds,
            max_payload=wanted.most_bytes(n),
        )
        self._hear(answer.header.get("warned"))
        try:
            return wanted.read(answer, n)
        except BrokenPromise as broken:
            self.process.fail(str(broken), "contract")

    def _hear(self, warned: Any) -> None:
        if isinstance(warned, list) and warned:
            self.session.warned = tuple(clean(w) for w in warned[:10])

    def keep_log(self, path: Path) -> None:
        """Have what the model printed in `path` once it is closed, where it printed anything."""
        self.process.keep_log(path)
        for i, other in enumerate(self.session.others, start=2):
            other.keep_log(path.with_name(f"{path.stem}-{i}{path.suffix}"))

    def close(self) -> None:
        """End the process and everything it started."""
        for other in self.session.others:
            other.close()
        self.process.close()


def batch_limits(said: Any) -> tuple[int, int | None] | None:
    """Batch limits as the other side stated them, None where they are none."""
    if not isinstance(said, list) or len(said) != 2:
        return None
    least, most = said
    if isinstance(least, bool) or not isinstance(least, int) or not 1 <= least <= _MAX_BATCH:
        return None
    if most is None:
        return least, None
    if isinstance(most, bool) or not isinstance(most, int) or not least <= most <= _MAX_BATCH:
        return None
    return least, most

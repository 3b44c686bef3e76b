"""The workers of a run: each has the model on its own device or cores, and takes the next decoded batch when free.

Which worker answers a batch changes nothing in the answer: what a batch holds is decided before the first case, and
generators are seeded anew for each. Answers come back in the order of the cases.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from evalsuite.errors import ContractError
from evalsuite.inference.decoders import DecodedBatch, Decoders
from evalsuite.inference.device import Upload, copy_stream, reseed
from evalsuite.inference.hooks import Hooks
from evalsuite.inference.masks import StoredMask, bring_back
from evalsuite.inference.predictions import NOT_FINITE
from evalsuite.inference.step import forward
from evalsuite.inference.store import Shard

if TYPE_CHECKING:
    from evalsuite.testset.types import Case

_POLL_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A model where it runs."""

    model: Any
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a worker made of batch `k`; `decode` (n,) and the others are seconds."""

    k: int
    part: Shard
    decode: np.ndarray
    wait: float
    copy: float
    predict: float


class Crew:
    """Workers on threads of their own, fed from one pool of decoders.

    Use as a context manager: on leaving, for whatever reason, every thread is stopped and joined. The threads wait for
    a device or a child process most of the time, and leave Python's lock free meanwhile.
    """

    def __init__(
        self,
        batches: Sequence[Sequence[Any]],
        workers: Sequence[Worker],
        decoders: Decoders,
        hooks: Hooks,
        *,
        seed: int,
        names: Sequence[str],
    ) -> None:
        self._batches = batches
        self._decoders = decoders
        self._hooks = hooks
        self._seed = seed
        self._names = tuple(names)
        self._next = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._done: queue.Queue[Answer | BaseException] = queue.Queue(maxsize=2 * len(workers))
        self._threads = [
            threading.Thread(target=self._work, args=(worker,), name=f"worker-{i}", daemon=True)
            for i, worker in enumerate(workers[: max(1, len(batches))])
        ]

    def __enter__(self) -> Crew:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        self._decoders.stop()
        for thread in self._threads:
            thread.join()

    def answers(self) -> Iterator[Answer]:
        """The answers in the order of the batches; an error of a worker or decoder is raised here."""
        early: dict[int, Answer] = {}
        for k in range(len(self._batches)):
            while k not in early:
                found = self._await()
                early[found.k] = found
            yield early.pop(k)

    def _await(self) -> Answer:
        while True:
            try:
                found = self._done.get(timeout=_POLL_S)
            except queue.Empty:
                if not any(thread.is_alive() for thread in self._threads) and self._done.empty():
                    raise RuntimeError("the worker threads ended early") from None
                continue
            if isinstance(found, BaseException):
                raise found
            return found

    def _work(self, worker: Worker) -> None:
        try:
            stream = copy_stream(worker.device)
            taken = self._take(worker, stream, wait=True)
            while taken is not None:
                # the next images travel to the device while the present ones are computed
                following = self._take(worker, stream, wait=False) if stream is not None else None
                if not self._put(self._answer(worker, taken)):
                    return
                taken = following or self._take(worker, stream, wait=True)
        except BaseException as error:  # handed over to the thread that collects the answers
            self._put(error)

    def _take(self, worker: Worker, stream: Any, *, wait: bool) -> _Taken | None:
        with self._lock:
            k = self._next
            if k >= len(self._batches) or self._stop.is_set() or not (wait or self._decoders.ready(k)):
                return None
            self._next += 1
        started = time.perf_counter()
        decoded = self._decoders.get(k)
        got = time.perf_counter()
        uploads = [Upload(group.inputs, device=worker.device, stream=stream) for group in decoded.groups]
        return _Taken(k=k, decoded=decoded, uploads=uploads, wait=got - started, copy=time.perf_counter() - got)

    def _answer(self, worker: Worker, taken: _Taken) -> Answer:
        started = time.perf_counter()
        reseed(self._seed, self._batches[taken.k][0].case_id, worker.model)
        part = predict_batch(
            worker.model, self._hooks, taken.decoded, taken.uploads, device=worker.device, names=self._names,
            cases=self._batches[taken.k],
        )  # fmt: skip
        seconds = time.perf_counter() - started
        answer = Answer(
            k=taken.k, part=part, decode=taken.decoded.seconds.copy(), wait=taken.wait, copy=taken.copy, predict=seconds
        )
        taken.uploads.clear()
        self._decoders.release(taken.k)
        return answer

    def _put(self, found: Answer | BaseException) -> bool:
        """Hand over; False where nobody waits for it any more."""
        while not self._stop.is_set():
            try:
                self._done.put(found, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """A decoded batch on its way through a worker."""

    k: int
    decoded: DecodedBatch
    uploads: list[Upload]
    wait: float
    copy: float


def predict_batch(
    model: Any,
    hooks: Hooks,
    decoded: DecodedBatch,
    uploads: Sequence[Upload],
    *,
    device: str,
    names: Sequence[str],
    cases: Sequence[Case],
) -> Shard:
    """Answers for one decoded batch: a row whose image was unreadable, or whose output is not finite, has a reason.

    `names` are the outputs expected; where they are not known yet, those of the first group. Masks come back to the
    grids of their images here.
    """
    n = len(decoded.reasons)
    reasons = list(decoded.reasons)
    outputs = _empty(names, n)
    masks: dict[int, list[StoredMask]] = {}
    for group, upload in zip(decoded.groups, uploads, strict=True):
        found = forward(model, upload, hooks, device=device)
        columns = dict(found.columns)
        drawn: Sequence[StoredMask] = ()
        if found.masks:
            back = bring_back(
                found.masks,
                model.contract,
                case_ids=[cases[row].case_id for row in group.rows],
                placements=[decoded.placements[row] for row in group.rows],
            )
            columns |= back.columns
            columns = {name: columns[name] for name in model.contract.columns}
            drawn = back.masks
        outputs = outputs or _empty(tuple(columns), n)
        require_same(tuple(outputs), tuple(columns))
        rows = np.array(group.rows, dtype=np.intp)
        finite = np.isfinite(np.stack(list(columns.values()))).all(axis=0)
        for name, values in columns.items():
            outputs[name][rows[finite]] = values[finite]
        for row in rows[~finite]:
            reasons[row] = NOT_FINITE
        usable = {cases[row].case_id: int(row) for row in rows[finite]}
        for mask in drawn:
            if mask.case_id in usable:
                masks.setdefault(usable[mask.case_id], []).append(mask)
    return Shard(
        reasons=tuple(reasons),
        outputs=outputs,
        masks=tuple(mask for row in sorted(masks) for mask in masks[row]),
        mask_digests=tuple(mask.digest for row in sorted(masks) for mask in masks[row]),
        prepared=dict(decoded.notes),
    )


def require_same(expected: Sequence[str], found: Sequence[str]) -> None:
    """Raise `ContractError` where a model gives other outputs for one batch than for another."""
    if tuple(found) != tuple(expected):
        raise ContractError(
            f"the model gave the outputs {', '.join(found)} after {', '.join(expected)}",
            hint="A model gives the same outputs for every case; correct the package.",
        )


def _empty(names: Sequence[str], n: int) -> dict[str, np.ndarray]:
    return {name: np.full(n, np.nan) for name in names}

"""Threads that read and decode images ahead of the model, into a small ring of buffers that is used over and over.

Memory is bounded: at most `depth` batches exist at a time, twice as many while all of them are small. What comes out
does not depend on which thread was quicker: batches come in order, rows lie where their case stands, a case that cannot
be read leaves its row out.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from evalsuite.errors import ImageError, InputError, IntegrityError
from evalsuite.inference.hooks import CaseInputs

if TYPE_CHECKING:
    from evalsuite.models.placing import Placement
    from evalsuite.testset.types import Case

ReadCase = Callable[["Case"], Mapping[str, np.ndarray]]
Read = TypeVar("Read")
Allocate = Callable[[tuple[int, ...], np.dtype], np.ndarray]

DEPTH = 4
CHUNK = 8
SMALL = 256 * 2**20  # bytes of a ring that may be twice as deep
_POLL_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Cases of one batch whose images have one shape: `rows` in the batch, `inputs` name → (len(rows), channel, …)."""

    rows: tuple[int, ...]
    inputs: Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedBatch:
    """A decoded batch: `reasons` per row (None where readable), `seconds` (n,) that reading each case took.

    `placements` say per row and input what was done to the image, `notes` count what was done and what was peculiar.

    The arrays may lie in a buffer of the ring: they are valid until the batch is released.
    """

    groups: tuple[Group, ...]
    reasons: tuple[str | None, ...]
    seconds: np.ndarray
    placements: tuple[Mapping[str, Placement], ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)


class _Slot:
    """One batch under construction."""

    def __init__(self) -> None:
        self.buffers: dict[str, np.ndarray] = {}
        self.images: list[Mapping[str, np.ndarray] | None] = []
        self.reasons: list[str | None] = []
        self.seconds = np.zeros(0)
        self.in_buffer: list[bool] = []
        self.left = 0
        self.placements: list[Mapping[str, Placement]] = []
        self.notes: list[tuple[str, ...]] = []

    def begin(self, n: int) -> None:
        self.images = [None] * n
        self.reasons = [None] * n
        self.in_buffer = [False] * n
        self.seconds = np.zeros(n)
        self.left = n
        self.placements = [{}] * n
        self.notes = [()] * n


def read_one(read: Callable[[Any], Read], case: Any) -> tuple[Read | None, str | None]:
    """What `read` makes of a case (its inputs, its open slide), or the reason why there is nothing (a short code).

    Raises
    ------
    InputError
        If the file itself cannot be reached (missing, no permission, input/output error): that is a fault of the
        machine, not of the case, and must not be recorded as a failure of the device.
    IntegrityError
        If it is not the file that was locked.
    """
    try:
        return read(case), None
    except ImageError as error:
        _raise_if_unreachable(error, case)
        return None, error.code
    except (MemoryError, KeyboardInterrupt, IntegrityError):
        raise
    except Exception as error:  # a decoder's own error on a damaged file: a failed case, counted and named
        _raise_if_unreachable(error, case)
        return None, f"reading failed ({type(error).__name__})"


def _raise_if_unreachable(error: Exception, case: Case) -> None:
    fault: BaseException | None = error
    while fault is not None:
        if isinstance(fault, OSError) and fault.errno is not None:
            raise InputError(
                f"the images of case {case.case_id} cannot be reached: {fault.strerror}",
                hint="Make the files readable again, then run the same command: it goes on where it stopped.",
            ) from error
        fault = fault.__cause__ or fault.__context__


class Decoders:
    """Reads `batches` in order on `n_threads` threads into `depth` buffers, 2 `depth` where they are small together.

    A deep ring evens out what the machine does beside: a thread that has to wait for a processor or a disk delays its
    batch, and the others go on reading. It is deep only while every image lies in a buffer, so that its size is known.

    Use as a context manager: on leaving, for whatever reason, every thread is stopped and joined. `get` hands out batch
    k, `release` gives its buffer back; several threads may take and release batches, each its own, in any order. An
    error in a thread is raised by `get`. `ahead` is told of every batch `depth` batches before its turn, so that its
    files can be asked of the disk meanwhile.
    """

    def __init__(
        self,
        batches: Sequence[Sequence[Any]],
        read: Callable[[Any], Mapping[str, np.ndarray]],
        *,
        n_threads: int,
        depth: int = DEPTH,
        allocate: Allocate = np.empty,
        ahead: Callable[[Sequence[Case]], None] | None = None,
    ) -> None:
        self._batches = batches
        self._ahead = ahead
        self._read = read
        self._allocate = allocate
        self._depth = self._allowed = depth
        self._rows = max((len(b) for b in batches), default=0)
        self._chunk = max(1, min(CHUNK, -(-self._rows // n_threads)))
        self._fair = 2 * n_threads
        self._left = sum(map(len, batches))
        self._slots = [_Slot() for _ in range(min(2 * depth, max(1, len(batches))))]
        self._changed = threading.Condition()
        self._batch = self._row = 0  # next row to decode
        self._begun = -1
        self._in_use = 0
        self._uneven = False
        self._free = set(range(len(self._slots)))
        self._stop = False
        self._error: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._work, name=f"decoder-{i}", daemon=True)
            for i in range(min(n_threads, max(1, len(batches) * self._rows)))
        ]

    def __enter__(self) -> Decoders:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
        for thread in self._threads:
            thread.join()
        self._slots.clear()

    def stop(self) -> None:
        """Read no more; who waits for a batch gets an error instead."""
        with self._changed:
            self._stop = True
            self._changed.notify_all()

    def ready(self, k: int) -> bool:
        """Whether `get(k)` would return at once."""
        with self._changed:
            return self._error is not None or (self._begun >= k and self._slot(k).left == 0)

    def get(self, k: int) -> DecodedBatch:
        """Batch k, waiting for it where need be."""
        with self._changed:
            while self._error is None and not (self._begun >= k and self._slot(k).left == 0):
                if self._stop or not any(thread.is_alive() for thread in self._threads):
                    raise RuntimeError("the decoder threads ended early")
                self._changed.wait(_POLL_S)
            if self._error is not None:
                raise self._error
            slot = self._slot(k)
        return _assemble(slot)

    def release(self, k: int) -> None:
        """Give the buffer of batch k back."""
        with self._changed:
            self._free.add(k % len(self._slots))
            self._in_use -= 1
            self._changed.notify_all()

    def _slot(self, k: int) -> _Slot:
        return self._slots[k % len(self._slots)]

    def _claim(self) -> tuple[int, range] | None:
        with self._changed:
            while True:
                if self._stop or self._batch >= len(self._batches):
                    return None
                if self._begun == self._batch or (
                    self._in_use < self._allowed and self._batch % len(self._slots) in self._free
                ):
                    break
                self._changed.wait(_POLL_S)
            k, n = self._batch, len(self._batches[self._batch])
            if self._begun < k:
                self._free.discard(k % len(self._slots))
                self._in_use += 1
                self._slot(k).begin(n)
                self._begun = k
            # smaller and smaller pieces towards the end, so that all threads finish together
            rows = range(self._row, min(n, self._row + self._chunk, self._row + max(1, self._left // self._fair)))
            self._left -= len(rows)
            self._row = rows.stop
            if rows.stop == n:
                self._batch, self._row = k + 1, 0
            return k, rows

    def _work(self) -> None:
        try:
            while (claimed := self._claim()) is not None:
                k, rows = claimed
                slot = self._slot(k)
                if self._ahead is not None and rows.start == 0 and k + self._depth < len(self._batches):
                    self._ahead(self._batches[k + self._depth])
                for row in rows:
                    if self._stop:
                        return
                    started = time.perf_counter()
                    inputs, slot.reasons[row] = read_one(self._read, self._batches[k][row])
                    if inputs is not None:
                        self._keep(slot, row, inputs)
                    slot.seconds[row] = time.perf_counter() - started
                with self._changed:
                    slot.left -= len(rows)
                    if slot.left == 0:
                        self._changed.notify_all()
        except BaseException as error:  # handed over to the thread that asks for the batch
            with self._changed:
                self._error = self._error or error
                self._stop = True
                self._changed.notify_all()

    def _keep(self, slot: _Slot, row: int, inputs: Mapping[str, np.ndarray]) -> None:
        if not slot.buffers:
            with self._changed:
                if not slot.buffers:
                    slot.buffers = {n: self._allocate((self._rows, *a.shape), a.dtype) for n, a in inputs.items()}
                    if not self._uneven and sum(b.nbytes for b in slot.buffers.values()) * 2 * self._depth <= SMALL:
                        self._allowed = 2 * self._depth
                        self._changed.notify_all()
        if isinstance(inputs, CaseInputs):
            slot.placements[row], slot.notes[row] = inputs.placements, inputs.notes
        buffers = slot.buffers
        if buffers.keys() == inputs.keys() and all(
            buffers[n].shape[1:] == a.shape and buffers[n].dtype == a.dtype for n, a in inputs.items()
        ):
            for name, array in inputs.items():
                buffers[name][row] = array
            slot.in_buffer[row] = True
            inputs = {name: buffers[name][row] for name in inputs}
        elif not self._uneven:
            with self._changed:
                self._uneven, self._allowed = True, self._depth
        slot.images[row] = inputs


def _assemble(slot: _Slot) -> DecodedBatch:
    n = len(slot.images)
    if n and all(slot.in_buffer):  # the common case: nothing is copied
        whole = {name: buffer[:n] for name, buffer in slot.buffers.items()}
        groups: tuple[Group, ...] = (Group(rows=tuple(range(n)), inputs=whole),)
    else:
        alike: dict[tuple[object, ...], list[int]] = {}
        for row, image in enumerate(slot.images):
            if image is not None:
                shape = tuple((name, a.shape, a.dtype.str) for name, a in sorted(image.items()))
                alike.setdefault(shape, []).append(row)
        groups = tuple(_stack(slot, rows) for rows in alike.values())
    return DecodedBatch(
        groups=groups,
        reasons=tuple(slot.reasons),
        seconds=slot.seconds,
        placements=tuple(slot.placements),
        notes=Counter(note for notes in slot.notes for note in notes),
    )


def _stack(slot: _Slot, rows: list[int]) -> Group:
    images = [image for row in rows if (image := slot.images[row]) is not None]
    return Group(rows=tuple(rows), inputs={name: np.stack([i[name] for i in images]) for name in images[0]})

"""Batches in memory that this process writes and the sandboxed one can only read: nothing is copied on the way."""

from __future__ import annotations

import fcntl
import itertools
import math
import mmap
import os
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

_SEAL_FUTURE_WRITE = 0x10  # linux/fcntl.h; Python names it from 3.13
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | _SEAL_FUTURE_WRITE


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """One piece of shared memory: its number, file descriptor, address here and size in bytes."""

    number: int
    fd: int
    address: int
    n_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an array lies: buffer, offset in bytes, shape and numpy dtype."""

    buffer: Buffer
    offset: int
    shape: tuple[int, ...]
    dtype: str


class SharedMemory:
    """Buffers that this process fills and any of its sandboxed ones may read. `allocate` may be called from any thread.

    A buffer lives as long as an array that lies in it. Its size is sealed, so that the other side cannot make this one
    fail by cutting it short, and it is sealed against writing by anybody but the mapping made here.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._buffers: dict[int, Buffer] = {}
        self._dead: deque[int] = deque()

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array (uninitialised, zeros) in shared memory."""
        kind = np.dtype(dtype)
        n_bytes = max(1, math.prod(shape) * kind.itemsize)
        fd = os.memfd_create("evalsuite-batch", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, n_bytes)
            memory = mmap.mmap(fd, n_bytes, flags=mmap.MAP_SHARED)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        except OSError:
            os.close(fd)
            raise
        array = np.frombuffer(memory, dtype=kind, count=math.prod(shape)).reshape(shape)
        address = int(array.__array_interface__["data"][0])
        with self._lock:
            number = next(self._numbers)
            self._buffers[number] = Buffer(number=number, fd=fd, address=address, n_bytes=n_bytes)
        weakref.finalize(memory, self._dead.append, number)
        return array

    def find(self, array: np.ndarray) -> Place | None:
        """Where `array` lies; None where that is not in one of these buffers, or not in one piece."""
        if not array.flags.c_contiguous:
            return None
        address = int(array.__array_interface__["data"][0])
        with self._lock:
            while self._dead:
                os.close(self._buffers.pop(self._dead.popleft()).fd)
            for buffer in self._buffers.values():
                offset = address - buffer.address
                if offset >= 0 and offset + array.nbytes <= buffer.n_bytes:
                    return Place(buffer=buffer, offset=offset, shape=array.shape, dtype=array.dtype.str)
        return None

    def numbers(self) -> set[int]:
        """Numbers of the buffers that are alive."""
        with self._lock:
            return set(self._buffers)


class View:
    """What one sandboxed process has been shown of the shared memory."""

    def __init__(self, memory: SharedMemory) -> None:
        self._memory = memory
        self._shown: set[int] = set()
        self._scratch: dict[str, np.ndarray] = {}

    def place(self, name: str, array: np.ndarray) -> Place:
        """Where `array` lies; one from elsewhere is copied into a buffer kept for input `name`."""
        found = self._memory.find(array)
        if found is not None:
            return found
        kept = self._scratch.get(name)
        if kept is None or kept.nbytes < array.nbytes:
            self._scratch[name] = kept = self._memory.allocate((max(1, array.nbytes),), np.uint8)
        copy = kept[: array.nbytes].view(array.dtype).reshape(array.shape)
        copy[...] = array
        found = self._memory.find(copy)
        assert found is not None, "a copy in shared memory lies in shared memory"
        return found

    def news(self, places: Sequence[Place]) -> tuple[list[Buffer], list[int]]:
        """Buffers of `places` that the other side does not have yet, and numbers of those it has and that are gone."""
        gone = sorted(self._shown - self._memory.numbers())
        new = {p.buffer.number: p.buffer for p in places if p.buffer.number not in self._shown}
        self._shown = (self._shown | set(new)) - set(gone)
        return list(new.values()), gone


@cache
def shared_memory() -> SharedMemory:
    """The shared memory of this process: one, because workers with their own sandboxes read from the same batches."""
    return SharedMemory()

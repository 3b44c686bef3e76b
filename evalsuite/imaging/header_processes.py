"""Reading the headers of many DICOM files by several processes: pydicom is Python, of which one thread runs at a time.

The processes are started by their own command line, not by `multiprocessing`: that would run the script of whoever
calls this a second time, or copy a process that has threads.
"""

from __future__ import annotations

import contextlib
import pickle
import queue
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, BinaryIO

from evalsuite.errors import ImageError
from evalsuite.imaging.headers import Header, read_header
from evalsuite.record.digest import in_threads, usable_cpus

WORTH_IT = 2_000
"""Fewer headers are read by this process: another one takes as long to start as 300 headers to read."""
_EACH = 500
_MOST = 16
_CHUNK = 100

HeaderRead = Header | None | str
"""A header; None where it cannot be read as DICOM; the system's words where the file cannot be read at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderTask:
    """What `read_header` is to look for. `keywords` are read of the files in `with_attributes` only."""

    today: date
    pseudonyms: Collection[str]
    keywords: Sequence[str]
    with_attributes: Collection[str]

    def read(self, name: str, source: bytes | BinaryIO) -> Header | None:
        """The header of a file, None where it is damaged."""
        keywords = self.keywords if name in self.with_attributes else ()
        try:
            return read_header(source, name=name, today=self.today, pseudonyms=self.pseudonyms, keywords=keywords)
        except ImageError:
            return None


def read_headers(
    places: Mapping[str, str],
    task: HeaderTask,
    *,
    on_read: Callable[[Sequence[str]], None],
    workers: int | None = None,
) -> dict[str, HeaderRead]:
    """Headers of the files `places` (name to path), read by `workers` processes.

    By default one per processor, up to 16, where it is worth it; 0 reads them in this one. `on_read` is called with the
    names that were just read, from several threads. What a process that ends early leaves undone is read here. The
    result does not depend on how many processes there are.
    """
    names = list(places)
    chunks = [names[i : i + _CHUNK] for i in range(0, len(names), _CHUNK)]
    if workers is None:
        workers = _worth(len(names), usable_cpus())
    n = min(workers, len(chunks))
    found: dict[str, HeaderRead] = {}
    with contextlib.ExitStack() as stack:
        idle: queue.SimpleQueue[_Reader | None] = queue.SimpleQueue()
        for _ in range(max(1, n)):
            idle.put(stack.enter_context(_reader(task)) if n else None)

        def one(chunk: list[str]) -> None:
            reader = idle.get()
            asked = [(name, places[name]) for name in chunk]
            headers = None if reader is None else reader.read(asked)
            if headers is None:  # it ended: memory ran out, or somebody stopped it
                reader, headers = None, read_chunk(asked, task)
            idle.put(reader)
            found.update(zip(chunk, headers, strict=True))
            on_read(chunk)

        in_threads(one, chunks, workers=max(1, n))
    return found


def _worth(n_files: int, cpus: int) -> int:
    """How many processes are worth starting."""
    return min(cpus, _MOST, n_files // _EACH) if n_files >= WORTH_IT and cpus > 1 else 0


def read_chunk(asked: Sequence[tuple[str, str]], task: HeaderTask) -> list[HeaderRead]:
    """Headers of files given as (name, path), in their order."""
    headers: list[HeaderRead] = []
    for name, path in asked:
        try:
            with open(path, "rb") as file:
                headers.append(task.read(name, file))
        except OSError as error:
            headers.append(error.strerror or type(error).__name__)
    return headers


class _Reader:
    """Another process that reads headers, and the pipes to it."""

    def __init__(self, process: subprocess.Popen[bytes], task: HeaderTask) -> None:
        self._process = process
        self._task: HeaderTask | None = task

    def read(self, asked: Sequence[tuple[str, str]]) -> list[HeaderRead] | None:
        """The headers; None where the process is gone."""
        assert self._process.stdout is not None
        first, self._task = self._task, None  # not before: with many names it is long, and the processes start together
        if (first is not None and not self._send(first)) or not self._send(asked):
            return None
        try:
            headers: list[HeaderRead] = pickle.load(self._process.stdout)  # made by our own process
        except (EOFError, OSError, pickle.UnpicklingError):
            return None
        return headers

    def _send(self, message: object) -> bool:
        assert self._process.stdin is not None
        try:
            pickle.dump(message, self._process.stdin, protocol=5)
            self._process.stdin.flush()
        except OSError:
            return False
        return True


@contextlib.contextmanager
def _reader(task: HeaderTask) -> Iterator[_Reader | None]:
    """A process that ends with the block; None where none can be started. It says nothing: a header may name people."""
    code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        yield None
        return
    try:
        yield _Reader(process, task)
    finally:
        process.kill()
        with contextlib.suppress(OSError):  # what was not sent any more
            process.communicate()


def serve() -> None:
    """The other process: a task, then chunks of files until its input ends."""
    source: Any = sys.stdin.buffer
    target: Any = sys.stdout.buffer
    task: HeaderTask = pickle.load(source)
    while True:
        try:
            asked = pickle.load(source)
        except EOFError:
            return
        pickle.dump(read_chunk(asked, task), target, protocol=5)
        target.flush()

"""Fingerprints: SHA-256 of bytes, files and records, and one Merkle root over many of them."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, TypeVar

from evalsuite.record.canonical import canonical_json
from evalsuite.record.shared import is_url, opened

_CHUNK = 1 << 20  # larger reads leave the processor's cache between reading and hashing
_SMALL = 1 << 18
_own = threading.local()

T = TypeVar("T")
R = TypeVar("R")
P = TypeVar("P", str, Path)


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of `data`, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def digest_json(obj: Any) -> str:
    """SHA-256 of the canonical JSON of `obj`."""
    return sha256_bytes(canonical_json(obj))


def sha256_file(path: str | Path, *, on_bytes: Callable[[int], None] | None = None, copy_to: Path | None = None) -> str:
    """SHA-256 of a file's contents, read in steps of 1 MiB; with `copy_to` the same bytes are written there.

    The file may lie in shared storage (`record.shared`).

    Raises
    ------
    OSError
        If the file cannot be read, or the copy cannot be written.
    """
    hasher = hashlib.sha256()
    buffer = _buffer()
    view = memoryview(buffer)
    target = open(copy_to, "wb", buffering=0) if copy_to is not None else None  # noqa: SIM115
    try:
        with opened(path) if is_url(path) else open(path, "rb", buffering=0) as file:
            while n := file.readinto(buffer):
                hasher.update(view[:n])
                if target is not None:
                    _write_all(target.fileno(), view[:n])
                if on_bytes is not None:
                    on_bytes(n)
    finally:
        if target is not None:
            target.close()
    return hasher.hexdigest()


def _buffer() -> bytearray:
    """This thread's own reading buffer: a fresh one per file would cost more than hashing a small file."""
    if not hasattr(_own, "buffer"):
        _own.buffer = bytearray(_CHUNK)
    buffer: bytearray = _own.buffer
    return buffer


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def usable_cpus() -> int:
    """Processors this process may use (containers and `taskset` included)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def hashing_threads(n_files: int, n_bytes: int) -> int:
    """How many threads hash best: all processors, but two where files are small.

    For a small file Python's own work is most of it, which one thread does at a time: 4,000 files of 50 kB took 0.15 s
    by two threads and 0.54 s by four that waited for each other.
    """
    return usable_cpus() if n_bytes >= n_files * _SMALL else min(2, usable_cpus())


def in_threads(work: Callable[[T], R], items: Sequence[T], *, workers: int | None = None) -> list[R]:
    """`[work(i) for i in items]` by several threads; the first exception (Ctrl-C included) stops all of them.

    Threads take the next item when they are free, so a few large files do not hold up many small ones.
    """
    n_workers = max(1, min(workers if workers is not None else usable_cpus(), len(items)))
    if n_workers == 1:
        return [work(item) for item in items]
    results: dict[int, R] = {}
    pending = iter(range(len(items)))
    take = threading.Lock()
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            with take:
                i = next(pending, None)
            if i is None:
                return
            results[i] = work(items[i])

    with ThreadPoolExecutor(n_workers) as pool:
        futures = [pool.submit(loop) for _ in range(n_workers)]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            stop.set()
        for future in futures:
            future.result()
    return [results[i] for i in range(len(items))]


def hash_files(
    paths: Iterable[P],
    *,
    workers: int | None = None,
    on_bytes: Callable[[int], None] | None = None,
    on_error: Callable[[P, OSError], None] | None = None,
) -> dict[P, str]:
    """SHA-256 of many files, hashed by as many threads as there are processors (hashing releases Python's lock).

    Parameters
    ----------
    on_bytes
        Called with the number of bytes just read, one call at a time.
    on_error
        Called with a path and what went wrong; the path is then left out of the result. Without it the error is raised.

    Returns
    -------
    dict
        Path to 64 hexadecimal digits, in the order of `paths`.
    """
    unique = list(dict.fromkeys(paths))
    lock = threading.Lock()

    def report(n: int) -> None:
        if on_bytes is not None:
            with lock:
                on_bytes(n)

    def one(path: P) -> str | None:
        try:
            return sha256_file(path, on_bytes=report if on_bytes is not None else None)
        except OSError as e:
            if on_error is None:
                raise
            with lock:
                on_error(path, e)
            return None

    digests = in_threads(one, unique, workers=workers)
    return {path: digest for path, digest in zip(unique, digests, strict=True) if digest is not None}


def merkle_root(leaves: Sequence[bytes]) -> str:
    """Merkle tree hash of `leaves`, 64 hexadecimal digits; of no leaves, the SHA-256 of nothing.

    Leaves and inner nodes carry different prefixes (0x00, 0x01), so that no inner node can pass for a leaf.

    References
    ----------
    RFC 6962, section 2.1. Joining neighbours level by level and moving an odd last node up unchanged gives the RFC's
    split at the largest power of two.
    """
    if not leaves:
        return hashlib.sha256(b"").hexdigest()
    level = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        joined = [hashlib.sha256(b"\x01" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)]
        if len(level) % 2:
            joined.append(level[-1])
        level = joined
    return level[0].hex()

"""Decoded images kept on disk, so that a second run over the same test set need not decode them again.

An entry is named by the digests of the files it was made from, as the lock states them, and by everything that decides
how they are decoded; its content is compared with its own digest whenever it is read. What is missing, damaged or of
another kind is decoded from the files as if there were no cache, so it never changes a result.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evalsuite.errors import InputError
from evalsuite.inference.decoders import ReadCase
from evalsuite.inference.hooks import CaseInputs
from evalsuite.inference.readahead import some_of
from evalsuite.record.digest import digest_json
from evalsuite.record.files import read_with_time, writing

if TYPE_CHECKING:
    from evalsuite.inference.hooks import Hooks
    from evalsuite.inference.settings import InferenceSettings
    from evalsuite.testset.types import Case, LockedTestSet

CACHE_SCHEMA = "evalsuite/decoded/2"
_MAGIC = b"EVDECODE"
_ALIGN = 64
_BEGIN = len(_MAGIC) + 32  # of what the digest covers: the name, a description and the arrays
_NAME = 64
_SPARE = 0.05  # of the disk stays free
_UNUSED_S = 3600.0  # an entry is marked as used at most once in so many seconds


class DecodedCache:
    """A folder of decoded images, bounded in size; safe to use from several threads and processes at once.

    Parameters
    ----------
    folder
        Made where it does not exist. It must belong to the user and be writable by nobody else: whoever can write into
        it could put other images before the model.
    files
        Where an image file lies → SHA-256 of its content. Cases with other files are not cached.
    settings
        Everything else that decides what comes out of `read` (contract inputs, versions of decoders).
    limit
        Bytes at most, all entries together. What is over it when the cache is opened is removed, the longest unused
        first; when it is reached nothing more is stored.

    Raises
    ------
    InputError
        If the folder is not the user's own.
    OutputError
        If it cannot be made.
    """

    def __init__(
        self, folder: Path, *, files: Mapping[str, str], settings: Mapping[str, Any], limit: int = 50 * 2**30
    ) -> None:
        self._folder = Path(folder)
        self._files = files
        self._settings = digest_json({"schema": CACHE_SCHEMA, **settings})
        self._limit = limit
        self._lock = threading.Lock()
        self._counts = {"hits": 0, "stored": 0, "not_stored": 0, "damaged": 0}
        with writing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _require_own(self._folder)
            self._used = _shrink(self._folder, limit)

    def count_anew(self) -> None:
        """Forget the images taken so far, so that those of the run itself are counted (not the probe's)."""
        with self._lock:
            self._counts["hits"] = 0

    @property
    def facts(self) -> dict[str, int]:
        """Images taken from the cache, put into it, found damaged there, and left out because it is full."""
        return dict(self._counts)

    def reader(self, read: ReadCase) -> ReadCase:
        """The same reader, which looks into the cache first and fills it."""

        def cached(case: Case) -> Mapping[str, np.ndarray]:
            path = self._path(case)
            if path is None:
                return read(case)
            known = self._load(path)
            if known is not None:
                return known
            found = read(case)
            self._store(path, found)
            return found

        return cached

    def ahead(self, otherwise: Callable[[Any], None] | None) -> Callable[[Any], None]:
        """Advice to the disk for cases that are not in the cache only."""

        def advise(cases: Any) -> None:
            if otherwise is None or all(map(self._has, some_of(cases))):  # an entry here or there may be missing
                return
            absent = [case for case in cases if not self._has(case)]
            if absent:
                otherwise(absent)

        return advise

    def _has(self, case: Case) -> bool:
        path = self._path(case)
        return path is not None and os.path.exists(path)

    def _path(self, case: Case) -> str | None:
        digests = {}
        for column, paths in case.images.items():
            found = [self._files.get(str(path)) for path in paths]
            if None in found:
                return None
            digests[column] = found
        if not digests:
            return None
        key = digest_json({"settings": self._settings, "files": digests})
        return f"{self._folder}/{key[:2]}/{key}.decoded"

    def _load(self, path: str) -> dict[str, np.ndarray] | None:
        try:
            whole, used = read_with_time(path)
        except OSError:
            return None
        found = _parse(whole, name=_name(path))
        with self._lock:
            self._counts["damaged" if found is None else "hits"] += 1
        if found is None:
            with suppress(OSError):
                os.unlink(path)
            return None
        if time.time() - used > _UNUSED_S:
            with suppress(OSError):
                os.utime(path)
        return found

    def _store(self, path: str, images: Mapping[str, np.ndarray]) -> None:
        parts = _pack(images, name=_name(path))
        size = sum(map(len, parts))
        with self._lock:
            fits = self._used + size <= self._limit
            self._used += size if fits else 0
        stored = fits and _write(Path(path), parts)
        with self._lock:
            self._counts["stored" if stored else "not_stored"] += 1
            if fits and not stored:
                self._used -= size


def with_cache(hooks: Hooks, testset: LockedTestSet, settings: InferenceSettings) -> tuple[Hooks, DecodedCache | None]:
    """Hooks that read through the cache the settings ask for, and that cache; as they are where there is none.

    What is not known to come out the same (hooks that do not say what decides their images, a set without a lock of
    its files) is not cached.
    """
    from evalsuite.inference.device import package_versions
    from evalsuite.testset.places import locked_digests

    if settings.cache is None or hooks.decoding is None:
        return hooks, None
    cache = DecodedCache(
        settings.cache,
        files=locked_digests(testset),
        settings={"decoding": dict(hooks.decoding), "versions": package_versions()},
        limit=settings.cache_limit,
    )
    return replace(hooks, read=cache.reader(hooks.read), ahead=cache.ahead(hooks.ahead)), cache


def _require_own(folder: Path) -> None:
    found = folder.stat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise InputError(
            f"the cache folder {folder} is not yours alone: its owner or its permissions let others write into it",
            hint="Choose a new folder, or make this one private: chmod 700.",
        )


def _shrink(folder: Path, limit: int) -> int:
    """Bytes in the folder after removing the longest unused entries beyond the limit."""
    entries: list[tuple[float, int, str]] = []
    for below in sorted(os.scandir(folder), key=lambda e: e.name):
        if len(below.name) == 2 and below.is_dir(follow_symlinks=False):
            for entry in os.scandir(below):
                if entry.name.endswith(".decoded") and entry.is_file(follow_symlinks=False):
                    seen = entry.stat()
                    entries.append((seen.st_mtime, seen.st_size, entry.path))
    used = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if used <= limit:
            break
        with suppress(FileNotFoundError):
            os.unlink(path)
        used -= size
    return used


def _name(path: str) -> str:
    return os.path.basename(path).removesuffix(".decoded")


def _pack(images: Mapping[str, np.ndarray], *, name: str) -> list[bytes]:
    """An entry in parts: what it is, the digest of all that follows, its name, a description, and the arrays' bytes."""
    facts: dict[str, Any] = {"arrays": [[key, array.dtype.str, list(array.shape)] for key, array in images.items()]}
    if isinstance(images, CaseInputs):
        facts["beside"] = images.beside()
    header = json.dumps(facts).encode()
    described = name.encode().ljust(_NAME) + len(header).to_bytes(8, "little") + header
    described += bytes(-(_BEGIN + len(described)) % _ALIGN)
    contents = [array.tobytes() for array in images.values()]
    sha = hashlib.sha256(described)
    for content in contents:
        sha.update(content)
    return [_MAGIC + sha.digest() + described, *contents]


@lru_cache(maxsize=64)
def _described(header: bytes) -> tuple[list[tuple[str, str, tuple[int, ...]]], CaseInputs | None]:
    """Name, type and shape of each array, and what is beside them: the same text for all images of one size."""
    facts = json.loads(header)
    arrays = [(str(key), str(dtype), tuple(map(int, shape))) for key, dtype, shape in facts["arrays"]]
    return arrays, CaseInputs.of({}, facts["beside"]) if "beside" in facts else None


def _parse(data: bytes, *, name: str) -> dict[str, np.ndarray] | None:
    """Arrays of an entry as views of its bytes; None where it is not what it says it is."""
    whole = memoryview(data)
    if whole[: len(_MAGIC)] != _MAGIC or hashlib.sha256(whole[_BEGIN:]).digest() != whole[len(_MAGIC) : _BEGIN]:
        return None
    if whole[_BEGIN : _BEGIN + _NAME] != name.encode().ljust(_NAME):  # a sound entry under another one's name
        return None
    start = _BEGIN + _NAME + 8
    end = start + int.from_bytes(whole[start - 8 : start], "little")
    try:
        arrays, beside = _described(bytes(whole[start:end]))
        at, found = end + -end % _ALIGN, {}
        for key, dtype, shape in arrays:
            found[key] = np.frombuffer(data, dtype=dtype, count=math.prod(shape), offset=at).reshape(shape)
            at += found[key].nbytes
    except (ValueError, KeyError, TypeError):
        return None
    if at != len(whole):
        return None
    return found if beside is None else CaseInputs(found, beside.placements, beside.notes)


def _write(path: Path, parts: list[bytes]) -> bool:
    """Whether the entry was stored: whole or not at all. A full disk or a folder that went away is no error here."""
    temporary = None
    try:
        path.parent.mkdir(exist_ok=True, mode=0o700)
        space = os.statvfs(path.parent)
        if space.f_bavail < _SPARE * space.f_blocks:
            return False
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with open(descriptor, "wb") as file:
            for part in parts:
                file.write(part)
        os.replace(temporary, path)
    except OSError:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)
        return False
    return True

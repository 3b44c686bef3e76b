"""Asking the disk for image files before their turn comes, so that a decoder finds them in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

_STEPS = 3
Item = TypeVar("Item")

if TYPE_CHECKING:
    from evalsuite.testset.types import Case


def read_ahead(cases: Sequence[Case]) -> None:
    """Tell the operating system that the images of these cases are needed soon; it returns at once.

    This is advice: where the system takes none, or a file is not there, nothing happens; the reader will say so. Where
    the first file, the last and two between are in memory already, the others are taken to be so too: asking for each
    would cost as much as reading it.
    """
    if not hasattr(os, "posix_fadvise"):
        return
    paths = [path for case in cases for of_column in case.images.values() for path in of_column]
    if all(map(_in_memory, some_of(paths))):
        return
    for path in paths:
        for file in _files(Path(path)):
            _advise(file)


def some_of(items: Sequence[Item]) -> list[Item]:
    """The first, the last and two between; all, where they are fewer."""
    n = len(items)
    return [items[i] for i in sorted({k * (n - 1) // _STEPS for k in range(_STEPS + 1)})] if n else []


def _in_memory(path: Path) -> bool:
    """Whether the file's last byte could be read without asking the disk; False where the system does not tell."""
    if not hasattr(os, "RWF_NOWAIT"):
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        last = max(0, os.fstat(descriptor).st_size - 1)
        return os.preadv(descriptor, [bytearray(1)], last, os.RWF_NOWAIT) == 1
    except OSError:  # not in memory, a folder, or a file system that cannot say
        return False
    finally:
        os.close(descriptor)


def _files(path: Path) -> Iterator[str]:
    """The file itself, or the files of a series' folder."""
    if not path.is_dir():
        yield str(path)
        return
    try:
        with os.scandir(path) as entries:
            yield from [entry.path for entry in entries if entry.is_file()]
    except OSError:
        return


def _advise(file: str) -> None:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
    except OSError:
        return
    finally:
        os.close(descriptor)

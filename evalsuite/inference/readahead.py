"""Asking the disk for image files before their turn comes, so that a decoder finds them in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalsuite.testset.types import Case


def read_ahead(cases: Sequence[Case]) -> None:
    """Tell the operating system that the images of these cases are needed soon; it returns at once.

    This is advice: where the system takes none, or a file is not there, nothing happens; the reader will say so.
    """
    if not hasattr(os, "posix_fadvise"):
        return
    for case in cases:
        for paths in case.images.values():
            for path in paths:
                for file in _files(Path(path)):
                    _advise(file)


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

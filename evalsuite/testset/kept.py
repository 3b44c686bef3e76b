"""What one command made of a set's files last, so that opening the set again does not make it again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Last(Generic[Made]):
    """What was made last, `most` of them, each by the digest of what it was made from.

    One command opens its set several times, and a table of many cases takes longer to parse than to hash: the files are
    compared with the lock anew at every opening, and what follows from the same bytes is not made again. What was
    encrypted must not be kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[tuple[str, ...], Made] = {}
        self._mutex = threading.Lock()

    def get(self, *key: str, make: Callable[[], Made]) -> Made:
        """What `make` made of this, now or before."""
        with self._mutex:
            found = self._kept.pop(key, None)
        if found is None:
            found = make()
        with self._mutex:
            self._kept[key] = found
            while len(self._kept) > self._most:
                del self._kept[next(iter(self._kept))]
        return found

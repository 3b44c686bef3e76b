"""Libraries warn while they load a package; those warnings are theirs, and the report's notes say what matters."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_warnings() -> Iterator[None]:
    """Ignore Python warnings inside the block. Packages load in the main thread, before decoder threads start."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

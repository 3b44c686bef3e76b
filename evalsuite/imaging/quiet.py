"""Readers warn about odd headers and quote their values: here their messages are counted and kept out of all output."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

_LOGGERS = ("pydicom", "nibabel", "nibabel.global", "tifffile")  # a filter is not inherited by the loggers below
_lock = threading.Lock()
_entered = 0
_saved: Any = None
_thread = threading.local()


@contextmanager
def counted_warnings() -> Iterator[list[int]]:
    """Swallow the warnings raised in this thread inside the block; yields a list whose one element counts them.

    `warnings.catch_warnings` restores the filters of whoever entered last, which goes wrong with several decoder
    threads: the filters are therefore changed by the first thread in and put back by the last one out. Another thread's
    warnings still reach whoever showed them before.
    """
    global _entered, _saved
    count = [0]
    outer = getattr(_thread, "count", None)
    with _lock:
        if _entered == 0:
            # somebody's `catch_warnings` may have put our own function back after we had left
            shown = _saved[1] if warnings.showwarning is _show and _saved is not None else warnings.showwarning
            _saved = (warnings.filters[:], shown)
            for name in _LOGGERS:
                logging.getLogger(name).addFilter(_refuse_record)
            warnings.simplefilter("always")
            warnings.showwarning = _show
        _entered += 1
    _thread.count = count
    try:
        yield count
    finally:
        _thread.count = outer
        with _lock:
            _entered -= 1
            if _entered == 0 and _saved is not None:
                filters, warnings.showwarning = _saved
                cast(list[Any], warnings.filters)[:] = filters
                warnings._filters_mutated()  # type: ignore[attr-defined]
                for name in _LOGGERS:
                    logging.getLogger(name).removeFilter(_refuse_record)


def _refuse_record(record: logging.LogRecord) -> bool:
    return False


def _show(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
    count = getattr(_thread, "count", None)
    if count is not None:
        count[0] += 1
    elif _saved is not None:
        _saved[1](message, category, filename, lineno, file, line)

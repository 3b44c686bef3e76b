"""Ctrl-C asks the run to stop after the batch in hand; a second Ctrl-C stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """A function that says whether the user asked to stop (SIGINT or SIGTERM). Main thread only."""
    asked = threading.Event()

    def on_signal(signum: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {s: signal.signal(s, on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
        if asked.is_set():
            raise KeyboardInterrupt
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)

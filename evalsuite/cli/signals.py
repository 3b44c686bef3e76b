"""Ctrl-C asks the run to stop after the batch in hand; a second Ctrl-C stops at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """A function that says whether the user asked to stop (SIGINT or SIGTERM), or has gone (SIGHUP). Main thread only.

    Under `nohup`, or wherever else SIGHUP is ignored, it stays ignored.
    """
    asked = threading.Event()
    shown = [stream.fileno() for stream in (sys.stdout, sys.stderr) if stream.isatty()]

    def on_signal(signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGHUP:
            _close_terminal(shown)
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    heeded = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        heeded.append(signal.SIGHUP)
    before = {s: signal.signal(s, on_signal) for s in heeded}
    try:
        yield asked.is_set
        if asked.is_set():
            raise KeyboardInterrupt
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)


def _close_terminal(shown: list[int]) -> None:
    """Let go of a terminal that is gone: an error of writing to it would end the run otherwise than asked."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in shown:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)

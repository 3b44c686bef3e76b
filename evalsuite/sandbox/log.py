"""What a sandboxed program prints: read without end so that it never blocks, kept up to a limit, made printable."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import IO

from evalsuite.record.files import atomic_write
from evalsuite.sandbox.text import clean_lines

_CHUNK = 2**16


class OutputLog:
    """The first `limit` bytes of a stream, read by a thread of its own until the stream ends."""

    def __init__(self, stream: IO[bytes], *, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._kept = bytearray()
        self._n_bytes = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, name="sandbox-log", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._stream:
            while chunk := self._stream.read1(_CHUNK):  # type: ignore[attr-defined]
                with self._lock:
                    self._n_bytes += len(chunk)
                    self._kept += chunk[: self._limit - len(self._kept)]

    def finish(self, timeout_s: float) -> None:
        """Wait until the stream has ended, at most `timeout_s`."""
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    @property
    def text(self) -> str:
        """What was kept, printable, with a last line that says how much was thrown away."""
        with self._lock:
            kept, n_bytes = bytes(self._kept), self._n_bytes
        text = clean_lines(kept.decode("utf-8", errors="replace"))
        left = n_bytes - len(kept)
        return text + (f"[{left} further bytes were not kept]\n" if left else "")

    def last_line(self) -> str:
        """The last line that says something, "" where there is none."""
        return next((line for line in reversed(self.text.splitlines()) if line.strip()), "")

    def write(self, path: Path) -> None:
        """Keep it as a file, where there is anything to keep."""
        text = self.text
        if text:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, text.encode())

"""How long a ledger of a million entries takes to verify and to append to: seconds, and the memory it needs.

    python benchmarks/ledger.py [--entries 1000000]

`verify` is what `evalsuite verify ledger.jsonl` does: numbering, links, the digest and form of every line, and the
signed head. `read` also builds the entries in memory; the first append of a process does that too, the next ones only
hash the file. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from evalsuite.record import ledger
from evalsuite.record.envelope import envelope_path
from evalsuite.record.files import atomic_write
from evalsuite.record.signed_head import sign_head
from evalsuite.record.signing import load_signer, write_key_pair
from evalsuite.spine import verify

UTC = "2026-01-01T00:00:00.000Z"


def make(path: Path, n: int) -> ledger.Entry:
    """Write a ledger of `n` entries as runs leave them; returns the last."""
    head = ledger.LedgerHead(count=0, digest=ledger.FIRST_PREV)
    with open(path, "wb") as file:
        for i in range(n):
            objects = {"run": f"{i:016x}", "protocol": "a" * 64, "testset": "b" * 64, "model": "c" * 64, "n": str(i)}
            draft = ledger.Draft(
                action="run_started", actor="operator", role="operator", utc=UTC, reason="evaluation", objects=objects
            )
            entry = ledger.next_entry(head, draft)
            file.write(ledger.line_of(entry))
            head = ledger.LedgerHead(count=entry.seq, digest=entry.digest)
    return entry


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of one call."""
    wall, own = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    n = parser.parse_args().entries
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.jsonl"
        last = make(path, n)
        write_key_pair(Path(folder) / "key")
        atomic_write(envelope_path(path), sign_head(last, load_signer(Path(folder) / "key")))
        print("# A long ledger\n\n```")
        print(f"{n:,} entries, {path.stat().st_size / 1e6:.0f} MB, load average {os.getloadavg()[0]:.0f}\n")
        print(f"{'':<28}{'wall s':>8}{'CPU s':>8}{'peak MB':>9}")

        def append() -> None:
            entry = ledger.append(
                path, action="x", actor="operator", role="operator", utc=UTC, reason="timing", objects={}
            )
            assert entry.seq > n

        for title, work in (
            ("verify, signed head", lambda: verify(path)),
            ("read", lambda: ledger.read(path)),
            ("append, first", append),
            ("append, second", append),
        ):
            wall, own = seconds(work)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
            print(f"{title:<28}{wall:>8.1f}{own:>8.1f}{peak:>9.0f}")
        print("```")


if __name__ == "__main__":
    main()

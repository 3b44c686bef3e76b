"""The replicates of a draw, a block at a time, over as many threads as pay: results never depend on how many."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from evalsuite.stats import draw as drawing

Counts = npt.NDArray[np.integer[Any]]
"""How often each patient is drawn; int32, or uint8 from `compact`."""

MOST_THREADS = 8
SMALL_WORK = 10_000_000
"""Cases times replicates below which threads cost more than they save (some 20 ms of work)."""


def each_block(
    draw: drawing.PatientDraw,
    work: Callable[[slice, Counts], None],
    *,
    cases: int,
    threads: int | None = None,
) -> None:
    """Call `work(part, counts)` for every block of replicates, `counts (part, patients)`, possibly at the same time.

    Parameters
    ----------
    cases
        Cases that one replicate visits, over all strata: a small study is not worth a second thread.
    threads
        None: as many as there are processors, `OMP_NUM_THREADS` or `MOST_THREADS`, whichever is least.
    """
    small = draw.replicates * cases < SMALL_WORK
    workers = max(1, threads) if threads is not None else 1 if small else usable_threads()
    # Blocks of all threads together stay within the budget; enough of them that every thread has some.
    size = max(1, drawing.BLOCK_BYTES // workers // max(1, 4 * draw.n_patients))
    spans = list(draw.spans(size=min(size, draw.replicates if workers == 1 else -(-draw.replicates // (4 * workers)))))

    def one(span: tuple[int, int]) -> None:
        work(slice(*span), compact(draw.counts(*span)))

    if workers == 1 or len(spans) == 1:
        for span in spans:
            one(span)
        return
    with ThreadPoolExecutor(min(workers, len(spans))) as pool:
        list(pool.map(one, spans))


def usable_threads() -> int:
    """Threads to use where nobody says: see `each_block`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    wished = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    limit = int(wished) if wished.isdigit() and int(wished) > 0 else cores
    return min(MOST_THREADS, cores, limit)


def compact(counts: npt.NDArray[np.int32]) -> Counts:
    """The same counts in one byte each, where they fit: a replicate's counts then stay in the processor's cache."""
    return counts.astype(np.uint8) if counts.max(initial=0) < 256 else counts

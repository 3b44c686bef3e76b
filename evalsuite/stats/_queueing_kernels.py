"""The inner loop of a simulated reading room, compiled: images arrive, are read by class, and are done.

Importing this module loads Numba; see `_kernels`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from evalsuite.stats._kernels import _compiled

Values = npt.NDArray[Any]
"""float64."""
Index = npt.NDArray[Any]
"""int64."""


@_compiled
def read_all(arrival: Values, minutes: Values, rank: Index, readers: int, interrupt: bool, done: Values) -> None:
    """Fill `done (n,)` with the time at which the reading of each image ends.

    Images `(n,)` are in the order of arrival; `rank` 0 is read first, within a rank in the order of arrival. With
    `interrupt` an arriving image takes the reader of the lowest rank (there the last to arrive), whose image goes on
    later where it was left, before all that wait in its rank.
    """
    n = arrival.size
    ranks = rank.max() + 1
    queue = np.empty((ranks, n), np.int64)
    head, tail = np.zeros(ranks, np.int64), np.zeros(ranks, np.int64)
    back = np.empty((ranks, readers * 2 + 2), np.int64)
    n_back = np.zeros(ranks, np.int64)
    left = minutes.copy()
    job, began = np.full(readers, -1, np.int64), np.zeros(readers)
    coming, busy, now = 0, 0, 0.0
    while coming < n or busy > 0:
        first, ending = -1, np.inf
        for s in range(readers):
            if job[s] >= 0 and began[s] + left[job[s]] < ending:
                first, ending = s, began[s] + left[job[s]]
        if coming < n and arrival[coming] < ending:
            now = arrival[coming]
            own = rank[coming]
            queue[own, tail[own]] = coming
            tail[own] += 1
            coming += 1
            if interrupt and busy == readers:
                lowest = 0
                for s in range(1, readers):
                    later = rank[job[s]] == rank[job[lowest]] and job[s] > job[lowest]
                    if rank[job[s]] > rank[job[lowest]] or later:
                        lowest = s
                one = job[lowest]
                if rank[one] > own:
                    left[one] -= now - began[lowest]
                    back[rank[one], n_back[rank[one]]] = one
                    n_back[rank[one]] += 1
                    job[lowest] = -1
                    busy -= 1
        else:
            now = ending
            done[job[first]] = now
            job[first] = -1
            busy -= 1
        while busy < readers:
            one = -1
            for k in range(ranks):
                if n_back[k] > 0:
                    n_back[k] -= 1
                    one = back[k, n_back[k]]
                    break
                if head[k] < tail[k]:
                    one = queue[k, head[k]]
                    head[k] += 1
                    break
            if one < 0:
                break
            for s in range(readers):
                if job[s] < 0:
                    job[s], began[s] = one, now
                    break
            busy += 1

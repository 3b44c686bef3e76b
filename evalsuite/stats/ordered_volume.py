"""How often a device puts one case of each grade in order, for any number of grades: the volume under the ROC manifold.

Ties of a run of grades count one over the number of their orders: 1/2 of two, 1/6 of three. The volume is a sum over
runs of tied grades, built up over the distinct scores from the lowest: no tuple of cases is ever formed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def volume(shares: Floats) -> Floats:
    """`(r,)` chance of the right order.

    Parameters
    ----------
    shares
        `(m, k, r)` share of each of k grades at each of m distinct scores, from the lowest, in each of r samples; they
        sum to 1 over m.
    """
    *_, last = _below(shares)
    return last[-1]


def components(scores: Sequence[Floats]) -> list[Floats]:
    """Per grade and case the chance that it is in order with one case of every other grade; each mean is the volume.

    Parameters
    ----------
    scores
        Of the cases of each grade, from the lowest grade, none empty.
    """
    k = len(scores)
    distinct, inverse = np.unique(np.concatenate(list(scores)), return_inverse=True)
    ends = np.cumsum([0, *(s.size for s in scores)])
    place = [inverse.reshape(-1)[ends[j] : ends[j + 1]] for j in range(k)]
    shares = np.stack([np.bincount(p, minlength=distinct.size) / p.size for p in place], axis=1)[:, :, None]
    below = list(_below(shares))
    # From above it is the same sum with grades and scores reversed.
    above = list(_below(shares[::-1, ::-1]))
    found = []
    for j in range(k):
        at_score = np.zeros(distinct.size)
        for first in range(j + 1):
            for last in range(j, k):
                others = [shares[:, i, 0] for i in range(first, last + 1) if i != j]
                tied = np.prod(others, axis=0) if others else np.ones(distinct.size)
                under = np.array([below[v][first][0] for v in range(distinct.size)])
                over = np.array([above[distinct.size - 1 - v][k - 1 - last][0] for v in range(distinct.size)])
                at_score += under * tied * over / math.factorial(last - first + 1)
        found.append(at_score[place[j]])
    return found


def _below(shares: Floats) -> Iterator[list[Floats]]:
    """Before each distinct score, and after the last: chance that the first 0, 1, … k grades are in order below it."""
    m, k, r = shares.shape
    state = [np.ones(r), *(np.zeros(r) for _ in range(k))]
    yield state
    for v in range(m):
        after = list(state)
        for j in range(1, k + 1):
            run = np.ones(r)
            for length in range(1, j + 1):
                run = run * shares[v, j - length]
                after[j] = after[j] + state[j - length] * run / math.factorial(length)
        state = after
        yield state

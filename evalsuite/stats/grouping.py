"""Groups of alike feature vectors (k-means): fitted on some cases, given to all; the same for the same numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
_ROUNDS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Centres `(k, d)` of standardised features, the largest group first, and the location and scale of each feature.

    `k` may be smaller than was asked where the cases have fewer distinct vectors.
    """

    centres: Floats
    location: Floats
    scale: Floats

    def of(self, features: ArrayLike) -> NDArray[np.int64]:
        """(n,) index of the nearest centre; −1 where a feature is not finite."""
        x = np.asarray(features, dtype=np.float64)
        there = np.isfinite(x).all(axis=1)
        index = np.full(len(x), -1, dtype=np.int64)
        if there.any():
            index[there] = _nearest((x[there] - self.location) / self.scale, self.centres)[0]
        return index


def fit_groups(features: ArrayLike, k: int, *, seed: int) -> Groups:
    """At most `k` groups of the rows (n, d) of `features`, each feature with mean 0 and standard deviation 1.

    Lloyd's algorithm from k-means++ starts drawn with `seed`, until no case changes its group or after 100 rounds.
    Rows with a feature that is not finite take no part.

    Raises
    ------
    ValueError
        If `features` is not two-dimensional, no row is finite, or `k` is below 1.

    References
    ----------
    Arthur & Vassilvitskii, Proc SODA 2007, 1027-1035.
    """
    x = np.asarray(features, dtype=np.float64)
    if x.ndim != 2 or k < 1:
        raise ValueError(f"features are (cases, numbers) and k at least 1, got {x.shape} and {k}")
    x = x[np.isfinite(x).all(axis=1)]
    if not len(x):
        raise ValueError("no case has finite features")
    location = x.mean(axis=0)
    scale = x.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    z = (x - location) / scale
    centres = _starts(z, k, np.random.Generator(np.random.PCG64DXSM(seed)))
    index = np.full(len(z), -1, dtype=np.int64)
    for _ in range(_ROUNDS):
        found, _ = _nearest(z, centres)
        if (found == index).all():
            break
        index = found
        # A group that lost all its cases keeps its place.
        centres = np.array([z[index == g].mean(axis=0) if (index == g).any() else c for g, c in enumerate(centres)])
    sizes = np.bincount(index, minlength=len(centres))
    order = np.argsort(-sizes, kind="stable")
    return Groups(centres=centres[order[sizes[order] > 0]], location=location, scale=scale)


def _starts(z: Floats, k: int, rng: np.random.Generator) -> Floats:
    chosen = [int(rng.integers(len(z)))]
    away = ((z - z[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < k and away.max() > 0:
        reach = np.cumsum(away)
        chosen.append(min(int(np.searchsorted(reach, rng.random() * reach[-1], side="right")), len(z) - 1))
        away = np.minimum(away, ((z - z[chosen[-1]]) ** 2).sum(axis=1))
    return z[chosen]


def _nearest(z: Floats, centres: Floats) -> tuple[NDArray[np.int64], Floats]:
    best = np.zeros(len(z), dtype=np.int64)
    least = np.full(len(z), np.inf)
    for g, centre in enumerate(centres):
        far = ((z - centre) ** 2).sum(axis=1)
        closer = far < least
        best[closer], least[closer] = g, far[closer]
    return best, least

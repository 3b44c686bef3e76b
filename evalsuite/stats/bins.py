"""Probabilities sorted into bins, equally wide or equally full, for calibration errors and the reliability curve."""

from __future__ import annotations

from typing import Literal

import numpy as np

from evalsuite.stats._binary_inputs import FloatArray, IntArray

BinScheme = Literal["equal_width", "equal_mass"]


def bin_edges(probability: FloatArray, *, bins: int, scheme: BinScheme) -> FloatArray:
    """Inner edges of the bins, rising; equal-mass edges are quantiles (Hyndman-Fan type 7), duplicates merged."""
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    if scheme == "equal_width":
        # k / bins, the nearest float to each decimal edge: 0.3 falls where 3 / 10 falls.
        return np.arange(1, bins) / bins
    if scheme == "equal_mass":
        if probability.size == 0:
            return np.zeros(0)
        return np.unique(np.quantile(probability, np.arange(1, bins) / bins))
    raise ValueError(f"scheme is equal_width or equal_mass, got {scheme!r}")


def bin_index(probability: FloatArray, *, bins: int, scheme: BinScheme = "equal_width") -> IntArray:
    """Bin of each probability, 0 … bins − 1; a value on an edge belongs to the bin below it, as in `(0.1, 0.2]`.

    0 belongs to the first bin. Equal probabilities always share a bin, so equal-mass bins may be unequal under ties.
    """
    edges = bin_edges(probability, bins=bins, scheme=scheme)
    return np.searchsorted(edges, probability, side="left").astype(np.int64)

"""One reproducible resampling of patients, shared by every metric, stratum and difference of an evaluation."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, localcontext

import numpy as np
import numpy.typing as npt

BLOCK_BYTES = 8_000_000
"""Counts held at once by one block of replicates; results do not depend on it."""
KEPT_BYTES = 16_000_000
"""Counts kept for the next metric that asks for the same replicates (2,000 of 2,000 patients)."""

_BITS = 80
"""Precision of the Poisson thresholds: 16 bits looked up, 64 more where those leave the count open."""


def _thresholds() -> tuple[int, ...]:
    """Cumulative Poisson(1) probabilities times 2^80, until they round to 1."""
    with localcontext() as context:
        context.prec = 60
        term = cumulative = Decimal(-1).exp()
        out = []
        k = 0
        while (scaled := int(cumulative * 2**_BITS)) < 2**_BITS - 1:
            out.append(scaled)
            k += 1
            term /= k
            cumulative += term
    return tuple(out)


_POISSON = _thresholds()
_OPEN = -1


def _lookup() -> npt.NDArray[np.int8]:
    """Poisson(1) count for each leading 16 bits of a uniform number; `_OPEN` where a threshold lies inside the cell."""
    edges = [cell << (_BITS - 16) for cell in range(2**16 + 1)]
    at = [bisect_right(_POISSON, edge) for edge in edges[:-1]]
    end = [bisect_right(_POISSON, edge - 1) for edge in edges[1:]]
    return np.array([a if a == b else _OPEN for a, b in zip(at, end, strict=True)], dtype=np.int8)


_TABLE = _lookup()
_THRESHOLD_HIGH = np.array([t >> 64 for t in _POISSON], dtype=np.uint64)
_THRESHOLD_LOW = np.array([t & (2**64 - 1) for t in _POISSON], dtype=np.uint64)


@dataclass(frozen=True, slots=True, eq=False)
class PatientDraw:
    """How often each patient is drawn in each bootstrap replicate: multinomial counts, the same for all that ask.

    Replicate `r` has its own stream, `SeedSequence(seed, spawn_key=(r,))` into PCG64DXSM, so its counts depend on the
    seed, the number of patients and `r` alone: not on block size, threads, metrics or the order of requests, and the
    first 1,000 of 2,000 replicates are the same as 1,000 replicates.

    Parameters
    ----------
    cluster
        `(n,)` patient of each case, any integers (or text). Patients are numbered in sorted order.
    replicates
        Number of bootstrap replicates, at least 1.
    seed
        Non-negative integer.
    stratify
        Optional `(n,)` labels; patients are drawn within groups of patients that carry the same set of labels (pass
        the reference to keep the number of patients with and without positives fixed, as pROC does).

    Raises
    ------
    ValueError
        If `cluster` is not one-dimensional, is NaN somewhere, or `replicates` or `seed` is out of range.
    """

    cluster: npt.ArrayLike
    replicates: int
    seed: int
    stratify: npt.ArrayLike | None = None
    patient: npt.NDArray[np.int64] = field(init=False, repr=False, compare=False)
    n_patients: int = field(init=False)
    groups: tuple[npt.NDArray[np.int64], ...] = field(init=False, repr=False, compare=False)
    kept: dict[tuple[int, int], npt.NDArray[np.int32]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        cluster = np.asarray(self.cluster)
        if cluster.ndim != 1:
            raise ValueError(f"cluster must be one-dimensional, got shape {cluster.shape}")
        if cluster.dtype.kind == "f" and bool(np.isnan(cluster).any()):
            raise ValueError("cluster holds NaN; every case needs a patient")
        if self.replicates < 1:
            raise ValueError(f"replicates must be at least 1, got {self.replicates}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        names, codes = np.unique(cluster, return_inverse=True)
        codes = codes.reshape(-1).astype(np.int64)
        object.__setattr__(self, "cluster", cluster)
        object.__setattr__(self, "patient", codes)
        object.__setattr__(self, "n_patients", int(names.size))
        object.__setattr__(self, "kept", {})
        object.__setattr__(self, "groups", self._groups(codes, int(names.size)))

    def _groups(self, codes: npt.NDArray[np.int64], patients: int) -> tuple[npt.NDArray[np.int64], ...]:
        if self.stratify is None:
            return (np.arange(patients, dtype=np.int64),)
        labels = np.asarray(self.stratify)
        if labels.shape != codes.shape:
            raise ValueError(f"stratify must have shape {codes.shape} like cluster, got {labels.shape}")
        label = np.unique(labels, return_inverse=True)[1].reshape(-1)
        kinds = int(label.max(initial=0)) + 1
        who, what = np.divmod(np.unique(codes * kinds + label), kinds)
        # Nearly every patient has one label: those are taken together, the others one by one.
        alone = np.bincount(who, minlength=patients)[who] == 1
        members: dict[tuple[int, ...], npt.NDArray[np.int64]]
        members = {(int(one),): who[alone & (what == one)] for one in np.unique(what[alone])}
        sets: dict[int, list[int]] = {}
        for patient, carried in zip(who[~alone].tolist(), what[~alone].tolist(), strict=True):
            sets.setdefault(patient, []).append(carried)
        several: dict[tuple[int, ...], list[int]] = {}
        for patient, carried_all in sets.items():
            several.setdefault(tuple(carried_all), []).append(patient)
        members |= {key: np.asarray(found, dtype=np.int64) for key, found in several.items()}
        return tuple(members[key] for key in sorted(members))

    @property
    def stratified(self) -> bool:
        """Whether patients were drawn within groups."""
        return self.stratify is not None

    @property
    def n(self) -> int:
        """Number of cases."""
        return int(self.patient.size)

    def counts(self, start: int, stop: int) -> npt.NDArray[np.int32]:
        """`(stop - start, patients)`: how often each patient is drawn in replicates `start … stop - 1`; read-only."""
        if (start, stop) in self.kept:
            return self.kept[start, stop]
        block = self._drawn(start, stop)
        block.flags.writeable = False
        # All or nothing: a part of a large draw would save little and cost as much memory.
        whole = 4 * self.replicates * self.n_patients
        if whole <= KEPT_BYTES and sum(b.nbytes for b in list(self.kept.values())) + block.nbytes <= KEPT_BYTES:
            self.kept[start, stop] = block
        return block

    def _drawn(self, start: int, stop: int) -> npt.NDArray[np.int32]:
        from evalsuite.stats import _kernels

        block = np.empty((stop - start, self.n_patients), dtype=np.int32)
        if self.n_patients:
            _kernels.draw_counts(
                seed_words(self.seed),
                start,
                np.concatenate(self.groups),
                np.cumsum([0, *(group.size for group in self.groups)]),
                _TABLE,
                _THRESHOLD_HIGH,
                _THRESHOLD_LOW,
                block,
            )
        return block

    def spans(self, *, size: int | None = None) -> Iterator[tuple[int, int]]:
        """Ranges of replicates that keep a block of counts within `BLOCK_BYTES`."""
        step = size or max(1, min(self.replicates, BLOCK_BYTES // max(1, 4 * self.n_patients)))
        for start in range(0, self.replicates, step):
            yield start, min(start + step, self.replicates)

    def blocks(self, *, size: int | None = None) -> Iterator[tuple[int, npt.NDArray[np.int32]]]:
        """First replicate and counts of each block."""
        for start, stop in self.spans(size=size):
            yield start, self.counts(start, stop)


def seed_words(seed: int) -> npt.NDArray[np.uint64]:
    """The seed in 32-bit words, least first, at least four; and one for the replicate, set where it is drawn."""
    words = [seed >> shift & 0xFFFFFFFF for shift in range(0, max(1, seed.bit_length()), 32)]
    return np.array([*words, *([0] * (4 - len(words))), 0], dtype=np.uint64)


def without_each(n_patients: int, *, rows: int | None = None) -> Iterator[npt.NDArray[np.int64]]:
    """Counts `(some, n_patients)` that leave each patient out in turn, as the jackknife does, a block at a time."""
    rows = rows or max(1, BLOCK_BYTES // max(1, 8 * n_patients))
    for start in range(0, n_patients, rows):
        left_out = np.arange(start, min(start + rows, n_patients))
        counts = np.ones((left_out.size, n_patients), dtype=np.int64)
        counts[np.arange(left_out.size), left_out] = 0
        yield counts

"""One reproducible resampling of patients, shared by every metric, stratum and difference of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

BLOCK_BYTES = 8_000_000
"""Counts held at once by one block of replicates; results do not depend on it."""

_LOW_HALF = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


class _Sampler:
    """`size` uniform draws from `0 … size - 1` (Lemire's multiply-shift with rejection: exactly uniform).

    Two draws per 64-bit number and buffers kept between replicates: twice as fast as `Generator.integers` here, where
    fresh memory for every replicate costs more than the numbers themselves.
    """

    def __init__(self, size: int) -> None:
        if size >= 2**32:
            raise ValueError("more than 2^32 patients")
        self.size = size
        self.half = -(-size // 2)
        self.product = np.empty(2 * self.half, dtype=np.uint64)
        self.low = np.empty(2 * self.half, dtype=np.uint64)
        self.rejected = np.empty(2 * self.half, dtype=np.bool_)

    def draw(self, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Indices; the array is overwritten by the next call."""
        bits = generator.integers(0, 2**64, self.half, dtype=np.uint64)
        np.right_shift(bits, _HALF, out=self.product[: self.half])
        np.bitwise_and(bits, _LOW_HALF, out=self.product[self.half :])
        np.multiply(self.product, np.uint64(self.size), out=self.product)
        np.bitwise_and(self.product, _LOW_HALF, out=self.low)
        np.less(self.low, np.uint64(2**32 % self.size), out=self.rejected)
        np.right_shift(self.product, _HALF, out=self.product)
        index = self.product.view(np.int64)[: self.size]
        again = np.flatnonzero(self.rejected[: self.size])
        if again.size:
            index[again] = generator.integers(0, self.size, again.size)
        return index


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
        object.__setattr__(self, "groups", self._groups(codes, int(names.size)))

    def _groups(self, codes: npt.NDArray[np.int64], patients: int) -> tuple[npt.NDArray[np.int64], ...]:
        if self.stratify is None:
            return (np.arange(patients, dtype=np.int64),)
        labels = np.asarray(self.stratify)
        if labels.shape != codes.shape:
            raise ValueError(f"stratify must have shape {codes.shape} like cluster, got {labels.shape}")
        label = np.unique(labels, return_inverse=True)[1].reshape(-1)
        pairs = np.unique(np.stack([codes, label], axis=1), axis=0)
        sets: dict[int, list[int]] = {}
        for who, what in pairs.tolist():
            sets.setdefault(who, []).append(what)
        members: dict[tuple[int, ...], list[int]] = {}
        for who, carried in sets.items():
            members.setdefault(tuple(carried), []).append(who)
        return tuple(np.asarray(members[key], dtype=np.int64) for key in sorted(members))

    @property
    def n(self) -> int:
        """Number of cases."""
        return int(self.patient.size)

    def counts(self, start: int, stop: int) -> npt.NDArray[np.int32]:
        """`(stop - start, patients)`: how often each patient is drawn in replicates `start … stop - 1`."""
        block = np.empty((stop - start, self.n_patients), dtype=np.int32)
        if self.n_patients == 0:
            return block
        samplers = [_Sampler(int(group.size)) for group in self.groups]
        for row, replicate in enumerate(range(start, stop)):
            sequence = np.random.SeedSequence(self.seed, spawn_key=(replicate,))
            generator = np.random.Generator(np.random.PCG64DXSM(sequence))
            for group, sampler in zip(self.groups, samplers, strict=True):
                drawn = np.bincount(sampler.draw(generator), minlength=group.size)
                if group.size == self.n_patients:
                    block[row] = drawn
                else:
                    block[row, group] = drawn
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

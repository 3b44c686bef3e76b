"""Whether embeddings of a window come from where the baseline's came from: maximum mean discrepancy by permutation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalsuite.stats.distribution_shift import CERTAIN, ENOUGH_EXCEEDED

Singles = NDArray[np.float32]
Flags = NDArray[np.bool_]
#: Rows of the kernel that are held at once: memory grows with cases, not with their square.
_ROWS = 1024
#: Cases of which the median distance is taken.
_SAMPLE = 1000
#: Columns of memberships that one product has: memory grows by a byte a case and permutation.
_COLUMNS = 512
#: Permutations after which it is asked whether more are needed.
STAGES = (200, 2000)
#: Cases of either side that are compared at most; the kernel costs their square.
MOST_CASES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrepancy:
    """Unbiased squared maximum mean discrepancy, and its permutation p-value (b + 1) / (B + 1), or b / made where it
    stopped early. `permutations` is how many were made.

    Negative values are possible and mean that the two sides are as alike as two halves of one. `bandwidth` is the σ of
    the Gaussian kernel exp(−d² / 2σ²).
    """

    mmd2: float
    p_value: float
    permutations: int
    exceeded: int
    bandwidth: float
    n_baseline: int
    n_window: int


def median_distance(embeddings: ArrayLike, *, seed: int = 0) -> float:
    """The median distance between cases of the baseline: the kernel's bandwidth, frozen with the baseline.

    `embeddings` has shape (cases, features); of more than 1,000 cases a seeded sample is taken. 1 where all are alike.
    """
    x = _checked(embeddings)
    if x.shape[0] > _SAMPLE:
        x = x[np.random.default_rng(seed).permutation(x.shape[0])[:_SAMPLE]]
    squared = _squared(x.astype(np.float64), x.astype(np.float64))[np.triu_indices(x.shape[0], 1)]
    middle = float(np.sqrt(np.median(squared))) if squared.size else 0.0
    return middle or 1.0


def mmd_test(
    baseline: ArrayLike,
    window: ArrayLike,
    *,
    bandwidth: float,
    permutations: int,
    seed: int,
    baseline_patients: Sequence[str] | None = None,
    window_patients: Sequence[str] | None = None,
) -> Discrepancy:
    """Compare two sets of embeddings.

    Parameters
    ----------
    baseline, window
        Shapes (n, features) and (m, features), at least two cases each, at most `MOST_CASES`.
    bandwidth
        σ, from :func:`median_distance` of the baseline.
    permutations
        Ten times the inverse of the smallest level the p-value is compared with, or it can never fall below.
    baseline_patients, window_patients
        Whose cases they are: patients are permuted with all their cases. Absent, every case is a patient.

    The kernel is computed in blocks of rows, and many permutations are one matrix product with it. Single precision:
    about 1e-7 of the kernel's mean. After 200 and after 2,000 permutations no more are made where `ENOUGH_EXCEEDED` of
    them were as extreme (Besag and Clifford 1991), or where chance shows such a discrepancy less than once in 10⁹
    windows (then the p-value is the smallest that all of them could give). Source: Gretton et al., A kernel two-sample
    test, JMLR 13:723-773 (2012).

    Raises
    ------
    ValueError
        For shapes that do not fit, values that are not finite, too few or too many cases, or a bandwidth not positive.
    """
    x, y = _checked(baseline), _checked(window)
    n, m = x.shape[0], y.shape[0]
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"baseline has {x.shape[1]} features and window {y.shape[1]}")
    if min(n, m) < 2 or max(n, m) > MOST_CASES:
        raise ValueError(f"each side has 2 to {MOST_CASES} cases, got {n} and {m}: take a sample of more")
    if not bandwidth > 0 or permutations < 1:
        raise ValueError("the bandwidth is positive, and there is at least one permutation")
    pooled = np.concatenate([x, y])
    drawn = _Memberships(n, m, baseline_patients, window_patients, seed)
    kernel = _Kernel(pooled, bandwidth)
    values = np.zeros(0)
    made = 0
    for stage in (*(s for s in STAGES if s < permutations), permutations):
        member = drawn.next(stage - made, first=made == 0)
        values = np.append(values, kernel.discrepancies(member))
        made = stage
        if int((values[1:] >= values[0] - kernel.tolerance).sum()) >= ENOUGH_EXCEEDED:
            break
        if drawn.each_alone and kernel.tail_bound(float(values[0]), n, m) <= CERTAIN:
            break
    beyond = np.flatnonzero(values[1:] >= values[0] - kernel.tolerance)
    stopped = made < permutations and beyond.size >= ENOUGH_EXCEEDED
    # Stopped at the twentieth permutation as extreme as what was seen; what its stage made beyond that is not used.
    made = int(beyond[ENOUGH_EXCEEDED - 1]) + 1 if stopped else made
    exceeded = ENOUGH_EXCEEDED if stopped else int(beyond.size)
    return Discrepancy(
        mmd2=float(values[0]),
        p_value=exceeded / made if stopped else (exceeded + 1) / (permutations + 1),
        permutations=made,
        exceeded=exceeded,
        bandwidth=bandwidth,
        n_baseline=n,
        n_window=m,
    )


class _Kernel:
    """The Gaussian kernel of all pairs, made anew in blocks of rows whenever it is asked: its square is never held."""

    def __init__(self, pooled: Singles, bandwidth: float) -> None:
        self._pooled = pooled
        self._scale = np.float32(-0.5 / bandwidth**2)
        self._centre = _centre(pooled, bandwidth)
        self._norms = np.einsum("ij,ij->i", pooled, pooled)
        self.tolerance = 1e-6 * (1.0 - self._centre)

    def discrepancies(self, member: Flags) -> NDArray[np.float64]:
        """Unbiased squared discrepancy of every column of memberships, shape (cases, columns)."""
        n_all, columns = member.shape
        within = np.zeros(columns)
        rows = np.zeros(n_all)
        total = 0.0
        for start in range(0, n_all, _ROWS):
            part, onwards = slice(start, min(start + _ROWS, n_all)), slice(start, n_all)
            # Pairs with earlier rows were in the blocks of those: the kernel is the same both ways round.
            kernel = self._norms[part, None] + self._norms[None, onwards]
            kernel -= 2.0 * (self._pooled[part] @ self._pooled[onwards].T)
            np.maximum(kernel, 0.0, out=kernel)
            kernel *= self._scale
            np.exp(kernel, out=kernel)
            # The discrepancy does not change when a constant is taken from all pairs, and single precision keeps more
            # digits.
            kernel -= np.float32(self._centre)
            height = part.stop - part.start
            np.fill_diagonal(kernel[:, :height], 0.0)
            later = kernel[:, height:]
            rows[part] += kernel.sum(axis=1, dtype=np.float64)
            rows[part.stop :] += later.sum(axis=0, dtype=np.float64)
            later *= 2.0  # each of these pairs stands for both ways round
            total += float(kernel.sum(dtype=np.float64))
            for block in range(0, columns, _COLUMNS):
                here = slice(block, block + _COLUMNS)
                these = member[onwards, here].astype(np.float32)
                within[here] += np.einsum("ij,ij->j", these[:height], kernel @ these, dtype=np.float64)
        summed = [rows @ member[:, b : b + _COLUMNS].astype(np.float64) for b in range(0, columns, _COLUMNS)]
        cross = np.concatenate(summed) - within
        size = member.sum(axis=0, dtype=np.float64)
        rest = n_all - size
        found: NDArray[np.float64] = (
            within / (size * (size - 1))
            + (total - within - 2 * cross) / (rest * (rest - 1))
            - 2 * cross / (size * rest)
        )
        return found

    def tail_bound(self, mmd2: float, n: int, m: int) -> float:
        """No smaller than the chance of such a discrepancy between independent cases of one distribution.

        Gretton et al. (2012), theorem 7, for kernels between 0 and 1. It is of the biased discrepancy, which is never
        below sqrt(mmd2): the unbiased square is the smaller one.
        """
        beyond = float(np.sqrt(max(0.0, mmd2))) - 2.0 * (1.0 / np.sqrt(n) + 1.0 / np.sqrt(m))
        return 1.0 if beyond <= 0.0 else min(1.0, 2.0 * float(np.exp(-(beyond**2) * n * m / (2.0 * (n + m)))))


class _Memberships:
    """1 for a case of the window: as it was, and with patients permuted, in one order whatever the stages."""

    def __init__(
        self,
        n: int,
        m: int,
        baseline_patients: Sequence[str] | None,
        window_patients: Sequence[str] | None,
        seed: int,
    ) -> None:
        first = _codes(baseline_patients, n)
        second = _codes(window_patients, m) + int(first.max()) + 1
        self._patient = np.concatenate([first, second])
        self._is_window = np.arange(int(second.max()) + 1) > int(first.max())
        self._rng = np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(seed)))
        self.each_alone = self._is_window.size == self._patient.size

    def next(self, count: int, *, first: bool) -> Flags:
        """`count` more permutations, shape (cases, count); with the cases as they were in front of the first."""
        out = np.empty((self._patient.size, count + first), dtype=np.bool_)
        if first:
            out[:, 0] = self._is_window[self._patient]
        for b in range(int(first), count + first):
            out[:, b] = self._rng.permutation(self._is_window)[self._patient]
        return out


def _codes(patients: Sequence[str] | None, cases: int) -> NDArray[np.intp]:
    if patients is None:
        return np.arange(cases)
    if len(patients) != cases:
        raise ValueError(f"{cases} cases have {len(patients)} patients named")
    return np.unique(np.asarray(patients, dtype=object).astype(str), return_inverse=True)[1]


def _centre(pooled: Singles, bandwidth: float) -> float:
    """About the kernel's mean."""
    some = pooled[:: max(1, pooled.shape[0] // 200)].astype(np.float64)
    return float(np.exp(-0.5 * _squared(some, some) / bandwidth**2).mean())


def _squared(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    out: NDArray[np.float64] = (x**2).sum(1)[:, None] + (y**2).sum(1)[None, :] - 2.0 * x @ y.T
    return np.maximum(out, 0.0)


def _checked(values: ArrayLike) -> Singles:
    x = np.asarray(values, dtype=np.float32)
    if x.ndim != 2 or x.shape[0] == 0 or not np.isfinite(x).all():
        raise ValueError("embeddings have shape (cases, features), at least one case, and are finite")
    return x

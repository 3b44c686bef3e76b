"""Whether embeddings of a window come from where the baseline's came from: maximum mean discrepancy by permutation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Singles = NDArray[np.float32]
#: Rows of the kernel that are held at once: memory grows with cases, not with their square.
_ROWS = 1024
#: Cases of which the median distance is taken.
_SAMPLE = 1000
#: Cases of either side that are compared at most; the kernel costs their square.
MOST_CASES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrepancy:
    """Unbiased squared maximum mean discrepancy, and its permutation p-value (b + 1) / (B + 1).

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

    The kernel is computed once, in blocks of rows, and all permutations are one matrix product with it. Single
    precision: about 1e-7 of the kernel's mean. Source: Gretton et al., A kernel two-sample test (2012).

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
    member = _memberships(n, m, baseline_patients, window_patients, permutations, seed)
    centre = _centre(pooled, bandwidth)
    within = np.zeros(permutations + 1)
    cross = np.zeros(permutations + 1)
    total = 0.0
    rows = np.empty(n + m)
    norms = np.einsum("ij,ij->i", pooled, pooled)
    for start in range(0, n + m, _ROWS):
        part = slice(start, min(start + _ROWS, n + m))
        kernel = norms[part, None] + norms[None, :] - 2.0 * (pooled[part] @ pooled.T)
        np.maximum(kernel, 0.0, out=kernel)
        kernel *= np.float32(-0.5 / bandwidth**2)
        np.exp(kernel, out=kernel)
        # The discrepancy does not change when a constant is taken from all pairs, and single precision keeps more
        # digits.
        kernel -= np.float32(centre)
        at = np.arange(part.start, part.stop)
        kernel[at - part.start, at] = 0.0
        product = kernel @ member
        within += np.einsum("ij,ij->j", member[part], product, dtype=np.float64)
        rows[part] = kernel.sum(axis=1, dtype=np.float64)
        total += float(rows[part].sum())
    cross = rows @ member.astype(np.float64) - within
    size = member.sum(axis=0, dtype=np.float64)
    rest = n + m - size
    values = (
        within / (size * (size - 1)) + (total - within - 2 * cross) / (rest * (rest - 1)) - 2 * cross / (size * rest)
    )
    observed = float(values[0])
    tolerance = 1e-6 * (1.0 - centre)
    exceeded = int((values[1:] >= observed - tolerance).sum())
    return Discrepancy(
        mmd2=observed,
        p_value=(exceeded + 1) / (permutations + 1),
        permutations=permutations,
        exceeded=exceeded,
        bandwidth=bandwidth,
        n_baseline=n,
        n_window=m,
    )


def _memberships(
    n: int,
    m: int,
    baseline_patients: Sequence[str] | None,
    window_patients: Sequence[str] | None,
    permutations: int,
    seed: int,
) -> Singles:
    """1 for a case of the window, shape (cases, 1 + permutations); the first column is as it was."""
    first = _codes(baseline_patients, n)
    second = _codes(window_patients, m) + int(first.max()) + 1
    patient = np.concatenate([first, second])
    is_window = (np.arange(int(second.max()) + 1) > int(first.max())).astype(np.float32)
    out = np.empty((n + m, permutations + 1), dtype=np.float32)
    out[:, 0] = is_window[patient]
    rng = np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(seed)))
    for b in range(1, permutations + 1):
        out[:, b] = rng.permutation(is_window)[patient]
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

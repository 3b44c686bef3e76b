"""Whether something is more frequent in a group than outside it: one-sided tests with the patient as the unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from evalsuite.stats.clustered import compact

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

EXACT = "Fisher's exact test, one-sided"
PERMUTED = "permutation of patients, one-sided"
FLIPPED = "sign flips of patients' contributions to the score, one-sided"
SCORE = "score test with patients as clusters, one-sided"
_BLOCK = 4_000_000  # numbers held at once; results do not depend on it


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """Tests of `k` groups: p-values (k,), NaN where a group is empty or is everybody, and the method of each."""

    p_value: Floats
    method: tuple[str, ...]


def excess_tests(
    event: ArrayLike, members: ArrayLike, cluster: ArrayLike, *, permutations: int = 9999, seed: int = 0
) -> Excess:
    """One-sided test of every group that events are no more frequent in it than outside it.

    With one case per patient it is Fisher's exact test. With several, and a group that patients belong to as a whole,
    the patients' sums of (event − overall share) are dealt to the patients anew, which is exact whatever the
    dependence within a patient. A group that splits patients has no such permutation: each patient's contribution
    Σ (member − share of members)(event − overall share) is taken with a random sign (Hemerik et al.), which holds in
    large samples. p = (1 + how many reach what was seen) / (1 + permutations).

    Parameters
    ----------
    event
        (n,) bool.
    members
        (k, n) bool: which cases belong to each group.
    cluster
        (n,) patient of each case, any labels.
    permutations
        How many, where there are any.
    seed
        Of those; the same arguments give the same p-values.

    Raises
    ------
    ValueError
        If shapes differ.

    References
    ----------
    Hemerik, Goeman & Finos, J R Stat Soc B 82:841-864 (2020).

    Examples
    --------
    >>> import numpy as np
    >>> event = np.array([1, 1, 1, 0, 0, 0, 0, 0], bool)
    >>> group = np.array([[1, 1, 1, 0, 0, 0, 0, 0]], bool)
    >>> round(float(excess_tests(event, group, np.arange(8)).p_value[0]), 4)  # 1 / (8 choose 3)
    0.0179
    """
    y, m, index = _checked(event, members, cluster)
    k, n = m.shape
    p = np.full(k, np.nan)
    method = [EXACT] * k
    sizes = m.sum(axis=1)
    some = (sizes > 0) & (sizes < n)
    n_patients = int(index.max()) + 1 if n else 0
    if n_patients == n:
        p[some] = fisher(y, m[some])
        return Excess(p_value=p, method=tuple(method))
    residual: Floats = y - y.mean()
    of_patient = np.bincount(index, minlength=n_patients).astype(np.float64)
    counts = np.array([np.bincount(index, row, minlength=n_patients) for row in m.astype(np.float64)])
    counts = counts.reshape(k, n_patients)
    whole = ((counts == 0) | (counts == of_patient)).all(axis=1)
    rng = np.random.Generator(np.random.PCG64DXSM(seed))
    if (some & whole).any():
        sums: Floats = np.bincount(index, residual, minlength=n_patients).astype(np.float64)
        chosen = (counts[some & whole] > 0).astype(np.float64)
        p[some & whole] = _permuted(sums, chosen, rng, permutations)
    if (some & ~whole).any():
        parts = _contributions(residual, m[some & ~whole], index, n_patients)
        p[some & ~whole] = _flipped(parts, rng, permutations)
    method = [PERMUTED if w else FLIPPED for w in whole]
    return Excess(p_value=p, method=tuple(method))


def score_tests(event: ArrayLike, members: ArrayLike, cluster: ArrayLike) -> Floats:
    """(k,) one-sided p-values of the same question in one pass without permutations, for screening many groups.

    Fisher's exact test with one case per patient; else the patients' contributions over the root of their sum of
    squares, against Student's t with patients − 1 degrees of freedom. NaN where a group is empty or is everybody.

    Raises
    ------
    ValueError
        If shapes differ.
    """
    y, m, index = _checked(event, members, cluster)
    sizes = m.sum(axis=1)
    some = (sizes > 0) & (sizes < m.shape[1])
    p = np.full(len(m), np.nan)
    n_patients = int(index.max()) + 1 if len(y) else 0
    if n_patients == len(y):
        p[some] = fisher(y, m[some])
        return p
    parts = _contributions(y - y.mean(), m[some], index, n_patients)
    spread = np.sqrt((parts**2).sum(axis=1))
    # Rounding leaves a trace where nothing varies; such a group has no evidence either way.
    flat = spread <= 1e-9
    t = np.divide(parts.sum(axis=1), spread, out=np.zeros(len(parts)), where=~flat)
    p[some] = np.where(flat, 1.0, stats.t.sf(t, max(n_patients - 1, 1)))
    return p


def fisher(event: Floats, members: Bools) -> Floats:
    """(k,) probability of at least as many events in each group as there are, given all margins."""
    n, events = len(event), round(float(event.sum()))
    inside = np.rint(members @ event)
    p: Floats = stats.hypergeom.sf(inside - 1, n, events, members.sum(axis=1))
    return np.minimum(p, 1.0)


def _checked(event: ArrayLike, members: ArrayLike, cluster: ArrayLike) -> tuple[Floats, Bools, NDArray[np.intp]]:
    y = np.asarray(event, dtype=bool).astype(np.float64)
    m = np.asarray(members, dtype=bool)
    labels = np.asarray(cluster)
    if y.ndim != 1 or m.ndim != 2 or m.shape[1:] != y.shape or labels.shape != y.shape:
        raise ValueError(f"event {y.shape}, members {m.shape} and cluster {labels.shape} do not fit")
    return y, m, compact(labels) if len(y) else np.zeros(0, dtype=np.intp)


def _contributions(residual: Floats, members: Bools, index: NDArray[np.intp], n_patients: int) -> Floats:
    """(k, patients) sums of (member − share of members)(event − overall share)."""
    centred = members - members.mean(axis=1, keepdims=True)
    sums = [np.bincount(index, row * residual, minlength=n_patients) for row in centred]
    return np.array(sums, dtype=np.float64).reshape(len(members), n_patients)


def _permuted(sums: Floats, chosen: Floats, rng: np.random.Generator, permutations: int) -> Floats:
    seen = chosen @ sums
    reached = np.zeros(len(chosen))
    for size in _blocks(permutations, len(sums)):
        dealt = rng.permuted(np.broadcast_to(sums, (size, len(sums))), axis=1)
        reached += (dealt @ chosen.T >= seen - _slack(sums)).sum(axis=0)
    return (1.0 + reached) / (1.0 + permutations)


def _flipped(parts: Floats, rng: np.random.Generator, permutations: int) -> Floats:
    seen = parts.sum(axis=1)
    reached = np.zeros(len(parts))
    for size in _blocks(permutations, parts.shape[1]):
        signs = rng.integers(0, 2, size=(size, parts.shape[1])).astype(np.float64) * 2.0 - 1.0
        reached += (signs @ parts.T >= seen - _slack(parts)).sum(axis=0)
    return (1.0 + reached) / (1.0 + permutations)


def _slack(values: Floats) -> float:
    """Equal sums taken in another order differ by rounding; they count as reached."""
    return 1e-9 * (1.0 + float(np.abs(values).sum()))


def _blocks(total: int, width: int) -> list[int]:
    size = max(1, min(total, _BLOCK // max(width, 1)))
    return [min(size, total - start) for start in range(0, total, size)]

"""Reader-averaged AUROC whose variance counts readers, diseased and healthy cases as samples (iMRMC's U-statistics)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy.stats import t as student

from evalsuite.stats._binary_inputs import BoolArray, FloatArray
from evalsuite.stats.reader_figures import Readings
from evalsuite.types import Estimate, TestOutcome

Moments = Literal["unbiased", "plug-in"]
#: Index of the eight ways two pairs of cases can share: reader, positive case, negative case.
_SHARES = ((1, 1, 1), (1, 1, 0), (1, 0, 1), (1, 0, 0), (0, 1, 1), (0, 1, 0), (0, 0, 1), (0, 0, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """Variance of a reader-averaged AUROC, split by what was sampled (Barrett, Clarkson and Kupinski's parts).

    `part` holds the contributions of N (negative cases), D (positive cases), ND, R (readers), NR, DR and RND; their sum
    is the variance. A part may be negative: it is an unbiased estimate of something small. `unbiased` holds the
    unbiased parts also where `part` is the plug-in estimate: the degrees of freedom weigh them, as iMRMC does.
    """

    part: dict[str, float]
    unbiased: dict[str, float]
    n_readers: int
    n_positive: int
    n_negative: int

    @property
    def variance(self) -> float:
        return math.fsum(self.part.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """What is odd about the parts: said wherever the results are."""
        names = {"R": "readers", "D": "positive cases", "N": "negative cases"}
        return tuple(
            f"the variance component of {name} is estimated below 0 and makes the interval narrower"
            for letter, name in names.items()
            if self.part[letter] < 0.0
        )

    @property
    def df(self) -> float | None:
        """Degrees of freedom by Satterthwaite over readers, positive and negative cases; None without variance.

        Obuchowski, Gallas & Hillis, Academic Radiology 19:1508-1517 (2012).
        """
        groups = ((self.n_readers, "R"), (self.n_positive, "D"), (self.n_negative, "N"))
        below = 0.0
        for n, letter in groups:
            total = math.fsum(v for k, v in self.unbiased.items() if letter in k)
            if n > 1:
                below += total**2 / (n - 1)
            elif total:
                return None
        return self.variance**2 / below if below > 0 and self.variance > 0 else None


def _kernel(reference: BoolArray, rating: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Success of each (negative, positive) pair: 1, ½ for a tie, 0; and whether both were read (as 1.0 or 0.0)."""
    positive, negative = rating[reference], rating[~reference]
    read = np.outer(~np.isnan(negative), ~np.isnan(positive))
    success = 0.5 * (
        (positive[None, :] > negative[:, None]).astype(np.float64) + (positive[None, :] >= negative[:, None])
    )
    return np.where(read, success, 0.0), read.astype(np.float64)


def _products(a: FloatArray, b: FloatArray) -> FloatArray:
    """Sums of a·b over pairs of (negative, positive) indices that agree in both, in the positive, negative, neither."""
    return np.array([
        float(np.vdot(a, b)), float(np.vdot(a.sum(axis=0), b.sum(axis=0))),
        float(np.vdot(a.sum(axis=1), b.sum(axis=1))), float(a.sum() * b.sum()),
    ])  # fmt: skip


def _only(sums: FloatArray) -> FloatArray:
    """From "agrees at least in" to "agrees exactly in": both, positive only, negative only, neither."""
    both, positive, negative, none = sums
    return np.array([both, positive - both, negative - both, none - positive - negative + both])


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over pairs of readings that share exactly as `_SHARES` says: products, how many, and weights."""

    product: FloatArray
    count: FloatArray
    weight: FloatArray


def _sums(study: Readings, first: int, second: int, *, any_index: bool) -> _Sums:
    """Of two treatments. `any_index` sums over all pairs of indices, equal ones included (the plug-in moments)."""
    shape = (int((~study.reference).sum()), int(study.reference.sum()))
    kinds = ("product", "count", "weight")
    same = {k: np.zeros(4) for k in kinds}
    over_readers = {k: (np.zeros(shape), np.zeros(shape)) for k in kinds}
    for r in range(study.n_readers):
        one, read_one = _kernel(study.reference, study.rating[first, r])
        two, read_two = (one, read_one) if second == first else _kernel(study.reference, study.rating[second, r])
        n_one, n_two = float(read_one.sum()), float(read_two.sum())
        arrays = {
            "product": (one, two),
            "count": (read_one, read_two),
            "weight": (read_one / (n_one * study.n_readers), read_two / (n_two * study.n_readers)),
        }
        for k, (a, b) in arrays.items():
            same[k] += _products(a, b)
            over_readers[k][0][...] += a
            over_readers[k][1][...] += b
    out = {}
    for k in kinds:
        every = _products(*over_readers[k])
        out[k] = np.concatenate([same[k], every] if any_index else [_only(same[k]), _only(every - same[k])])
    return _Sums(out["product"], out["count"], out["weight"])


def components(study: Readings, first: int, second: int, *, moments: Moments = "unbiased") -> Components:
    """Covariance of the reader-averaged AUROCs of two treatments (the variance where they are the same), in parts.

    Any design is taken: pairs of cases a reader did not see have no weight, and each moment is a mean over the pairs of
    readings that were made. A moment without such a pair (cases nested within readers) has no weight either.

    References
    ----------
    Gallas, Academic Radiology 13:353-362 (2006); Gallas & Brown, Neural Networks 21:387-397 (2008); Gallas, Bandos,
    Samuelson & Wagner, Communications in Statistics 38:2586-2603 (2009).
    """
    exact = _sums(study, first, second, any_index=False)
    unbiased = _as_floats(_parts(exact, exact.weight))
    part = unbiased
    if moments != "unbiased":
        part = _as_floats(_parts(_sums(study, first, second, any_index=True), exact.weight))
    return Components(
        part=part,
        unbiased=unbiased,
        n_readers=study.n_readers,
        n_positive=int(study.reference.sum()),
        n_negative=int((~study.reference).sum()),
    )


def _as_floats(parts: dict[str, FloatArray]) -> dict[str, float]:
    return {k: float(v) for k, v in parts.items()}


def _parts(sums: _Sums, weight: FloatArray) -> dict[str, FloatArray]:
    """By letters; of many studies at once where the sums have a second axis."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(sums.count > 0, sums.product / sums.count, 0.0)
    c = weight
    m1, m2, m3, m4, m5, m6, m7, m8 = mean
    # Weight of the pairs that share at least so much: what a component of that kind contributes.
    shares = {
        "R": c[0] + c[1] + c[2] + c[3], "D": c[0] + c[1] + c[4] + c[5], "N": c[0] + c[2] + c[4] + c[6],
        "DR": c[0] + c[1], "NR": c[0] + c[2], "ND": c[0] + c[4], "RND": c[0],
    }  # fmt: skip
    size = {
        "R": m4 - m8, "D": m6 - m8, "N": m7 - m8, "DR": m2 - m4 - m6 + m8, "NR": m3 - m4 - m7 + m8,
        "ND": m5 - m6 - m7 + m8, "RND": m1 - m2 - m3 - m5 + m4 + m6 + m7 - m8,
    }  # fmt: skip
    return {k: size[k] * shares[k] for k in ("N", "D", "ND", "R", "NR", "DR", "RND")}


def crossed_variances(
    same: FloatArray, every: FloatArray, *, n_readers: int, n_positive: int, n_negative: int
) -> tuple[FloatArray, FloatArray]:
    """Variance of the difference of two treatments in many crossed studies, and its degrees of freedom before rounding.

    `same` and `every` `(studies, 3, 4)` are the sums over pairs of cases of `_reader_kernels.simulate_pairs`. Without
    variance the degrees of freedom are 0.
    """
    k, p, r = n_negative, n_positive, n_readers
    one = np.array([k * p, k * k * p, k * p * p, (k * p) ** 2], dtype=np.float64)
    number = np.concatenate([_only(r * one), _only(r * (r - 1) * one)])[:, None]
    total: dict[str, FloatArray] = {}
    for row, sign in ((0, 1.0), (1, 1.0), (2, -2.0)):
        here, all_readers = same[:, row].T, every[:, row].T
        product = np.concatenate([_only(here), _only(all_readers - here)])
        for name, value in _parts(_Sums(product, number, number / (r * k * p) ** 2), number / (r * k * p) ** 2).items():
            total[name] = total.get(name, 0.0) + sign * value
    variance = np.sum(list(total.values()), axis=0)
    below = np.zeros_like(variance)
    for n, letter in ((r, "R"), (p, "D"), (k, "N")):
        below += np.sum([v for name, v in total.items() if letter in name], axis=0) ** 2 / (n - 1)
    df = np.divide(variance**2, below, out=np.zeros_like(variance), where=(variance > 0) & (below > 0))
    return variance, df


def difference_components(study: Readings, first: int, second: int, *, moments: Moments = "unbiased") -> Components:
    """Parts of the variance of the difference of two reader-averaged AUROCs."""
    one, two, both = (
        components(study, a, b, moments=moments) for a, b in ((first, first), (second, second), (first, second))
    )
    return Components(
        part={k: one.part[k] + two.part[k] - 2.0 * both.part[k] for k in one.part},
        unbiased={k: one.unbiased[k] + two.unbiased[k] - 2.0 * both.unbiased[k] for k in one.part},
        n_readers=one.n_readers,
        n_positive=one.n_positive,
        n_negative=one.n_negative,
    )


def pair_covariances(study: Readings) -> FloatArray:
    """Unbiased covariances (t, r, t, r) of all AUROCs over the sampling of cases, readers held fixed."""
    t, r = study.n_treatments, study.n_readers
    kernels = [_kernel(study.reference, study.rating[i, j]) for i in range(t) for j in range(r)]
    matrix = np.zeros((t * r, t * r))
    for i, (a, read_a) in enumerate(kernels):
        for j in range(i, t * r):
            b, read_b = kernels[j]
            product, count = _only(_products(a, b)), _only(_products(read_a, read_b))
            total = float(read_a.sum() * read_b.sum())
            if bool((count[3:] <= 0).any()):
                raise ValueError("the unbiased covariance needs two positive and two negative cases of every reader")
            with np.errstate(divide="ignore", invalid="ignore"):
                mean = np.where(count > 0, product / count, 0.0)
            matrix[i, j] = matrix[j, i] = float(np.dot(count[:3] / total, mean[:3] - mean[3]))
    return matrix.reshape(t, r, t, r)


def average_auroc(study: Readings, treatment: int, *, level: float = 0.95, moments: Moments = "unbiased") -> Estimate:
    """Reader-averaged AUROC of one treatment, for readers and cases alike drawn from their populations.

    Each reader counts the same. t interval on the degrees of freedom of Obuchowski, Gallas and Hillis, rounded down as
    iMRMC does, and cut at 0 and 1. Without variance (all readers perfect) the interval has a reason instead.
    """
    value = _mean_auroc(study, treatment)
    found = _estimate(value, components(study, treatment, treatment, moments=moments), study, level)
    if found.low is None or found.high is None:
        return found
    return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))


def auroc_difference(
    study: Readings, first: int, second: int, *, level: float = 0.95, margin: float = 0.0, moments: Moments = "unbiased"
) -> tuple[Estimate, TestOutcome]:
    """First minus second reader-averaged AUROC, and the two-sided test that it is `−margin`.

    A margin of 0 tests for a difference; with a positive one, halve the p-value of a positive statistic for
    non-inferiority.
    """
    value = _mean_auroc(study, first) - _mean_auroc(study, second)
    parts = difference_components(study, first, second, moments=moments)
    estimate = _estimate(value, parts, study, level)
    name, method = "difference of reader-averaged AUROCs", _METHOD
    df = parts.df
    if df is None:
        test = TestOutcome(name=name, statistic=None, p_value=None, method=method, undefined=_NO_VARIANCE)
    else:
        statistic = (value + margin) / math.sqrt(parts.variance)
        p = float(2.0 * student.sf(abs(statistic), max(math.floor(df), 1)))
        test = TestOutcome(name=name, statistic=statistic, p_value=p, method=method)
    return estimate, test


_METHOD = "U-statistics, t on BDG degrees of freedom"
_NO_VARIANCE = "no variance between readers and cases can be estimated"


def _mean_auroc(study: Readings, treatment: int) -> float:
    areas = []
    for r in range(study.n_readers):
        success, read = _kernel(study.reference, study.rating[treatment, r])
        areas.append(float(success.sum() / read.sum()))
    return math.fsum(areas) / len(areas)


def _estimate(value: float, parts: Components, study: Readings, level: float) -> Estimate:
    counts: dict[str, Any] = {
        "n": study.n_cases, "n_positive": parts.n_positive, "n_negative": parts.n_negative,
        "n_patients": study.n_patients, "unit": "case",
    }  # fmt: skip
    df = parts.df
    if df is None:
        return Estimate(value=value, level=level, method=_METHOD, interval_undefined=_NO_VARIANCE, **counts)
    half = float(student.ppf(0.5 + level / 2.0, max(math.floor(df), 1))) * math.sqrt(parts.variance)
    return Estimate(value=value, low=value - half, high=value + half, level=level, method=_METHOD, **counts)

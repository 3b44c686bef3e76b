"""The reliability curve: among cases given about this probability, how many had the condition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, ndtri

from evalsuite.stats._binary_inputs import FloatArray, IntArray, binary_sample, check_level
from evalsuite.stats.bins import BinScheme, bin_index


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityCurve:
    """One point per non-empty bin, `(k,)` arrays: mean probability, observed share, its interval, cases.

    `consistency_low/high` bound the observed share that would be expected if the probabilities were exactly right.
    `n_patients` is filled where patients were given; the interval is then on the effective number of cases.
    """

    mean_probability: FloatArray
    observed: FloatArray
    low: FloatArray
    high: FloatArray
    n: IntArray
    n_patients: IntArray | None = None
    consistency_low: FloatArray | None = None
    consistency_high: FloatArray | None = None
    method: str = ""


def reliability_curve(
    reference: npt.ArrayLike,
    probability: npt.ArrayLike,
    *,
    bins: int = 10,
    scheme: BinScheme = "equal_width",
    level: float = 0.95,
    interval: Literal["wilson", "clopper-pearson"] = "wilson",
    cluster: npt.ArrayLike | None = None,
    consistency: bool = False,
    replicates: int = 2000,
    seed: int = 0,
) -> ReliabilityCurve:
    """Observed share of positives per bin of probability, with an interval per bin.

    Parameters
    ----------
    interval
        Per bin, `wilson` or `clopper-pearson`. With `cluster` and several cases per patient the counts are scaled to
        the effective number of cases of the bin (variance of the ratio estimator over patients, design effect floored
        at 1; at 0 or 1 the number of patients).
    consistency
        Also a band of what the observed share would be if every probability were right: outcomes resampled from the
        probabilities themselves, `replicates` times.

    Raises
    ------
    ValueError
        Without cases, for NaN, probabilities outside [0, 1], different shapes, unknown options.

    References
    ----------
    Bröcker & Smith, Weather and Forecasting 22:651-661 (2007), consistency bars. Wilson, JASA 22:209-212 (1927).
    """
    level = check_level(level)
    if interval not in ("wilson", "clopper-pearson"):
        raise ValueError(f"interval is wilson or clopper-pearson, got {interval!r}")
    sample = binary_sample(reference, probability, cluster=cluster, probability=True)
    if sample.n == 0:
        raise ValueError("no reliability curve: no cases")
    index = bin_index(sample.score, bins=bins, scheme=scheme)
    size = np.bincount(index, minlength=bins)
    kept = np.flatnonzero(size)
    n = size[kept].astype(np.float64)
    positive = np.bincount(index, weights=sample.reference, minlength=bins)[kept]
    mean = np.bincount(index, weights=sample.score, minlength=bins)[kept] / n
    effective = n
    patients: IntArray | None = None
    if sample.cluster is not None:
        pairs = np.unique(index * (sample.n_patients + 1) + sample.cluster)
        patients = np.bincount(pairs // (sample.n_patients + 1), minlength=bins)[kept].astype(np.int64)
    if sample.clustered and sample.cluster is not None and patients is not None:
        residual = sample.reference - (positive / n)[np.searchsorted(kept, index)]
        effective = _effective(index, sample.cluster, residual, kept, n, positive / n, patients)
    share = positive / n
    bounds = _wilson if interval == "wilson" else _clopper_pearson
    low, high = bounds(share * effective, effective, level)
    band: tuple[FloatArray, FloatArray] | tuple[None, None] = (None, None)
    if consistency:
        band = _consistency_band(sample.score, index, kept, n, level, replicates, seed)
    title = {"wilson": "Wilson", "clopper-pearson": "Clopper-Pearson"}[interval]
    return ReliabilityCurve(
        mean_probability=mean,
        observed=share,
        low=np.minimum(low, share),
        high=np.maximum(high, share),
        n=size[kept].astype(np.int64),
        n_patients=patients,
        consistency_low=band[0],
        consistency_high=band[1],
        method=f"{title} on the effective number of cases" if sample.clustered else title,
    )


def _wilson(x: FloatArray, n: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    z = float(ndtri(0.5 + level / 2.0))
    p = x / n
    centre = (p + z * z / (2.0 * n)) / (1.0 + z * z / n)
    half = z / (1.0 + z * z / n) * np.sqrt(p * (1.0 - p) / n + z * z / (4.0 * n * n))
    return np.maximum(0.0, centre - half), np.minimum(1.0, centre + half)


def _clopper_pearson(x: FloatArray, n: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    tail = 0.5 - level / 2.0
    low, high = np.zeros_like(x), np.ones_like(x)
    some, rest = x > 0.0, x < n
    low[some] = betaincinv(x[some], n[some] - x[some] + 1.0, tail)
    high[rest] = betaincinv(x[rest] + 1.0, n[rest] - x[rest], 1.0 - tail)
    return low, high


def _effective(
    index: IntArray,
    cluster: IntArray,
    residual: FloatArray,
    kept: IntArray,
    n: FloatArray,
    share: FloatArray,
    patients: IntArray,
) -> FloatArray:
    """Effective number of cases per bin: cases over the design effect (floored at 1); patients where it is unknown."""
    width = int(cluster.max()) + 1
    keys, where = np.unique(index * width + cluster, return_inverse=True)
    per_patient = np.bincount(where.reshape(-1), weights=residual)
    squared = np.bincount(keys // width, weights=per_patient**2, minlength=int(index.max()) + 1)[kept]
    simple = share * (1.0 - share) / n
    factor = np.divide(patients, patients - 1.0, out=np.ones_like(n), where=patients > 1)
    variance = squared * factor / n**2
    known = (simple > 0.0) & (patients > 1)
    effect = np.divide(variance, simple, out=np.ones_like(n), where=known)
    return np.where(known, n / np.maximum(1.0, effect), np.minimum(n, patients))


def _consistency_band(
    probability: FloatArray,
    index: IntArray,
    kept: IntArray,
    n: FloatArray,
    level: float,
    replicates: int,
    seed: int,
) -> tuple[FloatArray, FloatArray]:
    generator = np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(seed)))
    shares = np.empty((replicates, kept.size))
    position = np.searchsorted(kept, index)
    for r in range(replicates):
        outcome = generator.random(probability.size) < probability
        shares[r] = np.bincount(position, weights=outcome, minlength=kept.size) / n
    low, high = np.quantile(shares, [0.5 - level / 2.0, 0.5 + level / 2.0], axis=0)
    return low, high

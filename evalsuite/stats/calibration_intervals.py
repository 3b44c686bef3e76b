"""Intervals of calibration figures that need resampling or a profile: smooth and debiased errors, Murphy's parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import logit, ndtri

from evalsuite.stats import calibration, smoothing
from evalsuite.stats._binary_inputs import BinarySample, FloatArray, IntArray, binary_sample, check_level
from evalsuite.stats._logistic import fit_intercept
from evalsuite.stats.bins import BinScheme, bin_index
from evalsuite.stats.bootstrap import method_title
from evalsuite.stats.bootstrap_interval import (
    FOLDED_TITLE,
    SMOOTH_TITLE,
    BootstrapInterval,
    BootstrapMethod,
    folded_interval,
)
from evalsuite.stats.calibration_error import binned_error, brier_decomposition, debiased_ece_value
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.statistic_bootstrap import statistic_interval
from evalsuite.types import Estimate, Unit

Recalibration = Literal["intercept", "slope", "recalibration_intercept", "scaled_brier"]
MurphyPart = Literal["reliability", "resolution", "uncertainty"]

_CLOSED: dict[Recalibration, Callable[..., Estimate]] = {
    "intercept": calibration.calibration_intercept,
    "slope": calibration.calibration_slope,
    "recalibration_intercept": calibration.recalibration_intercept,
    "scaled_brier": calibration.scaled_brier,
}


def resampled_recalibration(
    which: Recalibration,
    reference: npt.ArrayLike,
    probability: npt.ArrayLike,
    *,
    method: BootstrapMethod = "bca",
    level: float = 0.95,
    cluster: npt.ArrayLike | None = None,
    unit: Unit = "case",
    replicates: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Calibration intercept, slope, or scaled Brier score with a patient bootstrap instead of the closed interval.

    A replicate in which the figure does not exist (one class, separation) is counted as undefined. Not estimable where
    the closed form is not.
    """
    sample = binary_sample(reference, probability, cluster=cluster, unit=unit, probability=True)
    whole = _CLOSED[which](sample.reference, sample.score, level=level, cluster=sample.cluster, unit=unit)
    if whole.value is None:
        return whole

    def of(drawn: IntArray) -> float:
        value = _CLOSED[which](sample.reference[drawn], sample.score[drawn]).value
        return math.nan if value is None else value

    found = statistic_interval(
        of,
        whole.value,
        cluster=_patients(sample),
        method=method,
        level=level,
        replicates=replicates,
        seed=seed,
        bounds=(-math.inf, 1.0) if which == "scaled_brier" else (-math.inf, math.inf),
    )
    return _made(sample, whole.value, found, level=level, method=method_title(method, replicates))


def profile_slope(
    reference: npt.ArrayLike,
    probability: npt.ArrayLike,
    *,
    level: float = 0.95,
    cluster: npt.ArrayLike | None = None,
    unit: Unit = "case",
) -> Estimate:
    """Calibration slope with its profile-likelihood interval: all slopes that the data do not contradict.

    The intercept is fitted anew at every slope. Assumes independent cases: with several per patient there is the value
    and no interval.

    References
    ----------
    Venzon & Moolgavkar, Appl Stat 37:87-94 (1988).
    """
    level = check_level(level)
    sample = binary_sample(reference, probability, cluster=cluster, unit=unit, probability=True)
    wald = calibration.calibration_slope(sample.reference, sample.score, level=level, cluster=sample.cluster, unit=unit)
    if wald.value is None or wald.low is None or wald.high is None:
        return wald
    common: dict[str, Any] = {**sample.counts, "n": sample.n, "unit": unit, "level": level}
    common["method"] = "profile likelihood"
    if sample.clustered:
        return Estimate(value=wald.value, interval_undefined=REPEATED, **common)
    x, intercept = logit(sample.score), 0.0

    def best(slope: float) -> float:
        nonlocal intercept
        intercept, likelihood = fit_intercept(sample.reference, slope * x, intercept)
        return likelihood

    z = float(ndtri(0.5 + level / 2.0))
    top = best(wald.value) - z * z / 2.0
    ends: list[float] = []
    for end in (wald.low, wald.high):
        reach = end - wald.value
        for _ in range(60):
            if best(wald.value + reach) < top:
                break
            reach *= 1.5
        else:
            return Estimate(value=wald.value, interval_undefined="no finite end", **common)
        ends.append(float(brentq(lambda b: best(b) - top, wald.value, wald.value + reach, xtol=1e-11)))
    return Estimate(value=wald.value, low=ends[0], high=ends[1], **common)


_ROWS, _CASES = 64, 2_000_000
"""Replicates worked on side by side, and cases in all of them: a block of them takes some 16 MB."""
REPEATED = "a profile likelihood assumes independent cases, and some patients have several"


def smooth_ece(
    reference: npt.ArrayLike,
    probability: npt.ArrayLike,
    *,
    level: float = 0.95,
    cluster: npt.ArrayLike | None = None,
    unit: Unit = "case",
    replicates: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Smooth ECE with a bootstrap interval over patients made for absolute values (`folded_interval`).

    The error of a replicate is the smoothed absolute value of what it changes in the signed residuals, at the width
    that the data chose. Not estimable without cases.

    References
    ----------
    Błasiok & Nakkiran, ICLR 2024 (arXiv:2309.12236).
    """
    sample = binary_sample(reference, probability, cluster=cluster, unit=unit, probability=True)
    title = f"reflected Gaussian kernel; {SMOOTH_TITLE.format(replicates=replicates)}"
    if sample.n == 0:
        return _none(sample, "no cases", level, title)
    p, residual = sample.score, sample.reference - sample.score
    value = smoothing.smooth_calibration_error(p, residual)
    values, errors = np.empty(replicates), np.empty(replicates)
    draw = PatientDraw(_patients(sample), replicates, seed)
    for start, counts in draw.blocks(size=max(1, min(_ROWS, _CASES // sample.n))):
        weight = counts[:, draw.patient].astype(np.float64)
        # The kernel's mean divides by the number of cases given to it: in a replicate of patients that number varies.
        weight *= sample.n / weight.sum(axis=1, keepdims=True)
        rows = slice(start, start + counts.shape[0])
        found = smoothing.smooth_calibration_errors(p, residual * weight, residual, value)
        values[rows], errors[rows] = found.value, found.change
    interval = folded_interval(values, errors, value, level=level, smooth=True)
    return _made(sample, value, interval, level=level, method=title)


def debiased_ece(
    reference: npt.ArrayLike,
    probability: npt.ArrayLike,
    bins: int = 10,
    scheme: BinScheme = "equal_mass",
    *,
    level: float = 0.95,
    cluster: npt.ArrayLike | None = None,
    unit: Unit = "case",
    replicates: int = 2000,
    seed: int = 0,
) -> Estimate:
    """ECE less its expected inflation, with the interval of the binned error itself, extended to hold the value.

    Both estimate the same calibration error of the bins, so that they share its interval. The inflation takes cases as
    independent: with several per patient it is somewhat too small.
    """
    sample = binary_sample(reference, probability, cluster=cluster, unit=unit, probability=True)
    whole = binned_error(
        "ece",
        sample.reference,
        sample.score,
        bins,
        scheme,
        level=level,
        cluster=sample.cluster,
        unit=unit,
        replicates=replicates,
        seed=seed,
    )
    method = f"debiased over {bins} {scheme.replace('_', '-')} bins; {whole.method}"
    if whole.value is None:
        return Estimate.not_estimable(
            whole.undefined or "no cases", n=sample.n, unit=unit, level=level, method=method, **sample.counts
        )
    value = debiased_ece_value(sample.reference, sample.score, bins, scheme)
    found = BootstrapInterval(
        low=None if whole.low is None else min(whole.low, value),
        high=None if whole.high is None else max(whole.high, value),
        undefined=whole.interval_undefined,
        replicates=whole.replicates or 0,
        replicates_undefined=whole.replicates_undefined or 0,
    )
    return _made(sample, value, found, level=level, method=method)


def brier_part(
    which: MurphyPart,
    reference: npt.ArrayLike,
    probability: npt.ArrayLike,
    bins: int = 10,
    scheme: BinScheme = "equal_width",
    *,
    level: float = 0.95,
    cluster: npt.ArrayLike | None = None,
    unit: Unit = "case",
    replicates: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Reliability, resolution or uncertainty of the Brier score (Murphy), with a bootstrap interval over patients.

    Reliability and resolution are squared distances, which resampling inflates: their interval is `folded_interval` of
    the distance, squared. Uncertainty, π (1 − π), has that of the prevalence π: resampling it would miss its highest
    value, ¼, which no resample exceeds. Bins are those of the data throughout. Not estimable without cases.

    References
    ----------
    Murphy, J Applied Meteorology 12:595-600 (1973).
    """
    if which not in ("reliability", "resolution", "uncertainty"):
        raise ValueError(f"a part is reliability, resolution or uncertainty, got {which!r}")
    sample = binary_sample(reference, probability, cluster=cluster, unit=unit, probability=True)
    over = f"{bins} {scheme.replace('_', '-')} bins; "
    title = over + FOLDED_TITLE.format(replicates=replicates)
    if sample.n == 0:
        return _none(sample, "no cases", level, title)
    value = float(getattr(brier_decomposition(sample.reference, sample.score, bins, scheme), which))
    if which == "uncertainty":
        return _uncertainty(sample, value, level)
    y, p = sample.reference, sample.score
    index = bin_index(p, bins=bins, scheme=scheme)
    draw = PatientDraw(_patients(sample), replicates, seed)
    # Per patient and bin: cases, positives, sum of probabilities.
    place, size = draw.patient * bins + index, draw.n_patients * bins
    table = np.stack([np.bincount(place, w, size) for w in (np.ones(sample.n), y, p)]).reshape(3, draw.n_patients, bins)

    def summed(counts: FloatArray) -> FloatArray:
        """`(3, r, bins)` sums of the cases drawn."""
        return np.asarray(counts @ table)

    def parts(sums: FloatArray) -> FloatArray:
        """`(r, bins)` root of each bin's share times its distance: the squares sum to the part."""
        n, positive, expected = sums
        total = n.sum(axis=1, keepdims=True)
        base = expected if which == "reliability" else n * (positive.sum(axis=1, keepdims=True) / total)
        return np.asarray(np.divide(positive - base, np.sqrt(n * total), out=np.zeros_like(n), where=n > 0))

    drawn = np.concatenate([summed(counts.astype(np.float64)) for _, counts in draw.blocks()], axis=1)
    whole, resampled = parts(summed(np.ones((1, draw.n_patients)))), parts(drawn)
    roots = np.sqrt((resampled**2).sum(axis=1))
    errors = np.sqrt(((resampled - whole) ** 2).sum(axis=1))
    root = folded_interval(roots, errors, math.sqrt(value), level=level)
    found = BootstrapInterval(
        low=None if root.low is None else root.low**2,
        high=None if root.high is None else root.high**2,
        undefined=root.undefined,
        replicates=root.replicates,
        replicates_undefined=root.replicates_undefined,
    )
    return _made(sample, value, found, level=level, method=title)


def _uncertainty(sample: BinarySample, value: float, level: float) -> Estimate:
    """π (1 − π) over the interval of the prevalence π: it rises up to ½ and falls from there."""
    prevalence = clustered_proportion(sample.reference, _patients(sample), level=level, unit=sample.unit)
    common: dict[str, Any] = {**sample.counts, "n": sample.n, "unit": sample.unit, "level": level}
    common["method"] = f"of the prevalence's interval ({prevalence.method})"
    if prevalence.low is None or prevalence.high is None:
        return Estimate(value=value, interval_undefined=prevalence.interval_undefined, **common)
    ends = [p * (1.0 - p) for p in (prevalence.low, prevalence.high)]
    high = 0.25 if prevalence.low <= 0.5 <= prevalence.high else max(ends)
    return Estimate(value=value, low=min(ends), high=high, **common)


def _patients(sample: BinarySample) -> IntArray:
    return sample.cluster if sample.cluster is not None else np.arange(sample.n)


def _none(sample: BinarySample, reason: str, level: float, method: str) -> Estimate:
    return Estimate.not_estimable(
        reason, n=sample.n, unit=sample.unit, level=check_level(level), method=method, **sample.counts
    )


def _made(sample: BinarySample, value: float, found: BootstrapInterval, *, level: float, method: str) -> Estimate:
    counts: dict[str, Any] = sample.counts
    return Estimate(
        value=value,
        low=found.low,
        high=found.high,
        interval_undefined=found.undefined,
        method=method,
        n=sample.n,
        unit=sample.unit,
        level=level,
        replicates=found.replicates or None,
        replicates_undefined=found.replicates_undefined if found.replicates else None,
        **counts,
    )

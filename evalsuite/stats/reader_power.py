"""The chance that a reader study shows what it is for, by thousands of simulated ones judged as the study will be."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import t as student

from evalsuite.stats import behrens_fisher
from evalsuite.stats._binary_inputs import FloatArray
from evalsuite.stats.obuchowski_rockette import FEW_READERS, Distribution, Generalise
from evalsuite.stats.reader_calibration import ReaderModel
from evalsuite.stats.reader_ustatistics import crossed_variances

#: Ratings drawn for one figure, which keeps a plan within seconds; and the studies it is never more, or less, of.
MOST_READINGS, MOST_STUDIES, FEWEST_STUDIES = 10_000_000, 10_000, 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """How a study of readers will be judged; with another covariance than DeLong's, by the jackknife."""

    method: Literal["obuchowski_rockette", "u_statistics"] = "obuchowski_rockette"
    generalise: Generalise = "readers_and_cases"
    distribution: Distribution = "by_readers"
    delong: bool = False
    level: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedPower:
    """Share of `studies` whose lower limit of the gain clears the goal; in `undefined` of them there is no limit.

    `two_sided` is the share whose interval lies wholly on either side of it: the error of the test where the goal is
    the truth.
    """

    power: float
    two_sided: float
    studies: int
    undefined: int

    @property
    def standard_error(self) -> float:
        """Monte Carlo standard error of the power."""
        return math.sqrt(max(self.power * (1.0 - self.power), 1.0 / self.studies) / self.studies)


def studies_for(
    readers: int, cases: int, judged: Judged, *, most: int = MOST_STUDIES, readings: int = MOST_READINGS
) -> int:
    """Studies that are drawn for a figure of so many readers and cases; pairs of cases take U-statistics longer."""
    each = 2 * readers * cases
    if judged.method == "u_statistics":
        each += readers * cases**2 // 60
    return max(min(most, readings // each), FEWEST_STUDIES)


def simulated_power(
    model: ReaderModel, *, readers: int, n_positive: float, n_negative: float, goal: float, judged: Judged,
    seed: int | list[int], studies: int,
) -> SimulatedPower:  # fmt: skip
    """Crossed studies of two treatments by the model, each judged by its lower limit against `goal`.

    Raises
    ------
    ValueError
        If there are fewer than two readers, or U-statistics are asked of anything but AUROCs.
    """
    if readers < 2:
        raise ValueError(f"random readers are at least two, got {readers}")
    if judged.method == "u_statistics" and model.of != "auroc":
        raise ValueError("u_statistics are of the AUROC")
    positives, negatives = model.cases(n_positive), model.cases(n_negative)
    rng = np.random.Generator(np.random.PCG64(seed))
    value = np.empty((studies, 2, readers))
    draw = _ustatistics if judged.method == "u_statistics" else _obuchowski_rockette
    half = draw(model, rng, value, positives, negatives, judged)
    gain = value[:, 0].mean(axis=1) - value[:, 1].mean(axis=1)
    with np.errstate(invalid="ignore"):
        above, below = gain - half > goal, gain + half < goal
    return SimulatedPower(
        power=float(above.mean()),
        two_sided=float((above | below).mean()),
        studies=studies,
        undefined=int(np.isnan(half).sum()),
    )


def _means(model: ReaderModel) -> FloatArray:
    return np.array([model.structure.separation + model.gain, model.structure.separation])


def _obuchowski_rockette(
    model: ReaderModel, rng: np.random.Generator, value: FloatArray, positives: int, negatives: int, judged: Judged
) -> FloatArray:
    """Half-widths of the intervals of the gain; NaN where there is no variance."""
    from evalsuite.stats._reader_kernels import simulate_areas, simulate_shares

    studies, _, r = value.shape
    variances = np.array(model.variances)
    of_positive, of_negative = np.zeros((studies, 4)), np.zeros((studies, 4))
    if model.of == "auroc":
        last = np.empty((2, r, positives + negatives))
        scale = model.structure.positive_scale
        simulate_areas(rng, positives, variances, _means(model), scale, value, of_positive, of_negative, last)
    else:
        own, sums = (positives, of_positive) if model.of == "positives" else (negatives, of_negative)
        simulate_shares(rng, variances, _means(model), value, sums, np.empty((2, r, own)))
    n = positives + negatives
    if judged.delong:
        covariance = of_positive / (positives * (positives - 1)) + of_negative / (negatives * (negatives - 1))
    else:
        covariance = (n - 1) / n * (of_positive / (positives - 1) ** 2 + of_negative / (negatives - 1) ** 2)
    error, cov1, cov2, cov3 = covariance.T
    between = np.maximum(cov2 - cov3, 0.0)
    mean_square = (value[:, 0] - value[:, 1]).var(axis=1, ddof=1) / 2.0
    over_readers = 2.0 / r * mean_square
    over_cases = 2.0 * between
    if judged.generalise == "cases":
        over_readers, over_cases = 0.0 * over_readers, 2.0 / r * (error - cov1 + (r - 1) * between)
    elif judged.generalise == "readers":
        over_cases = 0.0 * over_cases
    return _half_widths(over_cases, over_readers, r, judged)


def _half_widths(over_cases: FloatArray, over_readers: FloatArray, r: int, judged: Judged) -> FloatArray:
    variance = over_cases + over_readers
    there = variance > 0.0
    half = np.full(variance.shape, np.nan)
    few = judged.distribution == "behrens_fisher" or (judged.distribution == "by_readers" and r < FEW_READERS)
    if judged.generalise == "cases":
        half[there] = float(ndtri(0.5 + judged.level / 2.0)) * np.sqrt(variance[there])
    elif few:
        half[there] = behrens_fisher.half_widths(
            known=np.sqrt(over_cases[there]), estimated=np.sqrt(over_readers[there]), df=r - 1, level=judged.level
        )
    else:
        df = variance[there] ** 2 / np.maximum(over_readers[there] ** 2, 1e-300) * (r - 1)
        half[there] = student.ppf(0.5 + judged.level / 2.0, np.minimum(df, 1e9)) * np.sqrt(variance[there])
    return half


def _ustatistics(
    model: ReaderModel, rng: np.random.Generator, value: FloatArray, positives: int, negatives: int, judged: Judged
) -> FloatArray:
    from evalsuite.stats._reader_kernels import simulate_pairs

    studies, _, r = value.shape
    same, every = np.empty((studies, 3, 4)), np.empty((studies, 3, 4))
    last = np.empty((2, r, positives + negatives))
    scale = model.structure.positive_scale
    simulate_pairs(rng, positives, np.array(model.variances), _means(model), scale, value, same, every, last)
    variance, df = crossed_variances(same, every, n_readers=r, n_positive=positives, n_negative=negatives)
    there = df > 0.0
    half = np.full(variance.shape, np.nan)
    whole = np.maximum(np.floor(df[there]), 1.0)
    half[there] = student.ppf(0.5 + judged.level / 2.0, whole) * np.sqrt(variance[there])
    return half


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedSize:
    """Cases whose simulated power is at least the one aimed at, and that power."""

    cases: int
    found: SimulatedPower


def cases_by_simulation(
    power_at: Callable[[int], SimulatedPower], *, start: int, power: float, most: int, attempts: int = 12
) -> SimulatedSize | None:
    """Fewest cases, of those tried, whose simulated power reaches `power`; None where `most` of them do not.

    The search goes by the size of the noncentrality, which grows about as the root of the cases, and stops when the
    power is met within a standard error. What is returned has been simulated.
    """
    tried: dict[int, SimulatedPower] = {}
    n = min(max(start, 4), most)
    for _ in range(attempts):
        if n not in tried:
            tried[n] = power_at(n)
        found = tried[n]
        if 0.0 <= found.power - power <= max(found.standard_error, 0.003):
            break
        enough = [k for k, v in tried.items() if v.power >= power]
        short = [k for k, v in tried.items() if v.power < power]
        low, high = max(short, default=2), min(enough, default=most)
        if high - low <= 1 or (not enough and low >= most):
            break
        aim = min(power + found.standard_error / 2.0, 0.999)
        ahead = float(ndtri(aim) + 2.0) / float(ndtri(min(max(found.power, 0.03), 0.999)) + 2.0)
        n = min(max(math.ceil(n * ahead**2), low + 1), high - 1 if enough else most)
    enough = [k for k, v in tried.items() if v.power >= power]
    return SimulatedSize(cases=min(enough), found=tried[min(enough)]) if enough else None


def corrected(formula: float, at_formula: float, simulated: float) -> float:
    """A power by formula, moved as far on the probit scale as simulation was from formula at a size nearby."""
    low, high = 1e-6, 1.0 - 1e-6
    z, was, found = (float(ndtri(min(max(p, low), high))) for p in (formula, at_formula, simulated))
    return float(ndtr(z + found - was))

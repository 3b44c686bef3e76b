"""How far probabilities are from observed frequencies: binned, debiased and smooth errors, and tests of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, ndtr

from evalsuite.stats import smoothing
from evalsuite.stats._binary_inputs import BinarySample, FloatArray, binary_sample, check_level
from evalsuite.stats.bins import BinScheme, bin_index
from evalsuite.stats.bootstrap import binary_bootstrap
from evalsuite.stats.bootstrap_interval import SMOOTH_TITLE, folded_interval
from evalsuite.stats.draw import PatientDraw
from evalsuite.types import Estimate, TestOutcome, Unit

Smoother = Literal["loess", "lowess"]
SMOOTHERS = {
    "loess": "loess of degree 2, span 0.75",
    "lowess": "lowess, span 2/3, no robustness iterations (as R's val.prob)",
}
SmoothStatistic = Literal["ici", "e50", "e90", "emax"]


def nonempty(reference: npt.ArrayLike, probability: npt.ArrayLike) -> BinarySample:
    """Checked sample with at least one case, else `ValueError`."""
    sample = binary_sample(reference, probability, probability=True)
    if sample.n == 0:
        raise ValueError("no cases")
    return sample


@dataclass(frozen=True, slots=True, kw_only=True)
class BinTable:
    """Cases, mean probability and observed share of each non-empty bin, `(k,)`."""

    n: FloatArray
    probability: FloatArray
    observed: FloatArray


def bin_table(sample: BinarySample, bins: int, scheme: BinScheme) -> BinTable:
    """Sort cases into bins `(a, b]` and average."""
    index = bin_index(sample.score, bins=bins, scheme=scheme)
    size = np.bincount(index, minlength=bins)
    kept = size > 0
    n = size[kept].astype(np.float64)
    return BinTable(
        n=n,
        probability=np.bincount(index, weights=sample.score, minlength=bins)[kept] / n,
        observed=np.bincount(index, weights=sample.reference, minlength=bins)[kept] / n,
    )


def ece_value(
    reference: npt.ArrayLike, probability: npt.ArrayLike, bins: int = 10, scheme: BinScheme = "equal_width"
) -> float:
    """Expected calibration error: mean over cases of |observed share − mean probability| of the case's bin.

    Bins are `(a, b]`, the first closed at 0. Biased upward in small samples: see `debiased_ece_value`.

    Raises
    ------
    ValueError
        Without cases, for NaN, or probabilities outside [0, 1].

    References
    ----------
    Naeini, Cooper & Hauskrecht, AAAI 2015; Guo et al., ICML 2017.

    Examples
    --------
    >>> round(ece_value([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.3]), 4)
    0.175
    """
    table = bin_table(nonempty(reference, probability), bins, scheme)
    return float((table.n * np.abs(table.observed - table.probability)).sum() / table.n.sum())


def mce_value(
    reference: npt.ArrayLike, probability: npt.ArrayLike, bins: int = 10, scheme: BinScheme = "equal_width"
) -> float:
    """Maximum calibration error: the largest |observed share − mean probability| of a non-empty bin."""
    table = bin_table(nonempty(reference, probability), bins, scheme)
    return float(np.abs(table.observed - table.probability).max())


def debiased_ece_value(
    reference: npt.ArrayLike, probability: npt.ArrayLike, bins: int = 10, scheme: BinScheme = "equal_mass"
) -> float:
    """ECE less the inflation that sampling of the bins' shares is expected to cause, not below 0.

    Each bin's share is taken as normal with variance `o (1 − o) / n`; the inflation is the mean of the folded normal
    minus the observed gap (a closed form of the resampling in Kumar et al.).

    References
    ----------
    Kumar, Liang & Ma, NeurIPS 2019, section 5 and appendix.
    """
    table = bin_table(nonempty(reference, probability), bins, scheme)
    gap = np.abs(table.observed - table.probability)
    sigma = np.sqrt(table.observed * (1.0 - table.observed) / table.n)
    z = np.divide(gap, sigma, out=np.full_like(gap, np.inf), where=sigma > 0.0)
    folded = sigma * math.sqrt(2.0 / math.pi) * np.exp(-0.5 * z * z) + gap * (1.0 - 2.0 * ndtr(-z))
    return max(0.0, float((table.n * (2.0 * gap - folded)).sum() / table.n.sum()))


def debiased_squared_error_value(
    reference: npt.ArrayLike, probability: npt.ArrayLike, bins: int = 10, scheme: BinScheme = "equal_mass"
) -> float:
    """Unbiased estimate of the mean squared calibration error of the bins; may be slightly negative.

    Per bin `(p − o)² − o (1 − o) / (n − 1)`, weighted by cases; bins of a single case say nothing and are left out.

    References
    ----------
    Kumar, Liang & Ma, NeurIPS 2019, eq. 8. Bröcker, QJRMS 138:1611-1617 (2012).
    """
    table = bin_table(nonempty(reference, probability), bins, scheme)
    several = table.n > 1
    n, o, p = table.n[several], table.observed[several], table.probability[several]
    return float((n * ((p - o) ** 2 - o * (1.0 - o) / (n - 1.0))).sum() / table.n.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class BrierDecomposition:
    """Murphy's parts: `brier = reliability − resolution + uncertainty + within_bin`.

    `reliability` 0 is ideal, `resolution` large is good, `uncertainty` is prevalence × (1 − prevalence). `within_bin`
    is what is left because probabilities differ inside a bin (0 with one probability per bin).
    """

    brier: float
    reliability: float
    resolution: float
    uncertainty: float
    within_bin: float
    bins: int
    scheme: BinScheme


def brier_decomposition(
    reference: npt.ArrayLike, probability: npt.ArrayLike, bins: int = 10, scheme: BinScheme = "equal_width"
) -> BrierDecomposition:
    """Reliability, resolution and uncertainty of the Brier score.

    References
    ----------
    Murphy, J Applied Meteorology 12:595-600 (1973). Stephenson, Coelho & Jolliffe, Wea Forecasting 23:752-757 (2008).
    """
    sample = nonempty(reference, probability)
    table = bin_table(sample, bins, scheme)
    n = float(sample.n)
    prevalence = sample.n_positive / n
    score = float(((sample.score - sample.reference) ** 2).mean())
    reliability = float((table.n * (table.probability - table.observed) ** 2).sum()) / n
    resolution = float((table.n * (table.observed - prevalence) ** 2).sum()) / n
    uncertainty = prevalence * (1.0 - prevalence)
    return BrierDecomposition(
        brier=score,
        reliability=reliability,
        resolution=resolution,
        uncertainty=uncertainty,
        within_bin=score - (reliability - resolution + uncertainty),
        bins=bins,
        scheme=scheme,
    )


def smooth_ece_value(reference: npt.ArrayLike, probability: npt.ArrayLike) -> float:
    """Smooth ECE: kernel-smoothed calibration error with the width chosen so that error and width agree; no bins.

    References
    ----------
    Błasiok & Nakkiran, ICLR 2024 (arXiv:2309.12236), reflected Gaussian kernel.
    """
    sample = nonempty(reference, probability)
    return smoothing.smooth_calibration_error(sample.score, sample.reference - sample.score)


def smooth_gaps(sample: BinarySample, smoother: Smoother) -> FloatArray:
    """`(n,)` |smoothed observed share − probability| of each case; the smooth is kept within [0, 1]."""
    return np.abs(_smooth(sample, smoother) - sample.score)


def _smooth(sample: BinarySample, smoother: Smoother) -> FloatArray:
    if smoother not in SMOOTHERS:
        raise ValueError(f"smoother is loess or lowess, got {smoother!r}")
    fit = smoothing.loess if smoother == "loess" else smoothing.lowess
    smooth = fit(sample.score, sample.reference.astype(np.float64))
    if smoother == "loess":
        smooth = np.clip(smooth, 0.0, 1.0)
    return smooth


_SHARES = {"e50": 0.5, "e90": 0.9, "emax": 1.0}


def _summaries(gaps: FloatArray, statistics: Sequence[SmoothStatistic]) -> list[float]:
    """Mean (`ici`) or quantile of the gaps, for each statistic."""
    ordered = np.sort(gaps)
    return [float(gaps.mean()) if s == "ici" else _quantile(ordered, _SHARES[s]) for s in statistics]


def _quantile(ordered: FloatArray, share: float) -> float:
    """numpy's quantile of values in ascending order, digit for digit, without what it costs to ask for one."""
    at = share * (ordered.size - 1)
    below = min(int(at), ordered.size - 1)
    low, high = float(ordered[below]), float(ordered[min(below + 1, ordered.size - 1)])
    part = at - below
    return high - (high - low) * (1.0 - part) if part >= 0.5 else low + (high - low) * part


def smooth_error_value(
    reference: npt.ArrayLike,
    probability: npt.ArrayLike,
    statistic: SmoothStatistic = "ici",
    *,
    smoother: Smoother = "loess",
) -> float:
    """ICI (mean), E50 (median), E90 or Emax of the gap between a smooth calibration curve and the probabilities.

    The smoother matters: on one data set the ICI was .0475, .0435 and .0430 with three of them, so it is always named.

    References
    ----------
    Austin & Steyerberg, Stat Med 38:4051-4065 (2019). Harrell, Regression Modeling Strategies (2015), val.prob.
    """
    return _summaries(smooth_gaps(nonempty(reference, probability), smoother), (statistic,))[0]


def ici_value(reference: npt.ArrayLike, probability: npt.ArrayLike, *, smoother: Smoother = "loess") -> float:
    """Integrated calibration index: mean absolute gap to the smooth calibration curve."""
    return smooth_error_value(reference, probability, "ici", smoother=smoother)


def e50_value(reference: npt.ArrayLike, probability: npt.ArrayLike, *, smoother: Smoother = "loess") -> float:
    """Median absolute gap to the smooth calibration curve."""
    return smooth_error_value(reference, probability, "e50", smoother=smoother)


def e90_value(reference: npt.ArrayLike, probability: npt.ArrayLike, *, smoother: Smoother = "loess") -> float:
    """90th percentile of the absolute gap to the smooth calibration curve."""
    return smooth_error_value(reference, probability, "e90", smoother=smoother)


def smooth_error(
    reference: npt.ArrayLike,
    probability: npt.ArrayLike,
    statistic: SmoothStatistic = "ici",
    *,
    smoother: Smoother = "loess",
    level: float = 0.95,
    cluster: npt.ArrayLike | None = None,
    unit: Unit = "case",
    replicates: int = 500,
    seed: int = 0,
) -> Estimate:
    """`smooth_error_value` with a bootstrap interval over patients made for absolute values (`folded_interval`).

    Resampling inflates the gap as it inflates ECE. The error of a replicate is the same summary of what it changes in
    the curve at the cases' probabilities; for E50 and E90, which are no norms, that is an approximation. Not estimable
    with one class only or equal probabilities.
    """
    return smooth_errors(
        reference,
        probability,
        (statistic,),
        smoother=smoother,
        level=level,
        cluster=cluster,
        unit=unit,
        replicates=replicates,
        seed=seed,
    )[0]


def smooth_errors(
    reference: npt.ArrayLike,
    probability: npt.ArrayLike,
    statistics: Sequence[SmoothStatistic] = ("ici", "e50", "e90"),
    *,
    smoother: Smoother = "loess",
    level: float = 0.95,
    cluster: npt.ArrayLike | None = None,
    unit: Unit = "case",
    replicates: int = 500,
    seed: int = 0,
) -> list[Estimate]:
    """`smooth_error` of each statistic, all from the same curves of the same resamples."""
    level = check_level(level)
    sample = binary_sample(reference, probability, cluster=cluster, unit=unit, probability=True)
    common: dict[str, Any] = {**sample.counts, "n": sample.n, "unit": unit, "level": level}
    title = f"{SMOOTHERS.get(smoother, smoother)}; {SMOOTH_TITLE.format(replicates=replicates)}"
    reason = sample.one_class_reason()
    if reason is None and float(np.ptp(sample.score)) == 0.0:
        reason = "all probabilities are equal, so there is no curve"
    if reason is not None:
        return [Estimate.not_estimable(reason, method=title, **common) for _ in statistics]
    curve = _smooth(sample, smoother)
    draw = PatientDraw(sample.cluster if sample.cluster is not None else np.arange(sample.n), replicates, seed)
    values, errors = (np.full((len(statistics), replicates), np.nan) for _ in range(2))
    for start, counts in draw.blocks():
        for row, count in enumerate(counts, start=start):
            drawn = np.repeat(np.arange(sample.n), count[draw.patient])
            p = sample.score[drawn]
            if drawn.size and float(np.ptp(p)) > 0.0:
                part = BinarySample(reference=sample.reference[drawn], score=p, cluster=None, unit=unit)
                again = _smooth(part, smoother)
                order = np.argsort(p, kind="stable")
                gaps, changes = np.abs(again - p), np.abs(np.interp(sample.score, p[order], again[order]) - curve)
                values[:, row], errors[:, row] = _summaries(gaps, statistics), _summaries(changes, statistics)
    made = []
    for k, value in enumerate(_summaries(np.abs(curve - sample.score), statistics)):
        interval = folded_interval(values[k], errors[k], value, level=level, smooth=True)
        made.append(
            Estimate(
                value=value,
                low=interval.low,
                high=interval.high,
                interval_undefined=interval.undefined,
                method=title,
                replicates=interval.replicates,
                replicates_undefined=interval.replicates_undefined,
                **common,
            )
        )
    return made


def binned_error(
    metric: Literal["ece", "mce"],
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
    """ECE or MCE with a bootstrap interval over patients made for absolute values (`folded_interval`).

    Bins are those of the data in every replicate. Not estimable without cases.
    """
    sample = binary_sample(reference, probability, cluster=cluster, unit=unit, probability=True)
    draw = PatientDraw(sample.cluster if sample.cluster is not None else np.arange(sample.n), replicates, seed)
    return binary_bootstrap(
        draw,
        reference=sample.reference,
        probability=sample.score,
        metrics=[metric],
        level=level,
        bins=bins,
        scheme=scheme,
        unit=unit,
    )[0][0]


def spiegelhalter(reference: npt.ArrayLike, probability: npt.ArrayLike) -> TestOutcome:
    """Spiegelhalter's z: is the Brier score what it would be if every probability were right? Two-sided.

    Undefined where every probability is 0, ½ or 1 (the statistic then has no variance). Assumes independent cases.

    References
    ----------
    Spiegelhalter, Stat Med 5:421-433 (1986).
    """
    sample = nonempty(reference, probability)
    y, p = sample.reference, sample.score
    variance = float(((1.0 - 2.0 * p) ** 2 * p * (1.0 - p)).sum())
    method = "Spiegelhalter (1986), two-sided, independent cases"
    if variance <= 0.0:
        return TestOutcome(
            name="spiegelhalter_z",
            statistic=None,
            p_value=None,
            method=method,
            undefined="every probability is 0, 0.5 or 1, so the statistic has no variance",
        )
    z = float(((y - p) * (1.0 - 2.0 * p)).sum()) / math.sqrt(variance)
    return TestOutcome(name="spiegelhalter_z", statistic=z, p_value=float(2.0 * ndtr(-abs(z))), method=method)


def hosmer_lemeshow(
    reference: npt.ArrayLike,
    probability: npt.ArrayLike,
    *,
    groups: int = 10,
    fitted_on_same_data: bool = False,
) -> TestOutcome:
    """Hosmer-Lemeshow chi-square over groups of equal size: a legacy test, kept because dossiers ask for it.

    Its power depends on n and on the arbitrary groups; prefer intercept, slope and the curve. Degrees of freedom are
    the groups (external data), or groups − 2 where the model was fitted on these cases. Equal probabilities stay in one
    group, so there may be fewer groups than asked.

    References
    ----------
    Hosmer & Lemeshow, Commun Stat A 9:1043-1069 (1980).
    """
    sample = nonempty(reference, probability)
    table = bin_table(sample, groups, "equal_mass")
    variance = table.n * table.probability * (1.0 - table.probability)
    k = int(table.n.size)
    freedom = k - 2 if fitted_on_same_data else k
    method = f"Hosmer-Lemeshow (legacy), {k} groups of equal size, {freedom} degrees of freedom, independent cases"
    reason = None
    if freedom < 1:
        reason = "too few distinct probabilities for the test"
    elif float(variance.min()) <= 0.0:
        reason = "a group's expected number is 0 or all of it"
    if reason is not None:
        return TestOutcome(name="hosmer_lemeshow", statistic=None, p_value=None, method=method, undefined=reason)
    statistic = float(((table.n * (table.observed - table.probability)) ** 2 / variance).sum())
    return TestOutcome(
        name="hosmer_lemeshow", statistic=statistic, p_value=float(chdtrc(freedom, statistic)), method=method
    )

"""How well a score separates patients with the condition from those without: AUROC, its interval, the ROC curve."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit, ndtri

from evalsuite.stats._binary_inputs import BinarySample, FloatArray, binary_sample, check_level
from evalsuite.stats._polygons import of_replicates
from evalsuite.stats._rank import Placements, delong_variance, newcombe_interval, obuchowski_covariance, placements
from evalsuite.stats.draw import PatientDraw
from evalsuite.types import Estimate, Unit

AurocMethod = Literal["delong", "logit-delong", "newcombe"]

NEWCOMBE = "Newcombe (2006) method 5"
ONE_PATIENT = "all {which} cases come from one patient, so variation between patients cannot be estimated"


@dataclass(frozen=True, slots=True, kw_only=True)
class AurocVariance:
    """AUROC with its variance: `naive` ignores patients (DeLong), `robust` respects them (Obuchowski)."""

    auroc: float
    naive: float | None
    robust: float | None

    @property
    def design_effect(self) -> float | None:
        if self.naive is None or self.robust is None or self.naive <= 0.0:
            return None
        return self.robust / self.naive


def auroc_variance(
    reference: npt.ArrayLike, score: npt.ArrayLike, *, cluster: npt.ArrayLike | None = None
) -> AurocVariance | None:
    """AUROC with DeLong's and Obuchowski's variance, or None with one class only.

    A variance is None where it is not identified: a class with a single case (DeLong) or in a single patient
    (Obuchowski). One case per patient: both agree exactly.
    """
    sample = binary_sample(reference, score, cluster=cluster)
    return None if sample.one_class_reason() else _variance(sample, placements(sample.reference, sample.score))


def _variance(sample: BinarySample, ranks: Placements) -> AurocVariance:
    naive = robust = delong_variance(ranks)
    if sample.clustered:
        assert sample.cluster is not None
        robust = obuchowski_covariance(ranks, ranks, sample.reference, sample.cluster)
    return AurocVariance(auroc=ranks.auroc, naive=naive, robust=robust)


def auroc(
    reference: npt.ArrayLike,
    score: npt.ArrayLike,
    *,
    level: float = 0.95,
    method: AurocMethod = "delong",
    cluster: npt.ArrayLike | None = None,
    unit: Unit = "case",
    **counts: Any,
) -> Estimate:
    """Probability that a random positive case scores higher than a random negative one, ties counting one half.

    Parameters
    ----------
    reference
        `(n,)` True where the reference standard is positive.
    score
        `(n,)` higher means more suspicious; infinite scores take part by rank.
    level
        Two-sided confidence level.
    method
        `delong`: Wald interval, clipped to [0, 1]; it covers too rarely with few positives (or negatives) and near 1.
        `logit-delong`: the same variance on the logit scale. `newcombe`: Newcombe's method 5, which keeps its coverage
        there, with several cases per patient on the effective numbers of cases (divided by the design effect, floored
        at 1). With several cases per patient the other two give the Obuchowski interval.
    cluster
        `(n,)` patient of each case. Where a patient has several cases the variance is Obuchowski's and the interval is
        formed on the logit scale; with one case per patient the result is the unclustered one exactly.
    counts
        Further fields of the `Estimate`, taken over as they are.

    Returns
    -------
    Estimate
        Not estimable with one class only. Where the variance is zero (AUROC 0 or 1, all scores tied) or a class has a
        single patient with a single case, the interval is Newcombe's method 5 on the number of patients: never
        zero-width. Where a class with several cases sits in one patient there is a value and a reason instead of an
        interval.

    Raises
    ------
    ValueError
        If shapes differ, a score is NaN, or the method is unknown.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson, Biometrics 44:837-845 (1988). Obuchowski, Biometrics 53:567-578 (1997).
    Newcombe, Statistics in Medicine 25:559-573 (2006). Pepe (2003), p. 107 (logit scale).

    Examples
    --------
    >>> e = auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> e.value, e.n_positive, e.n_negative
    (0.75, 2, 2)
    """
    if method not in ("delong", "logit-delong", "newcombe"):
        raise ValueError(f"method is delong, logit-delong or newcombe, got {method!r}")
    level = check_level(level)
    sample = binary_sample(reference, score, cluster=cluster, unit=unit)
    label = _label(sample, method)
    common: dict[str, Any] = {**sample.counts, "n": sample.n, "unit": unit, "level": level}
    reason = sample.one_class_reason()
    if reason is not None:
        return Estimate.not_estimable(reason, method=label, **{**common, **counts})
    ranks = placements(sample.reference, sample.score)
    spread = _variance(sample, ranks)
    if sample.clustered:
        common["design_effect"] = spread.design_effect
    low, high, label, absent = _interval(sample, spread, level=level, method=method, label=label)
    return Estimate(
        value=spread.auroc, low=low, high=high, method=label, interval_undefined=absent, **{**common, **counts}
    )


def _label(sample: BinarySample, method: AurocMethod) -> str:
    if sample.clustered:
        return f"{NEWCOMBE}, effective n" if method == "newcombe" else "logit-DeLong / Obuchowski"
    return {"delong": "DeLong", "logit-delong": "logit-DeLong", "newcombe": NEWCOMBE}[method]


def _interval(
    sample: BinarySample,
    spread: AurocVariance,
    *,
    level: float,
    method: AurocMethod,
    label: str,
) -> tuple[float | None, float | None, str, str | None]:
    area, variance = spread.auroc, spread.robust
    with_pos, with_neg = patients_per_class(sample)
    boundary = area in (0.0, 1.0)
    if variance is None and not boundary and sample.clustered:
        for count, cases, which in (
            (with_pos, sample.n_positive, "positive"),
            (with_neg, sample.n_negative, "negative"),
        ):
            if count == 1 and cases > 1:
                return None, None, label, ONE_PATIENT.format(which=which)
    if method == "newcombe" and not boundary and variance is not None and variance > 0.0:
        effect = max(1.0, spread.design_effect or 1.0)
        low, high = newcombe_interval(area, sample.n_positive / effect, sample.n_negative / effect, level)
        return low, high, label, None
    if boundary or variance is None or variance <= 0.0:
        low, high = newcombe_interval(area, with_pos, with_neg, level)
        patients = ", n = patients" if sample.clustered else ""
        return low, high, NEWCOMBE + patients, None
    z = float(ndtri(0.5 + level / 2.0))
    if method == "logit-delong" or sample.clustered:
        centre = math.log(area / (1.0 - area))
        half = z * math.sqrt(variance) / (area * (1.0 - area))
        return float(expit(centre - half)), float(expit(centre + half)), label, None
    half = z * math.sqrt(variance)
    return max(0.0, area - half), min(1.0, area + half), label, None


def patients_per_class(sample: BinarySample) -> tuple[int, int]:
    """Number of patients with a positive and with a negative case."""
    if sample.cluster is None:
        return sample.n_positive, sample.n_negative
    return (
        int(np.unique(sample.cluster[sample.reference]).size),
        int(np.unique(sample.cluster[~sample.reference]).size),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RocCurve:
    """ROC polygon from (0, 0) to (1, 1): at `threshold[i]`, `score >= threshold` has these two rates.

    One point per distinct score plus the start, whose threshold is +inf (nothing is called positive).
    """

    fpr: FloatArray
    tpr: FloatArray
    threshold: FloatArray


def roc_curve(reference: npt.ArrayLike, score: npt.ArrayLike) -> RocCurve:
    """Empirical ROC curve, all `(k + 1,)` points for `k` distinct scores, `score >= threshold` counting as positive.

    Raises
    ------
    ValueError
        With one class only: there is no curve to draw.
    """
    sample = binary_sample(reference, score)
    reason = sample.one_class_reason()
    if reason is not None:
        raise ValueError(f"no ROC curve: {reason}")
    threshold, tp, total = cumulative_counts(sample)
    return RocCurve(
        fpr=(total - tp) / sample.n_negative,
        tpr=tp / sample.n_positive,
        threshold=threshold,
    )


def cumulative_counts(sample: BinarySample) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Thresholds in falling order (+inf first), true positives and all positive calls at each, as float64."""
    order = np.argsort(-sample.score, kind="stable")
    score = sample.score[order]
    last = np.flatnonzero(np.append(score[1:] != score[:-1], True))
    tp = np.cumsum(sample.reference[order])[last]
    return (
        np.append(np.inf, score[last]),
        np.append(0.0, tp.astype(np.float64)),
        np.append(0.0, last + 1.0),
    )


def roc_band(
    reference: npt.ArrayLike,
    score: npt.ArrayLike,
    *,
    level: float = 0.95,
    grid_fpr: npt.ArrayLike | None = None,
    replicates: int = 2000,
    seed: int = 0,
    cluster: npt.ArrayLike | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Pointwise band of sensitivity at each false-positive rate of `grid_fpr (g,)`: bootstrap by patient, vertical.

    Each replicate's ROC polygon is interpolated at the grid; the band is the percentile interval per grid point.
    Patients are drawn within groups with positives only, negatives only and both, so no replicate lacks a class.
    Default grid: 0, 0.01, … 1.

    Returns
    -------
    tuple of (g,) arrays
        Lower and upper limit of the true-positive rate.

    Raises
    ------
    ValueError
        With one class only.
    """
    level = check_level(level)
    sample = binary_sample(reference, score, cluster=cluster)
    reason = sample.one_class_reason()
    if reason is not None:
        raise ValueError(f"no ROC band: {reason}")
    grid = np.linspace(0.0, 1.0, 101) if grid_fpr is None else np.asarray(grid_fpr, dtype=np.float64)
    patients = sample.cluster if sample.cluster is not None else np.arange(sample.n)
    draw = PatientDraw(patients, replicates, seed, stratify=sample.reference)
    curves = replicate_sensitivity(sample, draw, grid)
    low, high = np.quantile(curves, [0.5 - level / 2.0, 0.5 + level / 2.0], axis=0)
    return low, high


def replicate_sensitivity(sample: BinarySample, draw: PatientDraw, grid_fpr: FloatArray) -> FloatArray:
    """`(replicates, g)` true-positive rate at each false-positive rate; rows of NaN where a replicate has one class."""
    return np.concatenate([curves.heights(grid_fpr) for curves in of_replicates(sample, draw)])

"""Is one score better than another, no worse, or the same: differences of AUROC with tests against a margin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from evalsuite.stats._binary_inputs import BinarySample, binary_sample, check_level
from evalsuite.stats._rank import delong_covariance, delong_variance, obuchowski_covariance, placements
from evalsuite.types import Estimate, TestOutcome, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class AurocDifference:
    """First minus second AUROC: both areas, the difference with its interval, its standard error and the z-test of 0.

    `standard_error` is None where it cannot be estimated or is 0; the estimate and the test then carry the reason.
    """

    first: float | None
    second: float | None
    estimate: Estimate
    standard_error: float | None
    test: TestOutcome


def paired_auroc_difference(
    reference: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    level: float = 0.95,
    cluster: npt.ArrayLike | None = None,
    unit: Unit = "case",
) -> AurocDifference:
    """AUROC of `first` minus that of `second` on the same cases: DeLong, or Obuchowski with several cases per patient.

    Not estimable with one class only. With zero variance of the difference (identical scores, both areas 1) there is a
    value and a reason instead of interval and test.

    Raises
    ------
    ValueError
        If shapes differ or a score is NaN.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson, Biometrics 44:837-845 (1988). Obuchowski, Biometrics 53:567-578 (1997).
    """
    a = binary_sample(reference, first, cluster=cluster, unit=unit)
    b = binary_sample(reference, second, cluster=cluster, unit=unit)
    common = {**a.counts, "n": a.n, "unit": unit, "level": check_level(level)}
    method = "Obuchowski, paired" if a.clustered else "DeLong, paired"
    reason = a.one_class_reason()
    if reason is not None:
        return _absent(reason, method, common)
    ranks_a, ranks_b = placements(a.reference, a.score), placements(b.reference, b.score)
    parts: list[float | None]
    if a.clustered and a.cluster is not None:
        parts = [obuchowski_covariance(x, y, a.reference, a.cluster) for x, y in (
            (ranks_a, ranks_a), (ranks_b, ranks_b), (ranks_a, ranks_b))]  # fmt: skip
    else:
        parts = [delong_variance(ranks_a), delong_variance(ranks_b), delong_covariance(ranks_a, ranks_b)]
    known = [p for p in parts if p is not None]
    variance = None
    if len(known) == 3:
        variance = known[0] + known[1] - 2.0 * known[2]
        # Cancellation leaves rounding noise where the two scores rank alike.
        if variance <= 1e-12 * max(known[0], known[1]):
            variance = 0.0
    return _result(ranks_a.auroc, ranks_b.auroc, variance, method, common, clustered=a.clustered)


def unpaired_auroc_difference(
    first: tuple[npt.ArrayLike, npt.ArrayLike],
    second: tuple[npt.ArrayLike, npt.ArrayLike],
    *,
    level: float = 0.95,
    clusters: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    unit: Unit = "case",
) -> AurocDifference:
    """AUROC of the first `(reference, score)` minus that of the second, on different patients (two sites, two sexes).

    Raises
    ------
    ValueError
        If a patient appears in both groups: they are then not independent.
    """
    samples: list[BinarySample] = []
    for k, (reference, score) in enumerate((first, second)):
        samples.append(binary_sample(reference, score, cluster=clusters[k] if clusters else None, unit=unit))
    if clusters is not None and np.intersect1d(np.asarray(clusters[0]), np.asarray(clusters[1])).size:
        raise ValueError("patients appear in both groups; an unpaired comparison needs different patients")
    a, b = samples
    common = {
        "n": a.n + b.n,
        "n_positive": a.n_positive + b.n_positive,
        "n_negative": a.n_negative + b.n_negative,
        "n_patients": a.n_patients + b.n_patients,
        "unit": unit,
        "level": check_level(level),
    }
    clustered = a.clustered or b.clustered
    method = "Obuchowski, unpaired" if clustered else "DeLong, unpaired"
    for name, sample in (("first", a), ("second", b)):
        reason = sample.one_class_reason()
        if reason is not None:
            return _absent(f"{name} group: {reason}", method, common)
    ranks = [placements(s.reference, s.score) for s in samples]
    variances = [
        obuchowski_covariance(r, r, s.reference, s.cluster)
        if s.clustered and s.cluster is not None
        else delong_variance(r)
        for r, s in zip(ranks, samples, strict=True)
    ]
    known = [v for v in variances if v is not None]
    variance = sum(known) if len(known) == 2 else None
    return _result(ranks[0].auroc, ranks[1].auroc, variance, method, common, clustered=clustered)


def _absent(reason: str, method: str, common: dict[str, Any]) -> AurocDifference:
    return AurocDifference(
        first=None,
        second=None,
        estimate=Estimate.not_estimable(reason, method=method, **common),
        standard_error=None,
        test=TestOutcome(name="auroc_difference", statistic=None, p_value=None, method=method, undefined=reason),
    )


def _result(
    first: float, second: float, variance: float | None, method: str, common: dict[str, Any], *, clustered: bool
) -> AurocDifference:
    difference = first - second
    if variance is None or variance <= 0.0:
        reason = "the difference has zero variance: the scores rank all cases alike, or both areas are 0 or 1"
        if variance is None:
            where = "patient" if clustered else "case"
            reason = f"a class with a single {where}, so the variance cannot be estimated"
        return AurocDifference(
            first=first,
            second=second,
            estimate=Estimate(value=difference, interval_undefined=reason, method=method, **common),
            standard_error=None,
            test=TestOutcome(name="auroc_difference", statistic=None, p_value=None, method=method, undefined=reason),
        )
    error = math.sqrt(variance)
    half = float(ndtri(0.5 + common["level"] / 2.0)) * error
    z = difference / error
    return AurocDifference(
        first=first,
        second=second,
        estimate=Estimate(
            value=difference,
            low=max(-1.0, difference - half),
            high=min(1.0, difference + half),
            method=method,
            **common,
        ),
        standard_error=error,
        test=TestOutcome(
            name="auroc_difference", statistic=z, p_value=float(2.0 * ndtr(-abs(z))), method=f"{method}, two-sided z"
        ),
    )


def superiority_test(difference: AurocDifference, *, margin: float = 0.0) -> TestOutcome:
    """One-sided z-test that the first AUROC exceeds the second by more than `margin >= 0`."""
    return _one_sided("auroc_superiority", difference, shift=-_checked_margin(margin, zero=True))


def noninferiority_test(difference: AurocDifference, *, margin: float) -> TestOutcome:
    """One-sided z-test that the first AUROC is not lower than the second by `margin > 0` or more."""
    return _one_sided("auroc_noninferiority", difference, shift=_checked_margin(margin, zero=False))


def equivalence_test(difference: AurocDifference, *, margin: float) -> TestOutcome:
    """Two one-sided z-tests that the areas differ by less than `margin > 0`; p is the larger of the two.

    Equivalence at level α is the same as the (1 − 2α) interval lying inside ±margin.

    References
    ----------
    Schuirmann, J Pharmacokinet Biopharm 15:657-680 (1987).
    """
    margin = _checked_margin(margin, zero=False)
    above = _one_sided("auroc_equivalence", difference, shift=margin)
    if above.statistic is None or difference.standard_error is None or difference.estimate.value is None:
        return above
    below = (margin - difference.estimate.value) / difference.standard_error
    z = min(above.statistic, below)
    return TestOutcome(
        name="auroc_equivalence",
        statistic=z,
        p_value=float(ndtr(-z)),
        method=f"{difference.estimate.method}, two one-sided z-tests, margin {margin:g}",
    )


def _checked_margin(margin: float, *, zero: bool) -> float:
    if not (margin >= 0.0 if zero else margin > 0.0) or not math.isfinite(margin):
        raise ValueError(f"margin must be {'at least' if zero else 'above'} 0, got {margin!r}")
    return float(margin)


def _one_sided(name: str, difference: AurocDifference, *, shift: float) -> TestOutcome:
    method = f"{difference.estimate.method}, one-sided z, margin {abs(shift):g}"
    if difference.standard_error is None or difference.estimate.value is None:
        return TestOutcome(name=name, statistic=None, p_value=None, method=method, undefined=difference.test.undefined)
    z = (difference.estimate.value + shift) / difference.standard_error
    return TestOutcome(name=name, statistic=z, p_value=float(ndtr(-z)), method=method)

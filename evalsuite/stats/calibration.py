"""Whether predicted probabilities mean what they say: intercept, slope, Brier score, log loss, observed to expected."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import logit, ndtri

from evalsuite.stats._binary_inputs import BinarySample, FloatArray, IntArray, binary_sample, check_level
from evalsuite.stats._logistic import LogisticFit, fit_logistic, profile_interval
from evalsuite.stats._stratum_plan import case_log_loss
from evalsuite.stats.bins import BinScheme
from evalsuite.stats.calibration_error import (
    BrierDecomposition,
    binned_error,
    brier_decomposition,
    debiased_ece_value,
    debiased_squared_error_value,
    e50_value,
    e90_value,
    ece_value,
    hosmer_lemeshow,
    ici_value,
    mce_value,
    nonempty,
    smooth_ece_value,
    smooth_error,
    smooth_error_value,
    spiegelhalter,
)
from evalsuite.types import Estimate, Unit

__all__ = [
    "BrierDecomposition",
    "brier",
    "brier_decomposition",
    "brier_value",
    "calibration_intercept",
    "calibration_slope",
    "debiased_ece_value",
    "debiased_squared_error_value",
    "e50",
    "e50_value",
    "e90",
    "e90_value",
    "ece",
    "ece_value",
    "hosmer_lemeshow",
    "ici",
    "ici_value",
    "log_loss",
    "log_loss_value",
    "mce",
    "mce_value",
    "observed_expected",
    "recalibration_intercept",
    "scaled_brier",
    "scaled_brier_value",
    "smooth_ece_value",
    "smooth_error",
    "smooth_error_value",
    "spiegelhalter",
]

EXTREME = "a probability of exactly 0 or 1 has no finite log-odds"
CONSTANT = "all probabilities are equal, so there is no slope"
SEPARATED = "the probabilities separate the classes completely, so no finite {what} exists"


def _prepare(
    reference: npt.ArrayLike, probability: npt.ArrayLike, level: float, cluster: npt.ArrayLike | None, unit: Unit
) -> tuple[BinarySample, dict[str, Any]]:
    sample = binary_sample(reference, probability, cluster=cluster, unit=unit, probability=True)
    return sample, {**sample.counts, "n": sample.n, "unit": unit, "level": check_level(level)}


def _mean_estimate(
    sample: BinarySample, values: FloatArray, common: dict[str, Any], *, method: str, lowest: float, highest: float
) -> Estimate:
    """Mean of per-case values with a normal interval, clustered by patient where a patient has several cases."""
    mean = float(values.mean())
    variance = _mean_variance(values, sample.cluster if sample.clustered else None)
    if sample.clustered:
        method += ", clustered by patient"
        naive = _mean_variance(values, None)
        if naive and variance is not None:
            common = {**common, "design_effect": variance / naive}
    if variance is None:
        reason = "one patient only" if sample.clustered else "one case only"
        return Estimate(value=mean, method=method, interval_undefined=reason, **common)
    if variance == 0.0:
        reason = "no variation between cases is observed"
        return Estimate(value=mean, method=method, interval_undefined=reason, **common)
    half = float(ndtri(0.5 + common["level"] / 2.0)) * math.sqrt(variance)
    return Estimate(value=mean, low=max(lowest, mean - half), high=min(highest, mean + half), method=method, **common)


def _mean_variance(values: FloatArray, cluster: IntArray | None) -> float | None:
    """Variance of a mean; with clusters the linearised ratio estimator with factor G/(G − 1)."""
    deviation = values - values.mean()
    # Differences in the last digits are rounding, not variation.
    noise = 1e-12 * float(np.abs(values).max())
    if float(np.abs(deviation).max()) <= noise:
        return 0.0 if values.size > 1 and (cluster is None or int(cluster.max()) > 0) else None
    if cluster is not None:
        deviation = np.bincount(cluster, weights=deviation)
    groups = deviation.size
    if groups < 2:
        return None
    if float(np.abs(deviation).max()) <= noise * values.size:
        return 0.0
    squares = float((deviation**2).sum())
    return float(squares * groups / ((groups - 1) * values.size**2))


def brier(
    reference: npt.ArrayLike,
    probability: npt.ArrayLike,
    *,
    level: float = 0.95,
    cluster: npt.ArrayLike | None = None,
    unit: Unit = "case",
    **counts: Any,
) -> Estimate:
    """Mean squared difference between probability and outcome (0 or 1); 0 is perfect.

    Normal interval from the variance of the per-case squared errors, clustered by patient where a patient has several
    cases, clipped to [0, 1]. Defined with one class too. Not estimable without cases.

    References
    ----------
    Brier, Monthly Weather Review 78:1-3 (1950). Variance: Bradley, Schwartz & Hashino, Weather and Forecasting
    23:992-1006 (2008).

    Examples
    --------
    >>> round(brier([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.3]).value, 4)
    0.0375
    """
    sample, common = _prepare(reference, probability, level, cluster, unit)
    common |= counts
    if sample.n == 0:
        return Estimate.not_estimable("no cases", **common)
    return _mean_estimate(
        sample, (sample.score - sample.reference) ** 2, common, method="normal", lowest=0.0, highest=1.0
    )


def brier_value(reference: npt.ArrayLike, probability: npt.ArrayLike) -> float:
    """Brier score without interval. `ValueError` without cases."""
    sample = nonempty(reference, probability)
    return float(((sample.score - sample.reference) ** 2).mean())


def log_loss(
    reference: npt.ArrayLike,
    probability: npt.ArrayLike,
    *,
    level: float = 0.95,
    cluster: npt.ArrayLike | None = None,
    unit: Unit = "case",
    **counts: Any,
) -> Estimate:
    """Mean of minus the natural log of the probability given to what happened; never clipped.

    Not estimable (infinite) where a case given probability 0 is positive or one given 1 is negative. Normal interval,
    clustered by patient where a patient has several cases, not below 0.
    """
    sample, common = _prepare(reference, probability, level, cluster, unit)
    common |= counts
    if sample.n == 0:
        return Estimate.not_estimable("no cases", **common)
    losses = case_log_loss(sample.reference, sample.score)
    wrong = int(np.isinf(losses).sum())
    if wrong:
        reason = f"infinite: {wrong} cases were given probability 0 or 1 for what did not happen"
        return Estimate.not_estimable(reason, **common)
    return _mean_estimate(sample, losses, common, method="normal", lowest=0.0, highest=math.inf)


def log_loss_value(reference: npt.ArrayLike, probability: npt.ArrayLike) -> float:
    """Log loss without interval; `inf` where a certain prediction was wrong. `ValueError` without cases."""
    sample = nonempty(reference, probability)
    return float(case_log_loss(sample.reference, sample.score).mean())


def scaled_brier_value(reference: npt.ArrayLike, probability: npt.ArrayLike) -> float:
    """1 − Brier / Brier of the prevalence: 1 is perfect, 0 no better than always predicting the prevalence.

    Raises
    ------
    ValueError
        With one class only: the prevalence is then a perfect prediction.
    """
    sample = nonempty(reference, probability)
    reason = sample.one_class_reason()
    if reason is not None:
        raise ValueError(f"no scaled Brier score: {reason}")
    prevalence = sample.n_positive / sample.n
    return 1.0 - float(((sample.score - sample.reference) ** 2).mean()) / (prevalence * (1.0 - prevalence))


def scaled_brier(
    reference: npt.ArrayLike,
    probability: npt.ArrayLike,
    *,
    level: float = 0.95,
    cluster: npt.ArrayLike | None = None,
    unit: Unit = "case",
    **counts: Any,
) -> Estimate:
    """Scaled Brier score (index of prediction accuracy) with a normal interval from its influence function.

    The reference is the Brier score of the observed prevalence, whose sampling is part of the interval. Clustered by
    patient where a patient has several cases. Not estimable with one class only.

    References
    ----------
    Steyerberg et al., Epidemiology 21:128-138 (2010). Kattan & Gerds, Diagn Progn Res 2:7 (2018).
    """
    sample, common = _prepare(reference, probability, level, cluster, unit)
    common |= counts
    reason = sample.one_class_reason()
    if reason is not None:
        return Estimate.not_estimable(reason, **common)
    errors = (sample.score - sample.reference) ** 2
    prevalence = sample.n_positive / sample.n
    null = prevalence * (1.0 - prevalence)
    value = 1.0 - float(errors.mean()) / null
    # d(B/V): dB/V − B/V² · (1 − 2π) dπ
    influence = -errors / null + float(errors.mean()) / null**2 * (1.0 - 2.0 * prevalence) * sample.reference
    estimate = _mean_estimate(
        sample, influence, common, method="normal, delta method", lowest=-math.inf, highest=math.inf
    )
    if estimate.low is None or estimate.high is None or estimate.value is None:
        return Estimate(value=value, method=estimate.method, interval_undefined=estimate.interval_undefined, **common)
    half = (estimate.high - estimate.low) / 2.0
    common["design_effect"] = estimate.design_effect
    return Estimate(value=value, low=value - half, high=min(1.0, value + half), method=estimate.method, **common)


def _recalibration_reason(sample: BinarySample, *, slope: bool) -> str | None:
    reason = sample.one_class_reason()
    if reason is not None:
        return reason
    if bool(((sample.score <= 0.0) | (sample.score >= 1.0)).any()):
        extreme = int(((sample.score <= 0.0) | (sample.score >= 1.0)).sum())
        return f"{EXTREME} ({extreme} cases)"
    if slope:
        if float(np.ptp(sample.score)) == 0.0:
            return CONSTANT
        positive, negative = sample.score[sample.reference], sample.score[~sample.reference]
        if positive.min() >= negative.max() or positive.max() <= negative.min():
            return SEPARATED.format(what="slope")
    return None


def calibration_intercept(
    reference: npt.ArrayLike,
    probability: npt.ArrayLike,
    *,
    level: float = 0.95,
    cluster: npt.ArrayLike | None = None,
    unit: Unit = "case",
    method: Literal["wald", "profile"] = "wald",
    **counts: Any,
) -> Estimate:
    """Calibration in the large: intercept of a logistic model with the predicted log-odds as offset; 0 is ideal.

    Above 0 the model underestimates risk on average, below 0 it overestimates. Wald interval (patient-robust sandwich
    where a patient has several cases) or profile likelihood (independent cases only).

    Returns
    -------
    Estimate
        Not estimable with one class only or where a probability is exactly 0 or 1.

    References
    ----------
    Cox, Biometrika 45:562-565 (1958). Van Calster et al., BMC Medicine 17:230 (2019).
    """
    sample, common = _prepare(reference, probability, level, cluster, unit)
    common |= counts
    if method not in ("wald", "profile"):
        raise ValueError(f"method is wald or profile, got {method!r}")
    if method == "profile" and sample.clustered:
        raise ValueError("a profile-likelihood interval assumes independent cases; use wald with several per patient")
    reason = _recalibration_reason(sample, slope=False)
    if reason is not None:
        return Estimate.not_estimable(reason, **common)
    offset = logit(sample.score)
    fit = fit_logistic(sample.reference, np.ones((sample.n, 1)), offset, cluster=_robust_cluster(sample))
    if fit is None:
        return Estimate.not_estimable("the logistic fit did not converge", **common)
    if method == "wald":
        return _wald(sample, fit, 0, common)
    value, z = float(fit.coefficients[0]), float(ndtri(0.5 + level / 2.0))
    ends = profile_interval(
        sample.reference, offset, value, fit.log_likelihood, z * math.sqrt(float(fit.covariance[0, 0])), z * z / 2.0
    )
    if ends is None:
        return Estimate(value=value, method="profile likelihood", interval_undefined="no finite end", **common)
    return Estimate(value=value, low=ends[0], high=ends[1], method="profile likelihood", **common)


def calibration_slope(
    reference: npt.ArrayLike,
    probability: npt.ArrayLike,
    *,
    level: float = 0.95,
    cluster: npt.ArrayLike | None = None,
    unit: Unit = "case",
    **counts: Any,
) -> Estimate:
    """Slope of the outcome's log-odds on the predicted log-odds (logistic recalibration); 1 is ideal.

    Below 1 the predictions are too extreme, above 1 too timid. Wald interval, patient-robust (sandwich) where a patient
    has several cases.

    Returns
    -------
    Estimate
        Not estimable with one class only, a probability of exactly 0 or 1, equal probabilities, or complete separation.
    """
    fit, sample, common, reason = _slope_fit(reference, probability, level, cluster, unit)
    common |= counts
    if fit is None:
        return Estimate.not_estimable(reason or "the logistic fit did not converge", **common)
    return _wald(sample, fit, 1, common)


def recalibration_intercept(
    reference: npt.ArrayLike,
    probability: npt.ArrayLike,
    *,
    level: float = 0.95,
    cluster: npt.ArrayLike | None = None,
    unit: Unit = "case",
    **counts: Any,
) -> Estimate:
    """Intercept beside the slope in logistic recalibration (not calibration in the large); 0 is ideal, with slope 1."""
    fit, sample, common, reason = _slope_fit(reference, probability, level, cluster, unit)
    common |= counts
    if fit is None:
        return Estimate.not_estimable(reason or "the logistic fit did not converge", **common)
    return _wald(sample, fit, 0, common)


def _slope_fit(
    reference: npt.ArrayLike, probability: npt.ArrayLike, level: float, cluster: npt.ArrayLike | None, unit: Unit
) -> tuple[LogisticFit | None, BinarySample, dict[str, Any], str | None]:
    sample, common = _prepare(reference, probability, level, cluster, unit)
    reason = _recalibration_reason(sample, slope=True)
    if reason is not None:
        return None, sample, common, reason
    design = np.stack([np.ones(sample.n), logit(sample.score)], axis=1)
    fit = fit_logistic(sample.reference, design, np.zeros(sample.n), cluster=_robust_cluster(sample))
    return fit, sample, common, None


def _robust_cluster(sample: BinarySample) -> IntArray | None:
    return sample.cluster if sample.clustered else None


def _wald(sample: BinarySample, fit: LogisticFit, index: int, common: dict[str, Any]) -> Estimate:
    value = float(fit.coefficients[index])
    method = "Wald"
    variance = float(fit.covariance[index, index])
    if sample.clustered:
        method = "Wald, patient-robust (sandwich)"
        if fit.robust is None:
            return Estimate(value=value, method=method, interval_undefined="one patient only", **common)
        robust = float(fit.robust[index, index])
        common = {**common, "design_effect": robust / variance}
        variance = robust
    half = float(ndtri(0.5 + common["level"] / 2.0)) * math.sqrt(variance)
    return Estimate(value=value, low=value - half, high=value + half, method=method, **common)


def observed_expected(
    reference: npt.ArrayLike,
    probability: npt.ArrayLike,
    *,
    level: float = 0.95,
    cluster: npt.ArrayLike | None = None,
    unit: Unit = "case",
    **counts: Any,
) -> Estimate:
    """Observed positives over the sum of predicted probabilities; 1 is ideal, above 1 the model underestimates.

    Interval on the log scale by the delta method for a ratio of sums (both observed and expected vary with the cases),
    clustered by patient where a patient has several cases.

    Returns
    -------
    Estimate
        Not estimable where the expected number is 0; value 0 without interval where no case is positive.

    References
    ----------
    Debray et al., Stat Methods Med Res 28:2768-2786 (2019), log scale.
    """
    sample, common = _prepare(reference, probability, level, cluster, unit)
    observed, expected = float(sample.n_positive), float(sample.score.sum())
    common |= {"numerator": observed, "denominator": expected, **counts}
    if sample.n == 0 or expected == 0.0:
        return Estimate.not_estimable("no cases" if sample.n == 0 else "the expected number is 0", **common)
    value = observed / expected
    method = "log, delta method"
    if observed == 0.0:
        reason = "no reference-positive cases, so the log of the ratio does not exist"
        return Estimate(value=0.0, method=method, interval_undefined=reason, **common)
    # Influence of one case on log(O/E).
    influence = (sample.reference / observed - sample.score / expected) * sample.n
    spread = _mean_estimate(sample, influence, common, method=method, lowest=-math.inf, highest=math.inf)
    if spread.low is None or spread.high is None:
        return Estimate(value=value, method=spread.method, interval_undefined=spread.interval_undefined, **common)
    half = (spread.high - spread.low) / 2.0
    common["design_effect"] = spread.design_effect
    return Estimate(
        value=value, low=value * math.exp(-half), high=value * math.exp(half), method=spread.method, **common
    )


def ece(
    reference: npt.ArrayLike,
    probability: npt.ArrayLike,
    bins: int = 10,
    scheme: BinScheme = "equal_width",
    **options: Any,
) -> Estimate:
    """Expected calibration error with interval; options as in `calibration_error.binned_error`."""
    return binned_error("ece", reference, probability, bins, scheme, **options)


def mce(
    reference: npt.ArrayLike,
    probability: npt.ArrayLike,
    bins: int = 10,
    scheme: BinScheme = "equal_width",
    **options: Any,
) -> Estimate:
    """Maximum calibration error with interval; options as in `calibration_error.binned_error`."""
    return binned_error("mce", reference, probability, bins, scheme, **options)


def ici(reference: npt.ArrayLike, probability: npt.ArrayLike, **options: Any) -> Estimate:
    """Integrated calibration index with interval; options as in `calibration_error.smooth_error`."""
    return smooth_error(reference, probability, "ici", **options)


def e50(reference: npt.ArrayLike, probability: npt.ArrayLike, **options: Any) -> Estimate:
    """Median gap to the smooth calibration curve with interval; options as in `calibration_error.smooth_error`."""
    return smooth_error(reference, probability, "e50", **options)


def e90(reference: npt.ArrayLike, probability: npt.ArrayLike, **options: Any) -> Estimate:
    """90th percentile of that gap with interval; options as in `calibration_error.smooth_error`."""
    return smooth_error(reference, probability, "e90", **options)

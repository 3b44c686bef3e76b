"""Estimates for the population a test set was drawn from, when some patients were more likely to be drawn than others.

Sampling weights are the inverse of each case's chance of being in the set. Enriched sets (more positives than in the
clinic) are a special case: sensitivity, specificity and AUROC do not change with the share of positives, but accuracy,
predictive values and the Brier score do, and are meaningful only at a declared prevalence. With equal weights and no
sampling strata every function gives exactly what the unweighted one gives.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalsuite.stats._binary_inputs import as_probabilities, as_reference
from evalsuite.stats._design import class_fields, design, kish_effective_n, linearised_variance, one_class_reason
from evalsuite.stats._means import Floats, patient_index
from evalsuite.stats._normal import check_level, t_two_sided
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.proportions import ProportionMethod, check_method, proportion_interval
from evalsuite.stats.weighted_auroc import weighted_auroc, weighted_auroc_bootstrap
from evalsuite.types import Estimate, Unit

CallMetric = Literal["sensitivity", "specificity", "ppv", "npv", "accuracy", "call_rate", "prevalence"]

__all__ = [
    "CallMetric",
    "kish_effective_n",
    "mean_at_prevalence",
    "weighted_auroc",
    "weighted_auroc_bootstrap",
    "weighted_brier",
    "weighted_call_metric",
    "weighted_mean",
    "weighted_proportion",
]

Bools = NDArray[np.bool_]


def weighted_proportion(
    success: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    among: ArrayLike | None = None,
    patient: ArrayLike | None = None,
    stratum: ArrayLike | None = None,
    level: float = 0.95,
    method: ProportionMethod = "clopper-pearson",
    unit: Unit = "case",
    **counts: Any,
) -> Estimate:
    """Weighted share of successes among the cases of `among`, with the interval at the effective number of cases.

    Parameters
    ----------
    success, among
        (n,) bool; `among` None for all cases.
    weight
        (n,) positive sampling weights; None for equal ones.
    patient
        (n,) patient of each case; None where every case is its own patient.
    stratum
        (n,) sampling stratum of each case's patient; None where patients were drawn from one population. Without it
        the interval is wider than need be where strata differ.

    Returns
    -------
    Estimate
        Korn & Graubard's interval, design effect floored at 1. `numerator` and `denominator` are sums of weights. Not
        estimable without cases; without an interval where a sampling stratum holds one patient.

    References
    ----------
    Korn & Graubard, Surv Methodol 24:193-201 (1998).
    """
    y = as_reference(success)
    d = design(y.size, weight, patient, stratum)
    inside = np.ones(y.size, dtype=bool) if among is None else as_reference(among)
    if inside.shape != y.shape:
        raise ValueError(f"among has shape {inside.shape}, expected {y.shape}")
    if d.stratum_of_patient is None or not inside.any():
        return clustered_proportion(
            y[inside],
            d.patient[inside],
            level=level,
            method=method,
            unit=unit,
            weight=None if d.plain else d.weight[inside],
            **counts,
        )
    level = check_level(level)
    w = np.where(inside, d.weight, 0.0)
    total = float(w.sum())
    p = float(w @ y) / total
    n, m = int(inside.sum()), int(np.unique(d.patient[inside]).size)
    fields: dict[str, Any] = {
        "n": n,
        "n_patients": m,
        "numerator": float(w @ y),
        "denominator": total,
        "level": level,
        "unit": unit,
        "method": f"{check_method(method)} on the effective number of cases (patients in sampling strata)",
        **counts,
    }
    variance = linearised_variance(w * (y - p) / total, d)
    if isinstance(variance, str):
        return Estimate(value=p, interval_undefined=variance, **fields)
    if variance == 0.0 or p in (0.0, 1.0):
        per_patient = np.bincount(d.patient, w) / np.maximum(np.bincount(d.patient, inside), 1)
        n_eff = kish_effective_n(per_patient)
        deff = max(1.0, n / n_eff)
    else:
        deff = max(1.0, variance / (p * (1.0 - p) / n))
        n_eff = n / deff * min(1.0, t_two_sided(level, max(n - 1, 1)) / t_two_sided(level, d.df)) ** 2
    low, high = proportion_interval(min(p * n_eff, n_eff), n_eff, level=level, method=method)
    return Estimate(value=p, low=low, high=high, design_effect=deff, **fields)


def weighted_call_metric(
    metric: CallMetric,
    reference: ArrayLike,
    call: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    stratum: ArrayLike | None = None,
    level: float = 0.95,
    method: ProportionMethod = "clopper-pearson",
    unit: Unit = "case",
) -> Estimate:
    """A proportion of cases (sensitivity, PPV, …) for the population that the weights describe.

    PPV, NPV, accuracy, call rate and prevalence are those of that population: the weights must bring positives and
    negatives to their share in it.
    """
    if metric not in get_args(CallMetric):
        raise ValueError(f"metric is one of {', '.join(get_args(CallMetric))}; got {metric!r}")
    y, c = as_reference(reference), as_reference(call)
    if y.shape != c.shape:
        raise ValueError(f"reference and call hold one value per case, got {y.size} and {c.size}")
    everyone = np.ones(y.size, dtype=bool)
    success, among = {
        "sensitivity": (c, y),
        "specificity": (~c, ~y),
        "ppv": (y, c),
        "npv": (~y, ~c),
        "accuracy": (c == y, everyone),
        "call_rate": (c, everyone),
        "prevalence": (y, everyone),
    }[metric]
    return weighted_proportion(
        success,
        weight,
        among=among,
        patient=patient,
        stratum=stratum,
        level=level,
        method=method,
        unit=unit,
        n_positive=int((y & among).sum()),
        n_negative=int((~y & among).sum()),
    )


def weighted_mean(
    values: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    stratum: ArrayLike | None = None,
    level: float = 0.95,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    unit: Unit = "case",
    **counts: Any,
) -> Estimate:
    """Weighted mean of a quantity per case; t interval on patients less strata, linearised, clipped to `bounds`.

    Not estimable without cases; without an interval where no variation can be seen.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not np.isfinite(x).all():
        raise ValueError("values are a one-dimensional array of finite numbers")
    d = design(x.size, weight, patient, stratum)
    level = check_level(level)
    fields: dict[str, Any] = {
        "n": x.size,
        "n_patients": d.n_patients,
        "level": level,
        "unit": unit,
        "method": "Student t, linearised" + ("" if d.plain else " with sampling weights"),
        **counts,
    }
    if x.size == 0:
        return Estimate.not_estimable("no cases", **fields)
    total = float(d.weight.sum())
    mean = float(x.mean()) if d.plain else float(d.weight @ x) / total
    variance = linearised_variance(d.weight * (x - mean) / total, d)
    if variance == 0.0 or (not isinstance(variance, str) and np.ptp(x) == 0.0):
        variance = "no variation between patients was seen"
    if isinstance(variance, str):
        return Estimate(value=mean, interval_undefined=variance, **fields)
    half = t_two_sided(level, d.df) * math.sqrt(variance)
    return Estimate(value=mean, low=max(mean - half, bounds[0]), high=min(mean + half, bounds[1]), **fields)


def weighted_brier(
    reference: ArrayLike,
    probability: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    stratum: ArrayLike | None = None,
    level: float = 0.95,
    unit: Unit = "case",
) -> Estimate:
    """Mean squared difference of probability and outcome in the population that the weights describe."""
    y = as_reference(reference)
    p = as_probabilities(probability, y.size)
    return weighted_mean(
        (p - y) ** 2,
        weight,
        patient=patient,
        stratum=stratum,
        level=level,
        bounds=(0.0, 1.0),
        unit=unit,
        n_positive=int(y.sum()),
        n_negative=int((~y).sum()),
    )


def mean_at_prevalence(
    values: ArrayLike,
    reference: ArrayLike,
    prevalence: float,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    bounds: tuple[float, float] = (0.0, 1.0),
    unit: Unit = "case",
) -> Estimate:
    """A mean over cases at a declared prevalence: π · mean of positives + (1 - π) · mean of negatives.

    With `values` the cases called correctly it is accuracy, with squared errors the Brier score of the probabilities as
    they are (not recalibrated to the prevalence). The limits of the two means are combined by square-and-add, with
    their covariance where a patient has cases of both classes; for correct/incorrect values they are Clopper-Pearson
    limits, so that a perfect class still has a width.

    Raises
    ------
    ValueError
        If the prevalence is not strictly between 0 and 1, a value leaves `bounds`, or shapes differ.

    References
    ----------
    Zou & Donner, Stat Med 27:1693-1702 (2008).
    """
    if not 0.0 < prevalence < 1.0:
        raise ValueError(f"prevalence lies strictly between 0 and 1, got {prevalence!r}")
    y = as_reference(reference)
    x = np.asarray(values, dtype=np.float64)
    if x.shape != y.shape or not np.isfinite(x).all():
        raise ValueError("values hold one finite number per case")
    if x.size and (float(x.min()) < bounds[0] or float(x.max()) > bounds[1]):
        raise ValueError(f"values lie outside {bounds}")
    index = patient_index(patient, y.size)
    shares = bool(np.isin(x, (0.0, 1.0)).all())
    name = f"square-and-add at prevalence {prevalence:g}, {'Clopper-Pearson' if shares else 'Student t'}"
    fields: dict[str, Any] = {**class_fields(y, design(y.size, None, index, None), check_level(level), unit)}
    reason = one_class_reason(y)
    if reason is not None:
        return Estimate.not_estimable(reason, method=name, **fields)
    parts = [
        clustered_proportion(x[c] == 1.0, index[c], level=level)
        if shares
        else weighted_mean(x[c], patient=index[c], level=level, bounds=bounds)
        for c in (y, ~y)
    ]
    weights = (prevalence, 1.0 - prevalence)
    value = math.fsum(w * e.value for w, e in zip(weights, parts, strict=True) if e.value is not None)
    why = next((e.interval_undefined for e in parts if e.low is None), None)
    if why is not None:
        return Estimate(value=value, interval_undefined=why, method=name, **fields)
    r = _class_correlation(x, y, index)

    def reach(end: Literal["low", "high"]) -> float:
        a, b = (w * abs(getattr(e, end) - e.value) for w, e in zip(weights, parts, strict=True))
        return math.sqrt(max(0.0, a * a + 2.0 * r * a * b + b * b))

    low, high = max(bounds[0], value - reach("low")), min(bounds[1], value + reach("high"))
    return Estimate(value=value, low=low, high=high, method=name, **fields)


def _class_correlation(x: Floats, y: Bools, index: NDArray[np.intp]) -> float:
    """Correlation of the two class means through patients who have cases of both classes; 0 where none has."""
    m = int(index.max()) + 1
    a, b = (np.bincount(index, np.where(c, x - x[c].mean(), 0.0), minlength=m) for c in (y, ~y))
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 1e-12 * max(1.0, float(np.abs(x).max())) else 0.0

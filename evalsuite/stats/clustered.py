"""How sure a proportion is when one patient contributes several cases: the interval on the effective number of cases.

Cases of one patient resemble each other, so n cases from m patients carry less information than n independent ones. The
variance between patients (linearisation, patients as clusters) gives the design effect; the interval for independent
cases is then taken at the effective n (Korn & Graubard, Surv Methodol 24:193-201 (1998); Rao & Scott, Biometrics
48:577-585 (1992)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalsuite.stats._normal import check_level, t_two_sided
from evalsuite.stats.proportions import ProportionMethod, check_method, proportion_interval
from evalsuite.types import Estimate, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterVariance:
    """A proportion over clusters: its value, linearised variance, and design effect before the floor at 1.

    `variance` and `design_effect` are None with a single cluster; `design_effect` is None as well where the variance of
    independent cases is 0.
    """

    value: float
    variance: float | None
    design_effect: float | None
    n: int
    n_clusters: int
    independent: bool


def compact(labels: np.ndarray) -> NDArray[np.intp]:
    """(n,) index of each label, 0 to m - 1, all used; no sort where labels are already small integers."""
    if labels.dtype.kind in "iu" and labels.size and labels.min() >= 0 and labels.max() < 8 * labels.size + 1024:
        used = np.zeros(int(labels.max()) + 1, dtype=np.intp)
        used[labels] = 1
        return np.asarray((np.cumsum(used) - 1)[labels], dtype=np.intp)
    return np.unique(labels, return_inverse=True)[1].reshape(-1)


def cluster_variance(success: ArrayLike, cluster: ArrayLike, weight: ArrayLike | None = None) -> ClusterVariance:
    """Ratio estimate of a proportion and its variance with clusters as the independent units.

    With z_c the sum over cluster c of w(y - p), the variance is m/(m-1) · Σ z_c² / (Σ w)², and the design effect its
    ratio to p(1-p)/n.

    Raises
    ------
    ValueError
        If lengths differ, a success is neither 0 nor 1, or a weight is negative or not finite, or all weights are 0.
    """
    y = np.asarray(success)
    if y.ndim != 1 or y.size == 0:
        raise ValueError("success is a non-empty one-dimensional array")
    values = y.astype(np.float64)
    if not ((values == 0.0) | (values == 1.0)).all():
        raise ValueError("success holds only true and false")
    labels = np.asarray(cluster)
    if labels.shape != y.shape:
        raise ValueError(f"cluster has shape {labels.shape}, success {y.shape}")
    w = np.ones_like(values) if weight is None else np.asarray(weight, dtype=np.float64)
    if w.shape != y.shape:
        raise ValueError(f"weight has shape {w.shape}, success {y.shape}")
    if not np.isfinite(w).all() or (w < 0).any() or not w.sum() > 0:
        raise ValueError("weights are finite, not negative, and not all 0")
    # A case of weight 0 is not part of the estimate, nor is its patient.
    used = w > 0
    values, w, labels = values[used], w[used], labels[used]
    index = compact(labels)
    n, m = values.size, int(index.max()) + 1
    equal = bool((w == w[0]).all())
    total = float(w.sum())
    p = float(values.sum()) / n if equal else min(1.0, float(w @ values) / total)
    if m == 1:
        return ClusterVariance(value=p, variance=None, design_effect=None, n=n, n_clusters=1, independent=n == 1)
    z = np.bincount(index, w * (values - p), minlength=m)
    # Rounding leaves about 1e-16 per case where a patient's sum is exactly 0; it must not pass for a variance.
    z[np.abs(z) < 1e-12 * float(w.max()) * n] = 0.0
    variance = m / (m - 1.0) * float(z @ z) / (total * total)
    binomial = p * (1.0 - p) / n
    deff = variance / binomial if binomial > 0 else None
    return ClusterVariance(
        value=p, variance=variance, design_effect=deff, n=n, n_clusters=m, independent=equal and n == m
    )


def _effective_patients(cluster: np.ndarray, weight: np.ndarray) -> float:
    """Number of patients, or Kish's effective number where their mean weights differ."""
    used = weight > 0
    index = compact(cluster[used])
    means = np.bincount(index, weight[used]) / np.bincount(index)
    equal = np.allclose(means, means[0], rtol=1e-12, atol=0.0)
    return float(means.size if equal else means.sum() ** 2 / (means @ means))


def clustered_proportion(
    success: ArrayLike,
    cluster: ArrayLike,
    *,
    level: float = 0.95,
    method: ProportionMethod = "clopper-pearson",
    unit: Unit = "case",
    weight: ArrayLike | None = None,
    **counts: Any,
) -> Estimate:
    """A proportion of cases with the interval that several cases per patient call for.

    The interval of `method` is taken at n_eff = n / deff · (t_{n-1} / t_{m-1})², the quantiles at `level`, m
    patients, deff the design effect floored at 1. With one (equally weighted) case per patient it is exactly
    `proportion`. Where no variance between patients is seen (all cases a success, or none, or every patient alike)
    n_eff is the number of patients: 29/29 has a lower limit of .881 as 29 independent cases, .692 if they come from
    10 patients.

    Parameters
    ----------
    success
        (n,) bool.
    cluster
        (n,) patient of each case, any integers.
    weight
        (n,) sampling weights; None for none. Cases of weight 0 are left out. `numerator` and `denominator` are then
        sums of weights.
    counts
        Further fields of the estimate (n_positive, n_negative).

    Returns
    -------
    Estimate
        `design_effect` is the floored one that the interval used; `n_patients` the number of patients. Not estimable
        without cases. A single patient with several cases has a value but no interval.

    Raises
    ------
    ValueError
        If shapes differ or values are invalid (see `cluster_variance`).

    References
    ----------
    Korn & Graubard, Surv Methodol 24:193-201 (1998), with the variance of independent cases taken as p(1-p)/n.

    Examples
    --------
    >>> import numpy as np
    >>> e = clustered_proportion(np.ones(29, bool), np.arange(29) % 10)
    >>> round(e.low, 3), e.high, e.n_patients
    (0.692, 1.0, 10)
    """
    name = check_method(method)
    level = check_level(level)
    y, labels = np.asarray(success), np.asarray(cluster)
    w = np.ones(y.shape) if weight is None else np.asarray(weight, dtype=np.float64)
    if y.shape == (0,) or (w.shape == y.shape and w.size and not w.any()):
        empty: dict[str, Any] = {"n": 0, "n_patients": 0, "numerator": 0.0, "denominator": 0.0, **counts}
        return Estimate.not_estimable("no cases in the denominator", unit=unit, level=level, method=name, **empty)
    seen = cluster_variance(y, labels, weight)
    fields: dict[str, Any] = {
        "n": seen.n,
        "n_patients": seen.n_clusters,
        "numerator": float(w @ y.astype(np.float64)),
        "denominator": float(w.sum()),
        **counts,
    }
    if seen.independent:
        low, high = proportion_interval(round(seen.value * seen.n), seen.n, level=level, method=method)
        return Estimate(
            value=seen.value, low=low, high=high, level=level, method=name, unit=unit, design_effect=1.0, **fields
        )
    name = f"{name} on the effective number of cases (patients as clusters)"
    if seen.variance is None:
        reason = "all cases come from one patient, so variation between patients cannot be seen"
        return Estimate(value=seen.value, interval_undefined=reason, level=level, method=name, unit=unit, **fields)
    patients = float(seen.n_clusters) if seen.variance else _effective_patients(labels, w)
    n_eff, deff = effective_size(seen, level, patients)
    low, high = proportion_interval(seen.value * n_eff, n_eff, level=level, method=method)
    return Estimate(
        value=seen.value, low=low, high=high, level=level, method=name, unit=unit, design_effect=deff, **fields
    )


def effective_size(seen: ClusterVariance, level: float, n_patients_effective: float) -> tuple[float, float]:
    """Effective number of cases and the design effect it stands for, from at least two clusters."""
    if not seen.variance or seen.design_effect is None:
        # No variance seen is no evidence of none: count patients, not cases.
        return n_patients_effective, max(1.0, seen.n / n_patients_effective)
    deff = max(1.0, seen.design_effect)
    t_ratio = t_two_sided(level, seen.n - 1) / t_two_sided(level, seen.n_clusters - 1)
    n_eff = seen.n / deff * min(1.0, t_ratio) ** 2
    if not math.isfinite(n_eff) or n_eff <= 0:
        raise ValueError("the effective number of cases is not positive")
    return n_eff, deff

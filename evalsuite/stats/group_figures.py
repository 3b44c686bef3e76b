"""A figure of one group of patients, with what comparing it with another group needs: its limits at any level.

A patient may have cases in both groups (lesions of several sites, say). The two figures are then not independent, and
what each patient adds to either of them (its influence) says how much.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit, ndtri

from evalsuite.stats._logistic import fit_logistic
from evalsuite.stats._rank import delong_variance, newcombe_interval, obuchowski_covariance, placements
from evalsuite.stats.clustered import ClusterVariance, cluster_variance, compact, effective_size
from evalsuite.stats.proportions import proportion_interval

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Codes = NDArray[np.int64]

ONE_PATIENT = "all cases come from one patient, so variation between patients cannot be seen"
NO_VARIATION = "no variation between patients was seen"
_LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFigure:
    """One figure of one group.

    `limits` gives the two ends at a two-sided level; None where there is no interval, with the reason. `influence`
    `(P,)` is what each of all P patients adds to the figure's deviation, None where it is not needed. `counts` are
    successes and cases of a share of independent cases, None for anything else.
    """

    value: float
    limits: Callable[[float], tuple[float, float]] | None
    method: str
    n: int
    n_patients: int
    bounds: tuple[float, float] = (-math.inf, math.inf)
    no_interval: str | None = None
    influence: Floats | None = None
    counts: tuple[int, int] | None = None
    effective_n: float | None = None

    @property
    def standard_error(self) -> float | None:
        """A quarter of the 95 % interval, so to speak: its width over 2 × 1.96, also where the variance is 0."""
        if self.limits is None:
            return None
        low, high = self.limits(_LEVEL)
        return (high - low) / (2.0 * float(ndtri(0.5 + _LEVEL / 2.0)))


def _influence(weighted: Floats, patient: Codes, n_patients: int | None) -> Floats | None:
    if n_patients is None:
        return None
    return np.asarray(np.bincount(patient, weights=weighted, minlength=n_patients), dtype=np.float64)


def share_figure(
    success: Bools, patient: Codes, *, weight: Floats | None = None, among_all: int | None = None
) -> GroupFigure:
    """A share of cases: Wilson limits on the effective number of cases, Wilson's own with one case per patient.

    Parameters
    ----------
    success, patient
        (n,) outcomes, and the code of each case's patient; n at least 1.
    weight
        (n,) positive weights; None for none.
    among_all
        Number of patients of the whole study, to get influences; None where no patient belongs to several groups.

    Raises
    ------
    ValueError
        Without cases, or where shapes differ.
    """
    seen = cluster_variance(success, patient, weight)
    w = np.ones(success.size) if weight is None else weight
    total = float(w.sum())
    influence = _influence(w * (success - seen.value) / total, patient, among_all)
    fields: dict[str, Any] = {"value": seen.value, "n": seen.n, "n_patients": seen.n_clusters, "bounds": (-1.0, 1.0)}
    if seen.variance is None and not seen.independent:
        return GroupFigure(
            **fields, limits=None, no_interval=ONE_PATIENT, method="Wilson", influence=influence, effective_n=None
        )
    kish = total**2 / float((w * w).sum())
    if seen.independent:
        x = round(seen.value * seen.n)
        return GroupFigure(
            **fields,
            limits=lambda level: proportion_interval(x, seen.n, level=level, method="wilson"),
            method="Wilson",
            influence=influence,
            counts=(x, seen.n),
            effective_n=float(seen.n),
        )
    patients = _effective_patients(seen, w, patient)
    n_eff = effective_size(seen, _LEVEL, patients)[0]
    return GroupFigure(
        **fields,
        limits=lambda level: _on_effective_n(seen, level, patients),
        method="Wilson on the effective number of cases (patients as clusters)",
        influence=influence,
        effective_n=min(n_eff, kish),
    )


def _effective_patients(seen: ClusterVariance, weight: Floats, patient: Codes) -> float:
    if seen.variance:
        return float(seen.n_clusters)
    # No variance was seen: what is left of the patients where their weights differ (Kish).
    index = compact(patient)
    means = np.bincount(index, weights=weight) / np.bincount(index)
    return float(means.sum() ** 2 / (means @ means))


def _on_effective_n(seen: ClusterVariance, level: float, patients: float) -> tuple[float, float]:
    n_eff, _ = effective_size(seen, level, patients)
    return proportion_interval(seen.value * n_eff, n_eff, level=level, method="wilson")


def _around(value: float, se: float) -> Callable[[float], tuple[float, float]]:
    def limits(level: float) -> tuple[float, float]:
        half = float(ndtri(0.5 + level / 2.0)) * se
        return value - half, value + half

    return limits


def _clustered(patient: Codes) -> bool:
    return int(np.count_nonzero(np.bincount(patient))) < patient.size


def auroc_figure(reference: Bools, score: Floats, patient: Codes, *, among_all: int | None = None) -> GroupFigure:
    """An AUROC with DeLong's variance, Obuchowski's where patients have several cases.

    Limits are estimate ± z · standard error, not clipped, so that a difference of two groups is DeLong's test of
    independent samples. Where the variance is 0 or not identified they are Newcombe's (2006, method 5) on the number of
    patients, which are never of zero width.

    Raises
    ------
    ValueError
        With one class only.
    """
    if not 0 < int(reference.sum()) < reference.size:
        raise ValueError("an AUROC needs cases of both classes")
    ranks = placements(reference, score)
    codes = compact(patient)
    clustered = _clustered(patient)
    variance = obuchowski_covariance(ranks, ranks, reference, codes) if clustered else delong_variance(ranks)
    each = np.empty(reference.size)
    each[reference] = (ranks.v10 - ranks.auroc) / ranks.v10.size
    each[~reference] = (ranks.v01 - ranks.auroc) / ranks.v01.size
    with_positive, with_negative = (int(np.count_nonzero(np.bincount(codes[c]))) for c in (reference, ~reference))
    fields: dict[str, Any] = {
        "value": ranks.auroc,
        "n": reference.size,
        "n_patients": int(codes.max()) + 1,
        "bounds": (-1.0, 1.0),
        "influence": _influence(each, patient, among_all),
    }
    if variance is None and clustered and 1 in (with_positive, with_negative):
        return GroupFigure(**fields, limits=None, no_interval=ONE_PATIENT, method="DeLong")
    if ranks.auroc in (0.0, 1.0) or variance is None or variance <= 0.0:
        return GroupFigure(
            **fields,
            limits=lambda level: newcombe_interval(ranks.auroc, with_positive, with_negative, level),
            method="Newcombe (2006) method 5",
        )
    name = "Obuchowski" if clustered else "DeLong"
    return GroupFigure(**fields, limits=_around(ranks.auroc, math.sqrt(variance)), method=name)


def mean_figure(
    values: Floats, patient: Codes, *, bounds: tuple[float, float], among_all: int | None = None
) -> GroupFigure:
    """A mean over cases (a Brier score) with a normal interval, patients as clusters; n at least 1."""
    mean = float(values.mean())
    z = np.bincount(patient, weights=values - mean)
    z[np.abs(z) < 1e-12 * max(1.0, float(np.abs(values).max())) * values.size] = 0.0
    m = int(np.count_nonzero(np.bincount(patient)))
    fields: dict[str, Any] = {
        "value": mean,
        "n": values.size,
        "n_patients": m,
        "bounds": bounds,
        "method": "normal" if m == values.size else "normal, clustered by patient",
        "influence": _influence((values - mean) / values.size, patient, among_all),
    }
    squares = float(z @ z)
    if m < 2 or squares == 0.0:
        why = ONE_PATIENT if m < 2 else NO_VARIATION
        return GroupFigure(**fields, limits=None, no_interval=why)
    se = math.sqrt(m / (m - 1.0) * squares) / values.size
    return GroupFigure(**fields, limits=_around(mean, se))


def recalibration_figure(
    reference: Bools, probability: Floats, patient: Codes, *, slope: bool, among_all: int | None = None
) -> GroupFigure | str:
    """Calibration slope, or intercept in the large (slope fixed at 1), with a Wald interval; else the reason.

    The sandwich variance is used where patients have several cases.
    """
    if not 0 < int(reference.sum()) < reference.size:
        return "cases of one class only"
    if bool(((probability <= 0.0) | (probability >= 1.0)).any()):
        return "a probability of exactly 0 or 1 has no finite log-odds"
    eta = logit(probability)
    one = np.ones(reference.size)
    design = np.stack([one, eta], axis=1) if slope else one[:, None]
    codes = compact(patient)
    clustered = int(codes.max()) + 1 < codes.size
    offset = np.zeros(reference.size) if slope else eta
    fit = fit_logistic(reference, design, offset, cluster=codes if clustered else None)
    if fit is None:
        return "the logistic fit has no finite maximum"
    k = 1 if slope else 0
    covariance = fit.robust if clustered else fit.covariance
    fitted = 1.0 / (1.0 + np.exp(-(design @ fit.coefficients + offset)))
    each = (design @ fit.covariance[:, k]) * (reference - fitted)
    fields: dict[str, Any] = {
        "value": float(fit.coefficients[k]),
        "n": reference.size,
        "n_patients": int(codes.max()) + 1,
        "method": "Wald, patient-robust (sandwich)" if clustered else "Wald",
        "influence": _influence(each, patient, among_all),
    }
    if covariance is None:
        return GroupFigure(**fields, limits=None, no_interval=ONE_PATIENT)
    variance = float(covariance[k, k])
    if not variance > 1e-12 * float(fit.covariance[k, k]):
        return GroupFigure(**fields, limits=None, no_interval=NO_VARIATION)
    se = math.sqrt(variance)
    return GroupFigure(**fields, limits=_around(float(fit.coefficients[k]), se))

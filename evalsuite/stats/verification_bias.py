"""Sensitivity and specificity where only some patients got the reference standard, and the test result decided who.

Positives are verified more often than negatives, so that the verified patients alone overstate sensitivity and
understate specificity. The correction of Begg and Greenes gives each unverified patient the chance of disease of
verified patients with the same test result (and the same covariates). It is right only if verification depends on
nothing else that is related to disease: a labelled secondary analysis, never a primary one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalsuite.stats._means import patient_index
from evalsuite.stats._normal import check_level, expit, t_two_sided, z_two_sided
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.types import Estimate, Unit

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

METHOD = "Begg-Greenes correction (secondary; verification depends on the test result{covariates} alone)"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationCorrected:
    """Corrected estimates, and beside them what the verified cases alone would say.

    `prevalence` is the corrected one. `verified_positive` and `verified_negative` are the shares of test-positive and
    test-negative cases that were verified: the further apart, the larger the correction.
    """

    sensitivity: Estimate
    specificity: Estimate
    prevalence: Estimate
    naive_sensitivity: Estimate
    naive_specificity: Estimate
    verified_positive: Estimate
    verified_negative: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class _Study:
    """Checked arrays; `disease` is meaningful only where `verified`."""

    call: Bools
    verified: Bools
    disease: Bools
    cell: NDArray[np.intp]
    patient: NDArray[np.intp]

    @property
    def n_patients(self) -> int:
        return int(self.patient.max()) + 1 if self.patient.size else 0


def begg_greenes(
    call: ArrayLike,
    verified: ArrayLike,
    disease: ArrayLike,
    *,
    covariate: ArrayLike | None = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    unit: Unit = "case",
) -> VerificationCorrected:
    """Sensitivity and specificity corrected for partial verification.

    Parameters
    ----------
    call
        (n,) bool, the index test's result in every case.
    verified
        (n,) bool, whether the case has a reference standard.
    disease
        (n,) bool; looked at only where `verified`.
    covariate
        (n,) labels of groups within which verification depends on the call alone (sex, site); None for none.
    patient
        (n,) patient of each case; None where every case is its own patient.

    Returns
    -------
    VerificationCorrected
        Logit intervals from the influence of each patient, which with independent cases and no covariate is the
        variance of Begg & Greenes. Where a corrected value is 0 or 1, its interval comes from the same cases with half
        a case of each kind added to each group and call, is extended to the value, and the method says so. Not
        estimable where a group with a given call has cases but none verified.

    Raises
    ------
    ValueError
        If shapes differ or an entry is neither true nor false.

    References
    ----------
    Begg & Greenes, Biometrics 39:207-215 (1983); Zhou, Obuchowski & McClish, Statistical Methods in Diagnostic
    Medicine, 2nd ed. (2011), section 10.3.

    Examples
    --------
    Hepatic scintigraphy (Drum & Christacopoulos 1972): 429 positive tests, 263 verified, 231 with disease; 221
    negative, 81 verified, 27 with disease.

    >>> import numpy as np
    >>> call = np.repeat([True, False], [429, 221])
    >>> verified = np.repeat([True, False, True, False], [263, 166, 81, 140])
    >>> disease = np.repeat([True, False, True, False], [231, 198, 27, 194])
    >>> e = begg_greenes(call, verified, disease).sensitivity
    >>> round(e.value, 3), round(e.low, 3), round(e.high, 3)
    (0.836, 0.783, 0.879)
    """
    level = check_level(level)
    s = _study(call, verified, disease, covariate, patient)
    name = METHOD.format(covariates=" and the covariate" if covariate is not None else "")
    counts: dict[str, Any] = {"n": s.call.size, "n_patients": s.n_patients, "unit": unit, "level": level}
    gap = _unverified_cell(s)
    made = {
        what: Estimate.not_estimable(gap, method=name, **counts)
        if gap is not None
        else _odds_estimate(what, s, level, name, counts)
        for what in ("sensitivity", "specificity", "prevalence")
    }

    def share(success: Bools, among: Bools) -> Estimate:
        return clustered_proportion(success[among], s.patient[among], level=level, unit=unit)

    v = s.verified
    return VerificationCorrected(
        **made,
        naive_sensitivity=share(s.call, v & s.disease),
        naive_specificity=share(~s.call, v & ~s.disease),
        verified_positive=share(v, s.call),
        verified_negative=share(v, ~s.call),
    )


def _study(
    call: ArrayLike, verified: ArrayLike, disease: ArrayLike, covariate: ArrayLike | None, patient: ArrayLike | None
) -> _Study:
    t, v, d = np.asarray(call), np.asarray(verified), np.asarray(disease)
    if t.ndim != 1 or v.shape != t.shape or d.shape != t.shape:
        raise ValueError(f"call, verified and disease hold one value per case, got {t.shape}, {v.shape}, {d.shape}")
    for given, what in ((t, "call"), (v, "verified")):
        if not np.isin(given, (0, 1)).all():
            raise ValueError(f"{what} holds only true and false")
    t, v = t.astype(bool), v.astype(bool)
    if not np.isin(d[v], (0, 1)).all():
        raise ValueError("disease holds only true and false where verified")
    disease_known = np.zeros(t.size, dtype=bool)
    disease_known[v] = d[v].astype(bool)
    group = np.zeros(t.size, dtype=np.intp)
    if covariate is not None:
        labels = np.asarray(covariate)
        if labels.shape != t.shape:
            raise ValueError(f"covariate has shape {labels.shape}, expected {t.shape}")
        group = np.unique(labels, return_inverse=True)[1].reshape(-1)
    return _Study(call=t, verified=v, disease=disease_known, cell=2 * group + t, patient=patient_index(patient, t.size))


def _unverified_cell(s: _Study) -> str | None:
    """Why no correction exists: no cases, or cases with a call of which none (in a group) was verified."""
    if s.call.size == 0:
        return "no cases"
    for cell in np.unique(s.cell):
        here = s.cell == cell
        if not s.verified[here].any():
            sign = "positive" if cell % 2 else "negative"
            return f"none of {int(here.sum())} test-{sign} cases of a group was verified"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Expected number of cases with `outcome` among those in `among`, and what each case contributes to it."""

    total: float
    each: Floats


def _part(s: _Study, outcome: Bools, among: Bools) -> _Part:
    """A case contributes the share of its call and group, corrected by its own outcome where it is verified."""
    size = np.bincount(s.cell).astype(np.float64)
    seen = np.bincount(s.cell, s.verified, minlength=size.size)
    hits = np.bincount(s.cell, s.verified & outcome, minlength=size.size)
    p = np.divide(hits, seen, out=np.zeros_like(size), where=seen > 0)
    k = np.divide(size, seen, out=np.zeros_like(size), where=seen > 0)
    each = p[s.cell] + np.where(s.verified, k[s.cell] * (outcome - p[s.cell]), 0.0)
    each = np.where(among, each, 0.0)
    return _Part(total=float(p[s.cell][among].sum()), each=each)


def _parts(what: str, s: _Study) -> tuple[Bools, Bools, Bools, Bools]:
    """Outcome and cases of the numerator, outcome and cases of the rest of the denominator."""
    if what == "sensitivity":
        return s.disease, s.call, s.disease, ~s.call
    if what == "specificity":
        return ~s.disease, ~s.call, ~s.disease, s.call
    everyone = np.ones(s.call.size, dtype=bool)
    return s.disease, everyone, ~s.disease, everyone


def _odds_estimate(what: str, s: _Study, level: float, name: str, counts: dict[str, Any]) -> Estimate:
    """Corrected numerator over numerator and rest, with its interval on their log odds."""
    outcome, among, other_outcome, rest = _parts(what, s)
    up, down = _part(s, outcome, among), _part(s, other_outcome, rest)
    if up.total + down.total == 0:
        kind = "with disease" if what == "sensitivity" else "without disease"
        return Estimate.not_estimable(f"no verified case is {kind}", method=name, **counts)
    value = up.total / (up.total + down.total)
    fields = {**counts, "numerator": up.total, "denominator": up.total + down.total}
    m = s.n_patients
    if m == 1:
        why = "one case" if s.call.size == 1 else "all cases come from one patient"
        return Estimate(value=value, interval_undefined=why, method=name, **fields)
    clustered = m < s.call.size
    if up.total == 0 or down.total == 0:
        low, high = _boundary_limits(what, s, level)
        name += ", half a case added to every cell for the interval"
        return Estimate(value=value, low=min(low, value), high=max(high, value), method=name, **fields)
    half = _half_width(up.each / up.total - down.each / down.total, s, level, clustered)
    centre = math.log(up.total) - math.log(down.total)
    name += ", logit" + (", patients as clusters" if clustered else "")
    if half <= 1e-12:
        return Estimate(value=value, interval_undefined="no variation was seen", method=name, **fields)
    return Estimate(value=value, low=expit(centre - half), high=expit(centre + half), method=name, **fields)


def _half_width(z: Floats, s: _Study, level: float, clustered: bool) -> float:
    if not clustered:
        return z_two_sided(level) * math.sqrt(float(z @ z))
    sums = np.bincount(s.patient, z)
    m = sums.size
    return t_two_sided(level, m - 1) * math.sqrt(m / (m - 1.0) * float(sums @ sums))


def _boundary_limits(what: str, s: _Study, level: float) -> tuple[float, float]:
    """Limits where the corrected value is 0 or 1: half a verified case of each kind is added to each group and call.

    A call that nobody has is taken as half a case. Cases of one patient count as one: all counts shrink by the mean
    number of cases per patient.
    """
    shrink = s.n_patients / s.call.size
    size = np.bincount(s.cell) * shrink
    seen = np.bincount(s.cell, s.verified, minlength=size.size) * shrink
    outcome, among, other_outcome, rest = _parts(what, s)
    log_odds = variance = 0.0
    for sign, hit, where in ((1.0, outcome, among), (-1.0, other_outcome, rest)):
        hits = np.bincount(s.cell, s.verified & hit, minlength=size.size) * shrink
        p = (hits + 0.5) / (seen + 1.0)
        cells = np.unique(s.cell[where])
        amount = float(size[cells] @ p[cells]) if cells.size else 0.5
        share = float(size[cells] ** 2 @ (p * (1.0 - p) / (seen + 1.0))[cells]) if cells.size else 0.0
        number = float(size[cells] @ p[cells] ** 2) if cells.size else 0.5
        log_odds += sign * math.log(amount)
        variance += (share + number) / amount**2
    half = z_two_sided(level) * math.sqrt(variance)
    return expit(log_odds - half), expit(log_odds + half)

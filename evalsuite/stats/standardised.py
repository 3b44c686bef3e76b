"""Groups compared at the same case mix: direct standardisation, overlap weighting, regression, and how mixes differ.

A group with more severe cases may do worse for that alone. Each method here compares like with like in its own way; all
of them only for the attributes that were recorded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri

from evalsuite.stats._logistic import LogisticFit, fit_logistic
from evalsuite.stats._normal import check_level, t_two_sided
from evalsuite.stats.clustered import compact
from evalsuite.stats.group_figures import ONE_PATIENT, Bools, Codes, Floats, GroupFigure, share_figure
from evalsuite.stats.proportions import proportion_interval
from evalsuite.types import Estimate

Ints = NDArray[np.intp]

NO_SHARED_CELL = "no combination of the case mix has cases of both"
APART = "the case mix tells the two completely apart, so that nothing can be adjusted"


def standard_of(cell: Ints, first: Ints, second: Ints, cells: int) -> tuple[Floats, float]:
    """The common case mix of two groups: shares of those cells of a standard population that both groups have.

    Parameters
    ----------
    cell
        (n,) cell of each case of the standard population (the whole set), 0 to cells - 1.
    first, second
        Cells of the two groups' cases.

    Returns
    -------
    tuple
        (cells,) shares, 0 where either group has no case, and the share of the standard population that is covered;
        all 0 where nothing is shared.
    """
    own = np.bincount(cell, minlength=cells).astype(np.float64)
    both = (np.bincount(first, minlength=cells) > 0) & (np.bincount(second, minlength=cells) > 0)
    kept = np.where(both, own, 0.0)
    total = float(kept.sum())
    return (kept / total if total else kept), total / float(own.sum())


def matched_mix(first: Ints, second: Ints, cells: int) -> tuple[Floats, int]:
    """The case mix of pairs matched exactly within cells, one case of each group, as many pairs as can be made.

    Which cases of the larger side would be drawn is chance; at this mix both groups' shares are those of all such
    matchings on average, so that nothing depends on a draw and no case is thrown away.

    Returns
    -------
    tuple
        (cells,) shares, and the number of pairs; all 0 where no pair can be made.

    References
    ----------
    Stuart, Stat Sci 25:1-21 (2010): exact matching and its equivalent weights.
    """
    pairs = np.minimum(np.bincount(first, minlength=cells), np.bincount(second, minlength=cells)).astype(np.float64)
    total = float(pairs.sum())
    return (pairs / total if total else pairs), int(total)


def standardised_share(
    success: Bools, cell: Ints, patient: Codes, standard: Floats, *, among_all: int | None = None
) -> GroupFigure:
    """A share at the case mix `standard`: over its cells, their share in it times the group's own share.

    The variance is that within cells, patients as clusters; the limits are Wilson's on the number of independent cases
    that have this variance, at most Kish's effective number of the weights. A cell with a single case shows no variance
    of its own and is given that around the whole.

    Parameters
    ----------
    success, cell, patient
        (n,) outcomes, cells and patients; cases in cells outside the standard are left out.
    standard
        (cells,) shares that add up to 1; every cell of it has a case of the group.

    Raises
    ------
    ValueError
        If a cell of the standard has no case.

    References
    ----------
    Direct standardisation: Keiding & Clayton, Stat Sci 29:529-558 (2014). Effective sizes: Korn & Graubard, Surv
    Methodol 24:193-201 (1998).

    Examples
    --------
    Found .6 of mild and .95 of severe cases: .845 at a mix of 30 to 70, .775 at a mix of half and half.

    >>> severe = np.repeat([0, 1], [300, 700])
    >>> found = np.concatenate([np.arange(300) < 180, np.arange(700) < 665])
    >>> f = standardised_share(found, severe, np.arange(1000), np.array([0.5, 0.5]))
    >>> round(float(found.mean()), 3), round(f.value, 3)
    (0.845, 0.775)
    """
    inside = standard[cell] > 0.0
    y, where, who = success[inside].astype(np.float64), cell[inside], patient[inside]
    counts = np.bincount(where, minlength=standard.size)
    if ((standard > 0.0) & (counts == 0)).any():
        raise ValueError("a cell of the standard population has no case of the group")
    share = np.bincount(where, weights=y, minlength=standard.size) / np.maximum(counts, 1)
    weight = standard[where] / counts[where]
    value = min(1.0, float(weight @ y))
    several = counts[where] > 1
    factor = np.where(several, np.sqrt(counts[where] / np.maximum(counts[where] - 1.0, 1.0)), 1.0)
    each = weight * factor * (y - np.where(several, share[where], value))
    index = compact(who)
    m, n = int(index.max()) + 1, y.size
    per_patient = np.bincount(index, weights=each)
    fields: dict[str, Any] = {
        "value": value,
        "n": n,
        "n_patients": m,
        "bounds": (-1.0, 1.0),
        "method": "Wilson on the effective number of cases, directly standardised",
        "influence": None if among_all is None else np.bincount(who, weights=each, minlength=among_all),
    }
    if m < 2 and n > 1:
        return GroupFigure(**fields, limits=None, no_interval=ONE_PATIENT)
    kish = 1.0 / float(weight @ weight)
    variance = float(per_patient @ per_patient) * (m / (m - 1.0) if m < n else 1.0)
    binomial = value * (1.0 - value)
    n_eff = min(kish, binomial / variance) if variance > 1e-15 and binomial > 0.0 else min(kish, float(m))

    def limits(level: float) -> tuple[float, float]:
        size = n_eff
        if m < n:
            size *= min(1.0, t_two_sided(level, n - 1) / t_two_sided(level, m - 1)) ** 2
        return proportion_interval(value * size, size, level=level, method="wilson")

    return GroupFigure(**fields, limits=limits, effective_n=n_eff)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    """A logistic regression on categorical variables, made of distinct rows: which row each case is, and the rows."""

    row: Ints
    outcome: Bools
    design: Floats
    count: Floats
    fit: LogisticFit


def _regression(outcome: Bools, levels: Sequence[Ints]) -> _Fit | None:
    """Outcome on an intercept and indicators of `levels`; cases that are alike are counted, not repeated."""
    code = outcome.astype(np.int64)
    for codes in levels:
        code = code * (int(codes.max(initial=0)) + 1) + codes
    row = compact(code)
    first = np.empty(int(row.max()) + 1, dtype=np.intp)
    first[row] = np.arange(row.size)  # some case of each kind
    count = np.bincount(row).astype(np.float64)
    design = np.hstack([np.ones((first.size, 1)), dummies([codes[first] for codes in levels], first.size)])
    fit = fit_logistic(outcome[first], design, np.zeros(first.size), count=count)
    if fit is None:
        return None
    return _Fit(row=row, outcome=outcome[first], design=design, count=count, fit=fit)


def dummies(levels: Sequence[Ints], n: int) -> Floats:
    """(n, k) indicator columns of several categorical variables, the first occurring level of each left out."""
    columns = [(codes == value).astype(np.float64) for codes in levels for value in np.unique(codes)[1:]]
    return np.stack(columns, axis=1) if columns else np.zeros((n, 0))


def overlap_weighted(
    success: Bools, in_group: Bools, patient: Codes, levels: Sequence[Ints], *, among_all: int | None = None
) -> tuple[GroupFigure, GroupFigure] | str:
    """Both groups' shares with overlap weights: a case counts by its chance of being in the other group.

    The chance comes from a logistic regression on categorical covariates, `levels` of (n,) codes each. The weighted
    groups are made up alike in every one of them, and emphasis lies on cases that could be in either. The chances are
    taken as known, which makes intervals somewhat too wide. Levels that only one group has weigh nothing: no case of
    them could be in the other. A reason where the groups do not overlap.

    References
    ----------
    Li, Morgan & Zaslavsky, J Am Stat Assoc 113:390-400 (2018).
    """
    kept = informative(in_group, levels)
    success, in_group, patient, levels = success[kept], in_group[kept], patient[kept], [c[kept] for c in levels]
    found = _regression(in_group, levels) if in_group.any() and not in_group.all() else None
    if found is None:
        return APART
    chance = expit(found.design @ found.fit.coefficients)[found.row]
    first, second = 1.0 - chance[in_group], chance[~in_group]
    if min(float(first.sum()), float(second.sum())) <= 1e-9:
        return APART
    made = [
        share_figure(success[m], patient[m], weight=w, among_all=among_all)
        for m, w in ((in_group, first), (~in_group, second))
    ]
    return made[0], made[1]


def odds_ratio(
    success: Bools, in_group: Bools, patient: Codes, levels: Sequence[Ints], *, level: float = 0.95, **counts: Any
) -> Estimate:
    """Odds of success in the group over those in the other, given categorical covariates, `levels` of (n,) codes each.

    Levels of a covariate in which every case has the same outcome say nothing about the group and are left out with
    their cases, which the method says. Logistic regression; Wald interval on the log scale with the sandwich variance
    of patients as clusters, G / (G - 1).

    Not estimable where the regression has no finite maximum (a group without a success, or told apart by case mix).

    References
    ----------
    Liang & Zeger, Biometrika 73:13-22 (1986).
    """
    level = check_level(level)
    kept = informative(success, levels)
    left = int((~kept).sum())
    success, in_group, levels = success[kept], in_group[kept], [codes[kept] for codes in levels]
    index = compact(patient[kept])
    patients = int(index.max(initial=-1)) + 1
    fields: dict[str, Any] = {
        "n": success.size,
        "n_patients": patients,
        "level": level,
        "method": "logistic regression, patient-robust (sandwich)"
        + (f"; {left} cases at levels with one outcome left out" if left else ""),
        **counts,
    }
    if bool(success.all()) or not bool(success.any()):
        return Estimate.not_estimable("every case has the same outcome", **fields)
    found = _regression(success, [in_group.astype(np.intp), *levels])
    if found is None or in_group.all() or not in_group.any():
        return Estimate.not_estimable("the logistic regression has no finite maximum", **fields)
    b = float(found.fit.coefficients[1])
    variance = _robust(found, index, patients)
    if variance is None:
        return Estimate(value=math.exp(b), interval_undefined=ONE_PATIENT, **fields)
    half = float(ndtri(0.5 + level / 2.0)) * math.sqrt(variance)
    return Estimate(value=math.exp(b), low=math.exp(b - half), high=math.exp(b + half), **fields)


def _robust(found: _Fit, patient: Ints, patients: int) -> float | None:
    """Sandwich variance of the second coefficient, patients as clusters; None with one patient or without variance."""
    if patients < 2:
        return None
    influence = (found.design @ found.fit.covariance[:, 1]) * (
        found.outcome - expit(found.design @ found.fit.coefficients)
    )
    if patients == found.row.size:
        squares = float(found.count @ (influence * influence))
    else:
        per_patient = np.bincount(patient, weights=influence[found.row], minlength=patients)
        squares = float(per_patient @ per_patient)
    variance = squares * patients / (patients - 1.0)
    return variance if variance > 0.0 else None


def informative(success: Bools, levels: Sequence[Ints]) -> Bools:
    """(n,) bool: cases whose levels all show both outcomes, taken away one after another until this holds."""
    kept = np.ones(success.size, dtype=bool)
    while True:
        before = int(kept.sum())
        for codes in levels:
            n = np.bincount(codes[kept], minlength=int(codes.max()) + 1)
            x = np.bincount(codes[kept], weights=success[kept], minlength=n.size)
            kept &= ((x > 0) & (x < n))[codes]
        if int(kept.sum()) == before:
            return kept


def standardised_difference(first: Bools, second: Bools) -> float | None:
    """Difference of two shares over their common standard deviation; None where it is infinite (all against none).

    Above 0.1 in size it is customarily read as an imbalance.

    References
    ----------
    Austin, Stat Med 28:3083-3107 (2009).
    """
    p, q = float(first.mean()), float(second.mean())
    if p == q:
        return 0.0
    spread = (p * (1.0 - p) + q * (1.0 - q)) / 2.0
    return None if spread <= 0.0 else (p - q) / math.sqrt(spread)

"""How much of the variation of a score comes from the patient, and how much from operator, camera, reader or repeat.

Scores are measured several times; every named factor (patient, camera, operator) shifts all measurements that share a
level of it by a random amount. Balanced designs are solved by analysis of variance, any design by restricted maximum
likelihood; where a balanced analysis of variance gives no negative component the two agree exactly. Calls (0/1) may be
given as values: the components are then those of the share called positive.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from evalsuite.stats._means import Floats
from evalsuite.stats._normal import check_level, f_quantile, z_two_sided
from evalsuite.stats._reml import profile_limits, reml
from evalsuite.types import Estimate, Unit

Method = Literal["reml", "anova"]
Ints = NDArray[np.intp]

RESIDUAL = "residual"
_NO_RESIDUAL = "measurements alike in every factor differ by less than a ten-thousandth of the spread of all values"

__all__ = ["GaugeStudy", "VarianceComponents", "gauge_study", "one_way", "variance_components"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VarianceComponents:
    """Standard deviation of each source of variation, in the unit of the score; `share` its part of the total variance.

    The last source is "residual": what is left when every factor is the same. `singular` names sources estimated at 0.
    """

    sd: Mapping[str, Estimate]
    share: Mapping[str, float]
    mean: float
    method: str
    singular: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GaugeStudy:
    """Repeatability and reproducibility of a measurement by several operators (cameras, readers).

    `repeatability`: same patient, same operator. `reproducibility`: what operators add, on average and patient by
    patient. `total`: both, the spread of one measurement of one patient by any operator. `patient`: spread of patients.
    All are standard deviations. `reproducibility_coefficient` is the difference that two measurements by two operators
    exceed 5 times in 100.
    """

    patient: Estimate
    operator: Estimate
    interaction: Estimate | None
    repeatability: Estimate
    reproducibility: Estimate
    total: Estimate
    repeatability_coefficient: Estimate
    reproducibility_coefficient: Estimate


def _values(values: ArrayLike) -> Floats:
    y = np.asarray(values, dtype=np.float64)
    if y.ndim != 1 or not np.isfinite(y).all():
        raise ValueError("values are a one-dimensional array of finite numbers")
    return y


def _codes(labels: ArrayLike, n: int, name: str) -> Ints:
    array = np.asarray(labels)
    if array.shape != (n,):
        raise ValueError(f"{name} has shape {array.shape}, expected ({n},)")
    return np.unique(array, return_inverse=True)[1].reshape(-1).astype(np.intp)


def _chi2(df: float, p: float) -> float:
    return float(special.chdtri(df, 1.0 - p))


def _chi_sd(mean_square: float, df: float, level: float, **fields: Any) -> Estimate:
    """Root of a mean square with its exact chi-square limits."""
    tail = (1.0 - level) / 2.0
    value = math.sqrt(mean_square)
    if mean_square <= 0.0:
        return Estimate(value=0.0, interval_undefined="repeated measurements never differ", level=level, **fields)
    return Estimate(
        value=value,
        low=value * math.sqrt(df / _chi2(df, 1.0 - tail)),
        high=value * math.sqrt(df / _chi2(df, tail)),
        level=level,
        **fields,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _MeanSquare:
    value: float
    df: float


def _combination_sd(parts: Sequence[tuple[float, _MeanSquare]], level: float, name: str, **fields: Any) -> Estimate:
    """Root of Σ c·MS with modified large-sample limits; coefficients may be negative, the value is cut off at 0.

    References
    ----------
    Ting, Burdick, Graybill, Jeyaratnam & Lu, J Stat Comput Simul 35:135-143 (1990); Burdick, Borror & Montgomery,
    J Qual Technol 35:342-354 (2003).
    """
    tail = (1.0 - level) / 2.0
    value = math.fsum(c * m.value for c, m in parts)
    positive = [(c, m) for c, m in parts if c > 0 and m.value > 0]
    negative = [(-c, m) for c, m in parts if c < 0 and m.value > 0]

    def one(df: float, p: float) -> float:
        return df / _chi2(df, p)

    g = {id(m): 1.0 - one(m.df, 1.0 - tail) for _, m in (*positive, *negative)}
    h = {id(m): one(m.df, tail) - 1.0 for _, m in (*positive, *negative)}
    below = sum((g[id(m)] * c * m.value) ** 2 for c, m in positive)
    below += sum((h[id(m)] * c * m.value) ** 2 for c, m in negative)
    above = sum((h[id(m)] * c * m.value) ** 2 for c, m in positive)
    above += sum((g[id(m)] * c * m.value) ** 2 for c, m in negative)
    for (c, m), (d, k) in itertools.product(positive, negative):
        f_high, f_low = f_quantile(1.0 - tail, m.df, k.df), f_quantile(tail, m.df, k.df)
        cross = c * d * m.value * k.value
        below += cross * ((f_high - 1.0) ** 2 - (g[id(m)] * f_high) ** 2 - h[id(k)] ** 2) / f_high
        above += cross * ((1.0 - f_low) ** 2 - (h[id(m)] * f_low) ** 2 - g[id(k)] ** 2) / f_low
    low, high = max(0.0, value - math.sqrt(max(0.0, below))), max(0.0, value + math.sqrt(max(0.0, above)))
    fields = {"level": level, "method": name, **fields}
    sd = math.sqrt(max(0.0, value))
    if high <= 0.0:
        return Estimate(value=sd, interval_undefined="no variation from this source was seen", **fields)
    return Estimate(value=sd, low=math.sqrt(low), high=math.sqrt(high), **fields)


def one_way(
    values: ArrayLike, group: ArrayLike, *, level: float = 0.95, unit: Unit = "case"
) -> tuple[Estimate, Estimate]:
    """Standard deviation between groups (patients, cameras, sites) and within them, by analysis of variance.

    Unequal group sizes are allowed. The limits of the within part are exact; those between are modified large-sample
    limits on the group means (Thomas & Hultquist).

    Parameters
    ----------
    values, group
        (n,) measurements and the group of each.

    Returns
    -------
    tuple of Estimate
        Between, within. `n` is measurements. Not estimable with fewer than 2 groups (between) or without any repeated
        measurement (within; then between is not either).

    References
    ----------
    Searle, Casella & McCulloch, Variance Components (1992), chapter 3; Thomas & Hultquist, Ann Stat 6:582-587 (1978).
    """
    y = _values(values)
    level = check_level(level)
    index = _codes(group, y.size, "group")
    m = int(index.max()) + 1 if y.size else 0
    fields: dict[str, Any] = {"n": y.size, "unit": unit}
    name = "analysis of variance"
    df = y.size - m
    if df < 1:
        none = Estimate.not_estimable("no group was measured more than once", level=level, method=name, **fields)
        return none, none
    size = np.bincount(index).astype(np.float64)
    mean = np.bincount(index, y) / size
    within = float(((y - mean[index]) ** 2).sum()) / df
    spread = _chi_sd(within, df, level, method=f"{name}, chi-square", **fields)
    if m < 2:
        return Estimate.not_estimable("a single group", level=level, method=name, **fields), spread
    ms_between = float(size @ (mean - y.mean()) ** 2) / (m - 1)
    n0 = (y.size - float(size @ size) / y.size) / (m - 1)
    value = math.sqrt(max(0.0, (ms_between - within) / n0))
    # The unweighted variance of group means has expectation between² + within² / harmonic mean size.
    harmonic = m / float((1.0 / size).sum())
    means = _MeanSquare(value=harmonic * float(mean.var(ddof=1)), df=m - 1)
    e = _combination_sd(
        [(1.0 / harmonic, means), (-1.0 / harmonic, _MeanSquare(value=within, df=df))],
        level,
        f"{name}, modified large-sample" + ("" if np.ptp(size) == 0 else " (Thomas-Hultquist)"),
        **fields,
    )
    if e.low is None or e.high is None:
        return Estimate(
            value=value, interval_undefined=e.interval_undefined, level=level, method=e.method, **fields
        ), spread
    low, high = min(e.low, value), max(e.high, value)
    return Estimate(value=value, low=low, high=high, level=level, method=e.method, **fields), spread


def gauge_study(
    values: ArrayLike,
    patient: ArrayLike,
    operator: ArrayLike,
    *,
    level: float = 0.95,
    unit: Unit = "case",
) -> GaugeStudy:
    """Repeatability and reproducibility from a balanced crossed study: every operator measures every patient r times.

    With r = 1 the interaction cannot be told from repeatability and is counted with it. Negative components are 0.

    Raises
    ------
    ValueError
        If some operator did not measure some patient equally often (use `variance_components`), or there are fewer than
        2 patients or operators.

    References
    ----------
    Burdick, Borror & Montgomery, J Qual Technol 35:342-354 (2003), tables 3 to 5; Raunig et al., Stat Methods Med Res
    24:27-67 (2015).
    """
    y = _values(values)
    level = check_level(level)
    p, o = _codes(patient, y.size, "patient"), _codes(operator, y.size, "operator")
    a, b = (int(c.max()) + 1 if y.size else 0 for c in (p, o))
    cells = np.bincount(p * b + o, minlength=a * b) if y.size else np.zeros(0, dtype=np.intp)
    if a < 2 or b < 2:
        raise ValueError(f"a gauge study needs at least 2 patients and 2 operators, got {a} and {b}")
    if cells.min() != cells.max():
        raise ValueError("every operator measures every patient equally often; use variance_components otherwise")
    r = int(cells[0])
    cell_mean = np.bincount(p * b + o, y, minlength=a * b).reshape(a, b) / r
    grand = cell_mean.mean()
    rows, columns = cell_mean.mean(axis=1), cell_mean.mean(axis=0)
    ms_p = _MeanSquare(value=b * r * float(((rows - grand) ** 2).sum()) / (a - 1), df=a - 1)
    ms_o = _MeanSquare(value=a * r * float(((columns - grand) ** 2).sum()) / (b - 1), df=b - 1)
    rest = cell_mean - rows[:, None] - columns[None, :] + grand
    ms_po = _MeanSquare(value=r * float((rest**2).sum()) / ((a - 1) * (b - 1)), df=(a - 1) * (b - 1))
    fields: dict[str, Any] = {"n": y.size, "n_patients": a, "unit": unit}
    name = "two-way analysis of variance, modified large-sample"

    def sd(*parts: tuple[float, _MeanSquare]) -> Estimate:
        return _combination_sd(parts, level, name, **fields)

    if r > 1:
        df = a * b * (r - 1)
        error = _MeanSquare(value=float(((y - cell_mean[p, o]) ** 2).sum()) / df, df=df)
        interaction: Estimate | None = sd((1.0 / r, ms_po), (-1.0 / r, error))
        reproducibility = sd((1.0 / (a * r), ms_o), ((a - 1.0) / (a * r), ms_po), (-1.0 / r, error))
        total = sd((1.0 / (a * r), ms_o), ((a - 1.0) / (a * r), ms_po), ((r - 1.0) / r, error))
    else:
        error, interaction = ms_po, None
        reproducibility = sd((1.0 / a, ms_o), (-1.0 / a, ms_po))
        total = sd((1.0 / a, ms_o), ((a - 1.0) / a, ms_po))
    repeatability = _chi_sd(error.value, error.df, level, method="two-way analysis of variance, chi-square", **fields)
    factor = z_two_sided(0.95) * math.sqrt(2.0)
    return GaugeStudy(
        patient=sd((1.0 / (b * r), ms_p), (-1.0 / (b * r), ms_po)),
        operator=sd((1.0 / (a * r), ms_o), (-1.0 / (a * r), ms_po)),
        interaction=interaction,
        repeatability=repeatability,
        reproducibility=reproducibility,
        total=total,
        repeatability_coefficient=_scaled(repeatability, factor),
        reproducibility_coefficient=_scaled(total, factor),
    )


def _scaled(e: Estimate, factor: float) -> Estimate:
    data = e.to_json()
    for key in ("value", "low", "high"):
        if data[key] is not None:
            data[key] *= factor
    return Estimate.from_json({**data, "method": f"{factor:.3f} times the standard deviation; {e.method}"})


def variance_components(
    values: ArrayLike,
    factors: Mapping[str, ArrayLike],
    *,
    level: float = 0.95,
    intervals: bool = True,
    unit: Unit = "case",
) -> VarianceComponents:
    """Variance components of any crossed, nested, balanced or unbalanced design, by restricted maximum likelihood.

    Parameters
    ----------
    values
        (n,) scores, or calls as 0 and 1.
    factors
        Name to (n,) labels: {"patient": …, "camera": …}. An interaction is a factor of its own whose labels join the
        two; nested levels need labels that differ between the outer levels.
    intervals
        Profile-likelihood limits of each standard deviation (each needs about ten more fits).

    Returns
    -------
    VarianceComponents
        Not estimable, each with its reason, where a factor has one level, where a factor has as many levels as there
        are measurements (it cannot be told from the residual), or where the values do not vary; the residual also
        where measurements alike in every factor hardly differ. A component at 0 has a lower limit of 0.

    Raises
    ------
    ValueError
        If a factor is named "residual", shapes differ, or all factors together have more than 3,000 levels.

    References
    ----------
    Patterson & Thompson, Biometrika 58:545-554 (1971); Bates, Mächler, Bolker & Walker, J Stat Softw 67(1):1-48 (2015),
    sections 3 and 5.1 (profile likelihood; here of the restricted likelihood).
    """
    y = _values(values)
    level = check_level(level)
    if not factors or RESIDUAL in factors:
        raise ValueError("name at least one factor, and none of them 'residual'")
    codes = {name: _codes(labels, y.size, name) for name, labels in factors.items()}
    sources = (*codes, RESIDUAL)
    label = "REML" + (", profile likelihood" if intervals else "")
    fields: dict[str, Any] = {"n": y.size, "unit": unit, "level": level}
    why = _not_identified(y, codes)
    if why is not None:
        none = Estimate.not_estimable(why, method=label, **fields)
        return VarianceComponents(
            sd=dict.fromkeys(sources, none),
            share={},
            mean=float(y.mean()) if y.size else math.nan,
            method=label,
            singular=(),
        )
    fit = reml(y, list(codes.values()))
    total = float((fit.sd**2).sum())
    made = {}
    for i, name in enumerate(sources):
        if name == RESIDUAL and fit.no_residual:
            made[name] = Estimate.not_estimable(_NO_RESIDUAL, method=label, **fields)
            continue
        if not intervals:
            made[name] = Estimate(value=float(fit.sd[i]), interval_undefined="not asked for", method=label, **fields)
            continue
        low, high = profile_limits(fit, i, level)
        if high is None:
            reason = "the likelihood does not bound this component from above"
            made[name] = Estimate(value=float(fit.sd[i]), interval_undefined=reason, method=label, **fields)
        else:
            made[name] = Estimate(value=float(fit.sd[i]), low=low, high=high, method=label, **fields)
    return VarianceComponents(
        sd=made,
        share={name: float(fit.sd[i] ** 2) / total for i, name in enumerate(sources) if made[name].value is not None},
        mean=fit.mean,
        method=label,
        singular=tuple(
            name
            for i, name in enumerate(sources)
            if fit.sd[i] <= 1e-4 * math.sqrt(total) and made[name].value is not None
        ),
    )


def _not_identified(y: Floats, codes: Mapping[str, Ints]) -> str | None:
    if y.size < 3:
        return "fewer than 3 measurements"
    if np.ptp(y) == 0:
        return "the values do not vary"
    seen: dict[bytes, str] = {}
    for name, code in codes.items():
        levels = int(code.max()) + 1
        if levels < 2:
            return f"factor {name} has one level"
        if levels == y.size:
            return f"every measurement has its own level of {name}, which cannot be told from the residual"
        first = np.unique(code, return_index=True)[1]
        order = np.argsort(np.argsort(first))[code].tobytes()
        if order in seen:
            return f"factors {seen[order]} and {name} group the measurements alike"
        seen[order] = name
    return None

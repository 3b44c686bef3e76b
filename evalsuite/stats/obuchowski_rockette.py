"""Are readers better with the device? Obuchowski and Rockette's analysis, with Hillis' degrees of freedom."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import chi2
from scipy.stats import f as fisher
from scipy.stats import t as student

from evalsuite.stats import behrens_fisher
from evalsuite.stats._binary_inputs import FloatArray
from evalsuite.stats.reader_figures import ReaderFigures, Readings
from evalsuite.types import Estimate, TestOutcome

#: What the result is meant to hold for: other readers and cases, these readers, or these cases.
Generalise = Literal["readers_and_cases", "cases", "readers"]
#: Distribution of a contrast over random readers and cases. `hillis`: t with Hillis' degrees of freedom;
#: `behrens_fisher`: a normal and a t part, each its own; `by_readers`: the latter below `FEW_READERS`, else Hillis'.
Distribution = Literal["by_readers", "hillis", "behrens_fisher"]
#: With fewer readers Hillis' 5 % test errs in up to 12 % of simulated studies (docs/decisions/0038).
FEW_READERS: Final = 4
_NAMES = {
    "readers_and_cases": "random readers and cases",
    "cases": "random cases, these readers",
    "readers": "random readers, these cases",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VarianceParts:
    """Mean squares and covariances of the analysis, as estimated: negative ones included.

    `error` is the mean variance of one figure; `cov1` of the same reader with two treatments, `cov2` of two readers
    with the same treatment, `cov3` of two readers with different treatments. `reader` and `treatment_reader` are the
    model's variance components. Parts that need a second reader or treatment are None without one.
    """

    ms_treatment: float | None
    ms_reader: float | None
    ms_treatment_reader: float | None
    error: float
    cov1: float | None
    cov2: float | None
    cov3: float | None
    n_treatments: int

    @property
    def reader(self) -> float | None:
        if self.ms_reader is None or self.ms_treatment_reader is None or self.cov1 is None or self.cov3 is None:
            return None
        return (self.ms_reader - self.ms_treatment_reader) / self.n_treatments - self.cov1 + self.cov3

    @property
    def treatment_reader(self) -> float | None:
        if self.ms_treatment_reader is None or self.cov1 is None or self.cov2 is None or self.cov3 is None:
            return None
        return self.ms_treatment_reader - self.error + self.cov1 + (self.cov2 - self.cov3)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found and set aside as published (Hillis 2007): said wherever the results are."""
        found = []
        if self.cov2 is not None and self.cov3 is not None and self.cov2 < self.cov3:
            found.append("Cov2 is below Cov3; their difference counts as 0")
        for name, value in (("reader", self.reader), ("treatment × reader", self.treatment_reader)):
            if value is not None and value < 0:
                found.append(f"the variance component {name} is estimated below 0")
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One contrast of treatments: the estimate, its standard error and degrees of freedom (None: normal), and test.

    With Behrens and Fisher's distribution the degrees of freedom are those of its t part.
    """

    estimate: Estimate
    standard_error: float | None
    df: float | None
    test: TestOutcome


def variance_parts(figures: ReaderFigures) -> VarianceParts:
    """Mean squares of the treatment × reader table, and its mean covariances by kind of pair."""
    theta = figures.value
    t, r = theta.shape
    by_treatment, by_reader, grand = theta.mean(axis=1), theta.mean(axis=0), float(theta.mean())
    rest = theta - by_treatment[:, None] - by_reader[None, :] + grand
    pair = _mean_covariances(figures.covariance)
    return VarianceParts(
        ms_treatment=r * float(((by_treatment - grand) ** 2).sum()) / (t - 1) if t > 1 else None,
        ms_reader=t * float(((by_reader - grand) ** 2).sum()) / (r - 1) if r > 1 else None,
        ms_treatment_reader=float((rest**2).sum()) / ((t - 1) * (r - 1)) if t > 1 and r > 1 else None,
        error=pair[0],
        cov1=pair[1] if t > 1 else None,
        cov2=pair[2] if r > 1 else None,
        cov3=pair[3] if t > 1 and r > 1 else None,
        n_treatments=t,
    )


def _mean_covariances(covariance: FloatArray) -> tuple[float, float, float, float]:
    t, r = covariance.shape[:2]
    same_treatment = np.eye(t, dtype=np.bool_)[:, None, :, None]
    same_reader = np.eye(r, dtype=np.bool_)[None, :, None, :]
    shape = covariance.shape
    kinds = (
        same_treatment & same_reader, ~same_treatment & same_reader, same_treatment & ~same_reader,
        ~same_treatment & ~same_reader,
    )  # fmt: skip
    masks = [np.broadcast_to(k, shape) for k in kinds]
    return tuple(float(covariance[m].mean()) if bool(m.any()) else 0.0 for m in masks)  # type: ignore[return-value]


def equality_of_treatments(figures: ReaderFigures, *, generalise: Generalise = "readers_and_cases") -> TestOutcome:
    """Whether all treatments are the same: F test (χ² with fixed readers), whatever the number of readers.

    References
    ----------
    Obuchowski & Rockette, Communications in Statistics 24:285-308 (1995); Hillis, Statistics in Medicine 26:596-619
    (2007), whose degrees of freedom are used.
    """
    name, method = "equality of treatments", _method(figures, generalise)
    parts = variance_parts(figures)
    t, r = figures.value.shape
    below = _denominator(parts, r, generalise)
    if below is None or parts.ms_treatment is None:
        return TestOutcome(name=name, statistic=None, p_value=None, method=method, undefined=_too_few(t, r, generalise))
    if below <= 0.0:
        return TestOutcome(name=name, statistic=None, p_value=None, method=method, undefined=_NO_VARIANCE)
    statistic = parts.ms_treatment / below
    if generalise == "cases":
        chi = statistic * (t - 1)
        return TestOutcome(name=name, statistic=chi, p_value=float(chi2.sf(chi, t - 1)), method=method)
    df = _df(parts.ms_treatment_reader, below, (t - 1) * (r - 1))
    return TestOutcome(name=name, statistic=statistic, p_value=float(fisher.sf(statistic, t - 1, df)), method=method)


def difference(
    figures: ReaderFigures,
    study: Readings,
    first: int,
    second: int,
    *,
    generalise: Generalise = "readers_and_cases",
    level: float = 0.95,
    margin: float = 0.0,
    distribution: Distribution = "by_readers",
) -> Comparison:
    """Reader-averaged figure of the `first` treatment minus that of the `second`.

    The test is two-sided and of a difference of `−margin`: with a margin of 0 superiority, with a positive one
    non-inferiority (one-sided: half the p-value where the statistic is positive).
    """
    parts = variance_parts(figures)
    t, r = figures.value.shape
    below = _denominator(parts, r, generalise)
    spread = None
    if below is not None:
        own = 0.0 if generalise == "cases" else 2.0 / r * (parts.ms_treatment_reader or 0.0)
        spread = _Spread(over_cases=max(2.0 / r * below - own, 0.0), over_readers=own, df=(t - 1) * (r - 1))
    value = float(figures.value[first].mean() - figures.value[second].mean())
    return _comparison(
        value, spread, study, _method(figures, generalise), level, margin, distribution,
        name=f"difference of {figures.figure}", reason=_too_few(t, r, generalise),
    )  # fmt: skip


def reader_average(
    figures: ReaderFigures,
    study: Readings,
    treatment: int,
    *,
    generalise: Generalise = "readers_and_cases",
    level: float = 0.95,
    distribution: Distribution = "by_readers",
) -> Comparison:
    """Reader-averaged figure of one treatment, from that treatment's readings alone.

    Ends are cut at 0 and 1, and the test is of 0.5; for means, which have no such range, nothing is cut and the test
    is of 0.
    """
    theta = figures.value[treatment]
    one = ReaderFigures(
        value=theta[None, :],
        covariance=figures.covariance[treatment, :, treatment, :][None, :, None, :],
        figure=figures.figure,
        method=figures.method,
    )
    bounded = figures.figure != "mean"
    null = 0.5 if bounded else 0.0
    name = f"reader-averaged {figures.figure}"
    found = _one_sample(one, study, generalise, level, distribution, null=null, name=name)
    low, high = found.estimate.low, found.estimate.high
    if low is None or high is None or not bounded:
        return found
    return replace(found, estimate=replace(found.estimate, low=max(low, 0.0), high=min(high, 1.0)))


def against_standalone(
    figures: ReaderFigures,
    study: Readings,
    device: int,
    *,
    treatment: int = 0,
    generalise: Generalise = "readers_and_cases",
    level: float = 0.95,
    margin: float = 0.0,
    distribution: Distribution = "by_readers",
) -> Comparison:
    """The device alone minus the mean reader: reader `device` of the table is the device, the others are readers.

    The device is one fixed reader: readers' differences from it are analysed as figures of a single treatment
    (Hillis' one-treatment analysis; Chakraborty, Observer Performance Methods (2017), ch. 22).

    Raises
    ------
    ValueError
        If there are no readers besides the device.
    """
    r = figures.value.shape[1]
    others = [i for i in range(r) if i != device]
    if not others:
        raise ValueError("the device alone is compared with at least one reader")
    contrast = np.zeros((len(others), r))
    contrast[np.arange(len(others)), others] = -1.0
    contrast[:, device] = 1.0
    block = figures.covariance[treatment, :, treatment, :]
    one = ReaderFigures(
        value=(contrast @ figures.value[treatment])[None, :],
        covariance=(contrast @ block @ contrast.T)[None, :, None, :],
        figure=figures.figure,
        method=figures.method,
    )
    name = f"device alone minus mean reader, {figures.figure}"
    return _one_sample(one, study, generalise, level, distribution, null=-margin, name=name)


def reader_differences(
    figures: ReaderFigures, study: Readings, first: int, second: int, *, level: float = 0.95
) -> tuple[Comparison, ...]:
    """`first` minus `second` of each reader alone, over the sampling of cases: normal interval and z-test."""
    c = figures.covariance
    return tuple(
        _comparison(
            float(figures.value[first, r] - figures.value[second, r]),
            _Spread(
                over_cases=float(c[first, r, first, r] + c[second, r, second, r] - 2.0 * c[first, r, second, r])
            ),
            study, f"{figures.method}, each reader by itself", level, 0.0, "hillis",
            name=f"difference of {figures.figure}, one reader", reason=_NO_VARIANCE,
        )
        for r in range(figures.value.shape[1])
    )  # fmt: skip


_NO_VARIANCE = "no variance can be estimated"


def _too_few(t: int, r: int, generalise: Generalise) -> str:
    if t < 2:
        return "one treatment only"
    return f"one reader only; {_NAMES[generalise]} needs two" if r < 2 else _NO_VARIANCE


def _method(figures: ReaderFigures, generalise: Generalise) -> str:
    return f"Obuchowski-Rockette, {_NAMES[generalise]}, {figures.method}"


def _denominator(parts: VarianceParts, r: int, generalise: Generalise) -> float | None:
    """Half the variance of a difference of two reader averages, times the readers."""
    if generalise == "cases":
        if parts.cov1 is None:
            return None
        between = 0.0 if parts.cov2 is None or parts.cov3 is None else max(parts.cov2 - parts.cov3, 0.0)
        return parts.error - parts.cov1 + (r - 1) * between
    if parts.ms_treatment_reader is None or parts.cov2 is None or parts.cov3 is None:
        return None
    if generalise == "readers":
        return parts.ms_treatment_reader
    return parts.ms_treatment_reader + r * max(parts.cov2 - parts.cov3, 0.0)


def _df(mean_square: float | None, below: float, at_least: int) -> float:
    """Hillis' degrees of freedom; infinite where readers do not differ at all."""
    if mean_square is None or mean_square <= 0.0:
        return math.inf
    return below**2 / (mean_square**2 / at_least)


def _one_sample(
    one: ReaderFigures, study: Readings, generalise: Generalise, level: float, distribution: Distribution, *,
    null: float, name: str,
) -> Comparison:  # fmt: skip
    parts = variance_parts(one)
    r = one.value.shape[1]
    between = 0.0 if parts.cov2 is None else max(parts.cov2, 0.0)
    spread: _Spread | None = None
    if generalise == "cases":
        spread = _Spread(over_cases=(parts.error + (r - 1) * between) / r)
    elif parts.ms_reader is not None:
        over_cases = between if generalise == "readers_and_cases" else 0.0
        spread = _Spread(over_cases=over_cases, over_readers=parts.ms_reader / r, df=r - 1)
    reason = f"one reader only; {_NAMES[generalise]} needs two" if r < 2 else _NO_VARIANCE
    return _comparison(
        float(one.value.mean()), spread, study, _method(one, generalise), level, -null, distribution, name=name,
        reason=reason,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spread:
    """Variance of a contrast: the part over cases, and that from readers' mean square with its degrees of freedom."""

    over_cases: float
    over_readers: float = 0.0
    df: int = 0

    @property
    def variance(self) -> float:
        return self.over_cases + self.over_readers

    def few(self, distribution: Distribution) -> bool:
        """Whether both parts keep their own distribution. It depends on the design, never on the data."""
        if not self.df or distribution == "hillis":
            return False
        return distribution == "behrens_fisher" or self.df < FEW_READERS - 1


def _comparison(
    value: float, spread: _Spread | None, study: Readings, method: str, level: float, margin: float,
    distribution: Distribution, *, name: str, reason: str,
) -> Comparison:  # fmt: skip
    counts: dict[str, Any] = {
        "n": study.n_cases, "n_positive": int(study.reference.sum()), "n_negative": int((~study.reference).sum()),
        "n_patients": study.n_patients, "unit": "case",
    }  # fmt: skip
    if spread is None or not spread.variance > 0.0:
        why = reason if spread is None else _NO_VARIANCE
        return Comparison(
            estimate=Estimate(value=value, level=level, method=method, interval_undefined=why, **counts),
            standard_error=None,
            df=None,
            test=TestOutcome(name=name, statistic=None, p_value=None, method=method, undefined=why),
        )
    error = math.sqrt(spread.variance)
    statistic = (value + margin) / error
    df: float | None
    if spread.few(distribution):
        df, method = spread.df, f"{method}, Behrens-Fisher distribution"
        known, estimated = math.sqrt(spread.over_cases), math.sqrt(spread.over_readers)
        half = behrens_fisher.half_width(known=known, estimated=estimated, df=df, level=level)
        p = behrens_fisher.two_sided_p(value + margin, known=known, estimated=estimated, df=df)
    else:
        df = _df(spread.over_readers, spread.variance, spread.df) if spread.df else None
        df = None if df is None or math.isinf(df) else df
        half = float(ndtri(0.5 + level / 2.0) if df is None else student.ppf(0.5 + level / 2.0, df)) * error
        p = 2.0 * float(ndtr(-abs(statistic)) if df is None else student.sf(abs(statistic), df))
    return Comparison(
        estimate=Estimate(value=value, low=value - half, high=value + half, level=level, method=method, **counts),
        standard_error=error,
        df=df,
        test=TestOutcome(name=name, statistic=statistic, p_value=p, method=method),
    )

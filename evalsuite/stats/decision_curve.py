"""Whether acting on a model does more good than harm: net benefit over thresholds, against treating all or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from evalsuite.stats._binary_inputs import BinarySample, FloatArray, IntArray, binary_sample, check_level
from evalsuite.stats.bootstrap import method_title
from evalsuite.stats.bootstrap_interval import BootstrapMethod, bootstrap_interval, check_method
from evalsuite.stats.draw import PatientDraw, without_each
from evalsuite.stats.statistic_bootstrap import MOST_JACKKNIFE_WORK, TOO_MANY_PATIENTS
from evalsuite.types import Estimate, Unit

Quantity = Literal["net_benefit", "standardised", "interventions_avoided"]
QUANTITIES = ("net_benefit", "standardised", "interventions_avoided")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionCurve:
    """Net benefit at each threshold `(t,)` with its pointwise interval, beside treating all; treating none is 0.

    `low`/`high` are NaN at thresholds without an interval; `reasons[i]` then says why.
    """

    threshold: FloatArray
    value: FloatArray
    low: FloatArray
    high: FloatArray
    treat_all: FloatArray
    quantity: Quantity
    reasons: tuple[str | None, ...]
    method: str
    n: int
    n_patients: int
    prevalence: float


def net_benefit_value(
    reference: npt.ArrayLike,
    probability: npt.ArrayLike,
    threshold: float,
    *,
    prevalence: float | None = None,
) -> float:
    """Net benefit per patient of treating where `probability >= threshold`: true positives less weighted false ones.

    `NB = TPR π − FPR (1 − π) t / (1 − t)`, with π the sample's prevalence, or the declared one for case-control data.

    Raises
    ------
    ValueError
        Without cases; with one class only where a prevalence is declared; for a threshold outside (0, 1).

    References
    ----------
    Vickers & Elkin, Medical Decision Making 26:565-574 (2006). Vickers, Cronin, Elkin & Gonen, BMC Med Inform Decis
    Mak 8:53 (2008), case-control.

    Examples
    --------
    >>> round(net_benefit_value([0, 0, 1, 1], [0.1, 0.6, 0.7, 0.9], 0.5), 3)
    0.25
    """
    sample = binary_sample(reference, probability, probability=True)
    thresholds = _thresholds([threshold])
    reason = _reason(sample, prevalence)
    if reason is not None:
        raise ValueError(f"no net benefit: {reason}")
    whole = _reached(sample, thresholds, np.zeros(sample.n, dtype=np.int64))(np.ones((1, 1), dtype=np.int64))
    return float(_values("net_benefit", whole, thresholds, prevalence)[0, 0])


def net_benefit(
    reference: npt.ArrayLike,
    probability: npt.ArrayLike,
    threshold: float,
    *,
    quantity: Quantity = "net_benefit",
    prevalence: float | None = None,
    level: float = 0.95,
    method: BootstrapMethod = "percentile",
    replicates: int = 2000,
    seed: int = 0,
    cluster: npt.ArrayLike | None = None,
    unit: Unit = "case",
) -> Estimate:
    """Net benefit at one threshold with a bootstrap interval over patients.

    `quantity`: `net_benefit`; `standardised` (over the prevalence, 1 is perfect); `interventions_avoided` (net, per
    patient, against treating all).
    """
    sample = binary_sample(reference, probability, cluster=cluster, unit=unit, probability=True)
    return _estimates(sample, None, _thresholds([threshold]), quantity, prevalence, level, method, replicates, seed)[0]


def net_benefit_difference(
    reference: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    threshold: float,
    *,
    quantity: Quantity = "net_benefit",
    prevalence: float | None = None,
    level: float = 0.95,
    method: BootstrapMethod = "percentile",
    replicates: int = 2000,
    seed: int = 0,
    cluster: npt.ArrayLike | None = None,
    unit: Unit = "case",
) -> Estimate:
    """First minus second model on the same patients, paired bootstrap over patients."""
    a = binary_sample(reference, first, cluster=cluster, unit=unit, probability=True)
    b = binary_sample(reference, second, cluster=cluster, unit=unit, probability=True)
    return _estimates(a, b, _thresholds([threshold]), quantity, prevalence, level, method, replicates, seed)[0]


def decision_curve(
    reference: npt.ArrayLike,
    probability: npt.ArrayLike,
    thresholds: npt.ArrayLike | None = None,
    *,
    quantity: Quantity = "net_benefit",
    prevalence: float | None = None,
    level: float = 0.95,
    method: BootstrapMethod = "percentile",
    replicates: int = 1000,
    seed: int = 0,
    cluster: npt.ArrayLike | None = None,
) -> DecisionCurve:
    """Net benefit over `thresholds (t,)`, default 0.01, 0.02, … 0.99, with pointwise bootstrap intervals over patients.

    Raises
    ------
    ValueError
        Without cases, with one class only where the quantity or a declared prevalence needs both, for thresholds
        outside (0, 1), NaN, or probabilities outside [0, 1].
    """
    sample = binary_sample(reference, probability, cluster=cluster, probability=True)
    grid = np.arange(1, 100) / 100.0 if thresholds is None else _thresholds(thresholds)
    found = _estimates(sample, None, grid, quantity, prevalence, level, method, replicates, seed)
    everyone = np.repeat([float(sample.n_negative), float(sample.n_positive)], grid.size + 1).reshape(1, 2, -1)
    treat_all = _values(quantity, everyone, grid, prevalence)[0]
    return _curve(sample, grid, found, treat_all, quantity, prevalence)


def decision_curve_difference(
    reference: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    thresholds: npt.ArrayLike | None = None,
    *,
    quantity: Quantity = "net_benefit",
    prevalence: float | None = None,
    level: float = 0.95,
    method: BootstrapMethod = "percentile",
    replicates: int = 1000,
    seed: int = 0,
    cluster: npt.ArrayLike | None = None,
) -> DecisionCurve:
    """First minus second model over `thresholds (t,)`, on the same patients: `value` is the difference, paired.

    Treating all or none is the same for both, so that `treat_all` is 0. Raises as `decision_curve`.
    """
    a, b = (binary_sample(reference, p, cluster=cluster, probability=True) for p in (first, second))
    grid = np.arange(1, 100) / 100.0 if thresholds is None else _thresholds(thresholds)
    found = _estimates(a, b, grid, quantity, prevalence, level, method, replicates, seed)
    return _curve(a, grid, found, np.zeros(grid.size), quantity, prevalence)


def _curve(
    sample: BinarySample,
    grid: FloatArray,
    found: list[Estimate],
    treat_all: FloatArray,
    quantity: Quantity,
    prevalence: float | None,
) -> DecisionCurve:
    if found[0].undefined is not None:
        raise ValueError(f"no decision curve: {found[0].undefined}")
    share = sample.n_positive / sample.n if prevalence is None else prevalence
    return DecisionCurve(
        threshold=grid,
        value=np.array([e.value for e in found], dtype=np.float64),
        low=np.array([np.nan if e.low is None else e.low for e in found]),
        high=np.array([np.nan if e.high is None else e.high for e in found]),
        treat_all=treat_all,
        quantity=quantity,
        reasons=tuple(e.interval_undefined for e in found),
        method=found[0].method,
        n=sample.n,
        n_patients=sample.n_patients,
        prevalence=share,
    )


def _thresholds(values: npt.ArrayLike) -> FloatArray:
    grid = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if grid.ndim != 1 or grid.size == 0 or not bool(((grid > 0.0) & (grid < 1.0)).all()):
        raise ValueError("thresholds lie strictly between 0 and 1: they are the odds at which harm equals benefit")
    return grid


def _reason(sample: BinarySample, prevalence: float | None) -> str | None:
    if prevalence is not None:
        if not 0.0 < prevalence < 1.0:
            raise ValueError(f"prevalence lies strictly between 0 and 1, got {prevalence!r}")
        return sample.one_class_reason()
    return "no cases" if sample.n == 0 else None


def _reached(
    sample: BinarySample, thresholds: FloatArray, patient: IntArray
) -> Callable[[npt.NDArray[np.integer]], FloatArray]:
    """From `counts (r, p)`, how often each patient is drawn, to `(r, 2, t + 1)`: negatives and positives in all, then
    those whose probability reaches each threshold."""
    from evalsuite.stats import _kernels

    cells = thresholds.size + 1
    # How many of the sorted thresholds each probability reaches; positives behind the negatives.
    place = np.searchsorted(np.sort(thresholds), sample.score, side="right") + cells * sample.reference
    rank = np.argsort(np.argsort(thresholds, kind="stable"), kind="stable")
    columns = np.append(0, 1 + rank)

    def of(counts: npt.NDArray[np.integer]) -> FloatArray:
        size = np.zeros((counts.shape[0], 2 * cells), dtype=np.int64)
        _kernels.cell_counts(counts, patient, place, size)
        both = size.reshape(-1, 2, cells)
        return np.asarray(np.cumsum(both[:, :, ::-1], axis=2)[:, :, ::-1][:, :, columns], dtype=np.float64)

    return of


def _values(quantity: Quantity, reached: FloatArray, thresholds: FloatArray, prevalence: float | None) -> FloatArray:
    """`(r, t)` the quantity at each threshold; NaN where it does not exist for these weights."""
    fp, tp = reached[:, 0, 1:], reached[:, 1, 1:]
    negative, positive = reached[:, 0, :1], reached[:, 1, :1]
    odds = thresholds / (1.0 - thresholds)
    with np.errstate(divide="ignore", invalid="ignore"):
        if prevalence is None:
            total = positive + negative
            true, false, share = tp / total, fp / total, positive / total
        else:
            share = np.full_like(positive, prevalence)
            true, false = prevalence * tp / positive, (1.0 - prevalence) * fp / negative
        benefit = true - false * odds
        if quantity == "standardised":
            benefit = np.where(share > 0.0, benefit / share, np.nan)
        elif quantity == "interventions_avoided":
            benefit = (benefit - (share - (1.0 - share) * odds)) / odds
    if prevalence is not None:
        benefit = np.where((positive > 0.0) & (negative > 0.0), benefit, np.nan)
    return np.asarray(benefit)


def _estimates(
    sample: BinarySample,
    other: BinarySample | None,
    thresholds: FloatArray,
    quantity: Quantity,
    prevalence: float | None,
    level: float,
    method: BootstrapMethod,
    replicates: int,
    seed: int,
) -> list[Estimate]:
    check_method(method)
    if quantity not in QUANTITIES:
        raise ValueError(f"quantity is one of {', '.join(QUANTITIES)}, got {quantity!r}")
    declared = "" if prevalence is None else f" at prevalence {prevalence:g}"
    title = f"{quantity.replace('_', ' ')}{declared}{', paired difference' if other else ''}"
    common: dict[str, Any] = {
        **sample.counts,
        "n": sample.n,
        "unit": sample.unit,
        "level": check_level(level),
        "method": f"{title}; {method_title(method, replicates)}",
    }
    reason = _reason(sample, prevalence)
    if reason is None and quantity == "standardised" and sample.n_positive == 0:
        reason = "no reference-positive cases"
    if reason is not None:
        return [Estimate.not_estimable(reason, **common) for _ in thresholds]
    samples = [sample] if other is None else [sample, other]
    draw = PatientDraw(sample.cluster if sample.cluster is not None else np.arange(sample.n), replicates, seed)
    counted = [_reached(s, thresholds, draw.patient) for s in samples]

    def of(counts: npt.NDArray[np.integer]) -> FloatArray:
        rows = [_values(quantity, reached(counts), thresholds, prevalence) for reached in counted]
        return rows[0] if other is None else rows[0] - rows[1]

    point = of(np.ones((1, draw.n_patients), dtype=np.int64))[0]
    values = np.concatenate([of(counts) for _, counts in draw.blocks()])
    left_out: FloatArray | None = None
    if method == "bca" and draw.n_patients * sample.n > MOST_JACKKNIFE_WORK:
        return [Estimate(value=float(v), interval_undefined=TOO_MANY_PATIENTS, **common) for v in point]
    if method == "bca":
        left_out = np.concatenate([of(counts) for counts in without_each(draw.n_patients)])
    out = []
    for i, value in enumerate(point):
        interval = bootstrap_interval(
            values[:, i], float(value), method=method, level=level,
            jackknife=None if left_out is None else left_out[:, i],
        )  # fmt: skip
        out.append(
            Estimate(
                value=float(value),
                low=interval.low,
                high=interval.high,
                interval_undefined=interval.undefined,
                replicates=interval.replicates,
                replicates_undefined=interval.replicates_undefined,
                **common,
            )
        )
    return out

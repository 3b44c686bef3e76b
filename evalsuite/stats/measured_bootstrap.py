"""Agreement of two measurements with patient-bootstrap intervals: one draw for every metric, patients drawn whole.

The estimates are those of `agreement`, `repeatability`, `deviation` and `method_comparison`; only their intervals
differ, so that several cases of one patient never pass for independent ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from evalsuite.stats._binary_inputs import BoolArray, FloatArray
from evalsuite.stats._means import paired
from evalsuite.stats._normal import check_level, z_two_sided
from evalsuite.stats._resampled import Material, Parts, Replicated, Statistic, read, replicated
from evalsuite.stats.bootstrap_interval import BootstrapMethod
from evalsuite.stats.deviation import within_tolerance
from evalsuite.stats.draw import PatientDraw
from evalsuite.types import Estimate, Unit

METRICS = (
    "bias",
    "mae",
    "rmse",
    "loa_lower",
    "loa_upper",
    "ccc",
    "icc",
    "icc_consistency",
    "deming_slope",
    "deming_intercept",
    "tdi",
    "coverage_probability",
)

_INF = math.inf


def measured_bootstrap(
    draw: PatientDraw,
    device: npt.ArrayLike,
    reference: npt.ArrayLike,
    metrics: Sequence[str],
    *,
    mask: npt.ArrayLike | None = None,
    tolerance: float | None = None,
    coverage: float = 0.9,
    variance_ratio: float = 1.0,
    level: float = 0.95,
    method: BootstrapMethod = "bca",
    unit: Unit = "case",
) -> list[Estimate]:
    """Estimates of `metrics` (from `METRICS`) on the cases of `mask`, each with its patient-bootstrap interval.

    Parameters
    ----------
    draw
        Resampling of the patients of all n cases.
    device, reference
        (n,) measurements in one unit; cases outside `mask` may hold any finite number.
    tolerance, coverage, variance_ratio
        Of the coverage probability, the total deviation index and Deming regression.

    Raises
    ------
    ValueError
        For unknown metrics, shapes that do not fit the draw, or a missing tolerance.

    Notes
    -----
    The limits of agreement weigh patients as `bland_altman` does: variance between patient means and within patients.
    """
    table = measured_replicates(
        draw,
        device,
        reference,
        metrics,
        mask=mask,
        tolerance=tolerance,
        coverage=coverage,
        variance_ratio=variance_ratio,
        with_jackknife=method == "bca",
    )
    return read(table, level=level, method=method, unit=unit)[0]


def measured_replicates(
    draw: PatientDraw,
    device: npt.ArrayLike,
    reference: npt.ArrayLike,
    metrics: Sequence[str],
    *,
    mask: npt.ArrayLike | None = None,
    tolerance: float | None = None,
    coverage: float = 0.9,
    variance_ratio: float = 1.0,
    with_jackknife: bool = True,
) -> Replicated:
    """Replicates of these figures, to be read at any level or set against another device's; see
    `measured_bootstrap`."""
    unknown = sorted(set(metrics) - set(METRICS))
    if unknown:
        raise ValueError(f"unknown metric: {', '.join(unknown)}")
    if "coverage_probability" in metrics and tolerance is None:
        raise ValueError("coverage_probability needs a tolerance")
    check_level(coverage)
    y, x = paired(device, reference)
    chosen = np.ones(y.size, dtype=np.bool_) if mask is None else np.asarray(mask, dtype=np.bool_)
    if y.size != draw.n or chosen.shape != y.shape:
        raise ValueError(f"the draw was made for {draw.n} cases, device has {y.size} and mask {chosen.shape}")
    # A common origin keeps squares small beside the differences made of them.
    origin = float(x[chosen].mean()) if chosen.any() else 0.0
    u, v = np.where(chosen, x - origin, 0.0), np.where(chosen, y - origin, 0.0)
    d = v - u
    columns = [np.ones(y.size), u, v, u * u, v * v, u * v, d, d * d, np.abs(d)]
    columns.append(within_tolerance(y, x, 0.0 if tolerance is None else tolerance).astype(np.float64))
    sums = {"cases": np.stack(columns, axis=1), "patients": _patients(d, chosen, draw)}
    statistics = [_statistic(m, origin, coverage, variance_ratio) for m in metrics]
    return replicated(draw, Material(sums=sums), statistics, masks=chosen[None, :], with_jackknife=with_jackknife)


def _patients(d: FloatArray, chosen: BoolArray, draw: PatientDraw) -> FloatArray:
    """Per patient, on the patient's first chosen case: 1, mean, squared mean, sum of squares within, 1/size, size."""
    out = np.zeros((d.size, 6))
    index = np.flatnonzero(chosen)
    if not index.size:
        return out
    _, first, local = np.unique(draw.patient[index], return_index=True, return_inverse=True)
    local = local.reshape(-1)
    size = np.bincount(local).astype(np.float64)
    mean = np.bincount(local, d[index]) / size
    within = np.bincount(local, (d[index] - mean[local]) ** 2)
    out[index[first]] = np.stack([np.ones(size.size), mean, mean**2, within, 1.0 / size, size], axis=1)
    return out


def _root(values: FloatArray) -> FloatArray:
    return np.sqrt(np.maximum(values, 0.0))


def _safe(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    good = np.abs(denominator) > 0
    return np.asarray(np.where(good, numerator / np.where(good, denominator, 1.0), np.nan))


def _limit(sign: float) -> Callable[[FloatArray, FloatArray], FloatArray]:
    z = z_two_sided(0.95)

    def limit(cases: FloatArray, people: FloatArray) -> FloatArray:
        m, mean, squares, within, inverse, size = people.T
        centre = _safe(mean, m)
        between = _safe(np.maximum(squares - m * centre**2, 0.0), m - 1.0)
        df = size - m
        share = 1.0 - _safe(inverse, m)
        inside = np.where(df > 0, within / np.where(df > 0, df, 1.0), 0.0)
        total = between + share * inside
        # Rounding noise is no spread.
        total = np.where(total > 1e-18 * np.maximum(1.0, squares), total, np.nan)
        return centre + sign * z * np.sqrt(total)

    return limit


def _tdi(coverage: float) -> Callable[[FloatArray, FloatArray], FloatArray]:
    def index(cases: FloatArray, people: FloatArray) -> FloatArray:
        n, d, dd = cases[:, 0], cases[:, 6], cases[:, 7]
        mean = _safe(d, n)
        sd = np.sqrt(_safe(np.maximum(dd - n * mean**2, 0.0), n - 1.0))
        sd = np.where(sd > 1e-9 * np.maximum(1e-300, _root(_safe(dd, n))), sd, np.nan)
        low, high = np.zeros_like(mean), np.abs(mean) + 40.0 * sd
        # Bisection of all replicates at once: 100 halvings leave no digit of float64 undecided.
        for _ in range(100):
            k = (low + high) / 2.0
            under = special.ndtr((k - mean) / sd) - special.ndtr((-k - mean) / sd) < coverage
            low, high = np.where(under, k, low), np.where(under, high, k)
        return (low + high) / 2.0

    return index


def _icc(cases: FloatArray, people: FloatArray) -> FloatArray:
    n, u, v, uu, vv, uv, d, dd = cases[:, :8].T
    rows = (uu + vv + 2.0 * uv - _safe((u + v) ** 2, n)) / 2.0
    gap = _safe(d, n)
    error = np.maximum(dd - n * gap**2, 0.0) / 2.0
    msr, mse, msc = _safe(rows, n - 1.0), _safe(error, n - 1.0), n * gap**2 / 2.0
    return _safe(msr - mse, msr + mse + 2.0 * (msc - mse) / n)


def _icc_consistency(cases: FloatArray, people: FloatArray) -> FloatArray:
    n, u, v, uu, vv, uv, d, dd = cases[:, :8].T
    rows = (uu + vv + 2.0 * uv - _safe((u + v) ** 2, n)) / 2.0
    error = np.maximum(dd - n * _safe(d, n) ** 2, 0.0) / 2.0
    # Both mean squares have n − 1 degrees of freedom.
    return _safe(rows - error, rows + error)


def _ccc(cases: FloatArray, people: FloatArray) -> FloatArray:
    n, u, v, uu, vv, uv = cases[:, :6].T
    mx, my = _safe(u, n), _safe(v, n)
    spread = _safe(uu, n) - mx**2 + _safe(vv, n) - my**2 + (my - mx) ** 2
    return _safe(2.0 * (_safe(uv, n) - mx * my), spread)


def _deming(ratio: float, origin: float, *, slope: bool) -> Callable[[FloatArray, FloatArray], FloatArray]:
    def line(cases: FloatArray, people: FloatArray) -> FloatArray:
        n, u, v, uu, vv, uv = cases[:, :6].T
        cxx, cyy, cxy = uu - _safe(u * u, n), vv - _safe(v * v, n), uv - _safe(u * v, n)
        gap = cyy - ratio * cxx
        root = np.sqrt(gap * gap + 4.0 * ratio * cxy * cxy)
        # The two forms are the same number; each is used where it does not cancel.
        b = np.where(gap >= 0, _safe(gap + root, 2.0 * cxy), _safe(2.0 * ratio * cxy, root - gap))
        b = np.where(np.abs(cxy) > 1e-14 * _root(cxx * cyy), b, np.nan)
        return b if slope else _safe(v, n) - b * _safe(u, n) + origin * (1.0 - b)

    return line


def _statistic(metric: str, origin: float, coverage: float, ratio: float) -> Statistic:
    formulas: dict[str, tuple[Callable[[FloatArray, FloatArray], FloatArray], tuple[float, float], str]] = {
        "bias": (lambda c, p: _safe(c[:, 6], c[:, 0]), (-_INF, _INF), "no cases"),
        "mae": (lambda c, p: _safe(c[:, 8], c[:, 0]), (0.0, _INF), "no cases"),
        "rmse": (lambda c, p: np.sqrt(_safe(c[:, 7], c[:, 0])), (0.0, _INF), "no cases"),
        "loa_lower": (_limit(-1.0), (-_INF, _INF), "the differences do not vary between patients"),
        "loa_upper": (_limit(1.0), (-_INF, _INF), "the differences do not vary between patients"),
        "ccc": (_ccc, (-1.0, 1.0), "neither measurement varies"),
        "icc": (_icc, (-1.0, 1.0), "cases do not differ"),
        "icc_consistency": (_icc_consistency, (-1.0, 1.0), "cases do not differ"),
        "deming_slope": (_deming(ratio, origin, slope=True), (-_INF, _INF), "the measurements do not vary together"),
        "deming_intercept": (
            _deming(ratio, origin, slope=False),
            (-_INF, _INF),
            "the measurements do not vary together",
        ),
        "tdi": (_tdi(coverage), (0.0, _INF), "the differences do not vary"),
        "coverage_probability": (lambda c, p: _safe(c[:, 9], c[:, 0]), (0.0, 1.0), "no cases"),
    }
    formula, bounds, reason = formulas[metric]

    def value(parts: Parts) -> FloatArray:
        return formula(parts.sums["cases"], parts.sums["patients"])

    def counted(parts: Parts) -> tuple[float, float]:
        return float(parts.sums["cases"][0, 9]), float(parts.sums["cases"][0, 0])

    more: dict[str, Any] = {"counts": counted} if metric == "coverage_probability" else {}
    return Statistic(value=value, reason=lambda parts: reason, bounds=bounds, **more)

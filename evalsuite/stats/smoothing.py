"""Smooth calibration curves: lowess as R's val.prob uses it, loess of degree 2, and the reflected Gaussian kernel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import dct, idct

from evalsuite.stats._binary_inputs import FloatArray, IntArray

LOESS_SPAN = 0.75
LOESS_DIRECT_UP_TO = 2000
LOESS_KNOTS = 512
LOWESS_SPAN = 2.0 / 3.0
KERNEL_CELLS = 4096
_SECANTS, _BISECTIONS = 30, 42
_FIRST_SLOPE = -1.5


def lowess(x: FloatArray, y: FloatArray, *, span: float = LOWESS_SPAN) -> FloatArray:
    """Cleveland's lowess without robustness iterations, as R's `lowess(x, y, iter = 0)`, at each `x (n,)`.

    Local lines with tricube weights on the `span` nearest points; fitted values are interpolated between points closer
    than 1 % of the range, exactly as in the reference implementation.

    References
    ----------
    Cleveland, JASA 74:829-836 (1979); R `clowess`.
    """
    order = np.argsort(x, kind="stable")
    xs, ys = x[order], y[order].astype(np.float64)
    fitted = np.empty(x.size)
    fitted[order] = _clowess(xs, ys, span)
    return fitted


def _clowess(x: FloatArray, y: FloatArray, span: float) -> FloatArray:
    n = int(x.size)
    if n < 2:
        return y.copy()
    size = max(min(int(span * n + 1e-7), n), 2)
    delta = 0.01 * float(x[-1] - x[0])
    out = np.empty(n)
    left, right = 0, size - 1
    last, i = -1, 0
    while True:
        while right < n - 1 and x[i] - x[left] > x[right + 1] - x[i]:
            left, right = left + 1, right + 1
        value = _local_line(x, y, float(x[i]), left, right)
        out[i] = y[i] if value is None else value
        if last < i - 1:
            share = (x[last + 1 : i] - x[last]) / (x[i] - x[last])
            out[last + 1 : i] = share * out[i] + (1.0 - share) * out[last]
        last = i
        cut = x[last] + delta
        stop = int(np.searchsorted(x, cut, side="right"))
        tied = int(np.searchsorted(x, x[last], side="right")) - 1
        if tied > last:
            out[last + 1 : tied + 1] = out[last]
            last = tied
        i = max(last + 1, stop - 1)
        if last >= n - 1:
            return out


def _local_line(x: FloatArray, y: FloatArray, at: float, left: int, right: int) -> float | None:
    h = max(at - float(x[left]), float(x[right]) - at)
    stop = int(np.searchsorted(x, at + h, side="right"))
    part = slice(left, max(stop, right + 1))
    distance = np.abs(x[part] - at)
    weight = np.where(distance <= 0.001 * h, 1.0, (1.0 - (distance / h if h > 0.0 else distance) ** 3) ** 3)
    weight = np.where(distance <= 0.999 * h, weight, 0.0)
    total = float(weight.sum())
    if total <= 0.0:
        return None
    weight = weight / total
    if h > 0.0:
        centre = float((weight * x[part]).sum())
        spread = float((weight * (x[part] - centre) ** 2).sum())
        if np.sqrt(spread) > 0.001 * float(x[-1] - x[0]):
            weight = weight * ((at - centre) / spread * (x[part] - centre) + 1.0)
    return float((weight * y[part]).sum())


def loess(x: FloatArray, y: FloatArray, *, span: float = LOESS_SPAN) -> FloatArray:
    """Local quadratic regression with tricube weights on the `span` nearest points, at each `x (n,)` in input order.

    Up to `LOESS_DIRECT_UP_TO` distinct values the fit is made at each of them, as R's
    `loess(y ~ x, control = loess.control(surface = "direct"))`; beyond, at `LOESS_KNOTS` quantiles of `x`, linear in
    between. R's default interpolates over a tree of vertices and differs in the third digit.

    References
    ----------
    Cleveland & Devlin, JASA 83:596-610 (1988).
    """
    order = np.argsort(x, kind="stable")
    xs, ys = x[order], y[order].astype(np.float64)
    at = xs[np.append(True, np.diff(xs) > 0.0)]
    if at.size > LOESS_DIRECT_UP_TO:
        at = np.unique(np.quantile(xs, np.linspace(0.0, 1.0, LOESS_KNOTS)))
    count = min(max(int(span * xs.size + 1e-5), 1), xs.size)
    from evalsuite.stats import _kernels

    values = np.empty(at.size)
    _kernels.local_quadratics(xs, ys, at, count, values)
    for k in np.flatnonzero(np.isnan(values)):
        # Fewer than three different values nearby: the shortest of the parabolas through them.
        values[k] = _local_quadratic(xs, ys, float(at[k]), count)
    return np.asarray(np.interp(x, at, values))


def _local_quadratic(x: FloatArray, y: FloatArray, at: float, count: int) -> float:
    squared = (x - at) ** 2
    reach = float(np.partition(squared, count - 1)[count - 1])
    if reach <= 0.0:
        return float(y[squared == 0.0].mean())
    inside = squared < reach
    values = y[inside]
    root = (1.0 - (squared[inside] / reach) ** 1.5) ** 1.5  # square root of the tricube weight
    u = (x[inside] - at) / np.sqrt(reach)
    design = np.stack([np.ones_like(u), u, u * u], axis=1) * root[:, None]
    return float(np.linalg.lstsq(design, values * root, rcond=1e-12)[0][0])


@dataclass(frozen=True, slots=True, kw_only=True)
class SmoothErrors:
    """Smooth ECE of several sets of residuals at the same probabilities, and what resampling changes in the smooth.

    `value (r,)`; `change (r,)` the integral of |smoothed residuals less those of `base`|, at the width asked for.
    """

    value: FloatArray
    change: FloatArray


def smooth_residual(probability: FloatArray, residual: FloatArray, width: float) -> float:
    """Integral over [0, 1] of |mean residual smoothed by a Gaussian of this width reflected at both ends|.

    Residuals are spread linearly over `KERNEL_CELLS` cells; in the cosine basis the reflected Gaussian is a factor
    `exp(-(π k width)² / 2)`.
    """
    coefficients = _cosine(_cells(probability, residual[None, :]))
    return float(_smoothed(coefficients, np.array([width]))[0])


def smooth_calibration_error(probability: FloatArray, residual: FloatArray) -> float:
    """The width at which the smoothed error equals the width itself: smECE. The error falls as the width grows."""
    mass = _cells(probability, residual[None, :])
    return float(_widths(mass, _cosine(mass))[0])


def smooth_calibration_errors(
    probability: FloatArray, residual: FloatArray, base: FloatArray, value: float
) -> SmoothErrors:
    """Smooth ECE of each row of `residual (r, n)`, and how far its smooth is from that of `base (n,)`.

    `value` is the smooth ECE of `base`: the width at which the changes are measured, and where the search begins.
    """
    mass = _cells(probability, residual)
    coefficients = _cosine(mass)
    change = coefficients - _cosine(_cells(probability, base[None, :]))
    width = np.full(mass.shape[0], max(value, 1e-6))
    return SmoothErrors(value=_widths(mass, coefficients, value), change=_smoothed(change, width))


def _cells(probability: FloatArray, residual: FloatArray) -> FloatArray:
    """`(r, KERNEL_CELLS)` residuals in each cell, over the number of cases."""
    # Cell centres lie at (j + 1/2) / cells; mass beyond the outer centres stays in the outer cells.
    position = np.clip(probability * KERNEL_CELLS - 0.5, 0.0, KERNEL_CELLS - 1.0)
    low = np.minimum(position.astype(np.int64), KERNEL_CELLS - 2)
    share = position - low
    mass = np.empty((residual.shape[0], KERNEL_CELLS))
    for row, r in zip(mass, residual, strict=True):
        row[:] = np.bincount(low, weights=r * (1.0 - share), minlength=KERNEL_CELLS)
        row += np.bincount(low + 1, weights=r * share, minlength=KERNEL_CELLS)
    mass /= probability.size
    return mass


def _cosine(mass: FloatArray) -> FloatArray:
    return np.asarray(dct(mass, type=2, norm="ortho", axis=1))


def _smoothed(coefficients: FloatArray, width: FloatArray, rows: IntArray | slice = slice(None)) -> FloatArray:
    """Sums of |smooth| over the cells, of these rows, each at its own `width` above 0."""
    # A factor below 1e-17 is as good as 0, and most of them are.
    n = min(KERNEL_CELLS, int(9.0 / (np.pi * float(width.min(initial=1.0)))) + 1)
    damped = np.zeros((width.size, KERNEL_CELLS))
    damped[:, :n] = np.exp(-((np.pi * np.arange(n) * width[:, None]) ** 2) / 2.0) * coefficients[rows, :n]
    smooth = idct(damped, type=2, norm="ortho", axis=1, overwrite_x=True)
    return np.asarray(np.abs(smooth, out=smooth).sum(axis=1))


def _widths(mass: FloatArray, coefficients: FloatArray, start: float | None = None) -> FloatArray:
    """`(r,)` widths that equal their own smoothed error, to 1e-12: secants side by side, kept within a bracket."""
    raw = np.abs(mass).sum(axis=1)
    found = np.where(raw <= 1e-12, 0.0, 1.0)
    rows = np.flatnonzero(raw > 1e-12)
    # Smoothing never adds: only where all residuals are of size 1 can the widest kernel leave as much as its width.
    full = np.flatnonzero(raw >= 1.0 - 1e-9)
    rows = np.setdiff1d(rows, full[_smoothed(coefficients, np.ones(full.size), full) >= 1.0])
    low, high, before, behind = np.zeros(raw.size), np.ones(raw.size), np.zeros(raw.size), raw.copy()
    width = np.clip(raw / 4.0 if start is None else np.full(raw.size, start), 1e-3, 0.999)
    for k in range(_SECANTS + _BISECTIONS):
        if not rows.size:
            break
        at = width[rows]
        excess = _smoothed(coefficients, at, rows) - at
        low[rows], high[rows] = np.where(excess > 0, at, low[rows]), np.where(excess > 0, high[rows], at)
        slope = np.full(at.size, _FIRST_SLOPE)
        if k:
            with np.errstate(divide="ignore", invalid="ignore"):
                slope = (excess - behind[rows]) / (at - before[rows])
        with np.errstate(divide="ignore", invalid="ignore"):
            reached = np.where(excess == 0.0, at, at - excess / slope)
        # Cells that change sign bend the error by a thousandth at most: after such a step 1e-12 is left.
        done = np.abs(reached - at) <= 1e-9
        inside = done | ((reached > low[rows]) & (reached < high[rows]) & (k < _SECANTS))
        before[rows], behind[rows] = at, excess
        found[rows] = width[rows] = np.where(inside, reached, (low[rows] + high[rows]) / 2.0)
        rows = rows[~done]
    return found

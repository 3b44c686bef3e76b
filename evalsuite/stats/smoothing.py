"""Smooth calibration curves: lowess as R's val.prob uses it, loess of degree 2, and the reflected Gaussian kernel."""

from __future__ import annotations

import numpy as np
from scipy.fft import dct, idct
from scipy.optimize import brentq

from evalsuite.stats._binary_inputs import FloatArray

LOESS_SPAN = 0.75
LOESS_DIRECT_UP_TO = 2000
LOESS_KNOTS = 512
LOWESS_SPAN = 2.0 / 3.0
KERNEL_CELLS = 4096


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
    at = np.unique(xs)
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


def smooth_residual(probability: FloatArray, residual: FloatArray, width: float) -> float:
    """Integral over [0, 1] of |mean residual smoothed by a Gaussian of this width reflected at both ends|.

    Residuals are spread linearly over `KERNEL_CELLS` cells; in the cosine basis the reflected Gaussian is a factor
    `exp(-(π k width)² / 2)`.
    """
    return _smoothed(_cosine(probability, residual), width)


def _cosine(probability: FloatArray, residual: FloatArray) -> FloatArray:
    # Cell centres lie at (j + 1/2) / cells; mass beyond the outer centres stays in the outer cells.
    position = np.clip(probability * KERNEL_CELLS - 0.5, 0.0, KERNEL_CELLS - 1.0)
    low = np.minimum(position.astype(np.int64), KERNEL_CELLS - 2)
    share = position - low
    mass = np.bincount(low, weights=residual * (1.0 - share), minlength=KERNEL_CELLS)
    mass += np.bincount(low + 1, weights=residual * share, minlength=KERNEL_CELLS)
    return np.asarray(dct(mass / probability.size, type=2, norm="ortho"))


def _smoothed(coefficients: FloatArray, width: float) -> float:
    # A factor below 1e-17 is as good as 0, and most of them are.
    n = KERNEL_CELLS if width <= 0.0 else min(KERNEL_CELLS, int(9.0 / (np.pi * width)) + 1)
    damping = np.zeros(KERNEL_CELLS)
    damping[:n] = np.exp(-((np.pi * np.arange(n) * width) ** 2) / 2.0)
    return float(np.abs(idct(coefficients * damping, type=2, norm="ortho")).sum())


def smooth_calibration_error(probability: FloatArray, residual: FloatArray) -> float:
    """The width at which the smoothed error equals the width itself: smECE. The error falls as the width grows."""
    coefficients = _cosine(probability, residual)

    def excess(width: float) -> float:
        return _smoothed(coefficients, width) - width

    if excess(0.0) <= 1e-12:
        return 0.0
    return 1.0 if excess(1.0) >= 0.0 else float(brentq(excess, 0.0, 1.0, xtol=1e-12))

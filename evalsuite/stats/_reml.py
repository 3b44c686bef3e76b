"""Restricted maximum likelihood of a mean with several random factors, and profile limits of each component."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.linalg import lapack
from scipy.optimize import brentq, minimize

from evalsuite.stats._means import Floats

_MAX_LEVELS = 3000
#: Of the residual SD over that of all values: below, the cross-products of the factors have no digits left.
_SMALLEST = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Reml:
    """Standard deviations of the factors in order, then of the residual; `mean` the estimated grand mean."""

    sd: Floats
    mean: float
    deviance: float
    problem: Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What the likelihood needs of the data: cross-products of level indicators, intercept and values.

    `levels[j]` is the factor of column j of the indicators; values are centred and scaled by `shift` and `scale`. The
    levels of one factor share no measurement, so that its own cross-products are a diagonal: those of the factor with
    most levels, `large`, whose columns come first, are kept as `counts`; `cross (others, large)` and `others` hold the
    rest, `z (levels, 2)` the products with the intercept and the values. A thousand patients then cost little more than
    their number.
    """

    n: int
    levels: NDArray[np.intp]
    counts: Floats
    cross: Floats
    others: Floats
    z: Floats
    xy: float
    yy: float
    shift: float
    scale: float
    n_factors: int

    def profiled(self, ratio: Floats) -> tuple[float, float, float]:
        """Deviance, residual variance and mean at given ratios of factor SD to residual SD (Bates et al. 2015, 3.4)."""
        log_det, xx, xy, yy = self._solved(ratio)
        mean = xy / xx
        df = self.n - 1
        residual = max(yy - xy * mean, 1e-300)
        return log_det + math.log(xx) + df * (1.0 + math.log(2.0 * math.pi * residual / df)), residual / df, mean

    def at(self, sd: Floats) -> float:
        """Deviance at given standard deviations (residual last, above 0), the mean profiled out."""
        residual = float(sd[-1]) ** 2
        log_det, xx, xy, yy = self._solved(sd[:-1] / sd[-1])
        df = self.n - 1
        return log_det + math.log(xx) + df * math.log(2.0 * math.pi * residual) + max(yy - xy * xy / xx, 0.0) / residual

    def _solved(self, ratio: Floats) -> tuple[float, float, float, float]:
        """log|V|, 1'V⁻¹1, 1'V⁻¹y and y'V⁻¹y with V = I + Z Λ² Z', by the Cholesky factor of I + Λ Z'Z Λ.

        The large factor's block is diagonal and is eliminated first; what is left is as large as the other factors.
        """
        scale = ratio[self.levels]
        k = self.counts.size
        right = scale[:, None] * self.z
        diagonal = 1.0 + scale[:k] ** 2 * self.counts
        root = np.sqrt(diagonal)
        u = right[:k] / root[:, None]
        log_det = float(np.log(diagonal).sum())
        xx, xy, yy = float(u[:, 0] @ u[:, 0]), float(u[:, 0] @ u[:, 1]), float(u[:, 1] @ u[:, 1])
        if scale.size > k:
            rest = scale[k:]
            across = rest[:, None] * self.cross * (scale[:k] / root)
            system = rest[:, None] * self.others * rest - across @ across.T
            system.flat[:: rest.size + 1] += 1.0
            # Straight to LAPACK: the systems are small and solved thousands of times.
            factor, failed = lapack.dpotrf(system, lower=1)
            if failed:
                raise np.linalg.LinAlgError("the factors' cross-products are not positive definite")
            below, _ = lapack.dtrtrs(factor, right[k:] - across @ u, lower=1)
            log_det += 2.0 * float(np.log(factor.diagonal()).sum())
            xx, xy = xx + float(below[:, 0] @ below[:, 0]), xy + float(below[:, 0] @ below[:, 1])
            yy += float(below[:, 1] @ below[:, 1])
        return log_det, max(self.n - xx, 1e-12), self.xy - xy, self.yy - yy


def build(y: Floats, codes: Sequence[NDArray[np.intp]]) -> Problem:
    """Cross-products of n values and their factors."""
    sizes = [int(c.max()) + 1 for c in codes]
    total = sum(sizes)
    if total > _MAX_LEVELS:
        raise ValueError(f"the factors have {total} levels, more than {_MAX_LEVELS}")
    shift, scale = float(y.mean()), float(y.std())
    v = (y - shift) / scale
    large = int(np.argmax(sizes))
    order = [large, *(j for j in range(len(codes)) if j != large)]
    offsets = np.concatenate(([0], np.cumsum([sizes[j] for j in order])[:-1]))
    columns = [codes[j] + o for j, o in zip(order, offsets, strict=True)]
    k = sizes[large]
    cross, others = np.zeros((total - k, k)), np.zeros((total - k, total - k))
    for a in columns[1:]:
        np.add.at(cross, (a - k, columns[0]), 1.0)
        for b in columns[1:]:
            np.add.at(others, (a - k, b - k), 1.0)
    zx = np.zeros(total)
    zy = np.zeros(total)
    for a in columns:
        np.add.at(zx, a, 1.0)
        np.add.at(zy, a, v)
    return Problem(
        n=y.size,
        levels=np.repeat(order, [sizes[j] for j in order]),
        counts=zx[:k].copy(),
        cross=cross,
        others=others,
        z=np.column_stack((zx, zy)),
        xy=float(v.sum()),
        yy=float(v @ v),
        shift=shift,
        scale=scale,
        n_factors=len(codes),
    )


def _minimise(f: Callable[[Floats], float], start: Floats) -> tuple[Floats, float]:
    """Bounded quasi-Newton from `start`, refined by a simplex: the deviance is flat near 0."""
    bounds = [(0.0, None)] * start.size
    first = minimize(f, start, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-9, "maxiter": 500})
    second = minimize(
        lambda t: f(np.abs(t)),
        first.x,
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-11, "maxiter": 4000},
    )
    best = np.abs(second.x) if second.fun < first.fun else np.asarray(first.x)
    # A component that does no harm at exactly 0 is 0.
    for i in range(best.size):
        trial = best.copy()
        trial[i] = 0.0
        if best[i] < 1e-3 and f(trial) <= f(best) + 1e-10:
            best = trial
    return best, float(f(best))


def reml(y: Floats, codes: Sequence[NDArray[np.intp]]) -> Reml:
    """Fit by restricted maximum likelihood; `y (n,)` varies, each factor has (n,) codes from 0."""
    problem = build(y, codes)

    def deviance(ratio: Floats) -> float:
        return problem.profiled(np.asarray(ratio))[0]

    best: tuple[Floats, float] | None = None
    for start in (1.0, 0.1):
        found = _minimise(deviance, np.full(problem.n_factors, start))
        if best is None or found[1] < best[1] - 1e-9:
            best = found
    assert best is not None
    value, residual, mean = problem.profiled(best[0])
    sd = np.append(best[0], 1.0) * math.sqrt(residual) * problem.scale
    return Reml(sd=sd, mean=mean * problem.scale + problem.shift, deviance=value, problem=problem)


def profile_limits(fit: Reml, i: int, level: float) -> tuple[float, float | None]:
    """Standard deviations of component `i` at which the restricted deviance exceeds its minimum by the chi-square
    quantile; 0 where it does not reach it below, None where it does not reach it above."""
    problem = fit.problem
    best = fit.sd / problem.scale
    target = float(special.chdtri(1.0, 1.0 - level))
    others = [j for j in range(best.size) if j != i]
    residual = best.size - 1
    start = np.maximum(best[others], 1e-3)

    def excess(fixed: float) -> float:
        def deviance(rest: Floats) -> float:
            sd = np.empty(best.size)
            sd[i], sd[others] = fixed, np.abs(rest)
            sd[residual] = max(sd[residual], _SMALLEST)
            return problem.at(sd)

        floor = [(_SMALLEST if j == residual else 0.0, None) for j in others]
        found = minimize(
            deviance,
            start,
            method="L-BFGS-B",
            bounds=floor,
            options={"ftol": 1e-14, "gtol": 1e-8, "maxiter": 500},
        )
        least = float(found.fun)
        if not found.success:
            simplex = {"xatol": 1e-8, "fatol": 1e-10, "maxiter": 2000}
            least = min(least, float(minimize(deviance, found.x, method="Nelder-Mead", options=simplex).fun))
        return least - fit.deviance - target

    bottom = _SMALLEST if i == residual else 0.0
    low = 0.0 if excess(bottom) <= 0 else float(brentq(excess, bottom, best[i], xtol=1e-9, rtol=1e-8))
    top = max(2.0 * best[i], 0.5)
    for _ in range(40):
        if excess(top) > 0:
            high = float(brentq(excess, best[i], top, xtol=1e-9, rtol=1e-8))
            return low * problem.scale, high * problem.scale
        top *= 2.0
    return low * problem.scale, None

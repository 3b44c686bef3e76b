"""Restricted maximum likelihood of a mean with several random factors, and profile limits of each component."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.linalg import lapack

from evalsuite.stats._means import Floats

_MAX_LEVELS = 3000
#: Of the residual variance over that of all values: below, the cross-products of the factors have no digits left.
_SMALLEST = 1e-8
_STEPS = 100
_HALVINGS = 40
_NEWTON, _FARTHEST = 20, 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reml:
    """Standard deviations of the factors in order, then of the residual; `mean` the estimated grand mean.

    `no_residual`: what the factors leave is less than a ten-thousandth of the spread of the values, and not known.
    """

    sd: Floats
    no_residual: bool
    mean: float
    deviance: float
    problem: Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Deviance at given variances, its gradient and curvature (observed, expected) in them, and the estimated mean."""

    deviance: float
    gradient: Floats
    observed: Floats
    expected: Floats
    mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What the likelihood needs of the data: cross-products of level indicators, intercept and values.

    `levels[j]` is the factor of column j of the indicators; values are centred and scaled by `shift` and `scale`. The
    levels of one factor share no measurement, so that its own cross-products are a diagonal: those of the factor with
    most levels, `large`, whose columns come first, are kept as `counts`; `cross (others, large)` and `others` hold the
    rest, `z (levels, 2)` the products with the intercept and the values, `products (2, 2)` those of the two among
    themselves. A thousand patients then cost little more than their number.
    """

    n: int
    levels: NDArray[np.intp]
    counts: Floats
    cross: Floats
    others: Floats
    z: Floats
    products: Floats
    shift: float
    scale: float
    n_factors: int

    def scored(self, variance: Floats) -> Scored:
        """Restricted deviance at variances of the factors and the residual (above 0), the mean profiled out.

        With `P = V⁻¹ − V⁻¹1(1'V⁻¹1)⁻¹1'V⁻¹`, the gradient of factor j is `tr Z_j'PZ_j − |Z_j'Py|²`, its expected
        curvature with k `|Z_j'PZ_k|²` and the observed one `2 y'PZ_j Z_j'PZ_k Z_k'Py` less that (Searle, Casella &
        McCulloch 1992, chapter 6). The large factor's block is diagonal and is eliminated first; what is left is as
        large as the other factors. Those of the residual follow from `P V P = P`.
        """
        k, e, c = self.counts.size, float(variance[-1]), self.counts
        of_level = variance[self.levels]
        w = 1.0 / (e + of_level[:k] * c)
        pulled = (of_level[:k] * w)[:, None] * self.z[:k]
        a_x = np.concatenate([w[:, None] * self.z[:k], (self.z[k:] - self.cross @ pulled) / e])
        a_xx = (self.products - pulled.T @ self.z[:k]) / e
        a_large = c * w
        a_cross = self.cross * w
        a_others = (self.others - (self.cross * (of_level[:k] * w)) @ self.cross.T) / e
        log_det = (self.n - k) * math.log(e) - float(np.log(w).sum())

        root = np.sqrt(of_level[k:])[:, None]
        system = root * a_others * root.T
        system.flat[:: root.size + 1] += 1.0
        right = root * np.concatenate([a_cross, a_others, a_x[k:]], axis=1)
        if root.size:
            # Straight to LAPACK: the systems are small and solved many times.
            factor, failed = lapack.dpotrf(system, lower=1)
            if failed:
                raise np.linalg.LinAlgError("the factors' cross-products are not positive definite")
            right, _ = lapack.dtrtrs(factor, right, lower=1)
            log_det += 2.0 * float(np.log(factor.diagonal()).sum())
        total = self.levels.size
        b_x = a_x - right[:, :total].T @ right[:, total:]
        b_xx = a_xx - right[:, total:].T @ right[:, total:]
        xx = max(float(b_xx[0, 0]), 1e-300)
        mean = float(b_xx[0, 1]) / xx
        u = b_x[:, 1] - mean * b_x[:, 0]
        rest = max(float(b_xx[1, 1]) - mean * float(b_xx[0, 1]), 0.0)
        deviance = log_det + math.log(xx) + rest + (self.n - 1) * math.log(2.0 * math.pi)

        # Z'PZ is the diagonal of the large factor and the blocks a_*, less the product of `taken` with itself.
        taken = np.concatenate([right[:, :total], b_x[:, :1].T / math.sqrt(xx)])
        large, small = taken[:, :k], taken[:, k:]
        squares = (large * large).sum(axis=0)
        m_cross = a_cross - small.T @ large
        m_others = a_others - small.T @ small
        member = self.levels[:, None] == np.arange(self.n_factors)
        first, later = int(self.levels[0]), member[k:].astype(np.float64)
        trace = later.T @ m_others.diagonal()
        trace[first] = float(a_large.sum() - squares.sum())
        expected = later.T @ (m_others * m_others) @ later
        quartic = later.T @ (u[k:, None] * m_others * u[k:]) @ later
        across = later.T @ (m_cross * m_cross).sum(axis=1)
        across_u = later.T @ (u[k:] * (m_cross @ u[:k]))
        expected[first], expected[:, first] = across, across
        quartic[first], quartic[:, first] = across_u, across_u
        gram = large @ large.T
        expected[first, first] = float(a_large @ a_large - 2.0 * (a_large @ squares) + (gram * gram).sum())
        moved = large @ u[:k]
        quartic[first, first] = float(a_large @ (u[:k] * u[:k]) - moved @ moved)
        squared = member.T @ (u * u)
        factors = variance[:-1]
        traces = np.append(trace, (self.n - 1.0 - factors @ trace) / e)
        squared = np.append(squared, (rest - factors @ squared) / e)
        expected = _with_residual(expected, traces, factors, e)
        return Scored(
            deviance=deviance,
            gradient=traces - squared,
            observed=2.0 * _with_residual(quartic, squared, factors, e) - expected,
            expected=expected,
            mean=mean,
        )


def _with_residual(of_factors: Floats, single: Floats, factors: Floats, e: float) -> Floats:
    """Row and column of the residual of a matrix linear in both its components: Σ v_k m_jk = single_j."""
    size = factors.size
    whole = np.empty((size + 1, size + 1))
    whole[:size, :size] = of_factors
    whole[size, :size] = whole[:size, size] = (single[:size] - of_factors @ factors) / e
    whole[size, size] = (single[size] - factors @ whole[:size, size]) / e
    return whole


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
        products=np.array([[y.size, v.sum()], [v.sum(), v @ v]]),
        shift=shift,
        scale=scale,
        n_factors=len(codes),
    )


def _step(at: Scored, variance: Floats, free: NDArray[np.bool_], floor: Floats) -> tuple[Floats, bool]:
    """Newton's step where the deviance curves upwards (True), else Fisher's; none goes below a floor it has reached.

    References
    ----------
    Searle, Casella & McCulloch, Variance Components (1992), 8.2.
    """
    moving = free & ((variance > floor) | (at.gradient < 0.0))
    while True:
        index = np.flatnonzero(moving)
        step = np.zeros(variance.size)
        if not index.size:
            return step, True
        chosen = np.ix_(index, index)
        factor, failed = lapack.dpotrf(at.observed[chosen], lower=1)
        newton = not failed
        if failed:
            factor, failed = lapack.dpotrf(at.expected[chosen], lower=1)
        if failed:
            step[index] = -np.linalg.pinv(at.expected[chosen]) @ at.gradient[index]
        else:
            step[index] = -lapack.dpotrs(factor, at.gradient[index], lower=1)[0]
        stuck = moving & (variance <= floor) & (step < 0.0)
        if not stuck.any():
            return step, newton
        moving &= ~stuck


def _least(problem: Problem, start: Floats, free: NDArray[np.bool_]) -> tuple[Floats, Scored]:
    """Variances `free` to move at which the deviance is least, from `start`; none below 0, the residual above it."""
    floor = np.zeros(start.size)
    floor[-1] = _SMALLEST
    variance = np.maximum(start, floor)
    at = problem.scored(variance)
    for _ in range(_STEPS):
        step, newton = _step(at, variance, free, floor)
        size = 1.0 + abs(at.deviance)
        for halving in range(_HALVINGS):
            trial = np.maximum(variance + 0.5**halving * step, floor)
            found = problem.scored(trial)
            if found.deviance <= at.deviance + 1e-14 * size:
                break
        else:
            break
        gained = abs(float(at.gradient @ (trial - variance)))
        variance, at = trial, found
        # A step of Newton's squares what was left.
        if gained <= (1e-9 if newton and not halving else 1e-15) * size:
            break
    return variance, at


def reml(y: Floats, codes: Sequence[NDArray[np.intp]]) -> Reml:
    """Fit by restricted maximum likelihood; `y (n,)` varies, each factor has (n,) codes from 0."""
    problem = build(y, codes)
    free = np.ones(problem.n_factors + 1, dtype=np.bool_)
    best: tuple[Floats, Scored] | None = None
    for share in (1.0, 0.01):
        found = _least(problem, np.append(np.full(problem.n_factors, share), 1.0), free)
        if best is None or found[1].deviance < best[1].deviance - 1e-9:
            best = found
    assert best is not None
    variance, at = best
    mean = at.mean * problem.scale + problem.shift
    return Reml(
        sd=np.sqrt(variance) * problem.scale,
        no_residual=bool(variance[-1] <= _SMALLEST),
        mean=mean,
        deviance=at.deviance,
        problem=problem,
    )


def profile_limits(fit: Reml, i: int, level: float) -> tuple[float, float | None]:
    """Standard deviations of component `i` at which the restricted deviance exceeds its minimum by the chi-square
    quantile; 0 where it does not reach it below, None where it does not reach it above.

    References
    ----------
    Venzon & Moolgavkar, Appl Stat 37:87-94 (1988).
    """
    problem = fit.problem
    best = (fit.sd / problem.scale) ** 2
    target = float(special.chdtri(1.0, 1.0 - level))
    free = np.arange(best.size) != i
    bottom = _SMALLEST if i == best.size - 1 else 0.0
    nearest = best

    def excess(fixed: float) -> tuple[float, float]:
        """How far the deviance at variance `fixed`, the others at their best, is above its limit; its slope there."""
        nonlocal nearest
        start = nearest.copy()
        start[i] = fixed
        nearest, at = _least(problem, start, free)
        return at.deviance - fit.deviance - target, float(at.gradient[i])

    low = 0.0
    if excess(bottom)[0] > 0:
        nearest = best
        low = _root(excess, inside=float(best[i]), outside=bottom, target=target)
    nearest = best
    top = max(4.0 * float(best[i]), 0.25)
    for _ in range(40):
        if excess(top)[0] > 0:
            high = _root(excess, inside=float(best[i]), outside=top, target=target)
            return math.sqrt(low) * problem.scale, math.sqrt(high) * problem.scale
        top *= 4.0
    return math.sqrt(low) * problem.scale, None


def _root(excess: Callable[[float], tuple[float, float]], *, inside: float, outside: float, target: float) -> float:
    """Where `excess` is 0 between a variance `inside` the limit, where it is -`target`, and one `outside`, where it is
    above 0: Newton's method on the root of the deviance gained, nearly a line in the log of the variance, kept within
    what is known, else halving."""
    near, far = inside, outside
    at = ((math.sqrt(near) + math.sqrt(far)) / 2.0) ** 2
    for k in range(_STEPS):
        over, slope = excess(at)
        if over > 0:
            far = at
        else:
            near = at
        if abs(over) <= 1e-10 or abs(near - far) <= 1e-13 * max(near, far):
            break
        gained = math.sqrt(max(over + target, 0.0))
        rise = slope * at / (2.0 * gained) if gained > 0.0 else 0.0
        move = (math.sqrt(target) - gained) / rise if rise else math.inf
        reached = at * math.exp(move) if abs(move) < _FARTHEST and k < _NEWTON else math.inf
        at = reached if min(near, far) < reached < max(near, far) else ((math.sqrt(near) + math.sqrt(far)) / 2.0) ** 2
    return at

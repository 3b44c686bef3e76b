"""How far a map can be trusted: likeness of two maps, infidelity, what taking parts away does, trivial maps.

Structural similarity (Wang et al., IEEE Trans Image Process 13:600-612 (2004)); infidelity and maximum sensitivity (Yeh
et al., NeurIPS 2019); deletion and insertion (Petsiuk et al., BMVC 2018); ROAD (Rong et al., ICML 2022); the tests by
parameters and by repetition (Adebayo et al., NeurIPS 2018; Arun et al., Radiology AI 3:e200267 (2021)).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse, stats
from scipy.sparse.linalg import spsolve

from evalsuite.stats._binary_inputs import BoolArray, FloatArray

_MOST_RANKED = 2**16
_K1, _K2 = 0.01, 0.03
_WINDOW = 7


def scaled(map_: npt.ArrayLike) -> FloatArray | None:
    """A map between 0 (its smallest value) and 1 (its largest); None where it is the same everywhere."""
    values = np.asarray(map_, dtype=np.float64)
    low, high = float(values.min()), float(values.max())
    return None if not high > low else (values - low) / (high - low)


def ssim(a: npt.ArrayLike, b: npt.ArrayLike) -> float | None:
    """Mean structural similarity of two maps of one shape, each scaled to 0 … 1; None where one is constant.

    Windows of 7 pixels (fewer where an axis is shorter) with equal weights, sample variances, and the border without a
    whole window left out, as in scikit-image's default.
    """
    x, y = scaled(a), scaled(b)
    if x is None or y is None:
        return None
    if x.shape != y.shape:
        raise ValueError(f"maps have one shape, got {x.shape} and {y.shape}")
    size = [min(_WINDOW, s if s % 2 else s - 1) if s > 1 else 1 for s in x.shape]
    n = int(np.prod(size))

    def mean(values: FloatArray) -> FloatArray:
        out: FloatArray = ndimage.uniform_filter(values, size=size)
        return out

    unbiased = n / (n - 1) if n > 1 else 1.0
    mx, my = mean(x), mean(y)
    vx, vy = unbiased * (mean(x * x) - mx * mx), unbiased * (mean(y * y) - my * my)
    vxy = unbiased * (mean(x * y) - mx * my)
    c1, c2 = _K1**2, _K2**2
    found = ((2 * mx * my + c1) * (2 * vxy + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    inner = tuple(slice(s // 2, found.shape[k] - s // 2) for k, s in enumerate(size))
    return float(found[inner].mean())


def rank_correlation(a: npt.ArrayLike, b: npt.ArrayLike) -> float | None:
    """Spearman's correlation of two maps' pixels, of every k-th of each axis where there are many; None where one is
    constant."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.shape != y.shape:
        raise ValueError(f"maps have one shape, got {x.shape} and {y.shape}")
    step = 1
    while np.prod([-(-s // step) for s in x.shape]) > _MOST_RANKED:
        step += 1
    every = (slice(None, None, step),) * x.ndim
    p, q = x[every].ravel(), y[every].ravel()
    if p.min() == p.max() or q.min() == q.max():
        return None
    return float(np.corrcoef(stats.rankdata(p), stats.rankdata(q))[0, 1])


def infidelity(predicted: npt.ArrayLike, observed: npt.ArrayLike) -> tuple[float | None, float | None]:
    """How far a map's account of changes is from what the changes did: `(scaled, unexplained)`.

    Parameters
    ----------
    predicted
        (changes,) what the map says the answer loses by each change.
    observed
        (changes,) what it loses.

    Returns
    -------
    scaled
        Mean of (β·predicted − observed)² with the β that makes it least, because maps have no common unit: Yeh et al.,
        definition 2.1, and captum's `normalize=True`.
    unexplained
        That as a share of the mean of observed²: 0 where the map accounts for everything, 1 where for nothing. None
        where no change did anything.
    """
    p, o = np.asarray(predicted, dtype=np.float64), np.asarray(observed, dtype=np.float64)
    if not (np.isfinite(p).all() and np.isfinite(o).all()):
        return None, None
    square = float((p * p).mean())
    beta = float((p * o).mean()) / square if square > 0 else 0.0
    value = float(((beta * p - o) ** 2).mean())
    whole = float((o * o).mean())
    return value, (value / whole if whole > 0 else None)


def area(values: npt.ArrayLike) -> float:
    """Area under a curve through equally spaced points from 0 to 1, by trapezoids; `values (k,)` with both ends."""
    v = np.asarray(values, dtype=np.float64)
    return float((v[1:] + v[:-1]).mean() / 2)


def order_of(map_: npt.ArrayLike, *, seed: int) -> npt.NDArray[np.int64]:
    """Pixels from the most salient to the least (flat indices); equal values in an order drawn by the seed."""
    values = np.asarray(map_, dtype=np.float64).ravel()
    shuffled = np.random.default_rng(seed).permutation(values.size)
    found: npt.NDArray[np.int64] = shuffled[np.argsort(-values[shuffled], kind="stable")]
    return found


def imputed(image: npt.ArrayLike, gone: npt.ArrayLike, *, noise: float = 0.01, seed: int = 0) -> FloatArray:
    """A plane image (channel, rows, columns) whose pixels `gone` (rows, columns) become the mean of their neighbours.

    ROAD's noisy linear imputation: direct neighbours weigh 1/6, diagonal ones 1/12, and what lies beyond the border
    counts on neither side; normal noise of SD `noise` is added to the replaced pixels.
    """
    pixels, hole = np.array(image, dtype=np.float64), np.asarray(gone, dtype=bool)
    if pixels.ndim != 3 or hole.shape != pixels.shape[1:]:
        raise ValueError(f"a plane image and its mask are due, got {pixels.shape} and {hole.shape}")
    if not hole.any():
        return pixels
    rows, columns = hole.shape
    number = np.full(hole.shape, -1)
    number[hole] = np.arange(int(hole.sum()))
    at = np.argwhere(hole)
    known = np.zeros((len(at), len(pixels)))
    total = np.zeros(len(at))
    i_of: list[npt.NDArray[np.intp]] = []
    j_of: list[npt.NDArray[np.intp]] = []
    weights: list[FloatArray] = []
    for dr in (-1, 0, 1):
        for dc in (-1, 0, 1):
            if not (dr or dc):
                continue
            w = 1 / 12 if dr and dc else 1 / 6
            r, c = at[:, 0] + dr, at[:, 1] + dc
            inside = (r >= 0) & (r < rows) & (c >= 0) & (c < columns)
            k = np.flatnonzero(inside)
            total[k] += w
            neighbour = number[r[k], c[k]]
            there = neighbour < 0
            known[k[there]] += w * pixels[:, r[k][there], c[k][there]].T
            i_of.append(k[~there])
            j_of.append(neighbour[~there])
            weights.append(np.full(int((~there).sum()), -w))
    i, j, w_all = np.concatenate(i_of), np.concatenate(j_of), np.concatenate(weights)
    n = len(at)
    if not known.any() and hole.all():
        return pixels * 0.0
    system = sparse.coo_matrix(
        (np.concatenate([w_all, total]), (np.concatenate([i, np.arange(n)]), np.concatenate([j, np.arange(n)]))),
        shape=(n, n),
    ).tocsc()
    solved = np.asarray(spsolve(system, known)).reshape(n, -1)
    pixels[:, hole] = solved.T + noise * np.random.default_rng(seed).standard_normal((len(pixels), n))
    return pixels


# --- maps that know nothing of the model -----------------------------------------------------------------------------


def trivial_maps(image: npt.ArrayLike) -> dict[str, npt.NDArray[np.float32]]:
    """Maps of an image (channel, *spatial) without any model: the image itself, its edges, a blob at its centre.

    image: mean of the channels, from its smallest value on. edges: length of the gradient of that. centre: normal
    density around the middle, SD a quarter of each side.
    """
    values = np.asarray(image, dtype=np.float64).mean(axis=0)
    slopes = [np.gradient(values, axis=k) for k, side in enumerate(values.shape) if side > 1]
    edges = np.sqrt(sum((s * s for s in slopes), np.zeros(values.shape)))
    distance = np.zeros(values.shape)
    for k, side in enumerate(values.shape):
        z = (np.arange(side) - (side - 1) / 2) / (side / 4)
        distance += (z**2).reshape([-1 if a == k else 1 for a in range(values.ndim)])
    found = {"image": values - values.min(), "edges": edges, "centre": np.exp(-distance / 2)}
    return {name: np.asarray(m, dtype=np.float32) for name, m in found.items()}


def taken_away(order: npt.NDArray[np.int64], share: float, shape: tuple[int, ...]) -> BoolArray:
    """The first `share` of the pixels in `order`, as a mask of `shape`."""
    out: BoolArray = np.zeros(order.size, dtype=np.bool_)
    out[order[: round(share * order.size)]] = True
    return out.reshape(shape)

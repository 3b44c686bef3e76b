"""How far two outlines lie apart: Hausdorff distances, mean surface distances and normalised surface Dice, in mm.

Three definitions are in use, and their figures differ; every figure says which one it is.

- `voxel`: a surface is its border voxels (those with a face on the outside), each counting once; a percentile is taken
  in each direction, and the larger is reported (MONAI, MetricsReloaded).
- `pooled`: the same voxels, one percentile over the distances of both directions together (MedPy).
- `surfel`: a surface is made of elements between voxels with their marching-cubes area as weight; percentiles are by
  area, and the larger direction is reported (DeepMind surface-distance).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from evalsuite.stats._binary_inputs import BoolArray, FloatArray, IntArray
from evalsuite.stats.masks import DEFAULT_EMPTY, CaseFigure, EmptyPolicy, MaskPair, along, figure

Definition = Literal["voxel", "pooled", "surfel"]
DEFINITIONS: tuple[Definition, ...] = get_args(Definition)
SurfaceMetric = Literal["hd", "hd95", "assd", "masd", "nsd"]

_SLACK = 1e-9
LEAF = 32
"""Points searched one by one: half the time of the default on surfaces of 100,000 voxels."""
STEPS = 1000
_FARTHEST = 40  # steps along one axis: slices far apart would else ask for a plane of millions of places
"""Places around a voxel looked at before the tree: where nothing is near they cost less than the tree itself."""
#: Area of the surface inside a block of 2 × 2 × 2 voxels, by marching cubes: the size (in eighths of a face) of
#: the normal of each of its pieces along the three axes, and the codes of the blocks it belongs to. A block and its
#: complement have the same surface. From DeepMind's surface-distance (Apache-2.0), lookup_tables.py.
_PIECES = (
    ("111", "1 2 4 8 16 32 64 127"),
    ("220 220", "3 12 48 63"),
    ("202 202", "5 10 80 95"),
    ("111 111", "6 9 18 20 24 33 36 40 65 66 72 96 111 123 125 126"),
    ("111 222 400", "7 11 13 14 31 47 79 112"),
    ("400 400", "15"),
    ("022 022", "17 34 68 119"),
    ("040 111 222", "19 35 49 50 55 59 76 115"),
    ("004 111 222", "21 42 69 81 84 87 93 117"),
    ("111 111 111", "22 41 73 97 104 107 109 121"),
    ("111 111 222 222", "23 43 77 113"),
    ("022 022 111", "25 38 70 98 100 103 110 118"),
    ("111 202 202", "26 37 74 82 88 91 94 122"),
    ("022 111 202 333", "27 39 78 114"),
    ("111 220 220", "28 44 52 56 61 62 67 124"),
    ("022 111 220 333", "29 46 71 116"),
    ("111 111 222 400", "30 45 75 120"),
    ("040 040", "51"),
    ("111 202 220 333", "53 58 83 92"),
    ("040 111 111 222", "54 57 99 108"),
    ("220 220 220 220", "60"),
    ("004 004", "85"),
    ("004 111 111 222", "86 89 101 106"),
    ("202 202 202 202", "90"),
    ("022 022 022 022", "102"),
    ("111 111 111 111", "105"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surfaces:
    """Distances in mm from each element of one surface to the nearest of the other, with the size of each element.

    `to_reference (p,)` and `size_prediction (p,)` are of the output's surface, `to_prediction (r,)` and
    `size_reference (r,)` of the reference's. Sizes are areas in mm² (lengths in mm in 2-D) for surfels, 1 for voxels.
    """

    definition: Definition
    to_reference: FloatArray
    to_prediction: FloatArray
    size_prediction: FloatArray
    size_reference: FloatArray


def surfaces(pair: MaskPair, definition: Definition = "voxel") -> Surfaces:
    """Surface distances of two masks that both have voxels (`ValueError` otherwise)."""
    if definition not in DEFINITIONS:
        raise ValueError(f"definition is one of {', '.join(DEFINITIONS)}, got {definition!r}")
    if pair.empty is not None:
        raise ValueError("an empty mask has no surface")
    if definition == "surfel":
        first, second = _codes(pair.reference), _codes(pair.prediction)
        table = element_sizes(pair.spacing_mm)
        full = table.size - 1
        on = (first > 0) & (first < full), (second > 0) & (second < full)
        sizes = table[first[on[0]]], table[second[on[1]]]
    else:
        on = border(pair.reference), border(pair.prediction)
        sizes = np.ones(int(np.count_nonzero(on[0]))), np.ones(int(np.count_nonzero(on[1])))
    return Surfaces(
        definition=definition,
        to_reference=_nearest(on[1], on[0], pair.spacing_mm),
        to_prediction=_nearest(on[0], on[1], pair.spacing_mm),
        size_prediction=sizes[1],
        size_reference=sizes[0],
    )


def border(mask: BoolArray) -> BoolArray:
    """Voxels of the mask with a face on the outside; the edge of the array is outside."""
    inner = mask.copy()
    for axis in range(mask.ndim):
        first, last = along(mask.ndim, axis, slice(None, 1)), along(mask.ndim, axis, slice(-1, None))
        front, back = along(mask.ndim, axis, slice(None, -1)), along(mask.ndim, axis, slice(1, None))
        inner[back] &= mask[front]
        inner[front] &= mask[back]
        inner[first] = False
        inner[last] = False
    return np.asarray(mask & ~inner)


def _codes(mask: BoolArray) -> npt.NDArray[np.uint8]:
    """Which voxels of each 2 × 2 (× 2) block are in the mask, a bit each; blocks reach a voxel beyond the array."""
    out = np.zeros(tuple(n + 1 for n in mask.shape), dtype=np.uint8)
    corners = 2**mask.ndim
    for corner in range(corners):
        # The first voxel of a block has the highest bit; the last axis runs fastest.
        steps = [corner >> (mask.ndim - 1 - axis) & 1 for axis in range(mask.ndim)]
        where = tuple(slice(1 - step, 1 - step + n) for step, n in zip(steps, mask.shape, strict=True))
        out[where] |= mask.view(np.uint8) << np.uint8(corners - 1 - corner)
    return out


@cache
def element_sizes(spacing_mm: tuple[float, ...]) -> FloatArray:
    """Size of the surface element by code: `(256,)` areas in mm², in 2-D `(16,)` lengths in mm."""
    if len(spacing_mm) == 2:
        first, second = spacing_mm
        slope = 0.5 * float(np.hypot(first, second))
        half = [0.0, slope, slope, second, slope, first, 2.0 * slope, slope]
        return np.array([*half, *half[::-1]])
    faces = np.prod(spacing_mm) / np.array(spacing_mm)
    sizes = np.zeros(256)
    for normals, codes in _PIECES:
        area = sum(float(np.linalg.norm(faces * [int(digit) / 8.0 for digit in n])) for n in normals.split())
        for code in map(int, codes.split()):
            sizes[code] = sizes[255 - code] = area
    return sizes


def indices(on: BoolArray) -> IntArray:
    """`(p, axes)` indices of the elements of a surface."""
    return np.stack(np.unravel_index(np.flatnonzero(on), on.shape), axis=1)


def _nearest(points: BoolArray, others: BoolArray, spacing_mm: tuple[float, ...]) -> FloatArray:
    """Distance in mm of each voxel of `points` to the nearest of `others`; in both are 0 and not searched for.

    Surfaces of two outlines of one structure mostly lie some voxels apart: a search outwards finds the nearest voxel
    there in a few dozen steps. What it does not find so close is searched for in a tree.
    """
    shared = others[points]
    out = np.zeros(shared.size)
    apart = np.flatnonzero(~shared)
    if not apart.size:
        return out
    index = indices(points)[apart]
    close = _close(index, others, spacing_mm)
    far = close < 0.0
    if far.any():
        close[far] = _in_tree(index[far], indices(others), spacing_mm)
    out[apart] = close
    return out


def _close(index: IntArray, others: BoolArray, spacing_mm: tuple[float, ...]) -> FloatArray:
    """Distance of each voxel to the nearest of `others` among the `STEPS` closest places; -1 where there is none."""
    from evalsuite.stats import _surface_kernels

    steps, distance = _outwards(spacing_mm)
    reach = np.abs(steps).max(axis=0)
    around = np.pad(others, [(int(r), int(r)) for r in reach])
    strides = np.array([int(np.prod(around.shape[axis + 1 :])) for axis in range(around.ndim)])
    found = np.empty(len(index))
    _surface_kernels.first_on(around.reshape(-1), (index + reach) @ strides, steps @ strides, distance, found)
    return found


@cache
def _outwards(spacing_mm: tuple[float, ...]) -> tuple[IntArray, FloatArray]:
    """The `STEPS` closest places around a voxel, `(k, axes)` in whole steps, and their distances in mm, ascending.

    Every place that is closer than the last one is among them.
    """
    spacing = np.array(spacing_mm)
    # A box in which the ball with as many places lies, and some more around it.
    radius = float(
        (STEPS * np.prod(spacing) / (np.pi * (4.0 / 3.0 if spacing.size == 3 else 1.0))) ** (1.0 / spacing.size)
    )
    reach = np.clip(np.ceil(radius / spacing), 1, _FARTHEST).astype(np.int64)
    steps = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), axis=-1).reshape(
        -1, spacing.size
    )
    moved = steps * spacing
    distance = np.sqrt((moved * moved).sum(axis=1))
    inside = distance < float(((reach + 1) * spacing).min())
    order = np.argsort(distance[inside], kind="stable")[1 : STEPS + 1]
    return steps[inside][order], distance[inside][order]


def _in_tree(apart: IntArray, others: IntArray, spacing_mm: tuple[float, ...]) -> FloatArray:
    from scipy.spatial import KDTree

    spacing = np.array(spacing_mm)
    tree = KDTree(others * spacing, leafsize=LEAF, balanced_tree=False, compact_nodes=False)
    _, nearest = tree.query(apart * spacing, workers=1)
    # From whole steps: the difference of two positions in mm is not exactly a multiple of the spacing.
    steps = (apart - others[nearest]) * spacing
    return np.asarray(np.sqrt((steps * steps).sum(axis=1)))


def percentile(found: Surfaces, percent: float) -> float:
    """Percentile of the distances by the definition of `found`: of both directions together where it is `pooled`, else
    the larger of the two directions. Percentiles of voxels interpolate linearly; those of surfels do not."""
    if found.definition == "pooled":
        return float(np.percentile(np.concatenate([found.to_reference, found.to_prediction]), percent))
    return max(directed_percentiles(found, percent))


def directed_percentiles(found: Surfaces, percent: float) -> tuple[float, float]:
    """Percentile from the output to the reference, and from the reference to the output."""
    if not 0.0 <= percent <= 100.0:
        raise ValueError(f"percent lies between 0 and 100, got {percent!r}")
    both = (found.to_reference, found.size_prediction), (found.to_prediction, found.size_reference)
    if found.definition != "surfel":
        return float(np.percentile(both[0][0], percent)), float(np.percentile(both[1][0], percent))
    return _weighted(*both[0], percent), _weighted(*both[1], percent)


def _weighted(distance: FloatArray, size: FloatArray, percent: float) -> float:
    """The distance at which so much of the surface is reached."""
    order = np.argsort(distance, kind="stable")
    reached = np.cumsum(size[order])
    at = int(np.searchsorted(reached, percent / 100.0 * reached[-1]))
    return float(distance[order][min(at, len(order) - 1)])


def hausdorff(found: Surfaces) -> float:
    """The largest distance of either surface from the other."""
    return float(max(found.to_reference.max(), found.to_prediction.max()))


def directed_means(found: Surfaces) -> tuple[float, float]:
    """Mean distance from the output to the reference, and from the reference to the output."""
    return (
        float(np.average(found.to_reference, weights=found.size_prediction)),
        float(np.average(found.to_prediction, weights=found.size_reference)),
    )


def mean_distance(found: Surfaces) -> float:
    """Average symmetric surface distance (ASSD): the mean over the elements of both surfaces together."""
    there, back = directed_means(found)
    one, other = float(found.size_prediction.sum()), float(found.size_reference.sum())
    return (there * one + back * other) / (one + other)


def mean_of_means(found: Surfaces) -> float:
    """Mean average surface distance (MASD): the mean of the two directions' means."""
    there, back = directed_means(found)
    return (there + back) / 2.0


def within(distance: npt.NDArray[np.floating], tolerance_mm: float) -> BoolArray:
    """Where a distance is at most the tolerance. Multiples of a spacing such as 0.1 are not exact numbers: three steps
    of 0.1 mm are within 0.3 mm."""
    return np.asarray(distance <= tolerance_mm * (1.0 + _SLACK))


def surface_dice(found: Surfaces, tolerance_mm: float) -> float:
    """Normalised surface Dice: share of both surfaces that lies within the tolerance of the other."""
    if not tolerance_mm >= 0.0:
        raise ValueError(f"tolerance_mm must not be negative, got {tolerance_mm!r}")
    close = found.size_prediction[within(found.to_reference, tolerance_mm)].sum()
    close += found.size_reference[within(found.to_prediction, tolerance_mm)].sum()
    return float(close / (found.size_prediction.sum() + found.size_reference.sum()))


def surface_figure(
    pair: MaskPair,
    metric: SurfaceMetric,
    *,
    definition: Definition = "voxel",
    tolerance_mm: float | None = None,
    maximum_mm: float | None = None,
    empty: EmptyPolicy = DEFAULT_EMPTY,
    found: Surfaces | None = None,
) -> CaseFigure:
    """One figure of one case, or why it has none.

    Parameters
    ----------
    metric
        `hd`, `hd95`, `assd`, `masd` in mm; `nsd` between 0 and 1, which needs `tolerance_mm`.
    maximum_mm
        The distance that stands for one empty mask; without it such a case has no distance.
    found
        `surfaces(pair, definition)` where it has been computed already.

    References
    ----------
    Huttenlocher et al., IEEE PAMI 15:850-863 (1993). Nikolov et al., J Med Internet Res 23:e26151 (2021).
    Maier-Hein et al., Nat Methods 21:195-212 (2024).

    Examples
    --------
    >>> from evalsuite.stats.masks import mask_pair
    >>> surface_figure(mask_pair([[1, 0, 0]], [[0, 0, 1]], (1.0, 0.5)), "hd95").value
    1.0
    """
    if metric == "nsd" and tolerance_mm is None:
        raise ValueError("nsd needs tolerance_mm")

    def value(p: MaskPair) -> float:
        distances = surfaces(p, definition) if found is None else found
        if distances.definition != definition:
            raise ValueError(f"these surfaces are by {distances.definition}, not {definition}")
        if metric == "nsd":
            return surface_dice(distances, float(tolerance_mm or 0.0))
        if metric == "hd95":
            return percentile(distances, 95.0)
        return {"hd": hausdorff, "assd": mean_distance, "masd": mean_of_means}[metric](distances)

    best, worst = (1.0, 0.0) if metric == "nsd" else (0.0, maximum_mm)
    return figure(pair, value, best=best, worst=worst, empty=empty)

"""Which mark of a device belongs to which lesion of the reference: by distance, by lying inside, or by overlap.

Two steps. First, pairs of a mark and a lesion of the same case that are close enough to belong together, by one rule of
closeness. Then, since a lesion is found once and a mark finds one lesion at most, which of these pairs count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from evalsuite.stats._binary_inputs import BoolArray, FloatArray, IntArray

Assignment = Literal["by_score", "by_closeness", "best_total"]
ASSIGNMENTS: tuple[Assignment, ...] = get_args(Assignment)
Extra = Literal["ignored", "false"]
Overlap = Literal["iou", "dice"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Marks and lesions that are close enough, as indices: `mark (m,)`, `lesion (m,)`; a larger `closeness (m,)` is
    closer (minus the distance in mm, an overlap, or 0 where a mark lies inside)."""

    mark: IntArray
    lesion: IntArray
    closeness: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """What became of every lesion and of every mark.

    `mark_of (l,)` is the index of the mark that found the lesion, -1 where none did, `closeness (l,)` of that pair
    (NaN where none); `hit (m,)` marks that found a lesion, `false (m,)` those that count as false positives. A mark
    that is neither lies on a lesion that another mark was credited with.
    """

    mark_of: IntArray
    closeness: FloatArray
    hit: BoolArray
    false: BoolArray

    @property
    def found(self) -> BoolArray:
        """Lesions that were found."""
        return np.asarray(self.mark_of >= 0)


def match(
    pairs: Pairs,
    score: npt.ArrayLike,
    n_lesions: int,
    *,
    assignment: Assignment = "by_score",
    extra: Extra = "ignored",
) -> Matching:
    """Decide which pairs count: every lesion is found once at most, every mark finds one lesion at most.

    Parameters
    ----------
    score
        `(m,)` of every mark; NaN is a `ValueError`.
    assignment
        `by_score`: the mark with the highest score chooses first, the closest lesion that is left. `by_closeness`: the
        closest pair first. `best_total`: the assignment with the largest sum of closeness (overlaps only).
    extra
        What a mark is whose lesions are all credited to other marks: `ignored`, or a `false` positive.

    Equal scores are ordered by closeness and equal closeness by score, then by the order in which marks and lesions
    are given; whoever calls sorts them, where their order must not matter.

    References
    ----------
    `by_score`, ignored: LUNA16 (Setio et al., Med Image Anal 42:1-13, 2017). `best_total`, ignored: picai_eval.
    `by_score`, false: COCO.

    Examples
    --------
    >>> pairs = Pairs(mark=np.array([0, 1]), lesion=np.array([0, 0]), closeness=np.array([-3.0, -1.0]))
    >>> match(pairs, [0.9, 0.4], 1).mark_of.tolist()
    [0]
    """
    scores = np.asarray(score, dtype=np.float64)
    if scores.ndim != 1 or bool(np.isnan(scores).any()):
        raise ValueError("score must be one number per mark, without NaN")
    if assignment not in ASSIGNMENTS or extra not in ("ignored", "false"):
        raise ValueError(f"unknown assignment or extra: {assignment!r}, {extra!r}")
    mark, lesion, closeness = pairs.mark, pairs.lesion, pairs.closeness
    if assignment == "best_total":
        kept = _best_total(pairs, scores.size, n_lesions)
    else:
        first, second = (-scores[mark], -closeness) if assignment == "by_score" else (-closeness, -scores[mark])
        kept = _greedy(pairs, np.lexsort((lesion, mark, second, first)), scores.size, n_lesions)
    mark_of = np.full(n_lesions, -1, dtype=np.int64)
    mark_of[lesion[kept]] = mark[kept]
    close = np.full(n_lesions, np.nan)
    close[lesion[kept]] = closeness[kept]
    hit, touching = np.zeros(scores.size, dtype=np.bool_), np.zeros(scores.size, dtype=np.bool_)
    hit[mark[kept]] = True
    touching[mark] = True
    return Matching(mark_of=mark_of, closeness=close, hit=hit, false=~hit if extra == "false" else ~touching)


def _greedy(pairs: Pairs, order: IntArray, n_marks: int, n_lesions: int) -> IntArray:
    free_mark, free_lesion = [True] * n_marks, [True] * n_lesions
    kept = []
    for k, m, j in zip(order.tolist(), pairs.mark[order].tolist(), pairs.lesion[order].tolist(), strict=True):
        if free_mark[m] and free_lesion[j]:
            free_mark[m] = free_lesion[j] = False
            kept.append(k)
    return np.array(kept, dtype=np.int64)


def _best_total(pairs: Pairs, n_marks: int, n_lesions: int) -> IntArray:
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if bool((pairs.closeness < 0.0).any()):
        raise ValueError("best_total adds up closeness, which must not be negative: use it with overlaps")
    n = n_marks + n_lesions
    graph = coo_array((np.ones(pairs.mark.size), (pairs.mark, n_marks + pairs.lesion)), shape=(n, n))
    group = connected_components(graph, directed=False)[1][pairs.mark]
    kept: list[IntArray] = []
    order = np.argsort(group, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        marks, row = np.unique(pairs.mark[part], return_inverse=True)
        lesions, column = np.unique(pairs.lesion[part], return_inverse=True)
        value, which = np.zeros((marks.size, lesions.size)), np.full((marks.size, lesions.size), -1)
        value[row, column], which[row, column] = pairs.closeness[part], part
        chosen = which[linear_sum_assignment(value, maximize=True)]
        kept.append(chosen[chosen >= 0])
    return np.concatenate(kept) if kept else np.zeros(0, dtype=np.int64)


def pairs_by_distance(
    mark_case: npt.ArrayLike,
    mark_mm: npt.ArrayLike,
    lesion_case: npt.ArrayLike,
    lesion_mm: npt.ArrayLike,
    limit_mm: npt.ArrayLike,
) -> Pairs:
    """Marks within `limit_mm` of a lesion's centre.

    `mark_mm (m, d)`, `lesion_mm (l, d)` positions; `limit_mm` one number, or `(l,)` such as the lesions' radii.
    """
    marks, lesions = _positions(mark_mm, "mark_mm"), _positions(lesion_mm, "lesion_mm")
    mark, lesion = _same_case(mark_case, len(marks), lesion_case, len(lesions))
    limit = np.broadcast_to(np.asarray(limit_mm, dtype=np.float64), (len(lesions),))
    if not bool((limit >= 0.0).all()):
        raise ValueError("limit_mm must not be negative or NaN")
    distance = np.sqrt(((marks[mark] - lesions[lesion]) ** 2).sum(axis=1))
    near = distance <= limit[lesion] * (1.0 + 1e-9)
    return Pairs(mark=mark[near], lesion=lesion[near], closeness=-distance[near])


def pairs_in_box(
    mark_case: npt.ArrayLike, mark_mm: npt.ArrayLike, lesion_case: npt.ArrayLike, lesion_box: npt.ArrayLike
) -> Pairs:
    """Marks inside a lesion's box, its edges included; the closeness is minus the distance from the box's centre."""
    marks, boxes = _positions(mark_mm, "mark_mm"), _boxes(lesion_box, "lesion_box")
    mark, lesion = _same_case(mark_case, len(marks), lesion_case, len(boxes))
    axes = boxes.shape[1] // 2
    low, high = boxes[:, :axes], boxes[:, axes:]
    inside = ((marks[mark] >= low[lesion]) & (marks[mark] <= high[lesion])).all(axis=1)
    mark, lesion = mark[inside], lesion[inside]
    away = np.sqrt(((marks[mark] - (low + high)[lesion] / 2.0) ** 2).sum(axis=1))
    return Pairs(mark=mark, lesion=lesion, closeness=-away)


def pairs_by_box(
    mark_case: npt.ArrayLike,
    mark_box: npt.ArrayLike,
    lesion_case: npt.ArrayLike,
    lesion_box: npt.ArrayLike,
    *,
    least: float,
) -> Pairs:
    """Boxes whose IoU is at least `least` (above 0). A box is `x0, y0(, z0), x1, y1(, z1)`, lower corner first."""
    marks, lesions = _boxes(mark_box, "mark_box"), _boxes(lesion_box, "lesion_box")
    mark, lesion = _same_case(mark_case, len(marks), lesion_case, len(lesions))
    axes = marks.shape[1] // 2
    a, b = marks[mark], lesions[lesion]
    sides = np.minimum(a[:, axes:], b[:, axes:]) - np.maximum(a[:, :axes], b[:, :axes])
    common = np.clip(sides, 0.0, None).prod(axis=1)
    union = (a[:, axes:] - a[:, :axes]).prod(axis=1) + (b[:, axes:] - b[:, :axes]).prod(axis=1) - common
    iou = np.divide(common, union, out=np.zeros_like(common), where=union > 0.0)
    return _enough(mark, lesion, iou, least)


def pairs_in_mask(lesions: npt.NDArray[np.integer], position: npt.ArrayLike) -> Pairs:
    """Marks of one case that lie in a lesion of its label map; `position (m, axes)` is in voxels from the first centre.

    `lesions` holds 0 for background and k for lesion k − 1. A position belongs to the voxel whose centre is nearest;
    outside the image it is in no lesion.
    """
    where = np.asarray(position, dtype=np.float64)
    if where.ndim != 2 or where.shape[1] != lesions.ndim or not bool(np.isfinite(where).all()):
        raise ValueError(f"position must be finite numbers of shape (marks, {lesions.ndim}), got {where.shape}")
    index = np.floor(where + 0.5).astype(np.int64)
    inside = ((index >= 0) & (index < np.array(lesions.shape))).all(axis=1)
    label = np.zeros(len(index), dtype=np.int64)
    label[inside] = lesions[tuple(index[inside].T)]
    mark = np.flatnonzero(label)
    return Pairs(mark=mark, lesion=label[mark] - 1, closeness=np.zeros(mark.size))


def pairs_in_regions(shape: Sequence[int], voxel: IntArray, lesion: IntArray, position: npt.ArrayLike) -> Pairs:
    """`pairs_in_mask` where only the voxels of lesions are held: `voxel (v,)`, ascending, counts through an image of
    this shape along its last axis first, and `lesion (v,)` says whose each is, from 0."""
    where = np.asarray(position, dtype=np.float64)
    if where.ndim != 2 or where.shape[1] != len(shape) or not bool(np.isfinite(where).all()):
        raise ValueError(f"position must be finite numbers of shape (marks, {len(shape)}), got {where.shape}")
    index = np.floor(where + 0.5)
    mark = np.flatnonzero(((index >= 0) & (index < np.asarray(shape))).all(axis=1))
    flat = np.ravel_multi_index(tuple(index[mark].astype(np.int64).T), tuple(shape))
    at = np.searchsorted(voxel, flat)
    hit = at < voxel.size
    hit[hit] = voxel[at[hit]] == flat[hit]
    mark = mark[hit]
    return Pairs(mark=mark, lesion=lesion[at[hit]].astype(np.int64), closeness=np.zeros(mark.size))


def pairs_by_overlap(
    lesions: npt.NDArray[np.integer],
    marks: npt.NDArray[np.integer],
    *,
    least: float,
    measure: Overlap = "iou",
) -> Pairs:
    """Regions of one case whose overlap is at least `least` (above 0); label maps of one shape, 0 for background."""
    if lesions.shape != marks.shape:
        raise ValueError(f"marks must have shape {lesions.shape} like lesions, got {marks.shape}")
    n_marks = int(marks.max(initial=0))
    lesion_size, mark_size = np.bincount(lesions.reshape(-1)), np.bincount(marks.reshape(-1))
    both = (lesions > 0) & (marks > 0)
    code, common = np.unique(
        lesions[both].astype(np.int64) * (n_marks + 1) + marks[both].astype(np.int64), return_counts=True
    )
    lesion, mark = code // (n_marks + 1), code % (n_marks + 1)
    sizes = lesion_size[lesion] + mark_size[mark]
    value = common / (sizes - common) if measure == "iou" else 2.0 * common / sizes
    return _enough(mark - 1, lesion - 1, value, least)


def components(mask: BoolArray) -> tuple[npt.NDArray[np.int32], int]:
    """Connected regions of a mask, numbered from 1; voxels that touch by a corner belong together."""
    from scipy.ndimage import generate_binary_structure, label

    found, n = label(mask, generate_binary_structure(mask.ndim, mask.ndim), output=np.int32)
    return np.asarray(found), int(n)


def joined(parts: Sequence[Pairs], first_mark: Sequence[int], first_lesion: Sequence[int]) -> Pairs:
    """Pairs of many cases together, with the index of each case's first mark and first lesion."""
    shifted = list(zip(parts, first_mark, first_lesion, strict=True))
    return Pairs(
        mark=np.concatenate([p.mark + m for p, m, _ in shifted] or [np.zeros(0, dtype=np.int64)]),
        lesion=np.concatenate([p.lesion + j for p, _, j in shifted] or [np.zeros(0, dtype=np.int64)]),
        closeness=np.concatenate([p.closeness for p, _, _ in shifted] or [np.zeros(0)]),
    )


def _enough(mark: IntArray, lesion: IntArray, overlap: FloatArray, least: float) -> Pairs:
    if not 0.0 < least <= 1.0:
        raise ValueError(f"the least overlap lies above 0 and is at most 1, got {least!r}")
    kept = overlap >= least * (1.0 - 1e-9)
    return Pairs(
        mark=mark[kept].astype(np.int64), lesion=lesion[kept].astype(np.int64), closeness=np.asarray(overlap[kept])
    )


def _same_case(
    mark_case: npt.ArrayLike, n_marks: int, lesion_case: npt.ArrayLike, n_lesions: int
) -> tuple[IntArray, IntArray]:
    """Every mark with every lesion of its case, as two arrays of indices, lesion by lesion."""
    marks, lesions = np.asarray(mark_case), np.asarray(lesion_case)
    if marks.shape != (n_marks,) or lesions.shape != (n_lesions,):
        raise ValueError("every mark and every lesion needs one case")
    order = np.argsort(marks, kind="stable")
    first = np.searchsorted(marks[order], lesions, "left")
    many = np.searchsorted(marks[order], lesions, "right") - first
    lesion = np.repeat(np.arange(n_lesions), many)
    within_case = np.arange(lesion.size) - np.repeat(np.cumsum(many) - many, many)
    return order[np.repeat(first, many) + within_case], lesion


def _positions(values: npt.ArrayLike, name: str) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or not bool(np.isfinite(array).all()):
        raise ValueError(f"{name} must be finite numbers of shape (n, axes), got shape {array.shape}")
    return array


def _boxes(values: npt.ArrayLike, name: str) -> FloatArray:
    array = _positions(values, name)
    axes = array.shape[1] // 2
    if array.shape[1] not in (4, 6) or bool((array[:, axes:] < array[:, :axes]).any()):
        raise ValueError(f"{name} must have 4 or 6 columns, the lower corner first")
    return array

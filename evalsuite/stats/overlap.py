"""How well two outlines cover each other: Dice, IoU, volume error, boundary IoU and centreline Dice of one case."""

from __future__ import annotations

import numpy as np

from evalsuite.stats._binary_inputs import BoolArray
from evalsuite.stats.masks import DEFAULT_EMPTY, CaseFigure, EmptyPolicy, MaskPair, along, box_around, figure
from evalsuite.stats.surface import border, indices, within

ML_PER_MM3 = 1e-3


def dice(pair: MaskPair, *, empty: EmptyPolicy = DEFAULT_EMPTY) -> CaseFigure:
    """Twice the common voxels over the voxels of both masks; 0 to 1, no unit.

    References
    ----------
    Dice, Ecology 26:297-302 (1945).

    Examples
    --------
    >>> from evalsuite.stats.masks import mask_pair
    >>> dice(mask_pair([[1, 1, 0]], [[0, 1, 0]], (1.0, 1.0))).value
    0.6666666666666666
    """
    return figure(pair, lambda p: 2.0 * p.n_both / (p.n_reference + p.n_prediction), best=1.0, worst=0.0, empty=empty)


def iou(pair: MaskPair, *, empty: EmptyPolicy = DEFAULT_EMPTY) -> CaseFigure:
    """Common voxels over the voxels of either mask (Jaccard index); 0 to 1, no unit."""
    return figure(
        pair, lambda p: p.n_both / (p.n_reference + p.n_prediction - p.n_both), best=1.0, worst=0.0, empty=empty
    )


def volume(n_voxels: int, pair: MaskPair) -> float:
    """Size of so many voxels: ml in 3-D, mm² in 2-D."""
    return n_voxels * pair.voxel_mm * (ML_PER_MM3 if len(pair.spacing_mm) == 3 else 1.0)


def volume_error(pair: MaskPair) -> CaseFigure:
    """Volume of the output less that of the reference, in ml (2-D: area, in mm²); an empty mask has volume 0."""
    return CaseFigure(value=volume(pair.n_prediction - pair.n_reference, pair))


def relative_volume_error(pair: MaskPair) -> CaseFigure:
    """Volume of the output less that of the reference, over that of the reference; none where that is empty."""
    if not pair.n_reference:
        return CaseFigure(undefined="the reference is empty, so that nothing is relative to its volume")
    return CaseFigure(value=(pair.n_prediction - pair.n_reference) / pair.n_reference)


def boundary_iou(pair: MaskPair, *, width_mm: float, empty: EmptyPolicy = DEFAULT_EMPTY) -> CaseFigure:
    """IoU of the two rims: the voxels of each mask whose centre is at most `width_mm` from that of a border voxel.

    Border voxels are those with a face on the outside; `width_mm` 0 is the border alone.

    References
    ----------
    Cheng, Girshick, Dollár, Berg & Kirillov, CVPR 2021, 15334-15342.
    """
    if not width_mm >= 0.0:
        raise ValueError(f"width_mm must not be negative, got {width_mm!r}")

    def value(p: MaskPair) -> float:
        first, second = (_rim(mask, p.spacing_mm, width_mm) for mask in (p.reference, p.prediction))
        return float(np.count_nonzero(first & second) / np.count_nonzero(first | second))

    return figure(pair, value, best=1.0, worst=0.0, empty=empty)


def _rim(mask: BoolArray, spacing_mm: tuple[float, ...], width_mm: float) -> BoolArray:
    """Voxels of the mask near its border: every step of at most `width_mm` is taken from every border voxel."""
    edge = border(mask)
    reach = [int(width_mm * (1.0 + 1e-9) / s) for s in spacing_mm]
    if not any(reach):
        return edge
    grid = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), axis=-1).reshape(-1, mask.ndim)
    steps = grid[within(np.sqrt(((grid * np.array(spacing_mm)) ** 2).sum(axis=1)), width_mm)]
    near = np.zeros(tuple(n + 2 * r for n, r in zip(mask.shape, reach, strict=True)), dtype=np.bool_)
    strides = np.array([int(np.prod(near.shape[axis + 1 :])) for axis in range(mask.ndim)])
    start = (indices(edge) + np.array(reach)) @ strides
    flat = near.reshape(-1)
    for step in steps @ strides:
        flat[start + step] = True
    return np.asarray(mask & near[tuple(slice(r, r + n) for n, r in zip(mask.shape, reach, strict=True))])


def cldice(pair: MaskPair, *, empty: EmptyPolicy = DEFAULT_EMPTY) -> CaseFigure:
    """Centreline Dice of tubular structures, by the morphological skeleton of `skeleton`.

    The harmonic mean of topology precision (share of the output's skeleton inside the reference) and topology
    sensitivity (share of the reference's skeleton inside the output); 0 where both are 0.

    References
    ----------
    Shit et al., CVPR 2021, 16560-16569.
    """

    def value(p: MaskPair) -> float:
        first, second = skeleton(p.reference), skeleton(p.prediction)
        sensitivity = np.count_nonzero(first & p.prediction) / np.count_nonzero(first)
        precision = np.count_nonzero(second & p.reference) / np.count_nonzero(second)
        total = float(sensitivity + precision)
        return 2.0 * float(sensitivity) * float(precision) / total if total else 0.0

    return figure(pair, value, best=1.0, worst=0.0, empty=empty)


def skeleton(mask: BoolArray) -> BoolArray:
    """Morphological skeleton: all that each erosion loses under opening (algorithm 1 of Shit et al., run to its end).

    Erosion is by the cross (face neighbours), the dilation that follows by the full block, as in the paper's soft
    skeleton; what is outside the array is background. It is made of voxels and knows no spacing. A thinning that keeps
    connectedness gives another skeleton, and other figures.
    """
    out = np.zeros(mask.shape, dtype=np.bool_)
    left, where = mask, (slice(None),) * mask.ndim
    while left.any():
        # What is left shrinks with every step, and so does the box that is worked on.
        inside = box_around(left)
        left = left[inside]
        where = tuple(
            slice((w.start or 0) + i.start, (w.start or 0) + i.stop) for w, i in zip(where, inside, strict=True)
        )
        smaller = left & ~border(left)
        out[where] |= left & ~_grown(smaller)
        left = smaller
    return out


def _grown(mask: BoolArray) -> BoolArray:
    """Dilation by the full block, one axis after the other, within the array."""
    out = mask
    for axis in range(mask.ndim):
        wider = out.copy()
        back, front = (along(mask.ndim, axis, part) for part in (slice(1, None), slice(None, -1)))
        wider[back] |= out[front]
        wider[front] |= out[back]
        out = wider
    return out

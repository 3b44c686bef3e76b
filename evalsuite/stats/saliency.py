"""Does a map point at the lesion: hit rate of its peak, overlap of its brightest part, beside what chance would give.

A map is compared with a mask of the lesion, case by case. *Hit*: the largest value of the map lies in the mask
(pointing game, Zhang et al., IJCV 126:1084-1102 (2018)). *Overlap*: intersection over union of the mask with the map
at or above a threshold that was fixed beforehand (Saporta et al., Nature Machine Intelligence 4:867-878 (2022)).
Chance: a peak anywhere hits as often as the mask covers the image. A map that agrees with a lesion does not explain
the answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evalsuite.stats._binary_inputs import BoolArray, FloatArray
from evalsuite.stats._resampled import Material, Parts, Statistic, resampled
from evalsuite.stats.bootstrap_interval import BootstrapMethod
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.draw import PatientDraw
from evalsuite.types import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointing:
    """One map on one mask. `hit` None where the map is the same everywhere: it points nowhere. `overlap` None where
    both are empty; `chance` is the share of the image that the mask covers."""

    hit: float | None
    overlap: float | None
    chance: float


def pointing(map_: npt.ArrayLike, mask: npt.ArrayLike, *, threshold: float) -> Pointing:
    """How one map lies on one mask.

    Parameters
    ----------
    map_
        Any shape; higher is more salient. Where several values are largest, `hit` is the share of them in the mask.
    mask
        `bool` of that shape.
    threshold
        What counts as salient: `map >= threshold`, in the map's own units.

    Raises
    ------
    ValueError
        If shapes differ, or a value of the map is not finite.

    Examples
    --------
    >>> pointing([[0.0, 1.0], [0.2, 0.6]], [[False, True], [False, False]], threshold=0.5)
    Pointing(hit=1.0, overlap=0.5, chance=0.25)
    """
    values, lesion = np.asarray(map_, dtype=np.float64), np.asarray(mask)
    if values.shape != lesion.shape or lesion.dtype != np.bool_ or values.size == 0:
        raise ValueError(f"map and bool mask have one shape and are not empty, got {values.shape} and {lesion.shape}")
    if not np.isfinite(values).all():
        raise ValueError("the map holds values that are not finite")
    peak = values == values.max()
    return Pointing(
        hit=None if peak.all() else float(lesion[peak].mean()),
        overlap=overlap(values >= threshold, lesion),
        chance=float(lesion.mean()),
    )


def overlap(salient: npt.ArrayLike, mask: npt.ArrayLike) -> float | None:
    """Intersection over union of two masks of one shape; None where both are empty."""
    a, b = np.asarray(salient, dtype=bool), np.asarray(mask, dtype=bool)
    if a.shape != b.shape:
        raise ValueError(f"masks have one shape, got {a.shape} and {b.shape}")
    union = int((a | b).sum())
    return None if union == 0 else int((a & b).sum()) / union


def hit_rate(hits: npt.ArrayLike, patient: npt.ArrayLike, *, level: float = 0.95) -> Estimate:
    """Share of maps whose peak lies in the lesion; hits `(n,)` are 0 or 1, patients `(n,)`.

    Clopper-Pearson, on the effective number of maps with several per patient. Not estimable without a map.
    """
    values = np.asarray(hits, dtype=np.float64)
    if values.size == 0:
        return Estimate.not_estimable("no map points anywhere", n=0, level=level)
    return clustered_proportion(values, patient, level=level)


def mean_overlaps(
    overlaps: npt.ArrayLike,
    draw: PatientDraw,
    *,
    level: float = 0.95,
    method: BootstrapMethod = "percentile",
) -> tuple[Estimate, Estimate]:
    """Mean IoU over all maps, and over those that touch their lesion at all: `(full, true positives only)`.

    The second leaves out what missed and so flatters: it says how well maps fit where they fit. Both with a patient
    bootstrap of one draw. `overlaps (n,)` has NaN where both masks are empty; such cases count in neither.
    """
    values = np.asarray(overlaps, dtype=np.float64)
    known: BoolArray = np.isfinite(values)
    plain: FloatArray = np.where(known, values, 0.0)
    touching = known & (plain > 0.0)
    material = Material(sums={"total": plain[:, None], "maps": np.stack([known, touching], axis=1).astype(np.float64)})

    def mean(column: int) -> Statistic:
        def value(parts: Parts) -> FloatArray:
            total, maps = parts.sums["total"][:, 0], parts.sums["maps"][:, column]
            out: FloatArray = np.divide(total, maps, out=np.full(total.shape, np.nan), where=maps > 0.0)
            return out

        return Statistic(value=value, reason=lambda parts: ("no map", "no map touches its lesion")[column])

    masks = np.stack([known, touching])
    full = resampled(draw, material, [mean(0)], masks=masks[:1], level=level, method=method)
    only = resampled(draw, material, [mean(1)], masks=masks[1:], level=level, method=method)
    return full[0][0], only[0][0]

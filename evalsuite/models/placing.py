"""A volume onto the grid its model was made for, and a mask back onto the grid of the volume: by flips, never silently.

Axes are turned to the contract's orientation without interpolation. Distances are changed only where the contract
declares `resample`, sizes only where it declares `fit`; whatever does not fit otherwise is an error that names both
sides. Every step can be taken back for a mask, and says in words what it did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalsuite.errors import ImageError
from evalsuite.imaging import Grid, Image
from evalsuite.imaging.grid import Turn, no_turn, turn_between
from evalsuite.imaging.layout import in_c_order
from evalsuite.models.contract import InputSpec

_NEAREST_TIE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What was done to one image on its way to the model, so that a mask can come back.

    Attributes
    ----------
    grid
        Of the image as stored: where the mask has to end.
    turn
        Axes reordered and reversed.
    size
        Voxels per axis after `turn`.
    steps
        Per axis the step of the resampled grid in voxels of the turned one (1 where nothing was resampled).
    resampled
        Voxels per axis after resampling.
    start
        Per axis where the model's first voxel lies in the resampled grid; negative where voxels were added.
    final
        Voxels per axis as the model got them.
    edges
        Whether resampling kept the outer edges in place rather than the first voxel's centre (plane images).
    done
        In words, one entry per thing that was done; () where the image went to the model as stored.
    """

    grid: Grid
    turn: Turn
    size: tuple[int, ...]
    steps: tuple[float, ...]
    resampled: tuple[int, ...]
    start: tuple[int, ...]
    final: tuple[int, ...]
    edges: bool = False
    done: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Placement:
        """The reverse of `to_json`, also after JSON made lists of tuples."""
        grid, affine = data["grid"], data["grid"]["affine"]
        return cls(
            grid=Grid(
                shape=tuple(grid["shape"]),
                spacing_mm=None if grid["spacing_mm"] is None else tuple(grid["spacing_mm"]),
                affine=None if affine is None else tuple(tuple(row) for row in affine),
            ),
            turn=Turn(order=tuple(data["turn"]["order"]), reverse=tuple(data["turn"]["reverse"])),
            edges=bool(data["edges"]),
            **{k: tuple(data[k]) for k in ("size", "steps", "resampled", "start", "final", "done")},
        )


def as_stored(image: Image) -> Placement:
    """The placement of an image that goes to the model on its own grid."""
    grid = image.grid
    size, n = grid.shape, len(grid.shape)
    return Placement(
        grid=grid, turn=no_turn(n), size=size, steps=(1.0,) * n, resampled=size, start=(0,) * n, final=size
    )


def place(array: NDArray[np.generic], image: Image, spec: InputSpec) -> tuple[NDArray[np.generic], Placement]:
    """Lay a volume out as its contract says.

    Parameters
    ----------
    array
        (channel, *spatial) on the grid of `image`.

    Raises
    ------
    ImageError
        code orientation where the contract names one and the file states none; spacing where file and contract differ
        and no resampling is declared, or the file states none; size where the sizes differ and no fit is declared.
    """
    grid = image.grid
    done: list[str] = []
    turn = _turn(grid, spec)
    array = turn.apply(array)
    if turn.changes:
        done.append(f"turned from {grid.orientation} to {spec.orientation} without interpolation")
    size = tuple(int(n) for n in array.shape[1:])
    steps = _steps(grid, turn, spec)
    if spec.resample != "none" and any(s != 1.0 for s in steps):
        array = _resample(array, steps, spec.resample)
        factors = " × ".join(f"{s:.4g}" for s in steps)
        done.append(f"resampled ({spec.resample}) by {factors} voxels")
    resampled = tuple(int(n) for n in array.shape[1:])
    start = _start(resampled, spec)
    if spec.fit != "none" and resampled != tuple(spec.spatial):
        array = _fit(array, start, spec)
        done.append(f"size {_size(resampled)} brought to {_size(spec.spatial)} ({spec.fit.replace('_', ' ')})")
    return array, Placement(
        grid=grid,
        turn=turn,
        size=size,
        steps=steps,
        resampled=resampled,
        start=start,
        final=tuple(int(n) for n in array.shape[1:]),
        done=tuple(done),
    )


def restore(labels: NDArray[np.generic], placement: Placement) -> NDArray[np.generic]:
    """A mask the model gave, (*spatial) on its own grid, on the grid of the image as stored.

    Labels are never averaged: where the image was resampled, each stored voxel takes the label of the model's nearest
    voxel. Voxels that were cut away for the model have label 0.

    Raises
    ------
    ValueError
        If the mask does not have the size the model got.
    """
    if labels.shape != placement.final:
        raise ValueError(f"the mask has size {labels.shape}, the model got {placement.final}")
    n = len(placement.final)
    if placement.final != placement.resampled or any(placement.start):
        whole = np.zeros(placement.resampled, dtype=labels.dtype)
        there = tuple(slice(max(0, s), min(r, s + f)) for s, r, f in _axes(placement))
        here = tuple(slice(t.start - s, t.stop - s) for t, (s, _, _) in zip(there, _axes(placement), strict=True))
        whole[there] = labels[here]
        labels = whole
    if placement.resampled != placement.size or any(s != 1.0 for s in placement.steps):
        shift = 0.5 if placement.edges else 0.0
        index = [
            _nearest((np.arange(size) + shift) / step - shift, last)
            for size, step, last in zip(placement.size, placement.steps, placement.resampled, strict=True)
        ]
        labels = labels[np.ix_(*index)]
    assert labels.ndim == n
    return in_c_order(placement.turn.undo(labels))


def _nearest(at: NDArray[Any], n: int) -> NDArray[np.intp]:
    """The nearest of `n` voxels to each place; half way between two, the lower one."""
    return np.clip(np.floor(at + 0.5 - _NEAREST_TIE), 0, n - 1).astype(np.intp)


def _axes(placement: Placement) -> list[tuple[int, int, int]]:
    return list(zip(placement.start, placement.resampled, placement.final, strict=True))


def _turn(grid: Grid, spec: InputSpec) -> Turn:
    wanted = spec.orientation
    if wanted is None or wanted == "any" or len(grid.shape) != 3:
        return no_turn(len(grid.shape))
    have = grid.orientation
    if have is None:
        raise ImageError(
            f"the image does not state how it lies in the patient, the model's contract takes {wanted}",
            code="orientation",
            hint="Write the orientation into the files (NIfTI: sform or qform; DICOM: position and orientation).",
        )
    return turn_between(have, wanted)


def _steps(grid: Grid, turn: Turn, spec: InputSpec) -> tuple[float, ...]:
    n = len(grid.shape)
    if not isinstance(spec.spacing_mm, tuple):
        return (1.0,) * n
    if len(spec.spacing_mm) != n or (grid.spacing_mm is not None and len(grid.spacing_mm) != n):
        return (1.0,) * n  # the sizes differ in number, and the error says that
    if grid.spacing_mm is None:
        raise ImageError(
            f"the image does not state its spacing, the model's contract takes {_mm(spec.spacing_mm)}", code="spacing"
        )
    have = turn.of(grid.spacing_mm)
    if all(abs(h - w) <= spec.spacing_tolerance * w for h, w in zip(have, spec.spacing_mm, strict=True)):
        return (1.0,) * n
    if spec.resample == "none":
        raise ImageError(
            f"the image has a spacing of {_mm(have)}, the model's contract takes {_mm(spec.spacing_mm)}",
            code="spacing",
            hint="The suite resamples nothing by itself: resample the images, or declare resample in the contract.",
        )
    return tuple(w / h for h, w in zip(have, spec.spacing_mm, strict=True))


def _resample(array: NDArray[np.generic], steps: tuple[float, ...], method: str) -> NDArray[np.generic]:
    """Values at every `step` voxels along each axis, beginning with the first voxel; the last ones are not passed.

    Voxel j of the result lies at j × step; there are (n − 1) / step + 1 of them, rounded (a half to the even
    number, as MONAI's Spacing), and one beyond the end takes the value of the last voxel. Coarser grids are sampled,
    not averaged.
    """
    found: NDArray[np.generic] = array
    for axis, step in enumerate(steps, start=1):
        n = found.shape[axis]
        if step == 1.0:
            continue
        count = max(1, round((n - 1) / step + 1))
        at = np.minimum(np.arange(count) * step, n - 1.0)
        if method == "nearest":
            found = np.take(found, _nearest(at, n), axis=axis)
            continue
        low = np.minimum(np.floor(at).astype(np.intp), max(n - 2, 0))
        high = np.minimum(low + 1, n - 1)
        weight = (at - low).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(found.ndim)])
        values = found.astype(np.float32, copy=False)
        first = np.take(values, low, axis=axis)
        found = first + (np.take(values, high, axis=axis) - first) * weight
    return found


def _start(size: tuple[int, ...], spec: InputSpec) -> tuple[int, ...]:
    """Where the model's first voxel lies: half of what is cut away, or minus half of what is added (rounded down)."""
    if spec.fit == "none" or len(size) != len(spec.spatial):
        return (0,) * len(size)
    return tuple(
        (have - want) // 2 if have >= want else -((want - have) // 2)
        for have, want in zip(size, (n or 0 for n in spec.spatial), strict=True)
    )


def _fit(array: NDArray[np.generic], start: tuple[int, ...], spec: InputSpec) -> NDArray[np.generic]:
    wanted = tuple(n or 0 for n in spec.spatial)
    size = array.shape[1:]
    too_large = any(h > w for h, w in zip(size, wanted, strict=True))
    too_small = any(h < w for h, w in zip(size, wanted, strict=True))
    if (too_large and spec.fit == "pad") or (too_small and spec.fit == "crop"):
        raise ImageError(
            f"the image is {_size(size)} voxels, the model's contract takes {_size(wanted)} and only {spec.fit}s",
            code="size",
        )
    value = float(array.min()) if spec.pad_value is None else spec.pad_value
    if array.dtype.kind in "iu" and (value != int(value) or not _holds(array.dtype, value)):
        array = array.astype(np.float32)
    whole = np.full((array.shape[0], *wanted), value, dtype=array.dtype)
    from_image = tuple(slice(max(0, s), min(h, s + w)) for s, h, w in zip(start, size, wanted, strict=True))
    into = tuple(slice(f.start - s, f.stop - s) for f, s in zip(from_image, start, strict=True))
    whole[(slice(None), *into)] = array[(slice(None), *from_image)]
    return whole


def _holds(dtype: np.dtype[np.generic], value: float) -> bool:
    limits = np.iinfo(dtype.name)
    return bool(limits.min <= value <= limits.max)


def _size(shape: tuple[int | None, ...]) -> str:
    return " × ".join("any" if n is None else str(n) for n in shape)


def _mm(values: tuple[float, ...]) -> str:
    return " × ".join(f"{v:.4g}" for v in values) + " mm"

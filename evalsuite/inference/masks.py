"""Masks a model drew: back on the grid of the stored image, counted, and kept as run lengths.

A mask is a list of (length, label) runs over the voxels in C order: a kilobyte or so for an organ. Its digest covers
shape, classes, place and runs, not the file it lies in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evalsuite.errors import ModelRunError
from evalsuite.imaging.grid import Grid
from evalsuite.models.contract_volumes import NO_LABEL
from evalsuite.models.placing import Placement, restore
from evalsuite.record.canonical import canonical_json

if TYPE_CHECKING:
    from evalsuite.models.contract import Contract, OutputSpec


LONGEST_RUN = int(np.iinfo(np.uint32).max)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """A mask as runs: `lengths` (runs,) uint32 and `labels` (runs,) uint8 over the voxels of `shape` in C order.

    A run longer than 4,294,967,295 voxels is several runs of one label.
    """

    shape: tuple[int, ...]
    lengths: NDArray[np.uint32]
    labels: NDArray[np.uint8]

    def counts(self, n: int) -> NDArray[np.int64]:
        """Voxels of each label 0 … n − 1."""
        found = np.bincount(self.labels, weights=self.lengths.astype(np.float64), minlength=n)[:n]
        return np.asarray(found, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMask:
    """One mask of one case.

    Attributes
    ----------
    output, channel
        The model's output; the class where the output has one mask of 0 and 1 per class, None where label i is
        `classes[i]`.
    grid
        Of the image as stored: shape, spacing in mm and affine (None where the file states none).
    """

    case_id: str
    output: str
    channel: str | None
    classes: tuple[str, ...]
    grid: Grid
    runs: Runs

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of everything in it."""
        head = {
            "case_id": self.case_id,
            "output": self.output,
            "channel": self.channel,
            "classes": list(self.classes),
            "shape": list(self.grid.shape),
            "spacing_mm": None if self.grid.spacing_mm is None else list(self.grid.spacing_mm),
            "affine": None if self.grid.affine is None else [list(row) for row in self.grid.affine],
        }
        sha = hashlib.sha256(canonical_json(head))
        sha.update(np.ascontiguousarray(self.runs.lengths, dtype="<u4").tobytes())
        sha.update(np.ascontiguousarray(self.runs.labels, dtype=np.uint8).tobytes())
        return sha.hexdigest()

    def labels(self) -> NDArray[np.uint8]:
        """(*spatial) uint8 on the grid of the stored image."""
        return decode(self.runs)


def encode(labels: NDArray[np.uint8]) -> Runs:
    """Run lengths of a mask (*spatial), in C order."""
    flat = np.ascontiguousarray(labels, dtype=np.uint8).reshape(-1)
    if not flat.size:
        return Runs(shape=labels.shape, lengths=np.zeros(0, np.uint32), labels=np.zeros(0, np.uint8))
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    lengths = np.diff(starts, append=flat.size)
    values = flat[starts]
    if lengths.max() > LONGEST_RUN:
        parts = -(-lengths // LONGEST_RUN)
        values = np.repeat(values, parts)
        last = np.cumsum(parts) - 1
        cut = np.full(int(parts.sum()), LONGEST_RUN)
        cut[last] = lengths - LONGEST_RUN * (parts - 1)
        lengths = cut
    return Runs(shape=tuple(labels.shape), lengths=lengths.astype(np.uint32), labels=values)


def decode(runs: Runs) -> NDArray[np.uint8]:
    """The mask (*spatial) of its run lengths.

    Raises
    ------
    ValueError
        If the runs do not cover the shape exactly.
    """
    size = int(np.prod(runs.shape, dtype=object))
    if int(runs.lengths.sum(dtype=np.uint64)) != size or runs.lengths.shape != runs.labels.shape:
        raise ValueError(f"runs of {int(runs.lengths.sum(dtype=np.uint64))} voxels for a mask of {size}")
    return np.repeat(runs.labels, runs.lengths).reshape(runs.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Masks of one group of cases, in their order, and the columns counted from them: (n,), NaN where not finite."""

    masks: tuple[StoredMask, ...]
    columns: Mapping[str, np.ndarray]


def bring_back(
    found: Mapping[str, np.ndarray],
    contract: Contract,
    *,
    case_ids: Sequence[str],
    placements: Sequence[Mapping[str, Placement]],
) -> Drawn:
    """Masks as the model gave them become masks of the stored images.

    Parameters
    ----------
    found
        Output name to labels (n, *spatial), or (n, class, *spatial) of 0 and 1 where the output is decided by
        threshold; uint8. A mask of nothing but `NO_LABEL` says that the network's numbers were not finite.
    placements
        Per case and input what was done to its image.

    Raises
    ------
    ModelRunError
        If a mask does not have the size of the image the model got.
    """
    masks: list[StoredMask] = []
    columns: dict[str, np.ndarray] = {
        name: np.full(len(case_ids), np.nan) for output in contract.masks for name in contract.mask_columns(output)
    }
    for i, (case_id, places) in enumerate(zip(case_ids, placements, strict=True)):
        for output in contract.masks:
            placement = places[contract.grid_of(output).name]
            made = _masks_of(found[output.name][i], output, placement, case_id)
            if made is None:
                continue
            masks += made
            for name, value in _counted(made, output).items():
                if name in columns:
                    columns[name][i] = value
    return Drawn(masks=tuple(masks), columns=columns)


def _masks_of(labels: np.ndarray, output: OutputSpec, placement: Placement, case_id: str) -> list[StoredMask] | None:
    several = output.decided == "threshold"
    planes: list[Any] = list(labels) if several else [labels]
    if any(plane.shape != placement.final for plane in planes):
        given, wanted = (" × ".join(map(str, s)) for s in (planes[0].shape, placement.final))
        raise ModelRunError(
            f"output {output.name} is a mask of {given}, the image the model got is {wanted}",
            hint="A mask has one label per voxel of the input; correct the package or its contract.",
        )
    if planes[0].flat[0] == NO_LABEL:
        return None
    channels: tuple[str | None, ...] = output.classes if several else (None,)
    return [
        StoredMask(
            case_id=case_id,
            output=output.name,
            channel=channel,
            classes=output.classes,
            grid=placement.grid,
            runs=encode(np.asarray(restore(plane, placement), dtype=np.uint8)),
        )
        for plane, channel in zip(planes, channels, strict=True)
    ]


def _counted(made: Sequence[StoredMask], output: OutputSpec) -> dict[str, float]:
    if output.decided == "threshold":
        counts = [int(mask.runs.counts(2)[1]) for mask in made]
    else:
        counts = [int(n) for n in made[0].runs.counts(len(output.classes))]
    columns = {f"voxels_{c}": float(n) for c, n in zip(output.classes, counts, strict=True)}
    spacing = made[0].grid.spacing_mm
    if spacing is not None:
        one = float(np.prod(np.asarray(spacing, dtype=np.float64)))
        columns |= {f"volume_mm3_{c}": n * one for c, n in zip(output.classes, counts, strict=True)}
    return columns

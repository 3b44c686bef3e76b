"""Masks as the reference of a detection task: the lesions they show, their sizes, and which marks lie in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from evalsuite.analyses.lesions import CaseLesions, LesionMask
from evalsuite.errors import ImageError, InputError, Problem
from evalsuite.imaging.grid import Grid
from evalsuite.imaging.mask_file import decode_mask
from evalsuite.imaging.points import Lie, indices_in, places_of
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats import matching
from evalsuite.stats.mask_size import longest_diameter_mm, volume_ml
from evalsuite.testset.reference_files import ReferenceFiles

_SHOWN = 20


def with_lesion_masks(
    protocol: StudyProtocol, frame: pd.DataFrame, case_id: Sequence[str], files: ReferenceFiles
) -> pd.DataFrame:
    """The frame with its reference column's cells, names of mask files, replaced by the lesions they show
    (`CaseLesions`), or "" where the cell is empty. A mask without a voxel is a case without a lesion.

    Raises
    ------
    InputError
        Everything that is wrong with the masks at once, by case; where one does not say where it lies, and
        `task.coordinates` is of the patient.
    LockError
        If a mask is not the one that was locked.
    """
    column = str(protocol.task.reference)
    if column not in frame.columns:
        raise InputError(
            f"The locked test set has no reference column '{column}'.",
            hint=f"Sealed columns: {', '.join(map(str, frame.columns))}. Correct task.reference or lock the set again.",
        )
    problems: list[Problem] = []
    found: list[CaseLesions | str] = []
    for cell, case in zip((str(c) for c in frame[column]), case_id, strict=True):
        found.append(_of_file(protocol, cell, case, files, problems) or "" if cell.strip() else "")
    if len({x.place.shape[1] for x in found if not isinstance(x, str)}) > 1:
        problems.append(Problem("some masks are planes and some volumes", f"column {column}"))
    if problems:
        raise InputError(
            f"{len(problems)} reference masks of column '{column}' cannot be used.",
            problems=problems[:_SHOWN],
            hint="With matching: {rule: in_mask}, each cell names a mask (NIfTI, PNG, TIFF) of that case; leave it "
            "empty where there is none.",
        )
    return frame.assign(**{column: pd.Series(found, index=frame.index, dtype=object)})


def _of_file(
    protocol: StudyProtocol, cell: str, case: str, files: ReferenceFiles, problems: list[Problem]
) -> CaseLesions | None:
    where = f"case {case}"
    data = files.read(cell)
    if data is None:
        problems.append(Problem("no file of the locked test set", where, "lock the set again with --protocol"))
        return None
    if data[128:132] == b"DICM":
        hint = "give the mask as NIfTI"
        problems.append(Problem("outlines in DICOM name no image that marks could be looked up in", where, hint))
        return None
    try:
        labels, grid = decode_mask(data, name=cell)
    except ImageError as error:
        problems.append(Problem(error.message, where))
        return None
    lie = Lie(grid=grid, columns_first=Path(cell).name.lower().endswith((".nii", ".nii.gz")))
    made = lesions_of(protocol, labels, lie)
    if made is None:
        hint = "give masks with their place in the patient, or marks in coordinates: image"
        problems.append(Problem("the mask does not say where in the patient it lies", where, hint))
    return made


def lesions_of(protocol: StudyProtocol, labels: NDArray[np.uint8], lie: Lie) -> CaseLesions | None:
    """The lesions of one mask (*spatial): their centroids in the protocol's coordinates, their longest diameters and
    their voxels; None where the mask does not say where it lies."""
    asked = protocol.task.matching
    assert asked is not None, "the protocol's loader requires it"
    assert protocol.task.coordinates is not None, "the protocol's loader requires it"
    if asked.lesions == "labels":
        values = np.unique(labels[labels > 0])
        numbered = np.zeros(256, dtype=np.int32)
        numbered[values] = np.arange(1, values.size + 1)
        regions, n = numbered[labels], int(values.size)
    else:
        regions, n = matching.components(labels > 0)
    flat = np.ascontiguousarray(regions).reshape(-1)
    voxel = np.flatnonzero(flat)
    lesion = flat[voxel] - 1
    index = np.array(np.unravel_index(voxel, labels.shape), dtype=np.float64).T
    many = np.bincount(lesion, minlength=n).astype(np.float64)
    centre = np.stack([np.bincount(lesion, weights=along, minlength=n) / many for along in index.T], axis=1)
    place = places_of(lie, centre, protocol.task.coordinates)
    if place is None:
        return None
    diameter, volume = _sizes(regions, n, lie.grid)
    sizes = {"diameter_mm": diameter, "volume_ml": volume}
    columns = {s.column or s.name for s in protocol.task.lesion_strata}
    return CaseLesions(
        place=place,
        box=False,
        diameter_mm=diameter,
        groups={c: tuple("" if np.isnan(v) else f"{v:.15g}" for v in sizes[c]) for c in columns},
        mask=LesionMask(lie=lie, voxel=voxel, lesion=lesion),
    )


def _sizes(regions: NDArray[np.int32], n: int, grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longest diameter (mm) and volume (ml) of each lesion; NaN where the mask states no spacing, and in a plane no
    volume."""
    diameter, volume = np.full(n, np.nan), np.full(n, np.nan)
    if grid.spacing_mm is None:
        return diameter, volume
    for k, box in enumerate(find_objects(regions, max_label=n)):
        own = regions[box] == k + 1
        diameter[k] = longest_diameter_mm(own, grid.spacing_mm)
        if own.ndim == 3:
            volume[k] = volume_ml(own, grid.spacing_mm)
    return diameter, volume


def pairs_in_masks(
    cases: Sequence[tuple[int, CaseLesions]],
    mark_case: NDArray[np.int64],
    points: NDArray[np.float64],
    coordinates: str,
) -> matching.Pairs:
    """Marks (m, axes) that lie in a lesion of their case: indices of marks, and of lesions in the order of `cases`."""
    parts: list[matching.Pairs] = []
    order = np.argsort(mark_case, kind="stable")
    ordered = mark_case[order]
    before = 0
    for case, lesions in cases:
        mine = order[np.searchsorted(ordered, case, "left") : np.searchsorted(ordered, case, "right")]
        if lesions.n and mine.size:
            assert lesions.mask is not None, "read from masks"
            at = indices_in(lesions.mask.lie, points[mine], coordinates)
            if at is None:
                raise InputError(
                    "The lesions lie in volumes and the marks have another number of axes.",
                    hint="Give marks in the plane (x, y) for plane masks, in space (x, y, z) for volumes.",
                )
            shape = lesions.mask.lie.grid.shape
            found = matching.pairs_in_regions(shape, lesions.mask.voxel, lesions.mask.lesion, at)
            parts.append(matching.Pairs(mark=mine[found.mark], lesion=found.lesion + before, closeness=found.closeness))
        before += lesions.n
    return matching.joined(parts, [0] * len(parts), [0] * len(parts))

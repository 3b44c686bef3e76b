"""What a segmenter drew on degraded images, brought back to where the images were: against the reference and itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from evalsuite.analyses.mask_figures import (
    FIGURES,
    OF_GRID,
    SECOND,
    Asked,
    device_mask,
    figures_of_masks,
    masks_by_case,
    read_reference,
)
from evalsuite.errors import ImageError, InputError, Problem
from evalsuite.imaging.degrade_undo import brought_back
from evalsuite.imaging.grid import Grid
from evalsuite.imaging.mask_file import grid_difference
from evalsuite.inference.mask_store import read_masks
from evalsuite.inference.masks import StoredMask, encode
from evalsuite.inference.perturbed_names import mask_name, shown_as
from evalsuite.inference.predictions import Predictions
from evalsuite.protocol.robustness import BATCH, OWN, Condition, conditions_of, settings_of
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.protocol.segmentation import structures
from evalsuite.stats.masks import CaseFigure
from evalsuite.testset.reference_files import ReferenceFiles

#: Column with the Dice coefficient of each structure's mask against that of the unchanged image.
AGREEMENT = "agreement with the mask of the unchanged image"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A row of a condition: its place in the table, its case, what was done to the image, and whether it was run in
    another setting."""

    place: int
    case: str
    condition: Condition | None
    otherwise: bool = False


def with_degraded_figures(
    protocol: StudyProtocol,
    frame: pd.DataFrame,
    case_id: Sequence[str],
    conditions: pd.DataFrame,
    source: Predictions,
    files: ReferenceFiles,
    wanted: Sequence[Asked],
) -> pd.DataFrame:
    """The rows of all conditions with the figures of their masks (as `with_mask_figures`) and the column `AGREEMENT`.

    A mask on an image that was turned, flipped, cropped or stored otherwise is brought back to the unchanged image's
    voxels first; the reference is never moved. What a crop or turn took out of the picture counts as not drawn.

    Raises
    ------
    InputError
        If a reference mask cannot be used.
    IntegrityError, LockError
        If a mask is not the one that was sealed, or locked.
    """
    made = conditions.copy()
    figures: list[dict[Asked, CaseFigure] | None] = [None] * len(made)
    agreement: list[dict[str, float] | None] = [None] * len(made)
    reasons: dict[int, str] = {}
    problems: list[Problem] = []
    rows = _rows(protocol, made)
    cells = dict(zip(case_id, (str(c) for c in frame[str(protocol.task.reference)]), strict=True))
    sample = {row.case for row in rows.values()} & set(cells)
    output = str(protocol.task.score)
    clean: dict[str, list[StoredMask]] = {}
    unchanged = sample | {mask_name(case, OWN) for case in sample}
    for mask in read_masks(source.mask_files, case_ids=unchanged, outputs={output}):
        clean.setdefault(mask.case_id, []).append(mask)
    last: tuple[str, Any] = ("", None)
    for name, masks in masks_by_case(source, output, set(rows)):
        row = rows[name]
        if row.case not in clean:
            reasons[row.place] = "the unchanged image has no mask"
            continue
        grid = clean[row.case][0].grid
        try:
            back = [_back(mask, row.condition, grid) for mask in masks]
        except ImageError as error:
            reasons[row.place] = error.message
            continue
        own = clean.get(mask_name(row.case, OWN)) if row.otherwise else None
        agreement[row.place] = dict(_agreement(protocol, back, own or clean[row.case]))
        if not cells[row.case].strip():
            continue
        if last[0] != row.case:
            last = (row.case, read_reference(files, cells[row.case], row.case, problems, grid))
        reference = last[1]
        if reference is None:
            continue
        difference = reference if isinstance(reference, str) else grid_difference(reference[1], grid)
        if difference is not None:
            reasons[row.place] = f"{OF_GRID}: {difference}"
            continue
        figures[row.place] = dict(figures_of_masks(protocol, reference[0], back, reference[1].spacing_mm, wanted))
    if problems:
        raise InputError(f"{len(problems)} reference masks cannot be used.", problems=problems[:50])
    made[FIGURES] = pd.Series(figures, index=made.index, dtype=object)
    made[SECOND] = pd.Series([None] * len(made), index=made.index, dtype=object)
    made[AGREEMENT] = pd.Series(agreement, index=made.index, dtype=object)
    for place, why in reasons.items():
        made.loc[made.index[place], ["status", "reason"]] = ["failed", why]
    return made


def _rows(protocol: StudyProtocol, table: pd.DataFrame) -> dict[str, _Row]:
    """Each usable row under the name that its masks carry."""
    asked = protocol.analyses.robustness
    assert asked is not None, "called only where the block is there"
    shown = {c.name: c for c in conditions_of(asked)}
    settings = {s.name for s in settings_of(asked)}
    found: dict[str, _Row] = {}
    rows = zip(table["case_id"], table["condition"], table["status"], strict=True)
    for place, (case, name, status) in enumerate(rows):
        if status != "ok":
            continue
        if name in shown:
            found[shown_as(str(case), shown[name], protocol.seed)] = _Row(
                place=place, case=str(case), condition=shown[name]
            )
        elif name in (BATCH, OWN) or name in settings:
            found[mask_name(str(case), str(name))] = _Row(
                place=place, case=str(case), condition=None, otherwise=name in settings
            )
    return found


def _back(mask: StoredMask, condition: Condition | None, wanted: Grid) -> StoredMask:
    if condition is None:
        return mask
    labels = brought_back(mask.labels(), condition.kind, condition.value, made=mask.grid, wanted=wanted)
    return replace(mask, grid=wanted, runs=encode(labels))


def _agreement(
    protocol: StudyProtocol, one: Sequence[StoredMask], other: Sequence[StoredMask]
) -> Iterator[tuple[str, float]]:
    """Dice of the two masks of each structure; 1 where both are empty."""
    labels: Mapping[str, int | None] = structures(protocol)
    for name, label in labels.items():
        a, b = device_mask(one, name, label), device_mask(other, name, label)
        if a is None or b is None or a.shape != b.shape:
            continue
        total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
        yield name, 1.0 if total == 0 else 2.0 * int(np.count_nonzero(a & b)) / total

"""Figures of every case and structure of a segmentation: reference and device masks side by side, a pair at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evalsuite.errors import ImageError, InputError, Problem
from evalsuite.imaging.grid import Grid
from evalsuite.imaging.mask_file import decode_mask, grid_difference
from evalsuite.inference.mask_store import read_masks
from evalsuite.inference.masks import StoredMask
from evalsuite.inference.predictions import Predictions
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.protocol.segmentation import structures
from evalsuite.stats import overlap, surface
from evalsuite.stats.masks import CaseFigure, EmptyPolicy, MaskPair, mask_pair
from evalsuite.testset.reference_files import ReferenceFiles

#: Column of the predictions that holds each case's figures, and what a case's masks are by reference and output.
FIGURES = "mask figures"
#: Column with the Dice coefficients of the second reader's masks against the reference's, by structure.
SECOND = "second reader's Dice"
DISTANCES = ("hd", "hd95", "assd", "masd", "nsd")
OF_GRID = "the output lies on another grid than the reference"
OF_LABELS = "the output has values that are no label of the protocol"
_NO_SPACING = "the masks state no spacing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One figure of one structure, with what it depends on."""

    structure: str
    metric: str
    definition: surface.Definition = "voxel"
    tolerance_mm: float | None = None
    maximum: float | None = None


def asked_of(endpoint: Endpoint, structure: str) -> Asked:
    """The figure of single cases that an endpoint is the mean (or a quantile) of."""
    distance = endpoint.metric in DISTANCES
    return Asked(
        structure=structure,
        metric=endpoint.metric,
        definition=(endpoint.definition or "voxel") if distance else "voxel",
        tolerance_mm=endpoint.tolerance,
        maximum=endpoint.maximum if distance else None,
    )


def with_mask_figures(
    protocol: StudyProtocol,
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
    source: Predictions,
    files: ReferenceFiles,
    wanted: Sequence[Asked],
) -> pd.DataFrame:
    """The device's rows with each case's figures, `{Asked: CaseFigure}`, in the column `FIGURES`; None where output or
    reference is missing. A case whose masks lie on two grids is failed, with the reason, and nothing is resampled; so
    is one whose recorded mask has values that are no label of the protocol, where the protocol does not say otherwise.

    Raises
    ------
    InputError
        Everything that is wrong with the reference's masks at once; where the model gives no masks.
    IntegrityError, LockError
        If a mask is not the one that was sealed, or locked.
    """
    column = str(protocol.task.reference)
    if column not in frame.columns:
        raise InputError(
            f"The locked test set has no reference column '{column}'.",
            hint=f"Sealed columns: {', '.join(map(str, frame.columns))}. Correct task.reference or lock the set again.",
        )
    if not source.mask_files:
        raise InputError(
            "A segmentation task needs masks, and the model gives none.",
            hint=f"Recorded predictions name mask files in a column '{protocol.task.score}', relative to the table.",
        )
    case_id = [str(c) for c in predictions["case_id"]]
    cells = dict(zip(case_id, (str(c) for c in frame[column]), strict=True))
    ok = {c for c, s in zip(case_id, predictions["status"], strict=True) if s == "ok"}
    figures: dict[str, dict[Asked, CaseFigure] | None] = dict.fromkeys(case_id)
    others = _second_cells(protocol, frame, case_id)
    second: dict[str, dict[str, CaseFigure]] = {}
    reasons: dict[str, str] = {}
    problems: list[Problem] = []
    for case, masks in masks_by_case(source, str(protocol.task.score), ok):
        if not cells[case].strip():
            continue
        found = read_reference(files, cells[case], case, problems, masks[0].grid)
        if found is None:
            continue
        if isinstance(found, str):
            reasons[case] = found
            continue
        reference, grid = found
        difference = grid_difference(grid, masks[0].grid)
        if difference is not None:
            reasons[case] = f"{OF_GRID}: {difference}"
            continue
        odd = _other_labels(protocol, masks)
        if odd:
            reasons[case] = f"{OF_LABELS}: {', '.join(map(str, odd[:5]))}{', …' if len(odd) > 5 else ''}"
            continue
        figures[case] = dict(figures_of_masks(protocol, reference, masks, grid.spacing_mm, wanted))
        if others.get(case, "").strip():
            drawn = read_reference(files, others[case], case, problems, grid)
            second[case] = _second(protocol, reference, grid, drawn)
    if problems:
        raise InputError(
            f"{len(problems)} reference masks of column '{column}' cannot be used.",
            problems=problems[:50],
            hint="Masks are NIfTI, PNG or TIFF files of whole numbers; leave a cell empty where there is none.",
        )
    made = predictions.copy()
    made[FIGURES] = pd.Series([figures[c] for c in case_id], index=made.index, dtype=object)
    made[SECOND] = pd.Series([second.get(c) for c in case_id], index=made.index, dtype=object)
    for i, case in enumerate(case_id):
        if case in reasons:
            made.loc[made.index[i], ["status", "reason"]] = ["failed", reasons[case]]
    return made


def _second_cells(protocol: StudyProtocol, frame: pd.DataFrame, case_id: Sequence[str]) -> dict[str, str]:
    """The second reader's mask of each case, as the case table names it; nothing without such a reader."""
    column = protocol.task.second_reader
    if column is None:
        return {}
    if column not in frame.columns:
        raise InputError(
            f"The locked test set has no column '{column}' of a second reader's masks.",
            hint=f"Sealed columns: {', '.join(map(str, frame.columns))}. Correct task.second_reader, or lock again.",
        )
    return dict(zip(case_id, (str(c) for c in frame[column]), strict=True))


def _second(
    protocol: StudyProtocol,
    reference: NDArray[np.uint8],
    grid: Grid,
    drawn: tuple[NDArray[np.uint8], Grid] | str | None,
) -> dict[str, CaseFigure]:
    """Dice of the second reader against the reference, by structure; on another grid undefined, with the reason."""
    if drawn is None or isinstance(drawn, str) or grid_difference(grid, drawn[1]) is not None:
        why = CaseFigure(undefined="the second reader's mask lies on another grid")
        return dict.fromkeys(structures(protocol), why)
    policy, found = _policy(protocol), {}
    for name, label in structures(protocol).items():
        a, b = (m != 0 if label is None else m == label for m in (reference, drawn[0]))
        found[name] = overlap.dice(mask_pair(a, b, grid.spacing_mm or (1.0,) * a.ndim), empty=policy)
    return found


def _policy(protocol: StudyProtocol) -> EmptyPolicy:
    return EmptyPolicy() if protocol.task.empty is None else EmptyPolicy(**protocol.task.empty.model_dump())


def _other_labels(protocol: StudyProtocol, masks: Sequence[StoredMask]) -> list[int]:
    """Values of recorded masks that the protocol does not name; none where it has one structure, or says background."""
    named = set(structures(protocol).values())
    if protocol.task.other_labels == "background" or None in named:
        return []
    found = {int(v) for m in masks if m.channel is None and not m.classes for v in np.unique(m.runs.labels)}
    return sorted(found - {0} - {v for v in named if v is not None})


def masks_by_case(source: Predictions, output: str, names: set[str]) -> Iterator[tuple[str, list[StoredMask]]]:
    """The masks of each case together, in the order of the run."""
    held: list[StoredMask] = []
    for mask in read_masks(source.mask_files, case_ids=names, outputs={output}):
        if held and held[0].case_id != mask.case_id:
            yield held[0].case_id, held
            held = []
        held.append(mask)
    if held:
        yield held[0].case_id, held


def read_reference(
    files: ReferenceFiles, cell: str, case: str, problems: list[Problem], grid: Grid
) -> tuple[NDArray[np.uint8], Grid] | str | None:
    """The reference's labels and grid (that of the output for DICOM outlines), or why they do not fit that grid; None
    where the file is no mask, which goes to `problems`."""
    data = files.read(cell)
    if data is None:
        problems.append(Problem("no file of the locked test set", f"case {case}", "lock the set with --protocol"))
        return None
    try:
        return decode_mask(data, name=cell, grid=grid)
    except ImageError as error:
        if error.code == "grid":
            return f"{OF_GRID}: the reference's slices do not fall on its voxels"
        problems.append(Problem(error.message, f"case {case}"))
        return None


def figures_of_masks(
    protocol: StudyProtocol,
    reference: NDArray[np.uint8],
    masks: Sequence[StoredMask],
    spacing_mm: tuple[float, ...] | None,
    wanted: Sequence[Asked],
) -> Iterator[tuple[Asked, CaseFigure]]:
    """Every figure wanted of one case, whose reference and masks lie on one grid."""
    policy = _policy(protocol)
    for name, label in structures(protocol).items():
        mine = [a for a in wanted if a.structure == name]
        if not mine:
            continue
        device = device_mask(masks, name, label)
        if device is None:
            yield from ((a, CaseFigure(undefined=f"the model draws no structure '{name}'")) for a in mine)
            continue
        truth = reference != 0 if label is None else reference == label
        pair = mask_pair(truth, device, spacing_mm or (1.0,) * truth.ndim)
        found: dict[surface.Definition, surface.Surfaces] = {}
        for asked in mine:
            if spacing_mm is None and asked.metric not in ("dice", "iou", "cldice", "relative_volume_error"):
                yield asked, CaseFigure(undefined=_NO_SPACING)
            else:
                yield asked, _figure(pair, asked, policy, found)


def device_mask(masks: Sequence[StoredMask], name: str, label: int | None) -> NDArray[np.bool_] | None:
    """Where the device drew a structure, by its class in the model's contract, else by its value in its file;
    None where the model does not know it."""
    for mask in masks:
        if mask.channel == name:
            return np.asarray(mask.labels() != 0)
    for mask in masks:
        if mask.channel is None and name in mask.classes:
            return np.asarray(mask.labels() == mask.classes.index(name))
        if mask.channel is None and not mask.classes:
            return np.asarray(mask.labels() != 0 if label is None else mask.labels() == label)
    return None


def _figure(
    pair: MaskPair, asked: Asked, policy: EmptyPolicy, found: dict[surface.Definition, surface.Surfaces]
) -> CaseFigure:
    metric = asked.metric
    if metric == "boundary_iou":
        return overlap.boundary_iou(pair, width_mm=asked.tolerance_mm or 0.0, empty=policy)
    if metric in DISTANCES:
        if pair.empty is None and asked.definition not in found:
            found[asked.definition] = surface.surfaces(pair, asked.definition)
        return surface.surface_figure(
            pair,
            cast(surface.SurfaceMetric, metric),
            definition=asked.definition,
            tolerance_mm=asked.tolerance_mm,
            maximum_mm=asked.maximum,
            empty=policy,
            found=found.get(asked.definition),
        )
    if metric == "volume_error":
        return overlap.volume_error(pair)
    if metric == "relative_volume_error":
        return overlap.relative_volume_error(pair)
    return {"dice": overlap.dice, "iou": overlap.iou, "cldice": overlap.cldice}[metric](pair, empty=policy)

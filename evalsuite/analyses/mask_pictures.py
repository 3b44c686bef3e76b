"""Best, median and worst case of every structure, with the reference's and the device's outline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from evalsuite.analyses.exhibits import View, around, draw, read_case, rows_of, shows_images, view_of
from evalsuite.analyses.mask_figures import device_mask, read_reference
from evalsuite.analyses.mask_listing import MASKS
from evalsuite.errors import ImageError
from evalsuite.imaging.mask_file import grid_difference
from evalsuite.imaging.picture import outline
from evalsuite.inference.mask_store import read_masks
from evalsuite.inference.masks import StoredMask
from evalsuite.inference.predictions import Predictions
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.protocol.segmentation import structures
from evalsuite.testset.reference_files import ReferenceFiles
from evalsuite.testset.types import LockedTestSet
from evalsuite.types import Drawn, Listing, Picture

MOST_STRUCTURES = 12


def shown_cases(listing: Listing, structure: str) -> list[tuple[str, str, str]]:
    """(title, case, Dice) of the best, the median and the worst case; fewer where they are the same case."""
    rows = [(float(r["dice"]), r["case_id"]) for r in rows_of(listing) if r["structure"] == structure and r["dice"]]
    ordered = sorted(rows)
    if not ordered:
        return []
    places = {"best": len(ordered) - 1, "median": (len(ordered) - 1) // 2, "worst": 0}
    chosen: dict[str, tuple[str, str, str]] = {}
    for title, place in places.items():
        value, case = ordered[place]
        chosen.setdefault(case, (title, case, f"{value:.3f}"))
    return list(chosen.values())


def mask_pictures(
    protocol: StudyProtocol,
    listings: tuple[Listing, ...],
    testset: LockedTestSet,
    predictions: Predictions,
    cells: Mapping[str, str],
) -> tuple[Picture, ...]:
    """Three pictures per structure (twelve structures at most): the slice in which reference and output are largest.

    `cells` names each case's reference mask.

    Raises LockError where a file shown is not the one that was locked.
    """
    listing = next(x for x in listings if x.name == MASKS)
    asked = {name: shown_cases(listing, name) for name in list(structures(protocol))[:MOST_STRUCTURES]}
    wanted = {case for shown in asked.values() for _, case, _ in shown}
    files = ReferenceFiles.of(testset)
    made: dict[tuple[str, str], Picture] = {}
    held: dict[str, list[StoredMask]] = {}
    output = str(protocol.task.score)
    if wanted:
        for mask in read_masks(predictions.mask_files, case_ids=wanted, outputs={output}):
            held.setdefault(mask.case_id, []).append(mask)
    for case, masks in held.items():
        for structure, title, value in ((s, t, v) for s, shown in asked.items() for t, c, v in shown if c == case):
            picture = _picture(protocol, testset, files, cells[case], masks, structure, f"{title}: Dice {value}")
            if picture is not None:
                made[structure, case] = picture
    return tuple(_in_order(asked, made))


def _in_order(
    asked: Mapping[str, list[tuple[str, str, str]]], made: Mapping[tuple[str, str], Picture]
) -> Iterator[Picture]:
    for structure, shown in asked.items():
        yield from (made[structure, case] for _, case, _ in shown if (structure, case) in made)


def _picture(
    protocol: StudyProtocol,
    testset: LockedTestSet,
    files: ReferenceFiles,
    cell: str,
    masks: list[StoredMask],
    structure: str,
    title: str,
) -> Picture | None:
    case, label = masks[0].case_id, structures(protocol)[structure]
    found = read_reference(files, cell, case, [], masks[0].grid)
    drawn = device_mask(masks, structure, label)
    if found is None or isinstance(found, str) or drawn is None:
        return None
    labels, grid = found
    view = _view(protocol, testset, case, view_of(grid, None))
    truth = np.asarray(view.laid_out(labels != 0 if label is None else labels == label), dtype=bool)
    device = np.asarray(view.laid_out(drawn), dtype=bool)
    either = truth | device
    if not either.any():
        return None
    at = int(either.sum(axis=(1, 2)).argmax())
    rows, columns = (np.flatnonzero(either[at].any(axis=1 - axis)) for axis in (0, 1))
    reach = 0.5 * max(np.ptp(rows), np.ptp(columns)) * 1.25 + 6.0
    place = f"slice {at + 1} of {len(either)}" if len(either) > 1 else ""
    return draw(
        view,
        at,
        around(float(rows.mean()), reach, view.shape[1]),
        around(float(columns.mean()), reach, view.shape[2]),
        [Drawn(kind="reference", lines=outline(truth[at])), Drawn(kind="device", lines=outline(device[at]))],
        with_image=shows_images(protocol),
        words={
            "group": structure, "title": title, "note": "; ".join(x for x in (place, view.why) if x), "case_id": case,
        },
    )  # fmt: skip


def _view(protocol: StudyProtocol, testset: LockedTestSet, case: str, plain: View) -> View:
    """With the case's image where it is wanted, there, and on the masks' grid."""
    if not shows_images(protocol):
        return plain
    try:
        image = read_case(testset, case, axes=len(plain.grid.shape))
    except ImageError as error:
        return view_of(plain.grid, None, f"without image ({error.code})")
    if grid_difference(image.grid, plain.grid) is not None:
        return view_of(plain.grid, None, "without image (on another grid)")
    return view_of(plain.grid, image)

"""Pictures of wrong and nearly wrong cases, and which of them share their image file with another case.

Which cases are shown follows from the listing alone: of each kind the first ones, which are the worst.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from evalsuite.analyses.exhibits import View, draw, read_case, shows_images, view_of
from evalsuite.analyses.failures import LISTING
from evalsuite.analyses.mask_figures import read_reference
from evalsuite.analyses.wrong_cases import FALSE_NEGATIVE, FALSE_POSITIVE, NO_OUTPUT
from evalsuite.errors import ImageError
from evalsuite.imaging.grid import Grid
from evalsuite.imaging.mask_file import grid_difference
from evalsuite.imaging.picture import outline
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.testset.places import locked_digests
from evalsuite.testset.reference_files import ReferenceFiles
from evalsuite.testset.types import Case, LockedTestSet
from evalsuite.types import Drawn, Listing, Picture

SAME_IMAGE, OTHER_REFERENCE = "same_image_as", "other_reference"


def with_shared_images(listing: Listing, testset: LockedTestSet, references: Mapping[str, str]) -> Listing:
    """The listing with two more columns: cases with the very same image files, and whether their reference differs.

    `references` is the reference column's cell of each case. An image that stands twice in a set with two answers has a
    wrong one.
    """
    digests = locked_digests(testset) if testset.has_images else {}
    files = {c.case_id: _identity(c, digests) for c in testset.cases}
    cases: dict[tuple[str, ...], list[str]] = {}
    for case, names in files.items():
        if names:
            cases.setdefault(names, []).append(case)
    at = listing.columns.index("case_id")
    place = listing.columns.index("output_status")
    rows = []
    for row in listing.rows:
        case = row[at]
        others = [c for c in cases.get(files.get(case, ()), []) if c != case]
        differs = [c for c in others if references.get(c) != references.get(case)]
        rows.append((*row[:place], " ".join(others), "yes" if differs else "", *row[place:]))
    columns = (*listing.columns[:place], SAME_IMAGE, OTHER_REFERENCE, *listing.columns[place:])
    return replace(listing, columns=columns, rows=tuple(rows))


def _identity(case: Case, digests: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(digests[str(p)] for paths in case.images.values() for p in paths if str(p) in digests)


def failure_pictures(
    protocol: StudyProtocol, listings: tuple[Listing, ...], testset: LockedTestSet, outlines: Mapping[str, str]
) -> tuple[Picture, ...]:
    """`analyses.failures.shown` pictures of each kind; of a volume the slice with most of the mask, or the middle one.

    `outlines` names each case's mask, where the protocol names a column of them. A case whose image cannot be read has
    no picture; nothing is shown where the protocol does not show images. Raises LockError where a file shown is not
    the one that was locked.
    """
    asked = protocol.analyses.failures
    listing = next((x for x in listings if x.name == LISTING), None)
    if asked is None or listing is None or not testset.has_images or not shows_images(protocol):
        return ()
    files = ReferenceFiles.of(testset)
    by_id = {c.case_id: c for c in testset.cases}
    made: list[Picture] = []
    shown: dict[str, int] = {}
    for row in (dict(zip(listing.columns, r, strict=True)) for r in listing.rows):
        kind = row["kind"]
        if kind == NO_OUTPUT or shown.get(kind, 0) >= asked.shown:
            continue
        picture = _picture(testset, by_id[row["case_id"]], row, files, outlines.get(row["case_id"], ""))
        if picture is not None:
            made.append(picture)
            shown[kind] = shown.get(kind, 0) + 1
    return tuple(made)


def _picture(
    testset: LockedTestSet, case: Case, row: Mapping[str, str], files: ReferenceFiles, cell: str
) -> Picture | None:
    score = f"score {float(row['score']):.3g}" if row["score"] else ""
    # Where the kind says what was called and what was right, a picture need not.
    plain = row["kind"] in (FALSE_NEGATIVE, FALSE_POSITIVE)
    called, right = ("", "") if plain else (f"called {row['called']}", f"reference {row['reference']}")
    title = "; ".join(x for x in (score, called) if x)
    return case_picture(testset, case, files, cell, group=row["kind"], title=title, note=right)


def case_picture(
    testset: LockedTestSet, case: Case, files: ReferenceFiles, cell: str, *, group: str, title: str, note: str
) -> Picture | None:
    """A whole slice of a case with the outline of its mask (`cell` names it, or nothing), the slice with most of it or
    the middle one; None where the image cannot be read."""
    paths = next(iter(case.images.values()), ())
    try:
        image = read_case(testset, case.case_id, axes=3 if len(paths) > 1 else 2)
    except ImageError:
        return None
    grid = Grid(shape=image.array.shape[1:], spacing_mm=image.spacing_mm, affine=image.affine)
    view = view_of(grid, image)
    mask, why = _mask(case.case_id, files, cell, view)
    depth = view.shape[0]
    at = depth // 2 if mask is None else int(mask.sum(axis=(1, 2)).argmax())
    drawn = [] if mask is None else [Drawn(kind="reference", lines=outline(mask[at]))]
    place = f"slice {at + 1} of {depth}" if depth > 1 else ""
    return draw(
        view,
        at,
        slice(0, view.shape[1]),
        slice(0, view.shape[2]),
        drawn,
        with_image=True,
        words={
            "group": group,
            "title": title,
            "note": "; ".join(x for x in (note, place, why) if x),
            "case_id": case.case_id,
        },
    )


def _mask(case: str, files: ReferenceFiles, cell: str, view: View) -> tuple[np.ndarray | None, str]:
    """The mask as the view lays it out, None where there is none or nothing is marked; and what was wrong with it."""
    if not cell.strip():
        return None, ""
    found = read_reference(files, cell.strip(), case, [], view.grid)
    if found is None or isinstance(found, str):
        return None, "mask not readable"
    labels, grid = found
    if labels.shape != view.grid.shape or (grid.affine is not None and grid_difference(grid, view.grid) is not None):
        return None, "mask on another grid"
    mask = np.asarray(view.laid_out(labels != 0), dtype=bool)
    return (mask, "") if mask.any() else (None, "")

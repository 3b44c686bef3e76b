"""Pictures of single cases for the report: best, median and worst outlines, lesions found and missed, false marks.

Which cases are shown follows from the listings alone, so that nobody chooses them. A picture is part of one slice, on
the grid of the stored image; nothing is resampled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evalsuite.errors import ImageError, LockError
from evalsuite.imaging import Grid, Image, read_files
from evalsuite.imaging.grid import Turn, no_turn, turn_between
from evalsuite.imaging.image import Spec
from evalsuite.imaging.picture import colour_png, grey_png, grey_range
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record.digest import sha256_file
from evalsuite.testset.places import locked_digests
from evalsuite.testset.types import LockedTestSet
from evalsuite.types import Drawn, Listing, Picture

#: As a radiologist looks at a slice: rows to the back, columns to the patient's left.
SEEN = "SPL"
MOST_PIXELS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One case's voxels as they are looked at: (slice, row, column), or (1, row, column) of a plane image; one
    in colour is (1, row, column, 3).

    `image` is None where the picture has no background; `spacing_mm` per axis of the view, 1 where not stated; `why`
    says why there is no image.
    """

    image: NDArray[np.generic] | None
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    grid: Grid
    why: str = ""

    def laid_out(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """An array on the stored grid, turned as the view is."""
        turned: NDArray[np.generic] = _turn(self.grid).apply(array)
        return turned if turned.ndim == 3 else turned[None]

    def index_of(self, stored: Sequence[float]) -> tuple[float, float, float]:
        """(slice, row, column) of an index on the stored grid."""
        turn = _turn(self.grid)
        turned = [
            (n - 1 - stored[o]) if r else stored[o]
            for o, r, n in zip(turn.order, turn.reverse, turn.of(self.grid.shape), strict=True)
        ]
        whole = [0.0, *turned] if len(turned) == 2 else turned
        return whole[0], whole[1], whole[2]


def _turn(grid: Grid) -> Turn:
    have = grid.orientation
    return no_turn(len(grid.shape)) if have is None or len(grid.shape) != 3 else turn_between(have, SEEN)


def view_of(grid: Grid, image: Image | None, why: str = "") -> View:
    """The view of a case on a grid, with its image where there is one."""
    turn = _turn(grid)
    spacing = turn.of(grid.spacing_mm or (1.0,) * len(grid.shape))
    shape = tuple(int(n) for n in turn.of(grid.shape))
    if len(shape) == 2:
        shape, spacing = (1, *shape), (1.0, *spacing)
    made = View(image=None, shape=shape, spacing_mm=spacing, grid=grid, why=why)  # type: ignore[arg-type]
    if image is None:
        return made
    if image.array.shape[0] == 3 and image.array.dtype == np.uint8 and len(grid.shape) == 2:
        colours = np.moveaxis(image.array, 0, -1)[None]
        return View(image=colours, shape=made.shape, spacing_mm=made.spacing_mm, grid=grid)
    plain = image.array[0] if image.array.shape[0] == 1 else image.array.astype(np.float32).mean(axis=0)
    return View(
        image=made.laid_out(plain), shape=made.shape, spacing_mm=made.spacing_mm, grid=grid,
    )  # fmt: skip


def read_case(testset: LockedTestSet, case_id: str, *, axes: int) -> Image:
    """The (first) image of a case, compared with its locked digest.

    Raises
    ------
    ImageError
        If the case has no image, or it cannot be read.
    LockError
        If a file is not the one that was locked.
    """
    case = next(c for c in testset.cases if c.case_id == case_id)
    paths: tuple[Path, ...] = next(iter(case.images.values()), ())
    if not paths:
        raise ImageError(f"case {case_id} has no image", code="no image")
    digests = locked_digests(testset)
    for path in paths:
        if not path.exists():
            raise ImageError(f"an image of case {case_id} is gone", code="no image")
        if sha256_file(path) != digests.get(str(path)):
            raise LockError(f"an image of case {case_id} differs from the locked copy", hint="Restore the file.")
    return read_files(paths, spec=Spec(layout="volume" if axes == 3 else "one"), name=f"the image of case {case_id}")


def draw(
    view: View,
    at: int,
    rows: slice,
    columns: slice,
    drawn: Sequence[Drawn],
    *,
    with_image: bool,
    words: Mapping[str, str],
) -> Picture:
    """A picture of part of the slice `at`; `drawn` in pixels of the whole slice. `words` are group, title, note and
    case_id."""
    height, width = rows.stop - rows.start, columns.stop - columns.start
    step = max(1, -(-max(height, width) // MOST_PIXELS))
    png = None
    if view.image is not None and with_image:
        seen = view.image[at, rows, columns][::step, ::step]
        if seen.ndim == 3:
            png = colour_png(seen.astype(np.uint8))
        else:
            low, high = grey_range(view.image[at])
            png = grey_png(seen, low=low, high=high)
    return Picture(
        **words,
        width=width,
        height=height,
        aspect=view.spacing_mm[1] / view.spacing_mm[2],
        image=png,
        drawn=tuple(
            Drawn(
                kind=d.kind,
                lines=tuple(
                    (
                        round(a - columns.start, 2),
                        round(b - rows.start, 2),
                        round(c - columns.start, 2),
                        round(e - rows.start, 2),
                    )
                    for a, b, c, e in d.lines
                ),
            )
            for d in drawn
        ),
    )


def around(centre: float, reach: float, size: int) -> slice:
    """Pixels within `reach` of `centre`, inside an axis of `size`; never empty."""
    first = int(np.clip(np.floor(centre - reach), 0, size - 1))
    last = int(np.clip(np.ceil(centre + reach) + 1, first + 1, size))
    return slice(first, last)


def rows_of(listing: Listing) -> list[dict[str, str]]:
    """A listing as one dictionary per row."""
    return [dict(zip(listing.columns, row, strict=True)) for row in listing.rows]


def shows_images(protocol: StudyProtocol) -> bool:
    """Whether pictures have parts of images in them."""
    return protocol.pictures == "images"

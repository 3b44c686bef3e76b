"""Pictures of maps beside the image they are of: the first cases of the sample, which nobody chooses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from evalsuite.analyses.exhibits import View, read_case, shows_images, view_of
from evalsuite.analyses.localisation import ReadMaps
from evalsuite.errors import ImageError
from evalsuite.imaging.grid import Grid
from evalsuite.imaging.picture import colour_png, coloured, grey_png, grey_range
from evalsuite.protocol.interpretability import TRIVIAL_PREFIX
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.testset.types import LockedTestSet
from evalsuite.types import Picture

#: What the groups of these pictures begin with, and how many cases are shown.
GROUP = "map of"
CASES = 3
_MOST_PIXELS = 256


def map_pictures(protocol: StudyProtocol, testset: LockedTestSet, read_maps: ReadMaps) -> tuple[Picture, ...]:
    """For each of three cases its image and then its maps, `group` "map of CASE"; of a volume the slice with the first
    map's largest value. Nothing where the protocol does not show images. Raises LockError where a file shown is not
    the one that was locked."""
    if not testset.has_images or not shows_images(protocol):
        return ()
    made: list[Picture] = []
    shown = 0
    for case in testset.cases:
        if shown == CASES:
            break
        try:
            maps = {k: v for k, v in read_maps(case.case_id).items() if not k.startswith(TRIVIAL_PREFIX)}
            if not maps:
                continue
            axes = next(iter(maps.values())).ndim
            image = read_case(testset, case.case_id, axes=axes)
        except ImageError:
            continue
        view = view_of(Grid(shape=image.array.shape[1:], spacing_mm=image.spacing_mm, affine=image.affine), image)
        made += _row(case.case_id, view, maps)
        shown += 1
    return tuple(made)


def _row(case_id: str, view: View, maps: Mapping[str, NDArray[np.generic]]) -> Iterator[Picture]:
    laid = {k: np.asarray(view.laid_out(v), dtype=np.float64) for k, v in maps.items()}
    first = next(iter(laid.values()))
    at = int(np.unravel_index(int(first.argmax()), first.shape)[0])
    step = max(1, -(-max(view.shape[1:]) // _MOST_PIXELS))
    aspect = view.spacing_mm[1] / view.spacing_mm[2]
    assert view.image is not None
    plane = view.image[at][::step, ::step]
    if plane.ndim == 3:
        png = colour_png(np.ascontiguousarray(plane, dtype=np.uint8))
    else:
        low, high = grey_range(plane)
        png = grey_png(plane, low=low, high=high)
    yield _picture(case_id, "image", "", plane.shape[:2], aspect, png)
    for label, map_ in laid.items():
        values = map_[at][::step, ::step]
        small, large = float(map_.min()), float(map_.max())
        share = (values - small) / (large - small) if large > small else np.zeros(values.shape)
        ends = f"{small:.3g} to {large:.3g}"
        yield _picture(case_id, label, ends, values.shape, aspect, colour_png(coloured(share)))


def _picture(case_id: str, title: str, note: str, shape: tuple[int, ...], aspect: float, png: bytes) -> Picture:
    return Picture(
        group=f"{GROUP} {case_id}", title=title, note=note, case_id=case_id, width=shape[1], height=shape[0],
        aspect=aspect, image=png, drawn=(),
    )  # fmt: skip

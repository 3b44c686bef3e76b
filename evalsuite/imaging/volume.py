"""Several DICOM slices become one volume: put in order by the positions they state, refused where they are no grid.

Slices come as the files of a series' folder, or as the frames of one enhanced CT or MR file. Nothing is left out,
filled in or resampled: a gap, a double, a foreign slice or uneven distances are errors of that case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from evalsuite.errors import ImageError
from evalsuite.imaging.dicom import frame_image, functional, guarded, open_dataset
from evalsuite.imaging.grid import as_affine, is_regular, shear_degrees, spacing_of
from evalsuite.imaging.image import Image, Window
from evalsuite.imaging.series import SeriesFacts, Slice, examine_series, slice_of

_UNEVEN = 0.05  # of the usual distance
_MOST_SHEAR_DEGREES = 1.0
_AGAIN = "Export the series again, complete and by itself; one folder holds the slices of one volume."
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_CODES = {"gaps": "gaps", "duplicates": "duplicates", "orientation": "mixed orientations"}
CODES = frozenset((*_CODES.values(), "series", "uneven", "sheared"))


def volume_of_series(paths: Sequence[Path], *, name: str, window: Window = None) -> Image:
    """The volume whose slices are the files at `paths`, whatever their order.

    Returns
    -------
    Image
        `array` (1, slice, row, column); slices in the order of their positions along the normal. Integers stay where
        no slice is rescaled, otherwise float32. `affine` is None where positions are absent; the slices are then in the
        order of their instance numbers, and `notes` says so.

    Raises
    ------
    ImageError
        code gaps, duplicates, mixed orientations, uneven, sheared or series where the slices are not one volume; else
        as `evalsuite.imaging.read_image`.
    """

    def build() -> Image:
        stack = _Stack(len(paths), name)
        for path in paths:
            try:
                data = path.read_bytes()
            except OSError as error:
                text = f"{path.name} cannot be read: {error.strerror or 'input/output error'}"
                raise ImageError(text) from error
            if data[128:132] != b"DICM":
                raise ImageError(f"{name} holds {path.name}, which is not DICOM", code="series", hint=_AGAIN)
            dataset = open_dataset(data, path.name)
            stack.add(frame_image(dataset, 0, window, path.name), slice_of(dataset, path.name), _voi(dataset, 0))
        return stack.volume(window)

    return guarded(build, name)


def volume_of_frames(data: bytes, *, name: str, window: Window = None) -> Image:
    """The volume whose slices are the frames of one file, by the position each frame states. See `volume_of_series`."""

    def build() -> Image:
        dataset = open_dataset(data, name)
        n_frames = int(dataset.get("NumberOfFrames") or 1)
        if n_frames > 1 and _plane(dataset, 0) == ((), ()):
            raise ImageError(
                f"{name} holds {n_frames} frames that state no positions: they are no volume",
                code="multiframe",
                hint="Declare in the model's contract what they are: frames: stack, or one of them with frame: 0.",
            )
        stack = _Stack(n_frames, name)
        for index in range(n_frames):
            position, orientation = _plane(dataset, index)
            whole = slice_of(dataset, f"frame {index}")
            here = replace(
                whole, sop_uid="", number=index, n_frames=1, position=position, orientation=orientation, volume=()
            )
            stack.add(frame_image(dataset, index, window, name), here, _voi(dataset, index))
        return stack.volume(window)

    return guarded(build, name)


def stack_of_frames(data: bytes, *, name: str, window: Window = None) -> Image:
    """All frames of one file one after the other: (channel, frame, row, column), without a place in the patient."""

    def build() -> Image:
        dataset = open_dataset(data, name)
        n_frames = int(dataset.get("NumberOfFrames") or 1)
        return stack_images([frame_image(dataset, index, window, name) for index in range(n_frames)], name)

    return guarded(build, name)


def stack_images(images: Sequence[Image], name: str) -> Image:
    """Images of one size and kind, one after the other: (channel, image, row, column)."""
    first = images[0]
    if len({image.array.shape for image in images}) > 1:
        raise ImageError(f"{name} holds images of several sizes", code="size")
    if len({(image.array.dtype, image.full_range, image.kind) for image in images}) > 1:
        raise ImageError(f"{name} holds images whose values mean different things", code="range")
    return replace(
        first, array=np.stack([image.array for image in images], axis=1), spacing_mm=None, notes=_notes(images)
    )


def _plane(dataset: Dataset, index: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Position and orientation of a frame, () where the file states none (in its groups, or for the whole file)."""
    found = []
    for sequence, keyword, n in (
        ("PlanePositionSequence", "ImagePositionPatient", 3),
        ("PlaneOrientationSequence", "ImageOrientationPatient", 6),
    ):
        item = functional(dataset, index, sequence, keyword)
        value = None if item is None else item.get(keyword)
        numbers = tuple(float(v) for v in value) if value is not None and len(value) == n else ()
        found.append(numbers if all(np.isfinite(numbers)) else ())
    return found[0], found[1]


def _voi(dataset: Dataset, index: int) -> str:
    """A text that differs where two slices state different display windows; for comparison only."""
    item = functional(dataset, index, "FrameVOILUTSequence", "WindowCenter") or dataset
    stated = [str(item.get(k)) for k in ("WindowCenter", "WindowWidth", "VOILUTFunction")]
    return " ".join([*stated, "table" if item.get("VOILUTSequence") else ""])


class _Stack:
    """The slices seen so far, in one block of memory."""

    def __init__(self, n: int, name: str) -> None:
        self._n, self._name = n, name
        self._block: NDArray[Any] | None = None
        self._images: list[Image] = []
        self._slices: list[Slice] = []
        self._windows: set[str] = set()

    def add(self, image: Image, here: Slice, voi: str) -> None:
        plane = image.array
        if plane.shape[0] != 1:
            raise ImageError(f"{self._name} holds colour slices; a volume is grey", code="channels")
        if self._block is None:
            self._block = np.empty((self._n, *plane.shape[1:]), dtype=plane.dtype)
        if plane.shape[1:] != self._block.shape[1:]:
            raise ImageError(f"{self._name} holds slices of several sizes", code="series", hint=_AGAIN)
        if plane.dtype != self._block.dtype:  # some slices are rescaled, some are not
            self._block = self._block.astype(np.float32)
        self._block[len(self._images)] = plane[0]
        self._windows.add(voi)
        self._images.append(replace(image, array=np.empty((1, 0, 0), plane.dtype)))
        self._slices.append(replace(here, name=str(len(self._slices))))

    def volume(self, window: Window) -> Image:
        assert self._block is not None, "a series has files"
        if window == "header" and len(self._windows) > 1:
            raise ImageError(
                f"{self._name} states several windows, one for some of its slices each",
                code="window",
                hint="Declare one for all in the model's contract: window: [center, width].",
            )
        if self._n < 2:
            raise ImageError(f"{self._name} is one slice, no volume", code="series")
        facts = examine_series(self._slices)
        self._refuse(facts)
        order = [int(i) for i in facts.order]
        block = self._block if order == list(range(self._n)) else self._block[order]
        spacing, affine = self._place(order, facts)
        first = self._images[0]
        ranges = {(image.full_range, image.kind) for image in self._images}
        return replace(
            first,
            array=block[np.newaxis],
            full_range=first.full_range if len(ranges) == 1 else None,
            spacing_mm=spacing,
            affine=affine,
            notes=(*_notes(self._images), *facts.notes),
        )

    def _refuse(self, facts: SeriesFacts) -> None:
        if not facts.findings:
            return
        codes = [_CODES.get(code, "series") for code in facts.codes]
        # What two mixed series look like depends on how they interleave: said first, as what it is.
        code = "series" if "series" in codes else codes[0]
        raise ImageError(f"{self._name} is not one volume: {'; '.join(facts.findings)}", code=code, hint=_AGAIN)

    def _place(
        self, order: Sequence[int], facts: SeriesFacts
    ) -> tuple[tuple[float, ...] | None, tuple[tuple[float, ...], ...] | None]:
        """Spacing along (slice, row, column) and the affine; None where positions or pixel distances are not stated."""
        slices = [self._slices[i] for i in order]
        spacings = {self._images[i].spacing_mm for i in order}
        if len(spacings) > 1:
            raise ImageError(f"{self._name} holds slices of several pixel distances", code="series", hint=_AGAIN)
        plane = spacings.pop()
        if facts.distance_mm is None or plane is None:
            return None, None
        positions = np.asarray([s.position for s in slices], dtype=np.float64)
        directions = np.asarray(slices[0].orientation, dtype=np.float64)
        across, down = directions[:3], directions[3:]  # of a growing column, of a growing row
        steps = np.diff(positions @ np.cross(across, down))
        usual = float(np.median(steps))
        if np.abs(steps - usual).max() > max(_UNEVEN * usual, 0.01):
            raise ImageError(
                f"{self._name} has slices at uneven distances: "
                f"{int((np.abs(steps - usual) > max(_UNEVEN * usual, 0.01)).sum())} of {len(steps)} differ",
                code="uneven",
                hint="A model that takes a grid cannot be given these slices; export a reconstruction of one distance.",
            )
        matrix = np.eye(4)
        matrix[:3, 0] = (positions[-1] - positions[0]) / (len(positions) - 1)
        matrix[:3, 1] = down * plane[0]
        matrix[:3, 2] = across * plane[1]
        matrix[:3, 3] = positions[0]
        matrix = _LPS_TO_RAS @ matrix
        if not is_regular(matrix):
            raise ImageError(f"{self._name} states a place in the patient that is none", code="series")
        if shear_degrees(matrix) > _MOST_SHEAR_DEGREES:
            raise ImageError(
                f"{self._name} has slices that are shifted against each other (a tilted gantry)",
                code="sheared",
                hint="Resample it onto a rectangular grid before the test set is locked.",
            )
        return spacing_of(matrix), as_affine(matrix)


def _notes(images: Sequence[Image]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(note for image in images for note in image.notes))

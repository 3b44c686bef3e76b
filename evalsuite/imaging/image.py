"""One decoded image: its numbers, what they mean, and what a reader must know about how they were read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evalsuite.imaging.grid import Grid

Window: TypeAlias = Literal["none", "header"] | tuple[float, float] | None
"""None or "none": stored values; "header": the file's own window or look-up table; (center, width): that window."""


Frames: TypeAlias = Literal["one", "stack", "volume"]
"""What becomes of a file with several frames, or of several files: one frame (the one named); all of them one after the
other (a cine loop, the pages of a TIFF); or the volume that they are slices of, by the positions they state."""


class ImageSpec(Protocol):
    """What a caller decides before an image is read; a model contract's input has all of it."""

    @property
    def frame(self) -> int | None: ...

    @property
    def layout(self) -> Frames: ...

    @property
    def window(self) -> Window: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """An `ImageSpec` of one's own: stored values unless a window is named."""

    layout: Frames = "one"
    frame: int | None = None
    window: Window = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A decoded image.

    Attributes
    ----------
    array
        (channel, *spatial), rows before columns. Raster images and DICOM without a rescale keep their integer type;
        rescaled DICOM is float32 in the header's output units; windowed DICOM is float32 from 0 to 1.
    full_range
        Smallest and largest value this kind of image could hold (0 and 255; 0 and 4095 for 12 bits stored; 0 and 1 when
        windowed), or None where the values have no natural range (Hounsfield units).
    kind
        "raster", "nifti", "dicom", or "windowed" for DICOM whose window was applied.
    spacing_mm
        Distance of pixel centres along each spatial axis of the array in millimetres, where the file states it.
    photometric
        How the file said its numbers are to be read, before conversion: RGB, MONOCHROME1, PALETTE COLOR, …
    attributes
        Technical facts about the pixels; nothing about a patient.
    notes
        What was peculiar while reading, without any value of the header.
    affine
        (4, 4) as tuples, index of the spatial axes → millimetres in RAS+ (see `evalsuite.imaging.grid`); for volumes
        whose file states their place, else None.
    """

    array: NDArray[np.generic]
    full_range: tuple[float, float] | None
    kind: Literal["raster", "nifti", "dicom", "windowed"]
    spacing_mm: tuple[float, ...] | None = None
    photometric: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    affine: tuple[tuple[float, ...], ...] | None = None

    @property
    def grid(self) -> Grid:
        """Where the voxels lie."""
        shape = tuple(int(n) for n in self.array.shape[1:])
        return Grid(shape=shape, spacing_mm=self.spacing_mm, affine=self.affine)

    @property
    def orientation(self) -> str | None:
        """One letter per spatial axis of a volume (see `evalsuite.imaging.grid`), None where it is not known."""
        return self.grid.orientation

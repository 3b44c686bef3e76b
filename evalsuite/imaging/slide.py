"""Whole-slide images: pyramids too large for the memory, read tile by tile, with the tissue told from the glass.

tiffslide reads Aperio, Hamamatsu, Leica, Philips and plain tiled TIFF pyramids. Nothing is interpolated here: a tile is
a window of one stored level.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from evalsuite.errors import ImageError, InputError
from evalsuite.imaging.quiet import counted_warnings

_LEAST_SATURATION = 15.0
_LARGEST_OVERVIEW = 4096  # pixels per side of what the tissue is looked for in
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One stored size of a slide: rows, columns, by how much it is smaller than the largest, and micrometres per pixel
    (None where the file does not say)."""

    rows: int
    columns: int
    downsample: float
    mpp: float | None


class Slide:
    """An open slide. `read` may be called from several threads: each reads through a handle of its own.

    Use as a context manager: on leaving, every handle is closed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._name = path.name
        self._local = threading.local()
        self._lock = threading.Lock()
        self._handles: list[Any] = []
        self.levels: tuple[Level, ...] = self._guard(self._levels)

    def __enter__(self) -> Slide:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            for handle in self._handles:
                handle.close()
            self._handles.clear()
        self._local = threading.local()

    def read(self, row: int, column: int, rows: int, columns: int, *, level: int) -> NDArray[np.uint8]:
        """A window (3, rows, columns) of one level, from pixel (row, column) of that level; it must lie inside.

        Raises
        ------
        ImageError
            code truncated where the window cannot be decoded.
        """

        def window() -> NDArray[np.uint8]:
            down = self.levels[level].downsample
            place = (round(column * down), round(row * down))
            return np.asarray(self._handle().read_region(place, level, (columns, rows), as_array=True))

        found = self._guard(window)
        if found.shape != (rows, columns, 3) or found.dtype != np.uint8:
            raise ImageError(f"{self._name} is no slide of red, green and blue of 8 bits", code="channels")
        return np.ascontiguousarray(found.transpose(2, 0, 1))

    def overview(self) -> tuple[NDArray[np.uint8], int]:
        """The smallest level as (rows, columns, 3), and which one it is.

        Raises
        ------
        ImageError
            code size where even that one is too large to be looked at as a whole.
        """
        index = len(self.levels) - 1
        level = self.levels[index]
        if max(level.rows, level.columns) > _LARGEST_OVERVIEW:
            raise ImageError(
                f"{self._name} has no level of at most {_LARGEST_OVERVIEW} pixels, in which tissue could be looked for",
                code="size",
                hint="Store a pyramid with smaller levels, or declare tissue: none in the contract.",
            )
        return self.read(0, 0, level.rows, level.columns, level=index).transpose(1, 2, 0), index

    def _levels(self) -> tuple[Level, ...]:
        handle = self._handle()
        stated = [handle.properties.get(f"tiffslide.mpp-{axis}") for axis in "xy"]
        mpp = None
        if all(isinstance(v, int | float) and 1e-3 < v < 1e3 for v in stated):
            if abs(stated[0] - stated[1]) > 0.01 * stated[0]:
                raise ImageError(f"{self._name} has pixels that are not square", code="spacing")
            mpp = float(stated[0])
        return tuple(
            Level(rows=int(h), columns=int(w), downsample=float(d), mpp=None if mpp is None else mpp * float(d))
            for (w, h), d in zip(handle.level_dimensions, handle.level_downsamples, strict=True)
        )

    def _handle(self) -> Any:
        handle = getattr(self._local, "handle", None)
        if handle is None:
            self._local.handle = handle = _open(self._path)
            with self._lock:
                self._handles.append(handle)
        return handle

    def _guard(self, work: Callable[[], _T]) -> _T:
        with counted_warnings():
            try:
                return work()
            except (ImageError, InputError, MemoryError):
                raise
            except OSError as error:
                if error.errno is not None:
                    raise ImageError(f"{self._name} cannot be read: {error.strerror}") from error
                raise ImageError(f"{self._name} cannot be decoded: damaged, or no slide", code="truncated") from None
            except Exception:  # tifffile, zarr and the codecs raise dozens of types, and quote what they met
                raise ImageError(f"{self._name} cannot be decoded: damaged, or no slide", code="truncated") from None


def _open(path: Path) -> Any:
    try:
        from tiffslide import TiffSlide
    except ImportError:
        raise InputError("tiffslide is not installed", hint="Install it: pip install 'evalsuite[wsi]'") from None
    return TiffSlide(path)


def tissue_mask(overview: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a stained slide shows tissue: pixels more saturated than glass, by Otsu's threshold, cleaned of specks.

    Parameters
    ----------
    overview
        (rows, columns, 3) uint8. Where even the more saturated part is grey (15 of 255 on average) there is no tissue.

    References
    ----------
    Otsu, IEEE Trans. Syst. Man Cybern. 9:62-66 (1979); on saturation as in CLAM (Lu et al., Nat. Biomed. Eng. 5, 2021).
    """
    saturation = cv2.cvtColor(np.ascontiguousarray(overview), cv2.COLOR_RGB2HSV)[:, :, 1]
    saturation = cv2.medianBlur(saturation, 3)
    threshold, _ = cv2.threshold(saturation, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    found = saturation > threshold
    if not found.any() or saturation[found].mean() < _LEAST_SATURATION:
        return np.zeros(saturation.shape, dtype=np.bool_)
    return np.asarray(found)

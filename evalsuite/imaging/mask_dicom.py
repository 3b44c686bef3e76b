"""Outlines in DICOM (SEG, RT structure sets) as labels on a grid that is given: slice by slice, nothing resampled.

Both name only slices in which something is drawn, so they say nothing about the volume as a whole: they are laid onto
the grid of the image, or of the mask they are compared with. What does not fall on its voxels is another grid.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread

from evalsuite.errors import ImageError
from evalsuite.imaging.dicom import functional
from evalsuite.imaging.grid import Grid
from evalsuite.imaging.quiet import counted_warnings

SEGMENTATION, LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
_TOLERANCE = 0.1  # of a voxel, as between any two grids
_LARGEST = 255
_TO_RAS = np.array([-1.0, -1.0, 1.0])


def decode_on(data: bytes, grid: Grid | None, *, name: str) -> NDArray[np.uint8]:
    """Labels `(*grid.shape)` of a DICOM SEG or RT structure set held in memory: the number of each segment or ROI.

    A voxel belongs to a closed contour if its centre lies inside; contours of one ROI in one slice that lie in each
    other cut holes.

    Raises
    ------
    ImageError
        code `grid` where no grid in the patient is given, or the file's slices do not fall on its voxels; `not_mask`
        for other kinds of DICOM, fractional segments, numbers above 255, or segments that overlap.
    """
    dataset = _open(data, name)
    kind = str(dataset.get("SOPClassUID", ""))
    if kind not in (SEGMENTATION, LABEL_MAP, STRUCTURE_SET):
        raise ImageError(f"{name} is DICOM, but neither a segmentation nor an RT structure set", code="not_mask")
    if grid is None or grid.affine is None or len(grid.shape) != 3:
        raise ImageError(f"{name} needs the grid of a volume that states its place in the patient", code="grid")
    try:
        return _structures(dataset, grid, name) if kind == STRUCTURE_SET else _segments(dataset, grid, name)
    except (AttributeError, IndexError, TypeError, ValueError):
        raise ImageError(f"{name} lacks what places its segments in the patient, or is damaged") from None


def _open(data: bytes, name: str) -> Any:
    with counted_warnings():
        try:
            return dcmread(io.BytesIO(data))
        except Exception:  # damaged files raise a dozen types, and their messages quote the header
            raise ImageError(f"{name} cannot be read: damaged or inconsistent DICOM") from None


def _segments(dataset: Any, grid: Grid, name: str) -> NDArray[np.uint8]:
    kind = str(dataset.get("SegmentationType", "LABELMAP"))
    if kind == "FRACTIONAL":
        raise ImageError(f"{name} holds shares of voxels (FRACTIONAL), which are no labels", code="not_mask")
    frames = dataset.pixel_array
    frames = frames[np.newaxis] if frames.ndim == 2 else frames
    labels = np.zeros(grid.shape, dtype=np.uint8)
    for i, frame in enumerate(frames):
        place = functional(dataset, i, "PlanePositionSequence", "ImagePositionPatient")
        turn = functional(dataset, i, "PlaneOrientationSequence", "ImageOrientationPatient")
        size = functional(dataset, i, "PixelMeasuresSequence", "PixelSpacing")
        if place is None or turn is None or size is None:
            raise ImageError(f"{name} has frames that state no place in the patient", code="grid")
        corner = np.array([float(v) for v in place.ImagePositionPatient])
        across, down = np.array([float(v) for v in turn.ImageOrientationPatient]).reshape(2, 3)
        row, column = (float(v) for v in size.PixelSpacing)
        where = _window(grid, corner, down * row, across * column, frame.shape, name)
        if kind == "LABELMAP":
            _add(labels, where, frame, name)
        else:
            found = functional(dataset, i, "SegmentIdentificationSequence", "ReferencedSegmentNumber")
            if found is None:
                raise ImageError(f"{name} has frames of no segment", code="not_mask")
            _add(labels, where, (frame != 0) * int(found.ReferencedSegmentNumber), name)
    return labels


def _window(
    grid: Grid, corner: NDArray[Any], down: NDArray[Any], across: NDArray[Any], shape: Sequence[int], name: str
) -> tuple[tuple[NDArray[np.intp], ...], bool]:
    """Index arrays for `np.ix_` of a plane on the grid, and whether the plane's rows and columns are exchanged."""
    matrix = np.asarray(grid.affine)
    inverse = np.linalg.inv(matrix[:3, :3])
    start = inverse @ (corner * _TO_RAS - matrix[:3, 3])
    steps = [inverse @ (v * _TO_RAS) for v in (down, across)]
    whole = [np.rint(s).astype(int) for s in (start, *steps)]
    reach = [np.array([0.0]), *(np.abs(s - w) * (n - 1) for s, w, n in zip(steps, whole[1:], shape, strict=True))]
    off = float(np.abs(start - whole[0]).max()) + float(max(r.max() for r in reach))
    axes = [np.flatnonzero(w) for w in whole[1:]]
    plain = all(a.size == 1 and abs(int(w[a[0]])) == 1 for a, w in zip(axes, whole[1:], strict=True))
    if off > _TOLERANCE or not plain or axes[0][0] == axes[1][0]:
        raise ImageError(f"{name} lies on another grid", code="grid")
    index: list[NDArray[np.intp]] = [np.array([v], dtype=np.intp) for v in whole[0]]
    for axis, step, n in zip(axes, whole[1:], shape, strict=True):
        index[axis[0]] = whole[0][axis[0]] + step[axis[0]] * np.arange(n, dtype=np.intp)
    if any(i.min() < 0 or i.max() >= n for i, n in zip(index, grid.shape, strict=True)):
        raise ImageError(f"{name} reaches beyond the grid", code="grid")
    return tuple(index), bool(axes[0][0] > axes[1][0])


def _add(
    labels: NDArray[np.uint8], where: tuple[tuple[NDArray[np.intp], ...], bool], plane: NDArray[Any], name: str
) -> None:
    index, exchanged = where
    if int(plane.max(initial=0)) > _LARGEST:
        raise ImageError(f"{name} has a segment numbered above {_LARGEST}", code="not_mask")
    at = np.ix_(*index)
    there = labels[at]
    drawn = (plane.T if exchanged else plane).astype(np.uint8).reshape(there.shape)
    if bool(((there != 0) & (drawn != 0) & (there != drawn)).any()):
        raise ImageError(f"{name} has segments that overlap: a voxel has one label", code="not_mask")
    labels[at] = np.maximum(there, drawn)


def _structures(dataset: Any, grid: Grid, name: str) -> NDArray[np.uint8]:
    labels = np.zeros(grid.shape, dtype=np.uint8)
    matrix = np.asarray(grid.affine)
    inverse = np.linalg.inv(matrix[:3, :3])
    for roi in dataset.get("ROIContourSequence") or ():
        number = int(roi.ReferencedROINumber)
        if not 1 <= number <= _LARGEST:
            raise ImageError(f"{name} has a structure numbered outside 1 to {_LARGEST}", code="not_mask")
        drawn = np.zeros(grid.shape, dtype=np.bool_)
        for contour in roi.get("ContourSequence") or ():
            if str(contour.ContourGeometricType) != "CLOSED_PLANAR":
                continue  # points and open lines enclose nothing
            points = np.array([float(v) for v in contour.ContourData]).reshape(-1, 3) * _TO_RAS
            index = (points - matrix[:3, 3]) @ inverse.T
            flat = np.ptp(index, axis=0)
            axis = int(flat.argmin())
            at = float(index[:, axis].mean())
            if flat[axis] > _TOLERANCE or abs(at - round(at)) > _TOLERANCE or not 0 <= round(at) < grid.shape[axis]:
                raise ImageError(f"{name} has contours between the slices of the grid, or outside it", code="grid")
            others = [a for a in range(3) if a != axis]
            plane = np.moveaxis(drawn, axis, 0)[round(at)]
            plane ^= inside(index[:, others], plane.shape)
        if bool(((labels != 0) & drawn).any()):
            raise ImageError(f"{name} has structures that overlap: a voxel has one label", code="not_mask")
        labels[drawn] = number
    return labels


def inside(polygon: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.bool_]:
    """Which pixels of a plane `shape` have their centre inside a closed polygon (k, 2), in pixels; even-odd rule."""
    out = np.zeros(tuple(shape), dtype=np.bool_)
    first, last = polygon, np.roll(polygon, -1, axis=0)
    for row in range(max(0, int(np.ceil(polygon[:, 0].min()))), min(shape[0] - 1, int(polygon[:, 0].max())) + 1):
        crosses = (first[:, 0] <= row) != (last[:, 0] <= row)
        a, b = first[crosses], last[crosses]
        at = np.sort(a[:, 1] + (row - a[:, 0]) / (b[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1]))
        for low, high in zip(at[::2], at[1::2], strict=True):
            out[row, max(0, int(np.floor(low)) + 1) : min(shape[1], int(np.floor(high)) + 1)] = True
    return out

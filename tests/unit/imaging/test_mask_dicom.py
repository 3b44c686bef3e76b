"""DICOM segmentations and RT structure sets on a given grid: any way round, in part, with holes; else refused."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from evalsuite.errors import ImageError
from evalsuite.imaging.grid import Grid, as_affine, spacing_of
from evalsuite.imaging.mask_dicom import LABEL_MAP, SEGMENTATION, STRUCTURE_SET, inside
from evalsuite.imaging.mask_file import decode_mask
from tests.unit.imaging.volume_making import affine_of

SPACING = (3.0, 0.5, 0.75)  # slice, row, column
ORIGIN = np.array([10.0, 20.0, 30.0])  # LPS


def _grid(codes: str = "SPL", shape: tuple[int, ...] = (6, 7, 9)) -> Grid:
    """The volume whose slices begin at ORIGIN and run to head, back and left; or the same voxels another way round."""
    affine = affine_of("SPL", SPACING, tuple(ORIGIN * [-1, -1, 1]))
    if codes == "LPS":  # columns first, as NIfTI has them
        affine, shape = affine[:, [2, 1, 0, 3]], shape[::-1]
    return Grid(shape=shape, spacing_mm=spacing_of(affine), affine=as_affine(affine))


def _labels() -> np.ndarray:
    labels = np.zeros((6, 7, 9), np.uint8)
    labels[1:4, 2:5, 3:8] = 1
    labels[3:5, 5:7, 0:2] = 2
    return labels


def _bytes(ds: Dataset, kind: str) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset("x", ds, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID, file.Modality = kind, "1.2.3", "SEG"
    buffer = io.BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _seg(labels: np.ndarray, *, kind: str = SEGMENTATION, shift: float = 0.0, **extra: Any) -> bytes:
    """A segmentation with frames of slices in which something is drawn, the last slice first."""
    ds = Dataset()
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, plane.ImageOrientationPatient = list(SPACING[1:]), [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    ds.SharedFunctionalGroupsSequence = [shared]
    numbers = [0] if kind == LABEL_MAP else sorted(set(np.unique(labels)) - {0})
    groups, frames = [], []
    for number in numbers:
        for z in reversed(range(len(labels))):
            drawn = labels[z] if kind == LABEL_MAP else labels[z] == number
            if drawn.any():
                group, place, segment = Dataset(), Dataset(), Dataset()
                place.ImagePositionPatient = [float(v) for v in ORIGIN + np.array([shift, 0, z * SPACING[0]])]
                segment.ReferencedSegmentNumber = int(number)
                group.PlanePositionSequence = [place]
                if number:
                    group.SegmentIdentificationSequence = [segment]
                groups.append(group)
                frames.append(drawn)
    ds.PerFrameFunctionalGroupsSequence, ds.NumberOfFrames = groups, len(frames)
    ds.Rows, ds.Columns = labels.shape[1:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.SegmentationType = "LABELMAP" if kind == LABEL_MAP else "BINARY"
    bits = 8 if kind == LABEL_MAP else 1
    ds.BitsAllocated = ds.BitsStored = bits
    ds.HighBit = bits - 1
    stacked = np.stack(frames).astype(np.uint8)
    data = stacked.tobytes() if bits == 8 else np.packbits(stacked.ravel(), bitorder="little").tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OB"
    for key, value in extra.items():
        setattr(ds, key, value)
    return _bytes(ds, kind)


def _rtstruct(contours: list[tuple[int, list[tuple[float, float, float]]]], geometry: str = "CLOSED_PLANAR") -> bytes:
    """Contours of (ROI number, points in LPS)."""
    ds = Dataset()
    rois: dict[int, Dataset] = {}
    for number, points in contours:
        roi = rois.setdefault(number, Dataset())
        contour = Dataset()
        contour.ContourGeometricType, contour.NumberOfContourPoints = geometry, len(points)
        contour.ContourData = [f"{v:g}" for p in points for v in p]
        roi.ReferencedROINumber = number
        roi.ContourSequence = [*roi.get("ContourSequence", []), contour]
    ds.ROIContourSequence = list(rois.values())
    return _bytes(ds, STRUCTURE_SET)


def _square(z: float, low: float, high: float) -> list[tuple[float, float, float]]:
    """A square in slice z, corners in (column, row) indices."""
    corners = ((low, low), (high, low), (high, high), (low, high))
    return [(ORIGIN[0] + c * SPACING[2], ORIGIN[1] + r * SPACING[1], ORIGIN[2] + z * SPACING[0]) for c, r in corners]


@pytest.mark.parametrize("kind", [SEGMENTATION, LABEL_MAP])
def test_segments_come_back_on_any_layout_of_the_grid(kind: str) -> None:
    data, labels = _seg(_labels(), kind=kind), _labels()
    np.testing.assert_array_equal(decode_mask(data, name="m", grid=_grid())[0], labels)
    np.testing.assert_array_equal(decode_mask(data, name="m", grid=_grid("LPS"))[0], labels.transpose(2, 1, 0))


@pytest.mark.parametrize(
    ("data", "grid", "code"),
    [
        (_seg(_labels(), shift=0.2), _grid(), "grid"),
        (_seg(_labels()), _grid(shape=(3, 7, 9)), "grid"),
        (_seg(_labels()), _grid(shape=(6, 5, 9)), "grid"),
        (_seg(_labels()), None, "grid"),
        (_seg(_labels(), SegmentationType="FRACTIONAL"), _grid(), "not_mask"),
        (_rtstruct([(1, _square(2.4, 1, 4))]), _grid(), "grid"),
        (_rtstruct([(1, _square(9, 1, 4))]), _grid(), "grid"),
        (_rtstruct([(300, _square(2, 1, 4))]), _grid(), "not_mask"),
        (_rtstruct([(1, _square(2, 0.5, 4.5)), (2, _square(2, 3.5, 6.5))]), _grid(), "not_mask"),
        (_seg(_labels())[:600], _grid(), "unreadable"),
    ],
)
def test_what_does_not_fit_is_refused(data: bytes, grid: Grid | None, code: str) -> None:
    with pytest.raises(ImageError) as refused:
        decode_mask(data, name="m", grid=grid)
    assert refused.value.code == code


def test_contours_fill_the_voxels_whose_centres_they_enclose() -> None:
    data = _rtstruct([(1, _square(2, 0.5, 5.5)), (1, _square(2, 1.5, 3.5)), (4, _square(0, 0.5, 1.5))])
    labels, _ = decode_mask(data, name="m", grid=_grid())
    expected = np.zeros((6, 7, 9), np.uint8)
    expected[2, 1:6, 1:6] = 1
    expected[2, 2:4, 2:4] = 0  # a hole
    expected[0, 1, 1] = 4
    np.testing.assert_array_equal(labels, expected)
    points = _rtstruct([(1, _square(2, 0.5, 5.5))], geometry="POINT")
    assert not decode_mask(points, name="m", grid=_grid())[0].any()


def test_a_polygon_covers_what_a_plain_test_of_every_centre_says() -> None:
    rng = np.random.default_rng(3)
    turns = np.sort(rng.uniform(0, 2 * np.pi, 17))
    polygon = np.c_[15 + rng.uniform(5, 14, 17) * np.cos(turns), 14 + rng.uniform(5, 13, 17) * np.sin(turns)]
    found = inside(polygon, (31, 29))
    for r in range(31):
        for c in range(29):
            crossings = 0
            for (y0, x0), (y1, x1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
                if (y0 <= r) != (y1 <= r):
                    crossings += x0 + (r - y0) / (y1 - y0) * (x1 - x0) < c
            assert found[r, c] == bool(crossings % 2)

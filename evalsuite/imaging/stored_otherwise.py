"""The same volume stored in another way: axes turned with their affine, a header in metres, NIfTI or DICOM files.

Nothing of the patient's changes, so nothing of a device's answer may. Files are written and read again by the readers
of this suite, in a folder of their own that is removed at once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evalsuite.errors import ImageError
from evalsuite.imaging.grid import Grid, Turn, as_affine, spacing_of
from evalsuite.imaging.image import Image, ImageSpec

WAYS = ("axes", "units", "nifti", "dicom")
_TURN = Turn(order=(2, 0, 1), reverse=(True, False, True))
_CODE = "storage"
_CLOSE = 1e-3  # of a voxel


def stored_otherwise(image: Image, way: str, *, spec: ImageSpec, folder: Path) -> Image:
    """The volume as it is read where it is stored in this way (`WAYS`).

    Raises
    ------
    ImageError
        Where that cannot be: no volume with a place in the patient; for DICOM, values that are no whole numbers of
        16 bits, or several channels.
    """
    if image.affine is None or image.array.ndim != 4:
        raise ImageError("an image without a place in the patient is not stored otherwise", code=_CODE)
    if way == "axes":
        return _turned(image)
    from evalsuite.imaging import read_files

    with tempfile.TemporaryDirectory(dir=folder) as made:
        paths = _series(image, Path(made)) if way == "dicom" else [_nifti(image, Path(made), metres=way == "units")]
        return read_files(paths, spec=spec, name="the volume stored otherwise")


def onto(labels: NDArray[np.uint8], made: Grid, wanted: Grid) -> NDArray[np.uint8]:
    """Labels on the same voxels in another order of axes, as `wanted` has them; nothing is interpolated.

    Raises
    ------
    ImageError
        Where the two grids are not the same voxels.
    """
    if made.shape == wanted.shape and made.affine == wanted.affine:
        return labels
    if made.affine is None or wanted.affine is None:
        raise ImageError("the mask lies on another grid than the unchanged image", code="grid")
    step = np.linalg.inv(np.asarray(wanted.affine)) @ np.asarray(made.affine)
    whole = np.rint(step[:3, :3])
    order = tuple(int(np.argmax(np.abs(row))) for row in whole)
    signs = np.abs(whole).sum(axis=0).tolist() == [1.0] * 3 and np.abs(whole).sum(axis=1).tolist() == [1.0] * 3
    if not signs or tuple(made.shape[o] for o in order) != wanted.shape:
        raise ImageError("the mask lies on another grid than the unchanged image", code="grid")
    reverse = tuple(bool(whole[i, o] < 0) for i, o in enumerate(order))
    corner = np.array([wanted.shape[i] - 1 if r else 0 for i, r in enumerate(reverse)], dtype=float)
    far = np.array([s - 1 for s in made.shape], dtype=float)
    drift = np.abs((step[:3, :3] - whole) @ far).max() + np.abs(step[:3, 3] - corner).max()
    if drift > _CLOSE * max(1.0, far.max()):
        raise ImageError("the mask lies on another grid than the unchanged image", code="grid")
    return np.ascontiguousarray(Turn(order=order, reverse=reverse).apply(labels)).astype(np.uint8, copy=False)


def _turned(image: Image) -> Image:
    """Axes in another order, two of them reversed, and the affine that says so."""
    affine = np.asarray(image.affine, dtype=np.float64)
    made, shape = affine.copy(), image.array.shape[1:]
    for new, (old, back) in enumerate(zip(_TURN.order, _TURN.reverse, strict=True)):
        made[:3, new] = -affine[:3, old] if back else affine[:3, old]
        if back:
            made[:3, 3] += affine[:3, old] * (shape[old] - 1)
    spacing = None if image.spacing_mm is None else _TURN.of(image.spacing_mm)
    turned = np.ascontiguousarray(_TURN.apply(image.array))
    return replace(image, array=turned, affine=as_affine(made), spacing_mm=spacing)


def _nifti(image: Image, folder: Path, *, metres: bool) -> Path:
    import nibabel

    scale = 1e-3 if metres else 1.0
    affine = np.asarray(image.affine, dtype=np.float64)
    affine = np.vstack([affine[:3] * scale, [0.0, 0.0, 0.0, 1.0]])
    array = image.array[0] if len(image.array) == 1 else np.moveaxis(image.array, 0, -1)
    known = array if array.dtype in (np.uint8, np.int16, np.uint16, np.float32) else array.astype(np.float32)
    made = nibabel.Nifti1Image(np.asarray(known), affine)
    made.header.set_xyzt_units(xyz="meter" if metres else "mm")
    path = folder / "volume.nii"
    nibabel.save(made, path)
    return path


def _series(image: Image, folder: Path) -> list[Path]:
    """One DICOM file per slice along the coarsest axis, signed 16-bit values, no window."""
    from pydicom.uid import generate_uid

    if len(image.array) != 1:
        raise ImageError("a volume of several channels is no DICOM series", code=_CODE)
    values = image.array[0].astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(values).all() and (values == np.rint(values)).all() and low >= -32768 and high <= 32767):
        raise ImageError("values that are no whole numbers of 16 bits would be rounded in DICOM", code=_CODE)
    affine = np.asarray(image.affine, dtype=np.float64)
    spacing = spacing_of(affine)
    across = max(range(3), key=lambda a: (round(spacing[a], 6), -values.shape[a], -a))
    rows, columns = (a for a in range(3) if a != across)
    planes = values.transpose(across, rows, columns).astype(np.int16)
    uids = [str(generate_uid()) for _ in range(3)]
    return [
        _slice(plane, folder / f"{k:05d}.dcm", k, affine, (across, rows, columns), spacing, uids)
        for k, plane in enumerate(planes)
    ]


def _slice(
    plane: NDArray[np.int16],
    path: Path,
    k: int,
    affine: NDArray[np.float64],
    axes: tuple[int, int, int],
    spacing: Sequence[float],
    uids: Sequence[str],
) -> Path:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    across, rows, columns = axes
    to_lps = np.array([-1.0, -1.0, 1.0])

    def decimals(values: Sequence[float]) -> list[str]:
        return [f"{v:.10g}"[:16] for v in values]

    along = [affine[:3, a] / spacing[a] * to_lps for a in (columns, rows)]
    d = Dataset()
    d.SOPClassUID, d.SOPInstanceUID = MRImageStorage, generate_uid()
    d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = uids
    d.Modality, d.InstanceNumber = "MR", k + 1
    d.ImagePositionPatient = decimals((affine[:3, 3] + k * affine[:3, across]) * to_lps)
    d.ImageOrientationPatient = decimals([*along[0], *along[1]])
    d.PixelSpacing = decimals([spacing[rows], spacing[columns]])
    d.SliceThickness = decimals([spacing[across]])[0]
    d.Rows, d.Columns = plane.shape
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 16, 15, 1
    d.RescaleIntercept, d.RescaleSlope = "0", "1"
    d.PixelData = np.ascontiguousarray(plane).astype("<i2").tobytes()
    d.file_meta = FileMetaDataset()
    d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID
    d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.save_as(path, enforce_file_format=True)
    return path

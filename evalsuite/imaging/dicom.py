"""DICOM images: stored values become what they measure, larger is brighter, colours are red, green, blue.

Order of steps (PS3.3 C.11 and C.7.6.3): stored values, Modality LUT or rescale, then a window only when asked for.
MONOCHROME1 is inverted, so that in every returned image a larger value is displayed brighter: about the middle of the
stored range, or of 0..1 where a window was applied. Palettes and YBR colours are converted to RGB.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, convert_color_space

from evalsuite.errors import ImageError
from evalsuite.imaging.attributes import FORBIDDEN_ATTRIBUTES, STANDARD_ATTRIBUTES, is_dicom, read_attributes
from evalsuite.imaging.dicom_pixels import stored_values
from evalsuite.imaging.dicom_window import apply_window
from evalsuite.imaging.image import Image, Window
from evalsuite.imaging.quiet import counted_warnings

__all__ = [
    "FORBIDDEN_ATTRIBUTES",
    "STANDARD_ATTRIBUTES",
    "decode",
    "frame_image",
    "functional",
    "guarded",
    "is_dicom",
    "open_dataset",
    "read_attributes",
]

_GREY = {"MONOCHROME1", "MONOCHROME2"}
_COLOUR = {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"}
_NO_IMAGE = {"SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "SR", "KO", "PR", "REG", "DOC", "AU", "ECG"}


def decode(data: bytes, *, name: str, frame: int | None = None, window: Window = None) -> Image:
    """Decode one DICOM file held in memory. See `evalsuite.imaging.read_image`."""

    def one() -> Image:
        dataset = open_dataset(data, name)
        return frame_image(dataset, _frame_index(dataset, frame, name), window, name)

    return guarded(one, name)


def guarded(make: Callable[[], Image], name: str) -> Image:
    """What `make` returns; any error of a DICOM library becomes an `ImageError` that names the file and no value."""
    with counted_warnings() as n_warnings:
        try:
            image = make()
        except ImageError:
            raise
        except Exception:  # damaged files raise a dozen types, and their messages quote the header
            raise ImageError(f"{name} cannot be decoded: damaged or inconsistent DICOM") from None
    if not n_warnings[0]:
        return image
    note = "the DICOM reader found values that do not follow the standard"
    return replace(image, notes=(*image.notes, note))


def open_dataset(data: bytes, name: str) -> Dataset:
    """A parsed DICOM file that is an image with pixels.

    Raises
    ------
    ImageError
        code not_image, truncated or empty. What pydicom raises on damaged files comes as it is: see `guarded`.
    """
    dataset = dcmread(io.BytesIO(data))
    if str(dataset.get("Modality", "")) in _NO_IMAGE or "SegmentSequence" in dataset:
        raise ImageError(f"{name} is a DICOM object of another kind, not an image", code="not_image")
    if not dataset.get("PixelData"):
        truncated = "PixelData" not in dataset and "Rows" in dataset
        code = "truncated" if truncated else "empty"
        raise ImageError(f"{name} has no pixel data{' (cut off?)' if truncated else ''}", code=code)
    return dataset


def frame_image(dataset: Dataset, index: int, window: Window, name: str) -> Image:
    """One frame of an open file, as `evalsuite.imaging.read_image` returns it; raises as `open_dataset`."""
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    samples = int(dataset.get("SamplesPerPixel", 1))
    if photometric not in _GREY | _COLOUR | {"PALETTE COLOR"}:
        raise ImageError(f"{name} has a photometric interpretation that is not supported", code="photometric")
    if samples != (3 if photometric in _COLOUR else 1):
        raise ImageError(
            f"{name} has {samples} samples per pixel, unlike its photometric interpretation", code="channels"
        )
    values, decoded_as = stored_values(dataset, frame=index, name=name)
    notes = ("overlay planes are present and not drawn",) if (0x6000, 0x3000) in dataset else ()
    if photometric in _GREY:
        array, full, kind = _grey(values, dataset, index, window, name)
    else:
        if window not in (None, "none"):
            raise ImageError(f"{name} is a colour image and has no window", code="window", hint="Set window: none.")
        array, full, kind = _colour(values, decoded_as, dataset), None, "dicom"
    if array.dtype in (np.uint8, np.uint16) and full is None and photometric not in _GREY:
        bits = int(dataset.get("BitsStored", 8)) if photometric != "PALETTE COLOR" else array.dtype.itemsize * 8
        full = (0.0, float((1 << bits) - 1))
    return Image(
        array=np.ascontiguousarray(array),
        full_range=full,
        kind="windowed" if kind == "windowed" else "dicom",
        spacing_mm=_spacing(dataset, index),
        photometric=photometric,
        attributes={
            "photometric": photometric,
            "bits": str(dataset.get("BitsStored", "")),
            "transfer_syntax": dataset.file_meta.TransferSyntaxUID.name,
        },
        notes=notes,
    )


def _frame_index(dataset: Dataset, frame: int | None, name: str) -> int:
    n_frames = int(dataset.get("NumberOfFrames") or 1)
    if n_frames > 1 and frame is None:
        raise ImageError(
            f"{name} holds {n_frames} frames", code="multiframe", hint="Name one in the model's contract: frame: 0"
        )
    if frame is not None and not 0 <= frame < n_frames:
        raise ImageError(f"{name} has no frame {frame}: it holds {n_frames}", code="multiframe")
    return frame or 0


def _colour(values: NDArray[np.generic], decoded_as: str, dataset: Dataset) -> NDArray[np.generic]:
    if decoded_as == "PALETTE COLOR":
        values = apply_color_lut(values, dataset)[..., :3]
    elif decoded_as in ("YBR_FULL", "YBR_FULL_422"):
        values = convert_color_space(np.array(values), decoded_as, "RGB")
    return values.transpose(2, 0, 1)


def _grey(
    values: NDArray[Any], dataset: Dataset, frame: int, window: Window, name: str
) -> tuple[NDArray[np.generic], tuple[float, float] | None, str]:
    inverted = str(dataset.PhotometricInterpretation) == "MONOCHROME1"
    bits, signed = int(dataset.get("BitsStored", 16)), values.dtype.kind == "i"
    rescale = functional(dataset, frame, "PixelValueTransformationSequence", "RescaleSlope") or dataset
    slope, intercept = _number(rescale, "RescaleSlope", 1.0), _number(rescale, "RescaleIntercept", 0.0)
    has_lut = bool(dataset.get("ModalityLUTSequence"))
    identity = not has_lut and slope == 1.0 and intercept == 0.0
    if window not in (None, "none"):
        measured = _measured(values, dataset, slope, intercept, has_lut)
        voi = functional(dataset, frame, "FrameVOILUTSequence", "WindowCenter") or dataset
        shown = apply_window(measured, voi, window, name=name)
        return (np.float32(1.0) - shown if inverted else shown)[np.newaxis], (0.0, 1.0), "windowed"
    if has_lut:
        measured = _measured(values, dataset, slope, intercept, has_lut)
        if inverted:
            top = (1 << int(dataset.ModalityLUTSequence[0].LUTDescriptor[2])) - 1
            measured = np.float32(top) - measured
        return measured[np.newaxis], None, "dicom"
    if inverted:
        # lowest + highest stored value - x, which is also the reflection after a linear rescale
        values = np.invert(values) if signed else values.dtype.type((1 << bits) - 1) - values
    if identity:
        return values[np.newaxis], None if signed else (0.0, float((1 << bits) - 1)), "dicom"
    return _measured(values, dataset, slope, intercept, has_lut)[np.newaxis], None, "dicom"


def _measured(
    values: NDArray[np.generic], dataset: Dataset, slope: float, intercept: float, has_lut: bool
) -> NDArray[np.float32]:
    if has_lut:
        return np.asarray(apply_modality_lut(values, dataset), dtype=np.float32)
    return (values.astype(np.float64) * slope + intercept).astype(np.float32)


def functional(dataset: Dataset, frame: int, sequence: str, keyword: str) -> Dataset | None:
    """The item of a functional group that holds `keyword`: the frame's own, else the one shared by all frames."""
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    candidates = [groups[frame]] if frame < len(groups) else []
    candidates += list(dataset.get("SharedFunctionalGroupsSequence") or [])[:1]
    for group in candidates:
        items = group.get(sequence) or []
        if len(items) and keyword in items[0]:
            return items[0]  # type: ignore[no-any-return]
    return None


def _number(dataset: Dataset, keyword: str, default: float) -> float:
    value: Any = dataset.get(keyword)
    return default if value in (None, "") else float(value)


def _spacing(dataset: Dataset, frame: int) -> tuple[float, ...] | None:
    item = functional(dataset, frame, "PixelMeasuresSequence", "PixelSpacing") or dataset
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        value = item.get(keyword)
        if value is not None and not isinstance(value, str) and len(value) == 2:
            return tuple(float(v) for v in value)
    return None

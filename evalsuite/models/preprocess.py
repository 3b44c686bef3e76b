"""From a decoded image to the model's input: checked on the host, normalised wherever the batch lies.

The host part keeps integers, so that a batch travels to the device as bytes; the device part is plain arithmetic and
gives equal results on either side. Nothing is resampled, cropped or converted unless the contract says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evalsuite.errors import ImageError
from evalsuite.imaging import Image
from evalsuite.imaging.grid import Turn
from evalsuite.imaging.layout import in_c_order
from evalsuite.models.contract import InputSpec
from evalsuite.models.placing import Placement, as_stored, place

if TYPE_CHECKING:
    import torch

_KEPT = (np.uint8, np.uint16, np.int16)
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601-7, 2.5.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """One image ready for the device: `array` (channel, *spatial), and how a mask of it comes back to its own grid."""

    array: NDArray[np.generic]
    placement: Placement


def prepare(image: Image, spec: InputSpec) -> NDArray[np.generic]:
    """The array of `prepare_image`."""
    return prepare_image(image, spec).array


def prepare_image(image: Image, spec: InputSpec) -> Prepared:
    """Check one image against the contract and lay it out as (channel, *spatial), the host's part of preprocessing.

    Volumes are turned, and resampled and fitted where the contract declares it: see `evalsuite.models.placing`.

    Returns
    -------
    Prepared
        `array` is uint8 or uint16 holding the type's full range where that is what the file has; otherwise float32:
        scaled to 0..1 by the file's own range where `spec.source_range` is None and normalise is linear, else in the
        file's own values. `normalise` tells these apart by type, so batch only arrays of one type together. Signed
        16-bit integers stay as they are where `source_range` or `normalise` says what they mean.

    Raises
    ------
    ImageError
        code channels, size, spacing or orientation where image and contract differ (both are named), range where it is
        unknown what the image's values mean.
    """
    array = _colours(image.array, spec)
    placement = as_stored(image)
    if spec.layout == "volume" and array.ndim == 4:
        array, placement = place(array, image, spec)
    if spec.transpose:
        array = np.swapaxes(array, -1, -2)
        placement = _transposed(placement)
    wanted = spec.spatial
    if spec.resize == "none" and not _fits(array.shape[1:], wanted):
        raise ImageError(
            f"the image is {_size(array.shape[1:])} pixels, the model's contract takes {_size(wanted)}",
            code="size",
            hint="The suite resamples nothing by itself: resize the images, or declare "
            + ("fit in the contract." if spec.is_volume else "resize in the contract."),
        )
    array = _values(array, image, spec)
    if spec.resize != "none":
        array = _resize(array, spec)
        placement = _resized(placement, tuple(array.shape[1:]))
    return Prepared(array=in_c_order(array), placement=placement)


def stand_in(spec: InputSpec) -> NDArray[np.generic]:
    """The image that takes the place of one a case does not have, where the contract declares its value."""
    value = spec.missing_value
    assert value is not None, "only an input with a missing_value has a stand-in"
    shape = tuple(n or 1 for n in spec.shape)
    fits = spec.normalise != "linear" or spec.source_range is not None or value <= 255
    dtype = np.uint8 if fits and 0 <= value <= 255 and value == int(value) else np.float32
    return np.full(shape, value, dtype=dtype)


def _transposed(placement: Placement) -> Placement:
    n = len(placement.size)
    order = (*range(n - 2), n - 1, n - 2)
    size = tuple(placement.size[o] for o in order)
    turn = Turn(order=order, reverse=(False,) * n)
    return replace(
        placement, turn=turn, size=size, resampled=size, final=size, done=(*placement.done, "rows and columns swapped")
    )


def _resized(placement: Placement, size: tuple[int, ...]) -> Placement:
    """OpenCV keeps the outer edges in place, so a stored pixel's nearest one of the resized image is by its centre."""
    if size == placement.size:
        return placement
    steps = tuple(have / got for have, got in zip(placement.size, size, strict=True))
    text = f"resized from {_size(placement.size)} to {_size(size)}"
    return replace(placement, steps=steps, resampled=size, final=size, edges=True, done=(*placement.done, text))


def _fits(size: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(size) == len(wanted) and all(n is None or n == m for n, m in zip(wanted, size, strict=True))


def _size(shape: tuple[int | None, ...]) -> str:
    return " × ".join("any" if n is None else str(n) for n in shape)


def _colours(array: NDArray[np.generic], spec: InputSpec) -> NDArray[np.generic]:
    n = array.shape[0]
    wanted = {"RGB": 3, "L": 1, "any": spec.channels}[spec.colour]
    if n == 1 and wanted == 3 and spec.convert_colour == "replicate":
        return np.repeat(array, 3, axis=0)
    if n == 3 and wanted == 1 and spec.convert_colour == "luma":
        grey = np.tensordot(_LUMA, array.astype(np.float32), axes=1)[np.newaxis]
        return np.rint(grey).astype(array.dtype) if array.dtype.kind == "u" else grey
    if wanted is not None and n != wanted:
        raise ImageError(
            f"the image has {n} channel{'s' * (n != 1)}, the model's contract takes {wanted} ({spec.colour})",
            code="channels",
            hint="Convert the images, or declare convert_colour in the contract.",
        )
    return array


def _values(array: NDArray[np.generic], image: Image, spec: InputSpec) -> NDArray[np.generic]:
    if spec.normalise != "linear":
        return array if array.dtype in _KEPT else array.astype(np.float32)
    full = image.full_range
    if spec.source_range is None:
        if full is None:
            raise ImageError(
                "the image's values have no natural range (rescaled or signed DICOM)",
                code="range",
                hint="Declare source_range or window in the model's contract.",
            )
        if array.dtype in (np.uint8, np.uint16) and full == (0.0, 65535.0 if array.dtype == np.uint16 else 255.0):
            return array
        low, high = full
        return (array.astype(np.float32) - np.float32(low)) / np.float32(high - low)
    if image.kind == "raster" and full is not None and not spec.clip:
        low, high = spec.source_range
        # A 16-bit file for an 8-bit contract, or the reverse, would reach the model far too bright or nearly black.
        if (full[1] == 255 and high > 255) or (full[1] > 255 and (high <= 255 or int(array.max()) > high)):
            raise ImageError(
                f"the image stores 0 to {full[1]:g}, the model's contract maps {low:g} to {high:g}", code="range"
            )
    return array if array.dtype in _KEPT else array.astype(np.float32)


def _resize(array: NDArray[np.generic], spec: InputSpec) -> NDArray[np.generic]:
    import cv2

    rows, columns = (n for n in spec.spatial if n is not None)
    if array.shape[1:] == (rows, columns):
        return array
    if array.dtype in (np.uint8, np.uint16) and spec.source_range is None and spec.normalise == "linear":
        array = array.astype(np.float32) / np.float32(65535 if array.dtype == np.uint16 else 255)
    how = {"bilinear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA}[spec.resize]
    planes = [cv2.resize(p.astype(np.float32), (columns, rows), interpolation=how) for p in array]
    return np.stack(planes)


def normalise(batch: torch.Tensor, spec: InputSpec) -> torch.Tensor:
    """The device's part: a batch (n, channel, *spatial) from `prepare`, all of one type, becomes float32 model input.

    Integer batches are mapped from `spec.source_range`, or from their type's full range; float batches from
    `spec.source_range`, or from 0..1.
    """
    import torch

    x = batch.to(torch.float32)
    low, high = spec.value_range
    each = tuple(range(1, x.ndim))
    if spec.normalise == "linear":
        a, b = spec.source_range or (0.0, _full(batch.dtype))
        # the order of operations of MONAI's ScaleIntensityRange, so that bundles get the same bits
        x = (x - a) / (b - a)
        x = x * (high - low) + low
        if spec.clip:
            x = x.clamp(low, high)
    elif spec.normalise == "minmax":
        least, most = x.amin(dim=each, keepdim=True), x.amax(dim=each, keepdim=True)
        spread = torch.where(most > least, most - least, torch.ones_like(most))
        x = (x - least) / spread * (high - low) + low
    elif spec.normalise == "zscore":
        mean = x.mean(dim=each, keepdim=True)
        deviation = x.std(dim=each, keepdim=True, unbiased=False)
        x = (x - mean) / torch.where(deviation > 0, deviation, torch.ones_like(deviation))
    if spec.mean is not None:
        x = x - _per_channel(spec.mean, x)
    if spec.std is not None:
        x = x / _per_channel(spec.std, x)
    return x


def _full(dtype: torch.dtype) -> float:
    import torch

    return float(torch.iinfo(dtype).max) if not dtype.is_floating_point else 1.0


def _per_channel(values: tuple[float, ...], like: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.tensor(values, dtype=torch.float32, device=like.device).reshape(1, -1, *([1] * (like.ndim - 2)))

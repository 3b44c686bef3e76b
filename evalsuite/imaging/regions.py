"""Parts of an image that are taken out or put in: where they lie, what fills them, and another place of equal size.

A part that is taken out is filled with values interpolated from all around it, so that no edge of its own is left. The
fill is smooth where the image is noisy: that another place was filled in the same way is what a change is held against.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from evalsuite.errors import ImageError

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
#: Codes of an image that cannot be changed in the way asked for; none of them is a failure of a device.
NOT_PLANE, NOTHING_LEFT, OTHER_SIZE = "not a plane image", "nothing left", "mask of another size"
TOO_SMALL, NO_PICTURE = "place too small", "picture unreadable"
_TRIES = 200
_WHITE = 0.97


def border(shape: tuple[int, ...], share: float) -> Bools:
    """(rows, columns) bool: a frame as wide as this share of the shorter side, at least one pixel."""
    rows, columns = _plane(shape)
    wide = max(1, round(share * min(rows, columns)))
    mask = np.ones((rows, columns), dtype=bool)
    mask[wide : rows - wide, wide : columns - wide] = False
    return mask


def rectangle(shape: tuple[int, ...], *, top: float, left: float, bottom: float, right: float) -> Bools:
    """(rows, columns) bool: a rectangle whose sides are shares of the image's, at least one pixel each way."""
    rows, columns = _plane(shape)
    y0, x0 = min(round(top * rows), rows - 1), min(round(left * columns), columns - 1)
    mask = np.zeros((rows, columns), dtype=bool)
    mask[y0 : max(round(bottom * rows), y0 + 1), x0 : max(round(right * columns), x0 + 1)] = True
    return mask


def _plane(shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) != 2:
        raise ImageError("a region of this kind is of a plane image", code=NOT_PLANE)
    return shape[0], shape[1]


def elsewhere(mask: Bools, rng: np.random.Generator, *, same_shape: bool = False) -> Bools | None:
    """The same shape moved to a random place where it lies wholly inside and shares nothing with itself.

    A shape that cannot be moved (a frame) becomes a block of nearly its size, if one fits beside it and `same_shape` is
    not asked for. None where there is no room.
    """
    for shape in (mask,) if same_shape or not mask.any() else (mask, _block(mask)):
        moved = _moved(shape, mask, rng)
        if moved is not None:
            return moved
    return None


def _moved(shape: Bools, apart_from: Bools, rng: np.random.Generator) -> Bools | None:
    found = np.nonzero(shape)
    if not len(found[0]):
        return None
    low = np.array([axis.min() for axis in found])
    room = np.array(shape.shape) - (np.array([axis.max() for axis in found]) - low)
    for _ in range(_TRIES):
        shift = rng.integers(0, room) - low
        place = tuple(axis + s for axis, s in zip(found, shift, strict=True))
        if not apart_from[place].any():
            moved = np.zeros_like(shape)
            moved[place] = True
            return moved
    return None


def _block(mask: Bools) -> Bools:
    """A block in the corner of the image with the sides' proportions and about as many pixels as the mask."""
    share = float(mask.mean()) ** (1.0 / mask.ndim)
    block = np.zeros_like(mask)
    block[tuple(slice(0, max(1, round(share * side))) for side in mask.shape)] = True
    return block


def filled(array: Floats, mask: Bools, how: str) -> Floats:
    """The array (channel, *spatial) with what the mask (*spatial) marks replaced.

    `surroundings`: interpolated from all around (pull and push: means over ever larger blocks fill what no smaller one
    reaches). `median`: of each channel, over what lies around the region within a tenth of the image or three pixels.

    Raises
    ------
    ImageError
        If nothing of the image is left.
    """
    if mask.all():
        raise ImageError("the region is the whole image", code=NOTHING_LEFT)
    made = array.copy()
    for channel, values in enumerate(array):
        if how == "median":
            made[channel][mask] = np.median(values[_around(mask)])
        else:
            made[channel] = np.where(mask, _interpolated(np.where(mask, 0.0, values), (~mask).astype(float)), values)
    return made


def _around(mask: Bools) -> Bools:
    """The mask's bounding box enlarged by a tenth of each side, at least three pixels, less the mask itself."""
    near = np.zeros_like(mask)
    sides = []
    for axis, side in zip(np.nonzero(mask), mask.shape, strict=True):
        wide = max(3, side // 10)
        sides.append(slice(max(0, int(axis.min()) - wide), int(axis.max()) + 1 + wide))
    near[tuple(sides)] = True
    near &= ~mask
    return near if near.any() else ~mask


def _interpolated(values: Floats, weight: Floats) -> Floats:
    """Values where the weight is above 0, else what blocks of twice the size give, interpolated linearly.

    Gortler et al., The lumigraph, SIGGRAPH 1996, section 3.4.2 (pull-push).
    """
    if (weight > 0.0).all() or max(values.shape) == 1:
        return values
    pad = [(0, side % 2) for side in values.shape]
    total, count = np.pad(values * weight, pad), np.pad(weight, pad)
    for axis in range(values.ndim):
        total, count = _pairs(total, axis), _pairs(count, axis)
    coarse = np.divide(total, count, out=np.zeros_like(total), where=count > 0.0)
    up = _interpolated(coarse, np.minimum(count, 1.0))
    for axis, side in enumerate(values.shape):
        up = _doubled(up, axis, side)
    return np.where(weight > 0.0, values, up)


def _pairs(array: Floats, axis: int) -> Floats:
    even = [slice(None)] * array.ndim
    odd = list(even)
    even[axis], odd[axis] = slice(0, None, 2), slice(1, None, 2)
    if array.shape[axis] == 1:
        return array
    total: Floats = array[tuple(even)] + array[tuple(odd)]
    return total


def _doubled(array: Floats, axis: int, side: int) -> Floats:
    """Twice as many values along an axis, linear between the centres of blocks."""
    if side == 1:
        return array
    n = array.shape[axis]
    at = np.clip((np.arange(side) - 0.5) / 2.0, 0.0, n - 1.0)
    low = np.floor(at).astype(np.intp)
    high = np.minimum(low + 1, n - 1)
    part = (at - low).reshape([-1 if i == axis else 1 for i in range(array.ndim)])
    made: Floats = np.take(array, low, axis=axis) * (1.0 - part) + np.take(array, high, axis=axis) * part
    return made


def drawn_text(text: str, height: int, width: int) -> Floats:
    """(height, width) with the strokes of the text at white and NaN elsewhere; as large as fits.

    Raises
    ------
    ImageError
        If the place is too small for letters.
    """
    font, thick = cv2.FONT_HERSHEY_SIMPLEX, 1
    (w, h), base = cv2.getTextSize(text, font, 1.0, thick)
    scale = min((width - 2) / w, (height - 2) / (h + base))
    if scale < 0.2:
        raise ImageError("the place is too small for the text", code=TOO_SMALL)
    thick = max(1, round(2 * scale))
    canvas = np.zeros((height, width), dtype=np.uint8)
    (_, h), base = cv2.getTextSize(text, font, scale, thick)
    cv2.putText(canvas, text, (1, min(height - 1, h + 1)), font, scale, 255, thick)
    return np.where(canvas > 127, _WHITE, np.nan)


def picture(png: bytes, height: int, width: int) -> Floats:
    """(height, width) from 0 to 1: a PNG in grey, scaled to the place. ImageError where it cannot be read."""
    grey = cv2.imdecode(np.frombuffer(png, dtype=np.uint8), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise ImageError("the picture to insert cannot be read", code=NO_PICTURE)
    shrinks = grey.shape[0] > height or grey.shape[1] > width
    sized = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST)
    return np.asarray(sized, dtype=np.float64) / 255.0


def pasted(array: Floats, mask: Bools, patch: Floats, *, black: float, span: float) -> Floats:
    """The array (channel, rows, columns) with the patch in the rectangle that the mask marks; NaN leaves what is there.

    The patch is the rectangle's size; its 0 is `black`, its 1 `black + span`, the same in every channel.
    """
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    made = array.copy()
    area = made[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    area[...] = np.where(np.isnan(patch), area, black + span * patch)
    return made


def scrambled(patch: Floats, rng: np.random.Generator) -> Floats:
    """The same values in random order: as bright and as large, and without its shape."""
    made: Floats = rng.permutation(patch.ravel()).reshape(patch.shape)
    return made

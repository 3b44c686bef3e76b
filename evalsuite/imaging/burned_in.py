"""Text drawn into the pixels: letters are small strokes of one brightness that stand in a row."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_LARGEST = 1200
_FEWEST_LETTERS = 5
_FEWEST_PIXELS = 10  # of a letter
_STROKES = (5, 13)  # widest stroke in pixels, for small and for large letters
_MORE_LETTERS = 3
_CONTRAST = 50
_ONE_BRIGHTNESS = 55.0  # standard deviation inside a stroke; smooth edges included


def text_lines(grey: NDArray[np.uint8]) -> int:
    """How many rows of text-like strokes an image shows. It finds printed letters, not handwriting; no word is read.

    Strokes are what a small opening removes (bright on dark) or a small closing fills (dark on bright). A stroke is
    like a letter if it is small, neither a dot nor a line, and of nearly one brightness; at least five of about the
    same height, on one line and close together, are a row of text.

    Parameters
    ----------
    grey
        (rows, columns) uint8, larger is brighter.
    """
    return len(_rows(grey)[0])


def text_mask(grey: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where an image shows rows of text-like strokes: each row's rectangle and half a letter's height around it.

    Finds what `text_lines` counts, and strokes that go on at either end of a row by up to three letters, which need not
    look like letters themselves; all False where it finds none.

    Parameters
    ----------
    grey
        (rows, columns) uint8, larger is brighter.
    """
    mask = np.zeros(grey.shape, dtype=bool)
    rows, strokes, scale = _rows(grey)
    for boxes in rows:
        height = float(np.median(boxes[:, 3]))
        top, bottom = (boxes[:, 1] - boxes[:, 3] / 2).min(), (boxes[:, 1] + boxes[:, 3] / 2).max() + 1
        left, right = (boxes[:, 0] - boxes[:, 2] / 2).min(), (boxes[:, 0] + boxes[:, 2] / 2).max() + 1
        written = np.flatnonzero(strokes[max(0, round(top)) : round(bottom)].any(axis=0))
        right = _going_on(written, right, height)
        left = -_going_on(-written[::-1], -left, height)
        sides = (top - height / 2, bottom + height / 2, left - height / 2, right + height / 2)
        y0, y1, x0, x1 = (max(0, round(float(v) / scale)) for v in sides)
        mask[y0:y1, x0:x1] = True
    return mask


def _going_on(written: NDArray[np.intp], end: float, height: float) -> float:
    """How far the columns with strokes go on beyond the end of a row without a gap of a letter's height."""
    last = end
    for column in written[(written > end) & (written < end + _MORE_LETTERS * height)]:
        if column - last > height:
            break
        last = float(column)
    return last


def _rows(grey: NDArray[np.uint8]) -> tuple[list[NDArray[np.float64]], NDArray[np.bool_], float]:
    """Rows of text, each (letters, 4) with centre x, centre y, width and height; all strokes; the scale of both."""
    scale = min(1.0, _LARGEST / max(grey.shape))
    if scale < 1:
        grey = np.asarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    if min(grey.shape) < 24:
        return [], np.zeros(grey.shape, dtype=bool), scale
    found = [_rows_of(grey, bright=b, widest=w) for b in (True, False) for w in _STROKES]
    rows, strokes = max(found, key=lambda each: len(each[0]))
    return rows, strokes > 0, scale


def _rows_of(
    grey: NDArray[np.uint8], *, bright: bool, widest: int
) -> tuple[list[NDArray[np.float64]], NDArray[np.uint8]]:
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (widest, widest))
    operation = cv2.MORPH_TOPHAT if bright else cv2.MORPH_BLACKHAT
    strokes = cv2.morphologyEx(grey, operation, kernel)
    mask = (strokes > _CONTRAST).astype(np.uint8)
    if np.count_nonzero(mask) < _FEWEST_LETTERS * _FEWEST_PIXELS:
        return [], mask  # most images are, and finding the components takes most of the time
    n, labels, stats, centres = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if n - 1 < _FEWEST_LETTERS:
        return [], mask
    width, height, area = (
        stats[1:, i].astype(np.float64) for i in (cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT, cv2.CC_STAT_AREA)
    )
    fill = area / (width * height)
    like = (height >= 6) & (height <= 60) & (width >= 2) & (width <= 1.6 * height) & (fill > 0.15) & (fill < 0.9)
    like &= area >= _FEWEST_PIXELS
    chosen = np.flatnonzero(like)
    if len(chosen) < _FEWEST_LETTERS or len(chosen) > 20_000:
        return [], mask
    even = _of_one_brightness(grey, labels, chosen + 1)
    chosen = chosen[even]
    if len(chosen) < _FEWEST_LETTERS:
        return [], mask
    boxes = np.stack([centres[1:][chosen, 0], centres[1:][chosen, 1], width[chosen], height[chosen]], axis=1)
    return _lines(boxes), mask


def _of_one_brightness(
    grey: NDArray[np.uint8], labels: NDArray[np.int32], wanted: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Which components have nearly one brightness: printed strokes do, vessels and hairs do not."""
    flat, values = labels.ravel(), grey.ravel().astype(np.float64)
    size = np.bincount(flat, minlength=int(flat.max()) + 1).astype(np.float64)
    mean = np.bincount(flat, weights=values, minlength=len(size)) / np.maximum(size, 1)
    square = np.bincount(flat, weights=values * values, minlength=len(size)) / np.maximum(size, 1)
    spread = np.sqrt(np.maximum(square - mean * mean, 0))
    return np.asarray(spread[wanted] < _ONE_BRIGHTNESS)


def _lines(boxes: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Rows of at least five boxes of similar height on one line, each close to the next."""
    order = np.argsort(boxes[:, 0], kind="stable")
    boxes = boxes[order]
    used = np.zeros(len(boxes), dtype=bool)
    found: list[NDArray[np.float64]] = []
    for start in range(len(boxes)):
        if used[start]:
            continue
        chain = [start]
        for j in range(start + 1, len(boxes)):
            last = boxes[chain[-1]]
            gap = boxes[j, 0] - boxes[j, 2] / 2 - (last[0] + last[2] / 2)
            if gap > 1.6 * max(last[3], boxes[j, 3]):
                if boxes[j, 0] - last[0] > 6 * last[3] + 60:
                    break
                continue
            if used[j] or gap < -2:
                continue
            level = abs((boxes[j, 1] + boxes[j, 3] / 2) - (last[1] + last[3] / 2)) < 0.35 * last[3]
            if level and 0.6 < boxes[j, 3] / last[3] < 1.67:
                chain.append(j)
        if len(chain) >= _FEWEST_LETTERS:
            used[chain] = True
            found.append(boxes[chain])
    return found

"""Regions of an image: where they lie, that a fill leaves no edge, and that another place is of the same size."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest

from evalsuite.errors import ImageError
from evalsuite.imaging import regions
from evalsuite.imaging.burned_in import text_lines, text_mask


def test_borders_and_rectangles_are_the_shares_they_say():
    frame = regions.border((100, 200), 0.05)
    assert frame.sum() == 100 * 200 - 90 * 190
    box = regions.rectangle((100, 200), top=0.1, left=0.5, bottom=0.3, right=1.0)
    assert box.sum() == 20 * 100
    assert box[10:30, 100:].all()
    assert regions.rectangle((10, 10), top=0.99, left=0.99, bottom=1.0, right=1.0).sum() == 1
    with pytest.raises(ImageError) as refused:
        regions.border((10, 10, 10), 0.1)
    assert refused.value.code == regions.NOT_PLANE


def test_another_place_has_the_same_shape_and_shares_nothing():
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 60), dtype=bool)
    mask[:5, :9] = True
    mask[0, 0] = False
    seen = set()
    for _ in range(50):
        moved = regions.elsewhere(mask, rng)
        assert moved is not None
        assert moved.sum() == mask.sum()
        assert not (moved & mask).any()
        seen.add(tuple(np.argwhere(moved)[0]))
    assert len(seen) > 30


def test_what_cannot_be_moved_becomes_a_block_of_about_its_size():
    rng = np.random.default_rng(0)
    frame = regions.border((100, 100), 0.05)
    block = regions.elsewhere(frame, rng)
    assert block is not None
    assert not (block & frame).any()
    assert block.sum() == pytest.approx(frame.sum(), rel=0.05)
    assert regions.elsewhere(frame, rng, same_shape=True) is None
    assert regions.elsewhere(np.ones((8, 8), dtype=bool), rng) is None
    assert regions.elsewhere(np.zeros((8, 8), dtype=bool), rng) is None


@pytest.mark.parametrize("shape", [(64, 64), (37, 53), (12, 14, 9)])
def test_a_fill_continues_a_slope_and_leaves_the_rest_alone(shape):
    slope = sum(np.indices(shape).astype(np.float64))
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(side // 3, side // 3 + 4) for side in shape)] = True
    marked = np.where(mask, 1e6, slope)[None]
    for how in ("surroundings", "median"):
        made = regions.filled(marked, mask, how)[0]
        assert np.array_equal(made[~mask], slope[~mask])
        assert np.abs(made - slope)[mask].max() < 8.0
    flat = regions.filled(np.where(mask, 9.0, 5.0)[None], mask, "surroundings")
    assert flat == pytest.approx(5.0)
    with pytest.raises(ImageError) as refused:
        regions.filled(marked, np.ones(shape, dtype=bool), "median")
    assert refused.value.code == regions.NOTHING_LEFT


def test_a_text_that_is_drawn_is_found_and_taken_out():
    grey = np.full((200, 300), 60.0)
    where = regions.rectangle(grey.shape, top=0.05, left=0.05, bottom=0.2, right=0.7)
    patch = regions.drawn_text("PORTABLE", 30, 195)
    shown = regions.pasted(grey[None], where, patch, black=0.0, span=255.0)
    assert shown.max() == pytest.approx(0.97 * 255.0)
    eight = np.rint(shown[0]).astype(np.uint8)
    assert text_lines(eight) == 1
    found = text_mask(eight)
    strokes = eight > 100
    assert found[strokes].all()
    assert found.mean() < 0.2
    gone = regions.filled(shown, found, "surroundings")
    assert gone == pytest.approx(60.0)
    assert not text_mask(grey.astype(np.uint8)).any()
    with pytest.raises(ImageError) as refused:
        regions.drawn_text("PORTABLE", 5, 12)
    assert refused.value.code == regions.TOO_SMALL


def test_text_on_a_large_image_is_found_where_it_is():
    grey = np.full((2400, 3000), 40, dtype=np.uint8)
    cv2.putText(grey, "SUPINE AP", (200, 400), cv2.FONT_HERSHEY_SIMPLEX, 4.0, 255, 10)
    found = text_mask(grey)
    rows, columns = np.nonzero(found)
    assert found[grey > 128].all()
    assert (rows.min(), columns.min()) > (200, 100)
    assert rows.max() < 480


def test_a_picture_is_scaled_to_its_place():
    ok, png = cv2.imencode(".png", np.array([[0, 255], [255, 0]], dtype=np.uint8))
    assert ok
    patch = regions.picture(png.tobytes(), 4, 6)
    assert patch.shape == (4, 6)
    assert {float(v) for v in np.unique(patch)} == {0.0, 1.0}
    assert base64.b64decode(base64.b64encode(png.tobytes())) == png.tobytes()
    with pytest.raises(ImageError) as refused:
        regions.picture(b"no picture", 4, 4)
    assert refused.value.code == regions.NO_PICTURE
    mixed = regions.scrambled(patch, np.random.default_rng(1))
    assert sorted(mixed.ravel()) == sorted(patch.ravel())

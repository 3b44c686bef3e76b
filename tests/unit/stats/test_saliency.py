"""Maps and lesions: hits, overlaps both ways, chance; and the masks of a published sample."""

from __future__ import annotations

import json

import numpy as np
import pytest

from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.saliency import hit_rate, mean_overlaps, overlap, pointing


def test_a_peak_hits_or_misses():
    mask = np.zeros((4, 5), dtype=bool)
    mask[1:3, 1:3] = True
    bright = np.zeros((4, 5))
    bright[2, 2] = 1.0
    found = pointing(bright, mask, threshold=0.5)
    assert (found.hit, found.overlap, found.chance) == (1.0, 0.25, 0.2)
    assert pointing(np.roll(bright, 2, axis=1), mask, threshold=0.5).hit == 0.0
    assert pointing(bright + np.roll(bright, 2, axis=1), mask, threshold=0.5).hit == 0.5


def test_a_map_of_one_value_points_nowhere():
    found = pointing(np.ones((3, 3)), np.eye(3, dtype=bool), threshold=0.5)
    assert found.hit is None
    assert found.overlap == pytest.approx(3 / 9)
    assert overlap(np.zeros(4), np.zeros(4)) is None
    assert overlap(np.zeros(4), np.ones(4)) == 0.0


def test_a_peak_by_chance_hits_as_often_as_the_mask_is_large():
    rng = np.random.default_rng(0)
    mask = np.zeros((20, 20), dtype=bool)
    mask[:5, :12] = True
    found = [pointing(rng.random((20, 20)), mask, threshold=0.5) for _ in range(2000)]
    assert np.mean([f.hit for f in found]) == pytest.approx(found[0].chance, abs=0.025)
    assert found[0].chance == 0.15


@pytest.mark.parametrize(
    ("map_", "mask"),
    [(np.ones(3), np.ones(4, dtype=bool)), (np.ones(3), np.ones(3)), (np.array([np.nan]), np.ones(1, dtype=bool))],
)
def test_what_cannot_be_compared_is_refused(map_, mask):
    with pytest.raises(ValueError, match=r"map"):
        pointing(map_, mask, threshold=0.5)


def test_means_count_missed_lesions_and_leave_them_out():
    values = [0.5, 0.0, 0.25, np.nan]
    full, only = mean_overlaps(values, PatientDraw([0, 1, 2, 3], 200, 1))
    assert full.value == pytest.approx(0.25)
    assert only.value == pytest.approx(0.375)
    assert (full.n, only.n) == (3, 2)
    none = mean_overlaps([0.0, 0.0], PatientDraw([0, 1], 50, 1))
    assert none[0].value == 0.0
    assert none[1].undefined == "no cases"


def test_hits_of_a_patient_are_not_independent():
    alone = hit_rate([1, 1, 1, 0] * 5, np.arange(20))
    together = hit_rate([1] * 15 + [0] * 5, np.repeat(np.arange(4), 5))
    assert alone.value == together.value == 0.75
    assert together.low < alone.low
    assert hit_rate([], []).undefined == "no map points anywhere"


def decoded(rle: dict) -> np.ndarray:
    """A mask of the COCO format: run lengths in column order, differences in 5-bit groups."""
    counts: list[int] = []
    at, text = 0, rle["counts"]
    while at < len(text):
        value = shift = 0
        more = True
        while more:
            c = ord(text[at]) - 48
            value |= (c & 0x1F) << (5 * shift)
            more = bool(c & 0x20)
            at, shift = at + 1, shift + 1
            if not more and c & 0x10:
                value |= -1 << (5 * shift)
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    height, width = rle["size"]
    flat = np.repeat(np.arange(len(counts)) % 2, counts).astype(bool)
    return flat.reshape(width, height).T


def test_overlaps_of_a_published_sample_are_those_of_its_own_rule(shared_golden):
    folder = shared_golden
    maps, truth = (
        json.loads((folder / f"chexlocalize_sample_{n}_rle.json").read_text()) for n in ("gradcam", "gt")
    )  # fmt: skip
    compared = 0
    for image in sorted(set(maps) & set(truth)):
        for finding in sorted(set(maps[image]) & set(truth[image])):
            a, b = decoded(maps[image][finding]), decoded(truth[image][finding])
            assert a.shape == tuple(maps[image][finding]["size"]) == b.shape
            if not b.any():
                continue
            # The rule of the sample's authors, written out: |A ∩ B| / (|A| + |B| − |A ∩ B|).
            both = np.count_nonzero(a & b)
            expected = both / (np.count_nonzero(a) + np.count_nonzero(b) - both)
            assert overlap(a, b) == pytest.approx(expected, abs=1e-15)
            compared += 1
    assert compared >= 3

"""Sizes of masks: volume by counting, the longest diameter against every pair of voxels and analytic shapes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from evalsuite.stats.mask_size import longest_diameter_mm, volume_ml

SPACING = (2.5, 0.8, 1.1)


@pytest.mark.parametrize("shape", [(6, 7, 8), (30, 24, 1), (1, 30, 24), (40, 1, 1), (30, 25)])
def test_the_longest_diameter_is_that_of_all_pairs(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(shape) + shape[0])
    spacing = SPACING[: len(shape)]
    for share in (0.02, 0.4, 1.0):
        mask = rng.random(shape) <= share
        points = np.argwhere(mask) * np.array(spacing)
        expected = float(pdist(points).max()) if len(points) > 1 else 0.0
        assert longest_diameter_mm(mask, spacing) == pytest.approx(expected)


def test_nothing_and_one_voxel_have_no_diameter() -> None:
    mask = np.zeros((4, 5, 6), dtype=bool)
    assert longest_diameter_mm(mask, SPACING) == volume_ml(mask, SPACING) == 0.0
    mask[1, 2, 3] = True
    assert longest_diameter_mm(mask, SPACING) == 0.0
    assert volume_ml(mask, SPACING) == pytest.approx(2.5 * 0.8 * 1.1 / 1000)


def test_a_ball_has_its_size_within_a_voxel() -> None:
    z, y, x = np.ogrid[-25:26, -25:26, -25:26]
    ball = z * z + y * y + x * x <= 20**2
    assert 39.0 <= longest_diameter_mm(ball, (1.0, 1.0, 1.0)) <= 40.0
    assert volume_ml(ball, (1.0, 1.0, 1.0)) == pytest.approx(4 / 3 * np.pi * 8.0, rel=0.01)

"""Groups of alike feature vectors: clouds come apart, the seed decides, and degenerate input has an answer."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats.grouping import fit_groups


def clouds(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    truth = np.repeat([0, 1, 2], [60, 40, 20])
    centres = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 900.0]])
    return centres[truth] + rng.normal(size=(120, 2)) * [1.0, 100.0], truth


def test_separated_clouds_come_apart_largest_first():
    x, truth = clouds(np.random.default_rng(0))
    assert (fit_groups(x, 3, seed=1).of(x) == truth).all()


def test_scales_of_features_do_not_matter_and_the_seed_decides():
    x, _ = clouds(np.random.default_rng(1))
    one, other = fit_groups(x, 4, seed=3), fit_groups(x * [1e3, 1e-3], 4, seed=3)
    assert (one.of(x) == other.of(x * [1e3, 1e-3])).all()
    assert (one.of(x) == fit_groups(x, 4, seed=3).of(x)).all()


def test_cases_without_features_belong_to_no_group():
    x, _ = clouds(np.random.default_rng(2))
    x[5, 0] = np.nan
    index = fit_groups(x, 2, seed=0).of(x)
    assert index[5] == -1
    assert (np.delete(index, 5) >= 0).all()


def test_no_more_groups_than_distinct_cases():
    groups = fit_groups(np.ones((10, 3)), 4, seed=0)
    assert len(groups.centres) == 1
    assert set(groups.of(np.ones((4, 3)))) == {0}


def test_what_cannot_be_grouped():
    with pytest.raises(ValueError, match="finite"):
        fit_groups(np.full((3, 2), np.nan), 2, seed=0)
    with pytest.raises(ValueError, match="k at least 1"):
        fit_groups(np.ones((3, 2)), 0, seed=0)

"""Roe and Metz' model: the variances it is given are those its ratings have, and its AUROC is the formula's."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evalsuite.stats.reader_figures import reader_figures
from evalsuite.stats.reader_simulation import ROE_METZ, simulate_readings


def test_the_structures_are_those_of_the_paper() -> None:
    """AUROC of a reader without variance between readers: 0.702, 0.855 and 0.961 (Roe & Metz 1997, Table 1)."""
    assert len(ROE_METZ) == 12
    for separation, area in ((0.75, 0.702), (1.5, 0.855), (2.5, 0.961)):
        for name, s in ROE_METZ.items():
            if name.endswith(f" {separation:g}"):
                assert s.case + s.treatment_case + s.reader_case + s.error == pytest.approx(1.0)
                # Their areas are of the mean reader; spread between readers takes a little off.
                assert s.auroc() == pytest.approx(area, abs=0.012)
                assert s.auroc() < area + 0.0005


@pytest.mark.parametrize("name", ["HH 1.5", "LL 0.75"])
def test_ratings_have_the_variances_of_their_structure(name: str) -> None:
    s = ROE_METZ[name]
    made = simulate_readings(np.random.default_rng(1), s, readers=300, n_positive=400, n_negative=400)
    x = made.rating[:, :, ~made.reference]
    # Tolerances are five standard errors of variances of 300 readers and 400 cases, in the order of their size.
    same_case = x.mean(axis=1)
    assert same_case.var(axis=1).mean() == pytest.approx(s.case + s.treatment_case, rel=5 * math.sqrt(2 / 400))
    assert same_case.mean(axis=0).var() == pytest.approx(s.case + s.treatment_case / 2, rel=5 * math.sqrt(2 / 400))
    readers = x.mean(axis=2)
    expected = s.reader + s.treatment_reader + (s.reader_case + s.error) / 400
    assert readers.var(axis=1).mean() == pytest.approx(expected, rel=5 * math.sqrt(2 / 300))
    rest = x - same_case[:, None, :] - readers[:, :, None] + x.mean(axis=(1, 2), keepdims=True)
    assert rest.var() == pytest.approx(s.reader_case + s.error, rel=0.02)
    assert rest.mean(axis=0).var() == pytest.approx(s.reader_case + s.error / 2, rel=0.02)


def test_the_area_is_the_formulas() -> None:
    s = ROE_METZ["LH 1.5"]
    rng = np.random.default_rng(2)
    areas = np.array([
        reader_figures(simulate_readings(rng, s, readers=8, n_positive=60, n_negative=60, gain=0.5)).value.mean(axis=1)
        for _ in range(80)
    ])  # fmt: skip
    error = areas.std(axis=0, ddof=1) / math.sqrt(len(areas))
    assert np.all(np.abs(areas.mean(axis=0) - [s.auroc(0.5), s.auroc()]) < 4.5 * error)


def test_the_same_seed_gives_the_same_study() -> None:
    one, two = (
        simulate_readings(np.random.default_rng(3), ROE_METZ["HL 2.5"], readers=3, n_positive=7, n_negative=9)
        for _ in range(2)
    )
    assert np.array_equal(one.rating, two.rating)
    assert one.rating.shape == (2, 3, 16)
    assert one.reference.sum() == 7

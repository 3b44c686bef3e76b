"""Where millimetres lie in an image, and back."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.imaging.grid import Grid, as_affine
from evalsuite.imaging.points import Lie, index_in, indices_in, places_of

AFFINE = np.array([[0.0, -0.7, 0.0, 40.0], [0.9, 0.0, 0.0, -25.0], [0.0, 0.0, 2.0, 10.0], [0.0, 0.0, 0.0, 1.0]])
VOLUME = Grid(shape=(4, 5, 6), spacing_mm=(0.9, 0.7, 2.0), affine=as_affine(AFFINE))
PLANE = Grid(shape=(8, 9), spacing_mm=(0.5, 0.25))


@pytest.mark.parametrize("coordinates", ["lps", "ras", "image"])
@pytest.mark.parametrize("first", [True, False])
def test_there_and_back(coordinates: str, first: bool) -> None:
    lie = Lie(grid=VOLUME, columns_first=first)
    index = np.random.default_rng(1).uniform(0, 4, (10, 3))
    places = places_of(lie, index, coordinates)
    assert places is not None
    again = indices_in(lie, places, coordinates)
    assert again is not None
    np.testing.assert_allclose(again, index, atol=1e-12)
    assert index_in(lie, places[3].tolist(), coordinates) == pytest.approx(index[3].tolist())


def test_patients_axes_and_planes() -> None:
    lie = Lie(grid=VOLUME, columns_first=True)
    ras = places_of(lie, np.array([[1.0, 2.0, 3.0]]), "ras")
    assert ras is not None
    assert ras[0].tolist() == pytest.approx([40.0 - 1.4, -25.0 + 0.9, 16.0])
    lps = places_of(lie, np.array([[1.0, 2.0, 3.0]]), "lps")
    assert lps is not None
    assert lps[0].tolist() == pytest.approx([-38.6, 24.1, 16.0])
    plane = Lie(grid=PLANE, columns_first=False)
    at = indices_in(plane, np.array([[1.0, 2.0]]), "image")
    assert at is not None
    # x along columns, y along rows; the array begins with rows.
    assert at[0].tolist() == [2.0 / 0.5, 1.0 / 0.25]
    assert indices_in(plane, np.array([[1.0, 2.0]]), "lps") is None
    assert places_of(plane, np.array([[1.0, 2.0]]), "ras") is None
    assert indices_in(plane, np.array([[1.0, 2.0, 3.0]]), "image") is None

"""Surface distances of one case: hand-made masks, definitions that differ, tolerances on the grid, empty masks."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats import surface
from evalsuite.stats.masks import EmptyPolicy, mask_pair

DOT, FAR = np.zeros((1, 1, 8), dtype=bool), np.zeros((1, 1, 8), dtype=bool)
DOT[0, 0, 0], FAR[0, 0, 7] = True, True
NOTHING = np.zeros_like(DOT)


def test_two_voxels_are_as_far_apart_as_their_centres_by_every_definition_of_voxels() -> None:
    p = mask_pair(DOT, FAR, (5.0, 5.0, 0.3))
    for metric in ("hd", "hd95", "assd", "masd"):
        for definition in ("voxel", "pooled"):
            found = surface.surface_figure(p, metric, definition=definition)
            assert found.value == pytest.approx(2.1)
    assert surface.surface_figure(p, "nsd", tolerance_mm=2.0).value == 0.0
    assert surface.surface_figure(p, "nsd", tolerance_mm=2.2).value == 1.0


def test_a_tolerance_of_a_multiple_of_the_spacing_reaches_its_voxels() -> None:
    # 7 × 0.3 and 3 × 0.1 are not the decimal numbers that are written 2.1 and 0.3.
    assert surface.surface_figure(mask_pair(DOT, FAR, (1, 1, 0.3)), "nsd", tolerance_mm=2.1).value == 1.0
    near = np.roll(DOT, 3, axis=2)
    assert surface.surface_figure(mask_pair(DOT, near, (1, 1, 0.1)), "nsd", tolerance_mm=0.3).value == 1.0


def test_percentiles_of_the_three_definitions_differ() -> None:
    a = np.zeros((30, 30), dtype=bool)
    a[5:25, 5:25] = True
    b = a.copy()
    b[25:29, 10:11] = True  # a spike: few elements far away, in one direction only
    p = mask_pair(a, b, (1.0, 1.0))
    voxel, pooled, surfel = (surface.surface_figure(p, "hd95", definition=d).value for d in surface.DEFINITIONS)
    assert voxel is not None
    assert pooled is not None
    assert surfel is not None
    assert surface.surface_figure(p, "hd").value == 4.0
    assert voxel > pooled
    assert surface.surface_figure(p, "hd95", definition="surfel").value == surfel


def test_shifted_cubes() -> None:
    cube = np.zeros((20, 20, 20), dtype=bool)
    cube[4:12, 4:12, 4:12] = True
    p = mask_pair(cube, np.roll(cube, 3, axis=0), (2.0, 1.0, 1.0))
    for definition in surface.DEFINITIONS:
        found = surface.surfaces(p, definition)
        assert surface.hausdorff(found) == pytest.approx(6.0)
        assert 0.0 < surface.mean_distance(found) < 6.0


def test_balls_of_two_radii_are_as_far_apart_as_their_radii() -> None:
    spacing = (1.2, 0.7, 0.9)
    axes = np.meshgrid(*(np.arange(-20, 20.1, s) for s in spacing), indexing="ij", sparse=True)
    square = sum(a * a for a in axes)
    p = mask_pair(square <= 15.0**2, square <= 18.0**2, spacing)
    diagonal = float(np.linalg.norm(spacing))
    for definition in surface.DEFINITIONS:
        for metric in ("hd", "hd95", "assd", "masd"):
            value = surface.surface_figure(p, metric, definition=definition).value
            assert value == pytest.approx(3.0, abs=diagonal)
    # The elements follow the steps of a mask: the surface of a ball comes out some 10 % too large.
    area = surface.surfaces(p, "surfel").size_reference.sum()
    assert 1.0 < area / (4 * np.pi * 15**2) < 1.15


def test_empty_masks_are_what_the_policy_says() -> None:
    missed, neither = mask_pair(DOT, NOTHING, (1, 1, 1)), mask_pair(NOTHING, NOTHING, (1, 1, 1))
    found = surface.surface_figure(missed, "hd95")
    assert found.undefined == "the output is empty and the reference is not, and no worst value is declared"
    assert surface.surface_figure(missed, "hd95", maximum_mm=150.0).value == 150.0
    assert surface.surface_figure(missed, "nsd", tolerance_mm=1.0).value == 0.0
    assert surface.surface_figure(neither, "hd95", maximum_mm=150.0).undefined is not None
    assert surface.surface_figure(neither, "hd95", empty=EmptyPolicy(both="perfect")).value == 0.0
    assert surface.surface_figure(neither, "nsd", tolerance_mm=1.0, empty=EmptyPolicy(both="perfect")).value == 1.0
    only = EmptyPolicy(prediction="undefined")
    assert surface.surface_figure(missed, "assd", maximum_mm=9.0, empty=only).undefined is not None


def test_what_is_not_defined_is_refused() -> None:
    p = mask_pair(DOT, FAR, (1, 1, 1))
    with pytest.raises(ValueError, match="tolerance_mm"):
        surface.surface_figure(p, "nsd")
    with pytest.raises(ValueError, match="not be negative"):
        surface.surface_dice(surface.surfaces(p), -1.0)
    with pytest.raises(ValueError, match="one of voxel"):
        surface.surfaces(p, "edge")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no surface"):
        surface.surfaces(mask_pair(DOT, NOTHING, (1, 1, 1)))
    with pytest.raises(ValueError, match="between 0 and 100"):
        surface.percentile(surface.surfaces(p), 101.0)
    with pytest.raises(ValueError, match="not pooled"):
        surface.surface_figure(p, "hd", definition="pooled", found=surface.surfaces(p, "voxel"))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.5, 0.8, 0.7), (30.0, 0.5, 0.5), (0.1, 0.3), (5.0, 0.01)])
def test_nearest_voxels_are_those_of_looking_at_all_of_them(spacing: tuple[float, ...]) -> None:
    """Near ones found step by step, far ones in the tree: to the last bit the smallest of all distances."""
    rng = np.random.default_rng(7)
    shape = (40, 18, 14)[: len(spacing)]
    for density in (0.001, 0.02, 0.4):
        first, second = rng.random(shape) < density, rng.random(shape) < density
        second[-3:] = False
        first[0], first[-1, -1], second[0, 0] = False, True, True
        distances = surface._nearest(first, second, spacing)
        a, b = np.argwhere(first), np.argwhere(second)
        steps = (a[:, None] - b[None]) * np.array(spacing)
        squares = sum(steps[..., k] * steps[..., k] for k in range(len(spacing)))
        np.testing.assert_allclose(distances, np.sqrt(squares).min(axis=1), rtol=1e-15)


def test_places_around_a_voxel_leave_none_out_that_is_closer() -> None:
    for spacing in ((1.0, 1.0, 1.0), (3.0, 0.5, 0.5), (0.4, 0.9), (1000.0, 1e-5, 1e-5)):
        steps, distance = surface._outwards(spacing)
        assert np.all(np.diff(distance) >= 0)
        assert len(steps) <= surface.STEPS
        span = np.arange(-12, 13)
        every = np.stack(np.meshgrid(*[span] * len(spacing), indexing="ij"), axis=-1).reshape(-1, len(spacing))
        closer = np.sqrt(((every * np.array(spacing)) ** 2).sum(axis=1)) < distance[-1] * (1 - 1e-12)
        wanted = {tuple(s) for s in every[closer].tolist() if any(s)}
        assert wanted <= {tuple(s) for s in steps.tolist()}

"""Dice, IoU, volumes, boundary IoU and centreline Dice of one case: hand-made masks and every kind of empty one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evalsuite.stats import overlap
from evalsuite.stats.masks import CaseFigure, EmptyPolicy, mask_pair

NOTHING = np.zeros((4, 5), dtype=bool)
SOME = NOTHING.copy()
SOME[1:3, 1:4] = True


def test_two_rectangles_by_hand() -> None:
    other = NOTHING.copy()
    other[1:3, 2:5] = True
    p = mask_pair(SOME, other, (2.0, 0.5))
    assert overlap.dice(p).value == pytest.approx(2 * 4 / 12)
    assert overlap.iou(p).value == pytest.approx(4 / 8)
    assert overlap.volume_error(p).value == 0.0
    wider = mask_pair(SOME, SOME | other, (2.0, 0.5))
    assert overlap.volume_error(wider).value == pytest.approx(2.0)  # two pixels of 1 mm²
    assert overlap.relative_volume_error(wider).value == pytest.approx(2 / 6)


def test_volumes_are_in_millilitres() -> None:
    a = np.zeros((10, 10, 10), dtype=bool)
    a[:5] = True
    p = mask_pair(a, np.ones_like(a), (2.0, 1.0, 0.5))
    assert overlap.volume(1000, p) == pytest.approx(1.0)
    assert overlap.volume_error(p).value == pytest.approx(0.5)


def test_analytic_ball_and_shifted_cube() -> None:
    spacing = (1.5, 0.5, 0.8)
    axes = np.meshgrid(*(np.arange(-24, 24.1, s) for s in spacing), indexing="ij", sparse=True)
    ball = sum(a * a for a in axes) <= 20.0**2
    p = mask_pair(ball, ball, spacing)
    assert overlap.volume(p.n_reference, p) == pytest.approx(4 / 3 * math.pi * 20**3 / 1000, rel=0.01)
    cube = np.zeros((30, 30, 30), dtype=bool)
    cube[5:15, 5:15, 5:15] = True
    shifted = np.roll(cube, 3, axis=1)
    assert overlap.dice(mask_pair(cube, shifted, (1, 1, 1))).value == pytest.approx(0.7)


@pytest.mark.parametrize(
    "figure", [overlap.dice, overlap.iou, overlap.cldice, lambda p, **k: overlap.boundary_iou(p, width_mm=1.0, **k)]
)
def test_empty_masks_are_what_the_policy_says(figure: object) -> None:
    assert callable(figure)
    missed, false, neither = (
        mask_pair(a, b, (1, 1)) for a, b in ((SOME, NOTHING), (NOTHING, SOME), (NOTHING, NOTHING))
    )
    assert figure(missed).value == figure(false).value == 0.0
    assert figure(neither).undefined == "reference and output are both empty"
    assert figure(neither, empty=EmptyPolicy(both="perfect")).value == 1.0
    assert figure(missed, empty=EmptyPolicy(prediction="undefined")).undefined is not None
    assert figure(missed, empty=EmptyPolicy(reference="undefined")).value == 0.0
    assert figure(false, empty=EmptyPolicy(reference="undefined")).undefined is not None


def test_volumes_of_empty_masks() -> None:
    assert overlap.volume_error(mask_pair(NOTHING, SOME, (1, 1))).value == 6.0
    assert overlap.volume_error(mask_pair(NOTHING, NOTHING, (1, 1))).value == 0.0
    assert overlap.relative_volume_error(mask_pair(SOME, NOTHING, (1, 1))).value == -1.0
    assert overlap.relative_volume_error(mask_pair(NOTHING, SOME, (1, 1))).undefined is not None


def test_a_broken_vessel_costs_little_dice_and_much_centreline() -> None:
    vessel = np.zeros((7, 60), dtype=bool)
    vessel[2:5] = True
    thin = vessel.copy()
    thin[2] = thin[4] = False
    p = mask_pair(vessel, thin, (1, 1))
    assert overlap.dice(p).value == pytest.approx(0.5)
    assert overlap.cldice(p).value is not None
    assert overlap.cldice(p).value > 0.95
    # The skeleton of a bar three pixels thick is its middle line, with the corners that erosion by the cross leaves.
    assert overlap.skeleton(vessel)[3, 1:-1].all()
    apart = mask_pair(vessel, np.roll(vessel, 1, axis=0) & False | np.eye(7, 60, dtype=bool), (1, 1))
    assert overlap.cldice(apart).value is not None


def test_nothing_in_common_is_zero() -> None:
    a, b = np.zeros((5, 9), dtype=bool), np.zeros((5, 9), dtype=bool)
    a[1:4, 1:4], b[1:4, 6:8] = True, True
    p = mask_pair(a, b, (1, 1))
    assert [f.value for f in (overlap.dice(p), overlap.iou(p), overlap.cldice(p))] == [0.0, 0.0, 0.0]
    assert overlap.boundary_iou(p, width_mm=1.0).value == 0.0


def test_masks_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValueError, match="like reference"):
        mask_pair(np.ones((3, 3)), np.ones((3, 4)), (1, 1))
    with pytest.raises(ValueError, match="only False/True"):
        mask_pair(np.full((3, 3), 2), np.ones((3, 3)), (1, 1))
    with pytest.raises(ValueError, match="only False/True"):
        mask_pair(np.full((3, 3), np.nan), np.ones((3, 3)), (1, 1))
    with pytest.raises(ValueError, match="two or three axes"):
        mask_pair(np.ones(3), np.ones(3), (1,))
    for spacing in ((1.0,), (1.0, 0.0), (1.0, -1.0), (1.0, np.nan)):
        with pytest.raises(ValueError, match="spacing_mm"):
            mask_pair(SOME, SOME, spacing)
    with pytest.raises(ValueError, match="width_mm"):
        overlap.boundary_iou(mask_pair(SOME, SOME, (1, 1)), width_mm=-1.0)
    with pytest.raises(ValueError, match="not both and not neither"):
        CaseFigure()
    with pytest.raises(ValueError, match="finite"):
        CaseFigure(value=math.inf)

"""What must hold for any two masks: symmetry, order of figures, units, axes, shifts and margins."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from evalsuite.stats import overlap, surface
from evalsuite.stats.masks import MaskPair, mask_pair

Bools = npt.NDArray[np.bool_]


@st.composite
def _pairs(draw: st.DrawFn) -> tuple[Bools, Bools, tuple[float, ...]]:
    shape = draw(array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6))
    a, b = (draw(arrays(np.bool_, shape)) for _ in range(2))
    # Hypothesis likes arrays of nothing: one voxel each, so that distances exist.
    a[tuple(draw(st.integers(0, n - 1)) for n in shape)] = True
    b[tuple(draw(st.integers(0, n - 1)) for n in shape)] = True
    return a, b, tuple(draw(st.sampled_from([0.3, 0.5, 1.0, 1.7, 3.3])) for _ in shape)


def _figures(p: MaskPair, scale: float = 1.0) -> list[float]:
    out = [overlap.dice(p).value, overlap.iou(p).value, overlap.boundary_iou(p, width_mm=1.1 * scale).value]
    out.append(overlap.cldice(p).value)
    for definition in surface.DEFINITIONS:
        found = surface.surfaces(p, definition)
        distances = surface.hausdorff(found), surface.percentile(found, 95), surface.mean_distance(found)
        out += [*(d / scale for d in distances), surface.mean_of_means(found) / scale]
        out.append(surface.surface_dice(found, 1.1 * scale))
    assert all(v is not None for v in out)
    return [float(v) for v in out if v is not None]


@settings(max_examples=40, deadline=None)
@given(_pairs())
def test_figures_do_not_depend_on_what_must_not_matter(made: tuple[Bools, Bools, tuple[float, ...]]) -> None:
    a, b, spacing = made
    figures = _figures(mask_pair(a, b, spacing))
    margin = [(1, 2)] * a.ndim
    same = {
        "order": mask_pair(b, a, spacing),
        "margin": mask_pair(np.pad(a, margin), np.pad(b, margin), spacing),
        "axes": mask_pair(a.T, b.T, spacing[::-1]),
        "integers": mask_pair(a.astype(np.uint8), b.astype(float), spacing),
    }
    for what, p in same.items():
        assert _figures(p) == pytest.approx(figures, abs=1e-9), what
    half = tuple(s / 2 for s in spacing)
    assert _figures(mask_pair(a, b, half), 0.5) == pytest.approx(figures, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(_pairs())
def test_figures_keep_their_order(made: tuple[Bools, Bools, tuple[float, ...]]) -> None:
    a, b, spacing = made
    p = mask_pair(a, b, spacing)
    dice, iou = overlap.dice(p).value, overlap.iou(p).value
    assert dice is not None
    assert iou is not None
    assert dice == pytest.approx(2 * iou / (1 + iou))
    for definition in surface.DEFINITIONS:
        found = surface.surfaces(p, definition)
        assert surface.percentile(found, 95) <= surface.hausdorff(found)
        assert surface.mean_distance(found) <= surface.hausdorff(found) + 1e-12
        shares = [surface.surface_dice(found, t) for t in (0.0, 0.5, 2.0, 100.0)]
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
    assert _figures(mask_pair(a, a, spacing)) == pytest.approx([1.0] * 4 + [0.0, 0.0, 0.0, 0.0, 1.0] * 3)


@settings(max_examples=30, deadline=None)
@given(_pairs())
def test_every_voxel_of_a_skeleton_is_in_its_mask(made: tuple[Bools, Bools, tuple[float, ...]]) -> None:
    mask, _, _ = made
    found = overlap.skeleton(mask)
    assert found.any()
    assert not (found & ~mask).any()

"""Mask figures against four programs on one vertebra (leaf by leaf), three on odd masks, and SciPy's transform."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from evalsuite.stats import overlap, surface
from evalsuite.stats.masks import MaskPair, mask_pair

Bools = npt.NDArray[np.bool_]


def _leaves(value: Any, path: str = "") -> dict[str, float]:
    if isinstance(value, (int, float)):
        return {path: float(value)}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return {k: v for key, inner in items for k, v in _leaves(inner, f"{path}/{key}" if path else str(key)).items()}


def _ours(p: MaskPair, tau: float) -> dict[str, float]:
    """Our figure for every number of the sidecar."""
    voxel, pooled, surfel = (surface.surfaces(p, d) for d in surface.DEFINITIONS)
    dice, iou = overlap.dice(p).value, overlap.iou(p).value
    rim = overlap.boundary_iou(p, width_mm=0.0).value
    assert dice is not None
    assert iou is not None
    assert rim is not None
    out = {"dice": dice, "iou": iou, "n_ref": p.n_reference, "n_pred": p.n_prediction}
    to_reference, to_prediction = surface.directed_means(surfel)
    out |= {
        "surface_distance_deepmind/HD95": surface.percentile(surfel, 95),
        "surface_distance_deepmind/HD100": surface.hausdorff(surfel),
        "surface_distance_deepmind/NSD_tau": surface.surface_dice(surfel, tau),
        "surface_distance_deepmind/tau": tau,
        "surface_distance_deepmind/avg/0": to_prediction,
        "surface_distance_deepmind/avg/1": to_reference,
    }
    hd, hd95, nsd = surface.hausdorff(voxel), surface.percentile(voxel, 95), surface.surface_dice(voxel, tau)
    assd, masd = surface.mean_distance(voxel), surface.mean_of_means(voxel)
    out |= {
        "monai/HD95": hd95,
        "monai/HD": hd,
        "monai/NSD": nsd,
        "monai/NSD_subvoxel": surface.surface_dice(surfel, tau),
        "monai/ASD_pred2ref": surface.directed_means(voxel)[0],
        "monai/ASSD": assd,
        "metricsreloaded_conn1/DSC": dice,
        "metricsreloaded_conn1/HD": hd,
        "metricsreloaded_conn1/HD95": hd95,
        "metricsreloaded_conn1/ASSD": assd,
        "metricsreloaded_conn1/MASD": masd,
        "metricsreloaded_conn1/NSD": nsd,
        "metricsreloaded_conn1/boundary_iou": rim,
        "scipy_independent/HD": hd,
        "scipy_independent/HD95_max_of_two": hd95,
        "scipy_independent/HD95_pooled_medpy_style": surface.percentile(pooled, 95),
        "scipy_independent/HD95_mean_of_two": float(np.mean(surface.directed_percentiles(voxel, 95))),
        "scipy_independent/ASSD_pooled": surface.mean_distance(pooled),
        "scipy_independent/MASD": surface.mean_of_means(pooled),
        "scipy_independent/NSD_voxel": surface.surface_dice(pooled, tau),
        "scipy_independent/n_border_ref": len(voxel.to_prediction),
        "scipy_independent/n_border_pred": len(voxel.to_reference),
    }
    return out


def test_every_figure_that_four_programs_computed_for_one_vertebra(shared_golden: Path) -> None:
    data = np.load(shared_golden / "spine_masks.npz")
    sidecar = json.loads((shared_golden / "spine_masks.json").read_text())
    expected = json.loads((shared_golden / "spine_masks.expected.json").read_text())
    for name, want in expected.items():
        spacing = (3.3, 0.8, 0.8) if "(3.3" in name else tuple(data["spacing"])
        ours = _ours(mask_pair(data["ref_26"], data["pred_26"], spacing), want["surface_distance_deepmind"]["tau"])
        wanted = _leaves(want)
        assert ours.keys() == wanted.keys()
        for path, value in wanted.items():
            assert ours[path] == pytest.approx(value, abs=float(sidecar["tolerance"])), f"{name}: {path}"


def _packed(text: str, shape: tuple[int, ...]) -> Bools:
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(text), dtype=np.uint8), count=math.prod(shape))
    return bits.reshape(shape).astype(bool)


@pytest.fixture(scope="module")
def odd() -> dict[str, Any]:
    """Masks and what MONAI, DeepMind surface-distance and MedPy say of them: tests/oracle/generators/masks.py."""
    made: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "masks.json").read_text(encoding="utf-8"))
    return made


def _pairs(odd: dict[str, Any]) -> Iterator[tuple[Bools, Bools, tuple[float, ...], dict[str, Any]]]:
    for row in odd["pairs"]:
        shape = tuple(row["shape"])
        yield _packed(row["reference"], shape), _packed(row["prediction"], shape), tuple(row["spacing"]), row


def test_surface_figures_are_those_of_three_programs_on_odd_masks(odd: dict[str, Any]) -> None:
    for a, b, spacing, row in _pairs(odd):
        p = mask_pair(a, b, spacing)
        voxel, pooled, surfel = (surface.surfaces(p, d) for d in surface.DEFINITIONS)
        means = surface.directed_means(surfel)
        ours = {
            "monai dice": overlap.dice(p).value,
            "monai iou": overlap.iou(p).value,
            "monai hd": surface.hausdorff(voxel),
            "monai hd95": surface.percentile(voxel, 95.0),
            "monai hd50": surface.percentile(voxel, 50.0),
            "monai assd": surface.mean_distance(voxel),
            "monai nsd 0.6": surface.surface_dice(voxel, 0.6),
            "monai nsd 1.7": surface.surface_dice(voxel, 1.7),
            "monai subvoxel nsd 0.6": surface.surface_dice(surfel, 0.6),
            "monai subvoxel nsd 1.7": surface.surface_dice(surfel, 1.7),
            "deepmind hd95": surface.percentile(surfel, 95.0),
            "deepmind hd": surface.hausdorff(surfel),
            "deepmind nsd 0.6": surface.surface_dice(surfel, 0.6),
            "deepmind mean to prediction": means[1],
            "deepmind mean to reference": means[0],
            "medpy hd": surface.hausdorff(pooled),
            "medpy hd95": surface.percentile(pooled, 95.0),
            "medpy assd": surface.mean_distance(pooled),
        }
        # MONAI computes in single precision.
        assert ours == pytest.approx(row["figures"], rel=1e-5, abs=1e-6), row["name"]


def test_sizes_of_surface_elements_are_those_of_the_marching_cubes_table(odd: dict[str, Any]) -> None:
    for row in odd["elements"]:
        ours = surface.element_sizes(tuple(row["spacing"]))
        np.testing.assert_allclose(ours, row["sizes"], rtol=1e-12)


def test_the_skeleton_is_the_one_of_the_centreline_dice_paper(odd: dict[str, Any]) -> None:
    # MONAI's soft_skel on masks of 0 and 1: the paper's soft skeleton, exact where nothing is left to erode. Its
    # pooling knows no outside, so it was given masks with an empty rim.
    for a, _, _, row in _pairs(odd):
        theirs = _packed(row["skeleton"], a.shape)
        np.testing.assert_array_equal(overlap.skeleton(a), theirs)
        np.testing.assert_array_equal(overlap.skeleton(np.pad(a, 2)), np.pad(theirs, 2))


def test_distances_are_those_of_the_exact_distance_transform(odd: dict[str, Any]) -> None:
    # scipy.ndimage.distance_transform_edt and binary_erosion: another algorithm for border and distance alike.
    from scipy.ndimage import binary_erosion, distance_transform_edt

    for a, b, spacing, _ in _pairs(odd):
        edges = [m ^ binary_erosion(m) for m in (a, b)]
        found = surface.surfaces(mask_pair(a, b, spacing), "voxel")
        to_reference = distance_transform_edt(~edges[0], sampling=spacing)[edges[1]]
        to_prediction = distance_transform_edt(~edges[1], sampling=spacing)[edges[0]]
        np.testing.assert_allclose(found.to_reference, to_reference, atol=1e-12)
        np.testing.assert_allclose(found.to_prediction, to_prediction, atol=1e-12)
        for width in (0.0, 0.9, 2.0):
            rims = [
                m & (distance_transform_edt(~e, sampling=spacing) <= width) for m, e in zip((a, b), edges, strict=True)
            ]
            theirs = (rims[0] & rims[1]).sum() / (rims[0] | rims[1]).sum()
            assert overlap.boundary_iou(mask_pair(a, b, spacing), width_mm=width).value == pytest.approx(theirs)

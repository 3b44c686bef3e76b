"""Reference figures of masks by programs that others wrote, and the masks themselves, packed.

Run:  python tests/oracle/generators/masks.py > tests/oracle/data/masks.json
Needs monai, surface-distance-based-measures (DeepMind) and medpy.
"""

from __future__ import annotations

import json
import warnings
from importlib.metadata import version

import numpy as np
import torch
from medpy.metric import binary as medpy
from surface_distance import lookup_tables
from surface_distance import metrics as deepmind

warnings.simplefilter("ignore")
from monai import metrics as monai  # noqa: E402
from monai.losses.cldice import soft_skel  # noqa: E402


def _odd_pairs() -> list[tuple[np.ndarray, np.ndarray, tuple[float, ...]]]:
    """Blobs with holes, single voxels, masks that touch the edges and masks apart, on odd spacings, 2-D and 3-D."""
    rng = np.random.default_rng(20260101)
    out = []
    shapes = ((17, 23), (9, 14, 11), (5, 20, 8))
    spacings = ((0.7, 1.9), (3.0, 0.5, 0.8), (1.0, 1.3, 2.1))
    for shape, spacing in zip(shapes, spacings, strict=True):
        noise = rng.normal(size=(2, *shape))
        smooth = noise + sum(np.roll(noise, s, axis=a) for a in range(1, noise.ndim) for s in (-1, 1))
        out.append((smooth[0] > 0.5, smooth[0] + 0.7 * smooth[1] > 0.5, spacing))
        whole, dot = np.ones(shape, dtype=bool), np.zeros(shape, dtype=bool)
        whole[tuple(n // 2 for n in shape)] = False
        dot[(0,) * len(shape)] = True
        far = np.zeros(shape, dtype=bool)
        far[tuple(slice(n - 3, n) for n in shape)] = True
        out += [(whole, smooth[0] > 0.0, spacing), (dot, far, spacing), (dot, dot, spacing)]
    return out


def tensor(mask: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(np.asarray(mask)[None, None].astype(np.float32))


def packed(mask: np.ndarray) -> str:
    return np.packbits(mask).tobytes().hex()


def figures(a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...]) -> dict[str, float]:
    y, y_pred = tensor(a), tensor(b)
    options = {"include_background": True, "spacing": list(spacing)}
    found = deepmind.compute_surface_distances(a, b, spacing)
    means = deepmind.compute_average_surface_distance(found)
    out = {
        "monai dice": monai.compute_dice(y_pred, y),
        "monai iou": monai.compute_iou(y_pred, y),
        "monai hd": monai.compute_hausdorff_distance(y_pred, y, **options),
        "monai hd95": monai.compute_hausdorff_distance(y_pred, y, percentile=95.0, **options),
        "monai hd50": monai.compute_hausdorff_distance(y_pred, y, percentile=50.0, **options),
        "monai assd": monai.compute_average_surface_distance(y_pred, y, symmetric=True, **options),
        "deepmind hd95": deepmind.compute_robust_hausdorff(found, 95),
        "deepmind hd": deepmind.compute_robust_hausdorff(found, 100),
        "deepmind nsd 0.6": deepmind.compute_surface_dice_at_tolerance(found, 0.6),
        "deepmind mean to prediction": means[0],
        "deepmind mean to reference": means[1],
        "medpy hd": medpy.hd(b, a, voxelspacing=spacing),
        "medpy hd95": medpy.hd95(b, a, voxelspacing=spacing),
        "medpy assd": medpy.assd(b, a, voxelspacing=spacing),
    }
    for tau in (0.6, 1.7):
        for name, more in (("", {}), ("subvoxel ", {"use_subvoxels": True})):
            out[f"monai {name}nsd {tau}"] = monai.compute_surface_dice(y_pred, y, [tau], **options, **more)
    return {name: float(value) for name, value in out.items()}


def skeleton(mask: np.ndarray) -> str:
    rim = soft_skel(tensor(np.pad(mask, 2)), iter_=12).numpy()[0, 0] > 0.5
    return packed(rim[(slice(2, -2),) * mask.ndim])


names = ("blobs", "all but one voxel", "one voxel in the corner", "the same voxel")
pairs = [
    {
        "name": f"{names[i % 4]}, {a.ndim}-D, {i // 4}",
        "shape": a.shape,
        "spacing": spacing,
        "reference": packed(a),
        "prediction": packed(b),
        "figures": figures(a, b, spacing),
        "skeleton": skeleton(a),
    }
    for i, (a, b, spacing) in enumerate(_odd_pairs())
]
elements = [
    {"spacing": s, "sizes": lookup_tables.create_table_neighbour_code_to_surface_area(s).tolist()}
    for s in ((1.0, 1.0, 1.0), (3.3, 0.8, 0.7), (0.4, 2.0, 1.1))
]
elements += [
    {"spacing": s, "sizes": np.ravel(lookup_tables.create_table_neighbour_code_to_contour_length(s)).tolist()}
    for s in ((1.0, 1.0), (0.7, 1.9))
]
made_by = ", ".join(f"{p} {version(p)}" for p in ("monai", "surface-distance-based-measures", "medpy"))
print(json.dumps({"made_by": made_by, "pairs": pairs, "elements": elements}))

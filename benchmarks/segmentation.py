"""Dice, HD95 and NSD of masks: one pair of 512 × 512 × 200 beside peers, and a thousand volumes streamed.

    python -P benchmarks/segmentation.py [--one NAME] [--stream N] [--out FILE]

Two pairs: a large organ (a ball of 150 pixels) and a small one (40). Each program runs in a process of its own; time is
that of the figures alone, memory the whole process's. Peers that are not installed are said to be absent. The stream
scores volumes of 128 × 128 × 64 as a run does, from NIfTI files and the store of masks, and says how memory grows.
Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

SPACING = (2.5, 0.8, 0.8)
TOLERANCE_MM = 1.0
RADII = {"large organ": 150, "small organ": 40}
Figures = tuple[float, float, float]


def pair(radius: float) -> tuple[np.ndarray, np.ndarray]:
    z, y, x = np.ogrid[:200, :512, :512]

    def ball(centre: tuple[int, int, int], r: float) -> np.ndarray:
        steps = (z - centre[0]) * SPACING[0] / SPACING[1], y - centre[1], x - centre[2]
        return np.asarray(sum(s * s for s in steps) <= r * r)

    return ball((100, 256, 256), radius), ball((101, 259, 255), radius - 1) | ball((100, 256 + radius, 256), radius / 5)


def ours(a: np.ndarray, b: np.ndarray) -> Figures:
    from evalsuite.stats import overlap, surface
    from evalsuite.stats.masks import mask_pair

    p = mask_pair(a, b, SPACING)
    found = surface.surfaces(p, "voxel")
    return (
        overlap.dice(p).value or 0.0,
        surface.percentile(found, 95.0),
        surface.surface_dice(found, TOLERANCE_MM),
    )


def surfels(a: np.ndarray, b: np.ndarray) -> Figures:
    from evalsuite.stats import overlap, surface
    from evalsuite.stats.masks import mask_pair

    p = mask_pair(a, b, SPACING)
    found = surface.surfaces(p, "surfel")
    return (
        overlap.dice(p).value or 0.0,
        surface.percentile(found, 95.0),
        surface.surface_dice(found, TOLERANCE_MM),
    )


def monai(a: np.ndarray, b: np.ndarray) -> Figures:
    import torch
    from monai import metrics

    y, y_pred = (torch.as_tensor(m[None, None].astype(np.float32)) for m in (a, b))
    options = {"include_background": True, "spacing": list(SPACING)}
    return (
        float(metrics.compute_dice(y_pred, y)),
        float(metrics.compute_hausdorff_distance(y_pred, y, percentile=95, **options)),
        float(metrics.compute_surface_dice(y_pred, y, [TOLERANCE_MM], **options)),
    )


def deepmind(a: np.ndarray, b: np.ndarray) -> Figures:
    import surface_distance as other

    found = other.compute_surface_distances(a, b, SPACING)
    return (
        float(other.compute_dice_coefficient(a, b)),
        float(other.compute_robust_hausdorff(found, 95)),
        float(other.compute_surface_dice_at_tolerance(found, TOLERANCE_MM)),
    )


def scipy(a: np.ndarray, b: np.ndarray) -> Figures:
    """The distance transform of the whole image, as many scripts do it."""
    from scipy.ndimage import binary_erosion, distance_transform_edt

    edges = [m ^ binary_erosion(m) for m in (a, b)]
    to_a, to_b = (distance_transform_edt(~e, sampling=SPACING) for e in edges)
    there, back = to_a[edges[1]], to_b[edges[0]]
    near = (there <= TOLERANCE_MM).sum() + (back <= TOLERANCE_MM).sum()
    return (
        float(2 * (a & b).sum() / (a.sum() + b.sum())),
        float(max(np.percentile(there, 95), np.percentile(back, 95))),
        float(near / (there.size + back.size)),
    )


PROGRAMS: dict[str, tuple[Callable[[np.ndarray, np.ndarray], Figures], str]] = {
    "evalsuite, voxel": (ours, "scipy"),
    "evalsuite, surfel": (surfels, "scipy"),
    "MONAI": (monai, "monai"),
    "surface-distance": (deepmind, "surface_distance"),
    "SciPy transform": (scipy, "scipy"),
}


def one(name: str, radius: float, repeats: int = 3) -> dict[str, object]:
    work, _ = PROGRAMS[name]
    small = np.zeros((4, 4, 4), dtype=bool)
    small[1:3, 1:3, 1:3] = True
    work(small, small)  # imports
    a, b = pair(radius)
    seconds, figures = [], (0.0, 0.0, 0.0)
    for _ in range(repeats):
        start = time.process_time()
        figures = work(a, b)
        seconds.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return {"cpu": float(np.median(seconds)), "mb": peak, "figures": figures}


def table() -> str:
    lines = [
        "# Dice, HD95 and NSD of 512 × 512 × 200 masks",
        "",
        "```",
        f"{'':38s}{'CPU s':>8s}{'peak MB':>9s}   Dice    HD95     NSD",
    ]
    for size, radius in RADII.items():
        for name, (_, needs) in PROGRAMS.items():
            label = f"{size}, {name}"
            if find_spec(needs) is None:
                lines.append(f"{label:38s}absent")
                continue
            command = [sys.executable, "-P", __file__, "--one", name, "--radius", str(radius)]
            row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            dice, hd95, nsd = row["figures"]
            lines.append(f"{label:38s}{row['cpu']:8.2f}{row['mb']:9.0f}{dice:8.4f}{hd95:8.3f}{nsd:8.4f}")
    found = json.loads(
        subprocess.run(
            [sys.executable, "-P", __file__, "--stream", "1000"], check=True, capture_output=True, text=True
        ).stdout
    )
    lines += ["", "1,000 volumes of 128 × 128 × 64, one at a time: Dice, HD95 and NSD of each"]
    lines += [
        f"  {found['seconds']:.0f} CPU s; resident {found['early']:.0f} MB after 100, {found['late']:.0f} MB at the end"
    ]
    return "\n".join([*lines, "```", ""])


def stream(n: int) -> dict[str, float]:
    """Score `n` volumes one after the other; MB of the process after a tenth of them and at the end, and seconds."""
    import tempfile
    from types import SimpleNamespace

    import nibabel
    import pandas as pd

    from evalsuite.analyses.mask_figures import Asked, with_mask_figures
    from evalsuite.imaging.mask_file import decode_mask
    from evalsuite.inference.mask_store import write_masks
    from evalsuite.inference.masks import StoredMask, encode
    from evalsuite.protocol.schema import Task
    from evalsuite.testset.reference_files import ReferenceFiles

    z, y, x = np.ogrid[:64, :128, :128]
    marks: list[float] = []

    class Files(ReferenceFiles):
        def read(self, cell: str) -> bytes | None:
            if int(cell[1:]) in (n // 10, n - 1):
                with open("/proc/self/statm") as file:
                    marks.append(int(file.read().split()[1]) * resource.getpagesize() / 1e6)
            return reference[int(cell[1:]) % len(reference)]

    balls = [(z - 32) ** 2 + (y - 64) ** 2 + (x - 60 - k) ** 2 < (24 + k % 5) ** 2 for k in range(8)]
    reference = [nibabel.Nifti1Image(b.astype(np.uint8), np.diag([2.5, 0.8, 0.8, 1.0])).to_bytes() for b in balls]
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for start in range(0, n, 64):
            masks = []
            for i in range(start, min(n, start + 64)):
                labels, grid = decode_mask(reference[(i + 1) % len(reference)], name="m.nii")
                masks.append(
                    StoredMask(case_id=f"c{i}", output="mask", channel=None, classes=(), grid=grid, runs=encode(labels))
                )
            files.append(Path(folder) / f"masks-{start:05d}.parquet")
            write_masks(files[-1], masks)
        ids = [f"c{i}" for i in range(n)]
        frame = pd.DataFrame({"mask": ids})
        rows = pd.DataFrame({"case_id": ids, "status": "ok", "reason": None})
        task = Task(kind="segmentation", reference="mask", score="mask", classes=["organ"])
        asked = [Asked(structure="organ", metric=m, tolerance_mm=1.0 if m == "nsd" else None) for m in
                 ("dice", "hd95", "nsd")]  # fmt: skip
        began = time.process_time()
        with_mask_figures(
            SimpleNamespace(task=task),  # type: ignore[arg-type]
            frame,
            rows,
            SimpleNamespace(mask_files=tuple(files)),  # type: ignore[arg-type]
            Files(places={}),
            asked,
        )
        seconds = time.process_time() - began
    return {"early": marks[0], "late": marks[-1], "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", choices=list(PROGRAMS))
    parser.add_argument("--radius", type=float, default=150.0)
    parser.add_argument("--stream", type=int, metavar="N")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if asked.stream:
        print(json.dumps(stream(asked.stream)))
        return
    if asked.one:
        print(json.dumps(one(asked.one, asked.radius)))
        return
    text = table()
    print(text)
    if asked.out:
        asked.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""A plain nodule detector, as a vendor's would be used: it reads the images and writes a table of marks.

    python examples/nodule_ct/nodule_detect.py --cases demo-detection/data/cases.csv --out demo-detection/data/marks.csv

Bright blobs in the lung by differences of Gaussians at three sizes; how bright, how round and how large a blob is
becomes a score by a logistic function, whose numbers `--fit` found on other phantoms (seed 4001, nine in ten of them
from the first scanner).
"""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_HERE = Path(__file__).resolve().parent
if str(_HERE) not in sys.path:
    sys.path.insert(0, str(_HERE))

import numpy as np  # noqa: E402
from nodule_phantom import render  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from scipy.ndimage import (  # noqa: E402
    binary_closing,
    gaussian_filter,
    map_coordinates,
    maximum_filter,
)

STEP = 1.6
SIZES_MM = (2.0, 3.2, 5.12)
MOST_MARKS = 12
LEAST_SCORE = 0.02
#: Constant, brightness (per 100 HU), roundness, size in mm: from `--fit`.
WEIGHTS = (-19.52, 3.143, 17.044, 2.128)


def candidates(volume: NDArray[np.int16], spacing_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    """Blobs of a scan: rows of (z, y, x in mm from the first voxel, brightness, roundness, size in mm)."""
    spacing = np.array(spacing_mm)
    image = np.clip(volume, -1000, 100).astype(np.float32)
    ball = np.indices((5, 5, 5)).reshape(3, -1).T - 2
    structure = np.zeros((5, 5, 5), dtype=bool)
    structure[tuple((ball + 2)[(ball**2).sum(axis=1) <= 5].T)] = True
    lung = binary_closing(volume < -500, structure, iterations=2) & (gaussian_filter(image, 6.0 / spacing) < -350)
    blurred = [gaussian_filter(image, s / spacing) for s in (*SIZES_MM, STEP * SIZES_MM[-1])]
    response = np.stack([fine - coarse for fine, coarse in itertools.pairwise(blurred)])
    best = response.max(axis=0)
    peak = (best == maximum_filter(best, size=3)) & (best > 30.0) & lung
    found = []
    for at in np.argwhere(peak):
        size = SIZES_MM[int(response[(slice(None), *at)].argmax())]
        found.append((*(at * spacing), float(best[tuple(at)]) / 100.0, _roundness(image, at, size, spacing), size))
    return np.array(found, dtype=np.float64).reshape(-1, 6)


def _roundness(image: NDArray[np.float32], at: NDArray[np.int64], size: float, spacing: NDArray[np.float64]) -> float:
    """Smallest over largest fall of brightness along 13 lines through a blob: 1 for a ball, near 0 for a vessel."""
    steps = np.array([(a, b, c) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1) if (a, b, c) > (0, 0, 0)])
    lines = steps / np.linalg.norm(steps, axis=1, keepdims=True) * (2.0 * size) / spacing
    ends = np.concatenate([at + lines, at - lines]).T
    values = map_coordinates(image, ends, order=1, mode="nearest").reshape(2, -1)
    fall = np.clip(float(image[tuple(at)]) - values.max(axis=0), 0.0, None)
    return float(fall.min() / max(float(fall.max()), 1.0))


def score(found: NDArray[np.float64], weights: tuple[float, ...] = WEIGHTS) -> NDArray[np.float64]:
    """Between 0 and 1 for every blob."""
    return np.asarray(1.0 / (1.0 + np.exp(-(weights[0] + found[:, 3:] @ np.array(weights[1:])))))


def marks_of(volume: NDArray[np.int16], spacing_mm: tuple[float, float, float]) -> list[tuple[float, ...]]:
    """The marks of a scan: (score, z, y, x), the highest first, none closer than 5 mm to a higher one."""
    found = candidates(volume, spacing_mm)
    scores = score(found)
    kept: list[tuple[float, ...]] = []
    for i in np.argsort(-scores, kind="stable"):
        near = any(np.linalg.norm(found[i, :3] - np.array(k[1:])) < 5.0 for k in kept)
        if not near and scores[i] >= LEAST_SCORE and len(kept) < MOST_MARKS:
            kept.append((float(scores[i]), *(float(v) for v in found[i, :3])))
    return kept


def read_series(folder: Path) -> tuple[NDArray[np.int16], tuple[float, float, float]]:
    """Hounsfield units (slice, row, column) and spacing of a folder of axial slices."""
    import pydicom

    planes = sorted((pydicom.dcmread(p) for p in folder.glob("*.dcm")), key=lambda d: float(d.ImagePositionPatient[2]))
    step = float(planes[1].ImagePositionPatient[2]) - float(planes[0].ImagePositionPatient[2])
    row, column = (float(v) for v in planes[0].PixelSpacing)
    return np.stack([p.pixel_array for p in planes]).astype(np.int16), (step, row, column)


def detect(cases: Path, out: Path, *, on_case: Callable[[int, int], None] | None = None, threads: int = 2) -> Path:
    """Write the marks of every case of a table; a scan without a mark has one row without score and place."""
    with cases.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    def one(row: dict[str, str]) -> list[str]:
        made = marks_of(*read_series(cases.parent / row["image"]))
        case = row["case_id"]
        return [f"{case},{s:.4f},{x:.2f},{y:.2f},{z:.2f}" for s, z, y, x in made] or [f"{case},,,,"]

    lines = ["case_id,score,x,y,z"]
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for done, made in enumerate(pool.map(one, rows), start=1):
            lines += made
            if on_case is not None:
                on_case(done, len(rows))
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return out


def fit(n_patients: int = 60, seed: int = 4001) -> tuple[float, ...]:
    """The weights of the score, on phantoms of other patients, most of them from the first scanner."""
    from nodule_generate import scans
    from sklearn.linear_model import LogisticRegression

    inputs, truth = [], []
    for scan in scans(n_patients, seed=seed, borealis=0.1):
        found = candidates(render(scan.patient, scan.scanner), scan.scanner.spacing_mm)
        for row in found:
            near = [np.linalg.norm(row[:3] - np.array(n.centre_mm)) <= n.diameter_mm / 2 for n in scan.patient.nodules]
            inputs.append(row[3:])
            truth.append(any(near))
    model = LogisticRegression(C=10.0).fit(np.array(inputs), truth)
    return (float(model.intercept_[0]), *(float(w) for w in model.coef_[0]))


def main(argv: list[str] | None = None) -> int:
    """Command line of the detector."""
    parser = argparse.ArgumentParser(description="Mark nodules in chest-CT phantoms.")
    parser.add_argument("--cases", type=Path, help="case table with a folder of slices per case")
    parser.add_argument("--out", type=Path, help="table of marks to write")
    parser.add_argument("--fit", action="store_true", help="say the weights of the score, fitted on other phantoms")
    args = parser.parse_args(argv)
    if args.fit:
        sys.stdout.write(", ".join(f"{w:.3f}" for w in fit()) + "\n")
        return 0
    if args.cases is None or args.out is None:
        parser.error("--cases and --out are needed")
    detect(args.cases, args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

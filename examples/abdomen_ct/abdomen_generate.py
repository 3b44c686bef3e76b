"""Make a set of abdominal CT phantoms: NIfTI volumes, the outlines of two experts, and a case table.

    python examples/abdomen_ct/abdomen_generate.py --out demo-segmentation/data --patients 50 --seed 20261202

The same seed gives the same bytes. Everything is invented.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_HERE = Path(__file__).resolve().parent
if str(_HERE) not in sys.path:
    sys.path.insert(0, str(_HERE))

import nibabel  # noqa: E402
import numpy as np  # noqa: E402
from abdomen_phantom import FIELD_MM, SCANNERS, draw  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

COLUMNS = (
    "case_id", "patient_id", "image", "mask", "second_mask", "site", "manufacturer", "contrast", "sex", "age",
)  # fmt: skip


def save(array: NDArray[np.generic], spacing: tuple[float, float, float], path: Path) -> None:
    """A NIfTI file without a time or a name in its compression header: the same bytes for the same voxels."""
    image = nibabel.Nifti1Image(array, np.diag([*spacing, 1.0]))
    image.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=4, mtime=0))


def generate(
    out: Path | str,
    *,
    n_patients: int,
    seed: int,
    borealis: float = 0.4,
    field_mm: tuple[float, float, float] = FIELD_MM,
    on_case: Callable[[int, int], None] | None = None,
    threads: int = 2,
) -> Path:
    """Write the set into the folder `out` and return the path of its case table. One patient in fifteen has lost the
    left kidney."""
    out = Path(out)

    def one(i: int) -> dict[str, str]:
        rng = np.random.default_rng([seed, i])
        scanner = SCANNERS[int(rng.random() < borealis)]
        case = f"a{i:03d}"
        row = {
            "case_id": case,
            "patient_id": f"p{i:03d}",
            "image": f"images/{case}.nii.gz",
            "mask": f"masks/{case}.nii.gz",
            "second_mask": f"masks-second/{case}.nii.gz",
            "site": scanner.site,
            "manufacturer": scanner.manufacturer,
            "contrast": "yes" if scanner.contrast else "no",
            "sex": str(rng.choice(["F", "M"])),
            "age": str(int(np.clip(rng.normal(58, 13), 25, 90))),
        }
        made = draw([seed, i, 1], scanner, kidney=bool(rng.random() > 1 / 15), field_mm=field_mm)
        save(made.image, scanner.spacing_mm, out / row["image"])
        save(made.first, scanner.spacing_mm, out / row["mask"])
        save(made.second, scanner.spacing_mm, out / row["second_mask"])
        return row

    rows = []
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for done, row in enumerate(pool.map(one, range(n_patients)), start=1):
            rows.append(row)
            if on_case is not None:
                on_case(done, n_patients)
    with (out / "cases.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return out / "cases.csv"


def main(argv: list[str] | None = None) -> int:
    """Command line of the generator."""
    parser = argparse.ArgumentParser(description="Make abdominal CT phantoms as NIfTI with outlines.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--patients", type=int, default=50)
    parser.add_argument("--seed", type=int, default=20261202)
    parser.add_argument("--borealis", type=float, default=0.4, metavar="P", help="share of the second scanner")
    args = parser.parse_args(argv)
    generate(args.out, n_patients=args.patients, seed=args.seed, borealis=args.borealis)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Outlines of prostate lesions by experts and a program, three centres: Dice per centre as counted apart, grids named.

Run by `make outlines` (all cases, a minute), which needs the real data beside the checkout.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import yaml

from tests.conftest import SHARED

PROTOCOL: dict[str, Any] = {
    "schema": "evalsuite/protocol/1",
    "id": "prostate-lesions",
    "version": "1.0.0",
    "title": "Outlines of prostate lesions",
    "kind": "standalone",
    "intended_use": {"indications": "none: a test"},
    "task": {
        "kind": "segmentation",
        "reference": "mask",
        "score": "mask",
        "classes": ["lesion"],
        "empty": {"both": "perfect", "reference": "worst", "prediction": "worst"},
    },
    "unit": {"case": "case_id", "cluster": "patient_id"},
    "endpoints": [
        {
            "name": "overlap",
            "metric": "dice",
            "role": "primary",
            "criterion": {"bound": "lower", "op": ">", "value": 0.5},
        },
        {"name": "distance", "metric": "hd95", "maximum": 200},
    ],
    "confidence": {"bootstrap": {"replicates": 200}},
    "small_strata": {"suppress_below": 2, "flag_below": 10},
    "strata": ["center"],
    "disclose": ["center"],
    "seed": 5,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What numpy counts in a case: Dice, 0 where the two grids differ, and how they differ."""

    case: str
    centre: str
    dice: float
    grid: str | None


def cases(source: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((source / "subjects.csv").read_text().splitlines()))


def counted(source: Path, row: dict[str, str]) -> Counted:
    """Dice of two masks as nibabel reads them."""
    of = {"case": row["case"], "centre": row["center"]}
    a, b = (nibabel.load(source / who / f"{row['case']}.nii.gz") for who in ("expert", "ai"))
    if a.shape != b.shape:
        return Counted(**of, dice=0.0, grid=f"{a.shape} against {b.shape} voxels")
    corner = (np.array(a.shape) - 1) @ (a.affine - b.affine)[:3, :3].T
    # Two grids are one where nothing lies further apart than a tenth of a voxel; these differ by less or much more.
    first = (a.affine - b.affine)[:3, 3]
    apart = max(np.abs(corner + first).max(), np.abs(corner).max(), np.abs(first).max())
    if apart > 0.1 * min(a.header.get_zooms()):
        return Counted(**of, dice=0.0, grid=f"{apart:.2f} mm apart")
    x, y = (np.asarray(image.dataobj) > 0 for image in (a, b))
    both = 2.0 * (x & y).sum() / (x.sum() + y.sum()) if x.any() or y.any() else 1.0
    return Counted(**of, dice=float(both), grid=None)


def write_study(source: Path, rows: list[dict[str, str]], folder: Path, *, replicates: int = 200) -> None:
    """Case table, recorded masks and protocol."""
    table = [f"{r['case']},{r['patient_id']},{r['center']},{source / 'expert' / r['case']}.nii.gz" for r in rows]
    (folder / "cases.csv").write_text("\n".join(["case_id,patient_id,center,mask", *table]) + "\n")
    drawn = [f"{r['case']},{source / 'ai' / r['case']}.nii.gz" for r in rows]
    (folder / "ai.csv").write_text("\n".join(["case_id,mask", *drawn]) + "\n")
    asked = {**PROTOCOL, "confidence": {"bootstrap": {"replicates": replicates}}}
    (folder / "protocol.yaml").write_text(yaml.safe_dump(asked, sort_keys=False))


def estimate(evidence: dict[str, Any], centre: str | None) -> dict[str, Any]:
    """The overlap of a centre, or of all."""
    stratum = {} if centre is None else {"center": centre}
    found: dict[str, Any] = next(
        f["estimate"]
        for f in evidence["findings"]
        if f["endpoint"] == "overlap" and f["stratum"] == stratum and f["condition"] is None
    )
    return found


def main() -> int:
    """Print a line per centre and per case on another grid; 1 where a figure or a count is wrong."""
    source = SHARED / "real" / "picai_masks"
    if not source.is_dir():
        sys.stdout.write("skipped: the real masks are not beside this checkout\n")
        return 0
    rows = cases(source)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_study(source, rows, folder, replicates=2000)
        program = [sys.executable, "-m", "evalsuite"]
        subprocess.run(
            [*program, "lock", "cases.csv", "--protocol", "protocol.yaml", "--out", "set"],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
        subprocess.run(
            [*program, "run", "protocol.yaml", "--testset", "set", "--model", "ai.csv", "--out", "run"],
            cwd=folder, check=False, capture_output=True,
        )  # fmt: skip
        evidence = json.loads((folder / "run" / "evidence.json").read_text())
    apart = [counted(source, row) for row in rows]
    wrong = 0
    for centre in (*sorted({c.centre for c in apart}), None):
        mine = [c for c in apart if centre in (None, c.centre)]
        ours, expected = estimate(evidence, centre), float(np.mean([c.dice for c in mine]))
        right = ours["n"] == len(mine) and abs(ours["value"] - expected) < 1e-9
        wrong += not right
        sys.stdout.write(
            f"{'ok   ' if right else 'WRONG'}  {centre or 'all':5} n = {ours['n']:3}  Dice {ours['value']:.4f} "
            f"[{ours['low']:.4f}, {ours['high']:.4f}]  numpy {expected:.4f}\n"
        )
    other = [c for c in apart if c.grid is not None]
    for c in other:
        sys.stdout.write(f"       {c.case}  {c.centre}  another grid: {c.grid}\n")
    failed = sum(a["n"] for a in evidence["accounting"] if a["status"] == "failed" and not a["stratum"])
    said = next((note for note in evidence["notes"] if "output on another grid" in note), "nothing is said")
    right = failed == len(other)
    wrong += not right
    sys.stdout.write(f"{'ok   ' if right else 'WRONG'}  {failed} cases failed: {said}\n")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())

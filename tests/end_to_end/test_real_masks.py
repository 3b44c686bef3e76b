"""Real outlines of prostate lesions by experts and a program, three centres: Dice as numpy counts, grids reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import yaml

from tests.campaigns.outlines import PROTOCOL, cases, counted, estimate, write_study

EACH = 4


def _chosen(source: Path) -> list[dict[str, str]]:
    """Some cases of every centre, the one with another number of columns among them."""
    rows = cases(source)
    found: list[dict[str, str]] = []
    for centre in sorted({r["center"] for r in rows}):
        mine = sorted((r for r in rows if r["center"] == centre), key=lambda r: r["case"] != "10408_1000415")
        found += mine[:EACH]
    return found


def test_outlines_of_three_centres(shared_real: Path, tmp_path: Path, cli: Any) -> None:
    source = shared_real / "picai_masks"
    rows = _chosen(source)
    write_study(source, rows, tmp_path)
    common = ("--testset", tmp_path / "set", "--model", tmp_path / "ai.csv")
    assert cli("lock", tmp_path / "cases.csv", "--protocol", tmp_path / "protocol.yaml", "--out", common[1]).code == 0
    done = cli("run", tmp_path / "protocol.yaml", *common, "--out", tmp_path / "run")
    assert done.code == 1, done.err
    evidence = json.loads((tmp_path / "run" / "evidence.json").read_text())
    apart = [counted(source, r) for r in rows]
    for centre in sorted({c.centre for c in apart}):
        values = [c.dice for c in apart if c.centre == centre]
        found = estimate(evidence, centre)
        assert found["n"] == len(values) == EACH
        assert found["value"] == pytest.approx(np.mean(values))
        assert found["low"] <= found["value"] <= found["high"]
    failed = sum(a["n"] for a in evidence["accounting"] if a["status"] == "failed" and not a["stratum"])
    assert failed == sum(c.grid is not None for c in apart) >= 1
    assert any(f"{failed} of {len(rows)} cases have an output on another grid" in note for note in evidence["notes"])


def test_lesions_of_multiple_sclerosis_as_outlines_and_as_what_marks_find(
    shared_real: Path, tmp_path: Path, cli: Any
) -> None:
    """FLAIR volumes and lesion masks in MNI space: bright voxels scored as an outline, marks looked up in lesions."""
    from scipy.ndimage import generate_binary_structure, label

    source, rows, drawn, marks = shared_real / "mri_ms_mni", [], [], ["case_id,score,x,y,z"]
    expected, lesions = [], []
    for name in ("patient07", "patient26"):
        flair = nibabel.load(source / f"{name}_flair.nii.gz")
        truth = np.asanyarray(nibabel.load(source / f"{name}_lesion_gt.nii.gz").dataobj) > 0
        bright = np.asanyarray(flair.dataobj)
        outline = bright > np.quantile(bright[bright > 0], 0.995)
        nibabel.save(nibabel.Nifti1Image(outline.astype(np.uint8), flair.affine), tmp_path / f"{name}.nii.gz")
        expected.append(2.0 * (outline & truth).sum() / (outline.sum() + truth.sum()))
        found, n = label(truth, generate_binary_structure(3, 3))
        lesions.append(n)
        # One voxel of every second lesion is marked, in RAS millimetres, and one place far from any.
        voxels = np.argwhere(found)
        first = np.unique(found[tuple(voxels.T)], return_index=True)[1]
        places = voxels[first[::2]]
        for at in [*places, np.array([2, 2, 2])]:
            ras = (np.asarray(flair.affine) @ np.append(at, 1.0))[:3]
            marks.append(f"{name},0.9," + ",".join(f"{v:.3f}" for v in ras))
        rows.append(f"{name},{name},{source / f'{name}_flair.nii.gz'},{source / f'{name}_lesion_gt.nii.gz'}")
        drawn.append(f"{name},{name}.nii.gz")
    (tmp_path / "cases.csv").write_text("\n".join(["case_id,patient_id,image,mask", *rows]) + "\n")
    (tmp_path / "outlines.csv").write_text("\n".join(["case_id,mask", *drawn]) + "\n")
    (tmp_path / "marks.csv").write_text("\n".join(marks) + "\n")
    outlined = {**PROTOCOL, "strata": [], "disclose": []}
    marked = {
        **outlined, "id": "lesions-marked",
        "task": {"kind": "detection", "reference": "mask", "score": "score", "coordinates": "ras",
                 "matching": {"rule": "in_mask"}},
        "operating_points": [{"name": "primary", "threshold": 0.5, "source": "fixed beforehand"}],
        "endpoints": [{"name": "found", "metric": "lesion_sensitivity", "at": "primary", "role": "primary",
                       "criterion": {"bound": "lower", "op": ">", "value": 0.2}}],
    }  # fmt: skip
    estimates = {}
    for name, protocol, model in (("outlined", outlined, "outlines.csv"), ("marked", marked, "marks.csv")):
        path, testset, out = tmp_path / f"{name}.yaml", tmp_path / f"{name}-set", tmp_path / name
        path.write_text(yaml.safe_dump(protocol, sort_keys=False))
        done = cli("lock", tmp_path / "cases.csv", "--protocol", path, "--out", testset, "--decode-check", "none")
        assert done.code == 0, done.err
        done = cli("predict", path, "--testset", testset, "--model", tmp_path / model, "--out", out)
        assert done.code == 0, done.err
        assert cli("score", out).code in (0, 1)
        evidence = json.loads((out / "evidence.json").read_text())
        estimates |= {f["endpoint"]: f["estimate"] for f in evidence["findings"] if f["analysis"] != "missing_data"}
    assert estimates["overlap"]["value"] == pytest.approx(float(np.mean(expected)))
    assert (estimates["found"]["numerator"], estimates["found"]["denominator"]) == (
        sum((n + 1) // 2 for n in lesions),
        sum(lesions),
    )

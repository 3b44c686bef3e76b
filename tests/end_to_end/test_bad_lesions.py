"""Bad outlines and marks, one of each kind in one study: an outcome per case, all accounted for, the run goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import yaml

from tests.end_to_end.conftest import protocol_text
from tests.unit.imaging.volume_making import write_series

N = 12
COMMON: dict[str, Any] = {
    "schema": "evalsuite/protocol/1",
    "id": "bad",
    "version": "1.0.0",
    "title": "Bad input",
    "kind": "standalone",
    "intended_use": {"indications": "none: a test"},
    "unit": {"case": "case_id", "cluster": "patient_id"},
    "confidence": {"bootstrap": {"replicates": 100}},
    "seed": 5,
}


def _run(folder: Path, cli: Any, protocol: dict[str, Any], model: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Reasons of the cases without a usable output as the listing or the predictions have them, and the evidence."""
    (folder / "protocol.yaml").write_text(yaml.safe_dump({**COMMON, **protocol}, sort_keys=False))
    path, testset = folder / "protocol.yaml", folder / "set"
    assert cli("lock", folder / "cases.csv", "--protocol", path, "--out", testset).code == 0
    done = cli("run", path, "--testset", testset, "--model", folder / model, "--out", folder / "run")
    assert done.code == 1, done.err
    assert "Traceback" not in done.err
    assert cli("verify", folder / "run").code == 0
    from evalsuite.inference.predictions import read_predictions

    table = read_predictions(folder / "run" / "predictions.parquet").table
    reasons = {c: str(r) for c, r in zip(table["case_id"], table["reason"], strict=True) if isinstance(r, str)}
    return reasons, json.loads((folder / "run" / "evidence.json").read_text())


def _counts(evidence: dict[str, Any]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for a in evidence["accounting"]:
        if not a["stratum"]:
            counts[a["status"]] = counts.get(a["status"], 0) + a["n"]
    return counts


def test_bad_masks(tmp_path: Path, cli: Any) -> None:
    rows, table = ["case_id,patient_id,mask"], ["case_id,mask"]
    for i in range(N):
        mask = np.zeros((8, 9, 7), np.uint8)
        mask[2:6, 2:7, 2:5] = 1
        mask[3:5, 3:5, 3] = 2
        affine = np.diag([2.0, 1.0, 1.5, 1.0])
        for folder in ("truth", "drawn"):
            (tmp_path / folder).mkdir(exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(mask, affine), tmp_path / "truth" / f"c{i:02d}.nii.gz")
        if i == 0:  # another patient's grid
            mask = np.pad(mask, ((0, 3), (0, 0), (0, 0)))
        if i == 1:
            affine[0, 0] = 2.5
        if i == 2:  # a label nobody knows
            mask[0, 0, 0] = 7
        if i != 3:  # no file
            nibabel.save(nibabel.Nifti1Image(mask, affine), tmp_path / "drawn" / f"c{i:02d}.nii.gz")
        if i == 4:
            (tmp_path / "drawn" / "c04.nii.gz").write_bytes(b"not an image")
        rows.append(f"c{i:02d},p{i:02d},truth/c{i:02d}.nii.gz")
        if i != 5:  # no row
            table.append(f"c{i:02d},{'' if i == 6 else f'drawn/c{i:02d}.nii.gz'}")
    (tmp_path / "cases.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "outlines.csv").write_text("\n".join(table) + "\n")
    overlap = {"name": "overlap", "metric": "dice", "target": "organ", "role": "primary"}
    overlap["criterion"] = {"bound": "lower", "op": ">", "value": 0.5}  # type: ignore[assignment]
    task = {"kind": "segmentation", "reference": "mask", "score": "mask", "classes": ["organ", "cyst"]}
    _, evidence = _run(tmp_path, cli, {"task": task, "endpoints": [overlap]}, "outlines.csv")
    assert _counts(evidence) == {"ok": N - 7, "failed": 7}
    lines = (tmp_path / "run" / "arrays" / "structures.csv").read_text().splitlines()[1:]
    reasons = {line.split(",")[0]: line.split(",", 3)[3].strip(",").strip('"') for line in lines if ",failed," in line}
    assert reasons == {
        "c00": "the output lies on another grid than the reference: shape",
        "c01": "the output lies on another grid than the reference: spacing",
        "c02": "the output has values that are no label of the protocol: 7",
        "c03": "the mask file is missing",
        "c04": reasons["c04"],
        "c05": "no prediction recorded",
        "c06": reasons["c06"],
    }
    assert reasons["c04"].startswith("the mask file cannot be used")
    found = next(f["estimate"] for f in evidence["findings"] if f["endpoint"] == "overlap" and f["condition"] is None)
    assert found["n"] == N
    assert found["value"] == (N - 7) / N, "each of the seven counts as no overlap at all"


def test_bad_marks(tmp_path: Path, cli: Any) -> None:
    rows, lesions = ["case_id,patient_id,image,lesions"], ["case_id,x,y,z,diameter_mm"]
    marks: list[str] = ["case_id,score,x,y,z"]
    for i in range(N):
        case = f"c{i:02d}"
        write_series(tmp_path / case, np.full((3, 6, 6), i, np.int16), SeriesInstanceUID=f"1.2.{i + 1}")
        rows.append(f"{case},p{i:02d},{case},lesions.csv")
        lesions.append(f"{case},11,21,32,4")
        place = {0: "11,21,900", 1: "-11,-21,32", 2: "11,21,"}.get(i, "11,21,32")
        score = {3: "nan", 4: "inf"}.get(i, "0.8")
        marks += [f"{case},{score},{place}"] * (2 if i == 5 else 1)
    (tmp_path / "cases.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "lesions.csv").write_text("\n".join(lesions) + "\n")
    (tmp_path / "marks.csv").write_text("\n".join(marks) + "\n")
    found = {"name": "found", "metric": "lesion_sensitivity", "at": "shown", "role": "primary"}
    found["criterion"] = {"bound": "lower", "op": ">", "value": 0.9}  # type: ignore[assignment]
    task = {"kind": "detection", "reference": "lesions", "score": "score", "matching": {"rule": "distance"}}
    task["coordinates"] = "lps"
    points = [{"name": "shown", "threshold": 0.5, "source": "fixed beforehand"}]
    protocol = {"task": task, "operating_points": points, "endpoints": [found]}
    reasons, evidence = _run(tmp_path, cli, protocol, "marks.csv")
    assert _counts(evidence) == {"ok": N - 5, "failed": 5}
    assert reasons == {
        "c00": "a mark lies outside the image",
        "c01": "a mark lies outside the image",
        "c02": "a mark lacks its score or a part of its place",
        "c03": "a mark lacks its score or a part of its place",
        "c04": "a mark's score or place is not finite",
    }
    estimate = next(f["estimate"] for f in evidence["findings"] if f["endpoint"] == "found" and not f["stratum"])
    assert (estimate["numerator"], estimate["denominator"]) == (N - 5, N)
    assert any("1 mark repeats another one" in note for note in evidence["notes"])


def test_lesions_outside_their_images_are_no_reference(tmp_path: Path, cli: Any) -> None:
    """Two cases with a lesion far away, one of them in the other system of axes: refused by name, nothing is scored."""
    rows, lesions = ["case_id,patient_id,image,lesions"], ["case_id,x,y,z,diameter_mm"]
    for i in range(4):
        case = f"c{i:02d}"
        write_series(tmp_path / case, np.full((3, 6, 6), i, np.int16), SeriesInstanceUID=f"1.2.{i + 1}")
        rows.append(f"{case},p{i:02d},{case},lesions.csv")
        lesions.append(f"{case}," + {1: "11,21,900", 2: "-11,-21,32"}.get(i, "11,21,32") + ",4")
    (tmp_path / "cases.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "lesions.csv").write_text("\n".join(lesions) + "\n")
    (tmp_path / "marks.csv").write_text("case_id,score,x,y,z\n" + "".join(f"c{i:02d},0.8,11,21,32\n" for i in range(4)))
    found = {"name": "found", "metric": "lesion_sensitivity", "at": "shown", "role": "primary",
             "criterion": {"bound": "lower", "op": ">", "value": 0.9}}  # fmt: skip
    task = {"kind": "detection", "reference": "lesions", "score": "score", "matching": {"rule": "distance"},
            "coordinates": "lps"}  # fmt: skip
    points = [{"name": "shown", "threshold": 0.5, "source": "fixed beforehand"}]
    (tmp_path / "protocol.yaml").write_text(
        protocol_text(task=task, operating_points=points, endpoints=[found], strata=[], disclose=[])
    )
    protocol, testset = tmp_path / "protocol.yaml", tmp_path / "set"
    assert cli("lock", tmp_path / "cases.csv", "--protocol", protocol, "--out", testset).code == 0
    done = cli("predict", protocol, "--testset", testset, "--model", tmp_path / "marks.csv", "--out", tmp_path / "run")
    assert done.code == 0, done.err
    done = cli("score", tmp_path / "run")
    assert done.code == 2
    said = " ".join(done.err.split())
    assert "2 cases have a lesion" in said
    assert "case c01" in said
    assert "case c02" in said
    assert not (tmp_path / "run" / "evidence.json").exists()

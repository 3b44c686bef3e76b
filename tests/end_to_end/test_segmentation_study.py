"""A segmentation study from mask files to a verified report: figures by hand, other grids, empty masks, bad files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import yaml

from evalsuite.judging import judge
from evalsuite.protocol.load import load_protocol
from evalsuite.record.bag import write_tags
from evalsuite.report import build_dossier
from evalsuite.types import Evidence

N = 24
SPACING = (2.0, 1.0, 1.5)
PROTOCOL: dict[str, Any] = {
    "schema": "evalsuite/protocol/1",
    "id": "organs",
    "version": "1.0.0",
    "title": "A small segmentation study",
    "kind": "standalone",
    "intended_use": {"indications": "none: a test"},
    "task": {"kind": "segmentation", "reference": "mask", "score": "outline", "classes": ["liver", "cyst"]},
    "unit": {"case": "case_id", "cluster": "patient_id"},
    "endpoints": [
        {
            "name": "overlap",
            "metric": "dice",
            "target": "liver",
            "role": "primary",
            "criterion": {"bound": "lower", "op": ">", "value": 0.5},
        },
        {"name": "low overlap", "metric": "dice", "target": "liver", "quantile": 0.25},
        {"name": "distance", "metric": "hd95", "target": "liver", "maximum": 40},
        {"name": "surface", "metric": "nsd", "target": "liver", "tolerance": 2, "definition": "surfel"},
        {"name": "cyst", "metric": "dice", "target": "cyst"},
        {"name": "cyst volume", "metric": "volume_error", "target": "cyst", "maximum": 5},
    ],
    "confidence": {"bootstrap": {"replicates": 200}},
    "strata": ["site"],
    "disclose": ["site"],
    "seed": 5,
}


def _masks(i: int) -> tuple[np.ndarray, np.ndarray]:
    """A box of 1 with, in two cases of three, a cyst of 2; the device is one voxel off and misses every fourth cyst."""
    reference, device = np.zeros((10, 12, 9), np.uint8), np.zeros((10, 12, 9), np.uint8)
    reference[2:8, 2:9, 2:7] = 1
    device[2 : 8 - i % 3, 3:10, 2:7] = 1
    if i % 3:
        reference[4:6, 4:6, 3:5] = 2
        if i % 4:
            device[4:6, 4:7, 3:5] = 2
    return reference, device


def _save(array: np.ndarray, path: Path, *, shift: float = 0.0) -> None:
    affine = np.diag([*SPACING, 1.0])
    affine[0, 3] = shift
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


def _write(folder: Path) -> None:
    (folder / "protocol.yaml").write_text(yaml.safe_dump(PROTOCOL, sort_keys=False))
    rows, table = ["case_id,patient_id,mask,site"], ["case_id,outline"]
    for i in range(N):
        reference, device = _masks(i)
        _save(reference, folder / "truth" / f"c{i:02d}.nii.gz")
        # c20 lies elsewhere, c21 is no mask, c22 has no file, c23 no row.
        _save(device + 0.5 if i == 21 else device, folder / "drawn" / f"c{i:02d}.nii.gz", shift=0.5 * (i == 20))
        rows.append(f"c{i:02d},p{i // 2:02d},truth/c{i:02d}.nii.gz,{'A' if i % 2 else 'B'}")
        if i < 23:
            table.append(f"c{i:02d},drawn/{'none' if i == 22 else f'c{i:02d}'}.nii.gz")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    (folder / "outlines.csv").write_text("\n".join(table) + "\n")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, cli: Any) -> Path:
    folder = tmp_path_factory.mktemp("segmentation")
    _write(folder)
    protocol, testset, model = folder / "protocol.yaml", folder / "set", folder / "outlines.csv"
    for command in (
        ("lock", folder / "cases.csv", "--protocol", protocol, "--out", testset),
        ("freeze", protocol, "--testset", testset, "--model", model, "--out", folder / "frozen"),
    ):
        done = cli(*command)
        assert done.code == 0, done.err
    done = cli("run", folder / "frozen", "--testset", testset, "--model", model, "--out", folder / "run")
    assert done.code in (0, 1), done.err
    return folder


def _evidence(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run" / "evidence.json").read_text())
    return found


def _find(folder: Path, endpoint: str, condition: str | None = None) -> dict[str, Any]:
    (found,) = [
        f["estimate"]
        for f in _evidence(folder)["findings"]
        if f["endpoint"] == endpoint and f["stratum"] == {} and f["condition"] == condition
    ]
    return dict(found)


def _dice(label: int) -> list[float]:
    """Of the cases whose output can be used, by plain counting; without those where both are empty."""
    out = []
    for i in range(20):
        a, b = (m == label for m in _masks(i))
        if a.any() or b.any():
            out.append(2.0 * float((a & b).sum()) / float(a.sum() + b.sum()))
    return out


def test_a_quantile_of_cases_is_not_printed_as_their_mean(study: Path) -> None:
    """In the table of structures too, where both are Dice coefficients of the liver."""
    protocol, evidence = load_protocol(study / "protocol.yaml"), Evidence.from_json(_evidence(study))
    plain = build_dossier(protocol, evidence, judge(protocol, evidence), {}).to_json()
    tables = [b for s in plain["sections"] for b in s["blocks"] if b["block"] == "table"]
    (structures,) = [t for t in tables if t["caption"].startswith("Structure by structure")]
    titles = [c["title"] for c in structures["columns"]]
    liver = next(r["cells"] for r in structures["rows"] if r["cells"][0]["text"] == "liver")
    assert liver[titles.index("Dice coefficient")]["text"] == f"{_find(study, 'overlap')['value']:.3f}"
    assert f"{_find(study, 'low overlap')['value']:.3f}" != f"{_find(study, 'overlap')['value']:.3f}"
    assert any(t["caption"].startswith("site:") and "low overlap" in t["caption"] for t in tables), "groups have it too"


def test_figures_are_those_counted_by_hand(study: Path) -> None:
    liver, cyst = _dice(1), _dice(2)
    assert _find(study, "overlap")["value"] == pytest.approx(sum(liver) / N)
    assert _find(study, "overlap")["n"] == N
    without = _find(study, "overlap", "missing_outputs=exclude")
    assert without["value"] == pytest.approx(np.mean(liver))
    assert _find(study, "low overlap", "missing_outputs=exclude")["value"] == pytest.approx(np.quantile(liver, 0.25))
    assert _find(study, "low overlap")["value"] == pytest.approx(np.quantile([*liver, 0, 0, 0, 0], 0.25))
    best = _find(study, "overlap", "missing_outputs=best_case")
    assert best["value"] == pytest.approx((sum(liver) + 4) / N)
    # Cases without a cyst in either mask are in no mean.
    assert _find(study, "cyst", "missing_outputs=exclude")["n"] == len(cyst) < 20
    assert _find(study, "cyst", "missing_outputs=exclude")["value"] == pytest.approx(np.mean(cyst))
    error = [float((b == 2).sum()) - float((a == 2).sum()) for a, b in map(_masks, range(20))]
    ml = np.prod(SPACING) / 1000
    assert _find(study, "cyst volume", "missing_outputs=exclude")["value"] == pytest.approx(np.mean(error) * ml)
    assert _find(study, "distance")["value"] > _find(study, "distance", "missing_outputs=exclude")["value"] >= 1.0
    assert 0.0 < _find(study, "surface")["value"] < 1.0


def test_every_case_without_a_usable_mask_says_why(study: Path) -> None:
    evidence = _evidence(study)
    counted = {(a["status"], a["reference"]): a["n"] for a in evidence["accounting"] if not a["stratum"]}
    assert counted == {("ok", "known"): 20, ("failed", "known"): 4}
    assert any("1 of 24 cases have an output on another grid" in note for note in evidence["notes"])
    assert any("cyst: " in note and "empty masks" in note for note in evidence["notes"])
    from evalsuite.inference.predictions import read_predictions

    table = read_predictions(study / "run" / "predictions.parquet").table
    reasons = dict(zip(table["case_id"], table["reason"], strict=True))
    assert reasons["c21"] == "the mask file cannot be used (not_mask)"
    assert reasons["c22"] == "the mask file is missing"
    assert reasons["c23"] == "no prediction recorded"
    assert reasons["c20"] is None  # a mask like any other, until it is laid beside the reference


def test_the_run_is_scored_again_to_the_byte_and_verifies(study: Path, cli: Any) -> None:
    evidence = _evidence(study)
    assert {f["analysis"] for f in evidence["findings"]} == {"segmentation", "missing_data"}
    shown = [c for c in evidence["curves"] if c["kind"] == "histogram"]
    assert {c["series"]: sum(c["y"]) for c in shown}["liver"] == N
    html = (study / "run" / "report.html").read_text()
    assert "Dice coefficient of liver" in html
    assert "Structure" in html
    before = (study / "run" / "evidence.json").read_bytes()
    assert cli("score", study / "run").code in (0, 1)
    assert (study / "run" / "evidence.json").read_bytes() == before
    assert cli("verify", study / "run").code == 0


def test_a_mask_changed_after_locking_or_sealing_breaks_the_run(study: Path, cli: Any) -> None:
    truth = study / "truth" / "c03.nii.gz"
    before = truth.read_bytes()
    try:
        _save(_masks(1)[0], truth)
        assert cli("score", study / "run").code == 3
    finally:
        truth.write_bytes(before)
    (drawn,) = (study / "run" / "arrays").glob("masks-*.parquet")
    sealed = drawn.read_bytes()
    try:
        drawn.write_bytes(sealed[:-20])
        assert cli("score", study / "run").code == 3
    finally:
        drawn.write_bytes(sealed)


def test_scores_are_no_masks(study: Path, cli: Any, tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("case_id,outline\n" + "".join(f"c{i:02d},0.5\n" for i in range(N)))
    protocol, testset = study / "protocol.yaml", study / "set"
    done = cli("run", protocol, "--testset", testset, "--model", tmp_path / "scores.csv", "--out", tmp_path / "run")
    assert done.code == 2
    assert "needs masks" in done.err


def test_masks_stay_with_the_run_when_it_is_packaged(study: Path, cli: Any, tmp_path: Path) -> None:
    out = tmp_path / "package"
    assert cli("package", study / "run", "--out", out, "--role", "reviewer", "--actor", "rita").code == 0
    name = next((out / "data" / "runs").iterdir()).name
    index = json.loads((out / "data" / "index.json").read_text())["runs"][0]
    assert sorted(index["withheld"]) == ["arrays/masks-00000.parquet", "arrays/pictures.json", "arrays/structures.csv"]
    checks = {c["name"]: c for c in cli("verify", out, "--json").json()["checks"]}
    assert "3 left with the run" in checks[f"run {name}: files"]["detail"]
    # Put back, a mask file has to be the sealed one; and nothing else may stay behind.
    (out / "data" / "runs" / name / "arrays").mkdir()
    (out / "data" / "runs" / name / "arrays" / "masks-00000.parquet").write_bytes(b"other masks")
    (out / "data" / "runs" / name / "predictions.parquet").unlink()
    write_tags(out, {})
    done = cli("verify", out, "--json")
    assert done.code == 3
    said = next(c for c in done.json()["checks"] if c["name"] == f"run {name}: files")["detail"]
    assert "missing: predictions.parquet" in said
    assert "changed: arrays/masks-00000.parquet" in said

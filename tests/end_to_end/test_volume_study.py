"""A study of a segmenter of volumes: from NIfTI and DICOM series to a verified report, with masks sealed beside it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
import yaml

from tests.unit.imaging.volume_making import affine_of, write_series

N = 8
SPACING = (2.0, 1.5, 1.0)
CONTRACT: dict[str, Any] = {
    "schema": "evalsuite/model/1",
    "name": "two-sequence segmenter",
    "inputs": [
        {
            "name": name,
            "shape": [1, None, None, None],
            "normalise": "linear",
            "source_range": [0, 200],
            "orientation": "SPL",
            "spacing_mm": list(SPACING),
        }
        for name in ("t1", "flair")
    ],
    "outputs": [{"name": "seg", "meaning": "mask", "classes": ["background", "lesion"], "grid": "flair"}],
}
PROTOCOL: dict[str, Any] = {
    "schema": "evalsuite/protocol/1",
    "id": "lesion-volume",
    "version": "1.0.0",
    "title": "Volume of lesions",
    "kind": "standalone",
    "intended_use": {"indications": "none: a test"},
    "task": {"kind": "regression", "reference": "truth_mm3", "score": "volume_mm3_lesion"},
    "unit": {"case": "case_id", "cluster": "patient_id"},
    "endpoints": [
        {
            "name": "error",
            "metric": "mae",
            "role": "primary",
            "maximum": 5000,
            "criterion": {"bound": "upper", "op": "<", "value": 1},
        }
    ],
    "confidence": {"bootstrap": {"replicates": 100}},
    "seed": 5,
}


def volumes(i: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(i)
    first, second = (rng.integers(0, 200, (6, 5, 4)).astype(np.int16) for _ in range(2))
    return first, second


def lesion(t1: np.ndarray, flair: np.ndarray) -> np.ndarray:
    """What the network draws: bright in FLAIR, dark in T1, in the lower half."""
    found = (flair > 100) & (t1 < 100)
    found[len(found) // 2 :] = False
    return found


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    class Two(torch.nn.Module):
        def forward(self, t1: torch.Tensor, flair: torch.Tensor) -> torch.Tensor:
            lower = (torch.arange(t1.shape[2]) < t1.shape[2] // 2).to(t1.dtype).reshape(1, 1, -1, 1, 1)
            lesion = torch.minimum(flair - 0.5, 0.5 - t1) * lower
            return torch.cat([-lesion, lesion], dim=1)

    folder = tmp_path_factory.mktemp("volume-study")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Two()), folder / "model.ts")
    rows = []
    for i in range(N):
        t1, flair = volumes(i)
        # T1 as DICOM series whose names are in another order; FLAIR as NIfTI, every second one stored another way round
        write_series(
            folder / f"t1-{i}", t1, spacing=SPACING, order=[3, 1, 5, 0, 2, 4], SeriesInstanceUID=f"1.2.{i + 1}"
        )
        codes, array = ("SPL", flair) if i % 2 else ("LSA", flair.transpose(2, 0, 1)[:, :, ::-1])
        spacing = SPACING if i % 2 else (SPACING[2], SPACING[0], SPACING[1])
        image = nibabel.Nifti1Image(np.ascontiguousarray(array), affine_of(codes, spacing))
        (folder / f"flair-{i}.nii").write_bytes(image.to_bytes())
        outline = lesion(t1, flair).astype(np.uint8)
        outline[0, 0, :] = 0  # the experts draw nothing there
        drawn = outline if i % 2 else outline.transpose(2, 0, 1)[:, :, ::-1]
        (folder / f"lesion-{i}.nii").write_bytes(
            nibabel.Nifti1Image(np.ascontiguousarray(drawn), image.affine).to_bytes()
        )
        rows.append(
            {
                "case_id": f"c{i}",
                "patient_id": f"p{i}",
                "t1": f"t1-{i}",
                "flair": f"flair-{i}.nii",
                "mask": f"lesion-{i}.nii",
                "truth_mm3": lesion(t1, flair).sum() * float(np.prod(SPACING)),
            }
        )
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    (folder / "contract.json").write_text(json.dumps(CONTRACT))
    (folder / "protocol.yaml").write_text(yaml.safe_dump(PROTOCOL))
    return folder


@pytest.fixture(scope="module")
def finished(study: Path, cli: Any, sandbox_flags: tuple[str, ...]) -> Path:
    assert cli("lock", study / "cases.csv", "--out", study / "SET", "--reference", "truth_mm3,mask").code == 0
    outcome = cli(
        "run", study / "protocol.yaml", "--testset", study / "SET", "--model", study / "model.ts",
        "--contract", study / "contract.json", "--out", study / "RUN", *sandbox_flags,
    )  # fmt: skip
    assert outcome.code == 1, outcome.err  # not frozen: the criteria are judged and the run is no evidence
    return study / "RUN"


def test_volumes_are_those_of_the_network_whatever_way_round_the_files_are(finished, study):
    verdict = json.loads((finished / "verdict.json").read_text())
    assert verdict["criteria"][0]["estimate"]["value"] == 0
    record = json.loads((finished / "record.json").read_text())["inference"]
    assert record["batch_size"] == 1
    assert record["prepared"]["flair: turned from LSA to SPL without interpolation"] == N // 2
    assert record["rerun"]["bitwise_equal"]


def test_masks_lie_on_the_grid_of_the_file_they_were_drawn_on(finished, study):
    from evalsuite.inference.mask_store import read_masks

    masks = {mask.case_id: mask for mask in read_masks(finished)}
    assert list(masks) == [f"c{i}" for i in range(N)]
    for i in range(N):
        file = nibabel.load(study / f"flair-{i}.nii")
        mask = masks[f"c{i}"]
        assert mask.grid.shape == file.shape
        np.testing.assert_allclose(np.asarray(mask.grid.affine), file.affine)
        expected = lesion(*volumes(i))
        if i % 2 == 0:
            expected = expected.transpose(2, 0, 1)[:, :, ::-1]
        np.testing.assert_array_equal(mask.labels(), expected)


def test_masks_are_sealed_with_the_run(finished, cli, tmp_path):
    import shutil

    whole = cli("verify", finished, "--json").json()
    assert {c["name"]: c["status"] for c in whole["checks"]}["masks"] == "holds"
    shutil.copytree(finished, tmp_path / "RUN")
    path = next((tmp_path / "RUN" / "arrays").glob("masks-*.parquet"))
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    assert cli("verify", tmp_path / "RUN").code == 3


def test_a_contract_that_does_not_say_how_volumes_lie_is_refused_before_the_run(
    study, finished, cli, tmp_path, sandbox_flags
):
    contract = json.loads(json.dumps(CONTRACT))
    del contract["inputs"][0]["orientation"]
    (tmp_path / "contract.json").write_text(json.dumps(contract))
    outcome = cli(
        "predict", study / "protocol.yaml", "--testset", study / "SET", "--model", study / "model.ts",
        "--contract", tmp_path / "contract.json", "--out", tmp_path / "RUN", *sandbox_flags,
    )  # fmt: skip
    assert outcome.code == 2
    assert "inputs[0].orientation" in outcome.err
    assert not (tmp_path / "RUN" / "predictions.parquet").exists()


def test_the_report_says_what_was_done_to_the_volumes(finished):
    text = (finished / "report.html").read_text()
    assert f"flair: turned from LSA to SPL without interpolation ({N // 2})" in text


def test_masks_of_a_packaged_model_are_scored_as_masks(finished, study, cli, tmp_path, sandbox_flags):
    task = {"kind": "segmentation", "reference": "mask", "score": "seg", "classes": ["lesion"]}
    overlap = {"name": "overlap", "metric": "dice", "role": "primary"}
    overlap["criterion"] = {"bound": "lower", "op": ">", "value": 0.5}
    worse = {"modality": "mr", "perturbations": ["rician"], "severities": [1, 5], "cases": 4, "groups": []}
    worse |= {"storage": ["axes", "units", "nifti", "dicom"]}
    worse |= {"precision": {"cases": 2, "precisions": ["bfloat16"], "batch_sizes": [2], "devices": ["cuda:7"]}}
    asked = {**PROTOCOL, "task": task, "endpoints": [overlap], "analyses": {"robustness": worse}}
    (tmp_path / "protocol.yaml").write_text(yaml.safe_dump(asked))
    outcome = cli(
        "run", tmp_path / "protocol.yaml", "--testset", study / "SET", "--model", study / "model.ts",
        "--contract", study / "contract.json", "--out", tmp_path / "RUN", *sandbox_flags,
    )  # fmt: skip
    assert outcome.code == 1, outcome.err
    dice = []
    for i in range(N):
        device = lesion(*volumes(i))
        reference = device.copy()
        reference[0, 0, :] = False
        dice.append(2 * (device & reference).sum() / (device.sum() + reference.sum()))
    verdict = json.loads((tmp_path / "RUN" / "verdict.json").read_text())
    assert verdict["criteria"][0]["estimate"]["value"] == pytest.approx(np.mean(dice))
    assert 0.5 < np.mean(dice) < 1
    evidence = json.loads((tmp_path / "RUN" / "evidence.json").read_text())
    found = {
        (f["condition"], f["metric"]): f["estimate"] for f in evidence["findings"] if f["analysis"] == "robustness"
    }
    for same in ("identity", "axes", "units", "nifti", "dicom", "batch", "repeat/1", "batch_size=2"):
        assert found[same, "lowest_mask_agreement"]["value"] == 1.0, same
    assert found["rician/5", "dice"]["value"] < found["rician/1", "dice"]["value"] < 1.0
    assert found["precision=bfloat16", "same_answer"]["n"] == 2
    assert "'cuda:7' is not present" in found["device=cuda:7", "same_answer"]["undefined"]
    assert cli("verify", tmp_path / "RUN").code == 0

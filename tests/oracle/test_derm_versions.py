"""A real model as two builds and as a damaged copy."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

import evalsuite as es
from evalsuite.inference.engine import predict
from evalsuite.inference.predictions import Predictions
from evalsuite.inference.settings import InferenceSettings
from evalsuite.models.open import open_model
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.spine import Who, lock
from evalsuite.testset import open_testset
from tests.derm_formats import CONTRACT

SETTINGS = InferenceSettings(device="cpu", batch_size=20, threads=1, decoders=1, repeat=False)
MALIGNANT = "p_mel + p_bcc + p_akiec"
EACH = 25


def _images(shared_real: Path, folder: Path, chosen: pd.DataFrame) -> Path:
    """A case table of the chosen lesions, and their images."""
    rows = chosen.copy()
    folder.mkdir()
    for i, name in enumerate(chosen["image"]):
        path = folder / f"{chosen['image_id'].iloc[i]}.png"
        with Image.open(shared_real / "derm_ham10000" / name) as image:
            # Small, as the model sees them: 1,000 full images would take the test's whole time to read.
            image.convert("RGB").resize((224, 224)).save(path, compress_level=1)
        rows.iloc[i, rows.columns.get_loc("image")] = str(path)
    rows.rename(columns={"image_id": "case_id", "lesion_id": "patient_id"}).to_csv(folder / "cases.csv", index=False)
    return folder / "cases.csv"


def _labels(shared_real: Path) -> pd.DataFrame:
    return pd.read_csv(shared_real / "derm_ham10000" / "labels.csv", dtype=str, keep_default_na=False)


def _study(**more: Any) -> StudyProtocol:
    asked = {"at": "primary", "role": "primary", "hypothesis": "equivalence", "margin": 0.15}
    return StudyProtocol.model_validate(
        {
            "schema": "evalsuite/protocol/1",
            "id": "builds",
            "version": "1",
            "title": "Two builds of one model",
            "kind": "comparison",
            "intended_use": {},
            "task": {"kind": "binary", "reference": "malignant", "positive": 1, "score": MALIGNANT},
            "unit": {"case": "case_id", "cluster": "patient_id"},
            "operating_points": [{"name": "primary", "threshold": 0.5}],
            "endpoints": [{"name": "discrimination", "metric": "auroc"}],
            "comparisons": [
                {"name": "sensitivity alike", "metric": "sensitivity", **asked},
                {"name": "specificity alike", "metric": "specificity", **asked},
                # Alike in every rank, two builds have no interval of an AUROC difference: compared, and not judged.
                {"name": "area", "metric": "auroc"},
                {
                    "name": "brier alike",
                    "metric": "brier",
                    "role": "primary",
                    "hypothesis": "equivalence",
                    "margin": 0.01,
                },
            ],
            "confidence": {"bootstrap": {"replicates": 100}},
            "seed": 1,
            **more,
        }
    )


@pytest.fixture(scope="module")
def builds(shared_real: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Predictions]]:
    """Fifty lesions, half of them malignant, by the ONNX build, the TorchScript build and a copy with noisy weights."""
    import torch

    folder, models = tmp_path_factory.mktemp("builds"), shared_real / "models" / "derm_mnv2_7class"
    frame = _labels(shared_real).drop_duplicates("lesion_id")
    chosen = pd.concat([group.head(EACH) for _, group in frame.groupby("malignant")]).sort_index()
    cases = _images(shared_real, folder / "images", chosen)
    who = Who(actor="lab", now=lambda: "2026-01-10T10:00:00.000Z")
    lock(cases, out=folder / "set", who=who, reference=["malignant"])
    testset = open_testset(folder / "set")
    (folder / "contract.json").write_text(json.dumps(CONTRACT))
    script = models / "bundle" / "models" / "model.ts"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        damaged = torch.jit.load(str(script), map_location="cpu")
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in damaged.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.35 * weight.std())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(damaged, str(folder / "damaged.ts"))
    paths = {"onnx": models / "model.onnx", "torchscript": script, "damaged": folder / "damaged.ts"}
    made = {
        name: predict(
            open_model(path, contract=folder / "contract.json"), testset, settings=SETTINGS, work=folder / name
        )
        for name, path in paths.items()
    }
    return testset, made


def test_the_onnx_and_the_torchscript_build_are_equivalent(builds: tuple[Any, dict[str, Predictions]]) -> None:
    testset, made = builds
    evidence = es.evaluate(_study(), testset, made["onnx"], baseline=made["torchscript"])
    verdict = es.judge(_study(), evidence)
    assert verdict.overall == "met", verdict.reason
    changed = {f.metric: f.estimate.numerator for f in evidence.findings if f.analysis == "flips" and not f.condition}
    assert changed["fixed_rate"] == changed["broken_rate"] == 0
    area = next(f.estimate for f in evidence.findings if f.metric == "auroc_difference")
    assert area.value == pytest.approx(0.0, abs=1e-9)


def test_a_damaged_copy_is_not_equivalent_and_its_broken_cases_are_counted(
    builds: tuple[Any, dict[str, Predictions]],
) -> None:
    testset, made = builds
    evidence = es.evaluate(_study(), testset, made["damaged"], baseline=made["torchscript"])
    verdict = es.judge(_study(), evidence)
    assert verdict.overall == "not_met", verdict.reason
    area = next(f.estimate for f in evidence.findings if f.metric == "auroc_difference" and not f.stratum)
    assert area.high is not None
    assert area.high < 0
    right = {name: (p.table[["p_mel", "p_bcc", "p_akiec"]].sum(axis=1).to_numpy() >= 0.5) for name, p in made.items()}
    labels = pd.read_csv(testset.path.parent / "images" / "cases.csv", dtype=str).set_index("case_id")["malignant"]
    truth = (labels.loc[made["damaged"].table["case_id"]] == "1").to_numpy()
    broken = int(((right["torchscript"] == truth) & (right["damaged"] != truth)).sum())
    counted = {
        f.metric: f.estimate.numerator
        for f in evidence.findings
        if f.analysis == "flips" and not f.stratum and not f.condition
    }
    assert counted["broken_rate"] == broken > 0

"""The engine on real dermoscopic images gives the probabilities in the table delivered with the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evalsuite.inference.engine import predict
from evalsuite.inference.settings import InferenceSettings
from evalsuite.models.open import open_model
from evalsuite.testset.types import Case, LockedTestSet

N = 40


@pytest.mark.parametrize("name", ["bundle", "model.pt2", "model.onnx"])
def test_probabilities_agree_with_the_delivered_table(shared_real: Path, tmp_path: Path, name: str) -> None:
    # predictions_derm_mnv2_7class.csv: the table delivered with the model, six decimals (SOURCE.json beside it)
    folder, package = shared_real / "derm_ham10000", shared_real / "models" / "derm_mnv2_7class"
    expected = pd.read_csv(folder / "predictions_derm_mnv2_7class.csv").head(N)
    cases = tuple(
        Case(
            case_id=image, patient_id=image, study_id="", site="", acquired_at="", sample_weight=None,
            images={"image": (folder / "images" / f"{image}.jpg",)},
        )
        for image in expected["image_id"]
    )  # fmt: skip
    testset = LockedTestSet(
        path=folder, lock={}, root="0" * 64, digest="0" * 64, set_id="derm", version="1", cases=cases, has_images=True
    )
    model = open_model(package / name, contract=package / "MODEL.json")
    settings = InferenceSettings(device="cpu", batch_size=16, threads=1, decoders=1, repeat=False)
    found = predict(model, testset, settings=settings, work=tmp_path)
    assert (found.table["status"] == "ok").all()
    for output in found.outputs:
        np.testing.assert_allclose(found.table[output], expected[output], atol=1e-4)

"""A real skin-lesion classifier in four formats, on real images, against predictions recorded elsewhere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from evalsuite.imaging import read_image
from evalsuite.models.open import open_model
from evalsuite.models.preprocess import normalise, prepare

N = 32
PACKAGES = {
    "bundle": ("bundle", None),
    "torch.export": ("model.pt2", None),
    "onnx": ("model.onnx", None),
    "torchscript": ("bundle/models/model.ts", "MODEL.json"),
}


@pytest.fixture(scope="module")
def recorded(shared_real):
    return pd.read_csv(shared_real / "derm_ham10000" / "predictions_derm_mnv2_7class.csv")


@pytest.mark.parametrize("name", PACKAGES)
def test_scores_agree_with_the_recorded_ones(name, shared_real, recorded):
    folder = shared_real / "models" / "derm_mnv2_7class"
    path, contract = PACKAGES[name]
    model = open_model(folder / path, contract=folder / contract if contract else None)
    spec = model.contract.inputs[0]
    images = [shared_real / "derm_ham10000" / "images" / f"{i}.jpg" for i in recorded["image_id"][:N]]
    columns: dict[str, list[np.ndarray]] = {}
    for start in range(0, N, 32):
        stack = np.stack([prepare(read_image(p, spec=spec), spec) for p in images[start : start + 32]])
        batch = normalise(torch.from_numpy(stack), spec)
        for column, values in model.predict({spec.name: batch}).items():
            columns.setdefault(column, []).append(values)
    assert set(columns) == {f"p_{c}" for c in ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")}
    for column, parts in columns.items():
        np.testing.assert_allclose(np.concatenate(parts), recorded[column][:N], atol=1e-4)


def test_bundle_preprocessing_equals_monai_on_real_images(shared_real, recorded):
    import json
    import warnings

    folder = shared_real / "models" / "derm_mnv2_7class" / "bundle"
    spec = open_model(folder).contract.inputs[0]
    declared = json.loads((folder / "configs" / "inference.json").read_text())["preprocessing"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.bundle import ConfigParser

        compose = ConfigParser({"p": declared}).get_parsed_content("p")
        for image_id in recorded["image_id"][:3]:
            path = shared_real / "derm_ham10000" / "images" / f"{image_id}.jpg"
            ours = normalise(torch.from_numpy(prepare(read_image(path, spec=spec), spec)[np.newaxis]), spec)[0]
            np.testing.assert_allclose(ours.numpy(), np.asarray(compose({"image": str(path)})["image"]), atol=1e-6)


@pytest.mark.parametrize("name", ["cxr_hannover", "cxr_covid"])
def test_recorded_predictions_of_real_studies_open(name, shared_real):
    model = open_model(shared_real / name / "predictions_cxr_covid_tm3.csv", case_column="image")
    assert model.outputs == ("p_normal", "p_covid", "p_viral")
    assert np.isfinite(model.table[list(model.outputs)].to_numpy()).all()

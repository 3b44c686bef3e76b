"""MONAI bundles: our preprocessing gives what MONAI's own transforms give; what is not known is refused by name."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evalsuite.errors import ContractError, ModelLoadError
from evalsuite.imaging import read_image
from evalsuite.models.open import open_model
from evalsuite.models.preprocess import normalise, prepare

LOAD = {"_target_": "LoadImaged", "keys": "image", "reader": "PILReader", "ensure_channel_first": True}
TURN = {"_target_": "Transposed", "keys": "image", "indices": [0, 2, 1]}


@pytest.fixture
def bundle(packages, tmp_path):
    target = tmp_path / "bundle"
    shutil.copytree(packages / "bundle", target)
    return target


def monai(transforms: list[dict], path: Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.bundle import ConfigParser

        compose = ConfigParser({"p": {"_target_": "Compose", "transforms": transforms}}).get_parsed_content("p")
        return np.asarray(compose({"image": str(path)})["image"])


@pytest.mark.parametrize(
    "rest",
    [
        [TURN, {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 255, "b_min": -1,
                "b_max": 1}],
        [{"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 10, "a_max": 200, "b_min": 0, "b_max": 1,
          "clip": True}],
        [TURN, {"_target_": "ScaleIntensityd", "keys": "image"}],
        [TURN, {"_target_": "ScaleIntensityd", "keys": "image", "minv": -1.0, "maxv": 1.0}],
        [TURN, {"_target_": "NormalizeIntensityd", "keys": "image"}],
        [TURN, {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 255, "b_min": 0, "b_max": 1},
         {"_target_": "NormalizeIntensityd", "keys": "image", "subtrahend": [0.4, 0.5, 0.6],
          "divisor": [0.2, 0.3, 0.4], "channel_wise": True}],
        [TURN, {"_target_": "EnsureTyped", "keys": "image"}],
    ],
)  # fmt: skip
def test_preprocessing_equals_monai(rest, write_bundle, bundle, pictures):
    write_bundle(bundle, preprocessing=[LOAD, *rest])
    spec = open_model(bundle).contract.inputs[0]
    for path in pictures[:2]:
        ours = normalise(torch.from_numpy(prepare(read_image(path, spec=spec), spec)[np.newaxis]), spec)[0].numpy()
        np.testing.assert_allclose(ours, monai([LOAD, *rest], path), atol=1e-6)


def test_an_untransposed_bundle_gets_columns_before_rows(write_bundle, bundle, tmp_path):
    write_bundle(bundle, preprocessing=[LOAD])
    spec = open_model(bundle).contract.inputs[0]
    assert spec.transpose
    assert spec.normalise == "none"
    wide = np.zeros((8, 8, 3), np.uint8)
    wide[0, 5] = 200
    Image.fromarray(wide).save(tmp_path / "w.png")
    assert prepare(read_image(tmp_path / "w.png"), spec)[0, 5, 0] == 200


def test_no_expression_is_evaluated(bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = open_model(bundle)
    assert model.contract.outputs[0].activation == "softmax"
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize(
    ("transform", "what"),
    [
        ({"_target_": "RandFlipd", "keys": "image"}, "transform RandFlipd is not known"),
        ({"_target_": "my.module.Secretd", "keys": "image"}, "my.module.Secretd is not known"),
        ({"_target_": "Lambdad", "keys": "image", "func": "$lambda x: x"}, "needs a Python expression"),
        ({"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": "$0", "a_max": 1}, "needs a Python expression"),
        ({"_target_": "Transposed", "keys": "image", "indices": [1, 0, 2]}, "indices other than"),
        ({"_target_": "Resized", "keys": "image", "spatial_size": [8, 8]}, "transform Resized is not known"),
    ],
)
def test_unknown_transforms_are_named(transform, what, write_bundle, bundle):
    write_bundle(bundle, preprocessing=[LOAD, TURN, transform])
    with pytest.raises(ContractError) as caught:
        open_model(bundle)
    assert what in str(caught.value)
    assert "preprocessing.transforms[2]" in str(caught.value)


def test_an_explicit_contract_replaces_what_cannot_be_translated(write_bundle, bundle, packages):
    write_bundle(bundle, preprocessing=[{"_target_": "Unknownd"}])
    assert open_model(bundle, contract=packages / "contract.json").contract.name == "tiny"


def test_labels_instead_of_scores_are_refused(write_bundle, bundle):
    write_bundle(bundle, postprocessing=[{"_target_": "AsDiscreted", "keys": "pred", "argmax": True}])
    with pytest.raises(ContractError) as caught:
        open_model(bundle)
    assert "the score would be lost" in str(caught.value)


def test_weights_only_and_incomplete_bundles(bundle):
    (bundle / "models" / "model.ts").rename(bundle / "models" / "model.pt")
    with pytest.raises(ModelLoadError, match=r"no models/model\.ts"):
        open_model(bundle)
    (bundle / "models" / "model.pt").rename(bundle / "models" / "model.ts")
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    del metadata["network_data_format"]
    (bundle / "configs" / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(ContractError, match="no network inputs and outputs"):
        open_model(bundle)
    (bundle / "configs" / "metadata.json").write_text("{")
    with pytest.raises(ContractError, match="not valid JSON"):
        open_model(bundle)

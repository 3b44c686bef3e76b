"""A bundle of a volume segmenter: what MONAI's own transforms, windows and inversion give, or a refusal by name."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from evalsuite.errors import ContractError
from evalsuite.imaging import read_files
from evalsuite.inference.masks import bring_back
from evalsuite.models.open import open_model
from evalsuite.models.preprocess import normalise, prepare_image

PRE: list[dict[str, Any]] = [
    {"_target_": "LoadImaged", "keys": "image"},
    {"_target_": "EnsureChannelFirstd", "keys": "image"},
    {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None},
    {"_target_": "Spacingd", "keys": "image", "pixdim": [1.3, 1.7, 0.9], "mode": "bilinear"},
    {
        "_target_": "ScaleIntensityRanged",
        "keys": "image",
        "a_min": 0,
        "a_max": 200,
        "b_min": 0,
        "b_max": 1,
        "clip": True,
    },
    {"_target_": "EnsureTyped", "keys": "image"},
]
POST: list[dict[str, Any]] = [
    {"_target_": "Activationsd", "keys": "pred", "softmax": True},
    {
        "_target_": "Invertd",
        "keys": "pred",
        "transform": "@preprocessing",
        "orig_keys": "image",
        "nearest_interp": True,
    },
    {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
    {"_target_": "SaveImaged", "keys": "pred"},
]
INFERER = {
    "_target_": "SlidingWindowInferer",
    "roi_size": [6, 6, 6],
    "sw_batch_size": 2,
    "overlap": 0.5,
    "mode": "gaussian",
}


class Local(torch.nn.Module):
    """Looks at 3 × 3 × 3 voxels: the border of each window matters."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv = torch.nn.Conv3d(1, 2, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.conv(image - 0.5) * 4


def write_bundle(
    folder: Path, *, pre: list[dict[str, Any]] = PRE, post: list[dict[str, Any]] = POST, inferer: Any = INFERER
) -> Path:
    (folder / "models").mkdir(parents=True, exist_ok=True)
    (folder / "configs").mkdir(exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(Local().eval(), torch.zeros(1, 1, 6, 6, 6)), folder / "models" / "model.ts")
    image = {
        "type": "image",
        "format": "hounsfield",
        "num_channels": 1,
        "spatial_shape": [6, 6, 6],
        "value_range": [0, 1],
    }
    pred = {
        "type": "image",
        "format": "segmentation",
        "num_channels": 2,
        "channel_def": {"0": "background", "1": "spleen"},
    }
    metadata = {
        "version": "1",
        "task": "segmentation",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": pred}},
    }
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    config = {"inferer": inferer, "preprocessing": {"_target_": "Compose", "transforms": pre},
              "postprocessing": {"_target_": "Compose", "transforms": post}}  # fmt: skip
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    affine = np.array([[0, 0, -1.1, 40], [-2.0, 0, 0, 7], [0, 1.6, 0, -3], [0, 0, 0, 1.0]])  # P, S, L
    array = np.random.default_rng(2).integers(0, 220, (7, 11, 13)).astype(np.int16)
    path = tmp_path_factory.mktemp("volume") / "a.nii.gz"
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def test_a_volume_bundle_gives_what_monai_gives(volume, tmp_path):
    model = open_model(write_bundle(tmp_path / "bundle"))
    spec = model.contract.inputs[0]
    assert (spec.orientation, spec.spacing_mm, spec.resample, spec.shape) == (
        "RAS",
        (1.3, 1.7, 0.9),
        "linear",
        (1, None, None, None),
    )
    image = read_files([volume], spec=spec, name="case")
    prepared = prepare_image(image, spec)
    ours = normalise(torch.from_numpy(prepared.array[np.newaxis]), spec)
    found = model.predict({"image": ours})
    back = bring_back(found, model.contract, case_ids=["c"], placements=[{"image": prepared.placement}])
    mask = back.masks[0].labels()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.bundle import ConfigParser
        from monai.data import decollate_batch
        from monai.inferers import SlidingWindowInferer
        from monai.transforms import AsDiscreted, Compose, Invertd

        pre = ConfigParser({"p": {"_target_": "Compose", "transforms": PRE}}).get_parsed_content("p")
        item = pre({"image": str(volume)})
        np.testing.assert_allclose(ours[0].numpy(), np.asarray(item["image"]), atol=2e-5)
        inferer = SlidingWindowInferer(roi_size=[6, 6, 6], sw_batch_size=2, overlap=0.5, mode="gaussian")
        with torch.inference_mode():
            logits = inferer(item["image"][None], Local().eval())
        item["pred"] = decollate_batch(logits)[0]
        post = Compose(
            [AsDiscreted(keys="pred", argmax=True), Invertd("pred", pre, orig_keys="image", nearest_interp=True)]
        )
        theirs = np.asarray(post(item)["pred"])[0]
    assert mask.shape == theirs.shape == (7, 11, 13)
    assert 0.1 < theirs.mean() < 0.9
    np.testing.assert_array_equal(mask, theirs.astype(np.uint8))
    assert back.columns["voxels_spleen"][0] == theirs.sum()


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"pre": [PRE[0], PRE[3], PRE[2]]}, "before Orientation"),
        ({"pre": [*PRE[:3], {**PRE[3], "padding_mode": "zeros"}]}, "padding_mode other than border"),
        ({"pre": [*PRE[:3], {**PRE[3], "pixdim": [1.0, 1.0, -1.0]}]}, "three positive numbers"),
        ({"post": [POST[0], {**POST[1], "nearest_interp": False}, POST[2]]}, "interpolates probabilities"),
        ({"post": [{**POST[2], "to_onehot": 2}]}, "only argmax or a threshold"),
        ({"inferer": {**INFERER, "padding_mode": "reflect"}}, "padding constant with zeros"),
        ({"inferer": {**INFERER, "roi_size": "$[6, 6, 6]"}}, "roi_size is whole numbers"),
        ({"inferer": {"_target_": "SliceInferer", "roi_size": [6, 6]}}, "inferer SliceInferer is not supported"),
        ({"pre": [PRE[0], {"_target_": "CropForegroundd", "keys": "image"}]}, "CropForegroundd is not known"),
    ],
)
def test_what_cannot_be_translated_is_refused_by_name(changed, text, tmp_path):
    with pytest.raises(ContractError) as caught:
        open_model(write_bundle(tmp_path / "bundle", **changed))
    assert text in str(caught.value)


def test_a_bundle_that_does_not_turn_its_volumes_needs_a_contract(tmp_path):
    from evalsuite.inference.hooks import bind_inputs

    model = open_model(write_bundle(tmp_path / "bundle", pre=[*PRE[:2], *PRE[4:]], post=POST[2:]))
    assert model.contract.inputs[0].places == ("orientation", "spacing_mm")
    from evalsuite.testset.types import Case

    case = Case(
        case_id="c", patient_id="p", study_id="", site="", acquired_at="", sample_weight=None, images={"image": ()}
    )
    with pytest.raises(ContractError, match="how they lie in the patient"):
        bind_inputs(model.contract, [replace(case)])

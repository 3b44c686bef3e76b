"""Maps of a real classifier and a real brain segmenter, where they lie beside the checkout."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from attribution_nets import job

from evalsuite.attribution.run import attribute
from evalsuite.attribution.scorer import resolve
from evalsuite.imaging import read_image
from evalsuite.models.open import open_model
from evalsuite.models.preprocess import normalise, prepare
from evalsuite.protocol.interpretability import Target

SCORE = "p_mel + p_bcc + p_akiec"


@pytest.fixture(scope="module")
def lesions(shared_real):
    folder = shared_real / "derm_ham10000" / "images"
    model = open_model(shared_real / "models" / "derm_mnv2_7class" / "bundle")
    spec = model.contract.inputs[0]
    stack = np.stack([prepare(read_image(folder / f"ISIC_{i}.jpg", spec=spec), spec) for i in ("0024336",)])
    return normalise(torch.from_numpy(stack), spec)


def _job(model, **asked):
    target = resolve(Target(), model.contract, SCORE)
    assert target.words.startswith("log odds of mel + bcc + akiec")
    return job(1, channels=target.channels, **asked)


def test_a_real_classifier_is_laid_open_alike_in_two_formats_and_integrated_gradients_add_up(shared_real, lesions):
    models = shared_real / "models" / "derm_mnv2_7class"
    bundle = open_model(models / "bundle")
    methods = [{"method": "grad_cam"}, {"method": "integrated_gradients", "steps": 12, "sign": "signed"}]
    found = attribute(bundle, [lesions], _job(bundle, methods=methods))
    assert found.notes["grad_cam"] == "layer last.c, the first of 2 uses in one pass"  # two views, averaged inside
    cam = found.maps["grad_cam"]
    assert cam.shape == (1, 224, 224)
    exported = open_model(models / "model.pt2")
    other = attribute(exported, [lesions], _job(exported, methods=methods[:1]))
    np.testing.assert_allclose(other.maps["grad_cam"], cam, atol=1e-4)
    # what all pixels add is what the answer is more than that to an image of zeros
    with torch.no_grad():
        raw = torch.cat([bundle.raw([torch.zeros_like(lesions[:1])])[0], bundle.raw([lesions])[0]])
    inside, outside = [4, 1, 0], [2, 3, 5, 6]
    odds = (torch.logsumexp(raw[:, inside], 1) - torch.logsumexp(raw[:, outside], 1)).numpy()
    np.testing.assert_allclose(found.values["model", "target", "clean"], odds[1:], atol=1e-4)
    added = found.maps["integrated_gradients"].sum(axis=(1, 2))
    np.testing.assert_allclose(added, odds[1:] - odds[0], rtol=0.2, atol=0.6)


def test_a_real_brain_segmenter_has_maps_in_three_dimensions(shared_real, tmp_path):
    import nibabel

    image = {"name": "image", "shape": [1, None, None, None], "normalise": "none", "orientation": "any"}
    mask = {"name": "seg", "meaning": "mask", "classes": ["background", "white_matter", "grey_matter"]}
    contract = {"schema": "evalsuite/model/1", "inputs": [{**image, "spacing_mm": "any"}], "outputs": [mask]}
    (tmp_path / "contract.json").write_text(json.dumps(contract))
    package = shared_real / "models" / "brain_meshnet5_gwm" / "model.ts"
    model = open_model(package, contract=tmp_path / "contract.json")
    whole = np.asanyarray(nibabel.load(shared_real / "mri_t1_brainchop" / "t1_crop.nii.gz").dataobj)
    middle = tuple(slice(s // 2 - 12, s // 2 + 12) for s in whole.shape)
    part = torch.from_numpy((whole[middle] / whole.max()).astype(np.float32))[None, None]
    task = job(
        methods=[{"method": "grad_cam"}, {"method": "occlusion", "window": 12, "stride": 12}], channels=(1, 2),
        measures=["deletion"], fractions=2,
    )  # fmt: skip
    found = attribute(model, [part], task)
    assert found.maps["grad_cam"].shape == (1, 24, 24, 24)
    assert found.passes == {"clean": 1, "grad_cam": 1, "occlusion": 8, "emptied": 1, "deletion": 6}
    assert found.values["model", "target", "clean"][0] > 0  # there is white or grey matter in the middle of a head
    assert np.isfinite(found.values["occlusion", "deletion", "auc"]).all()

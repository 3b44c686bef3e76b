"""Measures of maps whose right values are known, and the number of image passes, which is stated before it is spent."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from attribution_nets import TWO, Linear, Pooled, Runtime, job, packaged, scripted

from evalsuite.attribution.job import Job, cost, keys_of_values, names_of_maps, passes_of_method
from evalsuite.attribution.run import attribute, refusals
from evalsuite.errors import ContractError, ModelRunError
from evalsuite.protocol.interpretability import Interpretability, Method

EVERY = ["randomisation", "reproducibility", "infidelity", "sensitivity", "insertion", "deletion", "road"]
METHODS = [
    {"method": "grad_cam"},
    {"method": "integrated_gradients", "steps": 6},
    {"method": "gradient_shap", "samples": 3},
    {"method": "saliency"},
    {"method": "occlusion", "window": 4, "stride": 3},
    {"method": "feature_ablation", "cells": 3},
    {"method": "rise", "samples": 10},
]


class Watched(Pooled):
    """Counts the images it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, x):
        self.seen += len(x)
        return super().forward(x)


def test_image_passes_are_those_that_were_stated_before():
    network = Watched().eval()
    task = job(3, methods=METHODS, measures=EVERY, randomisation="cascading", noise_samples=2, channels=(1,))
    image = torch.rand(3, 1, 12, 10)
    found = attribute(packaged(network, output=TWO), [image], task)
    stated = cost(task.asked, (12, 10))
    assert found.passes == {k: 3 * v for k, v in stated.items()}
    assert network.seen == 3 * sum(stated.values())
    assert set(found.maps) == set(names_of_maps(task.asked))
    assert set(found.values) == set(keys_of_values(task.asked, 2))
    assert all(m.shape == (3, 12, 10) and m.dtype == np.float32 for m in found.maps.values())


@pytest.mark.parametrize(
    ("method", "wanted"),
    [
        ({"method": "grad_cam"}, 1),
        ({"method": "integrated_gradients"}, 50),
        ({"method": "occlusion", "window": 32, "stride": 16}, 169),
    ],
)
def test_the_known_costs_of_images_of_224_pixels(method, wanted):
    # 16 images: 16 passes of Grad-CAM, 800 of IG-50; 2,720 of occlusion 32/16 with the unchanged image of each
    assert passes_of_method(Method.model_validate(method), (224, 224)) == wanted


def test_sixteen_images_need_eight_thousand_eight_hundred_passes_for_the_sensitivity_of_integrated_gradients():
    asked = Interpretability.model_validate(
        {"methods": [{"method": "integrated_gradients"}], "measures": ["sensitivity"], "noise_samples": 10}
    )
    stated = cost(asked, (224, 224))
    assert 16 * (stated["integrated_gradients"] + stated["noise"]) == 8800


def test_of_a_linear_function_infidelity_is_nothing_and_the_sensitivity_of_its_slope_is_nothing():
    task = job(
        2, methods=[{"method": "saliency"}, {"method": "integrated_gradients", "steps": 4}],
        measures=["infidelity", "sensitivity"],
    )  # fmt: skip
    found = attribute(packaged(Linear()), [torch.rand(2, 1, 4, 4) + 0.5], task)
    for name in ("saliency", "integrated_gradients"):
        assert found.values[name, "infidelity", "unexplained"] == pytest.approx([0, 0], abs=1e-9)
        assert found.values[name, "infidelity", "scaled"] == pytest.approx([0, 0], abs=1e-6)
    assert found.values["saliency", "sensitivity", "max"] == pytest.approx([0, 0], abs=1e-6)
    # what it says of w·x moves with x, by at most the largest share of noise in a pixel
    assert (found.values["integrated_gradients", "sensitivity", "max"] > 1e-4).all()
    assert (found.values["baseline_centre", "infidelity", "unexplained"] > 0.01).all()


def test_deletion_of_a_linear_function_follows_the_order_of_the_map():
    """Pixels in the order of what they add: after each step the rest of them is left, as a share of the whole."""
    network = Linear()
    with torch.no_grad():
        network.w.copy_(torch.arange(1.0, 17.0).reshape(1, 1, 4, 4))
    task = job(
        1, methods=[{"method": "integrated_gradients", "steps": 4}], measures=["deletion", "insertion"], fractions=4
    )
    found = attribute(packaged(network), [torch.ones(1, 1, 4, 4)], task)
    left = [1.0, *(sum(range(1, 17 - 4 * k)) / 136 for k in range(1, 5))]
    for k in range(1, 5):
        assert found.values["integrated_gradients", "deletion", f"at {k / 4:g}"] == pytest.approx([left[k]])
        assert found.values["integrated_gradients", "insertion", f"at {k / 4:g}"] == pytest.approx([1 - left[k]])
    area = sum((a + b) / 8 for a, b in itertools.pairwise(left))
    assert found.values["integrated_gradients", "deletion", "auc"] == pytest.approx([area])
    assert found.values["integrated_gradients", "insertion", "auc"] == pytest.approx([1 - area])
    assert found.values["random", "deletion", "auc"][0] > area
    # of an image of one grey its own brightness and edges say nothing
    assert math.isnan(found.values["baseline_edges", "deletion", "auc"][0])


def test_parameters_are_as_they_were_after_they_were_shuffled_and_the_map_is_another_one():
    network = Pooled().eval()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    task = job(2, methods=[{"method": "grad_cam"}], measures=["randomisation"], channels=(1,))
    found = attribute(packaged(network, output=TWO), [torch.randn(2, 1, 9, 9)], task)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert all(p.requires_grad for p in network.parameters())
    assert not np.array_equal(found.maps["grad_cam"], found.maps["grad_cam@randomised:1"])


def test_a_case_has_the_same_values_whatever_batch_it_is_in():
    images = torch.rand(3, 1, 12, 12)
    settings = {"methods": METHODS, "measures": EVERY, "channels": (1,)}
    network = packaged(Pooled(), output=TWO)
    together = attribute(network, [images], job(3, batch_size=4, **settings))
    for i in range(3):
        task = job(3, batch_size=5, **settings)
        one = attribute(network, [images[i : i + 1]], Job.from_json({**task.to_json(), "seeds": [task.seeds[i]]}))
        for key, values in one.values.items():
            np.testing.assert_allclose(values[0], together.values[key][i], rtol=1e-3, atol=1e-4, err_msg=str(key))
        for name, m in one.maps.items():
            np.testing.assert_allclose(m[0], together.maps[name][i], rtol=1e-3, atol=1e-4, err_msg=name)


class Marks(torch.nn.Module):
    """Two classes at three places per case."""

    def forward(self, x):
        a = x.flatten(1)[:, :6].reshape(-1, 2, 3)
        return a * torch.tensor([1.0, 10.0])[:, None]


@pytest.mark.parametrize(("places", "wanted"), [("strongest", [0, 0, 0, 0, 0, 60]), ("sum", [0, 0, 0, 40, 50, 60])])
def test_the_number_of_a_detector_is_its_strongest_place_or_all_of_them(places, wanted):
    image = torch.tensor([1.0, 2, 3, 4, 5, 6, 7, 8]).reshape(1, 1, 2, 4)
    out = {"name": "marks", "meaning": "logits", "classes": ["a", "b"]}
    task = job(
        1, methods=[{"method": "integrated_gradients", "steps": 4}], channels=(1,), target={"places": places}
    )  # fmt: skip
    found = attribute(packaged(Marks(), output=out), [image], task)
    assert found.maps["integrated_gradients"].ravel()[:6] == pytest.approx(wanted, abs=1e-4)


class Segmenter(torch.nn.Module):
    def __init__(self, axes: int) -> None:
        super().__init__()
        conv = {2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[axes]
        self.a, self.b = conv(1, 4, 3, padding=1), conv(4, 2, 1)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)))


@pytest.mark.parametrize("axes", [2, 3])
def test_the_number_of_a_segmenter_is_its_logits_over_what_it_called_in_planes_and_volumes(axes):
    network = Segmenter(axes).eval()
    image = torch.randn(2, 1, *[6] * axes)
    out = {"name": "seg", "meaning": "mask", "classes": ["background", "lesion"]}
    model = packaged(network, shape=(1, *[None] * axes), output=out)
    methods = [
        {"method": "grad_cam"},
        {"method": "occlusion", "window": 3},
        {"method": "integrated_gradients", "steps": 3},
    ]
    task = job(2, methods=methods, measures=EVERY, channels=(1,), noise_samples=1, fractions=2, patches=4)
    found = attribute(model, [image], task)
    raw = network(image).detach()
    wanted = (raw[:, 1] * (raw.argmax(dim=1) == 1)).flatten(1).sum(dim=1)
    assert found.values["model", "target", "clean"] == pytest.approx(wanted.numpy(), rel=1e-5)
    assert found.notes["grad_cam"] == "layer a"  # the last convolution is the answer itself
    assert found.maps["grad_cam"].shape == (2, *[6] * axes)
    assert found.passes == {k: 2 * v for k, v in cost(task.asked, [6] * axes).items()}
    assert ("random", "road", "mean") in found.values if axes == 2 else not any("road" in k for k in found.values)


def test_what_a_format_cannot_be_asked_for_is_known_before_any_image_is_shown():
    linear = Linear()
    runtime = packaged(Runtime(call=lambda x: linear(x).detach()))
    methods = [Method.model_validate(m) for m in METHODS]
    said = dict(zip([*(m.label for m in methods), "parameters"], refusals(methods, runtime), strict=True))
    assert {k for k, v in said.items() if v is None} == {"occlusion", "feature_ablation", "rise"}
    assert "derivatives" in str(said["grad_cam"])
    assert "shuffled" in str(said["parameters"])
    lift = [Method(method="deep_lift"), Method(method="grad_cam")]
    of_script = refusals(lift, packaged(scripted(Pooled()), output=TWO))
    assert "tree of modules" in str(of_script[0])
    assert of_script[1:] == [None, None]
    with pytest.raises(ContractError, match="needs derivatives"):
        attribute(runtime, [torch.rand(1, 1, 4, 4)], job(methods=[{"method": "saliency"}]))


def test_a_network_that_fails_backwards_is_an_error_of_the_model_that_says_what_remains():
    class Cut(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = torch.nn.Parameter(torch.ones(1))

        def forward(self, x):
            return x.detach().flatten(1)[:, :1] * 2

    with pytest.raises(ModelRunError, match="traced back") as caught:
        attribute(packaged(Cut()), [torch.rand(1, 1, 4, 4)], job(methods=[{"method": "saliency"}]))
    assert "occlusion" in caught.value.hint

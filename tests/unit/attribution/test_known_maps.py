"""Maps whose right values are known: of linear and product functions, a saturated one, and pooled convolutions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from attribution_nets import TWO, Linear, Pooled, Runtime, job, packaged, raw_map, scripted

from evalsuite.attribution.maps import class_activation
from evalsuite.attribution.run import scorer_of
from evalsuite.attribution.tap import tapped
from evalsuite.errors import ContractError

SIGNED = {"sign": "signed"}


class Product(torch.nn.Module):
    def forward(self, x):
        return (x[:, 0, 0, 0] * x[:, 0, 0, 1])[:, None]


class Saturated(torch.nn.Module):
    """1 − ReLU(1 − x): no slope beyond 1, and yet the answer came from x."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = torch.nn.ReLU()

    def forward(self, x):
        return 1.0 - self.relu(1.0 - x[:, 0, 0, 0:1])


@pytest.mark.parametrize(
    "method",
    [
        {"method": "integrated_gradients"},
        {"method": "deep_lift"},
        {"method": "gradient_shap", "samples": 5},
        {"method": "occlusion", "window": 1, "stride": 1},
        {"method": "feature_ablation", "cells": 4},
    ],
    ids=lambda m: m["method"],
)
def test_of_a_linear_function_every_method_says_weight_times_value(method):
    network, image = Linear(), torch.rand(3, 1, 4, 4)
    found = raw_map(network, image, method)
    torch.testing.assert_close(found, (image * network.w.detach()), atol=1e-5, rtol=1e-5)


def test_rise_of_a_linear_function_ranks_pixels_as_their_weights_do():
    network, image = Linear(), torch.ones(1, 1, 4, 4)
    found = raw_map(network, image, {"method": "rise", "samples": 3000, "cells": 4}, batch_size=500)
    assert np.corrcoef(found.flatten(), network.w.detach().flatten())[0, 1] > 0.9


def test_integrated_gradients_share_a_product_out_equally():
    image = torch.zeros(1, 1, 1, 2)
    image[0, 0, 0] = torch.tensor([3.0, 4.0])
    found = raw_map(Product(), image, {"method": "integrated_gradients"})
    torch.testing.assert_close(found[0, 0, 0], torch.tensor([6.0, 6.0]))
    image.requires_grad_()
    (slope,) = torch.autograd.grad(Product()(image).sum(), image)  # input × gradient counts the product twice
    torch.testing.assert_close((slope * image)[0, 0, 0], torch.tensor([12.0, 12.0]))


def test_a_saturated_answer_has_no_slope_and_yet_integrated_gradients_and_deep_lift_find_its_cause():
    image = torch.full((1, 1, 1, 1), 2.0)
    assert float(raw_map(Saturated(), image, {"method": "integrated_gradients", "steps": 500})) == pytest.approx(
        1, abs=2e-3
    )
    assert float(raw_map(Saturated(), image, {"method": "deep_lift"})) == pytest.approx(1)
    image.requires_grad_()
    (slope,) = torch.autograd.grad(Saturated()(image).sum(), image)
    assert float(slope) == 0.0


def _coarse(model, image, **settings):
    task = job(len(image), channels=(1,), methods=[{"method": "grad_cam"}], target={"of": "logits"}, **settings)
    scorer = scorer_of(model, [image], task)
    scorer.see()
    run = tapped(model.network, layer=None, last_is_output=False)
    return class_activation(run, scorer, torch.arange(len(image)))


def test_grad_cam_with_mean_pooling_is_relu_of_the_weighted_activations_over_their_number():
    network, image = Pooled().eval(), torch.rand(2, 1, 6, 7)
    found, note = _coarse(packaged(network, output=TWO), image)
    a = network.conv(image).detach()
    wanted = torch.einsum("k,nkij->nij", network.fc.weight[1].detach(), a).clamp(min=0) / (a.shape[2] * a.shape[3])
    torch.testing.assert_close(found[:, 0], wanted)
    assert note == "layer conv"


def test_grad_cam_is_captums_and_the_same_of_a_module_of_torchscript_and_of_an_exported_program(tmp_path):
    from captum.attr import LayerGradCam

    from evalsuite.models import exported

    network, image = Pooled().eval(), torch.rand(2, 1, 6, 7)
    wanted = LayerGradCam(network, network.conv).attribute(image, target=1, relu_attributions=True).detach()
    ours, _ = _coarse(packaged(network, output=TWO), image)
    torch.testing.assert_close(ours, wanted)
    script, note = _coarse(packaged(scripted(network), output=TWO), image)
    torch.testing.assert_close(script, wanted)
    assert note == "layer conv"
    program = torch.export.export(network, (image,), dynamic_shapes=({0: torch.export.Dim("n", min=1, max=64)},))
    torch.export.save(program, tmp_path / "net.pt2")
    of_export, note = _coarse(packaged(exported.load(tmp_path / "net.pt2")[0], output=TWO), image)
    torch.testing.assert_close(of_export, wanted)
    assert note == "layer conv"


class Overwriting(Pooled):
    def forward(self, x):
        return self.fc(torch.relu_(self.conv(x)).mean(dim=(2, 3)))


def test_grad_cam_looks_at_the_layer_itself_where_the_next_operation_overwrites_it():
    network, image = Overwriting().eval(), torch.randn(1, 1, 6, 6)
    plain, _ = _coarse(packaged(network, output=TWO), image)
    script, _ = _coarse(packaged(scripted(network), output=TWO), image)
    activation = network.conv(image).detach().requires_grad_()
    answer = network.fc(torch.relu(activation).mean(dim=(2, 3)))[:, 1]
    (slope,) = torch.autograd.grad(answer.sum(), activation)
    wanted = (slope.mean(dim=(2, 3), keepdim=True) * activation).sum(dim=1, keepdim=True).clamp(min=0).detach()
    torch.testing.assert_close(plain, wanted)
    torch.testing.assert_close(script, wanted)


class TwoViews(Pooled):
    def forward(self, x):
        return self.fc((self.conv(x) + self.conv(x.flip(-1)).flip(-1)).mean(dim=(2, 3)) / 2)


def test_a_layer_that_is_used_twice_is_looked_at_the_first_time_and_that_is_said():
    for network in (
        packaged(TwoViews(), output=TWO),
        packaged(scripted(TwoViews().eval()), output=TWO),
    ):
        _, note = _coarse(network, torch.rand(1, 1, 6, 6))
        assert note == "layer conv, the first of 2 uses in one pass"


@pytest.mark.parametrize("as_script", [False, True])
def test_an_unknown_layer_is_refused_with_the_names_of_the_last_ones(as_script):
    network = scripted(Pooled().eval()) if as_script else Pooled()
    with pytest.raises(ContractError, match="no layer features") as caught:
        raw_map(network, torch.rand(1, 1, 6, 6), {"method": "grad_cam", "layer": "features"}, output=TWO)
    assert "fc" in caught.value.hint


def test_guided_grad_cam_is_the_product_of_both_and_needs_relu_modules():
    from captum.attr import GuidedBackprop

    class Gated(Pooled):
        def forward(self, x):
            return self.fc(self.relu(self.conv(x)).mean(dim=(2, 3)))

    network, image = Gated().eval(), torch.rand(1, 1, 8, 8)
    settings = {"output": TWO, "channels": (1,), "target": {"of": "logits"}}
    found = raw_map(network, image, {"method": "guided_grad_cam"}, **settings)
    coarse = raw_map(network, image, {"method": "grad_cam"}, **settings)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        guide = GuidedBackprop(network).attribute(image.clone().requires_grad_(), target=1)
    torch.testing.assert_close(found, (guide * coarse).detach())
    with pytest.raises(ContractError, match="tree of modules"):
        raw_map(scripted(network), image, {"method": "guided_grad_cam"}, **settings)


def test_occlusion_and_ablation_are_captums():
    from captum.attr import FeatureAblation, Occlusion

    network, image = Pooled().eval(), torch.rand(2, 1, 10, 9)
    settings = {"output": TWO, "channels": (1,), "target": {"of": "logits"}}
    ours = raw_map(network, image, {"method": "occlusion", "window": [4, 3], "stride": [3, 2]}, **settings)
    wanted = Occlusion(network).attribute(image, (1, 4, 3), strides=(1, 3, 2), target=1)
    torch.testing.assert_close(ours, wanted.detach(), atol=1e-6, rtol=1e-4)
    cells = torch.zeros(1, 1, 10, 9, dtype=torch.long)
    for r in range(2):
        for c in range(2):
            cells[0, 0, 5 * r : 5 * r + 5, round(4.5) * c :] = 2 * r + c
    ours = raw_map(network, image, {"method": "feature_ablation", "cells": 2}, **settings)
    wanted = FeatureAblation(network).attribute(image, feature_mask=cells, target=1)
    torch.testing.assert_close(ours, wanted.detach(), atol=1e-6, rtol=1e-4)


def test_methods_need_derivatives_or_do_without_them():
    linear = Linear()
    network, image = Runtime(call=lambda x: linear(x).detach()), torch.rand(1, 1, 4, 4)
    found = raw_map(network, image, {"method": "occlusion", "window": 1, "stride": 1})
    torch.testing.assert_close(found, image * linear.w.detach(), atol=1e-5, rtol=1e-5)
    with pytest.raises(ContractError, match="needs derivatives"):
        raw_map(network, image, {"method": "grad_cam"})

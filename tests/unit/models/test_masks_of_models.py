"""From a network's tensors to labels, whole or through windows, and contracts of masks that contradict themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from evalsuite.errors import ContractError, ModelRunError
from evalsuite.models.base import PackagedModel
from evalsuite.models.contract import build_contract
from evalsuite.models.contract_volumes import NO_LABEL

VOLUME = torch.from_numpy(np.random.default_rng(4).random((2, 1, 9, 8, 7), dtype=np.float32))


@dataclass(frozen=True)
class Network:
    """Hands its input to a function, and keeps the sizes it was given."""

    function: Any
    sizes: list[tuple[int, ...]]
    batch_limits: tuple[int, int | None] = (1, None)

    def run(self, inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        self.sizes.append(tuple(inputs[0].shape))
        return [self.function(inputs[0])]

    def to(self, device: str) -> Network:
        return self

    def with_threads(self, threads: int) -> Network:
        return self


def contract(output: dict[str, Any], **more: Any) -> Any:
    place = {"shape": [1, None, None, None], "orientation": "RAS", "spacing_mm": [1, 1, 1], "normalise": "none"}
    return build_contract(
        {"inputs": [place], "outputs": [{"name": "seg", "meaning": "mask", **output}], **more}, where="x"
    )


def model(function: Any, output: dict[str, Any], **more: Any) -> PackagedModel:
    return PackagedModel(
        name="m", format="fake", digest="d", contract=contract(output, **more), contract_digest="c", size_bytes=1,
        network=Network(function, []),
    )  # fmt: skip


def two(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([0.5 - x, x - 0.5], dim=1)


TWO = {"classes": ["background", "lesion"]}
EXPECTED = (VOLUME[:, 0] > 0.5).numpy().astype(np.uint8)


def test_argmax_threshold_and_labels_agree():
    found = model(two, TWO).predict({"image": VOLUME})
    assert list(found) == ["seg"]
    assert found["seg"].dtype == np.uint8
    np.testing.assert_array_equal(found["seg"], EXPECTED)
    one = model(lambda x: x - 0.5, {"classes": ["lesion"], "activation": "sigmoid", "threshold": 0.5})
    np.testing.assert_array_equal(one.predict({"image": VOLUME})["seg"][:, 0], (VOLUME[:, 0] >= 0.5).numpy())
    for shape in (lambda x: x, lambda x: x[:, 0]):
        labels = model(lambda x, s=shape: s((x > 0.5).long()), {**TWO, "decision": "labels"})
        np.testing.assert_array_equal(labels.predict({"image": VOLUME})["seg"], EXPECTED)


def test_a_case_whose_numbers_are_not_finite_is_marked_whole():
    broken = VOLUME.clone()
    broken[1, 0, 3, 2, 1] = torch.nan
    found = model(two, TWO).predict({"image": broken})["seg"]
    np.testing.assert_array_equal(found[0], EXPECTED[0])
    assert (found[1] == NO_LABEL).all()


def test_what_is_no_mask_is_said():
    for function, text in (
        (lambda x: x, "shape [2, 1, 9, 8, 7] for 2 cases; the contract says a mask of 2 channels"),
        (lambda x: x.mean((2, 3, 4)), "shape [2, 1]"),
    ):
        with pytest.raises(ModelRunError) as caught:
            model(function, TWO).predict({"image": VOLUME})
        assert text in str(caught.value)
    with pytest.raises(ModelRunError, match="whole numbers from 0 to 1"):
        model(lambda x: x * 3, {**TWO, "decision": "labels"}).predict({"image": VOLUME})


@pytest.mark.parametrize("mode", ["constant", "gaussian"])
@pytest.mark.parametrize("roi", [[4, 5, 6], [16, 4, 4]])
def test_windows_give_what_the_whole_gives_where_the_network_looks_at_voxels_alone(mode, roi):
    window = {"roi": roi, "overlap": 0.5, "mode": mode, "batch": 3}
    windowed = model(two, TWO, sliding_window=window)
    np.testing.assert_array_equal(windowed.predict({"image": VOLUME})["seg"], EXPECTED)
    assert {size[2:] for size in windowed.network.sizes} == {tuple(roi)}
    assert max(size[0] for size in windowed.network.sizes) == 3


def test_windows_are_merged_as_monai_merges_them():
    from monai.inferers import sliding_window_inference

    torch.manual_seed(0)
    wide = torch.nn.Conv3d(1, 2, 3, padding=1)
    window = {"roi": [5, 5, 5], "overlap": 0.25, "mode": "gaussian"}
    with torch.inference_mode():
        ours = model(wide, TWO, sliding_window=window).predict({"image": VOLUME})["seg"]
        merged = sliding_window_inference(VOLUME, (5, 5, 5), 1, wide, overlap=0.25, mode="gaussian")
    np.testing.assert_array_equal(ours, merged.argmax(1).numpy())
    assert 0 < ours.mean() < 1


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"outputs": [{"name": "y", "meaning": "mask"}]}, "classes names what the mask shows"),
        ({"outputs": [{"name": "y", "meaning": "mask", "classes": ["a"]}]}, "argmax over one class"),
        (
            {"outputs": [{"name": "y", "meaning": "mask", "classes": ["a"], "decision": "threshold"}]},
            "needs a threshold",
        ),
        ({"outputs": [{"name": "y", "classes": ["a"], "threshold": 0.5}]}, "for outputs of meaning: mask"),
        ({"outputs": [{"name": "y", "meaning": "mask", "classes": ["a", "b"], "grid": "z"}]}, "grid names no input"),
        ({"orientation": "RAR"}, "orientation is three letters"),
        ({"spacing_mm": [1, 1]}, "spacing_mm has 2 values"),
        ({"spacing_mm": "any", "resample": "linear"}, "resample needs"),
        ({"fit": "pad"}, "fit needs"),
        ({"shape": [1, 4, 4], "frames": "volume"}, "needs three spatial sizes"),
        ({"shape": [1, 4, 4], "orientation": "RAS", "spacing_mm": [1, 1]}, "orientation is for volumes"),
        ({"transpose": True}, "transpose is for plane images"),
        ({"missing_value": 0}, "missing_value needs fixed sizes"),
        ({"sliding_window": {"roi": [4, 4]}}, "roi has 2 sizes"),
    ],
)
def test_contradictions_are_named(changed, text):
    image = {"shape": [1, None, None, None], "orientation": "RAS", "spacing_mm": [1, 1, 1]}
    data: dict[str, Any] = {"outputs": [{"name": "seg", "meaning": "mask", **TWO}]}
    top = {k: v for k, v in changed.items() if k in ("outputs", "sliding_window")}
    image |= {k: v for k, v in changed.items() if k not in top}
    with pytest.raises(ContractError) as caught:
        build_contract({**data, "inputs": [image], **top}, where="x")
    assert text in str(caught.value)


def test_two_masks_may_not_count_into_one_column():
    outputs = [{"name": n, "meaning": "mask", **TWO} for n in ("a", "b")]
    image = {"shape": [1, None, None, None], "orientation": "RAS", "spacing_mm": [1, 1, 1]}
    with pytest.raises(ContractError, match="share a column name"):
        build_contract({"inputs": [image], "outputs": outputs}, where="x")


@pytest.mark.parametrize(("channels", "decision"), [(3, "argmax"), (1, "threshold"), (None, "threshold")])
def test_the_draft_of_a_segmenters_contract_opens_and_lacks_its_place(channels, decision):
    from pathlib import Path

    from evalsuite.models.drafting import draft_contract
    from evalsuite.models.formats import Located, Signature

    sizes = (None, 64, 64, 64)
    signature = Signature(inputs={"image": (None, 1, *sizes[1:])}, outputs={"seg": (None, channels, *sizes[1:])})
    draft = draft_contract(Located(path=Path("m.onnx"), format="onnx", files=()), signature)
    found = build_contract(draft, where="x")
    assert found.inputs[0].places == ("orientation", "spacing_mm")
    assert (found.outputs[0].meaning, found.outputs[0].decided) == ("mask", decision)

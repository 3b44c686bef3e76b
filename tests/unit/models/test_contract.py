"""Contracts: read strictly, every problem at once, the looser layout of published models included."""

from __future__ import annotations

import json

import pytest

from evalsuite.errors import ContractError
from evalsuite.models.contract import build_contract, contract_digest, contract_to_json, load_contract
from evalsuite.sandbox.answer import answer_of

GOOD = {
    "schema": "evalsuite/model/1",
    "name": "m",
    "inputs": [{"name": "image", "shape": [1, None, None], "colour": "L"}],
    "outputs": [{"name": "y", "activation": "sigmoid", "classes": ["malignant"]}],
}
LOOSE = {
    "name": "seven",
    "input": {"name": "image", "shape": ["N", 3, 224, 224], "dtype": "float32", "range": [-1, 1],
              "normalise": "x/127.5-1, RGB"},
    "output": {"name": "logits", "classes": ["mel", "nv"], "activation": "softmax"},
    "license": "whatever",
}  # fmt: skip


def test_yaml_and_json_agree(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(GOOD))
    (tmp_path / "a.yaml").write_text(
        "schema: evalsuite/model/1\nname: m\ninputs:\n- {name: image, shape: [1, null, null], colour: L}\n"
        "outputs:\n- {name: y, activation: sigmoid, classes: [malignant]}\n"
    )
    a, b = load_contract(tmp_path / "a.json"), load_contract(tmp_path / "a.yaml")
    assert a == b
    assert contract_digest(a) == contract_digest(b)
    assert a.columns == ("p_malignant",)


def test_every_problem_at_once_with_path_and_hint(tmp_path):
    bad = json.loads(json.dumps(GOOD))
    bad["inputs"][0]["value_rnage"] = [0, 1]
    bad["inputs"][0]["resize"] = "cubic"
    bad["outputs"][0] = {"name": "y", "activation": "softmax", "classes": ["one"]}
    bad["taks"] = "x"
    (tmp_path / "bad.json").write_text(json.dumps(bad))
    with pytest.raises(ContractError, match="4 problems") as caught:
        load_contract(tmp_path / "bad.json")
    text = str(caught.value)
    assert "inputs[0].value_rnage   did you mean 'value_range'?" in text
    assert "@ inputs[0].resize" in text
    assert "softmax over one channel is always 1" in text
    assert "did you mean 'task'?" in text


@pytest.mark.parametrize(
    ("place", "change", "what"),
    [
        ("inputs", {"value_range": [1, 0]}, "low below high"),
        ("inputs", {"std": [0.0]}, "std is positive"),
        ("inputs", {"colour": "RGB"}, "3 channels"),
        ("inputs", {"resize": "area"}, "two fixed spatial sizes"),
        ("inputs", {"window": [40, 0]}, "positive width"),
        ("outputs", {"classes": []}, "classes names the channels"),
        ("outputs", {"classes": ["a", "a"]}, "once each"),
        ("outputs", {"meaning": "value", "activation": "softmax", "classes": []}, "not a value"),
    ],
)
def test_contradictions(place, change, what):
    bad = json.loads(json.dumps(GOOD))
    bad[place][0] |= change
    with pytest.raises(ContractError) as caught:
        build_contract(bad, where="x")
    assert what in str(caught.value)


def test_loose_layout():
    contract = build_contract(LOOSE, where="MODEL.json")
    spec, out = contract.inputs[0], contract.outputs[0]
    assert spec.shape == (3, 224, 224)
    assert (spec.source_range, spec.value_range, spec.colour) == ((0, 255), (-1, 1), "RGB")
    assert out.columns == ("p_mel", "p_nv")


def test_loose_layout_understands_or_says_so():
    odd = json.loads(json.dumps(LOOSE))
    odd["input"]["normalise"] = "imagenet"
    odd["output"]["activation"] = "swish"
    with pytest.raises(ContractError, match="2 problems") as caught:
        build_contract(odd, where="MODEL.json")
    assert "'imagenet'" in str(caught.value)
    odd = json.loads(json.dumps(LOOSE))
    odd["input"]["range"] = [0, 1]
    with pytest.raises(ContractError, match="problem") as caught:
        build_contract(odd, where="MODEL.json")
    assert "maps 0..255 to -1..1" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value_range"), [("x/255", (0, 1)), ("x/127.5 - 1", (-1, 1)), ("x", (0, 255)), ("x*2+1", (1, 511))]
)
def test_loose_arithmetic(text, value_range):
    data = json.loads(json.dumps(LOOSE))
    del data["input"]["range"]
    data["input"]["normalise"] = text
    assert build_contract(data, where="x").inputs[0].value_range == value_range


def test_columns_by_meaning():
    def columns(**output):
        return build_contract({**GOOD, "outputs": [{"name": "y", **output}]}, where="x").columns

    assert columns(meaning="logits", classes=["a", "b"]) == ("logit_a", "logit_b")
    assert columns(meaning="logits", activation="softmax", classes=["a", "b"]) == ("p_a", "p_b")
    assert columns(meaning="value") == ("y",)
    assert columns(meaning="mask", classes=["a", "b"]) == ("voxels_a", "voxels_b")


def test_what_an_activation_was_applied_to_is_kept_where_that_is_asked_for():
    def contract(**output):
        return build_contract({**GOOD, "outputs": [{"name": "y", "classes": ["a", "b"], **output}]}, where="x")

    plain, kept = (contract(activation="softmax", **more) for more in ({}, {"keep_logits": True}))
    assert kept.columns == kept.network_columns == ("p_a", "p_b", "logit_a", "logit_b")
    assert answer_of(kept, {"image": (4, 3, 2, 2)}).columns == kept.columns
    assert "keep_logits" not in contract_to_json(plain)["outputs"][0]  # digests of older contracts stay the same
    assert contract_to_json(kept)["outputs"][0]["keep_logits"] is True
    for output in ({"meaning": "logits"}, {"meaning": "probabilities"}):
        with pytest.raises(ContractError, match="keep_logits goes with softmax or sigmoid"):
            contract(keep_logits=True, **output)


def test_not_a_contract(tmp_path):
    (tmp_path / "a.yaml").write_text("- 1\n")
    (tmp_path / "b.yaml").write_text("a: [\n")
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("a.yaml", "b.yaml", "c.yaml", "none.yaml"):
        with pytest.raises(ContractError):
            load_contract(tmp_path / name)


def test_an_embedding_becomes_numbered_columns_and_digests_of_other_contracts_stay_the_same():
    import numpy as np
    import torch

    from evalsuite.models.contract import Contract, InputSpec, OutputSpec, contract_to_json
    from evalsuite.models.postprocess import to_outputs

    both = Contract(
        inputs=(InputSpec(shape=(1, 4, 4)),),
        outputs=(
            OutputSpec(name="y", meaning="logits", classes=("a", "b")),
            OutputSpec(name="emb", meaning="embedding", size=3),
        ),
    )
    assert both.columns == ("logit_a", "logit_b", "emb_0", "emb_1", "emb_2")
    found = to_outputs([torch.zeros(2, 2), torch.arange(6.0).reshape(2, 3, 1, 1)], both, n=2)
    np.testing.assert_array_equal(found["emb_2"], [2.0, 5.0])
    assert [("size" in o) for o in contract_to_json(both)["outputs"]] == [False, True]


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ({"meaning": "embedding"}, "how many numbers"),
        ({"meaning": "value", "size": 3}, "size is of an embedding"),
        ({"meaning": "embedding", "size": 3, "classes": ["a"]}, "no classes"),
        ({"meaning": "embedding", "size": 3, "activation": "sigmoid"}, "not an embedding"),
    ],
)
def test_an_embedding_that_contradicts_itself_is_refused(output, words):
    spec = {"inputs": [{"name": "x", "shape": [1, 4, 4]}], "outputs": [{"name": "emb", **output}]}
    with pytest.raises(ContractError) as caught:
        build_contract(spec, where="x")
    assert any(words in problem.what for problem in caught.value.problems)

"""One network in every package format gives the same columns, and faulty packages are typed errors."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evalsuite.errors import ContractError, InputError, ModelLoadError, ModelRunError
from evalsuite.imaging import read_image
from evalsuite.models.open import inspect_model, open_model
from evalsuite.models.preprocess import normalise, prepare

FORMATS = {
    "tiny.ts": "torchscript",
    "tiny.pt2": "torch.export",
    "fixed.pt2": "torch.export",
    "tiny.onnx": "onnx",
    "bundle": "monai-bundle",
}


def open_tiny(packages: Path, name: str):
    return open_model(packages / name, contract=None if name == "bundle" else packages / "contract.json")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("n", [1, 5])
def test_every_format_gives_what_the_network_gives(name, n, packages, tiny, pictures):
    model = open_tiny(packages, name)
    spec = model.contract.inputs[0]
    stack = np.stack([prepare(read_image(p, spec=spec), spec) for p in pictures[:n]])
    assert stack.dtype == np.uint8
    columns = model.predict({"image": normalise(torch.from_numpy(stack), spec)})

    # the same by hand: Pillow, x / 127.5 - 1, softmax
    raw = np.stack([np.asarray(Image.open(p)).transpose(2, 0, 1) for p in pictures[:n]])
    with torch.inference_mode():
        expected = torch.softmax(tiny(torch.from_numpy(raw).float() / 127.5 - 1), 1).numpy()
    assert model.format == FORMATS[name]
    assert list(columns) == ["p_benign", "p_malignant"]
    assert all(c.dtype == np.float64 and c.shape == (n,) for c in columns.values())
    np.testing.assert_allclose(np.stack(list(columns.values()), 1), expected, atol=1e-6)


def test_digest_of_a_file_is_its_own_and_of_a_folder_covers_every_file(packages, tmp_path):
    assert open_tiny(packages, "tiny.ts").digest == hashlib.sha256((packages / "tiny.ts").read_bytes()).hexdigest()
    shutil.copytree(packages / "bundle", tmp_path / "copy")
    assert open_model(tmp_path / "copy").digest == open_tiny(packages, "bundle").digest
    (tmp_path / "copy" / "docs").mkdir()
    (tmp_path / "copy" / "docs" / "README.md").write_text("changed")
    assert open_model(tmp_path / "copy").digest != open_tiny(packages, "bundle").digest


def test_fixed_batch_is_filled_and_split(packages):
    assert open_tiny(packages, "fixed.pt2").batch_limits == (2, 2)
    assert open_tiny(packages, "tiny.pt2").batch_limits == (1, 64)
    assert open_tiny(packages, "tiny.ts").batch_limits == (1, None)


def test_contract_inside_a_package_is_found_and_an_explicit_one_wins(packages, tiny, tmp_path):
    import warnings

    inside = (packages / "contract.json").read_text()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.load(packages / "tiny.ts")
        torch.jit.save(script, tmp_path / "a.ts", _extra_files={"evalsuite_contract.json": inside})
        program = torch.export.load(packages / "tiny.pt2")
        torch.export.save(program, tmp_path / "b.pt2", extra_files={"evalsuite_contract.json": inside})
    import onnx

    proto = onnx.load(packages / "tiny.onnx")
    onnx.helper.set_model_props(proto, {"evalsuite_contract": inside})
    onnx.save(proto, tmp_path / "c.onnx")
    models = [open_model(tmp_path / name) for name in ("a.ts", "b.pt2", "c.onnx")]
    assert len({m.contract_digest for m in models}) == 1
    assert models[0].contract.name == "tiny"

    other = tmp_path / "other.yaml"
    other.write_text(inside.replace('"tiny"', '"renamed"'))
    renamed = open_model(tmp_path / "a.ts", contract=other)
    assert renamed.name == "renamed"
    assert any("given explicitly" in note for note in renamed.notes)


def test_contract_beside_a_package(packages, tmp_path):
    shutil.copy(packages / "tiny.ts", tmp_path / "model.ts")
    with pytest.raises(ContractError, match="states no contract"):
        open_model(tmp_path)
    (tmp_path / "evalsuite-model.yaml").write_text((packages / "contract.json").read_text())
    model = open_model(tmp_path)
    assert model.contract.columns == ("p_benign", "p_malignant")
    assert model.digest == open_model(tmp_path / "model.ts").digest


def test_a_folder_with_several_packages_lists_them(packages):
    with pytest.raises(InputError, match=r"bundle/.*tiny\.onnx.*tiny\.ts"):
        open_model(packages)


def test_nothing_there(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        open_model(tmp_path / "none.ts")
    with pytest.raises(InputError, match="holds no model package"):
        open_model(tmp_path)


@pytest.mark.parametrize("name", ["tiny.ts", "tiny.pt2", "tiny.onnx"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_package_is_a_load_error(name, share, packages, tmp_path):
    whole = (packages / name).read_bytes()
    cut = tmp_path / name
    cut.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelLoadError) as caught:
        open_model(cut, contract=packages / "contract.json")
    assert caught.value.exit_code == 4
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("name", ["tiny.ts", "tiny.pt2", "tiny.onnx"])
def test_damaged_package_is_typed_or_still_a_model(name, packages, tmp_path):
    whole = (packages / name).read_bytes()
    rng = np.random.default_rng(11)
    for _ in range(12):
        data = bytearray(whole)
        for position in rng.integers(0, len(whole), 20):
            data[position] ^= 0xFF
        damaged = tmp_path / name
        damaged.write_bytes(bytes(data))
        with contextlib.suppress(ModelLoadError, ContractError):
            open_model(damaged, contract=packages / "contract.json")


def test_state_dict_and_pickle_say_what_to_export(tiny, tmp_path):
    torch.save(tiny.state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ModelLoadError, match="without a network") as caught:
        open_model(tmp_path / "weights.pt")
    assert "torch.export.save" in caught.value.hint
    torch.save(tiny.state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(ModelLoadError, match="without a network"):
        open_model(tmp_path / "old.pt")
    (tmp_path / "text.ts").write_text("hello")
    with pytest.raises(ModelLoadError, match=r"not a \.ts package"):
        open_model(tmp_path / "text.ts")


def test_contract_and_graph_must_fit(packages, tmp_path):
    wrong = json.loads((packages / "contract.json").read_text())
    wrong["inputs"][0] |= {"shape": [1, 8, 8], "colour": "L"}
    wrong["outputs"][0]["classes"] = ["a", "b", "c"]
    (tmp_path / "wrong.json").write_text(json.dumps(wrong))
    for name in ("tiny.onnx", "tiny.pt2"):
        with pytest.raises(ContractError) as caught:
            open_model(packages / name, contract=tmp_path / "wrong.json")
        assert any("[3, 8, 8]" in p.what and "[1, 8, 8]" in p.what for p in caught.value.problems)


def test_outputs_unlike_the_contract_are_an_error_naming_both(packages, tmp_path):
    wrong = json.loads((packages / "contract.json").read_text())
    wrong["outputs"][0]["classes"] = ["a", "b", "c"]
    (tmp_path / "wrong.json").write_text(json.dumps(wrong))
    model = open_model(packages / "tiny.ts", contract=tmp_path / "wrong.json")
    with pytest.raises(ModelRunError, match=r"\[4, 2\].*\[4, 3\]"):
        model.predict({"image": np.zeros((4, 3, 8, 8), np.float32)})
    with pytest.raises(ValueError, match="contract says"):
        model.predict({"image": np.zeros((4, 1, 8, 8), np.float32)})


def test_logits_called_probabilities_are_refused(packages, tmp_path):
    wrong = json.loads((packages / "contract.json").read_text())
    wrong["outputs"][0] |= {"activation": "none", "meaning": "probabilities"}
    (tmp_path / "wrong.json").write_text(json.dumps(wrong))
    model = open_model(packages / "tiny.ts", contract=tmp_path / "wrong.json")
    with pytest.raises(ModelRunError, match="leaves 0"):
        model.predict({"image": np.full((1, 3, 8, 8), 100, np.float32)})
    wrong["outputs"][0]["meaning"] = "logits"
    (tmp_path / "logits.json").write_text(json.dumps(wrong))
    columns = open_model(packages / "tiny.ts", contract=tmp_path / "logits.json").predict(
        {"image": np.zeros((1, 3, 8, 8), np.float32)}
    )
    assert list(columns) == ["logit_benign", "logit_malignant"]


def test_nan_passes_through(packages):
    batch = np.zeros((3, 3, 8, 8), np.float32)
    batch[1, 0, 2, 2] = np.nan
    for name in ("tiny.ts", "tiny.onnx"):
        column = open_tiny(packages, name).predict({"image": batch})["p_malignant"]
        assert np.isnan(column).tolist() == [False, True, False]


def test_threads_are_kept_by_onnx_and_results_stay(packages):
    model = open_tiny(packages, "tiny.onnx")
    batch = {"image": np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)}
    again = model.with_threads(1)
    np.testing.assert_array_equal(again.predict(batch)["p_malignant"], model.predict(batch)["p_malignant"])


def test_a_device_that_does_not_exist(packages):
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    for name in ("tiny.ts", "tiny.onnx", "tiny.pt2"):
        with pytest.raises(ModelRunError):
            open_tiny(packages, name).to("cuda")


def test_inspect_gives_contract_or_draft(packages, tmp_path):
    found = inspect_model(packages / "bundle")
    assert found["format"] == "monai-bundle"
    assert found["contract"]["outputs"][0]["classes"] == ["benign", "malignant"]
    assert any("deprecated" in note for note in found["notes"])
    shutil.copy(packages / "tiny.onnx", tmp_path / "m.onnx")
    drafted = inspect_model(tmp_path / "m.onnx")
    assert drafted["contract"] is None
    assert drafted["draft"]["inputs"][0]["shape"] == [3, 8, 8]
    assert json.dumps(drafted)
    (tmp_path / "evalsuite-model.yaml").write_text(json.dumps(drafted["draft"]))
    assert open_model(tmp_path / "m.onnx").contract.columns == ("p_class_0", "p_class_1")


def test_external_onnx_weights_are_in_the_digest(packages, tmp_path):
    import onnx

    proto = onnx.load(packages / "tiny.onnx")
    onnx.save_model(proto, tmp_path / "m.onnx", save_as_external_data=True, location="m.onnx.data", size_threshold=0)
    model = open_model(tmp_path / "m.onnx", contract=packages / "contract.json")
    batch = {"image": np.ones((2, 3, 8, 8), np.float32)}
    np.testing.assert_allclose(
        model.predict(batch)["p_malignant"], open_tiny(packages, "tiny.onnx").predict(batch)["p_malignant"], atol=1e-7
    )
    weights = bytearray((tmp_path / "m.onnx.data").read_bytes())
    weights[0] ^= 1
    (tmp_path / "m.onnx.data").write_bytes(bytes(weights))
    assert open_model(tmp_path / "m.onnx", contract=packages / "contract.json").digest != model.digest
    (tmp_path / "m.onnx.data").unlink()
    with pytest.raises(ModelLoadError):
        open_model(tmp_path / "m.onnx", contract=packages / "contract.json")

"""The example plugin, built as a wheel and installed: found by its entry point, opened, and listed with its version."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from evalsuite.errors import ModelLoadError
from evalsuite.models import formats
from evalsuite.models.open import inspect_model, open_model
from evalsuite.spine import listing

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "plugin_model"
CONTRACT = {
    "schema": "evalsuite/model/1",
    "name": "line",
    "inputs": [{"name": "image", "shape": [1, 2, 3], "colour": "L"}],
    "outputs": [{"name": "logits", "meaning": "logits", "activation": "sigmoid", "classes": ["bad"]}],
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built offline, as `pip install examples/plugin_model` builds it."""
    from hatchling.build import build_wheel

    target = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(EXAMPLE)
        return target / build_wheel(str(target))


@pytest.fixture
def installed(wheel, tmp_path, monkeypatch):
    """The wheel unpacked on the module search path, which is what installing a pure Python wheel does."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    formats.formats.cache_clear()
    yield
    formats.formats.cache_clear()
    for name in [n for n in sys.modules if n.split(".")[0] == "linear_model_format"]:
        del sys.modules[name]


def test_it_opens_its_packages_and_is_listed(installed, tmp_path):
    from linear_model_format.network import save

    weight, bias = np.random.default_rng(0).normal(size=(1, 1, 2, 3)), np.array([0.25])
    (tmp_path / "models").mkdir()
    save(tmp_path / "models" / "m.npz", weight=weight, bias=bias, contract=CONTRACT)
    model = open_model(tmp_path / "models")
    batch = np.random.default_rng(1).random((4, 1, 2, 3), dtype=np.float32)
    wanted = 1 / (1 + np.exp(-((batch * weight).sum((1, 2, 3)) + 0.25)))
    np.testing.assert_allclose(model.predict({"image": batch})["p_bad"], wanted, atol=1e-6)
    assert model.format == "linear-npz"
    assert model.notes == ("The package was opened by the plugin linear-model-format 1.0.0.",)
    found = inspect_model(tmp_path / "models" / "m.npz")
    assert found["brought by"] == "linear-model-format 1.0.0"
    rows = {row["format"]: row for row in listing("models")[1]}
    assert rows["linear-npz"]["brought by"] == "linear-model-format 1.0.0"
    assert rows["onnx"]["brought by"] == "evalsuite"


def test_damaged_and_ill_shaped_files_are_typed(installed, tmp_path):
    np.savez(tmp_path / "m.npz", weight=np.zeros((2, 3)), bias=np.zeros(2))
    with pytest.raises(ModelLoadError, match="do not fit"):
        open_model(tmp_path / "m.npz")
    whole = (tmp_path / "m.npz").read_bytes()
    (tmp_path / "m.npz").write_bytes(whole.replace(b"\x93NUMPY", b"\x00NUMPY"))
    with pytest.raises(ModelLoadError, match="cannot be read as arrays"):
        open_model(tmp_path / "m.npz")


def test_without_the_plugin_the_file_is_no_model(tmp_path):
    np.savez(tmp_path / "m.npz", weight=np.zeros((2, 3)), bias=np.zeros(2))
    with pytest.raises(ModelLoadError, match=r"no TorchScript, torch\.export or MONAI bundle package"):
        open_model(tmp_path / "m.npz")

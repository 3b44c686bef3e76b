"""Python source with an entry point and safetensors weights: what it gives, and what is said when it does not open."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from evalsuite.errors import ContractError, ModelLoadError
from evalsuite.models.open import inspect_model, open_model

SOURCE = """
import torch
from layers import head

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.head = head()
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, image):
        return self.head(self.drop(torch.relu(self.conv(image)).mean((2, 3))))

def build():
    return Net()
"""


@pytest.fixture
def package(tiny, packages, tmp_path):
    folder = tmp_path / "package"
    folder.mkdir()
    contract = json.loads((packages / "contract.json").read_text())
    (folder / "evalsuite-model.yaml").write_text(json.dumps(contract | {"entry_point": "network_t:build"}))
    (folder / "network_t.py").write_text(SOURCE)
    (folder / "layers.py").write_text("import torch\ndef head():\n    return torch.nn.Linear(4, 2)\n")
    save_file(tiny.state_dict(), str(folder / "weights.safetensors"))
    return folder


def test_it_gives_what_torchscript_gives_and_leaves_no_trace(package, packages):
    batch = {"image": np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)}
    expected = open_model(packages / "tiny.ts", contract=packages / "contract.json").predict(batch)
    model = open_model(package)
    assert model.format == "python"
    np.testing.assert_allclose(model.predict(batch)["p_malignant"], expected["p_malignant"], atol=1e-6)
    assert model.predict(batch)["p_malignant"][0] == model.predict(batch)["p_malignant"][0]
    assert "network_t" not in sys.modules
    assert "layers" not in sys.modules
    assert str(package) not in sys.path
    assert not list(package.rglob("__pycache__"))
    assert any("network_t:build" in note for note in model.notes)


def test_the_digest_covers_source_and_weights(package):
    before = open_model(package).digest
    (package / "layers.py").write_text((package / "layers.py").read_text() + "\n# changed\n")
    assert open_model(package).digest != before


def test_inspect_says_which_code_runs(package):
    found = inspect_model(package)
    assert found["executes"] == "Python code of the package: network_t:build"
    assert found["runs"] == "here"
    assert found["contract"]["entry_point"] == "network_t:build"


def rewrite(package, **changes):
    path = package / "evalsuite-model.yaml"
    data = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in data.items() if v is not None}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"entry_point": "nowhere_t:build"}, r"module nowhere_t .* cannot be imported: ModuleNotFoundError"),
        ({"entry_point": "network_t:absent"}, "module network_t has no absent"),
        ({"entry_point": "json:loads"}, "not a file of the package"),
        ({"entry_point": "../evil:build"}, "is not module:function"),
        ({"weights": "absent.safetensors"}, "not a file of the package"),
        ({"weights": "../other.safetensors"}, "not a file of the package"),
    ],
)
def test_what_cannot_be_opened_says_why(package, changes, said):
    rewrite(package, **changes)
    with pytest.raises(ModelLoadError, match=said) as caught:
        open_model(package)
    assert caught.value.exit_code == 4


def test_code_that_fails_is_a_typed_error(package):
    (package / "network_t.py").write_text("raise RuntimeError('broken on purpose')\n")
    with pytest.raises(ModelLoadError, match="RuntimeError: broken on purpose"):
        open_model(package)
    (package / "network_t.py").write_text("def build():\n    return 3\n")
    (package / "weights.safetensors").unlink()
    with pytest.raises(ModelLoadError, match="returned a int, which cannot be called"):
        open_model(package)
    (package / "network_t.py").write_text("def build():\n    raise ValueError('no licence')\n")
    with pytest.raises(ModelLoadError, match="network_t:build failed: ValueError: no licence"):
        open_model(package)


def test_weights_must_fit_exactly(package, tiny):
    state = dict(tiny.state_dict())
    state["extra"] = torch.zeros(1)
    state["head.weight"] = torch.zeros(2, 5)
    del state["head.bias"]
    save_file(state, str(package / "weights.safetensors"))
    with pytest.raises(ModelLoadError) as caught:
        open_model(package)
    for part in (
        "head.bias is missing",
        "extra is not of the network",
        "head.weight is [2, 5], the network has [2, 4]",
    ):
        assert part in str(caught.value)
    (package / "weights.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelLoadError, match="no safetensors file, or damaged"):
        open_model(package)


def test_a_callable_without_weights_will_do(package):
    (package / "weights.safetensors").unlink()
    (package / "network_t.py").write_text(
        "import torch\ndef build():\n    return lambda image: torch.stack([image.mean((1, 2, 3))] * 2, 1)\n"
    )
    columns = open_model(package).predict({"image": np.zeros((2, 3, 8, 8), np.float32)})
    assert columns["p_malignant"].tolist() == [0.5, 0.5]


def test_two_kinds_of_package_in_one_contract(package):
    rewrite(package, cmd=["./run"])
    with pytest.raises(ContractError, match="1 problem"):
        open_model(package)

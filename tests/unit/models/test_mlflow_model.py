"""MLflow models: the contract from signature and metadata, and the numbers of the network inside."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
import yaml

from evalsuite.errors import ContractError, ModelLoadError
from evalsuite.models.open import inspect_model, open_model


def described(folder, **changes):
    folder.mkdir(exist_ok=True)
    tensor = {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3, 8, 8]}, "name": "image"}
    base = {
        "flavors": {"python_function": {"loader_module": "mlflow.pyfunc.model"}},
        "signature": {"inputs": json.dumps([tensor]), "outputs": None},
    }
    (folder / "MLmodel").write_text(yaml.safe_dump({**base, **changes}))
    return folder


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"flavors": {"pytorch": {}}}, ModelLoadError, "no python_function flavour"),
        ({"signature": {"inputs": "[1"}}, ContractError, "inputs that cannot be read"),
        ({"signature": {"inputs": '[{"type": "string", "name": "note"}]'}}, ContractError, "says string"),
        ({"metadata": {"evalsuite_contract": "{"}}, ContractError, "not valid JSON"),
    ],
)
def test_a_faulty_description_is_told_before_mlflow_is_asked(tmp_path, changes, error, said):
    with pytest.raises(error) as caught:
        open_model(described(tmp_path / "m", **changes))
    assert said in str(caught.value)


def test_unreadable_mlmodel(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "MLmodel").write_text("- [")
    with pytest.raises(ModelLoadError, match="cannot be read as YAML"):
        open_model(tmp_path / "m")


@pytest.fixture(scope="module")
def saved(tiny, packages, tmp_path_factory):
    """The tiny network as a pyfunc model with signature and contract."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow = pytest.importorskip("mlflow.pyfunc", reason="MLflow is not installed (evalsuite[mlflow])")
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        class Wrapped(mlflow.PythonModel):
            def predict(self, context, model_input, params=None):
                import torch

                module = torch.jit.load(context.artifacts["network"])
                with torch.inference_mode():
                    return {"logits": module(torch.from_numpy(model_input["image"])).numpy()}

        signature = ModelSignature(
            inputs=Schema([TensorSpec(np.dtype("float32"), (-1, 3, 8, 8), "image")]),
            outputs=Schema([TensorSpec(np.dtype("float32"), (-1, 2), "logits")]),
        )
        folder = tmp_path_factory.mktemp("mlflow") / "model"
        mlflow.save_model(
            str(folder), python_model=Wrapped(), artifacts={"network": str(packages / "tiny.ts")}, signature=signature,
            pip_requirements=["torch"],
            metadata={"evalsuite_contract": json.loads((packages / "contract.json").read_text())},
        )  # fmt: skip
    return folder


def test_it_gives_what_the_network_inside_gives(saved, tiny):
    model = open_model(saved)
    batch = np.random.default_rng(1).uniform(-1, 1, (4, 3, 8, 8)).astype(np.float32)
    with torch.inference_mode():
        wanted = torch.softmax(tiny(torch.from_numpy(batch)), 1)[:, 1].numpy()
    np.testing.assert_allclose(model.predict({"image": batch})["p_malignant"], wanted, atol=1e-6)
    assert model.format == "mlflow"
    assert model.batch_limits == (1, None)
    assert "Python code" in inspect_model(saved)["executes"]
    assert any("mlflow.pyfunc.model" in note for note in model.notes)

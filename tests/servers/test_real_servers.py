"""Triton and MLServer, the real ones: the numbers of the ONNX file they serve, over HTTP and gRPC."""

from __future__ import annotations

import json
import os
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest

from evalsuite.errors import ModelLoadError, ModelRunError
from evalsuite.models.open import inspect_model, open_model
from tests.servers import real

SHAPE, CLASSES = (3, 16, 16), 4
CONTRACT = {
    "schema": "evalsuite/model/1",
    "name": "served",
    "inputs": [{"name": "image", "shape": list(SHAPE), "colour": "RGB", "value_range": [-1, 1]}],
    "outputs": [
        {"name": "logits", "meaning": "logits", "activation": "softmax", "classes": [f"c{i}" for i in range(CLASSES)]}
    ],
}
SERVERS = {"triton": real.triton, "mlserver": real.mlserver}


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small convolution, pooled, and a linear layer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        onnx = pytest.importorskip("onnx", reason="onnx is not installed (evalsuite[train])")
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(8)
    weights = {
        "w": rng.normal(size=(8, SHAPE[0], 3, 3)).astype(np.float32),
        "a": rng.normal(size=(8, CLASSES)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["x"]), helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("GlobalAveragePool", ["y"], ["p"]), helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "a"], ["logits"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", *SHAPE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", CLASSES])],
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    onnx.save(made, path)
    (path.parent / "contract.json").write_text(json.dumps(CONTRACT))
    return path


@pytest.fixture(scope="module", params=list(SERVERS))
def served(request: pytest.FixtureRequest, onnx_file: Path, tmp_path_factory: pytest.TempPathFactory):
    home = real.environment(request.param)
    if home is None:
        pytest.skip(f"{request.param} is not installed: make kserve")
    work = tmp_path_factory.mktemp(request.param)
    with SERVERS[request.param](home, onnx_file, shape=SHAPE, classes=CLASSES, work=work) as found:
        yield found


def test_both_transports_give_the_numbers_of_the_file(served, onnx_file):
    contract = onnx_file.parent / "contract.json"
    batch = {"image": np.random.default_rng(1).uniform(-1, 1, (21, *SHAPE)).astype(np.float32)}
    wanted = open_model(onnx_file, contract=contract).predict(batch)
    digests = set()
    for address in (served.http, served.grpc):
        model = open_model(address, contract=contract)
        digests.add(model.digest)
        for _ in range(2):
            found = model.predict(batch)
            for column, values in wanted.items():
                np.testing.assert_allclose(found[column], values, atol=1e-5)
        assert inspect_model(address)["draft"]["inputs"][0]["shape"] == list(SHAPE)
    assert len(digests) == 1


def test_no_such_model_and_a_batch_of_another_shape(served, onnx_file, tmp_path):
    for address in (served.http, served.grpc):
        with pytest.raises(ModelLoadError, match="cannot be opened"):
            open_model(address.replace("/served", "/absent"), contract=onnx_file.parent / "contract.json")
        network = open_model(address, contract=onnx_file.parent / "contract.json").network
        import torch

        with pytest.raises(ModelRunError, match="answered"):
            network.run([torch.zeros(2, 1, 5, 5)])


def test_a_server_that_dies_ends_the_run(onnx_file, tmp_path):
    """The last test of each server is its end; a server of its own, so that the order of tests does not matter."""
    found = [(name, home) for name in SERVERS if (home := real.environment(name)) is not None]
    if not found:
        pytest.skip("no server is installed: make kserve")
    name, home = found[0]
    batch = {"image": np.zeros((2, *SHAPE), np.float32)}
    with SERVERS[name](home, onnx_file, shape=SHAPE, classes=CLASSES, work=tmp_path) as server:
        models = [open_model(a, contract=onnx_file.parent / "contract.json") for a in (server.http, server.grpc)]
        for model in models:
            model.predict(batch)
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()
        for model in models:
            with pytest.raises(ModelRunError) as caught:
                model.predict(batch)
            assert caught.value.exit_code == 4

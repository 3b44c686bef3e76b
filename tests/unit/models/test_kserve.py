"""Served models: the same numbers as here, and a server that fails, lies, hangs or changes ends the run with exit 4."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from evalsuite.errors import ContractError, EvalsuiteError, InputError, ModelLoadError, ModelRunError
from evalsuite.models.address import Address, is_address, shown
from evalsuite.models.open import inspect_model, open_model
from tests.kserve_server import FakeServer, running

pytest.importorskip("grpc", reason="gRPC is not installed (evalsuite[kserve])")
N = 5


@pytest.fixture(scope="module")
def batch():
    return {"image": np.random.default_rng(4).uniform(-1, 1, (N, 3, 8, 8)).astype(np.float32)}


@pytest.fixture
def fake(tiny):
    def predict(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return tiny(torch.from_numpy(x.copy())).numpy()

    with running(FakeServer(predict=predict)) as server:
        yield server


@pytest.fixture
def contract(packages):
    return packages / "contract.json"


@pytest.mark.parametrize(
    ("transport", "takes", "says_binary", "form"),
    [
        ("http", "both", True, "binary"),
        ("http", "json", False, "json"),
        ("http", "binary", False, "binary"),
        ("grpc", "both", True, None),
    ],
)
def test_a_served_model_gives_what_it_gives_here(fake, batch, packages, contract, transport, takes, says_binary, form):
    fake.takes, fake.says_binary = takes, says_binary
    model = open_model(getattr(fake, transport), contract=contract)
    expected = open_model(packages / "tiny.ts", contract=contract).predict(batch)
    for _ in range(2):
        found = model.predict(batch)
        for column, values in expected.items():
            np.testing.assert_allclose(found[column], values, atol=1e-7)
    assert fake.seen[-1].get("form") == form
    ids = [request["id"] for request in fake.seen]
    assert all(ids)
    assert len(set(ids)) == len(ids)


def test_both_transports_agree_on_the_identity_which_is_not_of_the_weights(fake, contract):
    models = [open_model(address, contract=contract) for address in (fake.http, fake.grpc)]
    assert models[0].digest == models[1].digest
    assert models[0].format == "kserve"
    assert "not of its weights" in models[0].notes[0]
    fake.version = "2"
    assert open_model(fake.http, contract=contract).digest != models[0].digest


def test_largest_batch_and_contract_come_from_the_server(fake, batch, contract):
    fake.max_batch_size = 2
    fake.contract = contract.read_text()
    for address in (fake.http, fake.grpc):
        fake.seen.clear()
        model = open_model(address)
        assert model.batch_limits == (1, 2)
        assert model.contract.name == "tiny"
        assert len(model.predict(batch)["p_malignant"]) == N
        assert len(fake.seen) == 3


HTTP_FAULTS = {
    "500": "answered 500: out of  coffee",
    "close": "closed the connection without an answer",
    "cut": r"broke off \(IncompleteRead\)",
    "rot": "not JSON",
    "short": r"output logits of shape \[5, 2\] takes 40 bytes, the server sent 36",
    "beyond": "announced 44 bytes for output logits; 40 are left",
    "bytes": "data type BYTES",
    "lie": "takes 2000000000 numbers, the server sent 1",
    "columns": r"shape \[5, 1\] for 5 cases, the contract says \[5, 2\]",
    "rows": r"shape \[4, 2\] for 5 cases",
    "name": "gave other and not logits",
    "id": "answered another request",
    "version": "changed during the run: tiny version 9 answered",
}


@pytest.mark.parametrize("fault", HTTP_FAULTS)
def test_a_server_that_misbehaves_is_the_models_failure(fake, batch, contract, fault):
    model = open_model(fake.http, contract=contract)
    fake.fault = fault
    with pytest.raises(ModelRunError, match=HTTP_FAULTS[fault]) as caught:
        model.predict(batch)
    assert caught.value.exit_code == 4
    fake.fault = ""
    assert len(model.predict(batch)["p_malignant"]) == N  # the next request is not confused by the last


@pytest.mark.parametrize(
    ("fault", "said"),
    [("500", "answered INTERNAL: out of  coffee$"), ("short", "takes 40 bytes"), ("version", "changed during the run")],
)
def test_the_same_over_grpc(fake, batch, contract, fault, said):
    model = open_model(fake.grpc, contract=contract)
    fake.fault = fault
    with pytest.raises(ModelRunError, match=said) as caught:
        model.predict(batch)
    assert caught.value.exit_code == 4


def test_a_message_too_large_for_the_server_says_what_to_do(tiny, batch, contract):
    with running(FakeServer(predict=lambda x: x, most_bytes=2048)) as small:
        model = open_model(small.grpc, contract=contract)
        with pytest.raises(ModelRunError, match="RESOURCE_EXHAUSTED") as caught:
            model.predict(batch)
    assert "smaller inference.batch_size" in caught.value.hint
    assert caught.value.failure == "remote"


def test_listed_numbers_over_grpc(fake, batch, contract):
    model = open_model(fake.grpc, contract=contract)
    raw = model.predict(batch)
    fake.fault = "listed"
    assert (model.predict(batch)["p_malignant"] == raw["p_malignant"]).all()


@pytest.mark.parametrize(("transport", "fault"), [("http", "hang"), ("http", "drip"), ("grpc", "hang")])
def test_a_server_that_hangs_is_given_up(fake, batch, contract, transport, fault):
    model = open_model(getattr(fake, transport), contract=contract)
    assert model.network.client.timeout_s == 60
    fake.fault, model.network.client.timeout_s = fault, 0.4
    with pytest.raises(ModelRunError, match=r"no complete answer within 0\.4 s") as caught:
        model.predict(batch)
    assert "timeout_s" in caught.value.hint


def test_not_finite_answers_pass_through_as_any_models(fake, batch, contract):
    model = open_model(fake.http, contract=contract)
    fake.fault = "nan"
    assert np.isnan(model.predict(batch)["p_malignant"]).all()


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_a_change_of_the_metadata_during_a_run_is_an_error(fake, batch, contract, transport):
    model = open_model(getattr(fake, transport), contract=contract)
    model.predict(batch)
    fake.version = "2"
    with pytest.raises(ModelRunError, match="changed during the run"):
        model.predict(batch)


def test_nothing_there_and_no_such_model(fake, contract):
    for address in (fake.http, fake.grpc):
        with pytest.raises(ModelLoadError, match="cannot be opened") as caught:
            open_model(address.replace("/tiny", "/other"), contract=contract)
        assert caught.value.exit_code == 4
    with pytest.raises(ModelLoadError, match="cannot be reached"):
        open_model("kserve+http://127.0.0.1:1/tiny", contract=contract)
    with pytest.raises(ModelLoadError, match="UNAVAILABLE"):
        open_model("kserve+grpc://127.0.0.1:1/tiny", contract=contract)


def test_types_and_order_must_fit(fake, contract, tmp_path):
    fake.datatype = "UINT8"
    with pytest.raises(ContractError, match="float32") as caught:
        open_model(fake.http, contract=contract)
    assert "UINT8" in str(caught.value)
    fake.datatype = "FP32"
    wrong = json.loads(contract.read_text())
    wrong["inputs"][0]["shape"] = [3, 9, 9]
    (tmp_path / "wrong.json").write_text(json.dumps(wrong))
    with pytest.raises(ContractError) as caught:
        open_model(fake.http, contract=tmp_path / "wrong.json")
    assert "[3, 8, 8]" in str(caught.value)
    assert "[3, 9, 9]" in str(caught.value)


def test_inspect_drafts_a_contract_and_says_that_nothing_runs_here(fake):
    found = inspect_model(fake.http)
    assert found["executes"].startswith("nothing here")
    assert found["runs"] == "remote"
    assert found["draft"]["inputs"][0] == {
        "name": "image", "shape": [3, 8, 8], "colour": "RGB", "value_range": [0.0, 1.0], "normalise": "linear",
    }  # fmt: skip
    assert found["digest"] == inspect_model(fake.grpc)["digest"] != ""


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("kserve+grpc://host:8001/m", "kserve+grpc://host:8001/m"),
        ("kserve+http:/host/m", "kserve+http://host:8000/m"),
        ("kserve+https://h.example/v2/models/my%20model/versions/3?timeout_s=5",
         "kserve+https://h.example:443/my%20model/versions/3"),
        ("kserve+grpc://[::1]:9/m", "kserve+grpc://[::1]:9/m"),
    ],
)  # fmt: skip
def test_addresses(text, whole):
    assert is_address(text)
    assert str(Address.parse(text)) == shown(text) == whole


@pytest.mark.parametrize(
    "text",
    ["kserve+ftp://h/m", "kserve+grpc://h:1", "kserve+grpc://h:99999/m", "kserve+http://h/m/versions", "kserve+grpc://u@h/m",
     "kserve+http://h/m?timeout_s=0", "kserve+http://h/m?encoding=xml", "kserve+http://h/m?token=1"],
)  # fmt: skip
def test_malformed_addresses(text):
    with pytest.raises(InputError) as caught:
        open_model(text)
    assert isinstance(caught.value, EvalsuiteError)
    assert "kserve+grpc://HOST:PORT/MODEL" in caught.value.hint

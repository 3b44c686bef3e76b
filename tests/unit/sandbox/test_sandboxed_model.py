"""A package in the sandbox gives the same numbers as one in this process, and its files are closed with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from evalsuite.models.open import open_model as open_here
from evalsuite.models.preprocess import normalise
from evalsuite.sandbox.launcher import Bubblewrap
from evalsuite.sandbox.model import SandboxedModel
from evalsuite.sandbox.open import open_model


@pytest.fixture(scope="module")
def model(bubblewrap: Bubblewrap, tiny: Path) -> Iterator[SandboxedModel]:
    opened = open_model(tiny)
    assert isinstance(opened, SandboxedModel)
    yield opened
    opened.close()


def test_facts_and_numbers_are_those_of_the_same_package_in_this_process(
    model: SandboxedModel, tiny: Path, images: np.ndarray
) -> None:
    here = open_here(tiny)
    facts = ("name", "format", "digest", "contract", "contract_digest", "notes", "size_bytes", "batch_limits", "device")
    assert [getattr(model, f) for f in facts] == [getattr(here, f) for f in facts]
    spec = here.contract.inputs[0]
    expected = here.predict({"image": normalise(torch.from_numpy(images), spec)})
    given = model.predict_stored({"image": images})
    assert list(given) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(given[name], values)
    in_range = normalise(torch.from_numpy(images), spec).numpy()
    np.testing.assert_array_equal(model.predict({"image": in_range})["p_malignant"], expected["p_malignant"])


def test_batches_in_shared_memory_are_read_where_they_lie(model: SandboxedModel, images: np.ndarray) -> None:
    expected = model.predict_stored({"image": images})["p_malignant"]
    buffer = model.allocate((8, 3, 8, 8), np.uint8)
    for rows in (images, images[::-1]):
        buffer[:5] = rows
        found = model.predict_stored({"image": buffer[:5]})["p_malignant"]
        np.testing.assert_array_equal(found, expected if rows is images else expected[::-1])
    del buffer
    np.testing.assert_array_equal(model.predict_stored({"image": images[:2]})["p_malignant"], expected[:2])


def test_another_contract_for_the_same_network_is_honoured(model: SandboxedModel, images: np.ndarray) -> None:
    output = model.contract.outputs[0].model_copy(update={"activation": "none", "meaning": "logits"})
    logits = dataclasses.replace(model, contract=model.contract.model_copy(update={"outputs": (output,)}))
    found = logits.predict_stored({"image": images})
    assert list(found) == ["logit_benign", "logit_malignant"]
    p = model.predict_stored({"image": images})["p_malignant"]
    again = 1 / (1 + np.exp(found["logit_benign"] - found["logit_malignant"]))
    np.testing.assert_allclose(again, p, atol=1e-6)


def test_the_record_says_what_the_sandbox_is(model: SandboxedModel, bubblewrap: Bubblewrap) -> None:
    assert model.sandbox["name"] == "bubblewrap"
    assert model.sandbox["version"] == bubblewrap.version

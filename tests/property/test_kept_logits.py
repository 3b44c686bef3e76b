"""What stands beside probabilities as logits is what they were made of, and energies of it are −log Σ exp."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evalsuite.errors import ModelRunError
from evalsuite.inference import probe
from evalsuite.models.contract import Contract, InputSpec, OutputSpec, build_contract, contract_to_json
from evalsuite.models.postprocess import to_outputs
from evalsuite.stats.outliers import energy_score

LOGITS = arrays(np.float32, st.tuples(st.integers(1, 5), st.just(3)), elements=st.floats(-50, 50, width=32))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@given(logits=LOGITS)
def test_probabilities_are_made_of_the_logits_beside_them(activation: str, logits: np.ndarray) -> None:
    def columns(*, keep: bool) -> dict[str, np.ndarray]:
        spec = OutputSpec(name="y", activation=activation, classes=("a", "b", "c"), keep_logits=keep)
        contract = Contract(inputs=(InputSpec(shape=(1, 4, 4)),), outputs=(spec,))
        return to_outputs([torch.from_numpy(logits.copy())], contract, n=len(logits))

    found, plain = columns(keep=True), columns(keep=False)
    p = np.stack([found[f"p_{c}"] for c in "abc"], axis=1)
    kept = np.stack([found[f"logit_{c}"] for c in "abc"], axis=1)
    np.testing.assert_array_equal(kept, logits)
    assert list(plain) == ["p_a", "p_b", "p_c"]
    assert all(np.array_equal(found[c], plain[c]) for c in plain)  # keeping them changes nothing else
    energy = [-math.log(math.fsum(math.exp(x) for x in row)) for row in kept.tolist()]
    np.testing.assert_allclose(energy_score(kept), energy, rtol=1e-12, atol=1e-12)
    if activation == "softmax":  # p = exp(logit) / Σ exp(logit)
        np.testing.assert_allclose(p, np.exp(kept + energy_score(kept)[:, None]), rtol=2e-5, atol=1e-7)
    else:  # each class has an energy of its own: −log(1 + exp(logit)), so that p = exp(logit + energy)
        own = np.stack([energy_score(kept[:, [i]]) for i in range(3)], axis=1)
        np.testing.assert_allclose(p, np.exp(kept + own), rtol=2e-5, atol=1e-7)


def test_the_trial_without_the_activation_asks_for_what_is_a_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Contract] = []

    def forward(model: Any, *_: object, **__: object) -> Any:
        asked.append(model.contract)
        raise ModelRunError("enough")

    @dataclass(frozen=True)
    class Model:
        contract: Contract

    spec = OutputSpec(name="y", activation="softmax", classes=("a", "b"), keep_logits=True)
    monkeypatch.setattr(probe, "forward", forward)
    probe._check_activation(
        Model(Contract(inputs=(InputSpec(shape=(1, 4, 4)),), outputs=(spec,))), {}, None, device="cpu"
    )
    (contract,) = asked
    assert build_contract(contract_to_json(contract), where="what the sandbox is asked for").columns == ("y_a", "y_b")

"""What `evalsuite inspect MODEL` prints: the contract as it would be written, and a draft where there is none."""

from __future__ import annotations

import shutil

import yaml

from evalsuite.cli.show import inspected
from evalsuite.models.contract import build_contract, contract_to_json
from evalsuite.models.open import inspect_model


def shown(found, capsys) -> tuple[str, dict]:
    inspected(found)
    text = capsys.readouterr().out
    head, _, contract = text.partition("\nContract " if found["contract"] else "\nDraft of a contract")
    return head, yaml.safe_load(contract.partition("\n")[2])


def test_the_printed_contract_is_the_contract(packages, capsys):
    found = inspect_model(packages / "tiny.ts", contract=packages / "contract.json")
    head, contract = shown(found, capsys)
    for fact in ("torchscript", found["digest"], "the TorchScript program", "in the sandbox", "MB in 1 file"):
        assert fact in head
    assert "null" not in str(contract)
    assert contract_to_json(build_contract(contract, where="printed")) == found["contract"]


def test_without_a_contract_the_problem_and_a_draft_are_printed(packages, tmp_path, capsys):
    shutil.copy(packages / "tiny.onnx", tmp_path / "alone.onnx")
    head, draft = shown(inspect_model(tmp_path / "alone.onnx"), capsys)
    words = " ".join(head.split())
    assert "states no contract: which pixel values it takes and what its outputs mean; Write" in words
    assert draft["inputs"][0]["shape"] == [3, 8, 8]

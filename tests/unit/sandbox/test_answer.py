"""Answers that do not keep the contract are named for what they are, and never used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evalsuite.models.contract import Contract, build_contract
from evalsuite.sandbox.answer import BrokenPromise, answer_of
from evalsuite.sandbox.model import batch_limits
from evalsuite.sandbox.wire import Message

COLUMNS = ("p_a", "p_b", "size")
TWO = np.array([[0.25, 0.5], [0.75, 0.5], [12.0, -3.0]])


def contract(*, mask: bool = False) -> Contract:
    outputs: list[dict[str, Any]] = [
        {"name": "y", "meaning": "probabilities", "classes": ["a", "b"]}, {"name": "size", "meaning": "value"},
    ]  # fmt: skip
    if mask:
        outputs.append({"name": "lesion", "meaning": "mask", "classes": ["none", "lesion"]})
    inputs = [{"name": "image", "shape": [1, 4, 4]}]
    return build_contract({"schema": "evalsuite/model/1", "inputs": inputs, "outputs": outputs}, where="here")


def said(columns: Any = COLUMNS, values: np.ndarray = TWO, masks: Any = (), more: bytes = b"") -> Message:
    header = {"columns": list(columns) if isinstance(columns, tuple) else columns, "masks": list(masks)}
    return Message(header=header, payload=values.astype("<f8").tobytes() + more)


def test_what_the_contract_names_is_taken_numbers_that_are_none_included() -> None:
    wanted = answer_of(contract(), {"image": (2, 1, 4, 4)})
    values = TWO.copy()
    values[0, 1], values[2, 0] = np.nan, np.inf
    found = wanted.read(said(values=values), 2)
    assert list(found) == list(COLUMNS)
    np.testing.assert_array_equal(np.stack(list(found.values())), values)
    found["p_a"][0] = 0  # its own memory


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (said(columns=("p_a", "p_b")), "gave the outputs p_a, p_b; its contract names p_a, p_b, size"),
        (said(columns=("p_b", "p_a", "size")), "gave the outputs p_b, p_a, size"),
        (said(columns=None), "gave the outputs none"),
        (said(columns=("p_a\x1b[2J", "p_b", "size")), r"gave the outputs p_a\?\[2J, p_b"),
        (said(values=TWO[:, :1]), "gave 24 bytes where 48 are due for 2 cases"),
        (said(values=np.repeat(TWO, 2, axis=1)), "gave 96 bytes where 48 are due"),
        (said(values=TWO + 0.3), r"outside 0\.\.1 as probabilities of y"),
        (said(values=-TWO), r"outside 0\.\.1 as probabilities of y"),
        (said(masks=[["lesion", [2, 4, 4]]], more=bytes(32)), "gave no masks where its contract names 0"),
    ],
)  # fmt: skip
def test_other_outputs_rows_or_values_are_refused(answer: Message, words: str) -> None:
    wanted = answer_of(contract(), {"image": (2, 1, 4, 4)})
    with pytest.raises(BrokenPromise, match=words):
        wanted.read(answer, 2)


def test_masks_have_the_name_and_axes_of_the_contract_and_bounded_size() -> None:
    wanted = answer_of(contract(mask=True), {"image": (2, 1, 4, 4)})
    labels = np.arange(32, dtype=np.uint8) % 2
    found = wanted.read(said(masks=[["lesion", [2, 4, 4]]], more=labels.tobytes()), 2)
    np.testing.assert_array_equal(found["lesion"], labels.reshape(2, 4, 4))
    for masks in (
        [], "lesion", [["other", [2, 4, 4]]], [["lesion", [2, 16]]], [["lesion", [1, 4, 8]]],
        [["lesion", [2, 4, 2**40]]], [["lesion", [2, -4, -4]]], [["lesion", [2, 4, True]]], [["lesion", "2"]],
    ):  # fmt: skip
        with pytest.raises(BrokenPromise, match="mask"):
            wanted.read(said(masks=masks, more=labels.tobytes()), 2)
    assert wanted.most_bytes(2) < 1000


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ([1, None], (1, None)), ([2, 8], (2, 8)), ([4, 4], (4, 4)), ([0, 4], None), ([8, 2], None), ([1], None),
        ([1, 2**40], None), ([True, 2], None), ("1", None), ([1.5, 2], None), (None, None),
    ],
)  # fmt: skip
def test_batch_limits_are_whole_numbers_in_order(told: Any, found: Any) -> None:
    assert batch_limits(told) == found

"""What counts as a decision that another number format turned round."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from evalsuite.spine.decisions import decisions

OUTPUTS = {"p_a": np.array([0.5, 0.2, 0.7]), "p_b": np.array([0.1, 0.6, 0.3])}


def protocol(kind, score, *points):
    found = [SimpleNamespace(name=name, threshold=t, comparison=c) for name, t, c in points]
    return SimpleNamespace(task=SimpleNamespace(kind=kind, score=score), operating_points=found)


@pytest.mark.parametrize(
    ("kind", "score", "points", "expected"),
    [
        ("binary", "p_a", [("x", 0.5, ">="), ("y", 0.5, ">")], {"x": [1, 0, 1], "y": [0, 0, 1]}),
        ("binary", "p_a + p_b", [("x", 0.7, ">=")], {"x": [0, 1, 1]}),
        ("binary", ["p_a", "p_b"], [("x", 0.7, ">=")], {"x": [0, 1, 1]}),
        ("multiclass", ["p_a", "p_b"], [], {"highest score": [0, 1, 0]}),
        ("multilabel", ["p_a", "p_b"], [("x", 0.5, ">=")], {"x": [[1, 0], [0, 1], [1, 0]]}),
    ],
)
def test_decisions_follow_the_task(kind, score, points, expected):
    found = decisions(protocol(kind, score, *points))(OUTPUTS)
    assert {name: values.astype(int).tolist() for name, values in found.items()} == expected


def test_a_measurement_decides_nothing():
    assert decisions(protocol("regression", "p_a")) is None
    assert decisions(protocol("binary", "p_a")) is None

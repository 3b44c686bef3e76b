"""Comparisons in words: better and worse follow the metric, and nothing is said that the interval does not show."""

from __future__ import annotations

from typing import Any

import pytest

from evalsuite.protocol.schema import Comparison
from evalsuite.report.comparison_words import changed
from evalsuite.types import Estimate


def words(metric: str, value: float, low: float, high: float, **more: Any) -> str:
    asked = Comparison.model_validate({"name": "x", "metric": metric, **more})
    e = Estimate(value=value, low=low, high=high, level=0.95, method="m", n=100)
    return changed(asked, e).replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("metric", "value", "low", "high", "way", "sure"),
    [
        ("sensitivity", 0.04, 0.01, 0.07, "4.0 percentage points higher", "shown to be better"),
        ("sensitivity", -0.04, -0.07, -0.01, "4.0 percentage points lower", "shown to be worse"),
        ("brier", 0.02, 0.01, 0.03, "0.020 higher", "shown to be worse"),
        ("brier", -0.02, -0.03, -0.01, "0.020 lower", "shown to be better"),
        ("false_positives_per_case", 0.5, 0.2, 0.8, "0.500 higher", "shown to be worse"),
        ("hd95", -1.5, -2.0, -1.0, "1.500 lower", "shown to be better"),
        ("auroc", 0.01, -0.02, 0.04, "0.010 higher", "may be worse by up to 0.020"),
        ("brier", 0.01, -0.02, 0.04, "0.010 higher", "may be worse by up to 0.040"),
        ("bias", 0.3, 0.1, 0.5, "0.300 higher", "a difference is shown"),
    ],
)
def test_the_direction_is_that_of_the_metric(
    metric: str, value: float, low: float, high: float, way: str, sure: str
) -> None:
    said = words(metric, value, low, high)
    assert way in said
    assert sure in said
    for other in ("shown to be better", "shown to be worse"):
        assert (other in said) == (other == sure)


@pytest.mark.parametrize(
    ("metric", "low", "high", "said"),
    [
        ("sensitivity", -0.04, 0.02, "A loss of 5.0 percentage points (the margin) or more is excluded."),
        ("sensitivity", -0.06, 0.02, "A loss of 5.0 percentage points (the margin) or more is not excluded."),
        ("sensitivity", -0.12, -0.06, "A loss of 5.0 percentage points (the margin) or more is shown."),
        ("brier", -0.02, 0.04, "A loss of 0.050 (the margin) or more is excluded."),
        ("brier", -0.02, 0.06, "A loss of 0.050 (the margin) or more is not excluded."),
        ("brier", 0.06, 0.12, "A loss of 0.050 (the margin) or more is shown."),
    ],
)
def test_a_margin_is_one_of_loss(metric: str, low: float, high: float, said: str) -> None:
    assert said in words(metric, (low + high) / 2, low, high, hypothesis="non_inferiority", margin=0.05)


def test_equivalence_needs_both_sides() -> None:
    both = {"hypothesis": "equivalence", "margin": 0.05}
    assert "the two are equivalent" in words("auroc", 0.0, -0.01, 0.01, **both)
    assert "A gain as large is not excluded" in words("auroc", 0.04, -0.01, 0.09, **both)
    assert "equivalent" not in words("auroc", 0.0, -0.06, 0.01, **both)


def test_what_cannot_be_estimated_is_said() -> None:
    asked = Comparison(name="x", metric="auroc", against="original")
    said = changed(asked, Estimate.not_estimable("no cases", n=0))
    assert said == "AUROC against the original version: nothing can be said (no cases)."

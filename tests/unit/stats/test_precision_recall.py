"""Precision-recall curve and average precision at the edges."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats.precision_recall import average_precision_value, precision_recall_curve


def test_by_hand() -> None:
    curve = precision_recall_curve([0, 1, 0, 1], [0.9, 0.8, 0.3, 0.3])
    assert curve.threshold.tolist() == [0.9, 0.8, 0.3]
    assert curve.precision.tolist() == [0.0, 0.5, 0.5]
    assert curve.recall.tolist() == [0.0, 0.5, 1.0]
    assert average_precision_value([0, 1, 0, 1], [0.9, 0.8, 0.3, 0.3]) == 0.5


def test_all_ties_give_the_prevalence() -> None:
    assert average_precision_value([0, 0, 0, 1], np.zeros(4)) == 0.25


@pytest.mark.parametrize("reference", [[], [0, 0], [1, 1]])
def test_one_class_is_refused(reference: list[int]) -> None:
    with pytest.raises(ValueError, match="no average precision"):
        average_precision_value(reference, np.zeros(len(reference)))
    with pytest.raises(ValueError, match="no precision-recall curve"):
        precision_recall_curve(reference, np.zeros(len(reference)))

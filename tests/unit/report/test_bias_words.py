"""Gaps in words: every outcome in both directions, for figures where higher is better, lower is, and neither."""

from __future__ import annotations

import pytest

from evalsuite.report.bias_words import gap_sentence, served, signed, summary
from evalsuite.types import Estimate, Finding


def finding(metric: str, value: float | None, half: float, outcome: str, reference: str = "rest") -> Finding:
    estimate = (
        Estimate.not_estimable("not assessable: 4 reference-positive cases, fewer than 10", n=4)
        if value is None
        else Estimate(value=value, low=value - half, high=value + half, method="m", n=100)
    )
    return Finding(
        analysis="bias",
        endpoint=metric,
        metric=f"{metric}_difference",
        role="secondary",
        target=None,
        operating_point=None,
        stratum={"sex": "female"},
        reference_group=reference,
        estimate=estimate,
        outcome=outcome,
    )


DIRECTIONS = [
    ("sensitivity", -0.1, "lower", "worse"),
    ("sensitivity", 0.1, "higher", "better"),
    ("auroc", -0.1, "lower", "worse"),
    ("auroc", 0.1, "higher", "better"),
    ("fnr", -0.1, "lower", "better"),
    ("fnr", 0.1, "higher", "worse"),
    ("underdiagnosis_rate", 0.1, "higher", "worse"),
    ("brier", 0.1, "higher", "worse"),
    ("brier", -0.1, "lower", "better"),
    ("selection_rate", 0.1, "higher", ""),
    ("calibration_slope", -0.1, "lower", ""),
]


@pytest.mark.parametrize(("metric", "value", "way", "meaning"), DIRECTIONS)
@pytest.mark.parametrize("outcome", ["disparity", "equivalent", "inconclusive"])
def test_the_direction_is_that_of_the_figure(metric, value, way, meaning, outcome):
    f = finding(metric, value, 0.05, outcome)
    text = gap_sentence(f, margin=0.2, narrow=f.estimate)
    opposite = {"higher": "lower", "lower": "higher"}[way]
    assert f" {way} in female than in the rest" in text
    assert opposite not in text
    assert served(metric, value) == meaning
    if outcome == "disparity" and meaning:
        assert f"female is served {meaning}" in text
    else:
        assert "served" not in text


def test_equivalence_says_so_even_where_the_gap_is_more_than_chance():
    f = finding("sensitivity", 0.03, 0.01, "equivalent")
    text = gap_sentence(f, margin=0.05, narrow=f.estimate)
    assert "equivalent within ±5.0 points" in text
    assert "more than chance" in text
    around = finding("sensitivity", 0.005, 0.01, "equivalent")
    assert "more than chance" not in gap_sentence(around, margin=0.05, narrow=around.estimate)


def test_no_outcome_but_equivalence_speaks_of_equality_as_shown():
    text = gap_sentence(finding("sensitivity", -0.02, 0.1, "inconclusive"), margin=0.05, narrow=None)
    assert "inconclusive" in text
    assert "nothing is shown about equality" in text
    assert "12.0 points" in text
    for word in ("fair", "equal ", "no difference"):
        assert word not in text


def test_what_cannot_be_assessed_says_why():
    text = gap_sentence(finding("sensitivity", None, 0.0, "not_assessable", "male"), margin=0.05, narrow=None)
    assert text.startswith("Sensitivity in female cannot be compared with male")
    assert "4 reference-positive cases" in text


def test_a_gap_of_nothing_has_no_direction():
    text = gap_sentence(finding("sensitivity", 0.0, 0.1, "inconclusive"), margin=None, narrow=None)
    assert "the same in female and the rest" in text
    assert "higher" not in text
    assert "lower" not in text


def test_signs_are_printed():
    assert [signed("sensitivity", v) for v in (0.1, -0.1, 0.0)] == ["+10.0", "−10.0", "0.0"]
    assert signed("auroc", -0.0412) == "−0.041"


def test_the_summary_counts_outcomes():
    made = [finding("sensitivity", 0.1, 0.05, o) for o in ("disparity", "inconclusive", "inconclusive")]
    assert summary(made) == "Of 3 gaps: 1 disparity, 2 inconclusive."

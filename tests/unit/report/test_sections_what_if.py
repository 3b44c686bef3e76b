"""The page on what-if thresholds: marked as such, and sentences in the right direction."""

from __future__ import annotations

import pytest

from evalsuite.report.sections_what_if import what_if_in_words
from evalsuite.types import Estimate, Finding


def found(**figures: tuple[float | None, float | None]):
    made = {}
    for i, (metric, pair) in enumerate(figures.items()):
        for condition, value in zip(("as declared", "equalised"), pair, strict=True):
            e = (
                Estimate.not_estimable("none", n=0)
                if value is None
                else Estimate(value=value, low=0.0, high=1.0, method="Wilson", n=10)
            )
            f = Finding(
                analysis="threshold_what_if", endpoint="what if", metric=metric, role="exploratory", target="t",
                operating_point="p", stratum={"sex": "female"}, condition=condition, prespecified=False, estimate=e,
            )  # fmt: skip
            made["female", metric, condition] = (i, f)
    return [("female", made)]


@pytest.mark.parametrize(
    ("sensitivity", "specificity", "says", "never"),
    [
        (
            (0.7, 0.8),
            (0.9, 0.85),
            ["sensitivity would rise from 70.0 to 80.0", "specificity would fall from 90.0 to 85.0"],
            [],
        ),
        ((0.8, 0.7), (0.85, 0.9), ["sensitivity would fall from 80.0 to 70.0", "specificity would rise"], []),
        ((0.8, 0.8), (0.9, 0.9), ["sensitivity would stay at 80.0"], ["rise", "fall"]),
        ((0.8, None), (0.9, 0.8), ["specificity would fall"], ["sensitivity would"]),
        ((None, None), (None, None), ["Neither could be worked out"], ["would"]),
    ],
)
def test_what_rises_is_said_to_rise(sensitivity, specificity, says, never):
    said = what_if_in_words(found(sensitivity=sensitivity, specificity=specificity), equalise="sensitivity")
    assert all(s in said for s in says)
    assert not any(n in said for n in never)

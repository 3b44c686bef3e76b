"""By which number a printed cell is sorted on screen."""

from __future__ import annotations

import pytest

from evalsuite.report.format import format_count, format_estimate, format_number
from evalsuite.report.render import sort_value, sorting
from evalsuite.types import Estimate


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.912 (0.884–0.936)", 0.912),
        ("490/500 · 98.0\u00a0% (96.3–99.0)", 98.0),
        ("500/500 · >99.9\u00a0% (99.0–100.0)", 99.9),
        ("−0.120 (−0.200 to −0.040)", -0.12),
        ("1\u202f057", 1057.0),
        ("0.00031", 3.1e-4),
        ("< 0.0001", 0.0001),
        ("−3.1×10^−5", -3.1e-5),
        ("252 / 800", 252.0),
        ("≥60", 60.0),
        ("40 to <60", 40.0),
        ("not estimable (n = 12: no reference-positive patients)", None),
        ("female", None),
        ("–", None),
        ("", None),
        ("2026-01-14 09:12 UTC", None),
        ("3rd reader", None),
    ],
)
def test_the_number_a_cell_stands_for(text: str, value: float | None) -> None:
    assert sort_value(text) == pytest.approx(value) if value is not None else sort_value(text) is None


def test_what_the_report_prints_is_sorted_by_what_it_says() -> None:
    share = Estimate(value=0.98, low=0.96, high=0.99, method="x", n=500, numerator=490, denominator=500)
    assert sort_value(format_estimate("sensitivity", share)) == 98.0
    plain = Estimate(value=-0.0123, low=-0.1, high=0.1, method="x", n=500)
    assert sort_value(format_estimate("auroc_difference", plain)) == -0.012
    assert sort_value(format_number(123456.0)) == 123000.0
    assert sort_value(format_count(1234567)) == 1234567.0


def test_the_attribute_is_markup_only_where_there_is_a_number() -> None:
    assert sorting('<b onclick="x">') == ""
    assert sorting("0.5") == ' data-sort="0.5"'

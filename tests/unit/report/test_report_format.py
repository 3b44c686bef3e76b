"""How numbers look: signs, rounding that never hides a fact, reasons instead of blanks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.report.format import (
    format_bytes,
    format_count,
    format_criterion,
    format_estimate,
    format_interval,
    format_level,
    format_level_name,
    format_number,
    format_p,
    format_percent,
    format_stratum,
    format_utc,
)
from evalsuite.types import Estimate


def estimate(**changes: Any) -> Estimate:
    return Estimate(**{"value": 0.912, "low": 0.884, "high": 0.936, "method": "DeLong", "n": 412, **changes})


def test_a_plain_estimate_is_value_and_interval() -> None:
    assert format_estimate("auroc", estimate()) == "0.912 (0.884–0.936)"


def test_a_proportion_is_counts_per_cent_and_interval() -> None:
    e = estimate(value=0.98, low=0.963, high=0.99, numerator=490, denominator=500)
    assert format_estimate("sensitivity", e) == "490/500 · 98.0\u00a0% (96.3–99.0)"


def test_a_predictive_value_at_a_declared_prevalence_has_no_counts() -> None:
    e = estimate(value=0.055, low=0.035, high=0.075, numerator=229, denominator=485)
    assert format_estimate("ppv", e) == "5.5\u00a0% (3.5–7.5)"


def test_negative_limits_are_joined_by_a_word() -> None:
    e = estimate(value=-0.12, low=-0.212, high=0.028)
    assert format_estimate("calibration_intercept", e) == "−0.120 (−0.212 to 0.028)"


def test_an_undefined_estimate_says_why_and_how_many() -> None:
    e = Estimate.not_estimable("no reference-positive patients", n=12, unit="patient")
    assert format_estimate("sensitivity", e) == "not estimable (n = 12: no reference-positive patients)"
    e = Estimate.not_estimable("not assessable: 4 reference-positive cases, fewer than 10", n=35)
    assert format_estimate("sensitivity", e) == "not assessable (n = 35: 4 reference-positive cases, fewer than 10)"


def test_a_missing_interval_says_why() -> None:
    e = estimate(low=None, high=None, interval_undefined="all replicates undefined")
    assert format_estimate("mcc", e) == "0.912 (no interval: all replicates undefined)"
    assert format_interval("mcc", estimate(low=None, high=None)) == "no interval: not computed for this metric"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.9996, ">99.9"),
        (0.9994, "99.9"),
        (1.0, "100.0"),
        (0.0004, "<0.1"),
        (0.0006, "0.1"),
        (0.0, "0.0"),
        (0.5, "50.0"),
    ],
)
def test_a_percentage_never_rounds_up_to_all_or_down_to_none(value: float, text: str) -> None:
    assert format_percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-0.0, "0.000"),
        (-0.12, "−0.120"),
        (1234.5, "1234.500"),
        (123456.0, "1.23×10^5"),
        (0.0005, "0.001"),
        (0.000373, "0.00037"),
        (-0.0004999, "−0.00050"),
        (0.0001, "0.00010"),
        (0.0000996, "1.0×10^−4"),
        (-0.0000373, "−3.7×10^−5"),
        (2, "2.000"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert format_number(value) == text


def test_fewer_decimals_are_not_what_makes_a_number_small() -> None:
    assert format_number(0.04, 1) == "0.040"  # millimetres, say
    assert format_number(0.00012, 4) == "0.0001"


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.5, "0.5000"),
        (0.01234, "0.0123"),
        (0.0001, "0.0001"),
        (0.00009999, "< 0.0001"),
        (0.0, "< 0.0001"),
        (None, "–"),
    ],
)
def test_a_p_value_is_a_number_or_below_one(p: float | None, text: str) -> None:
    assert format_p(p) == text
    assert format_p(p, sign="= ") == (text if p is None or text.startswith("<") else f"= {text}")


@given(st.floats(min_value=-1e6, max_value=1e6))
def test_a_number_never_prints_as_zero_unless_it_is(value: float) -> None:
    text = format_number(value)
    assert "nan" not in text
    assert "-" not in text
    if value != 0:
        assert any(d in text for d in "123456789")


def test_counts_levels_times_sizes() -> None:
    assert format_count(1234567) == "1\u202f234\u202f567"
    assert format_count(12.5) == "12.5"
    assert format_count(None) == "–"
    assert format_level(0.95) == "95\u00a0%"
    assert format_level(0.975) == "97.5\u00a0%"
    assert format_utc("2026-03-14T09:26:53Z") == "2026-03-14 09:26 UTC"
    assert format_utc("yesterday") == "yesterday"
    assert format_utc(None) == "not recorded"
    assert format_bytes(1834212) == "1.8 MB"
    assert format_bytes(None) == "not recorded"


def test_groups_read_like_words() -> None:
    assert format_stratum({}) == "Whole test set"
    assert format_stratum({"sex": "female", "age": ">=60"}) == "sex = female, age ≥60"
    assert format_level_name("40-<60") == "40 to <60"
    assert format_level_name("A-<B") == "A-<B"
    assert format_level_name("") == "(empty)"


def test_a_criterion_names_bound_level_and_goal() -> None:
    c = {"bound": "lower", "op": ">", "value": 0.8}
    assert format_criterion(c, level=0.95, metric="sensitivity", title="") == "lower 95\u00a0% bound >\u00a080\u00a0%"
    c = {"bound": "upper", "op": "<=", "value": 0.15}
    assert format_criterion(c, level=0.9, metric="brier", title="Brier") == "Brier: upper 90\u00a0% bound ≤\u00a00.15"
    c = {"bound": "point", "op": ">=", "value": 0.5}
    assert format_criterion(c, level=0.95, metric="mcc", title="") == "point estimate ≥\u00a00.5"

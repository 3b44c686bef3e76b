"""The score formula: arithmetic it must agree with, and everything else it must refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.errors import ContractError, ProtocolError
from evalsuite.protocol.expression import compile_score

values = st.floats(-1e6, 1e6)
columns = st.fixed_dictionaries(dict.fromkeys(("a", "b", "c"), values))
names = st.sampled_from(["a", "b", "c"])
numbers = st.integers(0, 99).map(str) | st.floats(0, 99).map(lambda x: f"{x:.3f}")
formulas = st.recursive(
    names | numbers,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda t: f"-{t}"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
    ),
    max_leaves=12,
)


def by_python(text: str, row: dict[str, float]) -> float:
    """The same formula by Python's own arithmetic, an independent evaluator; NaN where it has no finite value."""
    try:
        value = float(eval(text, {"__builtins__": {}, "min": min, "max": max}, row))
    except (ZeroDivisionError, OverflowError):
        return math.nan
    return value if math.isfinite(value) else math.nan


def has_zero_division(text: str, row: dict[str, float]) -> bool:
    try:
        eval(text, {"__builtins__": {}, "min": min, "max": max}, row)
    except ZeroDivisionError:
        return True
    return False


@given(formulas, st.lists(columns, min_size=1, max_size=4))
def test_agrees_with_ordinary_arithmetic(text: str, rows: list[dict[str, float]]) -> None:
    if not any(name in text.replace("max", "").replace("min", "") for name in "abc"):
        with pytest.raises(ProtocolError, match="names no output"):
            compile_score(text)
        return
    score = compile_score(text)
    result = score.evaluate({k: np.array([r[k] for r in rows]) for k in "abc"})
    assert result.shape == (len(rows),)
    for row, number in zip(rows, result, strict=True):
        # Division by zero inside min(), max() or a denominator may leave a finite value; Python refuses it outright.
        if has_zero_division(text, row):
            continue
        expected = by_python(text, row)
        assert number == expected or (math.isnan(number) and math.isnan(expected))


@given(formulas, columns, names)
def test_a_missing_output_is_a_missing_score(text: str, row: dict[str, float], gone: str) -> None:
    full = f"{text} + {gone}"
    result = compile_score(full).evaluate({k: np.array([math.nan if k == gone else v]) for k, v in row.items()})
    assert math.isnan(result[0])


@given(st.text(max_size=40))
def test_any_text_is_a_formula_or_a_protocol_error(text: str) -> None:
    refused: ProtocolError | None = None
    try:
        assert compile_score(text).names
    except ProtocolError as error:
        refused = error
    assert refused is None or [p.where for p in refused.problems] == ["task.score"]


@given(st.lists(st.text(min_size=1, max_size=8).filter(str.strip), min_size=1, max_size=5, unique=True))
def test_a_list_is_the_sum_of_outputs_taken_literally(outputs: list[str]) -> None:
    score = compile_score(outputs)
    assert score.names == tuple(outputs)
    result = score.evaluate({name: np.full(3, 0.5 + i) for i, name in enumerate(outputs)})
    assert result.tolist() == [sum(0.5 + i for i in range(len(outputs)))] * 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "0.5",
        "p ** 2",
        "p // 2",
        "p % 2",
        "p @ q",
        "p if q else r",
        "p > q",
        "not p",
        "~p",
        "+p",
        "p and q",
        "p.q",
        "p[0]",
        "'p'",
        "True",
        "None",
        "1j * p",
        "1e999 * p",
        "[p, q]",
        "{p}",
        "(p, q)",
        "lambda: p",
        "(p := 1)",
        "f(p)",
        "min(p)",
        "min()",
        "min",
        "max(p, q, key=r)",
        "min(*p)",
        "__import__('os').system('true')",
        "p; q",
        "p = q",
        "p +",
        "p-class 1",
        "[p for p in q]",
        "f'{p}'",
        "...",
        "p" * 3000,
        "-" * 200 + "p",
        "(" * 300 + "p" + ")" * 300,
        "9" * 5000 + " * p",
        "p\x00",
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        compile_score(text)
    assert len(caught.value.problems) == 1


def test_names_in_order_of_first_use_and_spelt_as_written() -> None:
    assert compile_score("p_mel + p_bcc\n  + p_mel").names == ("p_mel", "p_bcc")
    assert compile_score("p_µ").names == ("p_µ",)  # U+00B5, which Python itself would turn into U+03BC


def test_a_division_by_zero_is_a_missing_score() -> None:
    result = compile_score("a / b").evaluate({"a": np.array([1.0, 0.0, 1.0]), "b": np.array([0.0, 0.0, 2.0])})
    assert np.isnan(result[:2]).all()
    assert result[2] == 0.5


def test_inputs_stay_as_they_were() -> None:
    a, b = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    for score in ("a", "a + b", "-a", "min(a, b)"):
        compile_score(score).evaluate({"a": a, "b": b})[0] = 99.0
    compile_score(["a", "b"]).evaluate({"a": a, "b": b})[0] = 99.0
    assert a.tolist() == [1.0, 2.0]
    assert b.tolist() == [3.0, 4.0]


def test_an_output_the_model_does_not_give_is_named_with_what_it_gives() -> None:
    with pytest.raises(ContractError) as caught:
        compile_score("p_melanoma + p_bcc").evaluate({"p_melanom": np.zeros(1), "p_bcc": np.zeros(1)})
    assert "the model gives p_melanom, p_bcc" in str(caught.value)
    assert "did you mean 'p_melanom'?" in str(caught.value)


def test_empty_or_repeated_list_entries_are_refused() -> None:
    for score in ([], [""], ["a", "a"]):
        with pytest.raises(ProtocolError):
            compile_score(score)

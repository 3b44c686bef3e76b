"""Numbers of a column, read all at once: what reading cell by cell gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evalsuite.analyses.drift_inputs import _ABSENT, _numbers, _plain_numbers
from evalsuite.analyses.drift_periods import Period
from evalsuite.errors import InputError
from evalsuite.testset.strata import number

CELLS = [
    "1",
    "-0",
    "+1.",
    ".5",
    "1e5",
    "1E-5",
    "0.1",
    "5e-324",
    "1e400",
    " 7 ",
    "1_000",
    "inf",
    "-Infinity",
    "nan",
    "NaN",
]
CELLS += [
    "NA",
    "",
    "  ",
    "034Y",
    "006M",
    "0x10",
    "x",
    "1d5",
    "1,5",
    "٣",
    "2.2250738585072011e-308",
    "9" * 40,
    "0." + "1" * 60,
]


def period(cells: list[object], kind: str = "str") -> Period:
    n = len(cells)
    ids = tuple(str(i) for i in range(n))
    frame = pd.DataFrame({"x": pd.Series(cells, dtype=kind)})
    return Period(case_id=ids, patient_id=ids, frame=frame, predictions=pd.DataFrame({"case_id": ids}))


def slow(cells: list[object]) -> list[float] | None:
    texts = [str(c).strip() for c in cells]
    values = [number(c) for c in texts]
    if any(v is None and c.lower() not in _ABSENT for v, c in zip(values, texts, strict=True)):
        return None
    return [np.nan if v is None else v for v in values]


@pytest.mark.parametrize("cell", CELLS)
def test_every_spelling_is_read_as_cell_by_cell(cell: str) -> None:
    cells: list[object] = ["2.5", cell, "", "-3"]
    expected = slow(cells)
    if expected is None:
        with pytest.raises(InputError, match="1 cells of 'x' in the window are not numbers"):
            _numbers(period(cells), "x", "window")
        return
    np.testing.assert_array_equal(_numbers(period(cells), "x", "window"), expected)


def test_the_shortest_text_of_any_number_reads_back_equal() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=4000) * 10.0 ** rng.integers(-300, 300, 4000)
    texts: list[object] = [repr(float(v)) for v in values] + [f"{v:.25g}" for v in rng.random(500)]
    found = _plain_numbers(period(texts).frame["x"])
    assert found is not None
    np.testing.assert_array_equal(found, [float(str(t)) for t in texts])
    found[0] = 1.0  # a copy: nobody else's cells change


def test_numbers_that_are_no_text_and_columns_without_rows() -> None:
    np.testing.assert_array_equal(_numbers(period([0.1, 2.0], "float64"), "x", "window"), [0.1, 2.0])
    np.testing.assert_array_equal(_numbers(period([1, 2], "int64"), "x", "window"), [1.0, 2.0])
    np.testing.assert_array_equal(_numbers(period([0.1, None], "float64"), "x", "window"), [0.1, np.nan])
    assert _numbers(period([]), "x", "window").size == 0

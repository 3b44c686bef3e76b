"""The digest and the file of a table, written the fast way: the bytes of the slow and obvious one."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evalsuite.record.canonical import canonical_json
from evalsuite.testset.manifest import parquet_bytes, parquet_frame, table_digest


def slow_digest(frame: pd.DataFrame) -> str:
    body = {"cells": [frame[c].tolist() for c in frame.columns], "columns": list(frame.columns)}
    return hashlib.sha256(canonical_json(body)).hexdigest()


def slow_parquet(frame: pd.DataFrame) -> bytes:
    target = io.BytesIO()
    arrays = {c: pa.array(frame[c].tolist(), type=pa.string()) for c in frame.columns}
    pq.write_table(pa.table(arrays), target, compression="zstd", version="2.6")
    return target.getvalue()


CELLS = [
    "",
    "plain",
    "1.50",
    '"',
    'a","b',
    "back\\slash",
    "tab\t",
    "\x7f",
    "\x01",
    "\u2028",
    "é√ 日本",
    "🙂",
    "null",
    "NA",
]


@pytest.mark.parametrize("cells", [*([c] for c in CELLS), CELLS, ["a", "b"], ["", ""], ['a"', ""]])
def test_any_text_has_the_digest_and_the_file_of_the_slow_way(cells: list[str]) -> None:
    frame = pd.DataFrame({"name": cells, 'odd "name"': list(reversed(cells))}).astype("str")
    assert table_digest(frame) == slow_digest(frame)
    assert parquet_bytes(frame) == slow_parquet(frame)
    again = parquet_frame(parquet_bytes(frame), "cases.parquet")
    assert table_digest(again) == slow_digest(frame)


def test_parts_and_joined_tables_are_written_as_if_made_at_once() -> None:
    rng = np.random.default_rng(1)
    words = np.array(CELLS, dtype=object)
    whole = pd.DataFrame({f"c{k}": words[rng.integers(0, 2 + k, 3000)] for k in range(4)}).astype("str")
    joined = pd.concat([whole.iloc[:1000], whole.iloc[1000:]], ignore_index=True)
    for frame in (whole, joined, whole.iloc[::3], whole[["c1"]], whole.iloc[:0], whole.iloc[5:9].copy()):
        assert table_digest(frame) == slow_digest(frame)
        assert parquet_bytes(frame) == slow_parquet(frame)


def test_columns_that_are_no_text_are_written_as_before() -> None:
    frame = pd.DataFrame({"a": pd.Series(["x", "y"], dtype=object), "b": ["1", "2"]})
    assert table_digest(frame) == slow_digest(frame)
    assert parquet_bytes(frame) == slow_parquet(frame)
    numbers = pd.DataFrame({"n": [1, 2]})
    assert table_digest(numbers) == slow_digest(numbers)

"""Predictions on disk: the same bytes every time, and no change that goes unnoticed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evalsuite.errors import InputError, IntegrityError, OutputError
from evalsuite.inference.predictions import (
    make_predictions,
    predictions_digest,
    read_predictions,
    to_frame,
    write_predictions,
)


def sample(value: float = 0.25):
    keys = {
        "case_id": ["a", "b", "ü\n"],
        "rater": ["device"] * 3,
        "condition": [None] * 3,
        "status": ["ok", "failed", "ok"],
        "reason": [None, "truncated", None],
    }
    table = to_frame(keys, {"p_x": np.array([value, np.nan, 1e-300])})
    model = {"name": "m", "format": "onnx", "digest": "0" * 64, "contract_digest": None}
    return make_predictions(table, outputs=("p_x",), model=model, record={"inference": {"wall_s": 1.5}})


def test_round_trip_and_byte_stability(tmp_path):
    first = sample()
    write_predictions(first, tmp_path / "1.parquet")
    write_predictions(sample(), tmp_path / "2.parquet")
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()
    read = read_predictions(tmp_path / "1.parquet")
    assert read.digest == first.digest
    assert read.outputs == ("p_x",)
    assert dict(read.model) == dict(first.model)
    assert read.record == {}
    assert predictions_digest(read.table, read.outputs) == first.digest
    write_predictions(read, tmp_path / "3.parquet")
    assert (tmp_path / "3.parquet").read_bytes() == (tmp_path / "1.parquet").read_bytes()
    assert b"wall_s" not in (tmp_path / "1.parquet").read_bytes()


def test_absent_outputs_are_null_not_nan(tmp_path):
    write_predictions(sample(), tmp_path / "p.parquet")
    column = pq.read_table(tmp_path / "p.parquet").column("p_x")
    assert column.null_count == 1


def test_digest_sees_every_cell():
    digests = {sample().digest, sample(0.25 + 1e-16 * 4).digest}
    for column, row, value in (("case_id", 0, "z"), ("status", 2, "failed"), ("reason", 1, "other"), ("rater", 0, "r")):
        table = sample().table.copy()
        table.loc[row, column] = value
        digests.add(predictions_digest(table, ("p_x",)))
    digests.add(predictions_digest(sample().table.rename(columns={"p_x": "p_y"}), ("p_y",)))
    digests.add(predictions_digest(sample().table.iloc[::-1], ("p_x",)))
    assert len(digests) == 8


def test_a_changed_file_is_refused(tmp_path):
    path = tmp_path / "p.parquet"
    write_predictions(sample(), path)
    table = pq.read_table(path)
    changed = table.set_column(5, "p_x", pa.array([0.99, None, 1e-300]))
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), path)
    with pytest.raises(IntegrityError, match="does not match the digest"):
        read_predictions(path)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    for name in ("x.parquet", "absent.parquet"):
        with pytest.raises(InputError, match="not a predictions file"):
            read_predictions(tmp_path / name)


def test_no_place_to_write(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_predictions(sample(), tmp_path / "file" / "p.parquet")

"""Recorded predictions joined to a locked test set: nothing added, nothing lost, everything wrong said at once."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from inference_fakes import make_testset

from evalsuite.errors import CaseTableError, ModelRunError
from evalsuite.inference.engine import predict
from evalsuite.inference.settings import InferenceSettings


def join(tmp_path, columns, n=4, **options):
    table = columns if isinstance(columns, pd.DataFrame) else pd.DataFrame(columns)
    model = SimpleNamespace(name="vendor", format="recorded", digest="v" * 64, contract_digest=None, table=table)
    return predict(model, make_testset(n), settings=InferenceSettings(), work=tmp_path, **options)


def test_rows_are_joined_by_case_whatever_their_order(tmp_path):
    found = join(tmp_path, {"case_id": ["c002", "c000", "c003"], "p_x": ["0.2", "0", ".3"]})
    assert found.table["case_id"].tolist() == ["c000", "c001", "c002", "c003"]
    assert found.table["status"].tolist() == ["ok", "failed", "ok", "ok"]
    assert found.table.loc[1, "reason"] == "no prediction recorded"
    np.testing.assert_array_equal(found.table["p_x"], [0.0, np.nan, 0.2, 0.3])
    assert found.record["inference"]["n_failed"] == 1


def test_order_of_the_rows_in_the_file_changes_nothing(tmp_path):
    frame = pd.DataFrame({"case_id": ["c002", "c000", "c003"], "p_x": [0.2, 0, 0.3]})
    assert join(tmp_path, frame).digest == join(tmp_path, frame.iloc[::-1].reset_index(drop=True)).digest


def test_status_is_honoured_and_outputs_of_rows_that_are_not_ok_are_left_out(tmp_path):
    found = join(
        tmp_path,
        {
            "case_id": ["c000", "c001", "c002", "c003"],
            "status": ["rejected", "indeterminate", "", "failed"],
            "p_x": ["0.9", "", "0.5", "0.1"],
        },
    )
    assert found.table["status"].tolist() == ["rejected", "indeterminate", "ok", "failed"]
    np.testing.assert_array_equal(found.table["p_x"], [np.nan, np.nan, 0.5, np.nan])
    assert found.record["inference"]["rows_not_ok_with_outputs_left_out"] == 2


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("", "output is missing"),
        ("inf", "output is not finite"),
        ("NaN", "output is not finite"),
        ("high", "output is not a number"),
    ],
)
def test_an_unusable_output_is_a_failed_case(tmp_path, cell, reason):
    found = join(tmp_path, {"case_id": [f"c00{i}" for i in range(4)], "p_x": ["0.1", cell, "0.2", "0.3"]})
    assert found.table.loc[1, ["status", "reason"]].tolist() == ["failed", reason]
    assert np.isnan(found.table.loc[1, "p_x"])


def test_only_required_outputs_decide_where_they_are_named(tmp_path):
    table = {"case_id": [f"c00{i}" for i in range(4)], "p_x": [0.1, 0.2, 0.3, 0.4], "p_y": [0.5, np.nan, 0.5, 0.5]}
    assert join(tmp_path, table).table["status"].tolist() == ["ok", "failed", "ok", "ok"]
    assert set(join(tmp_path, table, required=["p_x"]).table["status"]) == {"ok"}


def test_everything_wrong_is_said_at_once(tmp_path):
    with pytest.raises(CaseTableError) as caught:
        join(
            tmp_path,
            {
                "case_id": ["c000", "c000", "x1", "x2", ""],
                "status": ["ok", "ok", "fine", "ok", "ok"],
                "p_x": ["1", "2", "3", "4", "5"],
            },
            required=["p_z"],
        )
    text = str(caught.value)
    assert "2 case(s) are not in the test set @ x1, x2" in text
    assert "1 case(s) have several rows" in text
    assert "unknown status" in text
    assert "1 row(s) have no case_id" in text
    assert "the output p_z is absent" in text
    assert "fine" not in text


def test_readers_rows_are_kept_after_the_devices(tmp_path):
    found = join(
        tmp_path,
        {
            "case_id": ["c000", "c000", "c001", "c001"],
            "rater": ["reader 1", "device", "device", "reader 1"],
            "p_x": [0.7, 0.1, 0.2, 0.8],
        },
        n=2,
    )
    assert found.table["rater"].tolist() == ["device", "reader 1", "device", "reader 1"]
    assert found.table["p_x"].tolist() == [0.1, 0.7, 0.2, 0.8]


def test_limit_takes_the_first_cases_and_still_knows_the_others(tmp_path):
    found = join(tmp_path, {"case_id": ["c000", "c003"], "p_x": [0.1, 0.2]}, limit=2)
    assert found.table["case_id"].tolist() == ["c000", "c001"]


def test_no_usable_output_at_all(tmp_path):
    with pytest.raises(ModelRunError, match="no case has a usable output"):
        join(tmp_path, {"case_id": ["c000", "c001"], "p_x": [np.nan, np.nan]}, n=2)


def test_words_are_no_output(tmp_path):
    found = join(tmp_path, {"case_id": ["c000", "c001"], "comment": ["a", "b"], "p_x": ["0.1", "0.2"]}, n=2)
    assert found.outputs == ("p_x",)
    assert found.record["inference"]["columns_without_numbers"] == ["comment"]
    with pytest.raises(CaseTableError, match="do not fit") as caught:
        join(tmp_path, {"case_id": ["c000", "c001"], "comment": ["a", "b"]}, n=2)
    assert "no column has numbers" in str(caught.value)

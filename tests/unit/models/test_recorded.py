"""Recorded predictions: a table becomes a model; faults are named by case, never by content."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evalsuite.errors import CaseTableError
from evalsuite.models.open import inspect_model, open_model


def write(path, text):
    path.write_text(text)
    return path


def test_outputs_are_the_columns_of_numbers(tmp_path):
    path = write(tmp_path / "p.csv", "case_id,p_mel,p_nv,finding\na,0.25,0.75,nevus\nb,,1,mole\nc,inf,nan,x\n")
    model = open_model(path)
    assert model.format == "recorded"
    assert model.outputs == ("p_mel", "p_nv")
    assert model.table["rater"].tolist() == ["device"] * 3
    assert model.table["status"].tolist() == ["ok"] * 3
    np.testing.assert_array_equal(model.table["p_mel"], [0.25, np.nan, np.inf])
    assert any("finding" in note for note in model.notes)
    assert inspect_model(path)["outputs"] == ["p_mel", "p_nv"]


def test_case_column_of_another_name_and_parquet(tmp_path):
    frame = pd.DataFrame({"image": ["x", "y"], "p": [0.5, 0.25]})
    frame.to_parquet(tmp_path / "p.parquet")
    model = open_model(tmp_path / "p.parquet", case_column="image")
    assert model.table["case_id"].tolist() == ["x", "y"]
    assert model.table["p"].tolist() == [0.5, 0.25]
    with pytest.raises(CaseTableError, match="no column case_id"):
        open_model(tmp_path / "p.parquet")


def test_every_fault_at_once_without_cell_contents(tmp_path):
    path = write(
        tmp_path / "p.csv",
        "case_id,rater,status,p\na,device,ok,0.1\na,device,ok,0.2\nb,device,fine,0.3\nc,device,ok,SECRET\nd,,ok,.4\n",
    )
    with pytest.raises(CaseTableError, match="3 problems") as caught:
        open_model(path)
    text = str(caught.value)
    assert "several rows for one case @ case a" in text
    assert "unknown status @ case b" in text
    assert "p is not a number @ case c" in text
    assert "SECRET" not in text


def test_raters_and_conditions_make_rows_distinct(tmp_path):
    path = write(tmp_path / "p.csv", "case_id,rater,condition,p\na,r1,aided,1\na,r1,unaided,2\na,device,,3\n")
    assert len(open_model(path).table) == 3


def test_empty_table_and_table_without_numbers(tmp_path):
    with pytest.raises(CaseTableError, match="no rows"):
        open_model(write(tmp_path / "a.csv", "case_id,p\n"))
    with pytest.raises(CaseTableError, match="problem"):
        open_model(write(tmp_path / "b.csv", "case_id,word\na,b\n"))


def test_contract_names_the_outputs(tmp_path):
    path = write(tmp_path / "p.csv", "case_id,p_a,other\na,0.5,3\n")
    contract = write(tmp_path / "c.yaml", "outputs: [{name: y, classes: [a]}]\n")
    assert open_model(path, contract=contract).outputs == ("p_a",)
    contract = write(tmp_path / "d.yaml", "outputs: [{name: y, classes: [a, b]}]\n")
    with pytest.raises(CaseTableError) as caught:
        open_model(path, contract=contract)
    assert "column p_b is missing" in str(caught.value)

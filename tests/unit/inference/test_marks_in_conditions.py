"""Recorded marks on degraded images: read where the protocol asks for their conditions, refused where it does not."""

from __future__ import annotations

import pandas as pd
import pytest

from evalsuite.errors import CaseTableError
from evalsuite.inference.marks import join_marks

ROWS = [
    ("c1", "", 0.9, 1.0, 2.0),
    ("c2", "", None, None, None),
    ("c1", "dose/2", 0.4, 1.0, 2.0),
    ("c2", "dose/2", 0.8, 5.0, 5.0),
]
TABLE = pd.DataFrame(
    [(c, "device", condition, "ok", s, x, y) for c, condition, s, x, y in ROWS],
    columns=["case_id", "rater", "condition", "status", "score", "x", "y"],
)


def joined(*conditions: str):
    return join_marks(
        TABLE, case_ids=["c1", "c2"], all_ids=["c1", "c2"], model={}, place=("x", "y"), required=["score"],
        conditions=conditions,
    ).table  # fmt: skip


def test_marks_of_the_device_in_a_condition_follow_its_own():
    found = joined("dose/2")
    cells = {(r.case_id, r.condition): r.score for r in found.itertuples()}
    assert cells == {("c1", None): (0.9,), ("c1", "dose/2"): (0.4,), ("c2", None): (), ("c2", "dose/2"): (0.8,)}
    assert set(found["status"]) == {"ok"}


def test_a_condition_that_nobody_asks_for_is_no_silent_omission():
    with pytest.raises(CaseTableError) as caught:
        joined("dose/1")
    assert "under a condition are not read" in str(caught.value)

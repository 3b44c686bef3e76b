"""Clauses of a protocol, whichever way round they are written, and line listings that read back as they were."""

from __future__ import annotations

import numpy as np
import pandas as pd

from evalsuite.protocol.load import parse_protocol
from evalsuite.spine.package_contents import _cell
from evalsuite.spine.package_index import clauses_of
from tests.end_to_end.conftest import protocol_text


def rows(**clauses: object) -> list[tuple[str, str | None, str]]:
    return list(clauses_of(parse_protocol(protocol_text(clauses=clauses).encode(), "protocol.yaml")))


def test_an_endpoint_may_name_its_clauses() -> None:
    assert rows(sensitivity=["892.2080(b)(1)", "claim C-1"]) == [
        ("892.2080(b)(1)", "sensitivity", ""),
        ("claim C-1", "sensitivity", ""),
    ]


def test_a_clause_may_name_its_endpoints() -> None:
    assert rows(**{"hazard H-3": ["sensitivity", "brier"]}) == [
        ("hazard H-3", "sensitivity", ""),
        ("hazard H-3", "brier", ""),
    ]


def test_what_names_no_endpoint_is_passed_on_in_the_protocols_words() -> None:
    found = rows(
        **{"IV.3": "see the risk file", "GMLP 4": {"endpoint": "brier", "note": "split by patient"}, "X": None}
    )
    assert found == [
        ("IV.3", None, "see the risk file"),
        ("GMLP 4", "brier", ""),
        ("GMLP 4", None, "note: split by patient"),
        ("X", None, ""),
    ]


def test_cells_of_a_line_listing() -> None:
    values = [0.1, np.float64(1 / 3), float("nan"), None, pd.NA, "ok", np.int64(3), np.array([1.5, 2.0]), [1, 2]]
    cells = [_cell(v) for v in values]
    assert cells == ["0.1", repr(1 / 3), "", "", "", "ok", "3", "[1.5,2.0]", "[1,2]"]

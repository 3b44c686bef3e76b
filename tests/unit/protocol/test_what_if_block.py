"""The block on what-if thresholds: what is refused, where."""

from __future__ import annotations

import pytest

from evalsuite.protocol.support import unsupported
from tests.unit.protocol.test_analysis_blocks import only, parse


@pytest.mark.parametrize(
    ("block", "path"),
    [
        ({}, "analyses.threshold_what_if.stratum"),
        ({"stratum": "sitte"}, "analyses.threshold_what_if.stratum"),
        ({"stratum": "both"}, "analyses.threshold_what_if.stratum"),
        ({"stratum": "site", "at": "second"}, "analyses.threshold_what_if.at"),
        ({"stratum": "site", "equalise": "ppv"}, "analyses.threshold_what_if.equalise"),
    ],
)
def test_what_cannot_be_is_refused_at_its_place(block, path):
    assert only({"threshold_what_if": block}).where == path


def test_it_is_of_two_classes():
    p = parse({"threshold_what_if": {"stratum": "site"}})
    assert not unsupported(p, {e.metric for e in p.endpoints})
    other = p.model_copy(update={"task": p.task.model_copy(update={"kind": "multiclass"})})
    assert any(x.where == "analyses.threshold_what_if" for x in unsupported(other, {e.metric for e in p.endpoints}))

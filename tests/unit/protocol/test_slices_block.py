"""The block on slices: what is refused, where, and with which hint."""

from __future__ import annotations

import pytest

from tests.unit.protocol.test_analysis_blocks import only, parse


def test_an_empty_block_is_enough():
    asked = parse({"slices": {}}).analyses.slices
    assert asked is not None
    assert (asked.depth, asked.support, asked.level) == (2, 20, 0.05)


@pytest.mark.parametrize(
    ("block", "path"),
    [
        ({"at": "second"}, "analyses.slices.at"),
        ({"attributes": ["both"]}, "analyses.slices.attributes[0]"),
        ({"attributes": []}, "analyses.slices"),
        ({"depth": 4}, "analyses.slices.depth"),
        ({"support": 2}, "analyses.slices.support"),
        ({"level": 0.5}, "analyses.slices.level"),
        ({"clusters": 1}, "analyses.slices.clusters"),
    ],
)
def test_what_cannot_be_is_refused_at_its_place(block, path):
    assert only({"slices": block}).where == path


def test_an_embedding_alone_is_something_to_search():
    assert parse({"slices": {"attributes": [], "embedding": ["feature_*"]}}).analyses.slices is not None

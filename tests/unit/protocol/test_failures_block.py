"""The block on wrong cases: what is refused, where, and with which hint."""

from __future__ import annotations

import pytest

from evalsuite.protocol.source_checks import analysis_columns
from evalsuite.protocol.support import unsupported
from tests.unit.protocol.test_analysis_blocks import only, parse


def test_an_empty_block_is_enough():
    asked = parse({"failures": {}}).analyses.failures
    assert asked is not None
    assert asked.at is asked.near is asked.confident is None
    assert "reference error" in asked.categories


@pytest.mark.parametrize(
    ("block", "path", "words"),
    [
        ({"at": "primery"}, "analyses.failures.at", "did you mean 'primary'"),
        ({"attributes": ["sitte"]}, "analyses.failures.attributes[0]", "did you mean 'site'"),
        ({"attributes": ["site", "both"]}, "analyses.failures.attributes[1]", "site, sex"),
        ({"attributes": ["site", "site"]}, "analyses.failures.attributes[1]", "twice"),
        ({"categories": ["subtle", "subtle"]}, "analyses.failures.categories[1]", "twice"),
        ({"outline": "truth"}, "analyses.failures.outline", "masks"),
        ({"near": -1}, "analyses.failures.near", ""),
        ({"confident": 0.6}, "analyses.failures.confident", ""),
        ({"nearly": 0.1}, "analyses.failures", "nearly"),
    ],
)
def test_what_cannot_be_is_refused_at_its_place(block, path, words):
    problem = only({"failures": block})
    assert problem.where == path
    assert words in f"{problem.what} {problem.hint}"


def test_confidence_needs_a_probability():
    problem = only(
        {"failures": {"confident": 0.1}},
        task={"kind": "binary", "reference": "truth", "score": "p", "probability": False},
        endpoints=[
            {
                "name": "a",
                "metric": "auroc",
                "role": "primary",
                "criterion": {"bound": "lower", "op": ">", "value": 0.8},
            }
        ],
    )
    assert problem.where == "analyses.failures.confident"


def test_a_call_needs_an_operating_point():
    area = {"name": "a", "metric": "auroc", "role": "primary", "criterion": {"bound": "lower", "op": ">", "value": 0.8}}
    assert only({"failures": {}}, operating_points=[], endpoints=[area]).where == "analyses.failures"


def test_the_column_of_masks_is_sealed_and_must_exist():
    assert analysis_columns(parse({"failures": {"outline": "mask"}})) == {"mask": "analyses.failures.outline"}


def test_tasks_without_right_and_wrong_cases_are_told_what_they_have_instead():
    p = parse({"failures": {}})
    assert not unsupported(p, {e.metric for e in p.endpoints})
    for kind, words in (("segmentation", "listed and shown"), ("multilabel", "remove")):
        other = p.model_copy(update={"task": p.task.model_copy(update={"kind": kind})})
        (found,) = [x for x in unsupported(other, {e.metric for e in p.endpoints}) if x.where == "analyses.failures"]
        assert words in found.hint

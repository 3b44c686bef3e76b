"""The self-test: every known answer is reproduced, a wrong one is noticed, and the identifier binds all of it."""

from __future__ import annotations

import json

import jsonschema
import pytest

from evalsuite.protocol.jsonschema import json_schema
from evalsuite.selftest import run as module
from evalsuite.selftest import selftest
from evalsuite.selftest.statistics import STATISTICS

VECTORS = json.loads(module._VECTORS.read_text(encoding="utf-8"))["vectors"]


def test_every_known_answer_is_reproduced():
    result = selftest()
    assert result.failed == ()
    assert len(result.answers) == len(VECTORS) >= 140
    jsonschema.validate({**result.to_json(), "exit_code": 0}, json_schema("selftest"))


def test_every_answer_says_where_it_comes_from_and_every_statistic_is_used():
    assert {v["statistic"] for v in VECTORS} == set(STATISTICS)
    assert len({v["name"] for v in VECTORS}) == len(VECTORS)
    assert {v["kind"] for v in VECTORS} == {"published", "software", "definition", "pinned"}
    assert all(len(v["source"]) > 8 and v["expected"] for v in VECTORS)


def test_a_figure_that_differs_fails_and_changes_the_identifier(monkeypatch, tmp_path):
    before = selftest()
    changed = json.loads(json.dumps(VECTORS))
    changed[0]["expected"]["low"] += 0.001
    other = tmp_path / "known_answers.json"
    other.write_text(json.dumps({"vectors": changed}))
    monkeypatch.setattr(module, "_VECTORS", other)
    selftest.cache_clear()
    try:
        result = selftest()
    finally:
        monkeypatch.undo()
        selftest.cache_clear()
    assert result.failed == (changed[0]["name"],)
    assert result.id != before.id
    assert selftest().id == before.id


@pytest.mark.parametrize(
    ("computed", "holds"), [(0.5, True), (0.52, False), (float("nan"), False), (None, False), ("0.5", False)]
)
def test_only_a_finite_number_within_the_tolerance_agrees(computed, holds):
    vector = {**VECTORS[0], "expected": {"value": 0.5}, "tolerance": 0.01}
    assert module._answer(vector, lambda inputs: {"value": computed}).holds is holds


def test_a_statistic_that_raises_is_a_failed_answer():
    def broken(inputs):
        raise ValueError("secret")

    answer = module._answer(VECTORS[0], broken)
    assert not answer.holds
    assert answer.fault == "ValueError while computing"


def test_the_identifier_takes_no_part_in_rounding():
    assert module._rounded(1e-17) == module._rounded(-2e-17) == module._rounded(0.0) == "0"
    assert module._rounded(0.1 + 0.2) == module._rounded(0.3)
    assert module._rounded(0.3) != module._rounded(0.300000001)

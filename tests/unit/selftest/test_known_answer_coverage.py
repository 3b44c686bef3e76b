"""Every metric and every analysis with statistics has a known answer, or a stated reason why it has none."""

from __future__ import annotations

import json

import pytest

from evalsuite.analyses.tasks import computable
from evalsuite.selftest import run as module
from evalsuite.selftest.statistics import STATISTICS
from evalsuite.spine.catalogue import listing

VECTORS = json.loads(module._VECTORS.read_text(encoding="utf-8"))["vectors"]
#: Metrics that no answer names, each with the reason.
WITHOUT = {
    "e50": "the median of the gaps whose mean, 90th percentile and maximum have an answer; val.prob prints none",
    "debiased_ece": "a mean over random draws; its squared form has an answer",
    "category_agreement": "a share of cases, estimated as accuracy is",
}


def _named(field: str) -> set[str]:
    return {name for v in VECTORS for name in v[field]}


def test_every_metric_has_a_known_answer_or_a_reason() -> None:
    metrics = set(computable())
    assert metrics == {m["name"] for m in listing("metrics")[1]}
    assert metrics - _named("covers") == set(WITHOUT)
    assert _named("covers") <= metrics


def test_every_analysis_has_a_known_answer() -> None:
    analyses = {a["name"] for a in listing("analyses")[1]}
    blocks = {"segmentation", "detection", "readers", "drift", "uncertainty"}  # task kinds and audits of their own
    assert _named("analyses") == analyses | blocks


@pytest.mark.parametrize("name", ["masks", "marks", "reader_study", "averages", "sites", "bootstrap_interval"])
def test_a_figure_with_several_parts_compares_each(name: str) -> None:
    vector = next(v for v in VECTORS if v["statistic"] == name)
    for figure, expected in vector["expected"].items():
        wrong = {**vector, "expected": {**vector["expected"], figure: expected + 10 * vector["tolerance"] + 1e-3}}
        answer = module._answer(wrong, STATISTICS[name])
        assert [k for k, (_, _, agrees) in answer.figures.items() if not agrees] == [figure]

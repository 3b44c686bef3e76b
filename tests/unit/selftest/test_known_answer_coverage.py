"""Every metric and every analysis with statistics has a known answer, or a stated reason why it has none."""

from __future__ import annotations

import ast
import json
from pathlib import Path

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


#: Modules of statistics whose functions no answer calls by themselves, each with the reason.
WITHIN = {
    "bins": "cuts of a scale into groups; inside the answers on calibration error",
    "bootstrap": "the engine behind the answers on the resampling stream and on bootstrap intervals",
    "grouping": "sorting of cases into groups; inside the answers on groups",
    "case_means": "a mean over patients; inside the answers on averages and masks",
    "smoothing": "a local regression; inside the answers on ICI and smooth calibration error",
    "calibration_intervals": "intervals by resampling around figures that have answers; coverage is simulated",
    "clustered_tests": "the clustered forms of tests whose unclustered forms have answers; their size is simulated",
    "measured_bootstrap": "intervals by resampling around figures that have answers; coverage is simulated",
    "ordinal_bootstrap": "intervals by resampling around figures that have answers; coverage is simulated",
    "statistic_bootstrap": "intervals by resampling around figures that have answers; coverage is simulated",
    "ordered_volume": "a sum over thresholds; inside the answer on grades",
    "detection_planning": "power by simulation: a known answer would be a pinned draw",
    "queueing_simulation": "checks the formulas of queueing, which have an answer; no report prints it",
    "reader_simulation": "draws studies for the coverage campaigns; no report prints it",
    "reader_power": "power by simulation: a known answer would be a pinned draw",
    "reader_calibration": "fits the simulated readers to a pilot; only planning prints it",
    "slices": "a search; its two tests have answers as Fisher's test and as adjusted p-values",
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


def test_every_module_of_statistics_has_a_known_answer_or_a_reason() -> None:
    """What the self-test does not call has a reason here; a family newer than this list is tried by tests at least."""
    root = Path(__file__).resolve().parents[3]
    families = {p.stem for p in (root / "evalsuite" / "stats").glob("[!_]*.py")}
    called: set[str] = set()
    for path in (root / "evalsuite" / "selftest").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("evalsuite.stats"):
                whole = node.module == "evalsuite.stats"
                called |= {a.name for a in node.names} if whole else {str(node.module).split(".")[2]}
    assert {"sequential", "control_charts", "outliers", "conformal", "selective", "mask_size", "signed_rank"} <= called
    tried = " ".join(p.read_text(encoding="utf-8") for p in (root / "tests").glob("*/**/test_*.py"))
    newer = families - called - set(WITHIN)
    assert {name for name in newer if name not in tried} == set(), "a known answer, or a reason in WITHIN"

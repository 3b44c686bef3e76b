"""Wrong cases: who is listed and in which order, the bands, doubtful references, and groups with more failures."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.types import Listing
from tests.unit.analyses.test_beside_performance import AREA, cases, of, protocol, run

BLOCK = {"near": 0.05, "confident": 0.1}


def asking(**more: object):
    block = {**BLOCK, **more.pop("block", {})}
    return protocol(AREA, analyses={"failures": block}, disclose=["site"], **more)


def listed(results) -> list[dict[str, str]]:
    (listing,) = results.listings
    assert isinstance(listing, Listing)
    assert listing.name == "failures"
    return [dict(zip(listing.columns, row, strict=True)) for row in listing.rows]


MIXED = {
    "truth": ["1", "1", "1", "0", "0", "0", "1", "0", "", "1"],
    "p": [0.05, 0.49, 0.9, 0.98, 0.51, 0.1, None, 0.48, 0.9, 0.5],
}


def test_every_wrong_case_is_listed_once_the_worst_of_its_kind_first():
    rows = listed(run(asking(), MIXED))
    assert [(r["case_id"], r["kind"]) for r in rows] == [
        ("c0", "false negative"),
        ("c1", "false negative"),
        ("c3", "false positive"),
        ("c4", "false positive"),
        ("c6", "no output"),
        ("c9", "nearly wrong"),  # at the threshold: called positive, and right
        ("c7", "nearly wrong"),
    ]
    by_case = {r["case_id"]: r for r in rows}
    assert by_case["c0"]["beyond"] == "0.45"
    assert by_case["c7"]["beyond"] == "-0.02"
    assert {c for c, r in by_case.items() if r["nearly"]} == {"c1", "c4", "c7", "c9"}
    assert {c for c, r in by_case.items() if r["reference_error"]} == {"c0", "c3"}
    assert by_case["c6"]["output_status"] == "failed"
    assert all(r["category"] == r["comment"] == "" for r in rows)


def test_without_bands_there_are_no_bands():
    rows = listed(run(asking(block={"near": None, "confident": None}), MIXED))
    assert {r["kind"] for r in rows} == {"false negative", "false positive", "no output"}
    assert not any(r["nearly"] or r["reference_error"] for r in rows)


def test_a_strict_threshold_calls_its_own_score_negative():
    strict = asking(operating_points=[{"name": "primary", "threshold": 0.5, "comparison": ">"}])
    rows = {r["case_id"]: r for r in listed(run(strict, MIXED))}
    assert (rows["c9"]["kind"], rows["c9"]["beyond"]) == ("false negative", "0")


def test_the_second_operating_point_is_used_where_it_is_named():
    points = [{"name": "primary", "threshold": 0.5}, {"name": "low", "threshold": 0.04}]
    results = run(asking(block={"at": "low"}, operating_points=points), MIXED)
    assert {r["kind"] for r in listed(results)} == {"false positive", "no output", "nearly wrong"}
    assert any("operating point 'low'" in n for n in results.notes)
    assert {f.operating_point for f in of(results, "failures")} == {"low"}


def test_groups_stand_beside_a_case_only_where_their_column_is_disclosed():
    shown, hidden = asking(), protocol(AREA, analyses={"failures": BLOCK})
    assert listed(run(shown, MIXED))[0]["group: site"] == "a"
    results = run(hidden, MIXED)
    assert "group: site" not in listed(results)[0]
    assert any("disclose" in n for n in results.notes)


def test_shares_of_failures_are_counted_among_those_that_could_fail_so():
    found = {f.endpoint: f.estimate for f in of(run(asking(), MIXED), "failures") if not f.stratum}
    counts = {name: (e.numerator, e.denominator) for name, e in found.items()}
    # Five positives, one of them without output; four negatives; one case without a reference counts nowhere.
    assert counts == {"false negative": (2, 4), "false positive": (2, 4), "no output": (1, 9)}


def weak_site() -> dict[str, list]:
    """40 positives at each of two sites: 20 missed at a, 4 at b; and 30 negatives at each, 3 alarms at both."""
    made = cases(
        *((20, "1", 0.1), (20, "1", 0.9), (4, "1", 0.1), (36, "1", 0.9)),
        *((3, "0", 0.9), (27, "0", 0.1), (3, "0", 0.9), (27, "0", 0.1)),
    )
    return {**made, "site": ["a"] * 40 + ["b"] * 40 + ["a"] * 30 + ["b"] * 30}


def test_the_weak_group_is_found_in_the_right_direction_and_adjusted():
    results = run(asking(), weak_site())
    tests = {(t.endpoint, t.stratum["site"]): t for t in results.tests if t.endpoint == "false negative"}
    weak, strong = tests["false negative", "a"], tests["false negative", "b"]
    # Fisher's exact test, one-sided: P(X >= 20), X hypergeometric (80, 24, 40), summed by hand with exact integers.
    from math import comb

    exact = sum(comb(24, k) * comb(56, 40 - k) for k in range(20, 25)) / comb(80, 40)
    assert weak.p_value == pytest.approx(exact, rel=1e-9)
    assert weak.p_adjusted == pytest.approx(4 * exact, rel=1e-9)  # of four comparisons the smallest
    assert strong.p_value is not None
    assert strong.p_value > 0.99
    shares = {
        (f.stratum["site"], f.reference_group): (f.estimate.numerator, f.estimate.denominator)
        for f in of(results, "failures")
        if f.endpoint == "false negative" and f.stratum
    }
    assert shares["a", None] == shares["b", "all others"] == (20, 40)
    assert shares["b", None] == shares["a", "all others"] == (4, 40)
    assert all(f.role == "exploratory" and not f.prespecified for f in of(results, "failures"))


def test_patients_with_several_cases_are_dealt_as_a_whole():
    columns = weak_site()
    results = run(asking(block={"permutations": 199}), columns, patients=70)
    methods = {t.method for t in results.tests if (t.endpoint or "") == "false negative"}
    assert methods <= {
        "permutation of patients, one-sided",
        "sign flips of patients' contributions to the score, one-sided",
    }
    assert results.tests == run(asking(block={"permutations": 199}), columns, patients=70).tests


@pytest.mark.parametrize(
    ("columns", "kinds"),
    [
        ({"truth": ["1", "0"] * 4, "p": [0.9, 0.1] * 4}, set()),
        ({"truth": ["1", "0"] * 4, "p": [0.1, 0.9] * 4}, {"false negative", "false positive"}),
        ({"truth": ["1"] * 5, "p": [0.1] * 5}, {"false negative"}),
        ({"truth": ["1", "0"] * 3, "p": [None] * 6}, {"no output"}),
        ({"truth": ["", ""], "p": [0.2, 0.8]}, set()),
    ],
)
@pytest.mark.parametrize("patients", [None, 1])
def test_no_failure_all_failures_one_class_one_patient(columns, kinds, patients):
    results = run(asking(block={"near": None, "permutations": 99}), columns, patients=patients)
    assert {r["kind"] for r in listed(results)} == kinds
    for f in of(results, "failures"):
        assert (f.estimate.value is None) == (f.estimate.n == 0)


def several(kind: str, **task: object):
    return protocol(
        {"name": "accuracy", "metric": "accuracy"},
        task={"kind": kind, "reference": "truth", "classes": ["x", "y", "z"], "score": ["p", "q", "r"], **task},
        operating_points=[],
        analyses={"failures": BLOCK},
        disclose=["site"],
    )


def run_several(p, truth: list[str], table: list[tuple[float, float, float]]):
    import pandas as pd

    from evalsuite.analyses.tasks import evaluate_task

    ids = tuple(f"c{i}" for i in range(len(truth)))
    outputs = dict(zip("pqr", np.array(table).T, strict=True))
    predictions = pd.DataFrame(
        {"case_id": ids, "rater": "device", "condition": None, "status": "ok", "reason": None, **outputs}
    )
    frame = pd.DataFrame({"truth": truth, "site": "a"}).astype(str)
    return evaluate_task(p, case_id=ids, patient_id=ids, frame=frame, predictions=predictions)


@pytest.mark.parametrize("kind", ["multiclass", "ordinal"])
def test_with_several_classes_a_wrong_answer_is_one_kind(kind):
    truth = ["x", "y", "z", "x", "y"]
    table = [(0.9, 0.05, 0.05), (0.95, 0.04, 0.01), (0.3, 0.4, 0.3), (0.41, 0.39, 0.2), (0.2, 0.5, 0.3)]
    rows = listed(run_several(several(kind), truth, table))
    assert [(r["case_id"], r["kind"], r["reference"], r["called"]) for r in rows] == [
        ("c1", "wrong answer", "y", "x"),
        ("c2", "wrong answer", "z", "y"),
        ("c3", "nearly wrong", "x", "x"),
    ]
    assert (rows[0]["score"], rows[0]["beyond"], rows[0]["reference_error"]) == ("0.95", "0.91", "candidate")
    assert rows[1]["beyond"] == "0.1"
    assert rows[2]["beyond"] == "-0.02"


def test_a_grade_alone_is_wrong_by_grades():
    p = protocol(
        {"name": "accuracy", "metric": "accuracy"},
        task={"kind": "ordinal", "reference": "truth", "classes": ["1", "2", "3"], "score": "p"},
        operating_points=[],
        analyses={"failures": {}},
    )
    rows = listed(run(p, {"truth": ["1", "2", "3", "3"], "p": [3.0, 2.0, 2.0, 3.0]}))
    assert [(r["case_id"], r["beyond"]) for r in rows] == [("c0", "2"), ("c2", "1")]

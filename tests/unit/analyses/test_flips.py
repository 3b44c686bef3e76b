"""Decisions that changed between two versions: counted by hand, tested against the binomial, and listed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from evalsuite.analyses.common import Results
from evalsuite.analyses.flips import flips
from evalsuite.analyses.performance import evaluate_binary
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.multiplicity import adjust_p
from tests.unit.analyses.test_comparison import protocol, table

#: reference, candidate's score, baseline's score; called at 0.5. Twelve cases decided by both, one lost, one gained.
CASES = [
    (1, 0.9, 0.1), (1, 0.8, 0.2), (1, 0.7, 0.4),  # newly right
    (0, 0.1, 0.6),  # newly right
    (1, 0.2, 0.9), (0, 0.95, 0.4),  # newly wrong
    (1, 0.9, 0.8), (1, 0.7, 0.7), (0, 0.2, 0.1), (0, 0.3, 0.3),  # right in both
    (1, 0.1, 0.2), (0, 0.8, 0.9),  # wrong in both
    (1, np.nan, 0.9), (0, 0.2, np.nan),  # output lost, output gained
]  # fmt: skip
AT = {"name": "kept", "metric": "sensitivity", "at": "primary"}


def changed(
    study: StudyProtocol, cases: Any = CASES, *, per_patient: int = 1, who: str = "baseline", **columns: Any
) -> Results:
    truth, first, second = zip(*cases, strict=True)
    n = len(truth)
    return flips(
        study,
        case_id=tuple(f"c{i}" for i in range(n)),
        patient_id=tuple(f"p{i // per_patient}" for i in range(n)),
        frame=pd.DataFrame({"truth": [str(t) for t in truth], **columns}),
        predictions=table(first),
        compared={who: table(second)},
    )


def counts(results: Results, condition: str | None = None, **stratum: str) -> dict[str, tuple[float | None, int]]:
    return {
        f.metric: (f.estimate.numerator, f.estimate.n)
        for f in results.findings
        if f.condition == condition and dict(f.stratum) == stratum
    }


def test_fixed_and_broken_are_counted_among_cases_that_both_decided() -> None:
    found = changed(protocol(AT))
    assert counts(found) == {
        "fixed_rate": (4, 12), "broken_rate": (2, 12), "kept_right_rate": (4, 12), "kept_wrong_rate": (2, 12)
    }  # fmt: skip
    assert counts(found, "reference positive")["fixed_rate"] == (3, 7)
    assert counts(found, "reference positive")["broken_rate"] == (1, 7)
    assert counts(found, "reference negative")["fixed_rate"] == (1, 5)
    (whole,) = found.tests
    # Mid-p: twice the binomial tail with half of the observed point, here of 2 among 6 discordant.
    assert whole.p_value == pytest.approx(2 * (binom.cdf(2, 6, 0.5) - 0.5 * binom.pmf(2, 6, 0.5)))


def test_every_changed_case_is_listed_broken_first_and_by_the_size_of_the_change() -> None:
    (listing,) = changed(protocol(AT)).listings
    rows = [dict(zip(listing.columns, r, strict=True)) for r in listing.rows]
    assert [(r["case_id"], r["change"]) for r in rows] == [
        ("c4", "broken"), ("c5", "broken"),
        ("c0", "fixed"), ("c1", "fixed"), ("c3", "fixed"), ("c2", "fixed"),
        ("c12", "output lost"), ("c13", "output gained"),
    ]  # fmt: skip
    assert (rows[0]["reference"], rows[0]["called_before"], rows[0]["called"]) == ("positive", "positive", "negative")
    assert (rows[0]["score_before"], rows[0]["score"]) == ("0.9", "0.2")


def test_the_two_devices_exchanged_are_the_same_changes_the_other_way_round() -> None:
    there = counts(changed(protocol(AT)))
    back = counts(changed(protocol(AT), [(t, b, a) for t, a, b in CASES]))
    assert there["fixed_rate"] == back["broken_rate"]
    assert there["broken_rate"] == back["fixed_rate"]


def test_groups_have_adjusted_tests_and_small_ones_none() -> None:
    study = protocol(
        AT,
        strata=[{"name": "site", "column": "site"}],
        small_strata={"suppress_below": 10, "flag_below": 30},
        disclose=["site"],
    )
    many = [c for c in CASES if not np.isnan(c[1:]).any()] * 2
    site = ["a"] * 12 + ["b"] * 11 + ["c"]
    found = changed(study, many, site=site)
    assert counts(found, site="a")["fixed_rate"] == (4, 12)
    tests = {t.stratum.get("site"): t for t in found.tests}
    assert set(tests) == {None, "a", "b"}
    raw = [float(tests[g].p_value or 0) for g in "ab"]
    adjusted = dict(zip("ab", adjust_p(raw, "holm"), strict=True))
    assert {g: tests[g].p_adjusted for g in "ab"} == pytest.approx(adjusted)
    assert min(adjusted.values()) == pytest.approx(min(1.0, 2 * min(raw)))
    assert tests[None].p_adjusted is None
    small = next(f for f in found.findings if f.stratum == {"site": "c"})
    assert small.estimate.value is None
    assert "not assessable" in str(small.estimate.undefined)
    assert found.listings[0].columns[-1] == "group: site"


def test_cases_of_one_patient_are_not_taken_as_independent() -> None:
    alone = changed(protocol(AT), [c for c in CASES if not np.isnan(c[1:]).any()] * 6)
    together = changed(protocol(AT), [c for c in CASES for _ in range(6) if not np.isnan(c[1:]).any()], per_patient=6)
    assert counts(alone)["fixed_rate"] == counts(together)["fixed_rate"] == (24, 72)
    p, clustered = alone.tests[0].p_value, together.tests[0].p_value
    assert p is not None
    assert clustered is not None
    assert clustered > 2 * p
    assert "patients as clusters" in together.tests[0].method


def test_nothing_changed_has_no_test_and_an_empty_listing() -> None:
    same = [(t, a, a) for t, a, _ in CASES if not np.isnan(a)]
    found = changed(protocol(AT), same)
    assert counts(found)["fixed_rate"] == counts(found)["broken_rate"] == (0, 13)
    assert found.listings[0].rows == ()


def test_several_classes_are_right_where_the_named_one_is() -> None:
    study = StudyProtocol.model_validate(
        {
            **protocol().model_dump(mode="json", by_alias=True),
            "task": {"kind": "multiclass", "reference": "truth", "classes": ["a", "b", "c"], "score": ["p", "q", "r"]},
            "operating_points": [],
            "endpoints": [{"name": "accuracy", "metric": "accuracy"}],
            "comparisons": [{"name": "gain", "metric": "accuracy"}],
        }
    )
    one = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.8, 0.1, 0.1]]
    two = [[0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]

    def outputs(rows: list[list[float]]) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "case_id": [f"c{i}" for i in range(4)],
                "status": "ok",
                **dict(zip("pqr", np.transpose(rows), strict=True)),
            }
        )

    found = flips(
        study,
        case_id=("c0", "c1", "c2", "c3"),
        patient_id=("p0", "p1", "p2", "p3"),
        frame=pd.DataFrame({"truth": ["a", "b", "b", "b"]}),
        predictions=outputs(one),
        compared={"original": outputs(two)},
    )
    assert counts(found) == {
        "fixed_rate": (1, 4), "broken_rate": (1, 4), "kept_right_rate": (1, 4), "kept_wrong_rate": (1, 4)
    }  # fmt: skip
    assert {f.reference_group for f in found.findings} == {"original"}
    assert [(r[0], r[1]) for r in found.listings[0].rows] == [("c2", "broken"), ("c0", "fixed")]


def test_each_comparison_is_taken_from_the_device_it_is_against() -> None:
    truth, first, second = zip(*[c for c in CASES if not np.isnan(c[1:]).any()], strict=True)
    asked = {"metric": "accuracy", "at": "primary"}
    study = protocol({"name": "new", **asked}, {"name": "old", "against": "original", **asked})
    n = len(truth)
    found = evaluate_binary(
        study,
        case_id=tuple(f"c{i}" for i in range(n)),
        patient_id=tuple(f"p{i}" for i in range(n)),
        frame=pd.DataFrame({"truth": [str(t) for t in truth]}),
        predictions=table(first),
        baseline=table(second),
        original=table(first),
    )
    value = {f.endpoint: f.estimate.value for f in found.findings if f.metric == "accuracy_difference"}
    assert value["new"] == pytest.approx(2 / 12)
    assert value["old"] == 0.0
    own = {
        (f.endpoint, f.condition): f.estimate.value for f in found.findings if f.metric == "accuracy" and f.condition
    }
    assert own["old", "original"] == own["new", "candidate"] == pytest.approx(8 / 12)
    assert own["new", "baseline"] == pytest.approx(6 / 12)

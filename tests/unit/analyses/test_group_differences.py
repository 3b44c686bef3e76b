"""Differences between groups of different patients: printed figures, DeLong's test of two samples, and the edges."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats.roc_compare import unpaired_auroc_difference
from evalsuite.types import Estimate
from tests.unit.analyses.test_beside_performance import AREA, SENSITIVITY, cases, of, protocol, run

BLOCK = {"stratum": "site", "reference": "b", "endpoints": ["sens", "area"]}


def asking(**more: object):
    return protocol(SENSITIVITY, AREA, analyses={"group_differences": {**BLOCK, **more}})


def found(results, metric: str, site: str = "a") -> Estimate:
    hits = [
        f
        for f in of(results, "group_differences")
        if (f.metric, dict(f.stratum), f.reference_group) == (metric, {"site": site}, "b")
    ]
    assert len(hits) == 1
    return hits[0].estimate


def newcombes() -> dict[str, list]:
    """56 of 70 found at one site and 48 of 80 at the other: example (a) of Newcombe, Stat Med 17:873-890 (1998)."""
    made = cases((56, "1", 0.9), (14, "1", 0.2), (48, "1", 0.8), (32, "1", 0.1), (30, "0", 0.4), (40, "0", 0.3))
    return {**made, "site": ["a"] * 70 + ["b"] * 80 + ["a"] * 30 + ["b"] * 40}


def test_a_difference_of_shares_is_the_one_newcombe_printed():
    e = found(run(asking(), newcombes()), "sensitivity_difference")
    assert (e.value, e.low, e.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert e.method == "Newcombe hybrid score"
    assert (e.n, e.n_patients) == (150, 150)


@pytest.mark.parametrize(
    ("interval", "limits"),
    # Methods 4 (Mee) and 5 (Miettinen-Nurminen) of the same example, table II.
    [("mee", (0.0533, 0.3377)), ("miettinen-nurminen", (0.0528, 0.3382))],
)
def test_the_protocol_names_the_interval(interval, limits):
    e = found(run(asking(interval=interval), newcombes()), "sensitivity_difference")
    assert (e.low, e.high) == pytest.approx(limits, abs=5e-5)


def test_a_ratio_and_a_test_stand_beside_the_difference():
    results = run(asking(), newcombes())
    ratio = found(results, "sensitivity_ratio")
    assert ratio.value == pytest.approx((56 / 70) / (48 / 80))
    assert ratio.method == "Koopman score"
    assert ratio.low is not None
    assert 1.0 < ratio.low < ratio.value
    (test,) = [t for t in results.tests if t.name == "sens: site a = b"]
    # Pearson's statistic without N/(N − 1) is 6.8966 (by hand); the score test multiplies its root by (149/150)^½.
    pooled = 104 / 150
    z = 0.2 / np.sqrt(pooled * (1 - pooled) * (1 / 70 + 1 / 80)) * np.sqrt(149 / 150)
    assert test.statistic == pytest.approx(z, rel=1e-9)


def test_areas_are_compared_as_delong_compares_two_samples():
    rng = np.random.default_rng(3)
    truth = rng.random(160) < 0.5
    score = 1 / (1 + np.exp(-(rng.normal(size=160) + truth)))
    site = np.where(np.arange(160) < 70, "a", "b")
    columns = {"truth": list(truth.astype(int).astype(str)), "p": list(score), "site": list(site)}
    e = found(run(asking(), columns), "auroc_difference")
    one, other = ((truth[site == s], score[site == s]) for s in "ab")
    expected = unpaired_auroc_difference(one, other).estimate
    assert (e.value, e.low, e.high) == pytest.approx((expected.value, expected.low, expected.high), abs=1e-12)


def test_several_cases_per_patient_combine_the_limits_of_both_groups():
    results = run(asking(), newcombes(), patients=220)  # everyone once: as above
    assert found(results, "sensitivity_difference").method == "Newcombe hybrid score"
    columns = {k: [v for v in values for _ in range(2)] for k, values in newcombes().items()}
    n = len(columns["truth"])
    who = [f"p{i // 2}" for i in range(n)]
    e = found(_run(asking(), columns, who), "sensitivity_difference")
    assert e.value == pytest.approx(0.2)
    assert e.method.startswith("square-and-add of limits")
    assert e.low is not None
    assert e.low < 0.0524  # the exact limits of both groups are wider than Wilson's
    assert not [f for f in of(_run(asking(), columns, who), "group_differences") if f.metric == "sensitivity_ratio"]


def _run(p, columns, who):
    import pandas as pd

    from evalsuite.analyses.tasks import evaluate_task

    ids = tuple(f"c{i}" for i in range(len(who)))
    frame = pd.DataFrame({k: v for k, v in columns.items() if k != "p"}).astype(str)
    table = pd.DataFrame(
        {"case_id": ids, "rater": "device", "condition": None, "status": "ok", "reason": None, "p": columns["p"]}
    )
    return evaluate_task(p, case_id=ids, patient_id=tuple(who), frame=frame, predictions=table)


def test_a_patient_in_both_groups_leaves_no_interval():
    results = run(asking(), newcombes(), patients=100)
    e = found(results, "sensitivity_difference")
    assert e.value == pytest.approx(0.2)
    assert e.low is None
    assert "not independent" in str(e.interval_undefined)
    assert any("share patients" in note for note in results.notes)


def test_what_is_not_assessable_has_no_difference_and_says_why():
    columns = newcombes()
    columns["site"] = ["tiny" if i < 4 else s for i, s in enumerate(columns["site"])]
    e = found(run(asking(), columns), "sensitivity_difference", "tiny")
    assert e.value is None
    assert "not assessable" in str(e.undefined)


def test_a_reference_group_without_cases_is_said():
    results = run(asking(reference="nowhere"), newcombes())
    made = of(results, "group_differences")
    assert made
    assert all(f.estimate.undefined == "no cases of the reference group" for f in made)
    assert any("'nowhere'" in note for note in results.notes)


def test_missing_outputs_count_in_each_group_as_in_the_primary_analysis():
    columns = newcombes()
    columns["p"] = [None if i == 0 else p for i, p in enumerate(columns["p"])]
    e = found(run(asking(), columns), "sensitivity_difference")
    assert e.value == pytest.approx(55 / 70 - 48 / 80)

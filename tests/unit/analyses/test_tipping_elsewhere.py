"""Tipping points of shares and of errors, in tasks with classes and in measurements, against a search by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalsuite.analyses.tasks import evaluate_task
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.agreement import mean_absolute_error
from evalsuite.stats.proportions import proportion
from evalsuite.types import Estimate

CLASSES = ["a", "b", "c"]
MULTI = {"kind": "multiclass", "reference": "truth", "classes": CLASSES, "score": [f"p_{c}" for c in CLASSES]}
MEASURED = {"kind": "regression", "reference": "truth", "score": "p"}


def protocol(task: dict[str, Any], *endpoints: dict[str, Any], **more: Any) -> StudyProtocol:
    return StudyProtocol.model_validate(
        {
            "schema": "evalsuite/protocol/1",
            "id": "t",
            "version": "1",
            "title": "t",
            "kind": "standalone",
            "intended_use": {},
            "task": task,
            "unit": {},
            "endpoints": list(endpoints),
            "missing_reference": {"primary": "tipping_point"},
            "confidence": {"bootstrap": {"replicates": 100}},
            "seed": 7,
            **more,
        }
    )


def goal(metric: str, bound: str, op: str, value: float, **more: Any) -> dict[str, Any]:
    criterion = {"bound": bound, "op": op, "value": value}
    return {"name": "main", "metric": metric, "role": "primary", "criterion": criterion, **more}


def run(p: StudyProtocol, truth: list[str], outputs: dict[str, Any], patients: int | None = None):
    n = len(truth)
    ids = tuple(f"c{i}" for i in range(n))
    table = pd.DataFrame(
        {"case_id": ids, "rater": "device", "condition": None, "status": "ok", "reason": None, **outputs}
    )
    who = tuple(f"p{i % (patients or n)}" for i in range(n))
    return evaluate_task(p, case_id=ids, patient_id=who, frame=pd.DataFrame({"truth": truth}), predictions=table)


def found(results) -> dict[tuple[str, str], Estimate]:
    return {(f.metric, str(f.condition)): f.estimate for f in results.findings if f.analysis == "tipping_point"}


def classes(right: int, wrong: int, unresolved: int) -> tuple[list[str], dict[str, Any]]:
    """Class a is called everywhere."""
    truth = ["a"] * right + ["b"] * wrong + [""] * unresolved
    n = len(truth)
    return truth, {"p_a": np.full(n, 0.8), "p_b": np.full(n, 0.15), "p_c": np.full(n, 0.05)}


def test_accuracy_fails_at_the_number_found_by_trying_all():
    truth, outputs = classes(88, 6, 10)
    got = found(run(protocol(MULTI, goal("accuracy", "lower", ">", 0.82)), truth, outputs))
    want = next(w for w in range(11) if proportion(98 - w, 104).low <= 0.82)
    tipping = got["cases_wrong_to_fail", "tipping_point"]
    assert (tipping.value, tipping.denominator) == (want, 10)
    assert 0 < want < 10
    assert got["accuracy", "all_right"].value == pytest.approx(98 / 104)
    assert got["accuracy", "all_wrong"].value == pytest.approx(88 / 104)
    assert got["cases_wrong_expected", "tipping_point"].value == pytest.approx(10 * 6 / 94)


def test_a_criterion_that_holds_or_fails_anyhow_says_so():
    truth, outputs = classes(188, 2, 3)
    holds = found(run(protocol(MULTI, goal("accuracy", "lower", ">", 0.9)), truth, outputs))
    assert "every unresolved case wrong" in str(holds["cases_wrong_to_fail", "tipping_point"].undefined)
    fails = found(run(protocol(MULTI, goal("accuracy", "lower", ">", 0.995)), truth, outputs))
    assert fails["cases_wrong_to_fail", "tipping_point"].value == 0


def test_what_is_not_searched_for_has_a_reason():
    truth, outputs = classes(88, 6, 10)
    two = found(run(protocol(MULTI, goal("accuracy", "lower", ">", 0.8)), truth, outputs, patients=52))
    assert "several cases per patient" in str(two["cases_wrong_to_fail", "tipping_point"].undefined)
    one = goal("sensitivity", "lower", ">", 0.8, target="a")
    of_class = found(run(protocol(MULTI, one), truth, outputs))
    assert "depends on the reference" in str(of_class["cases_wrong_to_fail", "tipping_point"].undefined)
    other = protocol(MULTI, goal("accuracy", "lower", ">", 0.8), missing_reference={"primary": "worst_case"})
    assert found(run(other, truth, outputs)) == {}
    assert found(run(protocol(MULTI, goal("accuracy", "lower", ">", 0.8)), *classes(88, 6, 0))) == {}


def measured(unresolved: int = 8) -> tuple[list[str], dict[str, Any], np.ndarray]:
    rng = np.random.default_rng(2)
    truth = rng.gamma(4, 20, 80)
    device = truth + rng.normal(0, 4, 80)
    text = [f"{t:.4f}" for t in truth]
    text[:unresolved] = [""] * unresolved
    error = device - np.round(truth, 4)
    return text, {"p": device}, error


def test_the_error_of_unresolved_cases_at_which_a_measurement_fails():
    text, outputs, error = measured()
    got = found(run(protocol(MEASURED, goal("mae", "upper", "<", 6.0, maximum=60)), text, outputs))
    size = got["error_to_fail", "tipping_point"].value

    def upper(at: float) -> float:
        errors = np.r_[np.full(8, at), error[8:]]
        return mean_absolute_error(errors, np.zeros(80)).high

    assert upper(size) == pytest.approx(6.0, abs=1e-6)
    assert upper(0.98 * size) < 6.0
    assert got["mae", "all_right"].high == pytest.approx(upper(0.0))
    assert got["mae", "all_wrong"].high == pytest.approx(upper(60.0))
    assert got["error_expected", "tipping_point"].value == pytest.approx(np.abs(error[8:]).mean())


def test_errors_that_never_matter_and_those_that_cannot_be_looked_for():
    text, outputs, _ = measured()
    never = found(run(protocol(MEASURED, goal("mae", "upper", "<", 50.0, maximum=20)), text, outputs))
    assert "up to 20" in str(never["error_to_fail", "tipping_point"].undefined)
    unknown = found(run(protocol(MEASURED, goal("mae", "upper", "<", 6.0)), text, outputs))
    assert "no largest error" in str(unknown["error_to_fail", "tipping_point"].undefined)
    drawn = goal("mae", "upper", "<", 6.0, maximum=60, interval="percentile")
    resampled = found(run(protocol(MEASURED, drawn), text, outputs))
    assert "bootstrap" in str(resampled["error_to_fail", "tipping_point"].undefined)
    within = goal("coverage_probability", "lower", ">", 0.7, tolerance=8)
    share = found(run(protocol(MEASURED, within), text, outputs))
    assert share["cases_wrong_to_fail", "tipping_point"].n == 8

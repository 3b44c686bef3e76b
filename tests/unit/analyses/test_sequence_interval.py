"""Limits that hold at every look: who counts, in which order, and in which protocols they may be asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalsuite.analyses.arrival import arrival_order
from evalsuite.analyses.performance import evaluate_binary
from evalsuite.errors import InputError
from evalsuite.protocol.checks import check_protocol
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.sequential import METHOD, confidence_sequence


def protocol(*, kind: str = "standalone", endpoint: dict[str, Any] | None = None, **more: Any) -> StudyProtocol:
    sensitivity = {
        "name": "sensitivity",
        "metric": "sensitivity",
        "at": "primary",
        "role": "primary",
        "interval": "sequence",
        "criterion": {"bound": "lower", "op": ">", "value": 0.7},
        **(endpoint or {}),
    }
    return StudyProtocol.model_validate(
        {
            "schema": "evalsuite/protocol/1",
            "id": "t",
            "version": "1",
            "title": "t",
            "kind": kind,
            "intended_use": {},
            "unit": {},
            "task": {"kind": "binary", "reference": "truth", "score": "p"},
            "operating_points": [{"name": "primary", "threshold": 0.5}],
            "endpoints": [sensitivity],
            "confidence": {"bootstrap": {"replicates": 100}},
            "seed": 1,
            **more,
        }
    )


def test_the_interval_is_the_betting_sequence_over_patients_in_the_order_of_the_table() -> None:
    rng = np.random.default_rng(4)
    # Positive cases; patients 0 and 1 have two each, and patient 0 is complete only with the last case of all.
    patient = ["p0", "p1", "p1", *(f"p{i}" for i in range(2, 60)), "p0"]
    score = np.where(rng.random(len(patient)) < 0.9, 0.8, 0.2)
    ids = tuple(f"c{i}" for i in range(len(patient)))
    results = evaluate_binary(
        protocol(),
        case_id=ids,
        patient_id=tuple(patient),
        frame=pd.DataFrame({"truth": ["1"] * len(ids)}),
        predictions=pd.DataFrame({"case_id": ids, "status": "ok", "p": score}),
    )
    found = next(f.estimate for f in results.findings if f.endpoint == "sensitivity" and not f.stratum)
    called = (score >= 0.5).astype(float)
    good = [called[1] + called[2], *called[3:-1], called[0] + called[-1]]
    wanted = confidence_sequence(good, [2, *[1] * 58, 2])
    assert (found.value, found.low, found.high) == (wanted.value, wanted.low, wanted.high)
    assert found.method == METHOD
    assert found.n_positive == len(ids)
    # A test of one look would contradict limits for every look.
    assert not [t for t in results.tests if t.endpoint == "sensitivity"]


def test_labels_are_taken_in_the_order_they_arrived_and_missing_times_come_last() -> None:
    frame = pd.DataFrame({"labelled_at": ["2026-03-02", "", "2026-03-01T23:30:00-02:00", "2026-03-01"]})
    order = arrival_order(protocol(), frame, ("a", "b", "c", "d"))
    assert order is not None
    assert order.tolist() == [3, 0, 2, 1]  # 23:30 two hours west is half past one of the next day
    assert arrival_order(protocol(endpoint={"interval": "wilson"}), frame, ("a", "b", "c", "d")) is None
    assert arrival_order(protocol(), frame.drop(columns="labelled_at"), ("a", "b", "c", "d")) is None


def test_a_time_that_is_none_is_told_by_its_case() -> None:
    with pytest.raises(InputError) as caught:
        arrival_order(protocol(), pd.DataFrame({"labelled_at": ["yesterday", "2026-03-01"]}), ("a", "b"))
    assert "case a" in str(caught.value)
    assert "yesterday" not in str(caught.value)


DRIFT = {"calendar": {"audits": 12}}


@pytest.mark.parametrize(
    ("changes", "where", "what"),
    [
        ({"endpoint": {"interval": None}}, "endpoints[0].interval", "limits that hold at every look"),
        ({"endpoint": {"metric": "auroc", "at": None, "interval": None}}, "endpoints[0]", "No limits of 'auroc'"),
        ({"analyses": {}}, "analyses.drift", "what it watches"),
        (
            {"analyses": {"drift": {**DRIFT, "covariates": ["site"], "shuffles": 500}}},
            "analyses.drift.shuffles",
            "smallest p-value",
        ),
        (
            {"analyses": {"drift": {**DRIFT, "outputs": False}}},
            "analyses.drift",
            "watch nothing",
        ),
        (
            {
                "analyses": {
                    "drift": {
                        **DRIFT,
                        "monitor": [{"endpoint": "sensitivity", "action": 0.6, "warning": 0.8, "planned_patients": 9}],
                    }
                }
            },
            "analyses.drift.monitor[0].action",
            "not its action limit",
        ),
        (
            {
                "analyses": {
                    "drift": {
                        **DRIFT,
                        "monitor": [{"endpoint": "sensitivity", "action": 0.7, "warning": 0.7, "planned_patients": 9}],
                    }
                }
            },
            "analyses.drift.monitor[0].warning",
            "above the action limit",
        ),
        (
            {"analyses": {"drift": {**DRIFT, "covariates": ["site", {"column": "truth", "kind": "numeric"}]}}},
            "analyses.drift.covariates[1]",
            "already means something else",
        ),
    ],
)
def test_contradictions_of_an_audit_are_told(changes: dict[str, Any], where: str, what: str) -> None:
    asked = protocol(kind="drift_audit", **{"analyses": {"drift": DRIFT}, **changes})
    assert [(p.where, what.lower() in p.what.lower()) for p in check_protocol(asked)] == [(where, True)]


def test_an_audit_that_holds_together_has_no_problem() -> None:
    watched = {"endpoint": "sensitivity", "action": 0.7, "warning": 0.8, "planned_patients": 900}
    drift = {**DRIFT, "covariates": ["site", {"column": "age", "kind": "numeric"}], "monitor": [watched]}
    asked = protocol(kind="drift_audit", analyses={"drift": drift})
    assert check_protocol(asked) == []
    block = asked.analyses.drift
    assert block is not None
    # Half of 5 % for one endpoint: half of that for its detector, half in twelve parts for the limits of a window. The
    # other half in twelve parts, over two covariates and three outputs.
    assert block.alpha_detector == pytest.approx(0.0125)
    assert block.alpha_window == pytest.approx(0.0125 / 12)
    assert block.alpha_shifts == pytest.approx(0.025 / 12)
    assert block.n_tests == 5
    assert block.most_shuffles == 24_000


def test_only_a_drift_audit_looks_for_drift_and_only_two_classes_have_a_sequence() -> None:
    drift = {**DRIFT, "covariates": ["site"]}
    assert [p.where for p in check_protocol(protocol(analyses={"drift": drift}))] == ["analyses.drift"]
    task = {"kind": "multiclass", "reference": "truth", "classes": ["a", "b"], "score": ["p", "q"]}
    several = protocol(task=task, operating_points=[], endpoint={"at": None, "target": "a"})
    assert [p.where for p in check_protocol(several)] == ["endpoints[0].interval"]

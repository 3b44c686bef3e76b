"""Labels that are sampled and that come late: what they count for, and that none counts twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalsuite.analyses.drift import drift_analysis, for_performance
from evalsuite.analyses.drift_labels import case_key, keys_in, keys_text
from evalsuite.analyses.drift_periods import EarlierAudit, Period
from evalsuite.analyses.tasks import evaluate_task
from evalsuite.errors import InputError
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.spine.audit_labels import window_labels
from evalsuite.stats.sequential import confidence_sequence, e_detector, fallen_below
from evalsuite.types import Finding
from tests.unit.analyses.test_drift_analysis import BASELINE, audited, found, period, statuses, study


def joined(*periods: Period) -> Period:
    return Period(
        case_id=tuple(c for p in periods for c in p.case_id),
        patient_id=tuple(c for p in periods for c in p.patient_id),
        frame=pd.concat([p.frame for p in periods], ignore_index=True),
        predictions=pd.concat([p.predictions for p in periods], ignore_index=True),
    )


# --- late labels ----------------------------------------------------------------------------------------------------


def _left(*, cases: tuple[str, ...], counted: tuple[str, ...] = (), awaited: tuple[str, ...] = ()) -> EarlierAudit:
    keys = {name: keys_in(keys_text(v)) for name, v in (("cases", cases), ("counted", counted), ("awaited", awaited))}
    return EarlierAudit(**keys)


def test_a_late_label_is_of_performance_and_not_of_inputs() -> None:
    new, old = period(120, 30), period(60, 31, new=1.0)
    both = joined(new, old)
    earlier = [_left(cases=old.case_id)]
    alone, late = audited(new), audited(both, earlier=earlier)
    # The old window's scanner was that window's matter, its labels are this one's.
    assert statuses(late)["Input: scanner"] == statuses(alone)["Input: scanner"] == "normal"
    assert statuses(audited(both))["Input: scanner"] == "action"
    positives = [int((p.frame["truth"] == "1").sum()) for p in (new, both)]
    seen = [next(int(str(c.n)) for c in r.curves if c.kind == "detector_state") for r in (alone, late)]
    assert seen == positives
    assert any(note.startswith("60 cases are of earlier windows") for note in late.notes)


def test_labels_that_stay_away_are_told() -> None:
    protocol = study(labelled="chosen")
    chosen = ["awaited" if i < 5 else "yes" for i in range(60)]
    window = period(60, 32, unlabelled=range(5), chosen=chosen)
    assert for_performance(protocol, window).n == 55
    assert statuses(audited(window, protocol))["Labels awaited"] == "normal"
    for later, status in ((0, "normal"), (1, "warning")):
        left = [_left(cases=("x", "y"), awaited=("x", "y")), *[_left(cases=(f"m{i}",)) for i in range(later)]]
        said = audited(period(60, 33, chosen=["1"] * 60), protocol, left)
        assert statuses(said)["Labels awaited"] == status
    assert "Labels awaited" not in statuses(audited(period(60, 33, chosen=["1"] * 60), protocol))


def _table(ids: list[str], truth: list[str], chosen: list[str] | None = None) -> pd.DataFrame:
    return pd.DataFrame({"case_id": ids, "truth": truth, "chosen": chosen or ["1"] * len(ids)})


def test_no_label_is_counted_twice() -> None:
    protocol = study(labelled="chosen")
    first = window_labels(protocol, _table(["a", "b", "c"], ["1", "", ""], ["1", "awaited", "0"]), [])
    assert {k: keys_in(v) for k, v in first.items()} == {
        "cases": {case_key(c) for c in "abc"},
        "counted": {case_key("a")},
        "awaited": {case_key("b")},
    }
    left = [{"labels": first}]
    second = window_labels(protocol, _table(["d", "b"], ["0", "1"]), left)
    assert keys_in(second["cases"]) == {case_key("d")}
    assert keys_in(second["counted"]) == {case_key("b"), case_key("d")}
    left.append({"labels": second})
    for again, what in ((["e", "a"], "counted in an earlier audit"), (["e", "b"], "counted in an earlier audit")):
        with pytest.raises(InputError, match=what):
            window_labels(protocol, _table(again, ["1", "1"]), left)
    with pytest.raises(InputError, match="no label has come since"):
        window_labels(protocol, _table(["e", "c"], ["1", ""]), left)
    with pytest.raises(InputError, match="No case of the window is new"):
        window_labels(protocol, _table(["c"], ["1"]), left)
    assert window_labels(protocol, _table(["e"], ["1"]), [{}])["cases"] == case_key("e")  # of an older version


# --- sampled labels -------------------------------------------------------------------------------------------------


def _sampled(n: int, seed: int, *, sensitivity: float) -> tuple[Period, StudyProtocol]:
    """Every called case and one in four of the others is labelled; the case table says so."""
    whole = period(n, seed, sensitivity=sensitivity)
    rng = np.random.default_rng([seed, 1])
    called = (whole.predictions["p"] >= 0.5).to_numpy()
    chosen = called | (rng.random(n) < 0.25)
    frame = whole.frame.assign(
        chosen=["1" if c else "0" for c in chosen], sample_weight=np.where(called, "1", "4").tolist()
    )
    frame["truth"] = np.where(chosen, frame["truth"], "")
    return replace(whole, frame=frame), study(labelled="chosen", largest_weight=4.0)


def _verdict_figure(protocol: StudyProtocol, labelled: Period) -> Finding:
    made = evaluate_task(
        protocol,
        case_id=labelled.case_id,
        patient_id=labelled.patient_id,
        frame=labelled.frame,
        predictions=labelled.predictions,
    )
    return next(
        f
        for f in made.findings
        if f.analysis == "performance" and f.endpoint == "sensitivity" and not f.stratum and f.condition is None
    )


def test_weights_bring_sampled_labels_back_to_everybody() -> None:
    window, protocol = _sampled(1500, 40, sensitivity=0.45)
    labelled = for_performance(protocol, window)
    plain = protocol.analyses.model_copy(
        update={"drift": protocol.analyses.drift.model_copy(update={"largest_weight": None})}  # type: ignore[union-attr]
    )
    unweighted = _verdict_figure(protocol.model_copy(update={"analyses": plain}), labelled).estimate
    weighted = _verdict_figure(protocol, labelled).estimate
    assert unweighted.value == pytest.approx(
        0.45 / (0.45 + 0.55 / 4), abs=0.05
    )  # what was sought because it was called
    assert weighted.value == pytest.approx(0.45, abs=0.06)
    assert weighted.low is not None
    assert weighted.high is not None
    assert weighted.low < 0.45 < weighted.high
    small = study(
        labelled="chosen", largest_weight=4.0, monitor=[{**_WATCHED, "planned_patients": 4000}], covariates=["scanner"]
    )
    results = drift_analysis(small, baseline=BASELINE, window=window, labelled=labelled)
    beside = found(results, "sensitivity", "sensitivity", condition="window").estimate
    assert beside.value == pytest.approx(weighted.value, abs=1e-9)
    assert statuses(results)["Performance: sensitivity"] == "action"
    parts = [
        f.estimate.value or 0.0
        for f in results.findings
        if f.metric == "sensitivity_difference" and f.condition in ("within", "mix")
    ]
    whole = found(results, "sensitivity", "sensitivity_difference", reference_group="baseline").estimate
    assert sum(parts) == pytest.approx(whole.value, abs=1e-9)


_WATCHED: dict[str, Any] = {"endpoint": "sensitivity", "action": 0.7, "warning": 0.8}


def test_weights_that_cannot_be_are_refused() -> None:
    window, protocol = _sampled(60, 41, sensitivity=0.9)
    with pytest.raises(InputError, match="no column 'sample_weight'"):
        for_performance(protocol, replace(window, frame=window.frame.drop(columns="sample_weight")))
    heavy = replace(window, frame=window.frame.assign(sample_weight="5"))
    with pytest.raises(InputError, match="sampling weights cannot be used") as caught:
        for_performance(protocol, heavy)
    assert "above the largest, 4" in str(caught.value)
    one = replace(window, patient_id=("same",) * window.n)
    with pytest.raises(InputError, match="another weight than an earlier case"):
        for_performance(protocol, one)


# --- simulated validity ---------------------------------------------------------------------------------------------


def _stream(rng: np.random.Generator, n: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes and weights of labelled diseased patients: a right call is always labelled, a miss one time in four."""
    right = rng.random(n) < share
    chosen = right | (rng.random(n) < 0.25)
    return right[chosen].astype(float), np.where(right, 1.0, 4.0)[chosen]


def test_alarms_with_weights_and_late_labels_keep_their_promise() -> None:
    """At the limit itself and a promise of one in five: 60 streams whose labels come with a delay, in another order.

    Labels are sought where the device called: unweighted they would hide a loss, weighted they do not. More than 21
    alarms of 60 have a chance below 1 % if the promise holds.
    """
    alarms = {"detector": 0, "limits": 0}
    hidden = found_losses = 0
    for number in range(60):
        rng = np.random.default_rng([7, number])
        right, weight = _stream(rng, 300, 0.7)
        arrival = np.argsort(np.arange(right.size) + rng.exponential(60.0, right.size), kind="stable")
        right, weight, one = right[arrival], weight[arrival], np.ones(right.size)
        weights: dict[str, Any] = {"weights": weight, "most_weight": 4.0}
        detector = e_detector(right, one, limit=0.7, planned=300, false_alarm=0.2, **weights)
        alarms["detector"] += detector.alarm is not None
        alarms["limits"] += fallen_below(right, one, limit=0.7, false_alarm=0.2, **weights)
        worse, heavy = _stream(rng, 300, 0.4)
        alone = np.ones(worse.size)
        found_losses += fallen_below(worse, alone, limit=0.7, false_alarm=0.05, weights=heavy, most_weight=4.0)
        hidden += not fallen_below(worse, alone, limit=0.7, false_alarm=0.05)
    assert max(alarms.values()) <= 21
    assert found_losses >= 55
    assert hidden >= 50


def test_limits_that_have_fallen_are_those_of_the_confidence_sequence() -> None:
    rng = np.random.default_rng(9)
    for share in (0.45, 0.6, 0.75):
        right = (rng.random(150) < share).astype(float)
        made = confidence_sequence(right, np.ones(150), level=0.95)
        assert made.high is not None
        for limit in (made.high - 0.002, made.high + 0.002):
            assert fallen_below(right, np.ones(150), limit=limit, false_alarm=0.025) == (made.high < limit)
    assert not fallen_below([], [], limit=0.5, false_alarm=0.1)
    with pytest.raises(ValueError, match="between 0 and 1"):
        fallen_below([1], [1], limit=1.0, false_alarm=0.1)
